"""ReLU against sigmoid and tanh on several tasks: the runs that claims of training share, and how they are compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..lab.activations import ACTIVATIONS
from ..lab.claim import Answer
from ..lab.experiment import Config, Run
from ..lab.fair import tuned
from ..lab.figures import intervals
from ..lab.plan import Plan
from ..lab.results import Results
from ..lab.statistics import Effect, decide, paired, ratio
from ..tasks import TASKS
from .trained import trained

if TYPE_CHECKING:
    from ...reporters.page import Chart

__all__ = [
    "LABELS",
    "METHOD",
    "RIVALS",
    "TASKS_TAKEN",
    "Compared",
    "across",
    "candidate",
    "chart",
    "compared",
    "runs",
    "where",
]

#: Task → its name in sentences.
TASKS_TAKEN = {
    "digits-mlp": "digits",
    "digits-cnn": "digits by convolutions",
    "rows": "digits by rows",
    "tabular": "tabular",
    "speech": "speech",
    "text": "text",
}
RIVALS = ("sigmoid", "tanh")
LABELS = ("relu", *RIVALS)
METHOD = (
    "Six tasks (a plain, a convolutional and a recurrent network on digits, tabular data, speech, text), the same "
    "budget of updates, order of the data and seeds for all; initial weights by the gain of each activation; each at "
    "its own best step size from one grid, chosen on two other seeds by"
)

Floats = npt.NDArray[np.float64]


def candidate(plan: Plan, task: str, label: str) -> Config:
    """As the other claims that train this task say it, which then share its runs."""
    return {"task": task, "activation": label, "budget": TASKS[task].budget(plan.quick)}


def runs(plan: Plan, done: Results, goals: Mapping[str, float] | None = None) -> Iterator[Run]:
    """goals: task → validation score that the best step size reaches in the fewest updates; without them the best is
    the one that ends with the best score.
    """
    for name in TASKS_TAKEN:
        task = TASKS[name]
        candidates = [candidate(plan, name, label) for label in LABELS]
        steps = task.grid(plan.quick)
        if goals is None:
            yield from tuned(trained, candidates, plan, done, steps=steps)
        else:
            score = f"updates_to_{goals[name]:g}"
            yield from tuned(trained, candidates, plan, done, steps=steps, score=score, best="lowest")


@dataclass(frozen=True)
class Compared:
    """What separates ReLU from each rival."""

    overall: Mapping[str, Effect]
    """Rival → the mean over the tasks."""
    cells: Mapping[tuple[str, str], Effect]
    """Rival and task → there alone."""

    @property
    def effects(self) -> tuple[Effect, ...]:
        return (*self.overall.values(), *self.cells.values())

    @property
    def by_rival(self) -> str:
        """The values over all tasks, in words."""
        return ", ".join(f"{ACTIVATIONS[rival].title} {effect.value:.2f}" for rival, effect in self.overall.items())

    def answers(self, at_least: float) -> dict[tuple[str, str], Answer]:
        return {cell: decide(effect, at_least) for cell, effect in self.cells.items()}


def compared(
    value: Callable[[str, str], npt.ArrayLike], told: Callable[[str], str], unit: str, *, times: bool = False
) -> Compared:
    """value: task and label → one number a seed. told: a rival's title → what the effect is of.

    The effect is ReLU − rival; with ``times`` it is rival ÷ ReLU, of times and counts. Either is larger where ReLU is
    the better.
    """

    def effect(one: Any, other: Any, what: str) -> Effect:
        return ratio(one, other, what, unit) if times else paired(other, one, what, unit)

    overall, cells = {}, {}
    for rival in RIVALS:
        what = told(ACTIVATIONS[rival].title)
        tables = [np.array([value(task, label) for task in TASKS_TAKEN], float) for label in (rival, "relu")]
        for task, one, other in zip(TASKS_TAKEN, *tables, strict=True):
            cells[rival, task] = effect(one, other, f"{what}, {TASKS_TAKEN[task]}")
        of_rival, of_relu = (np.exp(np.log(table).mean(axis=0)) if times else table.mean(axis=0) for table in tables)
        overall[rival] = effect(of_rival, of_relu, f"{what}, mean of the tasks")
    return Compared(overall, cells)


def across(answers: Collection[Answer]) -> Answer:
    """One answer of a statement that is said of everything.

    It depends where it is seen to hold of some and seen not to hold of others; what is open is neither. Each answer is
    by an interval of its own: of twelve, one may lie beside the truth by chance.

    >>> across(["holds", "not enough", "does not hold"]), across(["holds", "not enough"])
    ('depends', 'not enough')
    """
    found = set(answers)
    if {"holds", "does not hold"} <= found:
        return "depends"
    if "does not hold" in found:
        return "does not hold"
    return "holds" if found == {"holds"} else "not enough"


def where(answers: Mapping[tuple[str, str], Answer]) -> str:
    """On which tasks it holds against each rival, and on how many the seeds leave it open.

    >>> where({("sigmoid", "text"): "holds", ("sigmoid", "rows"): "holds", ("tanh", "text"): "does not hold"})
    'against sigmoid on 2 of 2 tasks; against tanh on 0 of 1'
    >>> where({("tanh", "text"): "holds", ("tanh", "rows"): "not enough", ("tanh", "speech"): "does not hold"})
    'against tanh on 1 of 3 tasks (text), open on 1'
    """
    parts: list[str] = []
    for rival in dict.fromkeys(rival for rival, _ in answers):
        tasks = [task for other, task in answers if other == rival]
        held = [task for task in tasks if answers[rival, task] == "holds"]
        named = f" ({', '.join(TASKS_TAKEN[task] for task in held)})" if 0 < len(held) < len(tasks) else ""
        undecided = sum(answers[rival, task] == "not enough" for task in tasks)
        left = f", open on {undecided}" if undecided else ""
        noun = "" if parts else " tasks"
        parts.append(f"against {ACTIVATIONS[rival].title} on {len(held)} of {len(tasks)}{noun}{named}{left}")
    return "; ".join(parts)


def chart(found: Compared, what: str, caption: str, *, times: bool = False) -> Chart:
    """All cells, beside the line where both are alike; ``times`` as in :func:`compared`."""
    title, better = (
        (f"{what} of the other, as a multiple of ReLU's", "faster")
        if times
        else (f"{what} by which ReLU is better", "better")
    )
    return intervals(
        list(found.cells.values()),
        x_title=title,
        caption=f"{caption} To the right of the line ReLU is the {better}.",
        alt="; ".join(effect.told for effect in found.cells.values()),
        reference=1.0 if times else 0.0,
        groups=[ACTIVATIONS[rival].title for rival, _ in found.cells],
    )
