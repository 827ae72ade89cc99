"""e^y, e^y − 1 and log(1 + e^y) for y ≤ 0, each as a number and what its rounding has lost.

XLA's own are not near enough for 2 ulp of what is made of them (on the CPU, float32: exp 1.0 ulp, expm1 5.0, log1p
2.9), and differ between devices. Here e^y = 2^k·e^r with |r| ≤ ½ ln 2 (Cody & Waite 1980), e^r − 1 from its series, and
what a rounding loses where that would show is carried along (Dekker 1971, doi:10.1007/BF01397083). Only operations that
every backend fuses into one loop; they are the framework's, and this file knows none.

Written so that XLA's simplifier leaves it alone: it turns (x + c) − c with a constant c into x, which would take the
lost digits for zero; (c − (x + c)) + x it computes. XLA computes the same number in several loops, and LLVM contracts
its products into fused multiply-adds in one but not in another. So a number and what it has lost come to the same in
each: products whose rounding would count are exact, or are not added to anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["FORMATS", "Exponential", "Format", "Formula", "Operations"]

#: A traced array or a number; everything here is element by element.
Array = Any
Pair = tuple[Array, Array]
"""A number and what its rounding has lost."""
Formula = Callable[[Array, Any], Array]
"""Of an array and the row's one parameter."""


class Operations(Protocol):
    """What arithmetic needs of a framework, beside the operators of its arrays."""

    def dtype(self, x: Array) -> np.dtype[Any]: ...
    def where(self, condition: Array, a: Array | float, b: Array | float) -> Array:
        """Of the dtype of the array among a and b."""
        ...

    def abs(self, x: Array) -> Array: ...
    def sqrt(self, x: Array) -> Array: ...
    def maximum(self, x: Array, limit: Any) -> Array: ...
    def minimum(self, x: Array, limit: Any) -> Array: ...
    def round(self, x: Array) -> Array:
        """To the nearest whole number, a half to the even one."""
        ...

    def astype(self, x: Array, dtype: Any) -> Array: ...
    def bits_as(self, x: Array, dtype: Any) -> Array:
        """The same bits, read as another dtype."""
        ...

    def quarter(self, k: Array) -> Array:
        """k/4 of integers, rounded down."""
        ...

    def together(self, a: Array, b: Array) -> tuple[Array, Array]:
        """Of one shape, where that tells the compiler that they are used in one loop."""
        ...

    def opaque(self, formula: Formula, derivative: Formula) -> Formula:
        """``formula``, whose derivative in its first argument is ``derivative``; the second is fixed."""
        ...


@dataclass(frozen=True)
class Format:
    """A dtype that is computed in."""

    floating: Any
    integer: Any
    digits: int
    bias: int
    leading: int
    """Mask of a number's first half of digits."""
    ln2: tuple[float, float]
    """ln 2 as a number whose product with every k is exact, and the rest."""
    exp_series: tuple[float, ...]
    """1/3!, 1/4!, …: a term more than the value needs."""
    log_series: tuple[float, ...]
    """2/3, 2/5, …"""
    far: float
    """Below it, log(1 + e^y) is e^y to the last digit."""


def _factorials(terms: int) -> tuple[float, ...]:
    return tuple(1 / math.factorial(n) for n in range(3, terms + 3))


FORMATS = {
    np.dtype(np.float32): Format(
        np.float32,
        np.int32,
        24,
        127,
        -(1 << 12),
        (0.693359375, -0.00021219444005469057),
        _factorials(6),
        # The last in place of 2/15 and what follows.
        (*(2 / n for n in range(3, 15, 2)), 0.15),
        -20.0,
    ),
    np.dtype(np.float64): Format(
        np.float64,
        np.int64,
        53,
        1023,
        -(1 << 27),
        (0.6931471806019545, -4.2009150726810846e-11),
        _factorials(12),
        tuple(2 / n for n in range(3, 35, 2)),
        -40.0,
    ),
}


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    # Of x's own dtype: a Python number beside a float64 array is one, beside a float32 array is rounded to it.
    total = x * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * x + coefficient
    return total


class Exponential:
    """The arithmetic, made of one framework's operations."""

    def __init__(self, operations: Operations) -> None:
        self.xp = operations

    def form(self, y: Array) -> Format:
        return FORMATS[self.xp.dtype(y)]

    def _power_of_two(self, k: Array, form: Format) -> Array:
        """2^k by its bits, for k of a normal number."""
        return self.xp.bits_as((k + form.bias) * 2 ** (form.digits - 1), form.floating)

    def _leading(self, x: Array) -> Array:
        """x without the second half of its digits: products of two such are exact."""
        form = self.form(x)
        return self.xp.bits_as(self.xp.bits_as(x, form.integer) & form.leading, form.floating)

    def product(self, a: Array, b: Array) -> Pair:
        """a·b for finite numbers, as the product of their first halves and the rest, which is up to 2⁻¹¹ of it."""
        a, b = self.xp.together(a, b)
        a1, b1 = self._leading(a), self._leading(b)
        a2, b2 = a - a1, b - b1
        return a1 * b1, a1 * b2 + a2 * b1 + a2 * b2

    def quotient(self, a: Array, b: Array) -> Pair:
        """a/b and what its rounding has lost, for finite numbers."""
        q = a / b
        return q, self.remainder(a, q, b) / b

    def remainder(self, a: Array, q: Array, b: Array) -> Array:
        """a − q·b where q is a/b, rounded."""
        q, b = self.xp.together(q, b)
        q1, b1 = self._leading(q), self._leading(b)
        q2, b2 = q - q1, b - b1
        return (((a - q1 * b1) - q1 * b2) - q2 * b1) - q2 * b2

    def _reduced(self, y: Array, lost: Array | float) -> tuple[Array, Array, Array]:
        """k, r and e^r − 1 − r, where y + lost = k·ln 2 + r."""
        form = self.form(y)
        k = self.xp.round((y + lost) * math.log2(math.e))
        head, rest = form.ln2
        r = ((y - k * head) - k * rest) + lost
        square = r * r
        # A sum at the end: where it is added to r, there is no product to contract.
        return self.xp.astype(k, form.integer), r, 0.5 * square + square * r * _polynomial(form.exp_series, r)

    def exp(self, y: Array, lost: Array | float = 0.0) -> tuple[Array, Array, Array]:
        """k, and e^(y + lost)/2^k with what its rounding has lost, for y ≤ 0."""
        form = self.form(y)
        # Further down it is 0, even times the largest number.
        lowest = -2.0 * math.log(2.0) * (form.bias + form.digits)
        k, r, tail = self._reduced(self.xp.maximum(y, lowest), lost)
        p = r + tail
        result = 1.0 + p
        return k, result, ((1.0 - result) + p) + (tail - (p - r))

    def expm1(self, y: Array, lost: Array | float = 0.0) -> Pair:
        """e^(y + lost) − 1 for y ≤ 0, and what its rounding has lost."""
        form = self.form(y)
        # Further down it is −1, and 2^k no normal number.
        k, r, tail = self._reduced(self.xp.maximum(y, -0.5 * form.bias), lost)
        scale = self._power_of_two(k, form)
        p = r + tail
        whole = scale - 1.0
        rest = scale * p
        result = whole + rest
        return result, (rest - (result - whole)) + scale * (tail - (p - r))

    def scaled(self, k: Array, y: Array) -> Array:
        """2^k·y, where 2^k alone may be no normal number, yet a large y brings its digits back."""
        form = self.form(y)
        quarter = self.xp.quarter(k)
        step = self._power_of_two(quarter, form)
        return y * step * step * step * self._power_of_two(k - 3 * quarter, form)

    def log1p_exp(self, k: Array, y: Array, lost: Array) -> Pair:
        """log(1 + 2^k·(y + lost)) for 2^k·y ≤ 1, with y and lost from exp, as a number and the rest, up to 1/27 of it.

        2 artanh(s) with s = e/(2 + e) ≤ ⅓.
        """
        form = self.form(y)
        scale = self._power_of_two(self.xp.maximum(k, 1 - form.bias), form)
        e, lost = y * scale, lost * scale
        d = 2.0 + e
        s = e / d
        # What the sum and the quotient have lost is made good.
        more = (self.remainder(e, s, d) + lost - s * (((2.0 - d) + e) + lost)) / d
        square = s * s
        return 2.0 * s, 2.0 * more + s * square * _polynomial(form.log_series, square)
