"""What frameworks no longer do as they did: two comparisons held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .plan import CANDIDATES, FRAMEWORKS
from .records import Comparison, Measured

__all__ = ["REFRESH", "changes"]

#: Writes the record that the family's rows are told from, and the page of it.
REFRESH = "make conventions"

#: Parts of a record that are conventions. Errors are not: their digits are the processor's.
_PARTS = ("defaults", "preset", "probes", "subnormals", "dtypes", "problems")


def changes(before: Comparison, now: Comparison) -> list[str]:
    """One line a convention that changed, of what was asked ``now``: framework, versions, function, old and new value.

    What was not asked again, or is not installed any more, is no change; a framework that no longer runs is one.
    """
    functions = set(now.functions)
    asked = {one.candidate for one in now.measured} | set(now.failed)
    then = {(one.function, one.candidate): one for one in before.measured if one.function in functions}
    found = {(one.function, one.candidate): one for one in now.measured}
    lines = [f"{_who(label, before, now)}: {why}" for label, why in now.failed.items()]
    for key in dict.fromkeys([*then, *found]):
        function, label = key
        if label not in asked or label in now.failed:
            continue
        who = f"{_who(label, before, now)}: {function}"
        if key not in found or key not in then:
            lines.append(f"{who}: {'new' if key in found else 'not there any more'}")
            continue
        for what, old, new in _differences(then[key], found[key]):
            lines.append(f"{who}, {what}: was {old}, is {new}")
    return lines


def _who(label: str, before: Comparison, now: Comparison) -> str:
    candidate = next(candidate for candidate in CANDIDATES if candidate.label == label)
    # Keras's results are its backend's, too.
    names = dict.fromkeys([*FRAMEWORKS[candidate.framework].modules[:1], candidate.needs, candidate.framework])
    told = [
        f"{name} {before.versions.get(name, 'absent')} → {now.versions[name]}" for name in names if name in now.versions
    ]
    return f"{label} ({', '.join(told)})"


def _differences(old: Measured, new: Measured) -> Iterator[tuple[str, str, str]]:
    for part in _PARTS:
        yield from _nested(part, getattr(old, part), getattr(new, part))


def _nested(what: str, old: Any, new: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _nested(f"{what} {key}", old.get(key), new.get(key))
    elif old != new:
        yield what, _told(old), _told(new)


def _told(value: Any) -> str:
    if value is None:
        return "not there"
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)
