"""How the functions are differentiated, and what each keeps for the backward pass.

====================  =============================================================  ==================================
kept                  for                                                            size beside the values
====================  =============================================================  ==================================
"gate"                relu, leaky_relu, abs, relu6, prelu (the slope not learned)    none where the output tells it,
                                                                                     else the input
"input"               the rest, and learned slopes                                   the input
"output"              softplus (β = 1), and where ``save="output"`` asks for it      the output, which the
                                                                                     next layer keeps anyway
====================  =============================================================  ==================================

The output tells the gate of relu (0 at 0), of leaky_relu for a slope of 0 or above, and of relu6 for a ceiling that the
dtype holds: h ≤ 0 there just where z ≤ 0, and h ≥ c where z ≥ c. It is what the next product keeps, so nothing is added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .operations import FORMULAS, where

__all__ = ["of_array", "of_fixed", "wide"]

Tensor = Any
Values = Callable[[Tensor], Tensor]
Product = Callable[[Tensor, Tensor], Tensor]
"""(kept, dh) ↦ dz."""


def wide(dtype: tf.DType) -> tf.DType:
    """The dtype that a function of this one is computed in."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def of_fixed(name: str, keeps: str, z: Tensor, parameter: Any, number: float | None) -> Tensor:
    """f(z), differentiable in z. parameter: of the dtype that z is computed in, of z's shape or less; number: the same
    where it is one. keeps: see above.
    """
    from_output = keeps == "output" or (keeps == "gate" and _output_tells(name, z.dtype, number))

    def value(z: Tensor) -> Tensor:
        return tf.cast(FORMULAS.value[name](tf.cast(z, wide(z.dtype)), parameter), z.dtype)

    def product(kept: Tensor, dh: Tensor) -> Tensor:
        if keeps == "gate":
            return _through_gate(name, kept, parameter, number, dh)
        formulas = FORMULAS.from_output if from_output else FORMULAS.derivative
        return _through_value(name, formulas[name], kept, parameter, dh)

    return (_by_output if from_output else _by_input)(value, product)(z)


def _by_input(value: Values, product: Product) -> Values:
    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def f(z: Tensor) -> tuple[Tensor, Values]:
        # What value is made of is not recorded.
        return value(tf.stop_gradient(z)), lambda dh: product(z, dh)

    return f  # type: ignore[no-any-return]


def _by_output(value: Values, product: Product) -> Values:
    """In two steps, so that nothing of z is kept: the first is taken for linear, and the second for the derivative."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def first(z: Tensor) -> tuple[Tensor, Values]:
        return value(tf.stop_gradient(z)), lambda dh: dh

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def second(h: Tensor) -> tuple[Tensor, Values]:
        # Of itself again, so that what is differentiated in h has the derivative of h in z.
        return tf.identity(h), lambda dh: product(second(h), dh)

    return lambda z: second(first(z))


# From the gate -------------------------------------------------------------------------------------------------------


def _output_tells(name: str, dtype: tf.DType, number: float | None) -> bool:
    if number is None:
        return False
    if name == "relu6":
        return float(dtype.as_numpy_dtype(number)) == number
    return number == 0 if name == "relu" else name in ("leaky_relu", "prelu") and number >= 0


def _through_gate(name: str, kept: Tensor, parameter: Any, number: float | None, dh: Tensor) -> Tensor:
    """f′(z)·dh, where a closed gate stops even an infinite dh; a NaN is open. kept: z, or h where it tells the gate."""
    if name == "relu" and number in (0.0, 1.0):
        return where(kept <= 0 if number == 0 else kept < 0, 0.0, dh)
    if name == "relu6":
        limit = tf.cast(kept, wide(kept.dtype))
        return where((kept <= 0) | (limit >= parameter), 0.0, dh)
    if name == "abs":
        return where(kept < 0, -dh, where(kept == 0, 0.0, dh))
    if name == "relu":
        there = tf.cast(parameter * tf.cast(dh, wide(dh.dtype)), dh.dtype)
        return where(kept < 0, 0.0, where(kept == 0, there, dh))
    if number == 0.0:
        return where(kept <= 0, 0.0, dh)
    return where(kept <= 0, tf.cast(parameter * tf.cast(dh, wide(dh.dtype)), dh.dtype), dh)


# From a value --------------------------------------------------------------------------------------------------------


def _through_value(name: str, formula: Any, kept: Tensor, parameter: Any, dh: Tensor) -> Tensor:
    """f′(z)·dh from z or h. In 16 bits the product is formed in float32 and rounded once."""
    dtype = wide(kept.dtype)
    slope = formula(tf.cast(kept, dtype), parameter)
    if name == "squared_relu":  # an infinite gradient from above is stopped where the slope is 0
        dh = where(kept <= 0, 0.0, dh)
    return tf.cast(slope * tf.cast(dh, dtype), kept.dtype)


# An array as parameter -------------------------------------------------------------------------------------------------


def of_array(name: str, keeps: str, z: Tensor, parameter: Tensor) -> Tensor:
    """f(z) for a tensor as parameter, of the dtype that z is computed in and of z's shape or less. Where it is a slope
    it has a gradient.
    """
    learned = name in ("leaky_relu", "prelu")

    def value(z: Tensor, parameter: Tensor) -> Tensor:
        z, parameter = tf.stop_gradient(z), tf.stop_gradient(parameter)
        return tf.cast(FORMULAS.value[name](tf.cast(z, wide(z.dtype)), parameter), z.dtype)

    def gradients(kept: Tensor, parameter: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
        if learned:
            return _learned(keeps, kept, parameter, dh)
        if keeps == "gate":
            return _through_gate(name, kept, parameter, None, dh), tf.zeros_like(parameter)
        formulas = FORMULAS.from_output if keeps == "output" else FORMULAS.derivative
        # What asks for the zeros is told that there are none: see dispatch.py.
        return _through_value(name, formulas[name], kept, parameter, dh), tf.zeros_like(parameter)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def whole(z: Tensor, parameter: Tensor) -> tuple[Tensor, Any]:
        return value(z, parameter), lambda dh: gradients(z, parameter, dh)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def first(z: Tensor, parameter: Tensor) -> tuple[Tensor, Any]:
        return value(z, parameter), lambda dh: (dh, None)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def second(h: Tensor, parameter: Tensor) -> tuple[Tensor, Any]:
        return tf.identity(h), lambda dh: gradients(second(h, parameter), parameter, dh)

    return second(first(z, parameter), parameter) if keeps == "output" else whole(z, parameter)


def _learned(keeps: str, kept: Tensor, slope: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
    """dz and ds of a slope s, with ∂f/∂s = min(0, z) summed over what it was broadcast to."""
    dtype = wide(kept.dtype)
    z = tf.cast(kept, dtype)
    below = z <= 0
    if keeps == "output":  # of a slope above 0
        z = tf.where(below, z / slope, z)
    t = tf.cast(dh, dtype)
    # A NaN gives NaN.
    by_input = tf.where(below, slope, where(z > 0, 1.0, z)) * t
    by_slope = where(z > 0, 0.0, z) * t
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(by_slope), s1=tf.shape(slope))
    return tf.cast(by_input, kept.dtype), tf.reshape(tf.reduce_sum(by_slope, axes), tf.shape(slope))
