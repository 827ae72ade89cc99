"""ReLU is less sensitive to the scale of the initial weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.compared import LABELS, RIVALS, across, candidate
from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Answer, Claim, Verdict
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

_TASKS = {"digits-mlp": "digits", "tabular": "tabular"}
#: Factors on weights that have each activation's own gain, beside 1.
_SCALES = {True: (0.25, 4.0), False: (0.25, 0.5, 2.0, 4.0)}
#: A step size smaller than those of the task.
_SMALLEST = 0.0003
#: Points that count as less.
_LESS = 1.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name in _TASKS:
        task = TASKS[name]
        usual = task.grid(plan.quick)
        # The usual scale unsaid, as in other claims, which then share these runs.
        plain = [candidate(plan, name, label) for label in LABELS]
        yield from tuned(trained, plain, plan, done, steps=usual)
        for scale in _SCALES[plan.quick]:
            scaled = [{**config, "init_scale": scale} for config in plain]
            # Smaller ones too: large weights ask for them.
            yield from tuned(trained, scaled, plan, done, steps=(_SMALLEST, *usual))


def _points(results: Results, task: str, label: str) -> tuple[list[float], npt.NDArray[np.float64]]:
    """Scales, and test accuracy in points: one row a seed, one column a scale."""
    rows = results.where("trained", task=task, activation=label)
    scales = sorted({row.config.get("init_scale", 1.0) for row in rows})
    columns = [[100 * row["test"] for row in rows if row.config.get("init_scale", 1.0) == scale] for scale in scales]
    return scales, np.array(columns).T


def _lost(results: Results, task: str, label: str) -> npt.NDArray[np.float64]:
    """Points lost against the scale that is best, the mean of the scales; one a seed."""
    points = _points(results, task, label)[1]
    # The same best scale for all seeds: the best of each seed would be chosen by its noise.
    best = points.mean(axis=0).argmax()
    lost: npt.NDArray[np.float64] = points[:, best] - points.mean(axis=1)
    return lost


def _judge(results: Results) -> Verdict:
    unit = "points of accuracy"
    cells: dict[tuple[str, str], Effect] = {
        (rival, task): paired(
            _lost(results, task, rival),
            _lost(results, task, "relu"),
            f"lost by {ACTIVATIONS[rival].title} − lost by ReLU, {_TASKS[task]}",
            unit,
        )
        for rival in RIVALS
        for task in _TASKS
    }
    answers: dict[tuple[str, str], Answer] = {cell: decide(effect, _LESS) for cell, effect in cells.items()}
    lost = {
        (label, task): mean(_lost(results, task, label), f"{ACTIVATIONS[label].title}, {_TASKS[task]}: lost", unit)
        for label in LABELS
        for task in _TASKS
    }
    said = "; ".join(
        f"{ACTIVATIONS[label].title} " + " and ".join(f"{lost[label, task].value:.1f}" for task in _TASKS)
        for label in LABELS
    )
    held = [f"than {ACTIVATIONS[r].title} on {_TASKS[t]}" for (r, t), answer in answers.items() if answer == "holds"]
    opened = [f"{ACTIVATIONS[r].title} on {_TASKS[t]}" for (r, t), one in answers.items() if one == "not enough"]
    told = (
        f"Points lost on {' and '.join(_TASKS.values())} against the best scale, mean of the scales: {said}. ReLU "
        f"loses less by a point and more: {', '.join(held) or 'nowhere'}."
        + (f" Open: {', '.join(opened)}." if opened else "")
    )
    return Verdict(across(answers.values()), told, (*cells.values(), *lost.values()))


def _figure(results: Results) -> Chart:
    lines = []
    for task, title in _TASKS.items():
        for label in LABELS:
            scales, points = _points(results, task, label)
            lines.append(curve(f"{ACTIVATIONS[label].title}, {title}", scales, points))
    told = "; ".join(f"{line.name}: " + ", ".join(f"{y:.0f} %" for y in line.y) for line in lines)
    return curves(
        lines,
        x_title="factor on the initial weights",
        y_title="accuracy on the test (%)",
        caption="Accuracy over the scale of the initial weights, 1 being each activation's own gain; each at its own "
        "best step size. A flat line is insensitive.",
        alt=f"Accuracy at the factors {', '.join(f'{scale:g}' for scale in lines[0].x)}. {told}.",
        log_x=True,
    )


CLAIM = Claim(
    name="initial-scale",
    group="training",
    place=50,
    statement="Networks with ReLU are less sensitive to the scale of their initial weights than those with sigmoid and "
    "tanh.",
    source="Told of ReLU, as it does not saturate. He et al. 2015, arXiv:1502.01852, found that with depth it matters.",
    refuted_by="Sigmoid or tanh that loses less than a point of accuracy more than ReLU, mean of the scales. It "
    "depends where that is so of one of them, or on one task.",
    method="Plain networks of three hidden layers learn the digits and tabular data with initial weights of ¼, 1 and "
    "4 times what each activation's gain asks for (in full also ½ and 2), each at its own best step size for each "
    "scale. What is lost is the test accuracy at the best of the scales less the mean over all of them.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
