"""The layer for Equinox whose parameter is learned. All other rectifiers are functions: ``rectifier.jax``."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._missing import missing

try:
    import equinox as eqx
except ModuleNotFoundError as error:
    raise missing("rectifier.jax.equinox", "equinox", error) from error

from ..frameworks.jax.ops import prelu
from ._slopes import check_save, first_slope

__all__ = ["PReLU"]


class PReLU(eqx.nn.PReLU):  # type: ignore[misc]
    """z where z > 0, else negative_slope·z with a learned slope. Takes the place of ``equinox.nn.PReLU``.

    init_alpha: where the slope starts: a number, or an array that broadcasts with the input from its last axis
    save: what the backward pass reads: "input" (the default) or, where no slope is 0 or below, "output", which the
        next layer keeps anyway
    Raises RectifierTypeError, RectifierValueError for a start that is no finite number, and for a ``save`` that it
    cannot honour.
    Source: He, Zhang, Ren & Sun 2015, arXiv:1502.01852.

    >>> PReLU()(jnp.array([-1.0, 2.0]))
    Array([-0.25,  2.  ], dtype=float32)
    """

    save: str | None = eqx.field(static=True)

    def __init__(self, init_alpha: float | jax.Array = 0.25, *, save: str | None = None) -> None:
        check_save(save)
        self.negative_slope = jnp.asarray(first_slope("init_alpha", init_alpha))
        self.save = save

    @jax.named_scope("rectifier.PReLU")  # type: ignore[untyped-decorator]
    def __call__(self, x: jax.Array, *, key: jax.Array | None = None) -> jax.Array:
        # ``key`` as in every layer of Equinox, which Sequential hands it to.
        return prelu(x, negative_slope=self.negative_slope, save=self.save)
