"""What is held beside the peers: rectifier's own functions on NumPy arrays, and those of its other frameworks."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping

from .._functions import FUNCTIONS
from . import SLOPE, Function, Functions, Lookup

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "functions_of", "prelu_start"]


def functions() -> Functions:
    return functions_of("rectifier")


def functions_of(module: str) -> Functions:
    """The functions of ``rectifier.torch`` and its like, as a peer's own would be given."""
    there = importlib.import_module(module)
    given = {"prelu": {"negative_slope": SLOPE}}
    return {
        name: functools.partial(getattr(there, name), **given.get(name, {}))
        for name in FUNCTIONS
        if hasattr(there, name)
    }


def as_it_comes() -> Functions:
    return {}


def prelu_start() -> None:
    return None


def _usual(functions: Functions) -> Lookup:
    def lookup(name: str, kind: str) -> Function | None:
        f = functions.get(name)
        if f is None or kind == "value":
            return f
        given = {"negative_slope": SLOPE} if name == "prelu" else {}
        return functools.partial(FUNCTIONS[name].derivative, **given) if kind == "derivative" else None

    return lookup


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"rectifier": _usual}
PLACES: Mapping[str, tuple[str, ...]] = {name: (f"rectifier.{name}",) for name in FUNCTIONS}
