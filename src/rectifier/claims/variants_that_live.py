"""Leaky ReLU, PReLU, ELU, SELU and softplus keep units from dying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.compared import across
from .experiments.deaths import BUDGET, DAMAGES, deaths, setting
from .lab.activations import ACTIVATIONS
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired

if TYPE_CHECKING:
    from ..reporters.page import Chart

_VARIANTS = ("leaky_relu", "prelu", "elu", "selu", "softplus")
#: Per cent of the units: what ReLU must lose for there to be anything to prevent, and what a variant may.
_MANY, _FEW = 40.0, 5.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for label in ("relu", *_VARIANTS):
        for changed in DAMAGES.values():
            for seed in plan.seeds:
                yield Run(deaths, {**setting(label, **changed), "budget": BUDGET[plan.quick], "seed": seed})


def _each(results: Results, label: str, name: str) -> npt.NDArray[np.float64]:
    """Per cent, (damages, seeds); NaN where the training broke off: it says nothing about units."""
    return np.array([100 * results.where(**setting(label, **changed)).values(name) for changed in DAMAGES.values()])


def _units(results: Results, label: str, name: str, what: str, beside: str = "relu") -> Effect:
    """The mean over the damages, seed by seed, of trainings that came to their end with ``beside`` too.

    So that two activations are held against each other by the same trainings; a seed without any is left out.
    """
    shares = _each(results, label, name)
    shares = np.where(np.isfinite(_each(results, beside, name)), shares, np.nan)
    ended = np.isfinite(shares).any(axis=0)
    return mean(np.nanmean(shares[:, ended], axis=0), f"{ACTIVATIONS[label].title}: {what}", "% of the units")


def _stuck(results: Results, label: str, beside: str = "relu") -> Effect:
    return _units(results, label, "stuck", "units without gradient", beside)


def _closed(results: Results, label: str) -> Effect:
    return _units(results, label, "closed", "units closed at every image")


def _gain(results: Results, label: str, low: bool) -> Effect:
    """Accuracy against ReLU: with the low bias, or the mean of the two large step sizes."""
    places = [place for place, changed in enumerate(DAMAGES.values()) if ("init_bias" in changed) == low]
    one, relu = (_each(results, each, "test")[places].mean(axis=0) for each in (label, "relu"))
    what = f"{ACTIVATIONS[label].title} − ReLU, {'low bias' if low else 'large steps'}"
    return paired(one, relu, what, "points of accuracy")


def _judge(results: Results) -> Verdict:
    relu = _stuck(results, "relu")
    stuck = {label: _stuck(results, label) for label in _VARIANTS}
    closed = {label: _closed(results, label) for label in _VARIANTS}
    gains = {low: {label: _gain(results, label, low) for label in _VARIANTS} for low in (True, False)}
    effects = (*stuck.values(), relu, *gains[True].values(), *gains[False].values(), *closed.values())
    if decide(relu, _MANY) != "holds":
        told = f"ReLU itself leaves {relu.value:.0f} % of its units without gradient: nothing to prevent."
        return Verdict("does not hold", told, effects)
    same = {label: _stuck(results, "relu", label) for label in _VARIANTS}
    answers: dict[str, Answer] = {}
    for label, effect in stuck.items():
        # Where a variant broke off, what ReLU lost in the trainings that are left is what there was to prevent.
        prevented = decide(same[label], _MANY) == "holds"
        answers[label] = decide(effect, _FEW, sign=-1) if prevented else "not enough"

    def said(found: Mapping[str, Effect], form: str, *wanted: str) -> str:
        return ", ".join(
            f"{ACTIVATIONS[label].title} {found[label].value:{form}}"
            for label, answer in answers.items()
            if not wanted or answer in wanted
        )

    broken = {label: int(np.isnan(_each(results, label, "stuck")).sum()) for label in _VARIANTS}
    off = ", ".join(f"{ACTIVATIONS[label].title} {many}" for label, many in broken.items() if many)
    over = ", ".join(
        f"{same[label].value:.0f} % beside {ACTIVATIONS[label].title}" for label, many in broken.items() if many
    )
    rest = (
        f"With ReLU it is {relu.value:.0f}. To have a gradient is not yet to work: closed at every image (of a leaky "
        f"one a straight line is left) are {said(closed, '.0f')} %. Points of accuracy against ReLU, initial biases of "
        f"−1: {said(gains[True], '+.0f')}; large steps: {said(gains[False], '+.0f')}."
        + (f" Of {3 * len(results.seeds)} trainings broke off: {off}. By the others ReLU has {over}." if off else "")
    )
    answer = across(answers.values())
    if answer != "depends":
        return Verdict(answer, f"Units without gradient, in %: {said(stuck, '.1f')}. {rest}", effects)
    opened = f"; open {said(stuck, '.0f', 'not enough')}" if "not enough" in answers.values() else ""
    return Verdict(
        "depends",
        f"On which one. Units without gradient, in %: {said(stuck, '.1f', 'holds')}; but "
        f"{said(stuck, '.0f', 'does not hold')}{opened}. {rest}",
        effects,
    )


def _figure(results: Results) -> Chart:
    effects, groups = [], []
    for label in ("relu", *_VARIANTS):
        effects += [_stuck(results, label), _closed(results, label)]
        groups += ["without gradient", "closed at every image"]
    return intervals(
        effects,
        x_title="per cent of the units",
        caption="Units after three trainings as they should not be (ten times the usual step size with momentum, and "
        "with Adam; initial biases of −1), the mean of the three. Without gradient: the derivative is above 0.001 at "
        "no image. Closed: z is at or below 0 at every image; of ReLU that is called silent, and not counted here.",
        alt="; ".join(effect.told for effect in effects),
        groups=groups,
    )


CLAIM = Claim(
    name="variants-that-live",
    group="death",
    place=20,
    statement="Leaky ReLU, PReLU, ELU, SELU and softplus keep units from dying.",
    source="Maas, Hannun and Ng 2013; He et al. 2015, arXiv:1502.01852; Clevert et al. 2016, arXiv:1511.07289; CS231n.",
    refuted_by="In trainings that leave over 40 % of ReLU's units without gradient, 5 % or more of each variant's "
    "without one. It depends where that is so of some variants.",
    method="The digits' plain networks of 3 layers of 64 units are trained three times as they should not be: at ten "
    "times the usual step size with momentum, the same with Adam, and with initial biases of −1. All is the same for "
    "each activation but its gain. Then all 1,797 images are shown: a unit has no gradient where its derivative is "
    "nowhere above 0.001, and is closed where rectifier.check finds z at or below 0 at every image. Trainings that "
    "break off are left out, for ReLU as for the variant beside it, and told.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
