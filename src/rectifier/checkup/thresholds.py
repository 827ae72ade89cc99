"""The numbers that verdicts depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import RectifierValueError

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """The numbers a verdict depends on.

    >>> Thresholds(rare=0.001).rare
    0.001
    """

    rare: float = 0.01
    """A unit that fired, but at no more than this share of the examples, is rare."""
    dormant: float = 0.025
    """τ: a unit whose mean \\|h\\| is at most τ times the mean of its site's units is dormant (Sokar et al. 2023, The
    Dormant Neuron Phenomenon, arXiv:2302.12902)."""
    confidence: float = 0.95
    """Of the one-sided upper bound of a firing rate; strictly between 0 and 1, for nothing seen is certain."""
    scale_ratio: float = 1e-3
    """A gradient or activation norm that falls by this factor from one end of the network to the other, or grows by
    its inverse, vanishes or explodes: three decimal digits of the signal, where depth alone should cost none."""
    large_update: float = 0.1
    """A step that moves weights by this share of their norm is too large (healthy training moves them by about 1e-3 a
    step; Karpathy, CS231n notes, "Ratio of weights:updates")."""
    large_path: float = 1.0
    """A unit whose weights moved by this many times their norm before it fell silent, at a tenth of ``large_update`` a
    step or more on average, was moved too far by steps that each may look small."""
    shifted_input: float = 0.8
    """\\|mean\\| ÷ root mean square of the inputs from which they count as not centred."""
    input_scale: float = 10.0
    """Root mean square of the inputs from which they count as not scaled."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise RectifierValueError(
                    f"Thresholds: `{field.name}` must be a finite number, 0 or more; got {value!r}. "
                    f"Pass a number such as {field.default}."
                )
        for name in ("rare", "confidence", "scale_ratio"):
            if getattr(self, name) > 1:
                raise RectifierValueError(
                    f"Thresholds: `{name}` must be a share in [0, 1]; got {getattr(self, name)!r}. 5 % is written 0.05."
                )
        if not 0 < self.confidence < 1:
            raise RectifierValueError(
                f"Thresholds: `confidence` must lie strictly between 0 and 1; got {self.confidence!r}. "
                "95 % is written 0.95."
            )
