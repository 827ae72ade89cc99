"""Which units an act is about: chosen from a record or from findings, and refused where they are alive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import RectifierTypeError, RectifierValueError
from .records import Finding, LayerVitals, Receipt, Record, SiteVitals

__all__ = ["NOTHING_BELOW", "Act", "Wanted", "chosen", "receipt", "units_of", "wanted_of"]

#: Rectifiers that are exactly 0 on the whole of z ≤ 0.
NOTHING_BELOW = frozenset({"relu", "relu6", "squared_relu"})


@dataclass(frozen=True)
class Act:
    """What a framework did at one site."""

    site: str
    units: tuple[int, ...]
    change: str
    output_change: float | None
    parameters_before: int
    parameters_after: int
    undo: Callable[[], None]


@dataclass(frozen=True)
class Wanted:
    """What an act is asked to do. ``record`` tells the two ways of asking apart.

    Of a record the places that cannot be acted on are left as they are, and its weights must be those of the model;
    findings alone were picked one by one, so that each is acted on or refused, and only a probe can show that they
    are still true.
    """

    units: Mapping[str, tuple[int, ...]]
    totals: Mapping[str, frozenset[int]]
    """site → how many units its findings say it has."""
    record: bool
    vitals: Mapping[str, SiteVitals]
    """site → what the record saw there last; empty without a record."""
    layers: tuple[LayerVitals, ...] = ()


def wanted_of(findings: Any, items: Iterable[Finding], verb: str) -> Wanted:
    """The units of these findings, with what is needed to see whether they are still true."""
    items = tuple(items)
    totals: dict[str, frozenset[int]] = {}
    for item in items:
        totals[item.site] = totals.get(item.site, frozenset()) | {item.total}
    snapshots = findings.snapshots if isinstance(findings, Record) else ()
    vitals = {site.site: site for site in snapshots[-1].sites} if snapshots else {}
    layers = snapshots[-1].layers if snapshots else ()
    return Wanted(units_of(items, verb), totals, isinstance(findings, Record), vitals, layers)


def chosen(findings: Any, verb: str, kinds: frozenset[str]) -> tuple[Finding, ...]:
    """The findings to act on: of a record those of these kinds, else the ones given.

    Raises RectifierTypeError where ``findings`` are none.
    """
    if isinstance(findings, Record):
        return tuple(finding for finding in findings.findings if finding.kind in kinds)
    given = (findings,) if isinstance(findings, Finding) else findings
    items = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    wrong = next((type(item).__name__ for item in items if not isinstance(item, Finding)), None)
    if wrong is not None:
        raise RectifierTypeError(
            f"{verb}: `findings` must be a Record or findings of one; got {wrong}. "
            "Pass what rectifier.check returned, or some of its `.findings`."
        )
    return items


def units_of(findings: Iterable[Finding], verb: str) -> dict[str, tuple[int, ...]]:
    """site → its units, each once, in order."""
    found: dict[str, set[int]] = {}
    for finding in findings:
        if not finding.units:
            raise RectifierValueError(
                f"{verb}: `findings` must be about units; got {finding.kind!r} at {finding.site!r}, which is about a "
                "scale. Leave it out."
            )
        found.setdefault(finding.site, set()).update(finding.units)
    return {site: tuple(sorted(units)) for site, units in found.items()}


def receipt(
    how: Literal["recycle", "swap", "rescale", "prune"], act: Act, undo: Callable[[], None], skipped: tuple[str, ...]
) -> Receipt:
    """The receipt of what a framework did at one site. undo: how the caller takes it back."""
    return Receipt(
        act=how,
        site=act.site,
        units=act.units,
        change=act.change,
        output_change=act.output_change,
        parameters_before=act.parameters_before,
        parameters_after=act.parameters_after,
        undo=undo,
        skipped=skipped,
        sites={act.site: act.units} if act.units else {},
    )
