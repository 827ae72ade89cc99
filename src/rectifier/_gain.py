"""The gain of a rectifier: the factor that keeps the scale of activations at initialisation."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ._family import family
from ._functions import FUNCTIONS
from .errors import RectifierTypeError, RectifierValueError

__all__ = ["gain"]

#: A normal variable lies beyond this with probability below 1e-32: nothing that float64 could see.
_REACH = 12.0


def gain(name: str, **parameters: float) -> float:
    """g = 1/√E[f(z)²] for z ~ N(0, 1): weights of standard deviation g/√fan_in keep the scale of activations.

    √2 for ReLU, √(2/(1 + s²)) for a slope s (He et al. 2015, arXiv:1502.01852), and the same integral for the others.
    For functions that are not homogeneous (relu6, squared_relu, elu, celu, selu, softplus, sigmoid, tanh) it holds at
    unit scale of z. Computed from the function itself by Gauss–Legendre quadrature, split at the kinks.

    name: a key of ``rectifier.family``. Parameters: numbers, as in the function; prelu starts at its layer's 0.25.
    Raises RectifierValueError for an unknown name, RectifierTypeError for a parameter that is not a number.

    >>> import rectifier
    >>> round(rectifier.gain("relu") ** 2, 12)
    2.0
    """
    if not isinstance(name, str) or name not in family:
        raise RectifierValueError(
            f"gain: `name` must be one of {', '.join(family)}; got {name!r}. See rectifier.family."
        )
    for parameter, value in parameters.items():
        if np.ndim(value) != 0:
            raise RectifierTypeError(
                f"gain: `{parameter}` must be one number; got an array of shape {np.shape(value)}. "
                "Call it once a value."
            )
    if name == "prelu":
        parameters = {"negative_slope": 0.25, **parameters}
    with np.errstate(over="ignore", under="ignore"):
        second_moment = sum(_integral(name, low, high, parameters) for low, high in _pieces(parameters))
    if not 0.0 < second_moment < math.inf:
        raise RectifierValueError(
            f"gain: `{next(iter(parameters), name)}` must leave a second moment that float64 can hold; "
            f"got {parameters}, and with it {second_moment:g}. Pass a value nearer to 1."
        )
    return 1.0 / math.sqrt(second_moment)


def _pieces(parameters: dict[str, float]) -> list[tuple[float, float]]:
    kinks = {0.0, min(float(parameters.get("ceiling", 6.0)), _REACH)}
    edges = sorted({-_REACH, *kinks, _REACH})
    return list(zip(edges, edges[1:], strict=False))


def _integral(name: str, low: float, high: float, parameters: dict[str, Any]) -> float:
    nodes, weights = _quadrature()
    z = 0.5 * (high - low) * nodes + 0.5 * (high + low)
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    squares = np.square(FUNCTIONS[name](z, **parameters)) * density
    return float(0.5 * (high - low) * np.dot(weights, squares))


@functools.cache
def _quadrature() -> tuple[Any, Any]:
    return np.polynomial.legendre.leggauss(100)
