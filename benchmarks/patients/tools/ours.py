"""rectifier: ``check`` (a look at a trained model) and ``watch`` (live)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import rectifier
from benchmarks.patients.case import Answer, Place, Visit, bare
from rectifier.checkup import ObservationError
from rectifier.errors import RectifierError

__all__ = ["TOOLS", "place_of", "told"]

SCALES = {f"{way}_{what}": way for way in ("vanishing", "exploding") for what in ("gradient", "activation")}
OTHERS = {"rare": "rare", "dormant": "dormant", "always_open": "open", "always_closed": "closed"}
#: A record from before causes had a kind tells them by how their sentence begins.
CAUSES = {
    "too large a step": "step",
    "bias drift": "bias",
    "initialisation": "initialisation",
    "upstream silence": "upstream",
    "collapsed normalisation": "normalisation",
    "input scale or shift": "input",
}


class Check:
    name, live = "rectifier.check", False

    def version(self) -> str | None:
        return rectifier.__version__

    def diagnose(self, visit: Visit) -> Answer:
        with _refusals(visit) as told:
            told.append(answer(rectifier.check(visit.model, visit.batches, visit.loss), visit.places))
        return told[0]


class Watch:
    """``counts``: of the gates at every step, where it otherwise looks as often as its budget of time allows."""

    live = True

    def __init__(self, name: str, counts: bool) -> None:
        self.name, self._counts = name, counts

    def version(self) -> str | None:
        return rectifier.__version__

    def diagnose(self, visit: Visit) -> Answer:
        settings: dict[str, Any] = {}
        if self._counts:  # one look over all batches where training moves nothing
            settings["every"] = 10 if visit.optimizer.param_groups[0]["lr"] else len(visit.batches)
        with _refusals(visit) as told:
            with rectifier.watch(visit.model, visit.optimizer, **settings) as watching:
                visit.train(None)
            told.append(answer(watching.record, visit.places, self._counts))
        return told[0]


@contextlib.contextmanager
def _refusals(visit: Visit) -> Iterator[list[Answer]]:
    """A model that is refused with a reason was not observed, and the user knows: no false alarm, and no answer."""
    told: list[Answer] = []
    try:
        yield told
    except ObservationError:  # it broke off in the middle: that is an error
        raise
    except RectifierError as error:
        told[:] = [Answer(unseen=frozenset(place.name for place in visit.places), elsewhere=(f"refused: {error}",))]


def answer(record: rectifier.Record, places: Iterable[Place], counted: bool = True) -> Answer:
    """What a record says, by the benchmark's places. counted: its firing counts are of all examples."""
    places = tuple(places)
    seen = (
        {site.site: (site, place_of(site.site, site.layer, places)) for site in record.last.sites}
        if record.snapshots
        else {}
    )
    of: dict[str, list[str]] = {}
    for site, (_, place) in seen.items():
        if place is not None:
            of.setdefault(place.name, []).append(site)

    def units(*kinds: str) -> dict[str, set[int]]:
        """A unit of a place with several sites (a call for each step in time) has what all of them have."""
        found: dict[str, set[int]] = {}
        for place, sites in of.items():
            each = [{u for f in record.of(*kinds) if f.site == site for u in f.units} for site in sites]
            found[place] = set.intersection(*each)
        return {place: named for place, named in found.items() if named}

    causes: dict[str, dict[int, str]] = {}
    for finding in record.of("dead", "silent"):
        place = seen[finding.site][1] if finding.site in seen else None
        if place is not None:
            causes.setdefault(place.name, {}).update(dict.fromkeys(finding.units, _cause(finding)))
    fired = {
        place: tuple(
            int(n) for n in sum(s.fired for snapshot in record.snapshots for s in snapshot.sites if s.site == sites[0])
        )
        for place, sites in of.items()
        if len(sites) == 1 and counted
    }
    return Answer(
        dead=units("dead", "silent"),
        proved=units("dead"),
        others={label: units(kind) for kind, label in OTHERS.items() if record.of(kind)},
        scales=frozenset(SCALES[finding.kind] for finding in record.findings if finding.kind in SCALES),
        alarms=tuple(f"{f.kind} at {f.site}: {f.evidence}" for f in record.findings if _alarm(f)),
        unseen=frozenset(place.name for place in places if place.name not in of and told(place, record)),
        causes=causes,
        fired=fired,
        elsewhere=tuple(site for site, (_, place) in seen.items() if place is None),
    )


def place_of(site: str, layer: str | None, places: tuple[Place, ...]) -> Place | None:
    """The place that a site is: by its name; else by the module of which it is a call; else by its layer."""
    name = bare(site)
    module = name.partition("@")[0].partition("#")[0]
    for place in places:
        if name == place.name:
            return place
    calls = [place for place in places if module in (place.name, place.module)]
    if len(calls) == 1:
        return calls[0]
    made = [place for place in places if layer is not None and bare(layer) == place.layer]
    return made[0] if len(made) == 1 else None


def told(place: Place, record: rectifier.Record) -> bool:
    """Does a line of what was not observed speak of this place, its layer, or a module that holds them?"""
    names = {place.name, place.layer, place.module or place.name, place.name.partition("#")[0]}
    holders = {".".join(name.split(".")[:end]) for name in names for end in range(1, len(name.split(".")) + 1)}
    first = (line.replace("(", ":").partition(":")[0].strip() for line in record.not_observed)
    return any(bare(word) in holders or word in (record.model, "the model") for word in first)


def _cause(finding: Any) -> str:
    kind = getattr(finding, "cause_kind", None)
    if kind is not None:
        return str(kind)
    return next((key for words, key in CAUSES.items() if finding.cause.startswith(words)), "unknown")


def _alarm(finding: Any) -> bool:
    """A fault that is more than a note."""
    severity = getattr(finding, "severity", None)
    return bool(finding.fault) if severity is None else severity != "note"


TOOLS = (Check(), Watch("rectifier.watch", False), Watch("rectifier.watch (every gate)", True))
