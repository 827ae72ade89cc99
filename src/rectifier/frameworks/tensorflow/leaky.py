"""The leaky average on TensorFlow tensors: a scan by doubling, differentiable any number of times."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..._family import Parameter
from ..._leaky import ALPHA, INITIAL, axis_of
from ...errors import RectifierTypeError, RectifierValueError
from .. import framework_of, refuse_mixed
from ..numpy import parameter_value
from . import rules
from .dispatch import FLOATS, as_dense, can_be_read
from .operations import here

__all__ = ["leaky_average"]

Tensor = Any


@tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
def leaky_average(
    v: tf.Tensor, alpha: float | tf.Tensor, *, axis: int = -1, initial: float | tf.Tensor = 0.0
) -> tf.Tensor:
    """The leaky unit μ ← α·μ + (1 − α)·v over time: μ_t = α·μ_{t−1} + (1 − α)·v_t.

    Computed in float32 (float64 for float64 v) by doubling, in ⌈log₂ T⌉ passes over all steps. The gradient is the same
    recurrence from the last step to the first, so nothing of the passes is kept.

    v: tensor, floating and finite; time runs along ``axis``. Its rank must be known, the number of steps need not be.
    alpha: the share of the past, in [0, 1]; a number, or a tensor that broadcasts with v without its time axis; it gets
        a gradient where one is taken.
    axis: of time; the last by default.
    initial: μ before the first step, a number or a tensor likewise.

    Returns a tensor of v's shape and dtype: μ at every step. Raises RectifierTypeError, RectifierValueError for
    arguments that cannot be used.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure"); Goodfellow, Bengio & Courville 2016,
    Deep Learning, section 10.9.2.

    >>> leaky_average(tf.ones(3), 0.5).numpy()
    array([0.5  , 0.75 , 0.875], dtype=float32)
    """
    v = as_dense("leaky_average", "v", v)
    if v.dtype not in FLOATS:
        raise RectifierTypeError(
            f"leaky_average: `v` must hold float16, bfloat16, float32 or float64; got {v.dtype.name}. "
            "Convert it with tf.cast(v, tf.float32)."
        )
    if v.shape.rank is None:
        raise RectifierValueError(
            "leaky_average: `v` must have a known number of axes; got a traced tensor of unknown rank. "
            "Say it with tf.ensure_shape(v, [None, None])."
        )
    time = axis_of(axis, v.shape.rank)
    order = [time, *(other for other in range(v.shape.rank) if other != time)]
    steps = tf.cast(tf.transpose(v, order), rules.wide(v.dtype))
    kept, before = (_of_series(p, value, steps) for p, value in ((ALPHA, alpha), (INITIAL, initial)))
    # The first step is the one that the initial value goes into.
    first = tf.reshape(tf.range(tf.shape(steps)[0]) == 0, [-1] + [1] * (v.shape.rank - 1))
    taken = (1 - kept) * steps + tf.where(first, kept * before, tf.zeros_like(kept))
    mu = tf.transpose(_decayed(kept, taken, backward=False), np.argsort(order))
    mu.set_shape(v.shape)
    return tf.cast(mu, v.dtype)


def _of_series(parameter: Parameter, value: Any, steps: Tensor) -> Tensor:
    """As the family's parameters: float64 for float64 v, and float32 otherwise. Of the shape of one step."""
    dtype = steps.dtype
    if framework_of(value) == "tensorflow":
        value = as_dense("leaky_average", parameter.name, value)
        if can_be_read(value):
            parameter_value("leaky_average", parameter, value.numpy(), np.dtype(dtype.as_numpy_dtype))
    else:
        refuse_mixed("leaky_average", parameter.name, value, "tensorflow")
        value = parameter_value("leaky_average", parameter, value, np.dtype(dtype.as_numpy_dtype))
    numbers = tf.cast(value, dtype)
    series = steps.shape[1:]
    try:
        fits = tf.broadcast_static_shape(numbers.shape, series).is_compatible_with(series)
    except ValueError:
        fits = False
    if not fits:
        raise RectifierValueError(
            f"leaky_average: `{parameter.name}` must broadcast with v without its axis of time, "
            f"{tuple(series.as_list())}; got shape {tuple(numbers.shape.as_list())}. "
            "Give it one value a series, or a single number."
        )
    return tf.broadcast_to(numbers, tf.shape(steps)[1:])


def _decayed(factor: Tensor, taken: Tensor, backward: bool) -> Tensor:
    """y_t = factor·y_{t−1} + taken_t (``backward``: y_{t+1}) along the first axis; factor: of one step's shape."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def known(y: Tensor, factor: Tensor, taken: Tensor) -> tuple[Tensor, Any]:
        """y itself, with the derivatives of the recurrence that it solves."""

        def gradient(dy: Tensor) -> tuple[None, Tensor, Tensor]:
            reached = _decayed(factor, dy, not backward)
            again = known(here(y), here(factor), here(taken))
            start = tf.zeros_like(again[:1])
            before = tf.concat([again[1:], start] if backward else [start, again[:-1]], 0)
            return None, tf.reduce_sum(reached * before, 0), reached

        return tf.identity(y), gradient

    factor, taken = here(factor), here(taken)
    return known(_doubled(tf.stop_gradient(factor), tf.stop_gradient(taken), backward), factor, taken)


def _doubled(factor: Tensor, taken: Tensor, backward: bool) -> Tensor:
    """After pass k each step holds the sum over the 2^k steps up to it."""
    steps = tf.shape(taken)[0]
    number = tf.reshape(tf.range(steps), tf.concat([[-1], tf.ones_like(tf.shape(taken)[1:])], 0))
    if backward:
        number = steps - 1 - number

    def pass_(total: Tensor, power: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        moved = tf.roll(total, -reach if backward else reach, 0)
        return total + power * tf.where(number >= reach, moved, tf.zeros_like(moved)), power * power, 2 * reach

    total, _, _ = tf.while_loop(lambda _, __, reach: reach < steps, pass_, (taken, factor, tf.constant(1)))
    return total
