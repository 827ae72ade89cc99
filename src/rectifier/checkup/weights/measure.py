"""One pass over each tensor: what of a unit's weights is zero, how large it is, and what is no number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .stored import Tensor

__all__ = ["Rows", "rows_of", "values_of", "without_numbers"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Values at a time: what is converted stays in the cache, whatever the file's size.
BLOCK = 1 << 18


@dataclass(frozen=True, eq=False)
class Rows:
    """The weights of each unit, shape (units,)."""

    squares: Floats
    """Σ w²."""
    zero: Bools
    """Every weight is exactly 0."""
    fan_in: int
    nan: npt.NDArray[np.int64]
    infinite: npt.NDArray[np.int64]

    @property
    def norm(self) -> Floats:
        return np.sqrt(self.squares)

    @property
    def rms(self) -> float:
        """Root mean square of the finite rows' weights."""
        finite = np.isfinite(self.squares)
        return math.sqrt(float(self.squares[finite].mean()) / max(self.fan_in, 1)) if finite.any() else math.nan


def floating(array: npt.NDArray[Any]) -> bool:
    """Is it of floating-point numbers (those of ml_dtypes are of kind "V" or "f")?"""
    return array.dtype.kind == "f" or "float" in array.dtype.name


def values_of(tensor: Tensor | None) -> Floats | None:
    """A small tensor (bias, γ) as float64; None where there is none, or none that can be read as numbers."""
    if tensor is None or tensor.read is None:
        return None
    array = tensor.read()
    return array.astype(np.float64) if floating(array) else None


def without_numbers(tensor: Tensor) -> tuple[int, int]:
    """How many NaN and how many infinities it holds; (0, 0) of integers."""
    array = tensor.read() if tensor.read is not None else None
    if array is None or not floating(array) or array.size == 0:
        return 0, 0
    nan = infinite = 0
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = _plain(flat[start : start + BLOCK])
        if not np.isfinite(block).all():
            nan += int(np.isnan(block).sum())
            infinite += int(np.isinf(block).sum())
    return nan, infinite


def rows_of(tensor: Tensor, axis: int) -> Rows | None:
    """What the weights of each unit are; None for a tensor that cannot be read as numbers."""
    array = tensor.read() if tensor.read is not None else None
    if array is None or not floating(array):
        return None
    units, fan_in = array.shape[axis], array.size // max(array.shape[axis], 1)
    squares = np.zeros(units)
    for index, block in _blocks(array, axis):
        with np.errstate(all="ignore"):
            squares[index] += _squares(block)
    zero, nan, infinite = np.zeros(units, dtype=bool), np.zeros(units, dtype=np.int64), np.zeros(units, dtype=np.int64)
    # Float32 squares of very large or small numbers are infinite or 0: such rows, which are few, are looked at anew.
    suspects = np.flatnonzero(~(squares > 1e-30) | ~np.isfinite(squares))
    by_unit, step = np.moveaxis(array, axis, 0), max(1, BLOCK // max(fan_in, 1))
    for start in range(0, suspects.size, step):
        some = suspects[start : start + step]
        rows = by_unit[some].reshape(some.size, -1).astype(np.float64)
        nan[some], infinite[some] = np.isnan(rows).sum(axis=1), np.isinf(rows).sum(axis=1)
        zero[some] = ~rows.any(axis=1)
        with np.errstate(all="ignore"):
            squares[some] = np.square(rows).sum(axis=1)
    return Rows(squares, zero, fan_in, nan, infinite)


def _squares(block: npt.NDArray[Any]) -> Floats:
    """Σ w² of each unit of a block (before, units, after)."""
    if block.shape[0] == 1:
        sums = np.einsum("ua,ua->u", block[0], block[0])
    elif block.shape[2] == 1:
        sums = np.einsum("bu,bu->u", block[..., 0], block[..., 0])
    else:
        sums = np.einsum("bua,bua->u", block, block)
    return np.asarray(sums, dtype=np.float64)


def _blocks(array: npt.NDArray[Any], axis: int) -> Any:
    """The array as (before, units, after) in blocks, each with the units that it is about."""
    before, units = math.prod(array.shape[:axis]), array.shape[axis]
    cube = array.reshape(before, units, -1)
    after = cube.shape[2]
    if before == 1:
        step = max(1, BLOCK // max(after, 1))
        for start in range(0, units, step):
            yield slice(start, start + step), _plain(cube[:, start : start + step])
    else:
        step = max(1, BLOCK // max(units * after, 1))
        for start in range(0, before, step):
            yield slice(None), _plain(cube[start : start + step])


def _plain(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """As numbers that NumPy computes with at once: float32, or float64 where they are."""
    return block if block.dtype in (np.float32, np.float64) else block.astype(np.float32)
