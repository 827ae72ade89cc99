"""ReLU's factors are 1 or 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.signals import derivatives, signals
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import heatmap
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import mean

if TYPE_CHECKING:
    from ..reporters.page import Chart

_LABELS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "threshold")


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    many = 200_000 if plan.quick else 5_000_000
    for seed in plan.seeds:
        for dtype in ("float16", "float32", "float64"):
            yield Run(derivatives, {"activation": "relu", "dtype": dtype, "many": many, "seed": seed})
        for label in _LABELS:
            yield Run(signals, {"activation": label, "depth": 20, "width": 64, "scale": 1.0, "seed": seed})


def _shares(results: Results, label: str) -> dict[str, list[float]]:
    """Percent of the factors in networks that are 0, between, and 1; one entry a seed."""
    rows = results.where("signals", activation=label)
    closed, others = 100 * rows.values("closed"), 100 * rows.values("others")
    return {"0": closed.tolist(), "other": others.tolist(), "1": (100 - closed - others).tolist()}


def _judge(results: Results) -> Verdict:
    numbers = results.where("derivatives")
    alone = [
        100
        * sum(row["others"] for row in numbers.of_seeds([seed]))
        / sum(row["compared"] for row in numbers.of_seeds([seed]))
        for seed in results.seeds
    ]
    found = _shares(results, "relu")
    between = [ACTIVATIONS[label].title for label in _LABELS if any(_shares(results, label)["other"])]
    drawn = mean(alone, "derivatives other than 0 and 1, over all numbers", "%")
    met = mean(found["other"], "factors other than 0 and 1, in networks of 20 layers", "%")
    opened, closed = mean(found["1"], "factors that are 1", "%"), mean(found["0"], "factors that are 0", "%")
    effects = (met, drawn, opened, closed)
    if drawn.high > 0 or met.high > 0:
        return Verdict("does not hold", "Some factors are neither 0 nor 1.", effects)
    if opened.low <= 0 or closed.low <= 0:
        return Verdict("does not hold", "All factors are the same.", effects)
    told = (
        f"Every one of them. As networks begin, {opened.value:.0f} % are 1 and {closed.value:.0f} % are 0: along a "
        "path of open gates the activation takes nothing from the gradient, and one closed gate takes all. Other "
        f"factors are met with {', '.join(between) or 'none of the others'}."
    )
    return Verdict("holds", told, effects)


def _figure(results: Results) -> Chart:
    table = [[sum(values) / len(values) for values in _shares(results, label).values()] for label in _LABELS]
    titles = [ACTIVATIONS[label].title for label in _LABELS]
    told = "; ".join(
        f"{title}: {row[0]:.0f} % are 0, {row[1]:.0f} % other, {row[2]:.0f} % are 1"
        for title, row in zip(titles, table, strict=True)
    )
    return heatmap(
        table,
        x_labels=["0", "neither", "1"],
        y_labels=titles,
        x_title="factor f′(z) of one unit at one image (% of all)",
        y_title="",
        caption="What each activation multiplies the gradient by, over all units of networks of 20 layers as they "
        "begin.",
        alt=told,
    )


CLAIM = Claim(
    name="relu-factors",
    group="gradient",
    place=30,
    statement="By the chain rule ReLU contributes factors of 1 or 0, and nothing between.",
    source="Glorot, Bordes and Bengio 2011, Deep sparse rectifier neural networks.",
    refuted_by="One derivative that is neither 0 nor 1, of any number or in any unit of a network; or only one of the "
    "two.",
    method="The derivative at numbers drawn over all bit patterns (float16: all of them); then what autograd "
    "multiplies by in each unit of networks of 20 layers of 64 units, at 256 digits. Other activations are measured "
    "beside it.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
