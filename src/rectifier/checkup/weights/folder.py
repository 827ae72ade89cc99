"""Which file or files hold the weights, and reading them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import RectifierTypeError
from ..adapters import stored_by_torch
from . import archive, names, tensorfile
from .stored import CURE, Tensor, Weights, unreadable

__all__ = ["ENDINGS", "WRITTEN", "open_weights", "regular"]

#: Endings of files written by torch.save.
TORCH = (".pt", ".pth", ".bin", ".ckpt")
SUFFIXES = (".safetensors", ".npz", *TORCH)
#: What is written by heal and prune.
WRITTEN = (".safetensors", ".pt", ".pth")
#: Ending → what is said of it.
_OTHERS = {
    ".keras": "Keras's files are not read yet",
    ".h5": "Keras's HDF5 files are not read yet",
    ".hdf5": "Keras's HDF5 files are not read yet",
    ".pkl": "a pickle runs code when it is read, so it is not",
    ".pickle": "a pickle runs code when it is read, so it is not",
    ".joblib": "a joblib file is a pickle, which runs code when it is read, so it is not",
    ".gguf": "GGUF files are not read",
    ".onnx": "ONNX files are not read",
}
#: Of files that are weights, or are refused as such with a reason.
ENDINGS = (*SUFFIXES, *_OTHERS)
#: In a folder, in this order.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
MAX_JSON = 100_000_000


def open_weights(path: str | Path) -> Weights:
    """The weights of a file or of a folder, without running anything that is in them.

    Raises RectifierTypeError or RectifierValueError, with the reason, where they cannot be read.
    """
    place, mode = _stat(path)
    weights = _folder(place) if stat.S_ISDIR(mode) else _single(place, mode)
    if not weights.tensors:
        raise unreadable(path, "it holds no tensor")
    return weights


def regular(path: str | Path) -> Path:
    """The path, where it is that of a file that is not empty. Raises as :func:`open_weights`."""
    place, mode = _stat(path)
    _check_regular(place, mode)
    return place


def _stat(path: str | Path) -> tuple[Path, int]:
    if not isinstance(path, (str, Path)):
        raise RectifierTypeError(
            f"check_weights: `path` must be the path of a file or a folder; got {type(path).__name__}. {CURE}"
        )
    place = Path(path)
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        dangling = "it is a link to a file that does not exist" if place.is_symlink() else "there is no such file"
        raise unreadable(path, dangling, "Check the path.") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long or with a null character
        raise unreadable(path, f"it cannot be opened ({type(error).__name__})", "Check the path.") from None
    return place, mode


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise unreadable(path, "it is neither a file nor a folder" if not stat.S_ISDIR(mode) else "it is a folder")
    if path.stat().st_size == 0:
        raise unreadable(path, "it is empty")


def _single(path: Path, mode: int) -> Weights:
    _check_regular(path, mode)
    config, told = _config(path.parent)
    return replace(_file(path), path=str(path), config=config, told=told)


def _file(path: Path) -> Weights:
    suffix = path.suffix.lower()
    if suffix in _OTHERS:
        raise unreadable(path, _OTHERS[suffix])
    read, ordered = _reader(path, suffix)
    try:
        tensors = read(path)
    except PermissionError:
        raise unreadable(path, "it may not be read", "Change its permissions.") from None
    return Weights(str(path), suffix[1:], {tensor.name: tensor for tensor in tensors.values()}, ordered)


def _reader(path: Path, suffix: str) -> tuple[Callable[[Path], Mapping[str, Tensor]], bool]:
    """The reader of a file by its ending, or, where that says nothing, by how it begins."""
    if suffix == ".npz":
        return archive.read, True
    if suffix in TORCH:
        return stored_by_torch, True
    if suffix == ".safetensors" or tensorfile.is_one(path):
        return tensorfile.read, False
    raise unreadable(path, f"the ending {suffix!r} is none of {', '.join(SUFFIXES)}" if suffix else "it has no ending")


def _folder(folder: Path) -> Weights:
    """A folder as Hugging Face's libraries write it: one file, or several and an index."""
    config, told = _config(folder)
    for name in _INDEXES:
        if (folder / name).is_file():
            return replace(_sharded(folder, folder / name), config=config, told=told)
    whole = [folder / name for name in _WHOLE if (folder / name).is_file()][:1]
    # Another library's name: taken where there is no doubt which.
    whole = whole or sorted(path for path in folder.glob("*.safetensors") if path.is_file())
    if len(whole) == 1:
        return replace(_single(whole[0], whole[0].stat().st_mode), path=str(folder), config=config, told=told)
    if not whole:
        files = [names.shown(path.name) for path in sorted(folder.iterdir())]
        holds = f"it holds {names.listed(files)}" if files else "it is empty"
        raise unreadable(
            folder, f"a folder without weights ({holds})", f"Weights are looked for as {', '.join(_WHOLE)}."
        )
    found = names.listed(names.shown(path.name) for path in whole)
    raise unreadable(folder, f"a folder with several files of weights ({found})", "Pass one of them.")


def _sharded(folder: Path, index: Path) -> Weights:
    document = _json(index)
    places = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
        raise unreadable(
            index, "it is no index of weights: it has no weight_map of names to files", "Download it again."
        )
    shards: dict[str, Mapping[str, Tensor]] = {}
    for shard in dict.fromkeys(places.values()):
        if Path(shard).name != shard or shard in (".", "..", "") or "\\" in shard or not shard.isprintable():
            raise unreadable(
                index, f"it names {names.shown(shard)!r}, which is no file of this folder", "Do not use it."
            )
        path = folder / shard
        if not path.is_file():
            raise unreadable(folder, f"{names.shown(shard)!r}, which its index names, is missing", "Download it again.")
        read, _ = _reader(path, path.suffix.lower())
        shards[shard] = read(path)
    lost = [names.shown(name) for name, shard in places.items() if name not in shards[shard]]
    if lost:
        raise unreadable(
            folder, f"its index names tensors that are in no file: {names.listed(lost)}", "Download it again."
        )
    shown = names.unique(places)
    tensors = {shown[name]: replace(shards[shard][name], name=shown[name]) for name, shard in places.items()}
    return Weights(str(folder), f"{len(shards)} files", tensors, ordered=False)


def _config(folder: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    path = folder / "config.json"
    if not path.is_file():
        return {}, ()
    try:
        document = _json(path)
    except ValueError:
        return {}, ("config.json is no JSON: the structure is taken from names and shapes alone",)
    return (document, ()) if isinstance(document, dict) else ({}, ())


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError("too long")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise unreadable(path, "it is no JSON that can be read", "Download it again.") from None
