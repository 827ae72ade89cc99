"""With ReLU gradients no longer vanish with depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.signals import signals
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide
from .lab.verdicts import OPEN, curve, geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DEPTH = 20
_SCALES = (0.5, 0.75, 1.0, 2.0)
#: A layer that keeps less than this leaves 1 % of the gradient after 20: vanishing.
_KEPT = 0.8


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        common = {"depth": _DEPTH, "width": 64, "seed": seed}
        for scale in _SCALES:
            yield Run(signals, {**common, "activation": "relu", "scale": scale})
        yield Run(signals, {**common, "activation": "sigmoid", "scale": 1.0})


def _kept(results: Results, label: str, scale: float) -> Effect:
    rows = results.where(activation=label, scale=scale)
    title = {"relu": "ReLU", "sigmoid": "sigmoid"}[label]
    return geometric(
        [row["gradients"][0] ** (1 / _DEPTH) for row in rows],
        f"{title}, weights {scale:g} × its gain: gradient kept by a layer",
        "times",
    )


def _judge(results: Results) -> Verdict:
    at = {scale: _kept(results, "relu", scale) for scale in _SCALES}
    effects = (at[1.0], *(effect for scale, effect in at.items() if scale != 1.0), _kept(results, "sigmoid", 1.0))
    usual = decide(at[1.0], _KEPT)
    if usual == "not enough":
        return Verdict(usual, OPEN, effects)
    if usual != "holds":
        return Verdict(usual, "Even with weights by ReLU's own gain the gradient vanishes.", effects)
    answers = {scale: decide(at[scale], _KEPT) for scale in _SCALES}
    lost = [scale for scale, answer in answers.items() if answer == "does not hold"]
    if not lost and "not enough" in answers.values():
        return Verdict("not enough", OPEN, effects)
    if not lost:
        return Verdict("holds", "At every scale of the weights the gradient arrives.", effects)
    small = at[min(lost)]
    return Verdict(
        "depends",
        f"On the scale of the weights. Drawn by ReLU's gain, √2 (He et al.), a layer keeps {at[1.0].value:.2f} of the "
        f"gradient; at {min(lost):g} times that it keeps {small.value:.2f}, so {_DEPTH} layers leave "
        f"{small.value**_DEPTH:.0e} of it; at twice the gain a layer multiplies it by {at[2.0].value:.1f}.",
        effects,
    )


def _figure(results: Results) -> Chart:
    layers = list(range(1, _DEPTH + 1))
    lines = [
        curve(
            f"ReLU, {scale:g} × gain",
            layers,
            results.where(activation="relu", scale=scale).values("gradients"),
            log=True,
        )
        for scale in _SCALES
    ]
    lines.append(curve("sigmoid, gain", layers, results.where(activation="sigmoid").values("gradients"), log=True))
    told = "; ".join(f"{line.name} {line.y[0]:.1e}" for line in lines)
    return curves(
        lines,
        x_title="layer, counted from the input",
        y_title="gradient, as a share of the last",
        caption="Read from right to left, as the gradient goes. A level line keeps the gradient; one that falls to the "
        "left loses it, and one that rises makes it explode.",
        alt=f"Share of the gradient left in the first of {_DEPTH} layers: {told}.",
        log_y=True,
    )


CLAIM = Claim(
    name="relu-vanishing",
    group="gradient",
    place=40,
    statement="With ReLU gradients no longer vanish with depth.",
    source="Told in most introductions; Glorot, Bordes and Bengio 2011 say that gradients flow well on active paths.",
    refuted_by="Networks of ReLU, with weights by its own gain, whose layers keep less than 0.8 of the gradient, which "
    "is 1 % after 20. It depends where that is so at other scales of the weights only.",
    method="Networks of 20 layers of 64 units, as they begin, see 256 digits; a random sum of their outputs is "
    "differentiated with respect to the z of each layer. Weights by the gain of ReLU, √2/√inputs, and 0.5, 0.75 and 2 "
    "times that.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
