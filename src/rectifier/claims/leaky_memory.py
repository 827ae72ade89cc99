"""A leaky unit remembers for about 1/(1−α) steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.memory import remembered
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, mean
from .lab.verdicts import OPEN, all_of, curve

if TYPE_CHECKING:
    from ..reporters.page import Chart

_ALPHAS = (0.5, 0.8, 0.9, 0.98)
#: "About": by no more than this factor.
_ABOUT = 1.5


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    steps = 2000 if plan.quick else 20_000
    for seed in plan.seeds:
        for alpha in _ALPHAS:
            yield Run(remembered, {"alpha": alpha, "lags": 150, "steps": steps, "many": 100, "seed": seed})


def _shares(results: Results, measure: str, told: str) -> list[Effect]:
    return [
        mean(results.where(alpha=alpha).values(measure) * (1 - alpha), f"α = {alpha:g}: {told}, of 1/(1−α)", "times")
        for alpha in _ALPHAS
    ]


def _about(effect: Effect) -> Answer:
    if effect.low > 1 / _ABOUT and effect.high < _ABOUT:
        return "holds"
    return "does not hold" if effect.high <= 1 / _ABOUT or effect.low >= _ABOUT else "not enough"


def _judge(results: Results) -> Verdict:
    fades = _shares(results, "fades", "steps until an input's share falls to 1/e")
    ages = _shares(results, "age", "mean age of what is in the state")
    gradients = _shares(results, "gradient", "steps until the gradient falls to 1/e")
    answer = all_of(*(_about(effect) for effect in (*fades, *ages, *gradients)))
    told = (
        "The mean age of what is in the state is 1/(1−α). The share of an input, and the gradient to it, fall to 1/e "
        f"in {fades[-1].value:.2f} of that at α = {_ALPHAS[-1]:g} and {fades[0].value:.2f} at α = {_ALPHAS[0]:g}: it "
        "is −1/ln α, which 1/(1−α) comes near to as α comes near to 1."
        if answer == "holds"
        else OPEN
        if answer == "not enough"
        else "Something fades in a time that is not about 1/(1−α)."
    )
    return Verdict(answer, told, (*fades, ages[-1], gradients[-1]))


def _figure(results: Results) -> Chart:
    lines = []
    for alpha in _ALPHAS:
        table = results.where(alpha=alpha).values("kept")
        clear = int((table.mean(axis=0) > 0.02).argmin()) or table.shape[1]
        places = list(range(min(clear, 60)))
        lines.append(curve(f"α = {alpha:g}", places, table[:, places]))
    told = "; ".join(
        f"{line.name} falls below 1/e after "
        f"{next((x for x, y in zip(line.x, line.y, strict=True) if y < 1 / math.e), '60')} steps"
        for line in lines
    )
    return curves(
        lines,
        x_title="steps since the input",
        y_title="what is left of it in the state",
        caption="How much of an input is still in the state of a leaky unit driven by noise, as a share of what was "
        "there at first. The claim is that it falls to 1/e = 0.37 in about 1/(1−α) steps: 2, 5, 10 and 50.",
        alt=f"{told}.",
    )


CLAIM = Claim(
    name="leaky-memory",
    group="time scales",
    place=10,
    statement="A leaky unit, μ ← αμ + (1−α)v, remembers for about 1/(1−α) steps.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 10.9.2; Mozer 1992.",
    refuted_by="An α at which one of three measures is more than 1.5 times longer or shorter than 1/(1−α).",
    method="Leaky units with α of 0.5, 0.8, 0.9 and 0.98 are driven by noise, and their state is compared with each "
    "input of the last 150 steps: in how many steps does its share fall to 1/e? The same for the gradient to the "
    "inputs, by autograd; and the mean age of what is in the state, the last input counted as 1. Age and gradient are "
    "the same for every seed. The claim is one of α near 1: −(1−α)/ln α, the share's part of 1/(1−α), is 0.72 at 0.5, "
    "and an α of 0.3 would be beyond the bound.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
