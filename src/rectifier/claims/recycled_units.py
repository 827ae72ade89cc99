"""Recycling silent units undoes their death."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.deaths import ARMS, BUDGET, DAMAGES, deaths, percent, remedies, setting, signed
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired
from .lab.verdicts import all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DAMAGES = ("step size 0.3", "Adam, step size 0.1")
_SMALLER = 0.1
_TITLES = {
    "nothing": "nothing done",
    "smaller": "a tenth of the step size",
    "recycled": "recycled once",
    "scheduled": "recycled again and again",
    "recycled_smaller": "recycled, a tenth of the step size",
}
#: Points of accuracy that recycling must give, and those that may be missing to a network that never lost its units.
_GIVEN, _MISSING = 2.0, 2.0
_POINTS, _UNITS = "points of accuracy", "% of the units"


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    budget = BUDGET[plan.quick]
    for damage in _DAMAGES:
        changed = DAMAGES[damage]
        for seed in plan.seeds:
            yield Run(remedies, {**setting(**changed), "smaller": _SMALLER, "budget": budget, "seed": seed})
            yield Run(deaths, {**setting(**_sound(damage)), "budget": 2 * budget, "seed": seed})


def _sound(damage: str) -> dict[str, object]:
    """The same training with the smaller step size from the start."""
    changed = DAMAGES[damage]
    return {**changed, "step": float(f"{changed['step'] * _SMALLER:g}")}


def _mean(results: Results, name: str) -> npt.NDArray[np.float64]:
    """Per cent, the mean of both damages, one entry a seed."""
    parts = [percent(results.where("remedies", **setting(**DAMAGES[each])), name) for each in _DAMAGES]
    found: npt.NDArray[np.float64] = np.mean(parts, axis=0)
    return found


def _sound_accuracy(results: Results) -> npt.NDArray[np.float64]:
    parts = [percent(results.where("deaths", **setting(**_sound(damage))), "test") for damage in _DAMAGES]
    found: npt.NDArray[np.float64] = np.mean(parts, axis=0)
    return found


def _given(results: Results, arm: str, basis: str) -> Effect:
    what = f"{_TITLES[arm]} − {_TITLES[basis]}"
    return paired(_mean(results, f"{arm}_test"), _mean(results, f"{basis}_test"), what, _POINTS)


def _missing(results: Results, arm: str) -> Effect:
    return paired(_sound_accuracy(results), _mean(results, f"{arm}_test"), f"never lost − {_TITLES[arm]}", _POINTS)


def _judge(results: Results) -> Verdict:
    arms = {False: ("recycled", "nothing"), True: ("recycled_smaller", "smaller")}
    given = {smaller: _given(results, *pair) for smaller, pair in arms.items()}
    missing = {smaller: _missing(results, arm) for smaller, (arm, _) in arms.items()}
    silent = {arm: mean(_mean(results, f"{arm}_silent"), f"silent, {_TITLES[arm]}", _UNITS) for arm in ARMS}
    first = mean(_mean(results, "first_silent"), "silent before", _UNITS)
    effects = (
        given[True],
        missing[True],
        given[False],
        missing[False],
        _given(results, "scheduled", "nothing"),
        _given(results, "smaller", "nothing"),
        first,
        *silent.values(),
    )
    answers = {
        smaller: all_of(decide(given[smaller], _GIVEN), decide(missing[smaller], _MISSING, sign=-1)) for smaller in arms
    }
    told = (
        f"{first.value:.0f} % of the units were silent. Recycled, {silent['recycled'].value:.0f} % are so again after "
        f"training at the same step size, {silent['recycled_smaller'].value:.0f} % after training at a tenth of it; "
        f"without recycling {silent['smaller'].value:.0f} %. Accuracy against the same without recycling: "
        f"{signed(given[False])} points at the same step size, {signed(given[True])} at a tenth, where "
        f"{missing[True].value:.1f} are missing to a network that never lost its units"
    )
    if answers[False] == answers[True] == "holds":
        return Verdict("holds", f"{told}.", effects)
    if answers[True] == "holds" and answers[False] == "not enough":
        return Verdict("not enough", f"{told}.", effects)
    if answers[True] == "holds":
        return Verdict("depends", f"On whether the cause is gone: {told}.", effects)
    if decide(given[True], _GIVEN) == "holds":
        return Verdict(
            "depends", f"On whether the cause is gone; how much comes back then differs by network. {told}.", effects
        )
    return Verdict(answers[True], f"{told}.", effects)


def _figure(results: Results) -> Chart:
    effects, groups = [], []
    for arm, title in _TITLES.items():
        effects.append(mean(_mean(results, f"{arm}_test"), f"{title}: accuracy", "%"))
        effects.append(mean(_mean(results, f"{arm}_silent"), f"{title}: silent units", "%"))
        groups += ["accuracy", "silent units"]
    effects.append(mean(_sound_accuracy(results), "never lost its units: accuracy", "%"))
    groups.append("accuracy")
    return intervals(
        effects,
        x_title="per cent",
        caption="Networks trained at ten times the usual step size, after as many updates more with each remedy; the "
        "mean of momentum and Adam. At the bottom a network that had the small step size from the start.",
        alt="; ".join(effect.told for effect in effects),
        groups=groups,
    )


CLAIM = Claim(
    name="recycled-units",
    group="death",
    place=30,
    statement="Recycling units that fell silent undoes the loss.",
    source="Sokar et al. 2023, arXiv:2302.12902 (ReDo); rectifier.heal and rectifier.recycling do it.",
    refuted_by="Less than 2 points of accuracy more than the same training without recycling, or 2 points or more "
    "missing to a network that never lost its units. It depends where accuracy comes back with a smaller step size "
    "alone, or in part.",
    method="Plain networks of ReLUs on the digits are trained at ten times the usual step size (momentum; Adam). From "
    "there five copies go on for as long again over the same batches: nothing done; a tenth of the step size; silent "
    "units recycled by rectifier.heal (incoming weights anew, outgoing 0, so that no output changes); the same and "
    "rectifier.recycling five times more; recycled and a tenth of the step size. All 1,797 images say who is silent.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
