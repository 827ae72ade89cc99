"""A file that torch.save wrote, read as plain arrays without running what is in it."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...checkup.weights import names
from ...checkup.weights.stored import Tensor, unreadable

__all__ = ["read", "state_dict", "unpickled"]

#: Where trainers put the state dict inside of what they save.
_INSIDE = ("state_dict", "model_state_dict", "model", "module", "net", "weights")
#: How PyTorch says which function or class a pickle asks for.
_GLOBAL = re.compile(r"GLOBAL (\S+)")
_CURE = "Write one with: torch.save(model.state_dict(), FILE)"
#: Dtypes that NumPy lacks → one of the same size that it has, and the name that ml_dtypes gives them.
_LACKED = {
    torch.bfloat16: (torch.uint16, "bfloat16"),
    torch.float8_e4m3fn: (torch.uint8, "float8_e4m3fn"),
    torch.float8_e5m2: (torch.uint8, "float8_e5m2"),
    torch.float8_e4m3fnuz: (torch.uint8, "float8_e4m3fnuz"),
    torch.float8_e5m2fnuz: (torch.uint8, "float8_e5m2fnuz"),
}


def read(path: Path) -> Mapping[str, Tensor]:
    """Name → tensor of a state dict, at the top or under "state_dict" and the like.

    ``weights_only=True``: of a pickle only tensors, numbers, texts and containers are built; what names another
    function or class is refused before anything is called. Raises RectifierValueError with the reason.
    """
    tensors = state_dict(path, unpickled(path))
    shown = names.unique(tensors)
    return {name: _tensor(shown[name], value) for name, value in tensors.items()}


def unpickled(path: Path) -> Any:
    """What the file holds: tensors, numbers, texts and containers of them."""
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles of a protocol that torch.save does not write
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        wanted = _GLOBAL.search(str(error))
        what = (
            f"it asks for {names.shown(wanted[1])!r}" if wanted else "it is damaged, or asks for what is none of those"
        )
        raise unreadable(path, f"only tensors, numbers and texts are unpickled, and {what}", _CURE) from error
    except PermissionError:
        raise
    except Exception as error:  # a file of another kind can go wrong in any way
        raise unreadable(path, f"PyTorch cannot read it ({type(error).__name__})", _CURE) from error


def _check_archive(path: Path) -> None:
    """torch.save packs nothing: what is packed, or larger than its file, was made to fill a memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise unreadable(path, f"its archive is damaged ({type(error).__name__})", _CURE) from error
    if any(info.filename.endswith("constants.pkl") for info in members):
        raise unreadable(path, "it is a TorchScript program, which is code", _CURE)
    if any(info.compress_type != zipfile.ZIP_STORED for info in members):
        raise unreadable(path, "its archive is compressed, as torch.save never does", _CURE)
    if sum(info.file_size for info in members) > path.stat().st_size:
        raise unreadable(path, "its archive claims more bytes than the file has", _CURE)


def state_dict(path: Path, found: Any) -> dict[str, torch.Tensor]:
    """The names and tensors in what a file holds."""
    for key in ("", *_INSIDE):
        inside = found if not key else found.get(key) if isinstance(found, Mapping) else None
        if isinstance(inside, Mapping):
            tensors = {str(name): value for name, value in inside.items() if isinstance(value, torch.Tensor)}
            if tensors:
                return tensors
    kind = type(found).__name__
    raise unreadable(path, f"it holds a {kind} without a state dict of names to tensors", _CURE)


def _tensor(name: str, value: torch.Tensor) -> Tensor:
    dtype, shape = str(value.dtype).removeprefix("torch."), tuple(value.shape)
    read: Callable[[], npt.NDArray[Any]] | None = None
    # A tensor may claim to be larger than what is stored of it (strides of 0), or be stored in no plain way.
    plain = value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    if plain and value.numel() * value.element_size() <= value.untyped_storage().nbytes():
        read = _reader(value)
    return Tensor(name, dtype, shape, read)


def _reader(value: torch.Tensor) -> Callable[[], npt.NDArray[Any]] | None:
    value = value.detach()
    if value.dtype in _LACKED:
        import ml_dtypes

        same_size, name = _LACKED[value.dtype]
        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return lambda: value.view(same_size).numpy().view(dtype)
    try:
        array = value.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError):  # a dtype that NumPy has not, either
        return None
    return lambda: array
