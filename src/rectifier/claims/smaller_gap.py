"""ReLU generalises better: a smaller gap between training and test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .experiments.compared import METHOD, TASKS_TAKEN, Compared, across, chart, compared, runs, where
from .final_accuracy import by_examples
from .lab.claim import Claim, Verdict
from .lab.results import Results

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: Points that count as smaller.
_SMALLER = 0.5


def _gap(results: Results, task: str, label: str) -> np.ndarray:
    rows = results.where("trained", task=task, activation=label)
    points: np.ndarray = 100 * (rows.values("train") - rows.values("test"))
    return points


def _found(results: Results) -> Compared:
    # Turned round, so that larger is better.
    found = compared(
        lambda task, label: -_gap(results, task, label), lambda rival: f"gap of {rival} − ReLU's", "points"
    )
    return by_examples(found)


def _judge(results: Results) -> Verdict:
    found = _found(results)
    answers = found.answers(_SMALLER)
    relu, sigmoid, tanh = (
        float(np.mean([_gap(results, task, label) for task in TASKS_TAKEN])) for label in ("relu", "sigmoid", "tanh")
    )
    told = (
        f"Between training and test lie {relu:.1f} points with ReLU, {sigmoid:.1f} with sigmoid and {tanh:.1f} with "
        f"tanh, mean of the tasks. ReLU's gap is smaller by half a point and more {where(answers)}. A small gap alone "
        "is no merit: a network that has learned little has one too."
    )
    return Verdict(across(answers.values()), told, found.effects)


def _figure(results: Results) -> Chart:
    return chart(_found(results), "points of the gap", "Training score − test score, on each task; 95 % intervals.")


CLAIM = Claim(
    name="smaller-gap",
    group="training",
    place=40,
    statement="Networks with ReLU generalise better than those with sigmoid and tanh: less lies between training and "
    "test.",
    source="Told with the accuracy, of sparse activations: Glorot, Bordes and Bengio 2011, PMLR 15:315–323.",
    refuted_by="A gap of sigmoid or tanh that is less than half a point larger than ReLU's. It depends where that is "
    "so on some tasks, or of one of the two.",
    method=f"{METHOD} the validation score at the end. The gap is the score on the training part less that on the test "
    "part there, seed by seed.",
    runs=runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
