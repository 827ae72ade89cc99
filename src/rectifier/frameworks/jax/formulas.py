"""Value and derivative of every function: the JAX arithmetic, and all of it.

In float64 for float64 and in float32 otherwise. Within 2 ulp, in the tails and for every parameter: βz and z/α are
carried with what their rounding has lost. NaN gives NaN; at a kink the row's convention.

Values and slopes are opaque to differentiation (``jax.custom_jvp``): each has the derivative stated here, which is one
of them again, so every order is as near as the first. Differentiating through the polynomials would not be.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._family import SELU_ALPHA, SELU_SCALE
from .exponential import FORMATS, exp, expm1, log1p_exp, product, quotient, remainder, scaled

__all__ = ["DERIVATIVE", "FROM_OUTPUT", "VALUE"]

Array = Any
Parameter = Any
"""The one parameter of a row: None for a row without and for 1, where it is the default and multiplies; an array of the
dtype that is computed in, which broadcasts."""
Formula = Callable[[Array, Parameter], Array]


def _opaque(derivative: Formula) -> Callable[[Formula], Formula]:
    """A function of (z, parameter) whose derivative in z is ``derivative``; the parameter is fixed."""

    def decorate(formula: Formula) -> Formula:
        function = jax.custom_jvp(formula)

        @function.defjvp  # type: ignore[untyped-decorator]
        def rule(primals: Any, tangents: Any) -> Any:
            return function(*primals), derivative(*primals) * tangents[0]

        functools.update_wrapper(function, formula)
        return function  # type: ignore[no-any-return]

    return decorate


def _below(z: Array) -> Array:
    """z where it is negative, 0 (or NaN) or below; 0 elsewhere."""
    return jnp.where(z > 0, 0.0, z).astype(z.dtype)


def _two(number: float, dtype: Any) -> tuple[Any, Any]:
    """A float64 number as one of dtype and the rest."""
    head = np.dtype(dtype).type(number)
    return head, np.dtype(dtype).type(number - float(head))


def _times(y: Array, lost: Array, factor: tuple[Any, Any]) -> Array:
    """(y + lost)·(the sum of factor)."""
    return y * factor[0] + (y * factor[1] + lost * factor[0])


def _scaled_product(z: Array, beta: Parameter) -> tuple[Array, Array | float]:
    """βz as a number and the rest."""
    if beta is None:
        return z, 0.0
    t, lost = product(z, beta)
    # Beyond it nothing depends on the rest, and ∞ has none.
    return t, jnp.where(jnp.abs(t) < 2000.0, lost, 0.0)


def _share(z: Array, alpha: Parameter) -> tuple[Array, Array | float]:
    """min(0, z)/α and what its rounding has lost."""
    z = _below(z)
    if alpha is None:
        return z, 0.0
    y, lost = quotient(z, alpha)
    return y, jnp.where(y > -2000.0, lost, 0.0)


# Slopes ------------------------------------------------------------------------------------------------------------


def _exponential(z: Array, alpha: Parameter) -> Array:
    k, y, lost = exp(_below(z))
    return scaled(k, y + lost) if alpha is None else scaled(k + 1, 0.5 * (y + lost) * alpha)


@_opaque(lambda z, alpha: jnp.where(z > 0, 0.0, _elu_curve(z, alpha)).astype(z.dtype))
def _elu_curve(z: Array, alpha: Parameter) -> Array:
    """αe^min(0, z)."""
    return _exponential(z, alpha)


@_opaque(lambda z, alpha: _over(jnp.where(z > 0, 0.0, _celu_curve(z, alpha)).astype(z.dtype), alpha))
def _celu_curve(z: Array, alpha: Parameter) -> Array:
    """e^(min(0, z)/α)."""
    k, y, lost = exp(*_share(z, alpha))
    return scaled(k, y + lost)


@_opaque(lambda z, _: jnp.where(z > 0, 0.0, _selu_curve(z, _)).astype(z.dtype))
def _selu_curve(z: Array, _: Parameter) -> Array:
    """λαe^min(0, z)."""
    k, y, lost = exp(_below(z))
    return scaled(k, _times(y, lost, _two(SELU_SCALE * SELU_ALPHA, z.dtype)))


@_opaque(lambda z, beta: _by(_sigmoid(z, beta) * _sigmoid(-z, beta), beta))  # 1 − σ would cancel
def _sigmoid(z: Array, beta: Parameter) -> Array:
    """1/(1 + e^(−βz))."""
    t, lost = _scaled_product(z, beta)
    negative = t < 0
    k, y, rest = exp(-jnp.abs(t), jnp.where(negative, lost, -lost) if beta is not None else 0.0)
    # Far below it is e^t, where its digits may be those of a subnormal number.
    e = scaled(k, y)
    rest = jnp.where(k > -64, scaled(k, rest), 0.0)
    d = 1.0 + e
    top, top_rest = jnp.where(negative, e, 1.0).astype(z.dtype), jnp.where(negative, rest, 0.0)
    q = top / d
    return q + (remainder(top, q, d) + top_rest - q * (((1.0 - d) + e) + rest)) / d


@_opaque(lambda h, beta: _by(_decay(h, beta), beta))
def _rise(h: Array, beta: Parameter) -> Array:
    """1 − e^(−βh) for h ≥ 0: the derivative of softplus from its output."""
    t, lost = _scaled_product(h, beta)
    y, rest = expm1(-t, -lost)
    rise = jnp.abs(y + rest)  # not its negative, which is −0.0 at 0
    # Next to 0 it is βh to the last digit, and t may have lost its own to underflow.
    return rise if beta is None else jnp.where(t < 0.125 * jnp.finfo(h.dtype).eps, beta * h, rise)


@_opaque(lambda h, beta: -_by(_decay(h, beta), beta))
def _decay(h: Array, beta: Parameter) -> Array:
    """e^(−βh)."""
    t, lost = _scaled_product(h, beta)
    k, y, rest = exp(-t, -lost)
    return scaled(k, y + rest)


def _by(y: Array, parameter: Parameter) -> Array:
    return y if parameter is None else y * parameter


def _over(y: Array, parameter: Parameter) -> Array:
    return y if parameter is None else y / parameter


# Derivatives -------------------------------------------------------------------------------------------------------


def _squared_relu_derivative(z: Array, _: Parameter) -> Array:
    return 2.0 * jnp.where(z <= 0, 0.0, z).astype(z.dtype)


def _joined(z: Array, above: Any, below: Array) -> Array:
    """``above`` where z > 0, ``below`` elsewhere, of z's dtype."""
    return jnp.where(z > 0, above, below).astype(z.dtype)


DERIVATIVE: Mapping[str, Formula] = {
    "squared_relu": _squared_relu_derivative,
    "elu": lambda z, alpha: _joined(z, 1.0, _elu_curve(z, alpha)),
    "celu": lambda z, alpha: _joined(z, 1.0, _celu_curve(z, alpha)),
    "selu": lambda z, _: _joined(z, np.dtype(z.dtype).type(SELU_SCALE), _selu_curve(z, _)),
    "softplus": _sigmoid,
}
"""f′(z) of the functions whose derivative is more than a gate; differentiable."""


# Derivatives from the output ----------------------------------------------------------------------------------------


def _squared_relu_from_output(h: Array, _: Parameter) -> Array:
    # √ has an infinite derivative at 0.
    positive = ~(h <= 0)
    return jnp.where(positive, 2.0 * jnp.sqrt(jnp.where(positive, h, 1.0)), 0.0).astype(h.dtype)


def _elu_from_output(h: Array, alpha: Parameter) -> Array:
    return _joined(h, 1.0, _below(h) + (1.0 if alpha is None else alpha))


def _celu_from_output(h: Array, alpha: Parameter) -> Array:
    return _joined(h, 1.0, _over(_below(h) + (1.0 if alpha is None else alpha), alpha))


def _selu_from_output(h: Array, _: Parameter) -> Array:
    dtype = np.dtype(h.dtype).type
    return _joined(h, dtype(SELU_SCALE), _below(h) + dtype(SELU_SCALE * SELU_ALPHA))


FROM_OUTPUT: Mapping[str, Formula] = {
    "squared_relu": _squared_relu_from_output,
    "elu": _elu_from_output,
    "celu": _celu_from_output,
    "selu": _selu_from_output,
    "softplus": _rise,
}
"""The same from h = f(z): to the last digit for softplus, with digits lost for the others."""


# Values ------------------------------------------------------------------------------------------------------------


def _relu(z: Array, _: Parameter) -> Array:
    return jnp.where(z < 0, jnp.zeros((), z.dtype), z)  # −0.0 stays


def _leaky_relu(z: Array, slope: Parameter) -> Array:
    # Slope 0 at −∞ is 0, not 0·∞: there the smallest finite z stands for it.
    factor = jnp.where(slope == 0, jnp.maximum(z, jnp.finfo(z.dtype).min), z)
    return jnp.where(z > 0, z, slope * factor)


def _relu6(z: Array, ceiling: Parameter) -> Array:
    return jnp.where(z > ceiling, ceiling, _relu(z, None)).astype(z.dtype)


def _squared_relu(z: Array, _: Parameter) -> Array:
    positive = jnp.where(z <= 0, 0.0, z).astype(z.dtype)
    return positive * positive


def _elu(z: Array, alpha: Parameter) -> Array:
    y, lost = expm1(_below(z))
    return jnp.where(z >= 0, z, y + lost if alpha is None else y * alpha + lost * alpha)


def _celu(z: Array, alpha: Parameter) -> Array:
    if alpha is None:
        return _elu(z, None)
    y, rest = _share(z, alpha)
    # Next to 0 it is z to the last digit, and y may have lost all of its own to underflow.
    is_line = (z >= 0) | (jnp.abs(y) < 0.125 * jnp.finfo(z.dtype).eps)
    y, lost = expm1(y, rest)
    return jnp.where(is_line, z, y * alpha + lost * alpha)


def _selu(z: Array, _: Parameter) -> Array:
    y, lost = expm1(_below(z))
    below = _times(y, lost, _two(SELU_SCALE * SELU_ALPHA, z.dtype))
    finite = jnp.minimum(z, jnp.finfo(z.dtype).max)  # ∞ times the rest, which may be negative, is no number
    above = _times(finite, 0.0, _two(SELU_SCALE, z.dtype))
    return jnp.where(z == 0, z, jnp.where(z > 0, above, below))  # −0.0 stays


def _softplus(z: Array, beta: Parameter) -> Array:
    t, lost = _scaled_product(z, beta)
    k, y, rest = exp(-jnp.abs(t), jnp.where(t < 0, lost, -lost) if beta is not None else 0.0)
    head, more = log1p_exp(k, y, rest)
    if beta is None:
        near, far = head + more, scaled(k, y + rest)
    else:
        share = head / beta
        near, far = share + (remainder(head, share, beta) + more) / beta, scaled(k, (y + rest) / beta)
    # max(0, z) apart from the quotient: βz/β is not always z.
    whole = jnp.where(z < 0, 0.0, z).astype(z.dtype) + near
    return jnp.where(t < FORMATS[np.dtype(z.dtype)].far, far, whole)


VALUE: Mapping[str, Formula] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "prelu": _leaky_relu,
    "abs": lambda z, _: jnp.abs(z),
    "relu6": _relu6,
    "squared_relu": _squared_relu,
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "softplus": _softplus,
}
"""f(z); not for differentiation to follow."""
