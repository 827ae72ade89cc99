"""Sparser activations come with better generalisation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.compared import across
from .experiments.sparsity import sparse
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean
from .lab.verdicts import curve
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_TASKS = {"digits-mlp": "digits", "tabular": "tabular"}
#: What is changed, and its values beside the usual one.
_WAYS: dict[str, tuple[float, ...]] = {
    "init_bias": (-0.5, -0.25, 0.25, 0.5),
    "penalty": (0.03, 0.1, 0.3, 1.0),
    "decay": (0.001, 0.003, 0.01, 0.03),
    "width": (16, 32, 128, 256),
}
_TITLES = {"init_bias": "initial bias", "penalty": "penalty on |h|", "decay": "weight decay", "width": "width"}
#: The same for all, as larger steps alone make more zeros; ReLU's best on both tasks.
_STEP = 0.03
#: Correlation that counts as coming with.
_WITH = 0.3


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for name in _TASKS:
        task = TASKS[name]
        usual: dict[str, Any] = {
            "task": name,
            "activation": "relu",
            "budget": task.budget(plan.quick),
        }
        changed = [{**usual, way: value} for way, values in _WAYS.items() for value in values]
        for seed in plan.seeds:
            yield from (Run(sparse, {**config, "step": _STEP, "seed": seed}) for config in (usual, *changed))


def _table(results: Results, task: str, way: str) -> tuple[np.ndarray, np.ndarray]:
    """Share of zeros (%) and test accuracy (points): one row a seed, one column a value of what is changed."""
    rows = results.where(task=task)
    levels = [Results(row for row in rows if not set(row.config) & set(_WAYS))]
    levels += [rows.by(way)[value] for value in _WAYS[way]]
    zeros, points = (100 * np.array([level.values(name) for level in levels]).T for name in ("zeros", "test"))
    return zeros, points


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, and 0 where one of them does not vary."""
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _by_way(results: Results, task: str, way: str) -> Effect:
    zeros, points = _table(results, task, way)
    found = [_correlation(*pair) for pair in zip(zeros, points, strict=True)]
    effect = mean(found, f"{_TITLES[way]}, {_TASKS[task]}: correlation of zeros and accuracy")
    # Student's interval does not know that no correlation is beyond 1.
    return replace(effect, low=max(effect.low, -1.0), high=min(effect.high, 1.0))


def _by_seed(results: Results) -> Effect:
    """Of networks that differ in their seed alone: what is left without the mean of each configuration."""
    from scipy.stats import rankdata

    zeros, points = ([], [])  # type: tuple[list[np.ndarray], list[np.ndarray]]
    for task in _TASKS:
        for way in _WAYS:
            for place, kept in enumerate((zeros, points)):
                table = _table(results, task, way)[place][:, 1:]
                kept.extend((table - table.mean(axis=0)).T)
    # By rank, as a network that has learned nothing would outweigh all others. Accuracies of few examples are often
    # tied, but for the rounding of their differences.
    one, other = (rankdata(np.round(np.concatenate(kept), 9)) for kept in (zeros, points))
    found = _correlation(one, other)
    # Fisher's z; each configuration has taken one degree of freedom.
    free = len(one) - len(zeros) - 2
    half = 1.96 / np.sqrt(free - 1)
    low, high = (float(np.tanh(np.arctanh(min(max(found, -0.999999), 0.999999)) + side)) for side in (-half, half))
    return Effect("seed alone: rank correlation of zeros and accuracy", found, low, high, "", len(results.seeds))


def _judge(results: Results) -> Verdict:
    cells = {f"{_TITLES[way]} on {_TASKS[task]}": _by_way(results, task, way) for way in _WAYS for task in _TASKS}
    seed = _by_seed(results)
    answers: dict[str, Answer] = {name: decide(effect, _WITH) for name, effect in {**cells, "seed": seed}.items()}
    positive = [name for name, answer in answers.items() if answer == "holds"]
    negative = [name for name, effect in cells.items() if decide(effect, -_WITH, sign=-1) == "holds"]
    told = (
        "Sparser networks are better where what varies is: "
        f"{', '.join(positive) or 'nothing'}; worse: {', '.join(negative) or 'nothing'}. Between networks that "
        f"differ in their seed alone the correlation is {seed.value:.2f}. By so many points zeros were made to vary, "
        f"on {' and '.join(_TASKS.values())}: {'; '.join(_ranges(results))}. Where it is few, a correlation is of what "
        "is changed and not of zeros."
    )
    return Verdict(across(answers.values()), told, (seed, *cells.values()))


def _ranges(results: Results) -> Iterator[str]:
    """By how much each way made zeros vary."""
    for way, title in _TITLES.items():
        ranges = [float(np.ptp(_table(results, task, way)[0].mean(axis=0))) for task in _TASKS]
        yield f"{title} {' and '.join(f'{points:.0f}' for points in ranges)}"


def _figure(results: Results) -> Chart:
    lines = []
    for way in _WAYS:
        zeros, points = _table(results, "digits-mlp", way)
        order = np.argsort(zeros.mean(axis=0))
        lines.append(curve(_TITLES[way], zeros.mean(axis=0)[order].tolist(), points[:, order]))
    told = "; ".join(
        f"{line.name}: " + ", ".join(f"{y:.1f} % at {x:.0f} % zeros" for x, y in zip(line.x, line.y, strict=True))
        for line in lines
    )
    return curves(
        lines,
        x_title="activations that are zero (%)",
        y_title="accuracy on the test (%)",
        caption="Plain networks on the digits, made sparser and denser in four ways; bands: 95 % intervals. If "
        "sparsity came with generalisation, all lines would rise.",
        alt=f"Accuracy over zeros. {told}.",
    )


CLAIM = Claim(
    name="sparsity-generalises",
    group="sparsity",
    place=20,
    statement="Sparser activations come with better generalisation.",
    source="Glorot, Bordes and Bengio 2011, AISTATS, PMLR 15:315–323, section 2.2.",
    refuted_by="Correlations of the share of zeros and the test accuracy that are less than 0.3, whatever makes the "
    "zeros vary. It depends where they are more in some ways alone.",
    method="Plain ReLU networks on the digits and on tabular data, all with the same step size, as a larger one alone "
    "makes more zeros. Zeros are made to vary in four ways, five networks each: by the initial bias, by a penalty on "
    "the activations (L1), by weight decay and by the width. For each way and task: the correlation of zeros and test "
    "accuracy over the five networks of a seed, and its mean over the seeds. And of networks that differ in their seed "
    "alone: the rank correlation of what is left without each configuration's mean.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(6, 10),
)
