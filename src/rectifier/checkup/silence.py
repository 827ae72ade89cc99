"""Whether what was seen of a unit that does not fire is enough to call it silent.

Two questions. Of a unit that has fired: is it quiet for longer than chance explains at the rate at which it fired? Of
one that never has: were there 3 ÷ ``rare`` examples, so that it fires at less than ``rare`` of them (rule of three)?
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._family import family
from .deaths import Moment, death_of, drawn, moments
from .records import Snapshot
from .thresholds import Thresholds

__all__ = ["Soon", "short_of", "too_soon", "unconfirmed"]

#: A quiet stretch whose probability is as large says nothing yet. Small, as many units are asked about.
_CHANCE = 0.01
#: A gradient that stays away for so many steps up to the end is worth a word.
_SUSPICIOUS = 10


@dataclass(frozen=True)
class Soon:
    """It showed life at ``fired`` of ``seen`` examples (or steps) up to the last, and at none of ``silent`` since."""

    fired: int
    seen: int
    silent: int
    steps: bool
    """True: life is a gradient, counted by steps."""


def too_soon(past: Sequence[Moment], unit: int) -> Soon | None:
    """Whether a unit that has fired is quiet for too short a time to say more than that it is rare.

    Where gradients were read at every step they tell: k steps with one among T, the last of them q steps ago. That all
    k come before the last q has, whatever the rate, the probability ((T − q)/T)^k if nothing has changed. Of all steps,
    and of those since the look before the last sign of life, for a rate that has come down, the larger one counts.

    Else the looks tell: at the rate of the last look at which it fired, or of all until then if that is lower, those
    since would all be silent with a probability of 5 % or more: rate · n < 3.

    None where it is not so, and where the unit has never fired.
    """
    return _by_gradients(past, unit) if _lives(past, unit) else _by_looks(past, unit)


def _lives(past: Sequence[Moment], unit: int) -> int:
    """At how many steps it had a gradient, where that is known up to the end."""
    if not past[-1].site.graded:
        return 0
    return sum(int(moment.site.lives[unit]) for moment in past if moment.site.lives is not None)


def _by_gradients(past: Sequence[Moment], unit: int) -> Soon | None:
    read = [moment.site for moment in past if moment.site.graded and moment.site.lives is not None]
    steps = [site.graded or 0 for site in read]
    lives = [int(site.lives[unit]) for site in read if site.lives is not None]
    last = max(i for i, many in enumerate(lives) if many)
    lived = read[last].lived
    assert lived is not None
    quiet = max(read[last].until - int(lived[unit]), 0) + sum(steps[last + 1 :])
    chances = []
    for first in (0, max(last - 1, 0)):
        total = sum(steps[first:])
        chances.append((max(total - quiet, 0) / total) ** sum(lives[first:]))
    if max(chances) < _CHANCE:
        return None
    return Soon(sum(lives), sum(steps) - quiet, quiet, steps=True)


def _by_looks(past: Sequence[Moment], unit: int) -> Soon | None:
    death = death_of(past, unit)
    before = [moment.site for moment in past[:death]]
    last = next((site for site in reversed(before) if site.fired[unit]), None)
    if last is None:
        return None
    fired, seen = sum(int(site.fired[unit]) for site in before), sum(map(drawn, before))
    rate = min(fired / seen, int(last.fired[unit]) / drawn(last))
    silent = sum(drawn(moment.site) for moment in past[death:])
    return Soon(fired, seen, silent, steps=False) if rate * silent < 3 else None


def short_of(snapshots: Sequence[Snapshot], limits: Thresholds) -> dict[str, dict[int, tuple[int, int]]]:
    """site → unit that never fired → (examples seen, examples that are missing to call it silent), where some are.

    A step without a gradient counts as the examples of one look.
    """
    found: dict[str, dict[int, tuple[int, int]]] = {}
    needed = math.ceil(3 / limits.rare) if limits.rare else 0
    for site in snapshots[-1].sites if snapshots else ():
        row = family.get(site.rectifier)
        if row is None or row.comparison or row.negative_part != "none":
            continue
        past = moments(snapshots, site)
        seen = sum(drawn(moment.site) + _graded(moment) for moment in past)
        if seen < needed:
            never = ~np.any([moment.site.alive | (moment.site.nan > 0) for moment in past], axis=0)
            units = {int(unit): (seen, needed - seen) for unit in np.flatnonzero(never)}
            found |= {site.site: units} if units else {}
    return found


def _graded(moment: Moment) -> int:
    """Examples of the steps at which the gradient alone was read."""
    looks = max(len(moment.snapshot.looked), 1)
    return max((moment.site.graded or 0) - looks, 0) * drawn(moment.site) // looks


def unconfirmed(snapshot: Snapshot, told: Mapping[str, tuple[Any, ...]], step: int) -> dict[str, tuple[int, int]]:
    """site → how many units gradients put under suspicion when no look came after it, and the steps it has lasted."""
    found = {}
    for site in snapshot.sites:
        if site.site in told:
            since = step - np.maximum(told[site.site][1], snapshot.step)[site.alive]
            if (since >= _SUSPICIOUS).any():
                found[site.site] = int((since >= _SUSPICIOUS).sum()), int(since[since >= _SUSPICIOUS].min())
    return found
