"""The layer for Flax NNX whose parameter is learned. All other rectifiers are functions: ``rectifier.jax``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from ._missing import missing

try:
    from flax import nnx
    from flax.nnx.nn import dtypes
except ModuleNotFoundError as error:
    raise missing("rectifier.jax.nnx", "flax", error) from error

from ..frameworks.jax.ops import prelu
from ._slopes import check_save, first_slope

__all__ = ["PReLU"]


class PReLU(nnx.PReLU):  # type: ignore[misc]
    """z where z > 0, else negative_slope·z with a learned slope. Takes the place of ``flax.nnx.PReLU``.

    negative_slope_init: where the slope starts: a number, or an array that broadcasts with the input from its last
        axis, such as one value a channel. 0.25 as in He et al. 2015 (``flax.nnx.PReLU`` starts at 0.01)
    dtype, param_dtype, promote_dtype, negative_slope_metadata: as in ``flax.nnx.PReLU``; without ``dtype`` the result
        has the input's dtype, whatever the slope's
    save: what the backward pass reads: "input" (the default) or, where no slope is 0 or below, "output", which the
        next layer keeps anyway
    Raises RectifierTypeError, RectifierValueError for a start that is no finite number, and for a ``save`` that it
    cannot honour.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> PReLU()(jnp.array([-1.0, 2.0]))
    Array([-0.25,  2.  ], dtype=float32)
    """

    def __init__(
        self,
        negative_slope_init: float | jax.Array = 0.25,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
        negative_slope_metadata: Mapping[str, Any] = MappingProxyType({}),
        save: str | None = None,
    ) -> None:
        check_save(save)
        super().__init__(
            first_slope("negative_slope_init", negative_slope_init),
            dtype=dtype,
            param_dtype=param_dtype,
            promote_dtype=promote_dtype,
            negative_slope_metadata=negative_slope_metadata,
        )
        self.save = save

    def __call__(self, inputs: jax.Array) -> jax.Array:
        slope = self.negative_slope[...]
        if self.dtype is not None:
            inputs, slope = self.promote_dtype((inputs, slope), dtype=self.dtype)
        return prelu(inputs, negative_slope=slope, save=self.save)
