"""Which unit fired how often at which look, as the page's maps: small arrays for its script to draw.

A large record is thinned out for the page, never summed up: each cell that is drawn is one unit at one look. What is
left out is said in the map's words; the record has it all.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ..checkup.records import Finding, Record, SiteVitals, Snapshot
from ._themes import RATE_SCALE
from .page import UnitMap
from .words import TITLES, count, ordered, spot

__all__ = ["ALWAYS", "NEVER", "PROVED", "UnitMaps", "levels", "unit_maps"]

# Bounds that keep the page of the largest models near 2 MB.
MAX_SITES = 256
MAX_UNITS = 512
MAX_MAPS = 24
MAX_MAP_UNITS = 192

#: What a cell says, in a byte: 0 nothing was seen; between 3 and 253 the firing rate, in steps of 0.4 %.
NEVER, PROVED, _LEAST, ALWAYS = 1, 2, 3, 254
_STEPS = 250


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """All maps of a page and what its script needs to draw them."""

    strip: tuple[UnitMap, ...]
    """One row a site: its units at the last look."""
    maps: tuple[UnitMap, ...]
    """One map a site: units × looks; empty for a single look."""
    left_out: int
    """Sites that are not in the strip."""
    document: Mapping[str, Any]
    """Names, findings and the arrays, as JSON."""


def levels(site: SiteVitals, units: Any) -> Any:
    """A byte a unit: see :data:`NEVER`, :data:`PROVED` and :data:`ALWAYS`."""
    if not site.examples:
        return np.zeros(len(units), dtype=np.uint8)
    fired = site.fired[units]
    rate = np.round(fired / site.examples * _STEPS).astype(np.int64) + _LEAST
    rate = np.where(fired == site.examples, ALWAYS, np.clip(rate, _LEAST, ALWAYS - 1))
    return np.where(fired > 0, rate, np.where(site.alive[units], PROVED, NEVER)).astype(np.uint8)


def unit_maps(record: Record) -> UnitMaps | None:
    """The maps of a record; None where no unit was seen."""
    seen = [site for site in record.last.sites if site.units and site.examples]
    if not seen:
        return None
    faults = _faults(record)
    # Those with the most units that a fault names, in the order of the forward pass.
    kept = set(sorted((site.site for site in seen), key=lambda name: -len(faults.get(name, ())))[:MAX_SITES])
    sites = [site for site in seen if site.site in kept]
    mapped: set[str] = set()
    if len(record.snapshots) > 1:
        mapped = set(sorted((site.site for site in sites), key=lambda name: -len(faults.get(name, ())))[:MAX_MAPS])
    packed = _Packed()
    strip, maps, entries = [], [], []
    for place, site in enumerate(sites):
        named = faults.get(site.site, ())
        row = _pick(named, site.units, MAX_UNITS)
        packed.units.append(row)
        packed.fired.append(site.fired[row])
        packed.levels.append(levels(site, row))
        entry: dict[str, Any] = {
            "name": site.site,
            "label": spot(site.site),
            "examples": site.examples,
            "drawn": len(row),
        }
        strip.append(_row(place, site, len(row)))
        if site.site in mapped:
            moments = _moments(record.snapshots, site)
            pick = _pick(named, site.units, MAX_MAP_UNITS)
            entry |= {"mapped": len(pick), "steps": [step for step, _ in moments]}
            packed.map_units.append(pick)
            packed.map_levels.append(np.stack([levels(moment, pick) for _, moment in moments], axis=1))
            maps.append(_map(place, moments, len(pick)))
        entries.append(entry)
    document = {
        "sites": entries,
        "findings": [_told(finding) for finding in ordered(record.findings)],
        "scale": RATE_SCALE,
        "arrays": packed.text(),
    }
    return UnitMaps(tuple(strip), tuple(maps), len(seen) - len(sites), document)


class _Packed:
    """The arrays of all sites one after another: numbers of units, examples fired, levels."""

    def __init__(self) -> None:
        self.units: list[Any] = []
        self.map_units: list[Any] = []
        self.fired: list[Any] = []
        self.levels: list[Any] = []
        self.map_levels: list[Any] = []

    def text(self) -> str:
        # Four-byte numbers first, so that the script may look at all of them in place. A count beyond 2²⁴ loses digits
        # that nobody reads.
        parts = [
            *(np.asarray(each, dtype="<u4") for each in (*self.units, *self.map_units)),
            *(np.asarray(each, dtype="<f4") for each in self.fired),
            *(np.ascontiguousarray(each) for each in (*self.levels, *self.map_levels)),
        ]
        return base64.b64encode(zlib.compress(b"".join(part.tobytes() for part in parts), 9)).decode("ascii")


def _faults(record: Record) -> dict[str, tuple[int, ...]]:
    """site → the units that a fault names."""
    named: dict[str, set[int]] = {}
    for finding in record.findings:
        if finding.fault:
            named.setdefault(finding.site, set()).update(finding.units)
    return {site: tuple(sorted(units)) for site, units in named.items()}


def _pick(named: Sequence[int], units: int, most: int) -> Any:
    """Units to draw: all of them, or up to ``most``: those a fault names first, the others evenly spaced."""
    if units <= most:
        return np.arange(units)
    few = np.array(named, dtype=np.int64)
    if len(few) > most // 2:
        few = few[np.linspace(0, len(few) - 1, most // 2).astype(np.int64)]
    rest = np.setdiff1d(np.arange(units), few)
    return np.union1d(few, rest[np.linspace(0, len(rest) - 1, most - len(few)).astype(np.int64)])


def _moments(snapshots: Iterable[Snapshot], last: SiteVitals) -> list[tuple[int, SiteVitals]]:
    """(step, site) of every look that can be compared with the last: a unit count may change (pruning)."""
    return [
        (shot.step, site)
        for shot in snapshots
        for site in shot.sites
        if site.site == last.site and site.units == last.units
    ]


def _row(place: int, site: SiteVitals, drawn: int) -> UnitMap:
    never = int((site.fired == 0).sum())
    told = f"{count(never)} of {count(site.units)} never fired"
    return UnitMap(place, spot(site.site), told, f"{spot(site.site)}: {told}.", drawn, site.units)


def _map(place: int, moments: Sequence[tuple[int, SiteVitals]], drawn: int) -> UnitMap:
    (first, before), (final, last) = moments[0], moments[-1]
    told = (
        f"{count(int((before.fired == 0).sum()))} of {count(last.units)} units never fired in the look at step "
        f"{count(first)}, {count(int((last.fired == 0).sum()))} in that at step {count(final)}."
    )
    alt = f"Map of how often each unit of {spot(last.site)} fired, one row a unit, one column a look. {told}"
    return UnitMap(place, spot(last.site), told, alt, drawn, last.units, _few([step for step, _ in moments]))


def _few(steps: Sequence[int]) -> tuple[tuple[float, str], ...]:
    """All of few steps, or five, to print below a map, and where: in per cent, at the middle of their columns."""
    places = sorted({round(at) for at in np.linspace(0, len(steps) - 1, len(steps) if len(steps) <= 8 else 5)})
    return tuple((100 * (place + 0.5) / len(steps), count(steps[place])) for place in places)


def _told(finding: Finding) -> dict[str, Any]:
    by_step: dict[int, list[int]] = {}
    for unit, step in finding.since.items():
        by_step.setdefault(step, []).append(unit)
    return {
        "site": finding.site,
        "title": f"{TITLES[finding.kind]} at {spot(finding.site, finding.kind)}",
        "dead": finding.kind == "dead",
        "fault": finding.fault,
        "units": _runs(finding.units),
        "since": [[step, _runs(by_step[step])] for step in sorted(by_step)],
    }


def _runs(units: Iterable[int]) -> list[int]:
    """First and last of each run of neighbours, in one flat list.

    >>> _runs([3, 7, 8, 9])
    [3, 3, 7, 9]
    """
    ends: list[int] = []
    for _, run in groupby(enumerate(sorted(set(units))), lambda pair: pair[1] - pair[0]):
        members = [unit for _, unit in run]
        ends += [members[0], members[-1]]
    return ends
