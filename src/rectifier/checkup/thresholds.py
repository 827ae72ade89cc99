"""The numbers that verdicts and severities depend on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import RectifierValueError

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """The numbers that verdicts and severities depend on; each is stated in the findings that it decides.

    >>> Thresholds(rare=0.001).rare
    0.001
    """

    rare: float = 0.01
    """A unit that fired, but at no more than this share of the examples, is rare."""
    dormant: float = 0.025
    """τ: a unit whose mean \\|h\\| is at most τ times the mean of its site's units is dormant (Sokar et al. 2023, The
    Dormant Neuron Phenomenon, arXiv:2302.12902)."""
    saturated: float = 0.95
    """A unit on a flat part of its function at this share of the examples is saturated, or nearly silent."""
    confidence: float = 0.95
    """Of the one-sided upper bound of a firing rate; strictly between 0 and 1, for nothing seen is certain."""
    scale_ratio: float = 1e-3
    """A gradient or activation norm that falls by this factor from one end of the network to the other, or grows by
    its inverse, vanishes or explodes: where the last layer moves by a healthy 1e-3 of its norm a step, the first would
    need a million steps to move by its own. Spread over the depth it is a factor a layer, which the finding states."""
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
    changed_input: float = 3.0
    """The inputs changed when their root mean square becomes this many times as large, or as small."""
    usual_silence: float = 0.35
    """Share of a site's units that may be silent after sound training: on scikit-learn's digits about a third of a site
    was, and a fifth of all units (``docs/checkup-causes.md``). More is a warning."""
    ill_silence: float = 0.5
    """Share of a site's units from which silence is ill: less than half of the capacity that is paid for is left. No
    site of a network that still learned well had it; all sites of those that a too large step ruined did."""
    sudden_silence: float = 0.35
    """Share of a site's units from which it is ill that one too large step closed them: as many at once as sound
    training leaves in all, and the next such step does it again."""
    late_silence: float = 0.1
    """Share of a site's units that fell silent in the last third of the training, from which they count as dying
    still: sound training closes units while it is young."""
    history_ratio: float = 1e3
    """A scale that grew by this factor over what it was before in the same run explodes, one that fell by it
    vanishes."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
                raise RectifierValueError(
                    f"Thresholds: `{field.name}` must be a finite number, 0 or more; got {value!r}. "
                    f"Pass a number such as {field.default}."
                )
        for name in (
            "rare",
            "saturated",
            "confidence",
            "scale_ratio",
            "usual_silence",
            "ill_silence",
            "sudden_silence",
        ):
            if getattr(self, name) > 1:
                raise RectifierValueError(
                    f"Thresholds: `{name}` must be a share in [0, 1]; got {getattr(self, name)!r}. 5 % is written 0.05."
                )
        for name in ("changed_input", "history_ratio"):
            if getattr(self, name) <= 1:
                raise RectifierValueError(
                    f"Thresholds: `{name}` must be a factor above 1; got {getattr(self, name)!r}. "
                    "Three times as much is written 3."
                )
        if not 0 < self.confidence < 1:
            raise RectifierValueError(
                f"Thresholds: `confidence` must lie strictly between 0 and 1; got {self.confidence!r}. "
                "95 % is written 0.95."
            )
        if self.usual_silence > self.ill_silence:
            raise RectifierValueError(
                f"Thresholds: `usual_silence` must be at most `ill_silence`; got {self.usual_silence!r} and "
                f"{self.ill_silence!r}. Raise ill_silence as well."
            )
