"""SELU keeps mean 0 and variance 1 through 100 layers, under its conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .experiments.centres import passed_on
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean
from .lab.verdicts import all_of, curve, geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

DEPTH = 100
#: What SELU's theorem asks for.
CONDITIONS: dict[str, Any] = {"data": "standardised", "times": 1.0, "init": "lecun", "chain": "plain"}
#: How far the mean may be from 0, and the variance from 1 by a factor.
MEAN, FACTOR = 0.1, 1.25
_LABELS = ("selu", "elu", "relu", "tanh")


def passing(label: str, seed: int, **changed: Any) -> Run:
    config = {"activation": label, "depth": DEPTH, "width": 256, **CONDITIONS, **changed, "seed": seed}
    return Run(passed_on, config)


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        yield from (passing(label, seed) for label in _LABELS)


def _judge(results: Results) -> Verdict:
    rows = results.where(activation="selu")
    means, variances = rows.values("mean"), rows.values("variance")
    off = mean(np.abs(means).max(axis=1), "SELU: |mean|, the largest of all layers")
    # Above and below alike: 1.25 and 0.8 are as far from 1.
    factor = mean(np.exp(np.abs(np.log(variances)).max(axis=1)), "SELU: variance, by what factor from 1 at most")
    answer = all_of(decide(off, MEAN, sign=-1), decide(factor, FACTOR, sign=-1))
    ends = {label: _end(results, label) for label in _LABELS}
    units = mean(100 * rows.values("of_units"), "SELU, layer 100: mean square that is the units' own means", "%")
    others = ", ".join(f"{ends[label].value:.1e} with {ACTIVATIONS[label].title}" for label in _LABELS[1:])
    told = (
        f"Of all {DEPTH} layers none has a mean beyond {off.value:.2f}, or a variance further from 1 than by a "
        f"factor of {factor.value:.2f} (means of the seeds). In the same chain the variance of the last layer is "
        f"{others}."
        if answer == "holds"
        else f"What is called SELU does not keep them: |mean| up to {off.value:.2g}, variance off by a factor of up to "
        f"{factor.value:.2g}."
    )
    return Verdict(answer, told, (factor, off, *ends.values(), units))


def _end(results: Results, label: str) -> Effect:
    ends = results.where(activation=label).values("variance")[:, -1]
    return geometric(ends, f"{ACTIVATIONS[label].title}: variance in layer {DEPTH}")


def variances(tables: Mapping[str, npt.NDArray[np.float64]], caption: str, told_of: str) -> Chart:
    """Name → variances by layer, one row a seed; every third layer is drawn."""
    lines = [curve(name, list(range(1, DEPTH + 1, 3)), table[:, ::3], log=True) for name, table in tables.items()]
    told = "; ".join(f"{line.name} {line.y[-1]:.1e}" for line in lines)
    return curves(
        lines,
        x_title="layer, counted from the input",
        y_title="variance of the activations",
        caption=caption,
        alt=f"{told_of}: {told}.",
        log_y=True,
    )


def _figure(results: Results) -> Chart:
    return variances(
        {ACTIVATIONS[label].title: results.where(activation=label).values("variance") for label in _LABELS},
        "Variance in 100 layers with weights from N(0, 1/n) on standardised data. SELU is claimed to stay at 1, within "
        "0.8 and 1.25; the others show what the same chain does to them.",
        f"Variance in layer {DEPTH}",
    )


CLAIM = Claim(
    name="selu-fixed-point",
    group="training",
    place=70,
    statement="SELU keeps mean 0 and variance 1 through 100 layers, under its conditions.",
    source="Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515.",
    refuted_by="A layer of 100 whose mean is 0.1 or more from 0, or whose variance is a quarter or more above 1, or as "
    "much below it (0.8); the mean of the seeds.",
    method="128 rows of the breast cancer set, each feature with mean 0 and variance 1, go through 100 layers of 256 "
    "units that are not trained, with weights from N(0, 1/n) (LeCun's) and no biases. Mean and variance are taken over "
    "all units and rows of a layer.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(7, 15),
)
