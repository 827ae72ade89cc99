"""The check-up: observe → judge → heal, prune; joined by frozen records. Only heal and prune change a model."""

from __future__ import annotations

from ._check import check
from ._check_weights import check_weights
from ._heal import heal
from ._judge import judge
from ._proved import proved
from ._prune import prune
from ._recycling import Recycling, Turn, recycling
from ._trial import Arm, Trial, trial
from ._watch import Watching, watch
from .errors import Interrupted, ObservationError
from .proofs.certificate import Certificate
from .proofs.checker import Proved, Rejected, accept, examine
from .records import FAULTS, Finding, LayerVitals, Receipt, Record, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = [
    "FAULTS",
    "Arm",
    "Certificate",
    "Finding",
    "Interrupted",
    "LayerVitals",
    "ObservationError",
    "Proved",
    "Receipt",
    "Record",
    "Recycling",
    "Rejected",
    "SiteVitals",
    "Snapshot",
    "Thresholds",
    "Trial",
    "Turn",
    "Watching",
    "accept",
    "check",
    "check_weights",
    "examine",
    "heal",
    "judge",
    "proved",
    "prune",
    "recycling",
    "trial",
    "watch",
]
