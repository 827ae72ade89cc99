"""The words that every report shares: numbers, lists of units, names of findings, and the summary sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from ..checkup.records import FAULTS, Finding, Record, SiteVitals

__all__ = [
    "ORDER",
    "TITLES",
    "bound",
    "count",
    "first_silence",
    "number",
    "ordered",
    "percent",
    "sentences",
    "spot",
    "summary",
    "told_severity",
    "units",
]

#: kind → what it is called, gravest first: the order in which findings are told.
TITLES: Mapping[str, str] = {
    "nan": "NaN",
    "infinite": "Infinite",
    "dead": "Proved dead",
    "silent": "Silent",
    "closed": "Closed",
    "constant": "Constant",
    "unmoved": "Not moved by a gradient",
    "drift": "Drifting shut",
    "scale": "Scale far off",
    "dormant": "Dormant",
    "exploding_gradient": "Exploding gradient",
    "vanishing_gradient": "Vanishing gradient",
    "exploding_activation": "Exploding activation",
    "vanishing_activation": "Vanishing activation",
    "exploding_update": "Exploding update",
    "vanishing_update": "Vanishing update",
    "initialisation": "Initialisation off",
    "selu": "SELU's conditions not met",
    "rare": "Rarely firing",
    "always_open": "Always open",
    "always_closed": "Always closed",
    "saturated": "Saturated",
    "nearly_silent": "Nearly silent",
    "duplicate": "Alike",
}
ORDER: Mapping[str, int] = {kind: place for place, kind in enumerate(TITLES)}

_LONG = 170


def count(value: int) -> str:
    """``1437`` as ``"1,437"``."""
    return f"{value:,}"


def number(value: float | None) -> str:
    """Three significant digits; an en dash for what was not measured.

    >>> number(0.0123456), number(None), number(float("nan"))
    ('0.0123', '–', 'NaN')
    """
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    return f"{value:.3g}".replace("-", "−")


def percent(share: float) -> str:
    """A share as per cent, never rounded to 0 or 100 when it is neither.

    >>> percent(0.5), percent(0.0021), percent(1e-7), percent(0.99999), percent(0.0)
    ('50 %', '0.21 %', '1e−05 %', 'just under 100 %', '0 %')
    """
    if math.isnan(share):
        return "NaN"
    text = f"{100 * share:.3g}".replace("-", "−")
    return "just under 100 %" if text == "100" and share < 1 else f"{text} %"


def bound(examples: int) -> str:
    """3/N as per cent, rounded up: an upper bound must not be rounded below itself.

    >>> bound(1437), bound(2)
    ('0.21 %', '100 %')
    """
    share = 100 * min(1.0, 3 / examples)
    step = 10.0 ** (math.floor(math.log10(share)) - 1)
    # The quotient of two rounded numbers may lie a hair above a whole one.
    return f"{math.ceil(round(share / step, 9)) * step:.2g} %".replace("1e+02", "100").replace("-", "−")


def units(indices: Iterable[int], total: int = 0, *, limit: int | None = 24, more: str = "") -> str:
    """Unit numbers with runs joined, and how many they are of ``total``; at most ``limit`` runs.

    more: where the others are to be found, told if there are any.

    >>> units([3, 7, 8, 9, 10, 11, 12], 64)
    '3, 7–12 (7 of 64)'
    """
    numbers = sorted(set(indices))
    runs = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [unit for _, unit in run]
        joint = "–" if len(members) > 2 else ", "
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}{joint}{members[-1]}")
    cut = limit is not None and len(runs) > limit
    text = ", ".join(runs[:limit]) + (", …" if cut else "")
    if not total:
        return text
    if len(numbers) == total:
        return f"all {count(total)}"
    return f"{text} ({count(len(numbers))} of {count(total)}{f'; {more}' if cut and more else ''})"


def spot(name: str, kind: str = "") -> str:
    """A name as it reads in a sentence: a bare number (as Sequential names its parts) with what it numbers.

    ``kind`` is what is told of it, a finding or a measure: what is about a scale is about a layer.

    >>> spot("layers.1"), spot("1"), spot("0", "vanishing_gradient")
    ('layers.1', 'site 1', 'layer 0')
    """
    if not name:
        return "the whole model"
    if any(letter.isalpha() for letter in name):
        return name
    return f"{'layer' if kind.endswith(('_gradient', '_activation', '_update', 'initialisation')) else 'site'} {name}"


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by kind, gravest first; within a kind in the order in which they came."""
    return tuple(sorted(findings, key=lambda finding: ORDER[finding.kind]))


def first_silence(since: Mapping[int, int]) -> str:
    """Units by the step from which they never fired again.

    >>> first_silence({4: 120, 5: 120, 6: 120, 9: 300})
    '4–6 from step 120; 9 from step 300'
    """
    by_step: dict[int, list[int]] = {}
    for unit, step in since.items():
        by_step.setdefault(step, []).append(unit)
    if len(by_step) == 1:
        return f"step {count(next(iter(by_step)))}{', all of them' if len(since) > 1 else ''}"
    told = [f"{units(by_step[step], limit=8)} from step {count(step)}" for step in sorted(by_step)]
    return "; ".join(told[:8]) + (f"; and at {len(told) - 8} later steps" if len(told) > 8 else "")


def told_severity(finding: Finding) -> str:
    """The severity with its reason, and the cause in one word; empty in a record from before it was judged."""
    if finding.severity is None:
        return ""
    reason = f": {finding.severity_reason}" if finding.severity_reason else ""
    cause = f" (cause: {finding.cause_kind})" if finding.cause_kind else ""
    return f"{finding.severity}{reason}{cause}"


def summary(record: Record) -> str:
    """What a person should know first, in two or three sentences: which units, why, and what helps.

    A unit is said to be dead only where that was proved; one that was only seen silent is said to be silent, with
    the number of examples and the bound 3/N on its true rate (95 % confidence).
    """
    return " ".join(sentences(record))


def sentences(record: Record) -> tuple[str, ...]:
    """The summary in parts: what was found; then cause and cure, and what else, where there is any."""
    if not record.snapshots:
        return (f"{_stopped(record)}Nothing was observed, so nothing can be said about any unit.",)
    if record.source == "weights":
        from .saved import sentences as told_of_weights

        return told_of_weights(record)
    sites = record.last.sites
    total = sum(site.units for site in sites)
    if not total:
        return (f"{_stopped(record)}No unit of a rectifier was observed: nothing can be said about this model.",)
    first = _never_firing(record, total) or _no_silence(sites, total)
    rest = (*_cause_and_cure(record), _other_faults(record))
    return (_stopped(record) + first, *(sentence for sentence in rest if sentence))


def _stopped(record: Record) -> str:
    if record.stopped is None:
        return ""
    seen = " What follows was seen until then." if record.snapshots else ""
    return f"The run stopped early: {_closed(record.stopped)}{seen} "


def _named(findings: Iterable[Finding]) -> set[tuple[str, int]]:
    return {(finding.site, unit) for finding in findings for unit in finding.units}


def _never_firing(record: Record, total: int) -> str:
    dead = _named(record.of("dead"))
    silent = _named(record.of("silent")) - dead
    if not dead and not silent:
        return ""
    where = _where(record, dead | silent)
    verb = "is" if len(dead | silent) == 1 else "are"
    if not silent:
        # A proof that holds in evaluation mode alone says nothing of training.
        alone = any("evaluation mode" in (finding.proof or "") for finding in record.of("dead"))
        they, output, learn = ("it", "outputs", "learns") if len(dead) == 1 else ("they", "output", "learn")
        then = ", in evaluation mode" if alone else f" and {learn} nothing"
        return (
            f"{count(len(dead))} of {count(total)} units {verb} proved dead{where}: "
            f"for every input of the stated box {they} {output} the same value{then}."
        )
    seen = _seen(record)
    if not dead:
        return f"{count(len(silent))} of {count(total)} units {verb} silent{where}: {seen}."
    return (
        f"{count(len(dead | silent))} of {count(total)} units never fire{where}: {count(len(dead))} "
        f"{'is' if len(dead) == 1 else 'are'} proved dead, {count(len(silent))} {seen}."
    )


def _seen(record: Record) -> str:
    """On how many examples the silent units were silent, and what that bounds."""
    seen = {site.site: site.examples for site in record.last.sites}
    told = [f.measures.get("examples", seen.get(f.site, 0)) for f in record.of("silent") if f.units]
    examples = [int(many) for many in told if many > 0]
    if not examples:
        return "fired on no example seen"
    least, most = min(examples), max(examples)
    of = count(least) if least == most else f"{count(least)} to {count(most)}"
    limit = f"the true rate is below {bound(least)}, with 95 % confidence"
    return f"fired on none of the {of} examples seen ({limit})"


def _where(record: Record, named: set[tuple[str, int]]) -> str:
    """`` (18 at layers.1, 13 at layers.3)``: the three sites with the most of them."""
    counts = [(site.site, sum(place == site.site for place, _ in named)) for site in record.last.sites]
    counts = sorted([pair for pair in counts if pair[1]], key=lambda pair: -pair[1])
    if len(counts) == 1:
        return f" at {spot(counts[0][0])}"
    rest = sum(many for _, many in counts[3:])
    told = [f"{count(many)} at {spot(site)}" for site, many in counts[:3]] + (
        [f"{count(rest)} elsewhere"] if rest else []
    )
    return f" ({', '.join(told)})" if told else ""


def _no_silence(sites: tuple[SiteVitals, ...], total: int) -> str:
    fired = sum(int((site.fired > 0).sum()) for site in sites)
    examples = sorted({site.examples for site in sites})
    of = count(examples[0]) if len(examples) == 1 else f"{count(examples[0])} to {count(examples[-1])}"
    if fired == total:
        return f"All {count(total)} units fired at least once in the {of} examples seen."
    return (
        f"No unit was judged dead or silent; {count(fired)} of {count(total)} units fired at least once "
        f"in the {of} examples seen."
    )


def _cause_and_cure(record: Record) -> list[str]:
    """The cause behind the most units, with its remedy, and how many other causes there are.

    A cause starts with its name, as in ``"too large a step: last fired before step 120"``: findings that share it are
    counted together, and its details told only where there is one.
    """
    faults = [finding for finding in record.findings if finding.fault]
    if not faults:
        return []
    silent = [finding for finding in faults if finding.kind in ("dead", "silent")]
    by_name: dict[str, list[Finding]] = {}
    for finding in silent or faults:
        by_name.setdefault(_short(finding.cause.partition(":")[0]), []).append(finding)
    name = max(by_name, key=lambda name: len(_named(by_name[name])))
    main = max(by_name[name], key=lambda finding: len(finding.units))
    # What one finding details must not be told for many; what was tried in vain is for the findings themselves.
    alone = len({finding.cause for finding in by_name[name]}) == 1 and not name.startswith("not known")
    cause = _short(main.cause) if alone else name
    others = [other for other in by_name if other != name]
    if others:
        of = f"{count(len(_named(by_name[name])))} of {count(len(_named(silent or faults)))} units; " if silent else ""
        rest = f"the others: {' and '.join(others)}" if len(others) <= 2 else f"{len(others)} causes for the others"
        cause += f" ({of}{rest})"
    likely = "Cause" if name.startswith("not known") else "Likely cause"
    return [f"{likely}: {cause}.", f"What helps: {_short(main.remedy)}."]


def _other_faults(record: Record) -> str:
    told = []
    for kind in sorted(FAULTS - {"dead", "silent"}, key=ORDER.__getitem__):
        findings = record.of(kind)
        if not findings:
            continue
        named = _named(findings)
        places = list(dict.fromkeys(finding.site for finding in findings))
        where = ", ".join(spot(place, kind) for place in places[:3]) + (
            f" and {len(places) - 3} more" if len(places) > 3 else ""
        )
        many = f" in {count(len(named))} {'unit' if len(named) == 1 else 'units'}" if named else ""
        told.append(f"{TITLES[kind] if kind == 'nan' else TITLES[kind].lower()}{many} at {where}")
    return f"Also found: {'; '.join(told)}." if told else ""


def _short(text: str) -> str:
    """``text`` without its last full stop, first letter lowered; its first sentence where it is long."""
    text = " ".join(text.split())
    if len(text) > _LONG:
        text = re.split(r"(?<=[.;])\s", text, maxsplit=1)[0]
    text = text.rstrip(".; ")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _closed(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
