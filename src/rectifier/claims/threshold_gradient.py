"""A threshold's derivative is 0: what lies before it does not learn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.excursions import excursion
from .experiments.signals import derivatives, signals
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, mean
from .lab.verdicts import all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DEPTH = 3
_TITLES = {"threshold": "threshold", "relu": "ReLU"}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    many = 200_000 if plan.quick else 5_000_000
    for seed in plan.seeds:
        for dtype in ("float16", "float32", "float64"):
            yield Run(derivatives, {"activation": "threshold", "dtype": dtype, "many": many, "seed": seed})
        yield Run(signals, {"activation": "threshold", "depth": 20, "width": 64, "scale": 1.0, "seed": seed})
        for label in _TITLES:
            yield Run(excursion, {"activation": label, "depth": _DEPTH, "step": 0.1, "budget": 100, "seed": seed})


def _moved(results: Results, label: str) -> list[Effect]:
    """How far each layer's weights went, in percent of their length; the output layer last."""
    table = 100 * results.where("excursion", activation=label).values("moved")
    names = [*(f"hidden layer {place}" for place in range(1, _DEPTH + 1)), "output layer"]
    return [mean(column, f"{_TITLES[label]}, {name}", "%") for name, column in zip(names, table.T, strict=True)]


def _judge(results: Results) -> Verdict:
    seeds = results.seeds
    of_derivative = [
        max(max(abs(row["lowest"]), abs(row["highest"])) for row in results.where("derivatives").of_seeds([seed]))
        for seed in seeds
    ]
    size = mean(of_derivative, "largest size of the threshold's derivative")
    passed = mean([max(row["gradients"]) for row in results.where("signals")], "gradient passed through 20 thresholds")
    hidden = np.max([row["moved"][:-1] for row in results.where("excursion", activation="threshold")], axis=1)
    stayed = mean(100 * hidden, "threshold: largest move of hidden weights in 100 steps", "%")
    output, relu = _moved(results, "threshold")[-1], _moved(results, "relu")[0]
    answer = all_of(*("holds" if effect.high == 0 else "does not hold" for effect in (size, passed, stayed)))
    told = (
        "Not one number has a derivative other than 0, and no weight before a threshold moved by a single bit in 100 "
        f"steps. The output layer did (by {output.value:.0f} % of its length), so such a network learns, but from "
        f"random features; with ReLU in its place the first layer moved by {relu.value:.0f} %."
        if answer == "holds"
        else "Something passed a threshold: a derivative other than 0, or a hidden weight that moved."
    )
    return Verdict(answer, told, (stayed, size, passed, output, relu))


def _figure(results: Results) -> Chart:
    effects = [effect for label in _TITLES for effect in _moved(results, label)]
    return intervals(
        effects,
        x_title="how far the weights went in 100 steps (% of their length)",
        caption="How far the weights of each layer went. A layer at 0 did not learn; what is claimed is that of all "
        "layers with thresholds the output layer alone does. ReLU stands beside it.",
        alt="; ".join(effect.told for effect in effects),
        groups=[title for title in _TITLES.values() for _ in range(_DEPTH + 1)],
    )


CLAIM = Claim(
    name="threshold-gradient",
    group="gradient",
    place=20,
    statement="A threshold's derivative is 0, so nothing before it learns by gradient.",
    source="Rosenblatt's perceptron has one; Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, replaced it.",
    refuted_by="One number at which the derivative is not 0, or one weight before a threshold that moves.",
    method="The derivative at numbers drawn over all bit patterns (float16: all of them); the gradient that 20 layers "
    "of thresholds pass; and 100 updates of the digits' network of 3 layers with a step of 0.1, with thresholds and "
    "with ReLU: how far each layer's weights go.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
