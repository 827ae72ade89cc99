"""ELU's and SELU's activations stay centred."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.centres import centres
from .experiments.compared import across, candidate
from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.fair import best_step, tuned
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean
from .lab.verdicts import all_of
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_TASKS = {"digits-mlp": "digits", "tabular": "tabular"}
_CENTRED = ("elu", "selu")
_LABELS = (*_CENTRED, "relu", "tanh")
_TIMES = {"mean": "as it begins", "mean_after": "trained"}
#: Share of the root mean square that the mean may be.
_NEAR = 0.2


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name in _TASKS:
        task = TASKS[name]
        steps = task.grid(plan.quick)
        for label in _LABELS:
            config = candidate(plan, name, label)
            yield from tuned(trained, [config], plan, done, steps=steps)
            step = best_step(trained, config, plan, done, steps=steps)
            if step is not None:
                yield from (Run(centres, {**config, "step": step, "seed": seed}) for seed in plan.seeds)


def _off(results: Results, label: str, task: str, time: str) -> Effect:
    """How far the layers' means are from 0, the mean of the layers."""
    found = np.abs(results.where("centres", activation=label, task=task).values(time)).mean(axis=1)
    return mean(found, f"{ACTIVATIONS[label].title}, {_TASKS[task]}, {_TIMES[time]}: |mean| ÷ root mean square")


def _all(results: Results) -> dict[str, list[Effect]]:
    return {label: [_off(results, label, task, time) for task in _TASKS for time in _TIMES] for label in _LABELS}


def _judge(results: Results) -> Verdict:
    found = _all(results)
    answers: dict[str, Answer] = {
        label: all_of(*(decide(effect, _NEAR, sign=-1) for effect in found[label])) for label in _CENTRED
    }
    said = {"holds": "stay centred", "does not hold": "do not", "not enough": "may or may not"}
    verdicts = "; ".join(f"{ACTIVATIONS[label].title}'s {said[answers[label]]}" for label in _CENTRED)
    ranges = ", ".join(f"{ACTIVATIONS[label].title} {_range(effects)}" for label, effects in found.items())
    told = f"{verdicts}. The mean of a layer, as a share of its root mean square, over tasks and times: {ranges}."
    effects = tuple(effect for label in _LABELS for effect in found[label])
    return Verdict(across(answers.values()), told, effects)


def _range(effects: list[Effect]) -> str:
    values = [effect.value for effect in effects]
    return f"{min(values):.2f} to {max(values):.2f}"


def _figure(results: Results) -> Chart:
    found = _all(results)
    effects = [effect for label in _LABELS for effect in found[label]]
    return intervals(
        effects,
        x_title="|mean| of a layer ÷ its root mean square",
        caption="How far from 0 the mean of the activations is, the mean of three layers. The line is at "
        f"{_NEAR:g}: to the left of it they are called centred.",
        alt="; ".join(effect.told for effect in effects),
        reference=_NEAR,
        groups=[ACTIVATIONS[label].title for label in _LABELS for _ in found[label]],
    )


CLAIM = Claim(
    name="stay-centred",
    group="training",
    place=60,
    statement="The activations of ELU and SELU stay centred on 0, from the first update to the last.",
    source="Clevert, Unterthiner and Hochreiter 2016, arXiv:1511.07289, of ELU; Klambauer et al. 2017, "
    "arXiv:1706.02515, of SELU.",
    refuted_by="Layers whose mean is a fifth of their root mean square or more, before or after training. It depends "
    "where that is so of one of the two.",
    method="Plain networks of three hidden layers on the digits and on tabular data, initial weights by the gain of "
    "each activation, each at its own best step size. On the validation part, over units and examples: the mean of a "
    "layer as a share of its root mean square, the mean of the layers. ReLU and tanh stand beside them.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
