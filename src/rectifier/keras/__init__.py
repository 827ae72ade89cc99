"""Rectified-linear units for Keras 3, on its backends PyTorch, JAX and TensorFlow: functions and layers that a saved
model finds again.

>>> import keras, rectifier.keras as rk
>>> model = keras.Sequential([keras.layers.Dense(16, activation=rk.elu), rk.LeakyReLU(0.1), keras.layers.Dense(2)])
>>> tuple(model(keras.ops.zeros((3, 8))).shape)
(3, 2)
>>> keras.ops.convert_to_numpy(rk.softplus([0.0], beta=2.0)).round(4)
array([0.3466], dtype=float32)

The functions are registered as "rectifier>elu" and so on, also as names for ``activation=``; the layers likewise. Each
backend computes with its framework's functions here: ``rectifier.torch``'s bits on PyTorch, within 2 ulp on JAX and
TensorFlow.
"""

from __future__ import annotations

import importlib as _importlib
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name == "keras":
        said = 'rectifier.keras: `keras` must be installed; it was not found. Run: pip install "rectifier[keras]"'
    elif error.name in ("torch", "jax", "tensorflow"):
        said = (
            f"rectifier.keras: `{error.name}`, on which Keras is set to run, must be installed; it was not found. "
            f'Run: pip install "rectifier[{error.name}]", or set KERAS_BACKEND to one that is installed.'
        )
    else:  # Keras is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(said, name=error.name) from error

from ..frameworks.keras.ops import (
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
from ._layers import CELU, ELU, SELU, Abs, LeakyReLU, PReLU, ReLU, ReLU6, Softplus, SquaredReLU
from ._leaky import LeakyAverage, LeakyCell

if _TYPE_CHECKING:
    from ._watch import Watch

__all__ = [
    "CELU",
    "ELU",
    "SELU",
    "Abs",
    "LeakyAverage",
    "LeakyCell",
    "LeakyReLU",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Softplus",
    "SquaredReLU",
    "Watch",
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


def __getattr__(name: str) -> _Any:
    """The check-up's part is loaded where it is used."""
    if name == "Watch":
        return _importlib.import_module(f"{__name__}._watch").Watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
