"""ReLU reaches a given accuracy in less time than sigmoid and tanh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.compared import LABELS, METHOD, TASKS_TAKEN, Compared, across, chart, compared, where
from .experiments.trained import timed
from .fewer_steps import runs, updates
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.plan import Plan
from .lab.results import Results

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: Times as much time that counts as more.
_MORE = 1.1
#: Updates that are timed, with a step size with which nothing diverges.
_TIMED = {"budget": 60, "step": 0.01}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    yield from runs(plan, done)
    for seed in plan.seeds:
        for task in TASKS_TAKEN:
            # One after another, so that what is compared is timed within seconds.
            for label in LABELS:
                yield Run(timed, {"task": task, "activation": label, **_TIMED, "seed": seed})


def _of_one(results: Results, task: str, label: str) -> npt.NDArray[np.float64]:
    """Seconds of one update, one entry a seed."""
    rows = results.where("timed", task=task, activation=label)
    seconds: npt.NDArray[np.float64] = rows.values("seconds") / rows.values("updates")
    return seconds


def _found(results: Results) -> Compared:
    return compared(
        lambda task, label: updates(results, task, label) * _of_one(results, task, label),
        lambda rival: f"{rival} ÷ ReLU",
        "times",
        times=True,
    )


def _judge(results: Results) -> Verdict:
    found = _found(results)
    one = compared(
        lambda task, label: _of_one(results, task, label),
        lambda rival: f"one update: {rival} ÷ ReLU",
        "times",
        times=True,
    )
    answers = found.answers(_MORE)
    told = (
        f"Time to the score, as a multiple of ReLU's, mean of the tasks: {found.by_rival}. ReLU is there sooner, by a "
        f"tenth and more, {where(answers)}. The time of one update, as a multiple "
        f"of ReLU's: {one.by_rival}."
    )
    return Verdict(across(answers.values()), told, (*found.effects, *one.overall.values()))


def _figure(results: Results) -> Chart:
    told = "Processor time to a given validation score, on each task; 95 % intervals."
    return chart(_found(results), "time", told, times=True)


CLAIM = Claim(
    name="less-time",
    group="training",
    place=20,
    statement="Networks with ReLU reach a given accuracy in less time than those with sigmoid and tanh.",
    source="Krizhevsky, Sutskever and Hinton 2012, section 3.1, of training time.",
    refuted_by="Sigmoid or tanh that takes less than 1.1 times as long as ReLU. It depends where that is so on some "
    "tasks, or of one of the two.",
    method=f"{METHOD} the updates to that accuracy. The time is that of fewer-steps' updates: their number times the "
    "processor time of one, which is the mean of 60 updates, on one thread, while nothing else of the laboratory runs. "
    "The layers that are timed are PyTorch's own.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
