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
dtype holds: h ≤ 0 there just where z ≤ 0, and h ≥ c where z ≥ c. It is what the next product keeps, so nothing is
added. (A boolean is a byte a value in TensorFlow, and it packs no bits.)

An elu is forty operations. Eager they run one by one; in a graph, which fuses none of them, they are one call compiled
by XLA, so that values are read and written once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .operations import FORMULAS, here, where

__all__ = ["of_fixed", "of_tensor", "wide"]

Tensor = Any
Part = Callable[..., Tensor]

_CURVED = frozenset({"elu", "celu", "selu", "softplus"})
#: Their gate can be read from a value, which is kept.
_OF_GATE = frozenset({"relu", "leaky_relu", "prelu", "abs", "relu6"})


def wide(dtype: tf.DType) -> tf.DType:
    """The dtype that a function of this one is computed in."""
    return tf.float64 if dtype == tf.float64 else tf.float32


def of_fixed(name: str, keeps: str, z: Tensor, number: float | None, parameter: Any) -> Tensor:
    """f(z), differentiable in z. parameter: of the dtype that z is computed in, which broadcasts into z's shape; None
    for none and for the default of 1. number: the same where it is one.
    """
    z, parameter = here(z), here(parameter)
    if keeps == "output" or (keeps == "gate" and _output_tells(name, z.dtype, number)):

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def second(h: Tensor) -> tuple[Tensor, Part]:
            def gradient(dh: Tensor) -> Tensor:
                # Of itself again, so that what is differentiated in h has the derivative of h in z; a gate has none.
                again = h if keeps == "gate" else second(here(h))
                return _product(name, "output", again, dh, parameter, number)

            return tf.identity(_hidden(name, h)), gradient

        return second(_straight(name, z, parameter))

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def f(z: Tensor) -> tuple[Tensor, Part]:
        return _value(name, z, parameter), lambda dh: _product(name, "input", z, dh, parameter, number)

    return f(z)


def of_tensor(name: str, keeps: str, z: Tensor, parameter: Tensor) -> Tensor:
    """f(z) for a tensor as parameter, of the dtype that z is computed in, which broadcasts into z's shape.

    A slope has a gradient. The others are fixed: theirs is None, as TensorFlow says it of what is not connected.
    """

    z, parameter = here(z), here(parameter)

    def gradients(kept_is: str, kept: Tensor, parameter: Tensor, dh: Tensor) -> tuple[Tensor, Tensor | None]:
        if name in ("leaky_relu", "prelu"):
            return _learned(kept_is, kept, parameter, dh)
        return _product(name, kept_is, kept, dh, parameter, None), None

    if keeps == "output":

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def second(h: Tensor, parameter: Tensor) -> tuple[Tensor, Any]:
            def both(dh: Tensor) -> tuple[Tensor, Tensor | None]:
                return gradients("output", second(here(h), here(parameter)), parameter, dh)

            return tf.identity(_hidden(name, h)), both

        return second(_straight(name, z, parameter), parameter)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def f(z: Tensor, parameter: Tensor) -> tuple[Tensor, Any]:
        return _value(name, z, parameter), lambda dh: gradients("input", z, parameter, dh)

    return f(z, parameter)


def _straight(name: str, z: Tensor, parameter: Any) -> Tensor:
    """f(z), taken for linear. What takes it knows the derivative from the output, so nothing of z is kept."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def first(z: Tensor) -> tuple[Tensor, Part]:
        return _value(name, z, parameter), tf.identity

    return first(z)


def _hidden(name: str, z: Tensor) -> Tensor:
    """z, so that differentiation does not follow what is made of it: only the rule stated here counts."""
    if tf.executing_eagerly():
        return tf.stop_gradient(z)
    # In a graph forward mode, and what is taken through tf.vectorized_map, pass rules over: they would take a stopped
    # gradient for a derivative of 0.
    return tf.raw_ops.PreventGradient(
        input=z,
        message=f"{name}: `x` must be differentiated where TensorFlow sees tf.custom_gradient; got "
        "tf.autodiff.ForwardAccumulator inside of tf.function, or a gradient through tf.vectorized_map. "
        "Use tf.GradientTape, inside of what is mapped.",
    )


# What is computed ----------------------------------------------------------------------------------------------------


def _value(name: str, z: Tensor, parameter: Any) -> Tensor:
    if parameter is not None:
        parameter = tf.stop_gradient(parameter)
    return _run(name, "value", (_hidden(name, z),), parameter)


def _product(name: str, kept_is: str, kept: Tensor, dh: Tensor, parameter: Any, number: float | None) -> Tensor:
    """f′(z)·dh from z or h. In 16 bits the product is formed in float32 and rounded once."""
    if name in _OF_GATE:
        return _through_gate(name, kept, dh, parameter, number)
    if not _is_compiled(name):
        return _run(name, kept_is, (kept, dh), parameter)

    parameter = here(parameter)

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def product(kept: Tensor, dh: Tensor) -> tuple[Tensor, Any]:
        def gradients(u: Tensor) -> Any:
            # From the second order on, operation by operation: TensorFlow cannot differentiate a compiled call thrice.
            with tf.GradientTape() as tape:
                tape.watch(kept)
                plain = _part(name, kept_is)(kept, dh, parameter)
            return tape.gradient(plain, kept, u), product(here(kept), here(u))

        return _run(name, kept_is, (_hidden(name, kept), _hidden(name, dh)), parameter), gradients

    return product(here(kept), here(dh))


def _is_compiled(name: str) -> bool:
    return name in _CURVED and not tf.executing_eagerly()


def _run(name: str, part: str, values: tuple[Tensor, ...], parameter: Any) -> Tensor:
    if not _is_compiled(name):
        return _part(name, part)(*values, parameter)
    if parameter is not None:
        values = *values, tf.convert_to_tensor(parameter)
    result = _compiled(name, part, tuple(value.dtype for value in values))(*values)
    result.set_shape(values[0].shape)  # which the function does not know
    return result


@functools.cache
def _compiled(name: str, part: str, dtypes: tuple[tf.DType, ...]) -> Part:
    """One for all shapes and parameters; XLA compiles it for each shape that comes."""
    specs = [tf.TensorSpec(None, dtype) for dtype in dtypes]
    compiled: Part = tf.function(_part(name, part), input_signature=specs, jit_compile=True, autograph=False)
    return compiled


@functools.cache
def _part(name: str, part: str) -> Part:
    """(z) ↦ f(z), or (kept, dh) ↦ f′·dh for a part that says what is kept; each with a parameter at the end."""

    def value(z: Tensor, parameter: Any = None) -> Tensor:
        return tf.cast(FORMULAS.value[name](tf.cast(z, wide(z.dtype)), parameter), z.dtype)

    def product(kept: Tensor, dh: Tensor, parameter: Any = None) -> Tensor:
        dtype = wide(kept.dtype)
        formulas = FORMULAS.from_output if part == "output" else FORMULAS.derivative
        slope = formulas[name](tf.cast(kept, dtype), parameter)
        if name == "squared_relu":  # an infinite gradient from above is stopped where the slope is 0
            dh = where(kept <= 0, 0.0, dh)
        return tf.cast(slope * tf.cast(dh, dtype), kept.dtype)

    return value if part == "value" else product


# From the gate -------------------------------------------------------------------------------------------------------


def _output_tells(name: str, dtype: tf.DType, number: float | None) -> bool:
    if number is None:
        return False
    if name == "relu6":
        return float(dtype.as_numpy_dtype(number)) == number
    return number == 0 if name == "relu" else name in ("leaky_relu", "prelu") and number >= 0


def _through_gate(name: str, kept: Tensor, dh: Tensor, parameter: Any, number: float | None) -> Tensor:
    """f′(z)·dh, where a closed gate stops even an infinite dh; a NaN is open. kept: z, or h where it tells the gate."""
    if name == "relu" and number in (0.0, 1.0):
        return where(kept <= 0 if number == 0 else kept < 0, 0.0, dh)
    if name == "relu6":
        beyond = tf.cast(kept, wide(kept.dtype)) >= parameter
        return where((kept <= 0) | beyond, 0.0, dh)
    if name == "abs":
        return where(kept < 0, -dh, where(kept == 0, 0.0, dh))
    if name == "relu":
        there = tf.cast(parameter * tf.cast(dh, wide(dh.dtype)), dh.dtype)
        return where(kept < 0, 0.0, where(kept == 0, there, dh))
    if number == 0.0:
        return where(kept <= 0, 0.0, dh)
    return where(kept <= 0, tf.cast(parameter * tf.cast(dh, wide(dh.dtype)), dh.dtype), dh)


def _learned(kept_is: str, kept: Tensor, slope: Tensor, dh: Tensor) -> tuple[Tensor, Tensor]:
    """dz and ds of a slope s, with ∂f/∂s = min(0, z) summed over what s was broadcast to."""
    dtype = wide(kept.dtype)
    z = tf.cast(kept, dtype)
    below = z <= 0
    if kept_is == "output":  # of a slope above 0
        z = tf.where(below, z / slope, z)
    t = tf.cast(dh, dtype)
    # A NaN gives NaN.
    by_input = tf.where(below, slope, where(z > 0, 1.0, z)) * t
    by_slope = where(z > 0, 0.0, z) * t
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(by_slope), s1=tf.shape(slope))
    return tf.cast(by_input, kept.dtype), tf.reshape(tf.reduce_sum(by_slope, axes), tf.shape(slope))
