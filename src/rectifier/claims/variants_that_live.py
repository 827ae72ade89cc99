"""Leaky ReLU, PReLU, ELU, SELU and softplus keep units from dying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.deaths import BUDGET, DAMAGES, deaths, percent, setting
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
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
        for changed in ({}, *DAMAGES.values()):
            for seed in plan.seeds:
                yield Run(deaths, {**setting(label, **changed), "budget": BUDGET[plan.quick], "seed": seed})


def _over_damages(results: Results, label: str, name: str, lost: float = 0.0) -> npt.NDArray[np.float64]:
    """Per cent, the mean of the three damages, one entry a seed."""
    parts = [percent(results.where(**setting(label, **changed)), name, lost) for changed in DAMAGES.values()]
    found: npt.NDArray[np.float64] = np.mean(parts, axis=0)
    return found


def _stuck(results: Results, label: str) -> Effect:
    # A training that broke off has prevented nothing.
    shares = _over_damages(results, label, "stuck", lost=1.0)
    return mean(shares, f"{ACTIVATIONS[label].title}: units with no gradient", "% of the units")


def _closed(results: Results, label: str) -> Effect:
    shares = _over_damages(results, label, "closed")
    return mean(shares, f"{ACTIVATIONS[label].title}: units closed at every image", "% of the units")


def _gain(results: Results, label: str) -> Effect:
    one, relu = (_over_damages(results, each, "test") for each in (label, "relu"))
    return paired(one, relu, f"{ACTIVATIONS[label].title} − ReLU, the same training", "points of accuracy")


def _judge(results: Results) -> Verdict:
    relu = _stuck(results, "relu")
    stuck = {label: _stuck(results, label) for label in _VARIANTS}
    closed = {label: _closed(results, label) for label in _VARIANTS}
    gains = {label: _gain(results, label) for label in _VARIANTS}
    effects = (*stuck.values(), relu, *gains.values(), *closed.values())
    if decide(relu, _MANY) != "holds":
        return Verdict(
            "does not hold", f"ReLU itself leaves {relu.value:.0f} % without gradient: no death to prevent.", effects
        )
    answers = {label: decide(effect, _FEW, sign=-1) for label, effect in stuck.items()}

    def told(*wanted: str) -> str:
        return ", ".join(
            f"{ACTIVATIONS[label].title} {stuck[label].value:.0f} %"
            for label, answer in answers.items()
            if answer in wanted
        )

    shut = ", ".join(f"{ACTIVATIONS[label].title} {effect.value:.0f} %" for label, effect in closed.items())
    gained = ", ".join(f"{ACTIVATIONS[label].title} {effect.value:+.0f}" for label, effect in gains.items())
    rest = (
        f"ReLU leaves {relu.value:.0f} %. To have a gradient is not yet to work: closed at every image (of a leaky one "
        f"a straight line is left) are {shut}. Points of accuracy against ReLU in the same training: {gained}."
    )
    if all(answer == "holds" for answer in answers.values()):
        return Verdict("holds", f"Units whose gradient is nowhere above a thousandth: {told('holds')}. {rest}", effects)
    if "holds" not in answers.values():
        return Verdict(
            "does not hold", f"Units are without gradient all the same: {told(*answers.values())}. {rest}", effects
        )
    return Verdict(
        "depends",
        f"On which one. Units without gradient: few with {told('holds')}; many, as the function flattens out or the "
        f"training breaks off, with {told('does not hold', 'not enough')}. {rest}",
        effects,
    )


def _figure(results: Results) -> Chart:
    effects, groups = [], []
    for label in ("relu", *_VARIANTS):
        effects += [_stuck(results, label), _closed(results, label)]
        groups += ["no gradient", "closed at every image"]
    return intervals(
        effects,
        x_title="per cent of the units",
        caption="Units after three trainings that silence ReLU's (ten times the usual step size with momentum, and "
        "with Adam; initial biases of −1), the mean of the three. No gradient: a derivative above 0.001 at no image; "
        "a training that broke off counts as all. Closed: z at or below 0 at every image, which for ReLU is called "
        "silent, and not counted here.",
        alt="; ".join(effect.told for effect in effects),
        groups=groups,
    )


CLAIM = Claim(
    name="variants-that-live",
    group="death",
    place=20,
    statement="Leaky ReLU, PReLU, ELU, SELU and softplus keep units from dying.",
    source="Maas, Hannun and Ng 2013; He et al. 2015, arXiv:1502.01852; Clevert et al. 2016, arXiv:1511.07289; CS231n.",
    refuted_by="In trainings that leave over 40 % of ReLU's units without gradient, 5 % or more of a variant's without "
    "one. It depends where that is so of some variants.",
    method="The digits' plain networks of 3 layers of 64 units are trained three times as they should not be: at ten "
    "times the usual step size with momentum, the same with Adam, and with initial biases of −1. All is the same for "
    "each activation but its gain. Then all 1,797 images are shown: a unit has no gradient where its derivative is "
    "nowhere above 0.001, and is closed where rectifier.check finds z at or below 0 at every image.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
