"""The range of an activation over an interval: monotone pieces, and those that turn or level off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["EXACT", "KNOWN", "ends"]

Floats = npt.NDArray[np.float64]
Given = Mapping[str, float | Floats]

#: They only choose among what they are given, so that nothing is rounded.
EXACT = frozenset({"relu", "relu6", "abs", "hardtanh"})
#: Never outside these, however they are rounded.
_BETWEEN = {"sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
#: f(z) ≤ max(z, 0), and nowhere below this (a little less than the least value).
_DIPS = {"silu": -0.2785, "gelu": -0.1701, "hardswish": -0.3751}
_RISING = frozenset({"squared_relu", "leaky_relu", "prelu", "elu", "celu", "selu", "softplus"})

#: Functions whose range is known.
KNOWN = EXACT | _RISING | frozenset(_BETWEEN) | frozenset(_DIPS)

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def ends(function: str, low: Floats, high: Floats, given: Given) -> tuple[Floats, Floats, Floats]:
    """Least and largest value over [low, high] in exact arithmetic, and the size of what is rounded on the way.

    given: its parameters, by their names in the family; alpha, beta and ceiling positive, the slope of any sign.
    """
    if function in _BETWEEN:
        bottom, top = (np.full_like(low, end) for end in _BETWEEN[function])
        return bottom, top, np.ones_like(low)
    if function in _DIPS:
        top = np.maximum(high, 0.0)
        return np.full_like(low, _DIPS[function]), top, top + 1.0
    at_low, at_high = _value(function, low, given), _value(function, high, given)
    bottom, top = np.minimum(at_low, at_high), np.maximum(at_low, at_high)
    if function in ("leaky_relu", "prelu", "abs"):  # a slope of any sign: 0 is the other place to look at
        across = (low < 0) & (high > 0)
        bottom, top = np.where(across, np.minimum(bottom, 0.0), bottom), np.where(across, np.maximum(top, 0.0), top)
    size = np.maximum(np.abs(bottom), np.abs(top))
    if function in ("elu", "celu", "selu"):
        size = size + np.where(low < 0, 2.0 * given.get("alpha", 1.0), 0.0)
    if function == "softplus":
        # PyTorch gives z itself from βz = 20 on, which is e⁻²⁰/β off
        bottom, size = bottom - 3e-9 / given["beta"], size + 1.0 / given["beta"]
    return bottom, top, size


def _value(function: str, z: Floats, given: Given) -> Floats:
    negative, positive = np.minimum(z, 0.0), np.maximum(z, 0.0)
    match function:
        case "relu":
            return positive
        case "relu6":
            return np.minimum(positive, given.get("ceiling", 6.0))
        case "hardtanh":
            return np.clip(z, given["low"], given["high"])
        case "abs":
            return np.abs(z)
        case "squared_relu":
            return positive * positive
        case "leaky_relu" | "prelu":
            return positive + np.where(z < 0, given["negative_slope"] * negative, 0.0)
        case "elu":
            return positive + given.get("alpha", 1.0) * np.expm1(negative)
        case "celu":
            alpha = given.get("alpha", 1.0)
            return positive + alpha * np.expm1(negative / alpha)
        case "selu":
            return _SELU_SCALE * (positive + _SELU_ALPHA * np.expm1(negative))
        case "softplus":
            return np.asarray(np.logaddexp(0.0, given["beta"] * z) / given["beta"])
    raise AssertionError(function)
