"""What other libraries compute, each called as its users call it: one table for verify, bench and compare.

One file a library, loaded when it is asked. It has

- ``functions()``: the family on the library's own arrays, at *our* default parameters (:data:`SLOPE` for prelu), so
  that all compute the same;
- ``WAYS``: label → a way of running such functions on NumPy arrays, the usual way first;
- ``PLACES``: function → the places where users find it, whose signatures tell the library's *own* defaults;
- ``as_it_comes()``: functions with the library's own defaults, and ``prelu_start()`` how a learned slope begins.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

__all__ = ["MODULES", "SLOPE", "Function", "Functions", "Lookup", "Peer", "each", "function", "installed", "load"]

Array = npt.NDArray[Any]
#: On NumPy arrays.
Function = Callable[[Array], Array]
#: Name → the function on a library's own arrays.
Functions = Mapping[str, Callable[[Any], Any]]
#: Of a name and a kind ("value", "derivative"): the function on NumPy arrays, or None where there is none.
Lookup = Callable[[str, str], Function | None]

#: The slope of prelu wherever functions are compared: PyTorch's first one.
SLOPE = 0.25

#: Name of a peer → modules that it needs; its first word is the file here.
MODULES: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "numpy idiom": ("numpy",),
    "scipy": ("scipy",),
    "jax": ("jax",),
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    # A graph for it is written with a package of its own.
    "onnxruntime": ("onnxruntime", "onnx"),
}


class Peer(Protocol):
    """A file of this folder."""

    WAYS: Mapping[str, Callable[[Functions], Lookup]]
    PLACES: Mapping[str, tuple[str, ...]]

    def functions(self) -> Functions: ...
    def as_it_comes(self) -> Functions: ...
    def prelu_start(self) -> dict[str, float | None] | None: ...


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def load(peer: str) -> Peer:
    """The file of a peer; its library is loaded when one of its functions is called."""
    return cast(Peer, importlib.import_module(f".{peer.partition(' ')[0]}", __name__))


def function(peer: str, name: str, kind: str, dtype: str) -> Function | None:
    """The peer's function on arrays of a dtype at our default parameters, in its usual way; None where it has none."""
    if not all(map(installed, MODULES[peer])):
        return None
    # ONNX Runtime's processor provider computes float32 for all, the other dtypes for some.
    if (peer == "onnxruntime" and dtype != "float32") or (peer == "scipy" and dtype == "bfloat16"):
        return None
    library = load(peer)
    return next(iter(library.WAYS.values()))(library.functions())(name, kind)


def each(
    value: Callable[[Callable[[Any], Any]], Function], derivative: Callable[[Callable[[Any], Any]], Function] | None
) -> Callable[[Functions], Lookup]:
    """A way that runs each function by itself.

    value, derivative: make of a function on the library's arrays one on NumPy's, which returns f or f′.
    """

    def way(functions: Functions) -> Lookup:
        def lookup(name: str, kind: str) -> Function | None:
            f = functions.get(name)
            make = {"value": value, "derivative": derivative}.get(kind)
            return None if f is None or make is None else make(f)

        return lookup

    return way


def plain(array: Any) -> Array:
    """A result as NumPy's."""
    return np.asarray(array)
