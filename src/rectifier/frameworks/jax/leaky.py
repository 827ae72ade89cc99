"""The leaky average on JAX arrays: an associative scan, under every transform and of any order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._family import Parameter
from ..._leaky import ALPHA, INITIAL, axis_of
from ...errors import RectifierTypeError, RectifierValueError
from .. import framework_of, refuse_mixed
from ..numpy import parameter_value
from . import rules

__all__ = ["leaky_average"]

_FLOATS = frozenset(np.dtype(kind) for kind in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64))


def leaky_average(
    v: jax.Array, alpha: float | jax.Array, *, axis: int = -1, initial: float | jax.Array = 0.0
) -> jax.Array:
    """The leaky unit μ ← α·μ + (1 − α)·v over time: μ_t = α·μ_{t−1} + (1 − α)·v_t.

    Computed in float32 (float64 for float64 v) as an associative scan of the maps μ ↦ aμ + b, whose composition is
    one of them: ⌈log₂ T⌉ levels, which a device runs in parallel.

    v: array, floating and finite; time runs along ``axis``.
    alpha: the share of the past, in [0, 1]; a number, or an array that broadcasts with v without its time axis; it gets
        a gradient where one is taken.
    axis: of time; the last by default.
    initial: μ before the first step, a number or an array likewise.

    Returns an array of v's shape and dtype: μ at every step. Raises RectifierTypeError, RectifierValueError for
    arguments that cannot be used.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure"); Goodfellow, Bengio & Courville 2016,
    Deep Learning, section 10.9.2.

    >>> leaky_average(jax.numpy.ones(3), 0.5)
    Array([0.5  , 0.75 , 0.875], dtype=float32)
    """
    if framework_of(v) != "jax" and not isinstance(v, (np.ndarray, np.generic)):
        raise RectifierTypeError(
            f"leaky_average: `v` must be a JAX array; got {type(v).__name__}. "
            "Pass jax.numpy.asarray(v), or call rectifier.leaky_average on an array of another kind."
        )
    v = jnp.asarray(v)
    if v.dtype not in _FLOATS:
        raise RectifierTypeError(
            f"leaky_average: `v` must hold float16, bfloat16, float32 or float64; got {v.dtype}. "
            "Convert it with v.astype(jax.numpy.float32)."
        )
    time = axis_of(axis, v.ndim)
    series = v.shape[:time] + v.shape[time + 1 :]
    kept, before = (_of_series(p, value, v, series) for p, value in ((ALPHA, alpha), (INITIAL, initial)))
    if not v.shape[time]:
        return v
    steps = jnp.moveaxis(v, time, 0).astype(kept.dtype)
    taken = (1 - kept) * steps
    taken = taken.at[0].add(kept * before)
    _, mu = jax.lax.associative_scan(_after, (jnp.broadcast_to(kept, steps.shape), taken))
    return jnp.moveaxis(mu.astype(v.dtype), 0, time)


def _after(first: Any, second: Any) -> Any:
    """The map of ``first``, then that of ``second``."""
    return first[0] * second[0], second[0] * first[1] + second[1]


def _of_series(parameter: Parameter, value: Any, v: jax.Array, series: tuple[int, ...]) -> Any:
    """As the family's parameters: float64 for float64 v, and float32 otherwise."""
    dtype = np.dtype(rules.wide(v.dtype))
    if not isinstance(value, jax.core.Tracer):
        refuse_mixed("leaky_average", parameter.name, value, "jax")
        # Elsewhere than on the CPU a look at the values would wait for the device.
        if not isinstance(value, jax.Array) or all(device.platform == "cpu" for device in value.devices()):
            value = parameter_value("leaky_average", parameter, np.asarray(value), dtype)
    numbers = jnp.asarray(value, dtype)
    try:
        np.broadcast_shapes(numbers.shape, series)
        return jnp.broadcast_to(numbers, series)
    except ValueError:
        raise RectifierValueError(
            f"leaky_average: `{parameter.name}` must broadcast with v without its axis of time, {tuple(series)}; "
            f"got shape {tuple(numbers.shape)}. Give it one value a series, or a single number."
        ) from None
