"""Half of the activations are zero at the start."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.compared import TASKS_TAKEN, candidate
from .experiments.trained import trained
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import tuned
from .lab.figures import heatmap
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import decide, mean, paired
from .lab.verdicts import all_of
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: One update, so small that it moves nothing: the network as it begins.
_BEGIN = {"budget": 1, "step": 1e-9}
#: Points around a half.
_NEAR = 5.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name in TASKS_TAKEN:
        task = TASKS[name]
        config = candidate(plan, name, "relu")
        yield from tuned(trained, [config], plan, done, steps=task.grid(plan.quick))
        yield from (Run(trained, {**config, **_BEGIN, "seed": seed}) for seed in plan.seeds)


def _rows(results: Results, task: str, *, begin: bool) -> Results:
    rows = results.where(task=task)
    return Results(row for row in rows if (row.config["budget"] == 1) == begin)


def _zeros(results: Results, task: str, *, begin: bool) -> np.ndarray:
    """Share of zeros, %; one entry a seed, NaN where the training broke off."""
    shares: np.ndarray = 100 * _rows(results, task, begin=begin).values("zeros").astype(float)
    return shares


def _judge(results: Results) -> Verdict:
    begun = {task: _zeros(results, task, begin=True) for task in TASKS_TAKEN}
    ended = {task: _zeros(results, task, begin=False) for task in TASKS_TAKEN}
    kept = {task: np.isfinite(zeros) for task, zeros in ended.items()}
    # A mean of the tasks is of the seeds whose trainings all came to their end.
    whole = np.all(list(kept.values()), axis=0)
    overall = [np.mean(list(tables.values()), axis=0) for tables in (begun, ended)]
    start = mean(overall[0], "zeros as it begins, mean of the tasks", "%")
    end = mean(overall[1][whole], "zeros when trained, mean of the tasks", "%")
    more = paired(overall[1][whole], overall[0][whole], "trained − as it begins, mean of the tasks", "points")
    each = [
        paired(ended[task][kept[task]], begun[task][kept[task]], f"trained − as it begins, {title}", "points")
        for task, title in TASKS_TAKEN.items()
    ]
    answer = all_of(decide(start, 50 - _NEAR), decide(start, 50 + _NEAR, sign=-1))
    broken = {title: int((~kept[task]).sum()) for task, title in TASKS_TAKEN.items()}
    off = ", ".join(f"{title} {many}" for title, many in broken.items() if many)
    told = (
        f"{start.value:.0f} % are zero at the start, and {_percent(end.value)} after training: by task "
        + ", ".join(
            f"{title} {begun[task].mean():.0f} → {_percent(mean(ended[task][kept[task]], title).value)}"
            for task, title in TASKS_TAKEN.items()
        )
        + ". By layer: see the figure."
        + (f" Trainings that broke off, and are left out: {off}." if off else "")
    )
    return Verdict(answer, told, (start, end, more, *each))


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.0f} %"


def _layers(results: Results, task: str, *, begin: bool) -> list[float]:
    """Share of zeros by layer, the mean of the seeds; empty where all trainings broke off, which leave none."""
    lists = [found for row in _rows(results, task, begin=begin) if (found := row["zeros_by_layer"])]
    return [100 * float(share) for share in np.mean(lists, axis=0)] if lists else []


def _figure(results: Results) -> Chart:
    names, table = [], []
    for task, title in TASKS_TAKEN.items():
        for begin, time in ((True, "begins"), (False, "trained")):
            names.append(f"{title}, {time}")
            table.append(_layers(results, task, begin=begin))
    many = max(1, *map(len, table))
    told = "; ".join(
        f"{name}: {', '.join(f'{v:.0f} %' for v in line) or 'none'}" for name, line in zip(names, table, strict=True)
    )
    return heatmap(
        [[*line, *[math.nan] * (many - len(line))] for line in table],
        x_labels=[str(place) for place in range(1, many + 1)],
        y_labels=names,
        x_title="hidden layer, counted from the input; by rows: step in time",
        y_title="network",
        caption="Share of the activations that are exactly zero (%), as the network begins and when it is trained; the "
        "mean of the seeds whose training came to its end. The recurrent network has one layer, shown step by step.",
        alt=f"Zeros by layer. {told}.",
        told=lambda value: "–" if math.isnan(value) else f"{value:.0f}",
    )


CLAIM = Claim(
    name="half-zero",
    group="sparsity",
    place=10,
    statement="Half of the activations of a ReLU network are zero as it begins.",
    source="Glorot, Bordes and Bengio 2011, AISTATS, PMLR 15:315–323, section 3.",
    refuted_by="A share of zeros, the mean of the tasks, that is 5 points or more from 50 %.",
    method="Six tasks (a plain, a convolutional and a recurrent network on digits, tabular data, speech, text), "
    "initial weights by ReLU's gain and no biases. Counted on the validation part: activations that are exactly "
    "zero, of the network as it begins and after training at its best step size.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
