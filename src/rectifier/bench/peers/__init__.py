"""Who is timed, one file a library; each says in how many ways it computes a function, each way at its best.

A file's ``ways(name, kind, data, threads)`` returns the ways it has, none where it has no such function; what the
library does not do for a dtype shows at the first call.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ...peers import SLOPE

__all__ = ["HUGE_PAGES", "MODULES", "SLOPE", "Data", "Way", "installed", "ways"]

Array = npt.NDArray[Any]

#: Name of a peer, and of its file here → the module that it needs.
MODULES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "onnxruntime": "onnxruntime",
}
#: PyTorch's own switch, read when it is loaded, that puts large results into huge pages.
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"


@dataclass(frozen=True)
class Way:
    """One way of computing a function."""

    label: str
    run: Callable[[], Any]
    """Computes once; what it returns is the result."""
    fresh: bool = False
    """The result goes into memory of its own; otherwise into ``Data.out``."""


class _Peer(Protocol):
    def ways(self, name: str, kind: str, data: Data, threads: int) -> Sequence[Way]: ...


class Data:
    """The arrays that every candidate of a size shares, so that memory does not grow with their number.

    They begin on a cache line, as the frameworks' own do, and all their memory is there before the first call.
    """

    def __init__(self, dtype: np.dtype[Any], values: int) -> None:
        self.dtype = dtype
        self.values = values
        self.x = self._normal(0, 3)
        self.out = self._resident()

    @functools.cached_property
    def dh(self) -> Array:
        """The upstream gradient of a backward pass."""
        return self._normal(1, 1)

    @functools.cached_property
    def scratch(self) -> Array:
        """For an idiom that needs a second array to write into."""
        return self._resident()

    def _resident(self) -> Array:
        size = self.values * self.dtype.itemsize
        memory = np.full(size + 64, 1, np.uint8)
        start = -memory.ctypes.data % 64
        array: Array = memory[start : start + size].view(self.dtype)
        return array

    def _normal(self, seed: int, scale: float) -> Array:
        """The same million normal values over and over: drawing 64 M would take longer than timing them."""
        array = self._resident()
        drawn = scale * np.random.default_rng(seed).standard_normal(min(self.values, 1 << 20), np.float32)
        some = drawn.astype(self.dtype)
        for start in range(0, self.values, some.size):
            part = array[start : start + some.size]
            part[:] = some[: part.size]
        return array


def installed(peer: str) -> bool:
    return importlib.util.find_spec(MODULES[peer]) is not None


def ways(peer: str, name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    """How a peer (or "ours") computes a function; only here is its library loaded."""
    module = cast(_Peer, importlib.import_module(f".{peer}", __name__))
    return module.ways(name, kind, data, threads)
