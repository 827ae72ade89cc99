"""Unbounded activations can explode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.excursions import excursion
from .experiments.signals import signals
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, median
from .lab.verdicts import OPEN, all_of, curve, geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DEPTH = 20
_SCALE = 2.0
_STEP = 3.0
_BOUNDED = ("relu6", "tanh", "sigmoid")


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for label in ("relu", *_BOUNDED):
            yield Run(signals, {"activation": label, "depth": _DEPTH, "width": 64, "scale": _SCALE, "seed": seed})
            yield Run(excursion, {"activation": label, "depth": 3, "step": _STEP, "budget": 100, "seed": seed})


def growth(results: Results, label: str) -> Effect:
    """By what factor the root mean square of h grows from layer to layer."""
    rows = results.where("signals", activation=label)
    title = ACTIVATIONS[label].title
    return geometric(
        [(row["activations"][-1] / row["activations"][0]) ** (1 / (len(row["activations"]) - 1)) for row in rows],
        f"{title}, weights twice its gain: growth of h by a layer",
        "times",
    )


def largest(results: Results, label: str, step: float) -> Effect:
    """The largest activation met in training."""
    rows = results.where("excursion", activation=label, step=step)
    return median(rows.values("largest"), f"{ACTIVATIONS[label].title}, step {step:g}: largest h in 100 updates")


def _judge(results: Results) -> Verdict:
    labels = ("relu", *_BOUNDED)
    grown = {label: growth(results, label) for label in labels}
    met = {label: largest(results, label, _STEP) for label in labels}
    answer = all_of(
        decide(grown["relu"], 1.5),
        decide(met["relu"], 100.0),
        *(decide(grown[label], 1.2, sign=-1) for label in _BOUNDED),
        *(decide(met[label], 10.0, sign=-1) for label in _BOUNDED),
    )
    told = (
        f"With weights twice ReLU's gain h grows by {grown['relu'].value:.2f} a layer, "
        f"{grown['relu'].value ** _DEPTH:.0e} times in {_DEPTH}; a training step of {_STEP:g} drives it to "
        f"{met['relu'].value:.0e} (the median). ReLU6, tanh and sigmoid stay within their bounds in both; that alone "
        "does not make them learn."
        if answer == "holds"
        else OPEN
        if answer == "not enough"
        else "What is called ReLU stayed small, or what is called bounded did not."
    )
    return Verdict(answer, told, (grown["relu"], met["relu"], *(grown[label] for label in _BOUNDED)))


def _figure(results: Results) -> Chart:
    return paths(results, ("relu", *_BOUNDED))


def paths(results: Results, labels: tuple[str, ...]) -> Chart:
    """The scale of h over the layers."""
    layers = list(range(1, _DEPTH + 1))
    lines = [
        curve(
            ACTIVATIONS[label].title,
            layers,
            results.where("signals", activation=label).values("activations"),
            log=True,
        )
        for label in labels
    ]
    told = "; ".join(f"{line.name} {line.y[-1]:.1e}" for line in lines)
    return curves(
        lines,
        x_title="layer, counted from the input",
        y_title="root mean square of h",
        caption="Scale of the activations over the layers, with weights twice what the gain of each asks for. A line "
        "that goes straight up grows by the same factor in every layer; one that stays level is bounded.",
        alt=f"Root mean square of h in layer {_DEPTH}: {told}.",
        log_y=True,
    )


CLAIM = Claim(
    name="explosion",
    group="gradient",
    place=60,
    statement="Unbounded activations can explode: with depth, and with too large a step.",
    source="The other side of not saturating; He et al. 2015, arXiv:1502.01852, section 2.2, on the scale by depth.",
    refuted_by="ReLU whose activations grow by less than 1.5 a layer with weights twice its gain, or stay below 100 "
    "with a step of 3; or ReLU6, tanh or sigmoid that grow by 1.2 a layer or pass 10.",
    method="Networks of 20 layers of 64 units, as they begin, with weights twice what each activation's gain asks for, "
    "see 256 digits. And the digits' network of 3 layers is trained with a step of 3 (momentum 0.9), about 100 times "
    "the best.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(7, 11),
)
