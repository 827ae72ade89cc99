"""NumPy: what users write, and the same into memory that is already there. It has one thread."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._family import SELU_ALPHA, SELU_SCALE
from ...peers import numpy as table
from . import SLOPE, Data, Way

__all__ = ["ways"]

Array = npt.NDArray[Any]


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    fresh, resident = (_values if kind == "value" else _gradients)(data)
    found = []
    if name in resident:
        found.append(Way("NumPy out=", resident[name]))
    if name in fresh:
        found.append(Way("NumPy", fresh[name], fresh=True))
    if (name, kind) == ("softplus", "value"):
        x, out = data.x, data.out
        found.append(Way("NumPy log1p(exp)", lambda: np.log1p(np.exp(x, out=out), out=out)))
    return found


_Idioms = dict[str, Callable[[], Any]]


def _values(data: Data) -> tuple[_Idioms, _Idioms]:
    """Fresh, resident."""
    x, out, one = data.x, data.out, data.dtype.type
    # Numbers of x's dtype: ml_dtypes' bfloat16 would make float32 of others.
    zero, six, slope, quarter, unit = one(0), one(6), one(0.01), one(SLOPE), one(1)
    alpha, scale = one(SELU_ALPHA), one(SELU_SCALE)

    def below(into: Array) -> Any:
        """exp(x) − 1 where x < 0, else 0."""
        np.minimum(x, zero, out=into)
        return np.expm1(into, out=into)

    def selu() -> Any:
        np.multiply(below(out), alpha, out=out)
        return np.multiply(np.add(np.maximum(x, zero, out=data.scratch), out, out=out), scale, out=out)

    def sigmoid() -> Any:
        return np.divide(unit, np.add(np.exp(np.negative(x, out=out), out=out), unit, out=out), out=out)

    def clip() -> Any:
        if data.dtype.kind == "V":  # np.clip does not know bfloat16
            return np.minimum(np.maximum(x, zero, out=out), six, out=out)
        return np.clip(x, zero, six, out=out)

    fresh: _Idioms = {name: functools.partial(f, x) for name, f in table.functions().items()}
    resident: _Idioms = {
        "relu": lambda: np.maximum(x, zero, out=out),
        "leaky_relu": lambda: np.maximum(x, np.multiply(x, slope, out=out), out=out),
        "prelu": lambda: np.maximum(x, np.multiply(x, quarter, out=out), out=out),
        "abs": lambda: np.abs(x, out=out),
        "relu6": clip,
        "squared_relu": lambda: np.square(np.maximum(x, zero, out=out), out=out),
        # exp(x) − 1 ≥ x, so the larger of the two is right on both sides.
        "elu": lambda: np.maximum(x, below(out), out=out),
        "celu": lambda: np.maximum(x, below(out), out=out),
        "selu": selu,
        "softplus": lambda: np.logaddexp(zero, x, out=out),
        "sigmoid": sigmoid,
        "tanh": lambda: np.tanh(x, out=out),
        "threshold": lambda: np.heaviside(x, zero, out=out),
    }
    return fresh, resident


def _gradients(data: Data) -> tuple[_Idioms, _Idioms]:
    """dh·f′(x): fresh, resident."""
    x, dh, out, one = data.x, data.dh, data.out, data.dtype.type
    zero, six, slope, quarter, unit, two = one(0), one(6), one(0.01), one(SLOPE), one(1), one(2)
    outer, inner = one(SELU_SCALE), one(SELU_SCALE * SELU_ALPHA)
    fresh: _Idioms = {
        "relu": lambda: dh * (x > zero),
        "leaky_relu": lambda: np.where(x > zero, dh, slope * dh),
        "prelu": lambda: np.where(x > zero, dh, quarter * dh),
        "abs": lambda: dh * np.sign(x),
        "relu6": lambda: dh * ((x > zero) & (x < six)),
        "squared_relu": lambda: two * np.maximum(x, zero) * dh,
        "elu": lambda: dh * np.where(x > zero, unit, np.exp(x)),
        "celu": lambda: dh * np.where(x > zero, unit, np.exp(x)),
        "selu": lambda: dh * np.where(x > zero, outer, inner * np.exp(x)),
        "softplus": lambda: dh / (unit + np.exp(-x)),
        "sigmoid": lambda: dh * ((s := unit / (unit + np.exp(-x))) * (unit - s)),
        "tanh": lambda: dh * (unit - np.square(np.tanh(x))),
    }
    resident: _Idioms = {
        "relu": lambda: np.multiply(dh, x > zero, out=out),
        "abs": lambda: np.multiply(dh, np.sign(x, out=out), out=out),
        "elu": lambda: np.multiply(np.exp(np.minimum(x, zero, out=out), out=out), dh, out=out),
        "celu": lambda: np.multiply(np.exp(np.minimum(x, zero, out=out), out=out), dh, out=out),
    }
    return fresh, resident
