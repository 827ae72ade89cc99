"""Leaky ReLU and PReLU cure unboundedness: told in places."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .experiments.excursions import excursion
from .experiments.signals import signals
from .explosion import growth, largest, paths
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, ratio
from .lab.verdicts import OPEN, all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_STEP = 1.0
_CURES = ("leaky_relu", "prelu")
_LABELS = ("relu", *_CURES, "relu6")


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for label in _LABELS:
            yield Run(signals, {"activation": label, "depth": 20, "width": 64, "scale": 2.0, "seed": seed})
            yield Run(excursion, {"activation": label, "depth": 3, "step": _STEP, "budget": 100, "seed": seed})


def _judge(results: Results) -> Verdict:
    grown = {label: growth(results, label) for label in _LABELS}
    met = {label: largest(results, label, _STEP) for label in _LABELS}
    ends = {label: [row["activations"][-1] for row in results.where("signals", activation=label)] for label in _LABELS}
    answer = all_of(*(decide(grown[label], 1.2, sign=-1) for label in _CURES))
    leaky = ratio(ends["leaky_relu"], ends["relu"], "Leaky ReLU ÷ ReLU: h in layer 20")
    prelu = ratio(ends["prelu"], ends["relu"], "PReLU ÷ ReLU: h in layer 20")
    told = (
        "They leave the positive side as it is, so large values go through them as through ReLU: by "
        f"{grown['leaky_relu'].value:.2f} and {grown['prelu'].value:.2f} a layer, where ReLU grows by "
        f"{grown['relu'].value:.2f}; trained with a step of {_STEP:g}, h reaches {_sizes(met)}. ReLU6, which has a "
        f"ceiling, grows by {grown['relu6'].value:.2f} a layer."
        if answer == "does not hold"
        else OPEN
        if answer == "not enough"
        else "What is called Leaky ReLU and PReLU keeps the scale of activations."
    )
    effects = (*(grown[label] for label in _LABELS[1:3]), grown["relu"], leaky, prelu)
    return Verdict(answer, told, (*effects, *(met[label] for label in _LABELS[:3])))


def _sizes(met: Mapping[str, Effect]) -> str:
    """The largest activations: "infinity with Leaky ReLU and PReLU, 300 with ReLU"."""
    by_size: dict[str, list[str]] = {}
    for label in (*_CURES, "relu"):
        value = met[label].value
        told = f"{value:.0f}" if math.isfinite(value) else "infinity"
        by_size.setdefault(told, []).append(ACTIVATIONS[label].title)
    return ", ".join(f"{told} with {' and '.join(titles)}" for told, titles in by_size.items())


def _figure(results: Results) -> Chart:
    return paths(results, _LABELS)


CLAIM = Claim(
    name="leaky-unbounded",
    group="gradient",
    place=70,
    statement="Leaky ReLU and PReLU cure the unboundedness of ReLU.",
    source="Told in places, in lists of ReLU's drawbacks and their remedies.",
    refuted_by="Leaky ReLU or PReLU whose activations grow by 1.2 a layer or more where the weights are twice their "
    "gain.",
    method="As for explosion: 20 layers as they begin, with weights twice the gain of each; and 100 updates of a "
    "network of 3 layers with a step of 1.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(7, 11),
)
