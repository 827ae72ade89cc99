"""Value and derivative of every function, of a framework's own operations: the arithmetic of JAX and TensorFlow.

In float64 for float64 and in float32 otherwise. Within 2 ulp, in the tails and for every parameter: βz and z/α are
carried with what their rounding has lost. NaN gives NaN; at a kink the row's convention.

Values and slopes are opaque to differentiation: each has the derivative stated here, which is one of them again, so
every order is as near as the first. Differentiating through the polynomials would not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._family import SELU_ALPHA, SELU_SCALE
from .exponential import Exponential, Formula, Operations

__all__ = ["Formulas"]

Array = Any
Parameter = Any
"""The one parameter of a row: None for a row without and for 1, where it is the default and multiplies; else a number
or an array of the dtype that is computed in, which broadcasts."""


def _by(y: Array, parameter: Parameter) -> Array:
    return y if parameter is None else y * parameter


def _over(y: Array, parameter: Parameter) -> Array:
    return y if parameter is None else y / parameter


def _times(y: Array, lost: Array | float, factor: tuple[Any, Any]) -> Array:
    """(y + lost)·(the sum of factor)."""
    return y * factor[0] + (y * factor[1] + lost * factor[0])


class Formulas(Exponential):
    """The formulas of every row, by its name: ``value``, ``derivative`` and ``from_output``."""

    value: Mapping[str, Formula]
    """f(z); not for differentiation to follow."""
    derivative: Mapping[str, Formula]
    """f′(z) of the functions whose derivative is more than a gate; differentiable."""
    from_output: Mapping[str, Formula]
    """The same from h = f(z): to the last digit for softplus, with digits lost for the others. Differentiable in h."""

    def __init__(self, operations: Operations) -> None:
        super().__init__(operations)
        opaque = operations.opaque
        self.elu_curve = opaque(self._elu_curve, lambda z, alpha: self._joined(z, 0.0, self.elu_curve(z, alpha)))
        self.celu_curve = opaque(
            self._celu_curve, lambda z, alpha: _over(self._joined(z, 0.0, self.celu_curve(z, alpha)), alpha)
        )
        self.selu_curve = opaque(self._selu_curve, lambda z, _: self._joined(z, 0.0, self.selu_curve(z, _)))
        self.sigmoid = opaque(  # 1 − σ would cancel
            self._sigmoid, lambda z, beta: _by(self.sigmoid(z, beta) * self.sigmoid(-z, beta), beta)
        )
        self.rise = opaque(self._rise, lambda h, beta: _by(self.decay(h, beta), beta))
        self.decay = opaque(self._decay, lambda h, beta: -_by(self.decay(h, beta), beta))
        self.value = {
            "relu": self._relu,
            "leaky_relu": self._leaky_relu,
            "prelu": self._leaky_relu,
            "abs": lambda z, _: self.xp.abs(z),
            "relu6": self._relu6,
            "squared_relu": self._squared_relu,
            "elu": self._elu,
            "celu": self._celu,
            "selu": self._selu,
            "softplus": self._softplus,
        }
        self.derivative = {
            "squared_relu": lambda z, _: 2.0 * self.xp.where(z <= 0, 0.0, z),
            "elu": lambda z, alpha: self._joined(z, 1.0, self.elu_curve(z, alpha)),
            "celu": lambda z, alpha: self._joined(z, 1.0, self.celu_curve(z, alpha)),
            "selu": lambda z, _: self._joined(z, SELU_SCALE, self.selu_curve(z, _)),
            "softplus": self.sigmoid,
        }
        self.from_output = {
            "squared_relu": self._squared_relu_from_output,
            "elu": lambda h, alpha: self._joined(h, 1.0, self._below(h) + (1.0 if alpha is None else alpha)),
            "celu": lambda h, alpha: self._joined(
                h, 1.0, _over(self._below(h) + (1.0 if alpha is None else alpha), alpha)
            ),
            "selu": lambda h, _: self._joined(h, SELU_SCALE, self._below(h) + SELU_SCALE * SELU_ALPHA),
            "softplus": self.rise,
        }

    def _below(self, z: Array) -> Array:
        """z where it is negative, 0 (or NaN) or below; 0 elsewhere."""
        return self.xp.where(z > 0, 0.0, z)

    def _joined(self, z: Array, above: Array | float, below: Array) -> Array:
        """``above`` where z > 0, ``below`` elsewhere."""
        return self.xp.where(z > 0, above, below)

    def _two(self, number: float, z: Array) -> tuple[Any, Any]:
        """A float64 number as one of z's dtype and the rest."""
        floating = self.form(z).floating
        head = floating(number)
        return head, floating(number - float(head))

    def _scaled_product(self, z: Array, beta: Parameter) -> tuple[Array, Array | float]:
        """βz as a number and the rest."""
        if beta is None:
            return z, 0.0
        t, lost = self.product(z, beta)
        # Beyond it nothing depends on the rest, and ∞ has none.
        return t, self.xp.where(self.xp.abs(t) < 2000.0, lost, 0.0)

    def _share(self, z: Array, alpha: Parameter) -> tuple[Array, Array | float]:
        """min(0, z)/α and what its rounding has lost."""
        z = self._below(z)
        if alpha is None:
            return z, 0.0
        y, lost = self.quotient(z, alpha)
        return y, self.xp.where(y > -2000.0, lost, 0.0)

    # Slopes ----------------------------------------------------------------------------------------------------------

    def _elu_curve(self, z: Array, alpha: Parameter) -> Array:
        """αe^min(0, z)."""
        k, y, lost = self.exp(self._below(z))
        return self.scaled(k, y + lost) if alpha is None else self.scaled(k + 1, 0.5 * (y + lost) * alpha)

    def _celu_curve(self, z: Array, alpha: Parameter) -> Array:
        """e^(min(0, z)/α)."""
        k, y, lost = self.exp(*self._share(z, alpha))
        return self.scaled(k, y + lost)

    def _selu_curve(self, z: Array, _: Parameter) -> Array:
        """λαe^min(0, z)."""
        k, y, lost = self.exp(self._below(z))
        return self.scaled(k, _times(y, lost, self._two(SELU_SCALE * SELU_ALPHA, z)))

    def _minus_distance(self, t: Array, lost: Array | float, beta: Parameter) -> tuple[Array, Array | float]:
        """−|t + lost|, as a number and the rest."""
        return -self.xp.abs(t), 0.0 if beta is None else self.xp.where(t < 0, lost, -lost)

    def _sigmoid(self, z: Array, beta: Parameter) -> Array:
        """1/(1 + e^(−βz))."""
        where = self.xp.where
        t, lost = self._scaled_product(z, beta)
        negative = t < 0
        k, y, rest = self.exp(*self._minus_distance(t, lost, beta))
        # Far below it is e^t, where its digits may be those of a subnormal number.
        e = self.scaled(k, y)
        rest = where(k > -64, self.scaled(k, rest), 0.0)
        d = 1.0 + e
        top, top_rest = where(negative, e, 1.0), where(negative, rest, 0.0)
        q = top / d
        return q + (self.remainder(top, q, d) + top_rest - q * (((1.0 - d) + e) + rest)) / d

    def _rise(self, h: Array, beta: Parameter) -> Array:
        """1 − e^(−βh) for h ≥ 0: the derivative of softplus from its output."""
        t, lost = self._scaled_product(h, beta)
        y, rest = self.expm1(-t, -lost)
        rise = self.xp.abs(y + rest)  # not its negative, which is −0.0 at 0
        # Next to 0 it is βh to the last digit, and t may have lost its own to underflow.
        return rise if beta is None else self.xp.where(t < 0.125 * self._eps(h), h * beta, rise)

    def _decay(self, h: Array, beta: Parameter) -> Array:
        """e^(−βh)."""
        t, lost = self._scaled_product(h, beta)
        k, y, rest = self.exp(-t, -lost)
        return self.scaled(k, y + rest)

    def _squared_relu_from_output(self, h: Array, _: Parameter) -> Array:
        # √ has an infinite derivative at 0.
        closed = h <= 0
        return self.xp.where(closed, 0.0, 2.0 * self.xp.sqrt(self.xp.where(closed, 1.0, h)))

    def _eps(self, z: Array) -> float:
        return float(np.finfo(self.form(z).floating).eps)

    # Values ----------------------------------------------------------------------------------------------------------

    def _relu(self, z: Array, _: Parameter) -> Array:
        return self.xp.where(z < 0, 0.0, z)  # −0.0 stays

    def _leaky_relu(self, z: Array, slope: Parameter) -> Array:
        if isinstance(slope, np.floating) and 0 < slope <= 1:
            return self.xp.maximum(z, z * slope)
        # Slope 0 at −∞ is 0, not 0·∞: there the smallest finite z stands for it.
        least = self.xp.maximum(z, np.finfo(self.form(z).floating).min)
        factor = self.xp.where(slope == 0, least, z)
        return self.xp.where(z > 0, z, slope * factor)

    def _relu6(self, z: Array, ceiling: Parameter) -> Array:
        return self.xp.minimum(self._relu(z, None), ceiling)

    def _squared_relu(self, z: Array, _: Parameter) -> Array:
        positive = self.xp.where(z <= 0, 0.0, z)
        return positive * positive

    def _elu(self, z: Array, alpha: Parameter) -> Array:
        y, lost = self.expm1(self._below(z))
        return self.xp.where(z >= 0, z, y + lost if alpha is None else y * alpha + lost * alpha)

    def _celu(self, z: Array, alpha: Parameter) -> Array:
        if alpha is None:
            return self._elu(z, None)
        y, rest = self._share(z, alpha)
        # Next to 0 it is z to the last digit, and y may have lost all of its own to underflow.
        is_line = (z >= 0) | (self.xp.abs(y) < 0.125 * self._eps(z))
        y, lost = self.expm1(y, rest)
        return self.xp.where(is_line, z, y * alpha + lost * alpha)

    def _selu(self, z: Array, _: Parameter) -> Array:
        y, lost = self.expm1(self._below(z))
        below = _times(y, lost, self._two(SELU_SCALE * SELU_ALPHA, z))
        # ∞ times the rest, which may be negative, is no number.
        finite = self.xp.minimum(z, np.finfo(self.form(z).floating).max)
        above = _times(finite, 0.0, self._two(SELU_SCALE, z))
        return self.xp.where(z == 0, z, self._joined(z, above, below))  # −0.0 stays

    def _softplus(self, z: Array, beta: Parameter) -> Array:
        t, lost = self._scaled_product(z, beta)
        k, y, rest = self.exp(*self._minus_distance(t, lost, beta))
        head, more = self.log1p_exp(k, y, rest)
        if beta is None:
            near, far = head + more, self.scaled(k, y + rest)
        else:
            share = head / beta
            near, far = share + (self.remainder(head, share, beta) + more) / beta, self.scaled(k, (y + rest) / beta)
        # max(0, z) apart from the quotient: βz/β is not always z.
        whole = self._relu(z, None) + near
        return self.xp.where(t < self.form(z).far, far, whole)
