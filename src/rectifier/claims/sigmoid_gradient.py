"""The sigmoid's derivative is at most a quarter, and a product of such factors vanishes with depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .experiments.signals import derivatives, signals
from .lab.activations import ACTIVATIONS
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import decide, mean
from .lab.verdicts import OPEN, all_of, curve, geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

_DEPTH = 20
_SCALES = (1.0, 4.0)
_DTYPES = ("float16", "float32", "float64")
_OTHERS = ("relu", "tanh")


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    many = 200_000 if plan.quick else 5_000_000
    for seed in plan.seeds:
        for dtype in _DTYPES:
            yield Run(derivatives, {"activation": "sigmoid", "dtype": dtype, "many": many, "seed": seed})
        common = {"depth": _DEPTH, "width": 64, "seed": seed}
        for scale in _SCALES:
            yield Run(signals, {**common, "activation": "sigmoid", "scale": scale})
        for label in _OTHERS:
            yield Run(signals, {**common, "activation": label, "scale": 1.0})


def _judge(results: Results) -> Verdict:
    highest = [max(row["highest"] for row in results.where("derivatives").of_seeds([seed])) for seed in results.seeds]
    largest = mean(highest, "largest derivative of the sigmoid, over all numbers")
    networks = results.where("signals", activation="sigmoid")
    usual, large = (networks.where(scale=scale) for scale in _SCALES)
    each = geometric(
        [(row["gradients"][0]) ** (1 / _DEPTH) for row in usual], "sigmoid network: gradient kept by a layer", "times"
    )
    left = geometric(
        [row["gradients"][0] for row in usual], f"sigmoid network: gradient left after {_DEPTH} layers", "times"
    )
    relu = geometric(
        [row["gradients"][0] for row in results.where("signals", activation="relu")],
        f"ReLU network: gradient left after {_DEPTH} layers",
        "times",
    )
    held = geometric(
        [(row["gradients"][0]) ** (1 / _DEPTH) for row in large], "the same, weights 4 times as large", "times"
    )
    answer = all_of("holds" if largest.high <= 0.25 else "does not hold", decide(each, 0.5, sign=-1))
    if answer == "holds":
        told = (
            f"The largest derivative of all is 0.25, at 0. In a network as it begins each layer keeps {each.value:.2f} "
            f"of the gradient, so {_DEPTH} layers leave {left.value:.0e} of it. Weights take part: 4 times as large "
            f"they keep {held.value:.2f} a layer."
        )
    elif answer == "not enough":
        told = OPEN
    else:
        told = "A derivative above a quarter was found, or the gradient does not fall by half a layer."
    return Verdict(answer, told, (left, each, largest, relu, held))


def _figure(results: Results) -> Chart:
    layers = list(range(1, _DEPTH + 1))
    lines = []
    for label in ("sigmoid", *_OTHERS):
        rows = results.where("signals", activation=label, scale=1.0)
        lines.append(curve(ACTIVATIONS[label].title, layers, rows.values("gradients"), log=True))
    told = "; ".join(f"{line.name} {line.y[0]:.1e}" for line in lines)
    return curves(
        lines,
        x_title="layer, counted from the input",
        y_title="gradient, as a share of the last",
        caption="Read from right to left, as the gradient goes: root mean square of ∂L/∂z in each layer of networks as "
        "they begin, each with weights by its own gain. A straight line loses the same share in every layer.",
        alt=f"Share of the gradient left in the first of {_DEPTH} layers: {told}.",
        log_y=True,
    )


CLAIM = Claim(
    name="sigmoid-gradient",
    group="gradient",
    place=10,
    statement="The sigmoid's derivative is at most 0.25, and a product of such factors vanishes with depth.",
    source="Hochreiter 1991; Bengio, Simard and Frasconi 1994, doi:10.1109/72.279181; Glorot and Bengio 2010.",
    refuted_by="One number at which the derivative is above 0.25; or sigmoid networks, as they begin, whose layers "
    "keep half of the gradient or more.",
    method="The derivative at numbers drawn over all bit patterns (float16: all of them). Then networks of 20 layers "
    "of 64 units see 256 digits, and a random sum of their outputs is differentiated with respect to the z of each "
    "layer: its root mean square, as a share of what enters the last layer.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
