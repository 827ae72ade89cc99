"""JAX, compiled; Flax for the layer whose slope is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import SLOPE, Array, Function, Functions, Lookup, each, installed, plain

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "prelu_start"]


def functions() -> Functions:
    import jax
    import jax.numpy as jnp

    names = ("relu", "leaky_relu", "relu6", "elu", "celu", "selu", "softplus", "sigmoid")
    return {
        **{name: getattr(jax.nn, name) for name in names},
        "prelu": _prelu if installed("flax") else lambda z: jax.nn.leaky_relu(z, SLOPE),
        "abs": jnp.abs,
        "squared_relu": lambda z: jnp.square(jax.nn.relu(z)),
        "tanh": jnp.tanh,
        "threshold": lambda z: (z > 0).astype(z.dtype),
    }


def _prelu(z: Any) -> Any:
    import flax.linen
    import jax.numpy as jnp

    return flax.linen.PReLU().apply({"params": {"negative_slope": jnp.asarray(SLOPE, z.dtype)}}, z)


def as_it_comes() -> Functions:
    import jax

    return {name: getattr(jax.nn, name) for name in ("leaky_relu", "relu6", "elu", "celu", "softplus")}


def prelu_start() -> dict[str, float | None] | None:
    if not installed("flax"):
        return None
    import flax.linen
    import jax

    slope = flax.linen.PReLU().init(jax.random.key(0), jax.numpy.ones((2, 3)))["params"]["negative_slope"]
    return {"num_parameters": int(slope.size), "init": float(slope.mean())}


def value(f: Callable[[Any], Any]) -> Function:
    import jax

    compiled = jax.jit(f)

    def call(x: Array) -> Array:
        with jax.enable_x64(True):  # here alone: it is the user's setting
            return plain(compiled(x))

    return call


def derivative(f: Callable[[Any], Any]) -> Function:
    import jax

    return value(jax.vmap(jax.grad(f)))


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"JAX": each(value, derivative)}
PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (f"jax.nn.{name}",) for name in ("relu", "leaky_relu", "relu6", "elu", "celu", "selu", "softplus")},
    "prelu": ("flax.linen.PReLU",),
    "abs": ("jax.numpy.abs",),
}
