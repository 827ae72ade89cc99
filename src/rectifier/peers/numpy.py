"""NumPy has none of the functions: what users write instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .._family import SELU_ALPHA, SELU_SCALE
from . import SLOPE, Array, Function, Functions, Lookup

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "prelu_start"]

# Every number is of x's dtype: ml_dtypes' bfloat16 would make float32 of others.


def _clip(x: Array) -> Array:
    one = x.dtype.type
    # np.clip does not know bfloat16.
    clipped: Array = np.minimum(np.maximum(x, one(0)), one(6)) if x.dtype.kind == "V" else np.clip(x, one(0), one(6))
    return clipped


def _selu(x: Array) -> Array:
    one = x.dtype.type
    selu: Array = one(SELU_SCALE) * np.where(x > one(0), x, one(SELU_ALPHA) * np.expm1(x))
    return selu


def _elu(x: Array) -> Array:
    return np.where(x > x.dtype.type(0), x, np.expm1(x))


def _sigmoid(x: Array) -> Array:
    one = x.dtype.type(1)
    sigmoid: Array = one / (one + np.exp(-x))
    return sigmoid


_VALUES: dict[str, Function] = {
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "leaky_relu": lambda x: np.where(x > x.dtype.type(0), x, x.dtype.type(0.01) * x),
    "prelu": lambda x: np.where(x > x.dtype.type(0), x, x.dtype.type(SLOPE) * x),
    "abs": np.abs,
    "relu6": _clip,
    "squared_relu": lambda x: np.square(np.maximum(x, x.dtype.type(0))),
    "elu": _elu,
    "celu": _elu,
    "selu": _selu,
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "threshold": lambda x: (x > x.dtype.type(0)).astype(x.dtype),
}
_DERIVATIVES: dict[str, Function] = {
    "relu": lambda x: (x > x.dtype.type(0)).astype(x.dtype),
    "abs": np.sign,
    "elu": lambda x: np.where(x > x.dtype.type(0), x.dtype.type(1), np.exp(x)),
    "softplus": _sigmoid,
}
#: Written as often, and worse.
_COPIED: dict[str, Function] = {
    "relu": lambda x: x * (x > x.dtype.type(0)),
    "elu": lambda x: np.where(x > x.dtype.type(0), x, np.exp(x) - x.dtype.type(1)),
    "softplus": lambda x: np.log1p(np.exp(x)),
}


def functions() -> Functions:
    return _VALUES


def as_it_comes() -> Functions:
    return {}


def prelu_start() -> None:
    return None


def _usual(functions: Functions) -> Lookup:
    kinds = {"value": functions, "derivative": _DERIVATIVES}
    return lambda name, kind: kinds.get(kind, {}).get(name)


def _copied(functions: Functions) -> Lookup:
    return lambda name, kind: _COPIED.get(name) if kind == "value" else None


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"NumPy idiom": _usual, "NumPy idiom, copied often": _copied}
PLACES: Mapping[str, tuple[str, ...]] = {"abs": ("numpy.abs",)}
