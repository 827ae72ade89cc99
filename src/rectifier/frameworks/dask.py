"""Gates of Dask arrays: one packed gate a chunk, made where the chunk is."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from .._gate import Gate

__all__ = ["ChunkedGate", "chunked"]


def chunked(x: Any) -> Any:
    """The Dask array that x is, or holds as xarray's do; None for all others. Dask is not imported for the answer."""
    dask_array = sys.modules.get("dask.array")
    if dask_array is None:
        return None
    if isinstance(x, np.ndarray):  # whose ``data`` is its memory, which NumPy does not tell of every dtype
        return None
    return next((array for array in (x, getattr(x, "data", None)) if isinstance(array, dask_array.Array)), None)


class ChunkedGate:
    """Which values of a Dask array are open (z > 0, or NaN), one bit each: a :class:`Gate` for each chunk.

    Nothing is computed before it is asked for. After :meth:`persist` the workers hold the bits, a thirty-second of
    float32 values.

    >>> import dask.array as da, numpy as np, rectifier
    >>> gate = rectifier.relu.gate(da.from_array(np.array([[1.0, -2.0], [3.0, 0.5]]), chunks=(1, 2)))
    >>> gate.count(axis=0).compute()
    array([2, 1])
    """

    __slots__ = ("_gates",)

    def __init__(self, z: Any) -> None:
        # Blocks need not be arrays for Dask to carry them, as long as what takes them knows what they are.
        self._gates = z.map_blocks(_gate_of, dtype=np.bool_, meta=np.empty((0,) * z.ndim, np.bool_))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it was taken from."""
        return tuple(self._gates.shape)

    def count(self, axis: int | tuple[int, ...] | None = None) -> Any:
        """Number of open gates, over the whole array or along ``axis``, as a lazy Dask array of int64.

        A reduction: each chunk is counted where it is (a popcount of its bits), and only counts travel.
        """
        import dask.array as da

        return da.reduction(
            self._gates,
            chunk=_counts,
            aggregate=np.sum,
            combine=np.sum,
            axis=axis,
            dtype=np.int64,
            meta=np.empty(0, np.int64),
        )

    def unpack(self) -> Any:
        """One boolean a value, as a lazy Dask array."""
        return self._gates.map_blocks(Gate.unpack, dtype=np.bool_, meta=np.empty((0,) * self._gates.ndim, np.bool_))

    def persist(self) -> ChunkedGate:
        """The same gate with its bits computed and kept by the workers."""
        kept = object.__new__(ChunkedGate)
        kept._gates = self._gates.persist()
        return kept

    def compute(self) -> Gate:
        """One Gate of the whole array, in this process."""
        return Gate(self.unpack().compute().view(np.int8))

    def __repr__(self) -> str:
        return f"<ChunkedGate of shape {self.shape} in {self._gates.npartitions} chunks>"


def _gate_of(block: npt.NDArray[Any]) -> Gate:
    return Gate(np.asarray(block))


def _counts(gate: Gate, axis: tuple[int, ...], keepdims: bool) -> npt.NDArray[np.int64]:
    counts = np.asarray(gate.count(axis))
    return np.expand_dims(counts, axis) if keepdims else counts
