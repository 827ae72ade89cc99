"""When a unit died, and what moved in the interval of its death: read from the history, at steps however uneven.

A *moment* is one snapshot with what it says of the site. A unit's death is the first moment from which it never fired
again, so that it happened in the interval that ends there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .records import SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = [
    "Moment",
    "Push",
    "death_of",
    "drawn",
    "input_changed",
    "moments",
    "push_above",
    "push_of",
    "ratio_of",
    "unsure",
]

#: An interval stands out when it moved a unit by more than this many times the pace before it.
_STANDS_OUT = 3.0
#: Intervals that give the pace.
_BEFORE = 3


@dataclass(frozen=True)
class Moment:
    snapshot: Snapshot
    site: SiteVitals

    @property
    def step(self) -> int:
        return self.snapshot.step


def moments(snapshots: Sequence[Snapshot], site: SiteVitals) -> list[Moment]:
    """The moments of this site; a number of units that changed under way (pruning) leaves those that fit the last."""
    pairs = [(snapshot, other) for snapshot in snapshots for other in snapshot.sites]
    return [Moment(s, o) for s, o in pairs if o.site == site.site and o.units == site.units]


def death_of(past: Sequence[Moment], unit: int) -> int:
    """Index of the first moment from which the unit never fired again; 0 for one that never did."""
    first = len(past) - 1
    while first > 0 and not past[first - 1].site.alive[unit]:
        first -= 1
    return first


def unsure(past: Sequence[Moment], unit: int, death: int, limits: Thresholds) -> Sequence[Moment]:
    """The moments of its death that cannot be told apart: a rare unit is silent for a while before it dies.

    From its first silent look on, until it was silent at so many examples that at the rate at which it fired before
    (``rare`` for one that never did, and at most) that has a probability below 5 %: 3 ÷ rate.
    """
    fired = sum(int(moment.site.fired[unit]) for moment in past[:death])
    seen = sum(drawn(moment.site) for moment in past[:death])
    rate = min(limits.rare, fired / seen if fired and seen else limits.rare)
    silent, last = 0, death
    while last + 1 < len(past) and (silent := silent + drawn(past[last].site)) * rate < 3:
        last += 1
    return past[death : last + 1]


def drawn(site: SiteVitals) -> int:
    """Independent examples: of several positions of one input, the inputs count."""
    return min(site.examples, site.inputs or site.examples)


@dataclass(frozen=True)
class Push:
    """What moved a unit's weights and bias too far before it fell silent."""

    how: str
    """"one step": a single step, measured. "jump": an interval in which it moved far beyond the pace before.
    "path": many steps together."""
    moved: float
    """Times the norm of the unit's own weights and bias."""
    after: int
    """Step at the start of that movement."""
    steps: int
    largest: float
    """‖ΔW‖ ÷ ‖W‖ of its layer at the single step that was measured; 0 for the other two."""
    bias_share: float
    """How much of the movement was the bias alone, in [0, 1]; NaN where it cannot be told."""


def ratio_of(snapshot: Snapshot, layer: str | None) -> float:
    """‖ΔW‖ ÷ ‖W‖ of the step at which the snapshot was taken; 0 where it was not measured or has no norm to be of."""
    ratios = [other.update_ratio for other in snapshot.layers if other.layer == layer]
    ratio = ratios[0] if ratios else None
    return float(ratio) if ratio is not None and math.isfinite(ratio) else 0.0


def push_of(past: Sequence[Moment], unit: int, death: int, limits: Thresholds) -> Push | None:
    """Was the unit moved too far in the interval of its death, or on the way there? None where it was not.

    In this order: a single step measured at one end of the interval of its death moved its layer by ``large_update``
    of its norm or more (and the unit itself by as much, where that is known); the interval moved the unit by that much
    more than three times the pace of the intervals before explains; or the shortest run of intervals up to the death
    moved it by ``large_path``, at a tenth of ``large_update`` a step or more.
    """
    # The forward passes of a look come before its last step: what closed the unit lies in one of two intervals.
    ends = [i for i in (death, death - 1) if i >= 0]
    for i in ends:
        own, largest = _moved(past[i].site, unit), ratio_of(past[i].snapshot, past[i].site.layer)
        if largest >= limits.large_update and (math.isnan(own) or own >= limits.large_update):
            return _push("one step", past, unit, i, i, own, largest)
    for i in ends:
        own = _moved(past[i].site, unit)
        explained = _STANDS_OUT * _pace(past, unit, i) * max(past[i].step - past[max(i - 1, 0)].step, 1)
        if own - explained > limits.large_update:
            return _push("jump", past, unit, i, i, own, 0.0)
    total = 0.0
    for first in range(death, 0, -1):
        value = _moved(past[first].site, unit)
        if math.isnan(value):  # weights that were 0, or NaN: no share of a norm
            break
        total += value
        steps = max(past[death].step - past[first - 1].step, 1)
        at_once = first == death and total >= limits.large_update * steps
        if at_once or total >= max(limits.large_path, 0.1 * limits.large_update * steps):
            return _push("path", past, unit, first, death, total, 0.0)
    return None


def push_above(past: Sequence[Moment], above: Sequence[Moment], death: int, limits: Thresholds) -> Push | None:
    """Was a site before this one moved too far about the time of the death, so that other inputs came in?

    above: the moments of that site. Judged on its living units in the middle, by the first two rules of
    :func:`push_of`.
    """
    steps_seen = {moment.step: i for i, moment in enumerate(above)}
    for moment in reversed(past[max(death - 1, 0) : death + 1]):
        i = steps_seen.get(moment.step, 0)
        largest = ratio_of(moment.snapshot, above[i].site.layer)
        if largest >= limits.large_update:
            return Push("one step", math.nan, above[max(i - 1, 0)].step, 1, largest, math.nan)
        paces = [_pace_of_living(above, j) for j in range(max(1, i - _BEFORE), i)]
        known = [pace for pace in paces if not math.isnan(pace)]
        if i and known:
            steps = max(above[i].step - above[i - 1].step, 1)
            moved = _pace_of_living(above, i) * steps
            if moved - _STANDS_OUT * max(known) * steps > limits.large_update:
                return Push("jump", moved, above[i - 1].step, steps, 0.0, math.nan)
    return None


def _push(how: str, past: Sequence[Moment], unit: int, first: int, last: int, moved: float, largest: float) -> Push:
    """The push of the intervals ``first`` to ``last``."""
    start = max(first - 1, 0)
    steps = max(past[last].step - past[start].step, 1)
    return Push(how, moved, past[start].step, steps, largest, _bias_share(past, unit, start, last, moved))


def _moved(site: SiteVitals, unit: int) -> float:
    value = math.nan if site.moved is None else float(site.moved[unit])
    return value if math.isfinite(value) else math.nan


def _pace(past: Sequence[Moment], unit: int, at: int) -> float:
    """How far this unit, or else the site's living units in the middle, moved a step in the intervals before.

    The largest of them; infinite without any: the first interval of a training is its fastest, and has nothing to be
    compared with.
    """
    before = [_pace_in(past, unit, i) for i in range(max(1, at - _BEFORE), at)]
    return max((pace for pace in before if not math.isnan(pace)), default=math.inf)


def _pace_in(past: Sequence[Moment], unit: int, i: int) -> float:
    own = _moved(past[i].site, unit) / max(past[i].step - past[i - 1].step, 1)
    others = _pace_of_living(past, i)
    return others if math.isnan(own) else own if math.isnan(others) else max(own, others)


def _pace_of_living(past: Sequence[Moment], i: int) -> float:
    """How far the living units moved a step, in the middle: dead ones do not move, and say nothing of the pace."""
    moved = past[i].site.moved
    if moved is None:
        return math.nan
    living = moved[np.isfinite(moved) & (past[i].site.fired > 0)]
    return float(np.median(living)) / max(past[i].step - past[i - 1].step, 1) if living.size else math.nan


def _bias_share(past: Sequence[Moment], unit: int, first: int, last: int, moved: float) -> float:
    """|Δb| of the stretch ÷ the whole movement, both against the norm of weights and bias at its start."""
    a, b = past[first].site, past[last].site
    if a.bias is None or b.bias is None or a.weight_norm is None or math.isnan(moved) or moved == 0:
        return math.nan
    norm = math.hypot(float(a.weight_norm[unit]), float(a.bias[unit]))
    return min(abs(float(b.bias[unit] - a.bias[unit])) / norm / moved, 1.0) if norm else math.nan


def input_changed(past: Sequence[Moment], death: int, limits: Thresholds) -> tuple[str, float, float, float] | None:
    """Did the model's input change its scale or its mean about the time of the death?

    Compared are the looks at the death and right after it with the median of those before: a root mean square that is
    ``changed_input`` times as large or as small, or a mean that moved by half the root mean square there was. Returns
    the layer, and before and after of what changed more; None where nothing did, or nothing was seen before.
    """
    for layer in past[death].snapshot.layers:
        if not layer.first:
            continue
        before = [_input(moment.snapshot, layer.layer) for moment in past[:death]]
        before = [pair for pair in before if pair is not None]
        if not before:
            continue
        mean, rms = (float(np.median([pair[i] for pair in before])) for i in (0, 1))  # type: ignore[index]
        for moment in past[death : death + 2]:
            now = _input(moment.snapshot, layer.layer)
            if now is None or rms <= 0:
                continue
            grown = now[1] / rms
            if not 1 / limits.changed_input < grown < limits.changed_input:
                return layer.layer, rms, now[1], 1.0
            if abs(now[0] - mean) >= 0.5 * rms:
                return layer.layer, mean, now[0], 0.0
    return None


def _input(snapshot: Snapshot, name: str) -> tuple[float, float] | None:
    for layer in snapshot.layers:
        if layer.layer == name and layer.input_mean is not None and layer.input_rms is not None:
            pair = layer.input_mean, layer.input_rms
            return pair if all(map(math.isfinite, pair)) else None
    return None
