"""Where a tensor came from: which layer made it, which site fed it, or the model's own input."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

__all__ = ["Origin", "Origins"]


@dataclass(frozen=True)
class Origin:
    """What is known of a tensor's past; None where it could not be followed."""

    layer: str | None = None
    """Layer with weights that made it (through at most one batch normalisation)."""
    norm: str | None = None
    site: str | None = None
    """Site whose outputs it holds (through reshaping, dropout and pooling)."""
    on_input: bool = False
    """True: that layer was called on the model's input."""
    input: bool = False
    """True: it holds the values of the model's one input tensor in their order."""
    axis: int | None = None
    """Axis of the units."""


class Origins:
    """Tensor → :class:`Origin`, for one forward pass: Keras hands the same object from layer to layer."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Any, Origin]] = {}

    def __getitem__(self, tensor: Any) -> Origin:
        entry = self._of.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else Origin()

    def __setitem__(self, tensor: Any, origin: Origin) -> None:
        try:
            held: Any = weakref.ref(tensor)
        except TypeError:  # a tracer cannot be held weakly
            held = lambda: tensor  # noqa: E731
        self._of[id(tensor)] = held, origin

    def __contains__(self, tensor: Any) -> bool:
        entry = self._of.get(id(tensor))
        return entry is not None and entry[0]() is tensor

    def clear(self) -> None:
        self._of.clear()
