"""The acts of ``heal`` on a Keras model. Each is planned and refused before anything is changed."""

from __future__ import annotations

from typing import Any

from ...checkup.plan import Act, Wanted
from ...errors import RectifierValueError
from .optimizer_state import kept_by
from .recycling import generator_of, recycle
from .swap import swap

__all__ = ["generator_of", "kept_by", "recycle", "rescale", "swap"]


def rescale(model: Any, wanted: Wanted, **_: Any) -> tuple[list[Act], tuple[str, ...]]:
    """Not there for Keras."""
    raise RectifierValueError(
        f'heal: `how` must be "recycle" or "swap" for a Keras model; got "rescale" for {type(model).__name__}. '
        'Initialise its layers with kernel_initializer="he_normal", or normalise between them.'
    )
