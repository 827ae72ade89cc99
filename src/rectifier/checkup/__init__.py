"""The check-up: observe → judge → heal, prune; joined by frozen records. Only heal and prune change a model."""

from __future__ import annotations

from .check import check
from .errors import ObservationError
from .heal import heal
from .judge import Thresholds, judge
from .prune import prune
from .records import FAULTS, Finding, LayerVitals, Receipt, Record, SiteVitals, Snapshot
from .watch import Watching, watch

__all__ = [
    "FAULTS",
    "Finding",
    "LayerVitals",
    "ObservationError",
    "Receipt",
    "Record",
    "SiteVitals",
    "Snapshot",
    "Thresholds",
    "Watching",
    "check",
    "heal",
    "judge",
    "prune",
    "watch",
]
