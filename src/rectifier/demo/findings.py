"""What the check-up after training found, with the causes and dates that the watch saw during it."""

from __future__ import annotations

from dataclasses import replace

from ..checkup.records import Finding, Record

__all__ = ["dated"]


def dated(checked: Record, watched: Record) -> Record:
    """``checked`` with its silent and dead units split by the cause that ``watched`` names for them.

    Which units, on how many examples and what is proved come from ``checked`` alone; a unit that the watch did not call
    silent keeps the cause which ``checked`` names.
    """
    seen = {(finding.site, unit): finding for finding in watched.of("silent", "dead") for unit in finding.units}
    found: list[Finding] = []
    for finding in checked.findings:
        found += _split(finding, checked, seen) if finding.kind in ("silent", "dead") else [finding]
    return checked.with_findings(tuple(found))


def _split(finding: Finding, checked: Record, seen: dict[tuple[str, int], Finding]) -> list[Finding]:
    by_cause: dict[tuple[str, str], list[int]] = {}
    for unit in finding.units:
        of = seen.get((finding.site, unit), finding)
        by_cause.setdefault((of.cause, of.remedy), []).append(unit)
    parts = []
    for (cause, remedy), units in by_cause.items():
        since = {unit: seen[finding.site, unit].since.get(unit) for unit in units if (finding.site, unit) in seen}
        parts.append(
            replace(
                finding,
                units=tuple(units),
                evidence=_evidence(finding, checked, units),
                cause=cause,
                remedy=remedy,
                since={unit: step for unit, step in since.items() if step is not None},
            )
        )
    return parts


def _evidence(finding: Finding, checked: Record, units: list[int]) -> str:
    """The evidence with the largest z of these units."""
    site = next(site for site in checked.last.sites if site.site == finding.site)
    said, largest = "largest z seen ", float(site.max_z[units].max())
    told = (f"{said}{largest:.4g}" if part.startswith(said) else part for part in finding.evidence.split("; "))
    return "; ".join(told)
