"""A record as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..checkup.records import Finding, Record, SiteVitals
from . import charts, saved
from .maps import UnitMaps, unit_maps
from .page import Card, Fact, Folded, Mark, Section, Table, Tone, UnitMap
from .page import render as render_page
from .words import (
    TITLES,
    count,
    first_silence,
    number,
    ordered,
    percent,
    sentences,
    spot,
    told_severity,
    units,
)

__all__ = ["facts", "render", "sections", "site_rows"]

# More cards than a person reads: the others become rows of a table.
MAX_CARDS = 30

SITE_COLUMNS = (
    "Site",
    "Rectifier",
    "Units",
    "Examples",
    "Never fired",
    "Rare",
    "Always open",
    "Median firing rate",
    "Gradient scale",
)

_OBSERVATIONS = ("rare", "always_open", "always_closed")


_VERBS = {"check": "Check-up", "watch": "Training", "weights": "Saved weights"}
_HOW = {
    "check": "examined once (check)",
    "watch": "watched during training (watch)",
    "weights": "from its saved weights; nothing was run (check_weights)",
}


def render(record: Record) -> str:
    """The page of a check-up, as the text of one HTML file.

    >>> from rectifier.checkup.records import Record
    >>> text = render(Record(model="MLP", source="check", snapshots=(), stopped="ValueError: no batch"))
    >>> "ValueError: no batch" in text
    True
    """
    of = f"{record.name} ({record.model})" if record.name and record.name != record.model else record.model
    drawn = unit_maps(record) if record.snapshots and record.source != "weights" else None
    return render_page(
        f"{_VERBS[record.source]} of {of}",
        "\n".join(sentences(record)),
        _sections(record, drawn),
        facts=facts(record),
        footer=_versions(record.versions),
        units=drawn.document if drawn else None,
    )


def facts(record: Record) -> tuple[Fact, ...]:
    """The numbers under the summary."""
    if not record.snapshots:
        return ()
    if record.source == "weights":
        return saved.facts(record)
    sites = record.last.sites
    dead = {(f.site, unit) for f in record.of("dead") for unit in f.units}
    silent = {(f.site, unit) for f in record.of("silent") for unit in f.units} - dead
    faults = [finding for finding in record.findings if finding.fault and finding.kind not in ("dead", "silent")]
    rare = {(f.site, unit) for f in record.of("rare") for unit in f.units}
    examples = sorted({site.examples for site in sites})
    told = [
        Fact(count(sum(site.units for site in sites)), f"units at {_plural(len(sites), 'site')}"),
        Fact(count(len(dead)), "proved dead", "bad" if dead else "plain"),
        Fact(count(len(silent)), "silent on all examples seen", "bad" if silent else "plain"),
        Fact(count(len(rare)), "rarely firing", "warn" if rare else "plain"),
        Fact(count(len(faults)), "other faults", "bad" if faults else "plain"),
    ]
    if examples:
        told.append(Fact(count(examples[-1]), "examples a unit" + (", at most" if len(examples) > 1 else "")))
    return tuple(told)


def sections(record: Record) -> tuple[Section, ...]:
    """The record as parts of a page; of a record without a snapshot only what is known of it."""
    return _sections(record, unit_maps(record) if record.snapshots and record.source != "weights" else None)


def _sections(record: Record, drawn: UnitMaps | None) -> tuple[Section, ...]:
    told: list[Section | None] = [_findings(record, drawn)]
    if record.source == "weights":
        told += saved.sections(record)
    elif record.snapshots:
        told += [_firing(record, drawn), _over_time(record, drawn), _depth(record)]
    told += [_not_observed(record), _measured(record)]
    return tuple(section for section in told if section is not None)


def _findings(record: Record, drawn: UnitMaps | None) -> Section:
    title = "What was found"
    if not record.findings:
        return Section(
            title, ("Nothing: no finding was recorded.",) if record.snapshots else ("Nothing was observed.",)
        )
    found = ordered(record.findings)
    strip = {site["name"] for site in drawn.document["sites"]} if drawn else set()
    marks = [_mark(number, finding, strip) for number, finding in enumerate(found, 1)]
    pairs = list(zip(found, marks, strict=True))
    carded = [pair for pair in pairs if pair[0].kind not in _OBSERVATIONS][:MAX_CARDS]
    apart = {mark.number for _, mark in carded}
    rows = [pair for pair in pairs if pair[1].number not in apart]
    tables: tuple[Table, ...] = ()
    if rows:
        told = "Rarely firing and always open or closed units are observations, not faults."
        caption = told if len(carded) < MAX_CARDS else f"All further findings. {told}"
        tables = (
            Table(
                ("Site", "Finding", "Units", "Evidence", "Cause", "What helps"),
                tuple((f.site, TITLES[f.kind], _which(f), f.evidence, f.cause, f.remedy) for f, _ in rows),
                caption,
                tuple(mark for _, mark in rows),
            ),
        )
    return Section(title, cards=tuple(_card(finding, mark) for finding, mark in carded), tables=tables)


def _mark(number: int, finding: Finding, strip: set[str]) -> Mark:
    return Mark(number, finding.site, _severity(finding), len(finding.units) if finding.site in strip else 0)


def _severity(finding: Finding) -> str:
    return finding.severity or ("fault" if finding.fault else "note")


def _card(finding: Finding, mark: Mark) -> Card:
    name = "Unit" if len(finding.units) == 1 else "Units"
    parts = [(name, _which(finding))] if finding.units else []
    parts.append(("Evidence", finding.evidence))
    if finding.proof:
        parts.append(("Proof", finding.proof))
    if finding.since:
        parts.append(("Silent since", first_silence(finding.since)))
    if finding.severity_reason:
        parts.append(("Severity", told_severity(finding)))
    parts += [("Cause", finding.cause), ("What helps", finding.remedy)]
    tone: Tone = "bad" if finding.ill else "warn"
    cause = finding.cause.partition(":")[0]
    # Cards of one kind and site differ by their cause, so its name is part of the headline.
    why = (
        f": {cause.replace('not known', 'cause not known')}"
        if cause != finding.cause and len(cause) <= 60 and finding.units
        else ""
    )
    return Card(
        f"{TITLES[finding.kind]} at {spot(finding.site, finding.kind)}{why}",
        tuple(parts),
        tone,
        mark.severity,
        mark,
    )


def _which(finding: Finding) -> str:
    if not finding.units:
        return "–"
    short, whole = (units(finding.units, finding.total, limit=limit) for limit in (24, None))
    return whole if short == whole else Folded(short, whole)


def _firing(record: Record, drawn: UnitMaps | None) -> Section | None:
    sites = record.last.sites
    if not sites:
        return None
    told = [
        "A unit fires where its pre-activation is above zero; "
        "its firing rate is the share of examples at which it does."
    ]
    if drawn:
        told.append(f"Each row is a site, input side on top, and each cell a unit.{_thinned(drawn.strip)}")
        if drawn.left_out:
            told.append(f"{_plural(drawn.left_out, 'site')} with fewer units at fault not drawn; the table has all.")
    histogram = charts.firing_histogram(record)
    table = Table(
        SITE_COLUMNS,
        site_rows(record),
        f"At step {count(record.last.step)}. Gradient scale: root mean square of ∂loss/∂h; – where there was no loss.",
    )
    return Section(
        "Which units fire",
        tuple(told),
        (histogram,) if histogram else (),
        (table,),
        strip=drawn.strip if drawn else (),
    )


def _thinned(maps: Sequence[UnitMap]) -> str:
    """What is left out of the maps, where anything is."""
    most = max(each.drawn for each in maps)
    if all(each.drawn == each.total for each in maps):
        return ""
    return (
        f" Of a site with more than {count(most)} units {count(most)} are drawn: up to half of them units that a fault "
        "names, the others evenly spaced; the counts are of all units."
    )


def site_rows(record: Record) -> tuple[tuple[str, ...], ...]:
    """One row a site of the last snapshot, for SITE_COLUMNS."""
    rare: dict[str, set[int]] = {}
    for finding in record.of("rare"):
        rare.setdefault(finding.site, set()).update(finding.units)
    return tuple(_site_row(site, len(rare.get(site.site, ()))) for site in record.last.sites)


def _site_row(site: SiteVitals, rare: int) -> tuple[str, ...]:
    seen = site.examples > 0 and site.units > 0
    parameters = ", ".join(f"{name} = {value:g}" for name, value in site.parameters.items())
    return (
        site.site,
        f"{site.rectifier} ({parameters})" if parameters else site.rectifier,
        count(site.units),
        count(site.examples),
        count(int((site.fired == 0).sum())) if seen else "–",
        count(rare) if seen else "–",
        count(int((site.fired == site.examples).sum())) if seen else "–",
        percent(float(np.median(site.firing_rate))) if seen else "–",
        number(site.gradient_rms),
    )


def _over_time(record: Record, drawn: UnitMaps | None) -> Section | None:
    lines = [chart for chart in (charts.silence_over_time(record), charts.losses(record)) if chart]
    maps = drawn.maps if drawn else ()
    if not lines and not maps:
        return None
    told = []
    if maps:
        told.append(
            "Each column of a map is one look, each row a unit; a row that turns vermillion and stays so is a unit "
            f"that died, and the bright tick is the look from which on it never fired again.{_thinned(maps)}"
        )
        left_out = len([site for site in record.last.sites if site.units]) - len(maps)
        if left_out:
            told.append(f"Maps of the {len(maps)} sites with the most faults; {_plural(left_out, 'site')} not drawn.")
    return Section("How it came about", tuple(told), tuple(lines), maps=maps)


def _depth(record: Record) -> Section | None:
    layers = record.last.layers
    figures = charts.scales_by_depth(record)
    if not layers and not figures:
        return None
    rows = tuple(
        (
            layer.layer,
            count(layer.fan_in),
            count(layer.units),
            number(layer.weight_rms),
            number(layer.activation_rms),
            number(layer.gradient_rms),
            number(layer.weight_gradient_rms),
            number(layer.update_ratio),
        )
        for layer in layers
    )
    columns = ("Layer", "Fan-in", "Units", "Weights", "Activations z", "∂loss/∂z", "∂loss/∂W", "‖ΔW‖ ÷ ‖W‖")
    told = "Root mean squares at the last look; ‖ΔW‖ ÷ ‖W‖ is the last step's change. – where it was not measured."
    return Section(
        "Scale by depth",
        (
            "A healthy network carries gradients back and activations forward at about one scale; "
            "a steady slope here is a factor per layer.",
        ),
        figures,
        (Table(columns, rows, told),) if rows else (),
    )


def _not_observed(record: Record) -> Section:
    if record.not_observed:
        return Section("What was not observed", ("Never taken as zero:",), notes=record.not_observed)
    return Section("What was not observed", ("Nothing is recorded as not observed.",))


def _measured(record: Record) -> Section:
    rows: list[tuple[str, str]] = [
        ("Model", record.model),
        ("How", _HOW[record.source]),
    ]
    if record.name:
        rows.insert(0, ("Target", record.name))
    if record.source == "weights":
        return Section("How it was measured", tables=(Table(("What", "Value"), (*rows, *_version_rows(record))),))
    if record.snapshots:
        steps = [shot.step for shot in record.snapshots]
        looks = f"{count(len(steps))}, at step {count(steps[0])}"
        rows.append(
            (
                "Looks",
                looks if len(steps) == 1 else f"{count(len(steps))}, step {count(steps[0])} to {count(steps[-1])}",
            )
        )
        rows += [
            ("Examples", f"{spot(site.site)}: {count(site.examples)} a unit")
            for site in _by_examples(record.last.sites)
        ]
        if record.last.loss is not None:
            rows.append(("Loss at the last look", number(record.last.loss)))
    if record.stopped is not None:
        rows.append(("Stopped by", record.stopped))
    rows.append(("Seed", "not given" if record.seed is None else str(record.seed)))
    rows.append(("Box of the proofs", record.box or "none: no proof was tried"))
    rows += _version_rows(record)
    return Section("How it was measured", tables=(Table(("What", "Value"), tuple(rows)),))


def _version_rows(record: Record) -> list[tuple[str, str]]:
    return [(f"Version of {name}", version) for name, version in record.versions.items()]


def _by_examples(sites: Sequence[SiteVitals]) -> list[SiteVitals]:
    """The first site of each number of examples: samples for Linear, samples × positions for Conv."""
    first: dict[int, SiteVitals] = {}
    for site in sites:
        first.setdefault(site.examples, site)
    return list(first.values())[:6]


def _versions(versions: Mapping[str, str]) -> str:
    return " · ".join(f"{name} {version}" for name, version in versions.items())


def _plural(many: int, word: str) -> str:
    return f"{count(many)} {word}{'' if many == 1 else 's'}"
