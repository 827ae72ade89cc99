"""Deeper rectified networks train where sigmoid networks do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Config, Run
from .lab.fair import tuned
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import decide, mean, paired
from .lab.verdicts import all_of, curve
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_TASK = "digits-mlp"
_USUAL = 3
_DEEPEST = 20
_DEPTHS = {True: (_USUAL, 8, _DEEPEST), False: (2, _USUAL, 5, 8, 12, _DEEPEST)}
_LABELS = ("relu", "tanh", "sigmoid")


def _candidate(plan: Plan, label: str, depth: int) -> Config:
    task = TASKS[_TASK]
    common: dict[str, Any] = {"task": _TASK, "activation": label, "budget": task.budget(plan.quick)}
    # The usual depth unsaid, as in the other claims, which then share these runs.
    return common if depth == _USUAL else {**common, "depth": depth}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    task = TASKS[_TASK]
    steps = task.grid(plan.quick)
    candidates = [_candidate(plan, label, depth) for label in _LABELS for depth in _DEPTHS[plan.quick]]
    candidates.append({**_candidate(plan, "sigmoid", _DEEPEST), "norm": "batch"})
    yield from tuned(trained, candidates, plan, done, steps=steps)


def _points(results: Results, label: str, depth: int, norm: str | None = None) -> np.ndarray:
    """Test accuracy in points."""
    return np.array(
        [
            100 * row["test"]
            for row in results.where(activation=label)
            if row.config.get("depth", _USUAL) == depth and row.config.get("norm") == norm
        ]
    )


def _judge(results: Results) -> Verdict:
    deep = {label: _points(results, label, _DEEPEST) for label in _LABELS}
    unit = "points of accuracy"
    relu = mean(deep["relu"], f"ReLU, {_DEEPEST} layers", unit)
    gap = paired(deep["relu"], deep["sigmoid"], f"ReLU − sigmoid, {_DEEPEST} layers", unit)
    shallow = paired(
        _points(results, "relu", _USUAL), _points(results, "sigmoid", _USUAL), f"ReLU − sigmoid, {_USUAL} layers", unit
    )
    tanh = paired(deep["relu"], deep["tanh"], f"ReLU − tanh, {_DEEPEST} layers", unit)
    normed = mean(_points(results, "sigmoid", _DEEPEST, "batch"), f"sigmoid with batch norm, {_DEEPEST} layers", unit)
    answer = all_of(decide(relu, 50.0), decide(gap, 30.0))
    saved = "trains them" if normed.low > 50 else "does not train them"
    told = (
        f"With {_DEEPEST} layers ReLU reaches {relu.value:.0f} % of the digits and sigmoid "
        f"{np.mean(deep['sigmoid']):.0f} % (guessing: 10 %), each at its best step size. Tanh reaches "
        f"{np.mean(deep['tanh']):.0f} %, and batch normalisation before each sigmoid {saved} "
        f"({normed.value:.0f} %)."
    )
    return Verdict(answer, told, (gap, relu, shallow, tanh, normed))


def _figure(results: Results) -> Chart:
    depths = sorted({row.config.get("depth", _USUAL) for row in results})
    lines = []
    for label in _LABELS:
        table = np.array([_points(results, label, depth) for depth in depths]).T
        lines.append(curve(ACTIVATIONS[label].title, depths, table))
    normed = _points(results, "sigmoid", _DEEPEST, "batch")
    lines.append(curve("sigmoid, batch norm", [_DEEPEST], normed[:, None]))
    told = "; ".join(f"{line.name}: " + ", ".join(f"{y:.0f} %" for y in line.y) for line in lines)
    return curves(
        lines,
        x_title="hidden layers",
        y_title="accuracy on the test (%)",
        caption="Accuracy of plain networks on the digits over their depth, each at its own best step size; bands: 95 "
        "% intervals over the seeds. Guessing gives 10 %.",
        alt=f"Accuracy at {', '.join(map(str, depths))} layers. {told}.",
    )


CLAIM = Claim(
    name="deep-training",
    group="need",
    place=20,
    statement="Deep plain networks of rectified units can be trained where those of sigmoids cannot.",
    source="Glorot and Bengio 2010 (sigmoids); Glorot, Bordes and Bengio 2011; He et al. 2015, arXiv:1502.01852.",
    refuted_by="With 20 hidden layers, ReLU that stays at or below half of the digits, or that is not 30 points of "
    "accuracy above sigmoid.",
    method="Plain networks of 64 units a layer learn the digits, with ReLU, tanh and sigmoid, each with initial "
    "weights by its own gain and at its own best step size from one grid; same order of the data, same budget, paired "
    "seeds. As a control, sigmoids with batch normalisation before each.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
