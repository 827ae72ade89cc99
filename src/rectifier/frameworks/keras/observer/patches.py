"""Standing in for Keras's ``Layer.__call__`` and for the functions that rectify, for the time of a look."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import keras

from ...._family import family
from ..sites import CALLS, Site, identify_call

__all__ = ["Patches"]

LayerCall = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
FunctionCall = Callable[[Site, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

#: What the slope of a Leaky ReLU is called, and its default, where that is not as in Keras.
_SLOPES: Mapping[str, tuple[str, float]] = {
    "tensorflow": ("alpha", 0.2),
    "jax": ("negative_slope", 0.01),
    "torch": ("negative_slope", 0.01),
}


_OURS = tuple(name for name, row in family.items() if not row.comparison)


class Patches:
    """Hands each call of a layer and of a rectifying function, in this thread, to these two, which make it."""

    def __init__(self, layer: LayerCall, function: FunctionCall) -> None:
        self._layer, self._function = layer, function
        self._undo: list[tuple[Any, str, Any]] = []
        self._thread = 0

    def put(self) -> None:
        self._thread = threading.get_ident()
        original = keras.layers.Layer.__call__

        @wraps(original)
        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return original(layer, *args, **kwargs)
            return self._layer(original, layer, args, kwargs)

        self._replace(keras.layers.Layer, "__call__", call)
        for home, module in _homes().items():
            for name in _OURS if home == "rectifier" else CALLS:
                if callable(getattr(module, name, None)):
                    self._replace(module, name, self._watched(home, name, getattr(module, name)))

    def take_off(self) -> None:
        while self._undo:
            owner, name, value = self._undo.pop()
            setattr(owner, name, value)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        self._undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def _watched(self, home: str, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return original(*args, **kwargs)
            told = kwargs
            if name == "leaky_relu" and home in _SLOPES and len(args) < 2:
                theirs, default = _SLOPES[home]
                told = {"negative_slope": kwargs.get(theirs, default)}
            return self._function(identify_call(name, args, told), original, args, kwargs)

        return call


def _homes() -> dict[str, Any]:
    """The modules whose functions are called: that of Keras's backend, the backend's own, and ours for it."""
    backend = keras.backend.backend()
    own = {"jax": "jax.nn", "torch": "torch.nn.functional"}
    found = {"keras": sys.modules.get(f"keras.src.backend.{backend}.nn")}
    found[backend] = sys.modules["tensorflow"].nn if backend == "tensorflow" else sys.modules.get(own[backend])
    found["rectifier"] = sys.modules.get(f"rectifier.frameworks.{backend}.ops")
    return {name: module for name, module in found.items() if module is not None}
