"""Rectified-linear units for JAX: functions with derivatives of any order, forward and reverse, under every transform.

>>> import jax, rectifier.jax as rj
>>> jax.grad(rj.elu)(-1.0)
Array(0.36787945, dtype=float32, weak_type=True)
>>> rj.softplus(jax.numpy.array([0.0]), beta=2.0)
Array([0.3465736], dtype=float32)

Every backend runs the same composition of JAX's operators, within 2 ulp of the exact functions. ``rectifier.jax.nnx``
(Flax) and ``rectifier.jax.equinox`` have the layer whose slope is learned, PReLU.
"""

from __future__ import annotations

import importlib
from typing import Any

try:
    import jax as _jax  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "jax":  # JAX is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        'rectifier.jax: `jax` must be installed; it was not found. Run: pip install "rectifier[jax]"',
        name="jax",
    ) from error

from ..frameworks.jax.ops import (
    abs,
    celu,
    elu,
    leaky_average,
    leaky_relu,
    prelu,
    relu,
    relu6,
    selu,
    softplus,
    squared_relu,
)

__all__ = [
    "abs",
    "celu",
    "elu",
    "leaky_average",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "squared_relu",
]

#: Modules that need a library of their own, loaded when first used.
_LAZY = ("nnx", "equinox")


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rectifier.jax' has no attribute {name!r}")
    return importlib.import_module(f"rectifier.jax.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
