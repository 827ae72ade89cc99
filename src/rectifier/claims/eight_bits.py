"""Rectified networks keep their accuracy in 8-bit fixed point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .experiments.fixed_point import BITS, fixed_point
from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import best_step, tuned
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, counted, decide, mean
from .lab.verdicts import all_of, curve
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

TASKS_TAKEN = {"digits-mlp": "plain network", "digits-cnn": "convolutions"}
LABELS = ("relu", "relu6", "tanh", "sigmoid")
#: Points of accuracy that may go.
_LOSS = 1.0


def runs(plan: Plan, done: Results) -> Iterator[Run]:
    """Each activation on each task at its own best step size, found by the runs that other claims need too."""
    for name in TASKS_TAKEN:
        task = TASKS[name]
        steps = task.grid(plan.quick)
        for label in LABELS:
            candidate = {"task": name, "activation": label, "budget": task.budget(plan.quick)}
            yield from tuned(trained, [candidate], plan, done, steps=steps)
            step = best_step(trained, candidate, plan, done, steps=steps)
            if step is not None:
                yield from (Run(fixed_point, {**candidate, "step": step, "seed": seed}) for seed in plan.seeds)


def lost(results: Results, label: str, bits: int, tasks: Sequence[str] = tuple(TASKS_TAKEN)) -> np.ndarray:
    """Points of test accuracy lost against float64, one entry a seed, the mean of the tasks."""
    parts = [results.where("fixed_point", activation=label, task=task) for task in tasks]
    each = [100 * (part.values("exact") - part.values("fixed")[:, BITS.index(bits)]) for part in parts]
    mean_of_tasks: np.ndarray = np.mean(each, axis=0)
    return mean_of_tasks


def _judge(results: Results) -> Verdict:
    unit = "points of accuracy"
    of_task: list[Effect] = [
        counted(mean(lost(results, "relu", 8, [task]), f"ReLU, {told}, 8 bits: lost", unit), TASKS[task].tested)
        for task, told in TASKS_TAKEN.items()
    ]
    changed = mean(
        np.mean(
            [
                100 * results.where("fixed_point", activation="relu", task=t).values("changed")[:, 0]
                for t in TASKS_TAKEN
            ],
            0,
        ),
        "ReLU, 8 bits: images called otherwise",
        "%",
    )
    four = mean(lost(results, "relu", 4), "ReLU, 4 bits: lost", unit)
    three = mean(lost(results, "relu", 3), "ReLU, 3 bits: lost", unit)
    answer = all_of(*(decide(effect, _LOSS, sign=-1) for effect in of_task))
    told = (
        f"In 8 bits ReLU's networks lose {of_task[0].value:.2f} and {of_task[1].value:.2f} points of accuracy against "
        f"float64 and call {changed.value:.1f} % of the images otherwise; in 4 bits they lose {four.value:.1f}, in 3 "
        f"{three.value:.0f}. Whether ReLU bears it better than others: see few-bits."
    )
    return Verdict(answer, told, (*of_task, changed, four, three))


def _figure(results: Results) -> Chart:
    lines = [
        curve(ACTIVATIONS[label].title, BITS, np.array([lost(results, label, bits) for bits in BITS]).T)
        for label in LABELS
    ]
    told = "; ".join(f"{line.name} " + ", ".join(f"{y:.1f}" for y in line.y) for line in lines)
    return curves(
        lines,
        x_title="bits of each weight and activation",
        y_title="accuracy lost (points)",
        caption="Points of accuracy lost against float64, the mean of a plain and a convolutional network on the "
        "digits; bands: 95 % intervals over the seeds. Read from right to left; the claim allows a point at 8 bits.",
        alt=f"Points lost at {', '.join(map(str, BITS))} bits: {told}.",
    )


CLAIM = Claim(
    name="eight-bits",
    group="precision",
    place=10,
    statement="Networks of rectified units keep their accuracy with weights and activations in 8-bit fixed point.",
    source="Jacob et al. 2018, arXiv:1712.05877; Howard et al. 2017, arXiv:1704.04861 (ReLU6 for low precision).",
    refuted_by="A task on which ReLU's network loses a point of accuracy or more against float64.",
    method="A plain and a convolutional network learn the digits in float32, each at its own best step size, and are "
    "not trained further. Then every weight tensor, the input and each activation are whole numbers of 8 (6, 5, 4, 3) "
    "bits times one power of two, the finest that holds the largest number met in training images; what lies beyond "
    "saturates. Activations that are never negative have no sign bit. Sums are exact, as in accumulators of 32 bits.",
    runs=runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
