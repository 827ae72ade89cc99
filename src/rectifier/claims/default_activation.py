"""When nothing is known, take ReLU."""

from __future__ import annotations

from collections.abc import Iterator
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
from .lab.statistics import Effect, Ranking, decide, mean, paired, ranking
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_LABELS = {
    True: ("relu", "leaky_relu", "elu", "tanh", "sigmoid"),
    False: ("relu", "leaky_relu", "elu", "selu", "softplus", "squared_relu", "tanh", "sigmoid"),
}
#: Left out of the quick look: one is far from learned in its budget, one varies more by seed than by function.
_LONG = ("detection", "cartpole")
#: Points by which another must be better, over all tasks or on one of them, for it to count.
_OVERALL, _ON_ONE = 1.0, 2.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name, task in TASKS.items():
        if plan.quick and name in _LONG:
            continue
        steps, budget = (task.few_steps, task.quick) if plan.quick else (task.steps, task.full)
        candidates = [{"task": name, "activation": label, "budget": budget} for label in _LABELS[plan.quick]]
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


def _against(found: _Scores, label: str) -> Effect:
    """ReLU − another, the mean over the tasks, seed by seed."""
    relu, other = (np.mean([found[task][each] for task in found], axis=0) for each in ("relu", label))
    return paired(relu, other, f"ReLU − {ACTIVATIONS[label].title}, mean of {len(found)} tasks", "points")


def _on(task: str, found: _Scores, chosen: _Scores) -> Effect:
    """The best other one on a task, by the validation data, − ReLU on the test data."""
    rivals = [label for label in chosen[task] if label != "relu"]
    best = max(rivals, key=lambda label: float(chosen[task][label].mean()))
    what = f"{task}: {ACTIVATIONS[best].title} − ReLU"
    return paired(found[task][best], found[task]["relu"], what, "points")


def _judge(results: Results) -> Verdict:
    found, chosen, order = _scores(results), _scores(results, "validation"), _ranked(results)
    against = [_against(found, label) for label in next(iter(found.values())) if label != "relu"]
    lost = [_on(task, found, chosen) for task in found]
    first = min(order.ranks, key=lambda name: order.ranks[name])
    relu = order.ranks[ACTIVATIONS["relu"].title]
    spread = mean([relu] * len(results.seeds), "average rank of ReLU (1 is the best)")
    effects = (min(against, key=lambda effect: effect.value), *against, *lost, spread)
    effects = tuple(dict.fromkeys(effects))
    placed = (
        f"Over {order.problems} tasks ReLU's average rank is {relu:.1f} of {len(order.ranks)}; the best is {first}'s, "
        f"{order.ranks[first]:.1f}, and ranks closer than {order.critical_difference:.1f} are not told apart"
    )
    beaten = [effect for effect in against if decide(effect, -_OVERALL, sign=-1) == "holds"]
    if beaten or relu - order.ranks[first] >= order.critical_difference:
        better = min(against, key=lambda effect: effect.value)
        return Verdict("does not hold", f"{placed}. {better.what}: {better.value:.1f} points.", effects)
    worse = [effect for effect in lost if decide(effect, _ON_ONE) == "holds"]
    if worse:
        told = "; ".join(f"{effect.what} {effect.value:.1f} points" for effect in worse)
        return Verdict("depends", f"On the task: {told}. {placed}.", effects)
    if all(decide(effect, -_OVERALL) == "holds" for effect in against):
        return Verdict("holds", f"{placed}. No other is better by a point, the mean of all tasks.", effects)
    return Verdict("not enough", f"{placed}. Whether another is better by a point is open.", effects)


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
    refuted_by="Another activation that is a point better, the mean of all tasks, or whose average rank is better by "
    "the critical difference (Demšar 2006, JMLR 7:1–30). It depends where another is 2 points better on one of them.",
    method="Each activation learns every task (digits by a plain, a convolutional and a recurrent network, a table, "
    "speech, text, and in full object detection and CartPole), at its own best step size for the task, chosen on "
    "validation data with other seeds; same budget, same order of the data, paired seeds. Scores are in points of a "
    "hundred. Whom ReLU is held against on one task is chosen by validation data, too. The quick look takes five of "
    "the eight activations.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
