"""The gate: one bit per value that says whether a unit fired."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_tuple

from . import _native

__all__ = ["Gate"]


@dataclass(frozen=True)
class Kept:
    """What ``with_gate`` keeps beside the gate for the backward pass."""

    function: str
    parameters: Mapping[str, Any]
    plane_of: str | None
    """What a second plane of bits says: ``zeros`` (z == 0), ``inside`` (0 < z < ceiling, or NaN) or nothing."""
    plane: npt.NDArray[np.uint8] | None
    """Laid out as the gate's bits; None also where no z was 0."""


class Gate:
    """Which values of an array were open (z > 0, or NaN), one bit each.

    The bits lie flat over the array's memory order, eight to a byte, least significant first; the last byte is padded
    with zeros. A Gate cannot be changed.

    >>> import numpy as np, rectifier
    >>> gate = rectifier.relu.gate(np.array([[1.0, -2.0], [3.0, 0.5]]))
    >>> gate.unpack()
    array([[ True, False],
           [ True,  True]])
    >>> gate.count(axis=0)
    array([2, 1])
    >>> gate.nbytes
    1
    """

    __slots__ = ("_kept", "_order", "bits", "shape")

    bits: npt.NDArray[np.uint8]
    """The packed bits, shape (⌈size / 8⌉,), read-only."""
    shape: tuple[int, ...]
    """Shape of the array that it was taken from."""

    def __init__(self, z: npt.NDArray[Any]) -> None:
        # The axes from the slowest to the fastest in memory: a transposed or channels-last array is packed as it lies.
        order = tuple(sorted(range(z.ndim), key=lambda axis: -abs(z.strides[axis])))
        flat = np.require(z.transpose(order), requirements=["C", "A"]).reshape(-1)
        if not flat.dtype.isnative:
            flat = flat.astype(flat.dtype.newbyteorder("="))
        self.bits = _native.pack_gate(flat)
        self.bits.flags.writeable = False
        self.shape = z.shape
        self._order = order
        self._kept: Kept | None = None

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        # NumPy gives a copy or a pickle of a read-only array back as one that can be written to.
        for name, value in state[1].items():
            setattr(self, name, value)
        self.bits.flags.writeable = False

    @classmethod
    def _of(cls, bits: npt.NDArray[np.uint8], shape: tuple[int, ...], order: tuple[int, ...], kept: Kept) -> Gate:
        """A gate whose bits are there already."""
        self = object.__new__(cls)
        bits.flags.writeable = False
        self.bits, self.shape, self._order, self._kept = bits, shape, order, kept
        return self

    def _with(self, kept: Kept) -> Gate:
        return self._of(self.bits, self.shape, self._order, kept)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes that the packed bits take: ⌈size / 8⌉, and as many for a second plane where ``with_gate`` kept one."""
        plane = None if self._kept is None else self._kept.plane
        return int(self.bits.nbytes) + (0 if plane is None else int(plane.nbytes))

    def unpack(self) -> npt.NDArray[np.bool_]:
        """One boolean a value, in the shape of the array that the gate was taken from."""
        flat = np.unpackbits(self.bits, count=self.size, bitorder="little").view(np.bool_)
        laid_out = flat.reshape([self.shape[axis] for axis in self._order])
        return laid_out.transpose(np.argsort(self._order)) if self._order else laid_out

    def count(self, axis: int | tuple[int, ...] | None = None) -> npt.NDArray[np.int64]:
        """Number of open gates, over the whole array or along ``axis`` (as in ``np.sum``)."""
        if axis is None:
            return np.asarray(np.bitwise_count(self.bits).sum(dtype=np.int64))[()]
        over = set(normalize_axis_tuple(axis, len(self.shape)))
        kept = tuple(mine not in over for mine in self._order)
        sizes = tuple(self.shape[mine] for mine in self._order)
        counts = np.zeros(math.prod(size for size, keep in zip(sizes, kept, strict=True) if keep), np.int64)
        _native.count_gates(self.bits, sizes, kept, counts)
        # The counts lie in memory order; their axes are wanted in the array's.
        units = [mine for mine in self._order if mine not in over]
        laid_out = counts.reshape([self.shape[mine] for mine in units])
        return np.asarray(laid_out.transpose(sorted(range(len(units)), key=units.__getitem__)))[()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Gate):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.unpack(), other.unpack()))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Gate of shape {self.shape}: {self.count()} of {self.size} open, {self.nbytes} bytes>"
