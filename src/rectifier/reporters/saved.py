"""A record of saved weights in words and tables: nothing was run, so that it has no firing rates to tell of."""

from __future__ import annotations

from collections.abc import Iterable

from ..checkup.records import Record
from .page import Fact, Section, Table
from .words import TITLES, count, number, spot

__all__ = ["SITE_COLUMNS", "facts", "sections", "sentences", "site_rows"]

SITE_COLUMNS = ("Site", "Made by", "Units", "Closed", "Constant", "Rare", "Not moved", "‖Δw‖ ÷ ‖w‖")
#: What a unit is told once of, gravest first.
_SHUT = ("dead", "closed", "constant")


def sentences(record: Record) -> tuple[str, ...]:
    """The summary in parts: what is closed, and what else was found."""
    total = sum(site.units for site in record.last.sites)
    told = "Saved weights alone, nothing was run: "
    if not total:
        first = f"{told}no layer is known whose units a rectifier could read."
    else:
        shut = [(kind, _named(record, kind)) for kind in _SHUT]
        parts = [f"{count(len(named))} {_WORDS[kind]}{_where(named)}" for kind, named in shut if named]
        rest = "; ".join(parts) or "none is closed for every input or constant"
        first = f"{told}of {count(total)} units that a rectifier could read, {rest}."
        if _named(record, "closed"):
            first += " A closed unit is dead where a ReLU reads it directly, which no file tells."
    others = [kind for kind in TITLES if kind not in _SHUT and record.of(kind)]
    also = [f"{TITLES[kind] if kind == 'nan' else TITLES[kind].lower()} ({_places(record, kind)})" for kind in others]
    return (first, f"Also found: {'; '.join(also)}.") if also else (first,)


_WORDS = {"dead": "proved dead", "closed": "closed", "constant": "constant"}


def _named(record: Record, *kinds: str) -> set[tuple[str, int]]:
    return {(finding.site, unit) for finding in record.of(*kinds) for unit in finding.units}


def _where(named: Iterable[tuple[str, int]]) -> str:
    sites = list(dict.fromkeys(sorted(site for site, _ in named)))
    more = f" and {len(sites) - 3} more" if len(sites) > 3 else ""
    return f" at {', '.join(spot(site) for site in sites[:3])}{more}"


def _places(record: Record, kind: str) -> str:
    places = list(dict.fromkeys(finding.site for finding in record.of(kind)))
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(spot(place) for place in places[:3]) + more


def site_rows(record: Record, *, found: bool = False) -> tuple[tuple[str, ...], ...]:
    """One row a site, for SITE_COLUMNS; only those that a finding names where ``found``."""
    kinds = (("dead", "closed"), ("constant",), ("rare",), ("unmoved",))
    counts: dict[tuple[str, int], set[int]] = {}
    for column, group in enumerate(kinds):
        for finding in record.of(*group):
            counts.setdefault((finding.site, column), set()).update(finding.units)
    rows = []
    for site in record.last.sites:
        many = [len(counts.get((site.site, column), ())) for column in range(len(kinds))]
        if any(many) or not found:
            moved = None if site.moved is None or not site.moved.size else float(sorted(site.moved)[site.units // 2])
            made = site.layer if site.layer not in (None, site.site) else "–"
            rows.append((site.site, str(made), count(site.units), *map(count, many), number(moved)))
    return tuple(rows)


def facts(record: Record) -> tuple[Fact, ...]:
    """The numbers under the summary."""
    sites = record.last.sites
    dead, closed, constant = (len(_named(record, kind)) for kind in _SHUT)
    broken = len(record.of("nan", "infinite"))
    total = count(sum(site.units for site in sites))
    return (
        Fact(total, f"units at {count(len(sites))} site{'' if len(sites) == 1 else 's'}"),
        Fact(count(dead), "proved dead", "bad" if dead else "plain"),
        Fact(count(closed), "closed: dead if a ReLU reads them", "warn" if closed else "plain"),
        Fact(count(constant), "constant", "warn" if constant else "plain"),
        Fact(count(broken), "layers with NaN or infinities", "bad" if broken else "plain"),
    )


def sections(record: Record) -> tuple[Section, ...]:
    """The tables of the sites and of the layers' scales."""
    told = "Closed includes proved dead. ‖Δw‖ ÷ ‖w‖: the median of the units' change since the earlier file."
    layers = tuple(
        (layer.layer, count(layer.fan_in), count(layer.units), number(layer.weight_rms), layer.weight_format or "–")
        for layer in record.last.layers
    )
    columns = ("Layer", "Fan-in", "Units", "Weights", "Kept in")
    scales = Table(columns, layers, "Weights: their root mean square.")
    tables = [Table(SITE_COLUMNS, site_rows(record), told)] if record.last.sites else []
    tables += [scales] if layers else []
    return (Section("What is stored", tables=tuple(tables)),) if tables else ()
