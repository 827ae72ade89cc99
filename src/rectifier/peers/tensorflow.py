"""TensorFlow: eager, as a function, and as one that XLA compiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import SLOPE, Array, Function, Functions, Lookup, each, plain

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "prelu_start"]


def functions() -> Functions:
    import tensorflow as tf

    names = ("relu", "relu6", "elu", "selu", "softplus", "sigmoid", "tanh")
    return {
        **{name: getattr(tf.nn, name) for name in names},
        "leaky_relu": lambda z: tf.nn.leaky_relu(z, 0.01),
        "prelu": lambda z: tf.nn.leaky_relu(z, SLOPE),
        "abs": tf.abs,
        "squared_relu": lambda z: tf.square(tf.nn.relu(z)),
    }


def as_it_comes() -> Functions:
    import tensorflow as tf

    return {
        name: getattr(tf.nn, name)
        for name in ("leaky_relu", "relu6", "elu", "celu", "softplus")
        if hasattr(tf.nn, name)
    }


def prelu_start() -> None:
    """Its layers are Keras's."""
    return None


def gradient(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f′ as a function of tensors, for an upstream gradient of 1."""
    import tensorflow as tf

    def of(z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            h = f(z)
        return tape.gradient(h, z)

    return of


def _call(f: Callable[[Any], Any]) -> Function:
    import tensorflow as tf

    def call(x: Array) -> Array:
        return plain(f(tf.constant(x)))

    return call


def _traced(**options: Any) -> Callable[[Functions], Lookup]:
    def function(f: Callable[[Any], Any]) -> Function:
        import tensorflow as tf

        return _call(tf.function(f, **options))

    return each(function, lambda f: function(gradient(f)))


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {
    "TensorFlow": each(_call, lambda f: _call(gradient(f))),
    "TensorFlow function": _traced(),
    "TensorFlow XLA": _traced(jit_compile=True),
}
PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (f"tensorflow.nn.{name}",) for name in ("relu", "leaky_relu", "relu6", "elu", "selu", "softplus")},
    "abs": ("tensorflow.abs",),
}
