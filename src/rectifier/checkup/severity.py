"""How much a finding matters: note, warning or ill, each with the threshold that decided.

Some silent units are common after sound training, so that a unit is silent says little; what says much is how much of
its site is left, whether it is still dying, how it died, and whether what killed it goes on. A finding about a scale
is weighed where it is made (:mod:`.scales`, :mod:`.initialisation`). Reasons and limits: ``docs/verdicts.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .records import Finding, Record, Severity, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = ["illness", "weigh"]

#: Causes that go on until somebody acts: told as a warning however few units there are.
_GOES_ON = {
    "step": "a step this large closes more",
    "input": "the data closed them, and will again",
    "zeros": "the layer learns nothing while its inputs are 0",
    "statistics": "in evaluation the model is not what was trained",
    "normalisation": "γ and β drift on until what moves them stops",
}
_OBSERVED = "an observation, not a fault"


def illness(record: Record, name: str = "") -> str | None:
    """The first finding that is ill, in a sentence that ends with a full stop; None where there is none.

    name: of the network, where there are several.
    """
    found = next((finding for finding in record.findings if finding.ill), None)
    if found is None:
        return None
    units = f", {len(found.units)} of {found.total} units" if found.units else ""
    where = f"{f'{name}: ' if name else ''}{found.site}"
    return f"{found.kind.replace('_', ' ')} at {where}{units}: {found.severity_reason.rstrip('.')}."


def weigh(findings: Iterable[Finding], snapshots: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    """The findings with their severities; those that have one keep it."""
    findings = list(findings)
    last = snapshots[-1]
    shut: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.kind in ("dead", "silent"):
            shut.setdefault(finding.site, []).append(finding)
    sites = {site.site: _Shut(site, shut.get(site.site, []), snapshots, limits) for site in last.sites}
    weighed = []
    for finding in findings:
        if finding.severity is None:
            severity, reason = (
                sites[finding.site].of(finding) if finding.kind in ("dead", "silent") else _of_kind(finding)
            )
            finding = replace(finding, severity=severity, severity_reason=reason)
        weighed.append(finding)
    return weighed


def _of_kind(finding: Finding) -> tuple[Severity, str]:
    if finding.kind == "nan":
        return "ill", "a NaN spreads to all that it touches; none is sound"
    return ("ill", "a fault") if finding.fault else ("note", _OBSERVED)


class _Shut:
    """One site's units that never fire, taken together."""

    def __init__(
        self, site: SiteVitals, findings: Sequence[Finding], snapshots: Sequence[Snapshot], limits: Thresholds
    ) -> None:
        self._site, self._findings, self._snapshots, self._limits = site, findings, snapshots, limits
        self._count = len({unit for finding in findings for unit in finding.units})
        self._share = self._count / site.units if site.units else 0.0
        self._told = f"{self._count} of the site's {site.units} units never fire ({_percent(self._share)})"

    def of(self, finding: Finding) -> tuple[Severity, str]:
        limits = self._limits
        if self._count == self._site.units:
            return "ill", f"no unit of the site fires: nothing passes ({self._count} of {self._count})"
        if finding.cause_kind == "upstream":
            return "ill", "no signal reaches this site: what it hands on does not depend on the data"
        if self._share >= limits.ill_silence:
            return "ill", f"{self._told}: {_percent(limits.ill_silence)} or more (ill_silence)"
        usual = limits.usual_silence
        outputs = self._outputs()
        if self._share > usual and outputs > self._site.units - self._count:
            live = self._site.units - self._count
            return "ill", f"{self._told}, and the {live} that are left are fewer than the model's {outputs} outputs"
        late = self._late()
        if late >= limits.late_silence:
            dying = f"{self._told}, {_percent(late)} of them all since the last third of the training"
            if self._share + late >= limits.ill_silence:
                threshold = f"at that pace {_percent(limits.ill_silence)} (ill_silence) are near"
                return "ill", f"{dying} ({_percent(limits.late_silence)}, late_silence, or more): {threshold}"
        sudden = self._sudden(finding)
        if sudden >= limits.sudden_silence:
            return "ill", (
                f"{_percent(sudden)} of the site's units were closed within one interval by too large a step "
                f"({_percent(limits.sudden_silence)}, sudden_silence, or more)"
            )
        if self._share > usual:
            return "warning", f"{self._told}: more than sound training leaves ({_percent(usual)}, usual_silence)"
        if late >= limits.late_silence:
            return "warning", f"{dying} ({_percent(limits.late_silence)}, late_silence, or more)"
        kind = finding.cause_kind or ""
        if kind in _GOES_ON:
            return "warning", f"{self._told}, no more than sound training leaves; but {_GOES_ON[kind]}"
        return "note", f"{self._told}: no more than sound training leaves ({_percent(usual)}, usual_silence)"

    def _outputs(self) -> int:
        """Units of the model's last layer, where this site had as many and gives one value an input; else 0.

        A map has many positions a unit, so that few channels still carry many values.
        """
        layers, site = self._snapshots[-1].layers, self._site
        outputs = layers[-1].units if layers else 0
        plain = site.inputs is None or site.inputs == site.examples
        return (
            outputs if plain and site.layer != (layers[-1].layer if layers else None) and site.units >= outputs else 0
        )

    def _late(self) -> float:
        """Share of the site's units that died in the last third of what was watched, and for good.

        For good: silent since then on 3 ÷ ``rare`` examples or more, so that a rare unit is not taken for a late death.
        """
        first, last = self._snapshots[0].step, self._snapshots[-1].step
        since = {unit: step for finding in self._findings for unit, step in finding.since.items()}
        late = [unit for unit, step in since.items() if step > last - (last - first) / 3]
        sure = [unit for unit in late if self._seen_since(since[unit]) * self._limits.rare >= 3]
        return len(sure) / self._site.units

    def _seen_since(self, step: int) -> int:
        sites = [s for shot in self._snapshots if shot.step >= step for s in shot.sites if s.site == self._site.site]
        return sum(min(site.examples, site.inputs or site.examples) for site in sites)

    def _sudden(self, finding: Finding) -> float:
        """Largest share of the site's units that too large a step closed in one interval."""
        if finding.cause_kind != "step" or not finding.since:
            return 0.0
        closed = [step for other in self._findings if other.cause_kind == "step" for step in other.since.values()]
        own = set(finding.since.values())
        return max(many for step, many in Counter(closed).items() if step in own) / self._site.units


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
