"""Counting which units fired by packing gates and counting bits later, many steps at once."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import numpy.typing as npt
import torch

from .... import _native
from .. import kernels

__all__ = ["Popcount", "countable"]

Tensor = torch.Tensor

#: Values that are packed in one call: what is written on the side then stays in the cache.
_CHUNK = 1 << 15
#: Gates of at most so many steps, and of so many bytes, wait to be counted. One by one would take eight times as long.
_STEPS, _BYTES = 16, 1 << 20
#: Written by the loops and never read, so that threads may share it.
_ASIDE = np.empty(_CHUNK, np.float64)
_ASIDE_AT = _ASIDE.ctypes.data

_CODES = {dtype: kernels.bound("relu6", dtype)[:2] for dtype in kernels.CODE}
_with_gate_at, _strided = _native.with_gate_at, torch.strided
#: The hooks that tensors are saved under, as PyTorch's own code asks for them; None where it has no such question.
_top_hooks = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
_PLAIN = (Tensor, torch.nn.Parameter)


def countable() -> bool:
    """Whether tensors' memory may be read here and now: no transform or mode stands between them and it."""
    return kernels.reach(kernels.BYTES)


class Popcount:
    """Gates of one site, packed at each step and counted together."""

    def __init__(self) -> None:
        self._shape: torch.Size | None = None
        self._bits = np.empty(0, np.uint8)
        self._nan = np.empty(_CHUNK // 8, np.uint8)
        self._nan_at = self._nan.ctypes.data
        self._at = self._size = self._values = self._held = self._most = 0

    def hold(self, z: Tensor, axis: int, fired: npt.NDArray[np.int64]) -> bool:
        """Pack the gate of z, of any float dtype. False, and nothing is held, where that cannot be done or z has a NaN.

        axis: of the units, counted from the front. fired: what is held is added to it once that is much, or z has
        another shape than before. Call :func:`countable` before the first of a forward pass.
        """
        code = _CODES.get(z.dtype)
        if code is None or type(z) not in _PLAIN or not z.is_cpu or z.layout is not _strided or not z.is_contiguous():
            return False
        if z.shape != self._shape:
            self.count(fired)
            self._fit(z, axis)
        elif self._held == self._most:
            self.count(fired)
        source, width = z.data_ptr(), z.element_size()
        if source & code[1] or z.is_neg():
            return False
        to, left = self._at + self._held * self._size, self._values
        while left > 0:
            n = min(left, _CHUNK)
            # The gate and, as the plane of 0 < z < 0 or NaN, whether there is a NaN: it is open there, and no firing.
            if _with_gate_at("relu6", code[0], source, _ASIDE_AT, n, 0.0, to, self._nan_at):
                return False
            source, to, left = source + n * width, to + n // 8, left - n
        self._held += 1
        return True

    def keep(self, h: object, z: Tensor, axis: int, fired: npt.NDArray[np.int64]) -> bool:
        """Take over the gate that our ReLU has kept for backward of h, with no NaN in it.

        False, and nothing is held, where none was kept as it is wanted here, or there may be a NaN: it is open in what
        was kept, and makes the sum of h not finite (as an infinity does).
        """
        if type(h) is not Tensor or h.shape != z.shape or not h.is_contiguous() or h.dtype not in _CODES:
            return False
        # What hooks have packed they would have to unpack; a checkpoint would compute its block again.
        if _top_hooks is None or _top_hooks(False) is not None:
            return False
        kept = getattr(h.grad_fn, "saved_tensors", None)
        if not kept or not kernels.reach_kept(kept[0], h.numel()):
            return False
        if not math.isfinite(h.detach().sum(dtype=torch.float64 if h.dtype is torch.float64 else torch.float32).item()):
            return False
        if h.shape != self._shape:
            self.count(fired)
            self._fit(h, axis)
        elif self._held == self._most:
            self.count(fired)
        ctypes.memmove(self._at + self._held * self._size, kept[0].data_ptr(), self._size)
        self._held += 1
        return True

    def _fit(self, z: Tensor, axis: int) -> None:
        self._shape, self._values = z.shape, z.numel()
        self._size = (self._values + 7) >> 3
        # Planes of bits can be counted as one where they end at a byte, and one after the other is more examples.
        joined = axis > 0 and self._values % 8 == 0
        self._most = max(1, min(_STEPS, _BYTES // max(self._size, 1))) if joined else 1
        self._bits = np.empty(self._most * self._size, np.uint8)
        self._at = self._bits.ctypes.data
        self._kept = tuple(d == axis for d in range(z.ndim))

    def count(self, fired: npt.NDArray[np.int64]) -> None:
        """Add what is held to ``fired``: how often each unit fired."""
        if self._held and self._shape is not None:
            sizes = (self._held * self._shape[0], *self._shape[1:])
            bits = self._bits[: (math.prod(sizes) + 7) >> 3]
            _native.count_gates(bits, sizes, self._kept, fired)
            self._held = 0
