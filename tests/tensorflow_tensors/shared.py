"""What the tests of TensorFlow share: the functions with their parameters, and the three ways to run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

import rectifier.tensorflow as rtf
from tests.jax_arrays.shared import GATED, NAMES, OTHER, REQUIRED, SPECIAL

__all__ = ["GATED", "NAMES", "OTHER", "REQUIRED", "SPECIAL", "WAYS", "bound", "derivatives"]

#: Eager, as a graph, compiled.
WAYS: dict[str, Callable[[Any], Any]] = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "XLA": lambda f: tf.function(f, jit_compile=True, autograph=False),
}


def bound(name: str, **given: Any) -> Callable[[Any], Any]:
    """The function with its required parameter, and those given."""
    arguments = REQUIRED.get(name, {}) | given
    return lambda z: getattr(rtf, name)(z, **arguments)


def derivatives(f: Any, x: Any, order: int = 1) -> list[Any]:
    """f′(x), f″(x), … of a function of each element; zeros where TensorFlow says that nothing depends on x."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = derivatives(f, x, order - 1) if order > 1 else []
        last = found[-1] if found else f(x)
    return [*found, tape.gradient(last, x, unconnected_gradients="zero")]
