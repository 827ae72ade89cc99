"""ReLU ends more accurate than sigmoid and tanh."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .experiments import compared as comparing
from .experiments.compared import METHOD, Compared, across, chart, compared, runs, where
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.results import Results
from .lab.statistics import counted
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: Points that count as better.
_BETTER = 0.5


def _found(results: Results) -> Compared:
    def points(task: str, label: str) -> object:
        return 100 * results.where("trained", task=task, activation=label).values("test")

    return by_examples(compared(points, lambda rival: f"ReLU − {rival}", "points"))  # type: ignore[arg-type]


def by_examples(found: Compared) -> Compared:
    """Where all seeds of a task are alike, its interval is one example wide to either side."""
    return replace(found, cells={cell: counted(effect, TASKS[cell[1]].tested) for cell, effect in found.cells.items()})


def _judge(results: Results) -> Verdict:
    found = _found(results)
    answers = found.answers(_BETTER)
    told = (
        f"Points by which ReLU is above on the test, mean of the tasks: {found.by_rival}. It is better by half a "
        f"point and more {where(answers)}.{_broken_down(results)}"
    )
    return Verdict(across(answers.values()), told, found.effects)


def _broken_down(results: Results) -> str:
    """Trainings that end nearer to guessing than to what the best activation usually ends with, in words."""
    found = []
    for task, title in comparing.TASKS_TAKEN.items():
        tests = {
            label: results.where("trained", task=task, activation=label).values("test") for label in comparing.LABELS
        }
        middle = (TASKS[task].chance + max(float(np.median(scores)) for scores in tests.values())) / 2
        for label, scores in tests.items():
            if many := int((scores < middle).sum()):
                found.append(f"{ACTIVATIONS[label].title} {many} of {len(scores)} on {title}")
    return (
        f" Trainings that broke down, at the step size that two other seeds chose: {', '.join(found)}." if found else ""
    )


def _figure(results: Results) -> Chart:
    return chart(_found(results), "points of the test score", "Test score at the end, on each task; 95 % intervals.")


CLAIM = Claim(
    name="final-accuracy",
    group="training",
    place=30,
    statement="Networks with ReLU end more accurate on new data than those with sigmoid and tanh.",
    source="Glorot, Bordes and Bengio 2011, AISTATS, PMLR 15:315–323, table 1.",
    refuted_by="A test score of ReLU less than half a point above that of sigmoid or of tanh. It depends where that is "
    "so on some tasks, or of one of the two.",
    method=f"{METHOD} the validation score at the end. Compared is the test score there, seed by seed, in hundredths: "
    "accuracy; for text the share of the bits saved. The test parts are small (114 to 450 examples; text: 4,000): "
    "intervals are over seeds, and another test part would move all of them.",
    runs=runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
