"""Records: what the check-up saw and what it concluded, as frozen dataclasses of plain NumPy arrays.

Nothing here knows a framework. An observer (one per framework) makes :class:`Snapshot` objects, :func:`judge` turns
them into :class:`Finding` objects, a :class:`Record` holds both, and every report is made from a record alone.
How they become files and come back is the business of :mod:`.documents` (JSON) and :mod:`.tables` (Parquet).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import RectifierValueError
from .proofs.certificate import Certificate

__all__ = [
    "FAULTS",
    "CauseKind",
    "Finding",
    "Kind",
    "LayerVitals",
    "Receipt",
    "Record",
    "Severity",
    "SiteVitals",
    "Snapshot",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Kind = Literal[
    "dead",
    "silent",
    "rare",
    "always_open",
    "always_closed",
    "dormant",
    "vanishing_gradient",
    "exploding_gradient",
    "vanishing_activation",
    "exploding_activation",
    "vanishing_update",
    "exploding_update",
    "initialisation",
    "selu",
    "nan",
    "saturated",
    "nearly_silent",
    "closed",
    "constant",
    "infinite",
    "scale",
    "duplicate",
    "unmoved",
    "drift",
]

#: How much a finding matters: nothing to do; look at it; act. ``docs/verdicts.md`` has the thresholds and reasons.
Severity = Literal["note", "warning", "ill"]

CauseKind = Literal[
    "step",
    "bias",
    "initialisation",
    "upstream",
    "normalisation",
    "statistics",
    "input",
    "zeros",
    "weights",
    "data",
    "format",
    "shut",
    "depth",
    "unknown",
]

#: Kinds that are faults of a unit or a layer, whatever they weigh (that is :data:`Severity`); the others are
#: observations: an always-open unit is linear, a rare or dormant one may be needed.
FAULTS: frozenset[str] = frozenset(
    {
        "dead",
        "silent",
        "vanishing_gradient",
        "exploding_gradient",
        "vanishing_activation",
        "exploding_activation",
        "vanishing_update",
        "exploding_update",
        "initialisation",
        "selu",
        "nan",
        "infinite",
    }
)


@dataclass(frozen=True, eq=False)
class SiteVitals:
    """What one site (one place where a rectifier is applied) did over ``examples`` examples.

    Arrays have one entry a unit (shape ``(units,)``).
    """

    site: str
    """Name of the place: the module's qualified name (``"layers.1"``), or ``"relu#0"``, ``"block.relu#1"`` for the n-th
    functional call inside a module."""
    rectifier: str
    """Name of the function's row in :data:`rectifier.family`, such as ``"leaky_relu"``."""
    parameters: Mapping[str, float]
    """Its parameters where they are numbers, such as ``{"negative_slope": 0.01}``."""
    layer: str | None
    """Qualified name of the layer that makes the units (through a BatchNorm), where it could be followed."""
    examples: int
    """Values seen of each unit: samples, or samples × positions."""
    fired: Ints
    """Examples at which the gate was open (z > 0; a NaN is not a firing)."""
    nan: Ints
    """Examples at which z was NaN."""
    sum_h: Floats
    """Σ h over the examples at which h is finite."""
    sum_abs_h: Floats
    """Σ |h| over the examples at which h is finite."""
    min_z: Floats
    """Smallest pre-activation seen."""
    max_z: Floats
    """Largest pre-activation seen."""
    rms_h: float
    """Root mean square of h over all units and examples, where it is finite."""
    gradient_rms: float | None = None
    """Root mean square of ∂loss/∂h over all units and examples; None where there was no loss."""
    gradient_abs: Floats | None = None
    """Mean |∂loss/∂z| of each unit; None where there was no loss."""
    upstream: str | None = None
    """Site whose outputs feed the layer that makes the units, where it could be followed."""
    bias: Floats | None = None
    """Bias of each unit in that layer; None without one."""
    weight_norm: Floats | None = None
    """Euclidean norm of each unit's incoming weights."""
    moved: Floats | None = None
    """‖Δw‖ ÷ ‖w‖ of each unit's incoming weights (and bias) since the last snapshot; None in the first."""
    scale: Floats | None = None
    """γ of each unit where a batch normalisation stands between the layer and the site."""
    shift: Floats | None = None
    """β likewise."""
    looked: int | None = None
    """Examples behind the sums and extremes, where only the gates of the others were counted; None: all of them."""
    graded: int | None = None
    """Steps at which the gradient of each unit's bias, β or weights was read as well; None where it was not."""
    lived: Ints | None = None
    """Last of these steps at which that gradient was not 0, which proves that the unit fired there; 0 at none."""
    lives: Ints | None = None
    """At how many of these steps it was not 0."""
    until: int = 0
    """The last step whose gradient was read."""
    recent: int = 0
    """Step half way between the snapshots: life that was proved up to there was so long ago that it may be over."""
    infinite: Ints | None = None
    """Examples at which z was +∞ or −∞; None in a record from before they were counted."""
    inputs: int | None = None
    """Independent samples seen (rows of z along dimension 0); ``examples`` counts each of their positions."""
    flat_low: Ints | None = None
    """Examples on the lower flat part of a function that has one (:mod:`rectifier.checkup.flat`)."""
    flat_high: Ints | None = None
    """Examples on the upper one."""
    normalised: bool = False
    """True where a normalisation stands between the layer and the site, with γ and β or without."""
    dropout: str | None = None
    """Name of the call that drops outputs of this site, such as ``"dropout"`` or ``"alpha_dropout"``."""

    @property
    def units(self) -> int:
        return int(self.fired.shape[0])

    @property
    def firing_rate(self) -> Floats:
        """Share of the examples at which each unit fired, shape (units,); NaN where no example was seen."""
        if self.examples == 0:
            return np.full(self.units, math.nan)
        return self.fired / self.examples

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """Units that were seen to fire, or whose gradient proves that they did of late, shape (units,)."""
        fired: npt.NDArray[np.bool_] = self.fired > 0
        return fired if self.lived is None else fired | (self.lived > self.recent)


@dataclass(frozen=True)
class LayerVitals:
    """Scales of one layer with weights (Linear or Conv), in the order in which the forward pass meets them."""

    layer: str
    fan_in: int
    units: int
    weight_rms: float
    """Root mean square of the weights."""
    activation_rms: float | None
    """Root mean square of the layer's output z."""
    gradient_rms: float | None
    """Root mean square of ∂loss/∂z; None where there was no loss."""
    weight_gradient_rms: float | None = None
    """Root mean square of ∂loss/∂W; None where there was no loss."""
    update_ratio: float | None = None
    """‖ΔW‖ ÷ ‖W‖ of the last step; None where no optimizer was watched."""
    first: bool = False
    """True where the layer acts on the model's input itself."""
    input_mean: float | None = None
    """Mean of the layer's inputs, infinities left out; NaN where one of them is."""
    input_rms: float | None = None
    """Root mean square of the layer's inputs, likewise."""
    values: float | None = None
    """Values of the layer's output a sample: units × positions."""
    input_infinite: int | None = None
    """Values of the layer's inputs that were +∞ or −∞; None in a record from before they were counted."""
    format: str | None = None
    """Number format of the layer's output (and of its gradient), such as ``"float16"``: the coarsest seen."""
    weight_format: str | None = None
    """Number format that the weights are kept in."""


@dataclass(frozen=True)
class Snapshot:
    """All sites and layers at one step."""

    step: int
    sites: tuple[SiteVitals, ...]
    layers: tuple[LayerVitals, ...]
    loss: float | None = None
    looked: tuple[int, ...] = ()
    """Steps of a training at which everything was looked at; between them gates or gradients alone may have been."""


@dataclass(frozen=True)
class Finding:
    """One conclusion about units of a site, or (``units`` empty) about a whole layer or model."""

    kind: Kind
    site: str
    """Site or layer that it is about."""
    units: tuple[int, ...]
    total: int
    """Units of that site (0 for a finding about a scale)."""
    evidence: str
    """What was measured, with its numbers and, for what was only seen, its bound."""
    cause: str
    """The likely cause, or ``"not known"`` with what was tried."""
    remedy: str
    """What to do about it."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """The numbers of the evidence."""
    proof: str | None = None
    """For a unit that is dead: the bound that proves it, and for which inputs."""
    since: Mapping[int, int] = field(default_factory=dict)
    """unit → first snapshot step from which it never fired again; empty where there is no history."""
    cause_kind: CauseKind | None = None
    """The cause in one word, for programs; None for an observation, which needs none."""
    severity: Severity | None = None
    """How much it matters; None in a record from before it was judged."""
    severity_reason: str = ""
    """Why it has that severity, with the threshold that decided."""

    @property
    def fault(self) -> bool:
        """Something does not work as it should; how much that matters is its severity."""
        return self.kind in FAULTS

    @property
    def ill(self) -> bool:
        """Its severity is "ill"; a fault in a record from before severities counts as one."""
        return self.severity == "ill" or (self.severity is None and self.fault)


@dataclass(frozen=True)
class Record:
    """All that a check-up saw and concluded, with what is needed to repeat it."""

    model: str
    """Class name of the model."""
    source: Literal["check", "watch", "weights"]
    snapshots: tuple[Snapshot, ...]
    findings: tuple[Finding, ...] = ()
    not_observed: tuple[str, ...] = ()
    """What could not be seen, one line each: never taken as zero."""
    stopped: str | None = None
    """Where the user's code raised in the middle: the error; the record holds what was seen until then."""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    box: str | None = None
    """The input box over which a unit was proved dead, in words."""
    name: str = ""
    """The target or run it is about, for titles."""
    certificate: Certificate | None = field(default=None, repr=False, compare=False)
    """The proofs as a document that ``rectifier certificate`` checks; not part of the record's JSON, and None in a
    record read back."""

    @property
    def last(self) -> Snapshot:
        if not self.snapshots:
            raise RectifierValueError(
                "record: `last` needs a record with a snapshot; got one without. Observe at least one batch."
            )
        return self.snapshots[-1]

    def of(self, *kinds: str) -> tuple[Finding, ...]:
        """The findings of these kinds."""
        return tuple(finding for finding in self.findings if finding.kind in kinds)

    def share(self, *kinds: str) -> float:
        """Share of all observed units that a finding of one of these kinds names, in [0, 1]; NaN without units."""
        total = sum(site.units for site in self.last.sites) if self.snapshots else 0
        named = {(finding.site, unit) for finding in self.of(*kinds) for unit in finding.units}
        return len(named) / total if total else math.nan

    def with_findings(self, findings: tuple[Finding, ...]) -> Record:
        return replace(self, findings=findings)

    def to_json(self) -> str:
        """The record as one JSON document (NaN and infinities as the strings "nan", "inf", "-inf")."""
        from . import documents

        return documents.to_json(self)

    @staticmethod
    def from_json(text: str) -> Record:
        """Read what :meth:`to_json` wrote.

        Raises RectifierValueError where the text is not such a record.
        """
        from . import documents

        return documents.from_json(text)

    def to_parquet(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the record as one Parquet file: a table with one row a snapshot, site and unit, and all else beside it.

        The columns are snapshot, step, site, unit, examples, and each array of :class:`SiteVitals`; null where that
        was not measured. An existing file is refused without ``force``. Returns the path.

        Raises RectifierValueError where the file exists or could not be written.
        """
        from .. import _files
        from . import tables

        return _files.write_with(path, lambda part: tables.write(self, part), force=force)

    @staticmethod
    def read(path: str | Path) -> Record:
        """Read a file that holds a record, as JSON or as Parquet: its content tells which.

        Raises RectifierValueError where it holds none, OSError where it cannot be read, and UnicodeDecodeError where it
        is neither text nor Parquet.
        """
        from . import tables

        with Path(path).open("rb") as file:
            if file.read(len(tables.MAGIC)) == tables.MAGIC:
                return tables.read(Path(path))
        return Record.from_json(Path(path).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Receipt:
    """What one act of ``heal`` or ``prune`` changed, what it did to the outputs, and how to take it back."""

    act: Literal["recycle", "swap", "rescale", "prune"]
    site: str
    units: tuple[int, ...]
    change: str
    """What was changed, in a sentence."""
    output_change: float | None
    """max |Δ output| on the probe batch, measured before against after; None without a probe."""
    parameters_before: int
    parameters_after: int
    undo: Callable[[], None] = field(repr=False, compare=False)
    """Takes the act back, bit for bit (weights, biases, optimizer state); refuses where they changed since."""
    skipped: tuple[str, ...] = ()
    """What the same call left as it was, and why, one line a place (on each of its receipts)."""
    sites: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """site → its units that were acted on; ``units`` holds them all, one site after the other."""
    evidence: str = ""
    """Of ``prune``: what shows that the outputs stay, and whether that is proved or was only measured."""
    proved: bool | None = None
    """Of ``prune``: True where each unit that was cut is proved to give 0; None where nothing was."""
    flops: tuple[int, int] | None = None
    """Of ``prune`` with a probe: floating-point operations of one pass before and after (a product counts as two)."""
    seconds: tuple[float, float] | None = None
    """Of ``prune`` with a probe: median time of one pass of the model before and after, run by turns."""

    def to_dict(self) -> dict[str, Any]:
        """The receipt without its ``undo``, as values that JSON can hold (NaN and infinities as strings)."""
        from . import documents

        return documents.plain_receipt(self)
