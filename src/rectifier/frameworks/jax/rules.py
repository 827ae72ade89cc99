"""How the functions are differentiated, and what each keeps for the backward pass.

One rule serves forward and reverse mode: ``jax.custom_jvp``. (``jax.custom_vjp`` would say outright what is kept, but
forbids forward mode and with it ``jacfwd`` and ``hessian``.) Its tangent is a linear function of (kept, t) under
``jax.checkpoint``: when JAX splits it for reverse mode, the residuals are that function's known inputs, so exactly what
was chosen here, and all else is computed from it in the backward pass. Without the checkpoint JAX keeps whatever the
linear part multiplies by, and for a ``where`` the zeros too. ``prevent_cse=False``, as the forward pass computes
nothing of it that XLA could merge it with: no barrier stands between the product and the loop that it is fused into.

====================  =============================================================  =======================
kept                  for                                                            size beside the values
====================  =============================================================  =======================
"gate"                relu, leaky_relu, abs, relu6, prelu (the slope not learned)    one bit a value, packed
"input"               the rest, and learned slopes                                   the input
"output"              softplus (β = 1), and where ``save="output"`` asks for it      the output, which the
                                                                                     next layer keeps anyway
====================  =============================================================  =======================

The bits are packed, eight values of the last axis to a byte. A boolean a value, as ``jax.nn.relu`` has, is what XLA
computes anew from the input in the backward pass, so that input *and* output stay in memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from ...errors import RectifierTypeError
from .operations import FORMULAS

__all__ = ["of_array", "of_number"]

Array = Any

_keeping = functools.partial(jax.checkpoint, prevent_cse=False)


def wide(dtype: Any) -> Any:
    """The dtype that a function of this one is computed in."""
    return np.float64 if dtype == np.float64 else np.float32


@functools.lru_cache(maxsize=1024)
def of_number(name: str, number: float | None, keeps: str) -> Callable[[Array], Array]:
    """z ↦ f(z), compiled and differentiable, for one number as parameter; None for the default of 1, or for none.

    A function of its own for each number: what it is decides what is kept, and a 0 or 1 costs nothing.
    """

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def f(z: Array) -> Array:
        parameter = None if number is None or name == "relu" else wide(z.dtype)(number)
        return _value(name, z, parameter)

    @f.defjvp  # type: ignore[untyped-decorator]
    def rule(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (z,), (t,) = primals, tangents
        h = f(z)
        parameter = None if number is None else wide(z.dtype)(number)
        if keeps == "gate":
            return h, _through_gate(name, z, parameter, number, t)
        return h, _through_value(name, keeps, z, h, parameter, t)

    f.__name__ = f.__qualname__ = name
    return jax.jit(f, inline=True)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=64)
def of_array(name: str, parameter_name: str, keeps: str | None) -> Callable[[Array, Array], Array]:
    """(z, parameter) ↦ f(z) for an array as parameter, of the dtype that z is computed in. A slope may be learned.

    keeps: None for the function's own choice.
    """

    @jax.custom_jvp  # type: ignore[untyped-decorator]
    def f(z: Array, parameter: Array) -> Array:
        return _value(name, z, parameter)

    def rule(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
        (z, parameter), (t, of_parameter) = primals, tangents
        h = f(z, parameter)
        if not isinstance(of_parameter, SymbolicZero):
            if parameter_name != "negative_slope":
                raise RectifierTypeError(
                    f"{name}: `{parameter_name}` must be fixed; got an array that is differentiated. "
                    f"Pass jax.lax.stop_gradient({parameter_name}); only `negative_slope` can be learned."
                )
            t = jnp.zeros_like(z) if isinstance(t, SymbolicZero) else t
            return h, _learned(keeps or "input", z, h, parameter, t, of_parameter)
        if isinstance(t, SymbolicZero):
            return h, jnp.zeros_like(h)
        own = "gate" if name in ("relu", "leaky_relu", "prelu", "relu6") else "input"
        kept = own if keeps is None or own == "gate" else keeps
        if kept == "gate":
            return h, _through_gate(name, z, parameter, None, t)
        return h, _through_value(name, kept, z, h, parameter, t)

    f.defjvp(rule, symbolic_zeros=True)
    f.__name__ = f.__qualname__ = name
    return jax.jit(f, inline=True)  # type: ignore[no-any-return]


def _value(name: str, z: Array, parameter: Array | None) -> Array:
    return FORMULAS.value[name](z.astype(wide(z.dtype)), parameter).astype(z.dtype)


# From the gate -------------------------------------------------------------------------------------------------------


def _packed(plane: Array) -> Array:
    """The bits of a plane of booleans; itself where a byte would span two devices by the sharding of its type."""
    if not plane.ndim or not plane.size:
        return plane
    sharding = jax.typeof(plane).sharding
    axes = sharding.spec[-1] if len(sharding.spec) == plane.ndim else None
    if axes is not None:
        names = axes if isinstance(axes, tuple) else (axes,)
        if plane.shape[-1] // math.prod(sharding.mesh.shape[name] for name in names) % 8:
            return plane
    return jnp.packbits(plane, axis=-1, bitorder="little")


def _plane(kept: Array, shape: tuple[int, ...]) -> Array:
    if kept.dtype == bool:
        return kept
    return jnp.unpackbits(kept, axis=-1, count=shape[-1], bitorder="little").astype(bool)


def _through_gate(name: str, z: Array, parameter: Array | None, number: float | None, t: Array) -> Array:
    """f′(z)·t, where a closed gate stops even an infinite t; a NaN is open."""
    shape, dtype = z.shape, z.dtype
    zero = np.zeros((), dtype)
    if name == "relu" and number in (0.0, 1.0):
        closed = z <= 0 if number == 0 else z < 0
        return _keeping(lambda bits, t: jnp.where(_plane(bits, shape), zero, t))(_packed(closed), t)
    if name == "relu6":
        outside = (z <= 0) | (z.astype(wide(dtype)) >= parameter)
        return _keeping(lambda bits, t: jnp.where(_plane(bits, shape), zero, t))(_packed(outside), t)
    if name in ("relu", "abs"):  # what is at 0 takes a second plane

        def three_ways(below: Array, at_zero: Array, t: Array) -> Array:
            if name == "abs":
                there, left = zero, -t
            else:
                there, left = (parameter * t.astype(wide(dtype))).astype(dtype), zero
            return jnp.where(_plane(below, shape), left, jnp.where(_plane(at_zero, shape), there, t))

        return _keeping(three_ways)(_packed(z < 0), _packed(z == 0), t)
    if number == 0.0:
        return _keeping(lambda bits, t: jnp.where(_plane(bits, shape), zero, t))(_packed(z <= 0), t)

    def sloped(bits: Array, slope: Array, t: Array) -> Array:
        return jnp.where(_plane(bits, shape), (slope * t.astype(wide(dtype))).astype(dtype), t)

    return _keeping(sloped)(_packed(z <= 0), parameter, t)


# From a value --------------------------------------------------------------------------------------------------------


def _through_value(name: str, keeps: str, z: Array, h: Array, parameter: Array | None, t: Array) -> Array:
    """f′(z)·t from z or h. In 16 bits the product is formed in float32 and rounded once."""
    formula, kept = (FORMULAS.derivative[name], z) if keeps == "input" else (FORMULAS.from_output[name], h)

    def product(kept: Array, parameter: Array | None, t: Array) -> Array:
        dtype = wide(kept.dtype)
        slope = formula(kept.astype(dtype), parameter)
        if name == "squared_relu":  # an infinite gradient from above is stopped where the slope is 0
            return (slope * jnp.where(kept <= 0, np.zeros((), t.dtype), t).astype(dtype)).astype(kept.dtype)
        return (slope * t.astype(dtype)).astype(kept.dtype)

    return _keeping(product)(kept, parameter, t)


def _learned(keeps: str, z: Array, h: Array, slope: Array, t: Array, of_slope: Array) -> Array:
    """∂f/∂z·t + ∂f/∂s·of_slope for a slope s, with ∂f/∂s = min(0, z)."""

    def product(kept: Array, slope: Array, t: Array, of_slope: Array) -> Array:
        dtype = wide(kept.dtype)
        z = kept.astype(dtype)
        below = z <= 0
        if keeps == "output":  # of a slope above 0
            z = jnp.where(below, z / slope, z)
        t = t.astype(dtype)
        # A NaN gives NaN.
        by_input = jnp.where(below, slope, jnp.where(z > 0, 1.0, z).astype(dtype)) * t
        by_slope = jnp.where(z > 0, 0.0, z).astype(dtype) * of_slope
        return (by_input + by_slope).astype(kept.dtype)

    return _keeping(product)(z if keeps == "input" else h, slope, t, of_slope)
