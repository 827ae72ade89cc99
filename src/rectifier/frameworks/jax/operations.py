"""The operations of JAX that the formulas are made of."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..exponential import Formula
from ..formulas import Formulas

__all__ = ["FORMULAS"]

Array = Any


class JaxOperations:
    """``rectifier.frameworks.exponential.Operations`` of JAX."""

    def dtype(self, x: Array) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(x.dtype)
        return dtype

    def where(self, condition: Array, a: Array | float, b: Array | float) -> Array:
        return jnp.where(condition, a, b).astype(getattr(b if isinstance(a, float) else a, "dtype", None))

    def abs(self, x: Array) -> Array:
        return jnp.abs(x)

    def sqrt(self, x: Array) -> Array:
        return jnp.sqrt(x)

    def maximum(self, x: Array, limit: Any) -> Array:
        return jnp.maximum(x, limit)

    def minimum(self, x: Array, limit: Any) -> Array:
        return jnp.minimum(x, limit)

    def round(self, x: Array) -> Array:
        return lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN)

    def astype(self, x: Array, dtype: Any) -> Array:
        return x.astype(dtype)

    def bits_as(self, x: Array, dtype: Any) -> Array:
        return lax.bitcast_convert_type(x, dtype)

    def quarter(self, k: Array) -> Array:
        return k >> 2

    def together(self, a: Array, b: Array) -> tuple[Array, Array]:
        a, b = jnp.broadcast_arrays(a, b)
        return a, b

    def opaque(self, formula: Formula, derivative: Formula) -> Formula:
        function = jax.custom_jvp(formula)

        @function.defjvp  # type: ignore[untyped-decorator]
        def rule(primals: Any, tangents: Any) -> Any:
            return function(*primals), derivative(*primals) * tangents[0]

        functools.update_wrapper(function, formula)
        return function  # type: ignore[no-any-return]


FORMULAS = Formulas(JaxOperations())
