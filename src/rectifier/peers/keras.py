"""Keras, on the backend that its process is set to; the gradients are that backend's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from . import SLOPE, Array, Function, Functions, Lookup, each, plain

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "prelu_start"]


def functions() -> Functions:
    import keras

    names = ("relu", "relu6", "elu", "celu", "selu", "softplus", "sigmoid", "tanh")
    found: dict[str, Callable[[Any], Any]] = {name: getattr(keras.activations, name) for name in names}
    return {
        **found,
        "leaky_relu": lambda z: keras.activations.leaky_relu(z, negative_slope=0.01),
        "prelu": _prelu,
        "abs": keras.ops.abs,
        "squared_relu": lambda z: keras.ops.square(keras.activations.relu(z)),
    }


@functools.cache
def _layer(dtype: str) -> Any:
    """PReLU with one slope."""
    import keras

    layer = keras.layers.PReLU(keras.initializers.Constant(SLOPE), shared_axes=[1], dtype=dtype)
    layer.build((1, 2))
    return layer


def _prelu(z: Any) -> Any:
    import keras

    dtype = keras.backend.standardize_dtype(z.dtype)
    return _layer(dtype if "float" in dtype else "float32")(z[None])[0]


def as_it_comes() -> Functions:
    """Layers, whose defaults are not always the functions'."""
    import keras

    return {
        "leaky_relu": keras.layers.LeakyReLU(),
        "elu": keras.layers.ELU(),
        **{name: keras.layers.Activation(name) for name in ("relu6", "celu", "softplus")},
    }


def prelu_start() -> dict[str, float | None]:
    import keras

    layer = keras.layers.PReLU()
    layer.build((1, 3))
    slope = keras.ops.convert_to_numpy(layer.alpha)
    # One an element: the number is the input's to say.
    return {"num_parameters": None if slope.size == 3 else int(slope.size), "init": float(slope.mean())}


def _value(f: Callable[[Any], Any]) -> Function:
    import keras

    def call(x: Array) -> Array:
        return _array(f(keras.ops.convert_to_tensor(x, dtype=x.dtype.name)))

    return call


def _array(tensor: Any) -> Array:
    import keras

    if keras.backend.backend() == "torch":  # whose bfloat16 Keras cannot convert
        from . import torch

        return torch.array(tensor)
    return plain(keras.ops.convert_to_numpy(tensor))


def _derivative(f: Callable[[Any], Any]) -> Function:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        from . import tensorflow

        return _value(tensorflow.gradient(f))
    if backend == "jax":
        import jax

        return _value(lambda z: jax.vjp(f, z)[1](jax.numpy.ones_like(z))[0])
    if backend == "torch":
        from . import torch

        return lambda x: torch.gradient(f, x)
    raise NotImplementedError(f"no gradients on {backend}")


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"Keras": each(_value, _derivative)}
PLACES: Mapping[str, tuple[str, ...]] = {
    "relu": ("keras.activations.relu", "keras.layers.ReLU"),
    "leaky_relu": ("keras.activations.leaky_relu", "keras.layers.LeakyReLU"),
    "prelu": ("keras.layers.PReLU",),
    "abs": ("keras.ops.abs",),
    "relu6": ("keras.activations.relu6",),
    "elu": ("keras.activations.elu", "keras.layers.ELU"),
    "celu": ("keras.activations.celu",),
    "selu": ("keras.activations.selu",),
    "softplus": ("keras.activations.softplus",),
}
