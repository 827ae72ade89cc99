"""Units of a ReLU network go dormant while a policy is learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .default_activation import LABELS
from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import tuned
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired
from .lab.verdicts import curve
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_TASK = "cartpole"
#: In full those of default-activation, whose runs on this task these are.
_LABELS = {True: ("relu", "leaky_relu", "tanh"), False: LABELS[False]}
#: Points of the units that must go dormant on the way.
_MORE = 10.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    task = TASKS[_TASK]
    steps, budget = task.grid(plan.quick), task.budget(plan.quick)
    candidates = [{"task": _TASK, "activation": label, "budget": budget} for label in _LABELS[plan.quick]]
    yield from tuned(trained, candidates, plan, done, steps=steps)


def _ended(results: Results, label: str) -> Results:
    """The trainings that came to their end."""
    return Results(row for row in results.where(activation=label) if not row["diverged"])


def _dormant(results: Results, label: str) -> npt.NDArray[np.float64]:
    """Per cent of the units, (seeds, looks)."""
    return np.array([[100 * share for share in row["dormant_curve"]] for row in _ended(results, label)], dtype=float)


def _told(label: str, what: str, shares: npt.NDArray[np.float64]) -> Effect:
    return mean(shares, f"{ACTIVATIONS[label].title}: {what}", "% of the units")


def _judge(results: Results) -> Verdict:
    labels = list(results.by("activation"))
    broken = {label: len(results.where(activation=label)) - len(_ended(results, label)) for label in labels}
    tables = {label: _dormant(results, label) for label in labels if len(_ended(results, label))}
    off = ", ".join(f"{ACTIVATIONS[label].title} {many}" for label, many in broken.items() if many)
    left_out = f" Trainings that broke off, and are left out: {off}." if off else ""
    if "relu" not in tables:
        return Verdict("not enough", f"With ReLU no training came to its end.{left_out}")
    grown = {label: _grown(label, table) for label, table in tables.items()}
    first, last = (_told("relu", f"dormant at the {at} look", tables["relu"][:, k]) for at, k in _ENDS.items())
    silent = _told("relu", "silent at the end", 100 * _ended(results, "relu").values("silent"))
    played = 100 * float(_ended(results, "relu").values("test").mean())
    others = ", ".join(
        f"{ACTIVATIONS[label].title} {table[:, 0].mean():.0f} → {table[:, -1].mean():.0f} %"
        for label, table in tables.items()
        if label != "relu"
    )
    told = (
        f"Of ReLU's units {first.value:.0f} % are dormant at the first look and {last.value:.0f} % at the last, "
        f"{silent.value:.0f} % silent among them; its policies get {played:.0f} % of the largest return. The others: "
        f"{others or 'none'}.{left_out}"
    )
    rest = (effect for label, effect in grown.items() if label != "relu")
    return Verdict(decide(grown["relu"], _MORE), told, (grown["relu"], first, last, silent, *rest))


#: The looks of a training that are held against each other.
_ENDS = {"first": 0, "last": -1}


def _grown(label: str, table: npt.NDArray[np.float64]) -> Effect:
    first, last = (table[:, place] for place in _ENDS.values())
    return paired(last, first, f"{ACTIVATIONS[label].title}: dormant at the last − at the first look", "% of the units")


def _figure(results: Results) -> Chart:
    lines = []
    for label in results.by("activation"):
        if len(rows := _ended(results, label)):
            lines.append(curve(ACTIVATIONS[label].title, rows.rows[0]["at"], _dormant(results, label)))
    told = "; ".join(f"{line.name} {line.y[0]:.0f} → {line.y[-1]:.0f} %" for line in lines)
    return curves(
        lines,
        x_title="updates",
        y_title="dormant units (% of all)",
        caption="Units whose mean |h| is at most 0.025 of their layer's, on the states just seen, while a policy is "
        f"learned; bands: 95 % intervals over the seeds. What is claimed of ReLU's line is that it rises by {_MORE:g} "
        "points and more.",
        alt=f"Dormant units at the first and at the last look: {told}.",
    )


CLAIM = Claim(
    name="dormant-units",
    group="death",
    place=60,
    statement="Units of a ReLU network go dormant while a policy is learned.",
    source="Sokar, Agarwal, Castro and Evci 2023, arXiv:2302.12902, of deep reinforcement learning by values.",
    refuted_by="Not 10 % of ReLU's units more that are dormant at the end of training than at the first look.",
    method="CartPole by an actor and a critic, two networks of two hidden layers of 64 units, by Adam with a step size "
    "that falls to 0, each activation at its own best one of the grid: in full the runs of default-activation on this "
    "task. At 20 looks, the first after a twentieth of the updates, rectifier.check counts on the states just seen the "
    "units whose mean |h| is at most 0.025 of their layer's, the silent ones included. Data that change with the "
    "policy are what the source names as the cause; its networks, games and numbers of updates are far larger.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 5),
)
