"""An .npz of arrays, read without pickle, and its sizes looked at before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import names
from .stored import Tensor, unreadable

__all__ = ["read"]

#: Deflate makes a run of zeros a thousandth; a file that claims to unpack to this much more was made to fill a memory.
MOST_PACKED, ALWAYS_FINE = 1100, 1 << 28
#: What reading a damaged archive can raise.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    SyntaxError,
)


def read(path: Path) -> dict[str, Tensor]:
    """Name of each array → tensor. Raises RectifierValueError where the file is none, or holds Python objects."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            unpacked, packed = sum(info.file_size for info in members), path.stat().st_size
            if unpacked > max(ALWAYS_FINE, MOST_PACKED * packed) or unpacked > ALWAYS_FINE + 64 * packed:
                raise unreadable(
                    path, f"its {packed} bytes would unpack to {unpacked}", "Such a file is no weights file."
                )
            shown = names.unique(info.filename.removesuffix(".npy") for info in members)
            found = {}
            for info in members:
                name = info.filename.removesuffix(".npy")
                shape, dtype = _head(archive, info)
                if dtype.hasobject:
                    raise unreadable(path, f"{shown[name]!r} holds Python objects, which are never unpickled")
                found[name] = Tensor(shown[name], dtype.name, shape, partial(_load, path, info, shown[name]))
            return found
    except _DAMAGED as error:
        if str(error).startswith("check_weights: "):
            raise
        raise unreadable(
            path, f"it is no archive that NumPy wrote, or a damaged one ({type(error).__name__})"
        ) from error


def _head(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype from an array's header alone."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reader(file)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
        raise ValueError("an array of more values than the file holds")
    return tuple(int(n) for n in shape), dtype


def _load(path: Path, info: zipfile.ZipInfo, shown: str) -> npt.NDArray[Any]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except _DAMAGED as error:
        raise unreadable(path, f"{shown!r} is damaged ({type(error).__name__})") from error
