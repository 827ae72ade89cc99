"""The check-up: observe → judge → heal, prune; joined by frozen records. Only heal and prune change a model."""

from __future__ import annotations

from ._check import check
from ._heal import heal
from ._judge import judge
from ._proved import proved
from ._prune import prune
from ._watch import Watching, watch
from .errors import Interrupted, ObservationError
from .proofs.certificate import Certificate
from .proofs.checker import Proved, Rejected, accept, examine
from .records import FAULTS, Finding, LayerVitals, Receipt, Record, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = [
    "FAULTS",
    "Certificate",
    "Finding",
    "Interrupted",
    "LayerVitals",
    "ObservationError",
    "Proved",
    "Receipt",
    "Record",
    "Rejected",
    "SiteVitals",
    "Snapshot",
    "Thresholds",
    "Watching",
    "accept",
    "check",
    "examine",
    "heal",
    "judge",
    "proved",
    "prune",
    "watch",
]
