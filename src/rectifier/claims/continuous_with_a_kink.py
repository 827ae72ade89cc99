"""Continuous everywhere, no derivative at 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.identities import slopes_of_relu
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import Curve, curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import mean

if TYPE_CHECKING:
    from ..reporters.page import Chart


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        for activation in ("relu", "threshold"):
            yield Run(
                slopes_of_relu,
                {"activation": activation, "many": 100_000 if plan.quick else 1_000_000, "seed": seed},
            )


def _judge(results: Results) -> Verdict:
    relu, threshold = results.where(activation="relu"), results.where(activation="threshold")
    effects = (
        mean(relu.values("jump"), "largest step of the value ÷ step of z, all neighbouring numbers"),
        mean(relu.values("left")[:, 1], "slope from the left, however close to 0"),
        mean(relu.values("right")[:, 0], "slope from the right, however close to 0"),
        mean(relu.values("derivative_off"), "derivative − slope of a chord, elsewhere"),
        mean(threshold.values("jump"), "the same step of a threshold, which does jump"),
    )
    continuous = relu.values("jump").max() <= 1.0
    kinked = bool(np.all(relu.values("left") == 0.0) and np.all(relu.values("right") == 1.0))
    differentiable = relu.values("derivative_off").max() == 0.0
    if continuous and kinked and differentiable:
        told = "The value never moves by more than z does; the slope is 0 left of 0, 1 right of it, at every distance."
        return Verdict("holds", told, effects)
    wrong = [
        *([] if continuous else ["the value jumps"]),
        *([] if kinked else ["the slopes at 0 are not 0 and 1"]),
        *([] if differentiable else ["the derivative is not the slope of the function"]),
    ]
    return Verdict("does not hold", f"Seen: {', '.join(wrong)}.", effects)


def _figure(results: Results) -> Chart:
    from .lab.activations import ACTIVATIONS

    sides = results.where(activation="relu")
    z = np.linspace(-1.0, 1.0, 41)
    function = ACTIVATIONS["relu"].function
    value, slope = function(z), function.derivative(z)
    left, right = z < 0, z > 0
    low, high = (float(sides.values(side).mean()) for side in ("left", "right"))
    return curves(
        [
            Curve("ReLU", z.tolist(), value.tolist()),
            Curve("derivative, z < 0", z[left].tolist(), slope[left].tolist()),
            Curve("derivative, z > 0", z[right].tolist(), slope[right].tolist()),
        ],
        x_title="z",
        y_title="value, derivative",
        caption="The value, which has no gap where it is continuous, and the derivative on either side of 0. Measured "
        f"from 0, slopes are {low:g} to the left and {high:g} to the right, the mean of all distances.",
        alt=f"Value {value[0]:.3g} at z = −1, {value[20]:.3g} at 0 and {value[-1]:.3g} at 1; derivative {slope[0]:.3g} "
        f"at z = −1 and {slope[-1]:.3g} at 1.",
    )


CLAIM = Claim(
    name="continuous-with-a-kink",
    group="function",
    place=10,
    statement="ReLU is continuous everywhere and has a derivative everywhere but at 0.",
    source="Every textbook, such as Goodfellow, Bengio and Courville 2016, Deep Learning, section 6.3.",
    refuted_by="Two neighbouring numbers whose values are further apart than they are; a slope at some distance left "
    "of 0 that is not 0, or right of 0 that is not 1; or a derivative elsewhere that is not the slope of a chord.",
    method="Neighbouring float64 numbers drawn over all exponents, both sides of 0 among them; chords from 0 to ±h for "
    "h = 2⁻¹ … 2⁻¹⁰⁰⁰; chords about numbers of both signs. A threshold, which jumps, shows that the measure can tell.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(3, 5),
)
