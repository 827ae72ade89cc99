"""When nothing is known, take ReLU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .experiments.trained import trained
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import tuned
from .lab.figures import ranks
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, Ranking, counted, decide, paired, ranking
from .lab.verdicts import OPEN
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: Activations compared, quick and full.
LABELS = {
    True: ("relu", "leaky_relu", "elu", "tanh", "sigmoid"),
    False: ("relu", "leaky_relu", "elu", "selu", "softplus", "squared_relu", "tanh", "sigmoid"),
}
#: Left out of the quick look: one is far from learned in its budget, one varies more by seed than by function.
_LONG = ("detection", "cartpole")
#: Points by which another must be better, the mean of all tasks or on one of them, for it to count.
_BETTER = 2.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name, task in TASKS.items():
        if plan.quick and name in _LONG:
            continue
        steps, budget = task.grid(plan.quick), task.budget(plan.quick)
        candidates = [{"task": name, "activation": label, "budget": budget} for label in LABELS[plan.quick]]
        yield from tuned(trained, candidates, plan, done, steps=steps)


_Scores = dict[str, dict[str, npt.NDArray[np.float64]]]


def _scores(results: Results, score: str = "test") -> _Scores:
    """Task → activation → points, one a seed; what went wrong has none."""
    return {
        task: {label: 100 * np.nan_to_num(part.values(score)) for label, part in rows.by("activation").items()}
        for task, rows in results.by("task").items()
    }


def _ranked(results: Results) -> Ranking:
    """By the means over the seeds, as the seeds of one task are no problems of their own."""
    found = _scores(results)
    labels = next(iter(found.values()))
    return ranking({ACTIVATIONS[label].title: [float(found[task][label].mean()) for task in found] for label in labels})


def _rival(chosen: _Scores, tasks: Sequence[str]) -> str:
    """The best other one on these tasks."""
    others = [label for label in chosen[tasks[0]] if label != "relu"]
    return max(others, key=lambda label: float(np.mean([chosen[task][label] for task in tasks])))


def _better(found: _Scores, label: str, tasks: Sequence[str]) -> Effect:
    """It − ReLU, the mean of these tasks, seed by seed."""
    one, relu = (np.mean([found[task][each] for task in tasks], axis=0) for each in (label, "relu"))
    where = tasks[0] if len(tasks) == 1 else f"mean of {len(tasks)} tasks"
    effect = paired(one, relu, f"{where}: {ACTIVATIONS[label].title} − ReLU", "points")
    return counted(effect, TASKS[tasks[0]].tested if len(tasks) == 1 else 0)


def _points(effect: Effect) -> str:
    return f"{effect.value:.1f} points"


def _judge(results: Results) -> Verdict:
    found, chosen, order = _scores(results), _scores(results, "validation"), _ranked(results)
    tasks = list(found)
    overall = _better(found, _rival(chosen, tasks), tasks)
    alone = [_better(found, _rival(chosen, [task]), [task]) for task in tasks]
    others = [_better(found, label, tasks) for label in found[tasks[0]] if label != "relu"]
    effects = tuple(dict.fromkeys((overall, *others, *alone)))
    relu, first = order.ranks[ACTIVATIONS["relu"].title], min(order.ranks, key=lambda name: order.ranks[name])
    told = (
        f"ReLU's average rank over {order.problems} tasks is {relu:.1f} of {len(order.ranks)}; the best is {first}'s, "
        f"{order.ranks[first]:.1f}, and ranks closer than {order.critical_difference:.1f} are not told apart. The best "
        f"other one, {overall.what.partition(': ')[2]}: {_points(overall)}, the mean of all tasks"
    )
    if decide(overall, _BETTER) == "holds" or relu - order.ranks[first] >= order.critical_difference:
        return Verdict("does not hold", f"{told}.", effects)
    worse = [effect for effect in alone if decide(effect, _BETTER) == "holds"]
    if worse:
        named = "; ".join(f"{effect.what} {_points(effect)}" for effect in worse)
        return Verdict("depends", f"On the task: {named}. {told}.", effects)
    if decide(overall, _BETTER) == "does not hold":
        near = [each.what for each in others if each.low > -_BETTER and each.high < _BETTER]
        same = ", ".join(what.partition(": ")[2].removesuffix(" − ReLU") for what in near) or "none"
        burden = f"It is for the others to be {_BETTER:g} points better; ReLU need not be the best."
        told += f". {burden} Surely within {_BETTER:g} points of it, and as good a choice: {same}"
        return Verdict("holds", f"{told}.", effects)
    return Verdict("not enough", f"{OPEN} {told}.", effects)


def _figure(results: Results) -> Chart:
    order = _ranked(results)
    told = ", ".join(f"{name} {rank:.1f}" for name, rank in order.ranks.items())
    alike = "; ".join(" and ".join((group[0], group[-1])) for group in order.groups)
    return ranks(
        order,
        caption=f"Average rank over {order.problems} tasks, 1 the best, each activation at its own best step size. A "
        "bar joins those whose ranks are closer than the critical difference: the tasks do not tell them apart "
        f"(Friedman's test: p = {order.p_value:.2g}).",
        alt=f"Average ranks: {told}. Not told apart: from {alike or 'none to none'}.",
    )


CLAIM = Claim(
    name="default-activation",
    group="default",
    place=10,
    statement="When nothing is known of a task, take ReLU.",
    source="Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.3.1: the default recommendation.",
    refuted_by="Another activation that is 2 points better, the mean of all tasks, or whose average rank is better by "
    "the critical difference (Demšar 2006, JMLR 7:1–30). It depends where one is 2 points better on one task.",
    method="Each activation learns every task (digits by a plain, a convolutional and a recurrent network, a table, "
    "speech, text, and in full object detection and CartPole), at its own best step size for the task, chosen on "
    "validation data with other seeds; same budget, same order of the data, paired seeds. Scores are in points of a "
    "hundred. Which other one ReLU is held against is chosen by validation data. The quick look takes five of "
    "the eight activations.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 5),
)
