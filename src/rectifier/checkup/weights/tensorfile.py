"""A .safetensors file through NumPy: its header checked against the format's rules, its numbers mapped, not copied.

The format: eight bytes with the header's length N, N bytes of JSON (name → dtype, shape, offsets), the numbers.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import names
from .stored import Tensor, numpy_dtype, unreadable

__all__ = ["is_one", "read"]

#: The format's own limit of a header.
MAX_HEADER = 100_000_000
#: Bits of the dtypes that no array can hold: their offsets are checked all the same.
_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_CUT = "The file was cut short or is damaged: copy or download it again."


class _Wrong(Exception):
    """What is wrong with the file."""


def read(path: Path) -> dict[str, Tensor]:
    """Name, as it stands in the file → tensor. Raises RectifierValueError where the file breaks the format."""
    try:
        return _read(path)
    except _Wrong as wrong:
        reason, cure = wrong.args
        error = unreadable(path, reason, cure)
    except RecursionError:
        error = unreadable(path, "its header is nested too deep")
    raise error


def _read(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    if size < 8:
        raise _Wrong(f"it has {size} bytes, and the length of a safetensors header alone takes 8", _CUT)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            raise _Wrong(f"its header claims {length} bytes, and {size - 8} are left in the file", _CUT)
        if length > MAX_HEADER:
            raise _Wrong(f"its header claims {length} bytes; the format allows {MAX_HEADER}", "Write it anew.")
        header = _header(file.read(length))
        entries = [(name, _entry(name, entry)) for name, entry in header.items() if name != "__metadata__"]
        _check_layout([(name, begin, end) for name, (_, _, begin, end) in entries], size - 8 - length)
        # Mapped whole: the pages that are read come from the system's cache, and nothing is copied.
        whole = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    shown = names.unique(name for name, _ in entries)
    data = whole[8 + length :]
    return {
        name: Tensor(shown[name], dtype, shape, _reader(data, dtype, shape, begin, end))
        for name, (dtype, shape, begin, end) in entries
    }


def _header(raw: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _Wrong("its header names something twice", "Write it anew with safetensors.")
        return found

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=once)
    except ValueError as error:  # of the decoding, the syntax, or a number of thousands of digits
        raise _Wrong("its header is not JSON", "It is no safetensors file, or a damaged one.") from error
    if not isinstance(header, dict):
        raise _Wrong("its header is no JSON object", "It is no safetensors file, or a damaged one.")
    return header


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """dtype, shape, begin and end of a tensor."""
    told = names.shown(name)
    if not isinstance(entry, dict):
        raise _Wrong(f"its header says nothing usable of {told!r}", "Write it anew with safetensors.")
    dtype, shape, offsets = entry.get("dtype"), _whole(entry.get("shape")), _whole(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise _Wrong(f"its header gives {told!r} no usable dtype, shape and offsets", "Write it anew with safetensors.")
    begin, end = offsets
    known = numpy_dtype(dtype)
    bits = known.itemsize * 8 if known is not None else _BITS.get(dtype)
    if len(shape) > 64:
        raise _Wrong(f"{told!r} has {len(shape)} axes; an array has 64 at most", "Write it anew with safetensors.")
    if bits is not None and (end - begin) * 8 != math.prod(shape) * bits:
        needed = math.prod(shape) * bits // 8
        raise _Wrong(
            f"{told!r} is {dtype} of shape {shape}, which takes {needed} bytes, and its offsets hold {end - begin}",
            _CUT,
        )
    return names.shown(dtype), shape, begin, end


def _whole(numbers: Any) -> tuple[int, ...] | None:
    if not isinstance(numbers, list) or any(type(n) is not int or not 0 <= n < 2**63 for n in numbers):
        return None
    return tuple(numbers)


def _check_layout(spans: list[tuple[str, int, int]], size: int) -> None:
    """The tensors lie one after the other, without a gap, an overlap or a byte left over."""
    reached = 0
    for name, begin, end in sorted(spans, key=lambda span: span[1:]):
        if begin > end or end > size:
            where = f"{names.shown(name)!r} lies at bytes {begin} to {end}"
            raise _Wrong(f"{where}, and the file has {size} of numbers", _CUT)
        if begin != reached:
            what = "overlaps the tensor before it" if begin < reached else "leaves a gap before it"
            raise _Wrong(f"{names.shown(name)!r}, from byte {begin}, {what}", "Write it anew with safetensors.")
        reached = end
    if reached != size:
        raise _Wrong(f"its tensors end at byte {reached}, and the file has {size} of numbers", _CUT)


def _reader(
    data: npt.NDArray[np.uint8], dtype: str, shape: tuple[int, ...], begin: int, end: int
) -> Callable[[], npt.NDArray[Any]] | None:
    known = numpy_dtype(dtype)
    return None if known is None else lambda: data[begin:end].view(known).reshape(shape)


def is_one(path: Path) -> bool:
    """Whether a file looks like one: a header's length, then a brace."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return False
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_HEADER
