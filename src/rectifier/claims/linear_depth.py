"""Without a non-linearity depth adds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.depth import collapsed, xor
from .experiments.trained import trained
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import best_step, tuned
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, counted, decide, mean, paired
from .lab.verdicts import OPEN, all_of
from .tasks import TASKS

if TYPE_CHECKING:
    from ..reporters.page import Chart

_TASK = "digits-mlp"
_XOR_STEPS = (0.01, 0.03, 0.1)
#: Hidden layers without an activation; 0 is the linear model itself.
_DEPTHS = (0, 1, 4)
_DEEPEST = max(_DEPTHS)


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    linear: list[dict[str, Any]] = [{"activation": "identity", "depth": depth} for depth in _DEPTHS]
    corners = {"width": 16, "budget": 600}
    candidates = [{**each, **corners} for each in [*linear, {"activation": "relu", "depth": 1}]]
    yield from tuned(xor, candidates, plan, done, steps=_XOR_STEPS, score="error")
    task = TASKS[_TASK]
    # A linear model likes larger steps than a deep one.
    steps = (*task.few_steps, 3.0) if plan.quick else task.steps
    common = {"task": _TASK, "budget": task.budget(plan.quick)}
    digits = [{**common, **each} for each in [*linear, {"activation": "relu"}]]
    yield from tuned(trained, digits, plan, done, steps=steps)
    for label, depth, candidate in (("identity", _DEEPEST, digits[-2]), ("relu", 3, digits[-1])):
        step = best_step(trained, candidate, plan, done, steps=steps)
        if step is not None:
            for seed in plan.seeds:
                config = {"activation": label, "depth": depth, "budget": common["budget"], "step": step, "seed": seed}
                yield Run(collapsed, config)


def _accuracies(results: Results) -> dict[str, np.ndarray]:
    """Test accuracy in points, by network."""
    rows = results.where("trained")
    return {
        **{_name(depth): 100 * rows.where(activation="identity", depth=depth).values("test") for depth in _DEPTHS},
        "3 layers of ReLU": 100 * rows.where(activation="relu").values("test"),
    }


def _name(depth: int) -> str:
    return f"{depth} linear layer{'s' * (depth != 1)}" if depth else "the linear model"


def _errors(results: Results) -> tuple[Effect, Effect]:
    """Of XOR: the least over the depths without an activation, and one layer of ReLU."""
    rows = results.where("xor")
    linear = np.min([rows.where(activation="identity", depth=depth).values("error") for depth in _DEPTHS], axis=0)
    return (
        mean(linear, "XOR, squared error of the best linear stack"),
        mean(rows.where(activation="relu").values("error"), "XOR, squared error of one layer of ReLU"),
    )


def _judge(results: Results) -> Verdict:
    xor_linear, xor_relu = _errors(results)
    apart = mean(
        results.where("collapsed", activation="identity").values("apart"),
        f"digits: largest difference between {_DEEPEST} linear layers and one matrix, of the largest output",
    )
    points = _accuracies(results)
    base = points[_name(0)]
    depth = paired(points[_name(_DEEPEST)], base, f"digits: {_name(_DEEPEST)} − the linear model", "points of accuracy")
    depth = counted(depth, TASKS[_TASK].tested)
    relu = paired(points["3 layers of ReLU"], base, "digits: 3 layers of ReLU − the linear model", "points of accuracy")
    answer = all_of(
        "holds" if apart.high < 1e-9 else "does not hold",
        decide(xor_linear, 0.2499),
        decide(xor_relu, 0.125, sign=-1),
        decide(depth, 1.0, sign=-1),
    )
    told = {
        "holds": "A stack of layers without an activation is one matrix, to the rounding: no depth brings XOR below "
        "the error of 0.25 that every straight line has, nor the digits above the linear model by a point. One layer "
        "of ReLU solves XOR. On the digits, which a linear model nearly masters, three layers of it gain "
        f"{relu.value:.1f} points.",
        "does not hold": "A stack without an activation did what one matrix cannot, or one with ReLU did no better.",
    }
    return Verdict(answer, told.get(answer, OPEN), (xor_linear, xor_relu, apart, depth, relu))


def _figure(results: Results) -> Chart:
    effects = [mean(points, name, "points of accuracy") for name, points in _accuracies(results).items()]
    return intervals(
        effects,
        x_title="accuracy on the digits of the test (%)",
        caption="Accuracy of each network at its own best step size. If layers without an activation between them are "
        "one matrix, they can represent the same, and differ only by how they were trained.",
        alt="; ".join(effect.told for effect in effects),
        groups=["no activation"] * len(_DEPTHS) + ["ReLU"],
    )


CLAIM = Claim(
    name="linear-depth",
    group="need",
    place=10,
    statement="Without a non-linearity depth adds nothing: a stack of linear layers is one linear layer.",
    source="Minsky and Papert 1969, Perceptrons (XOR); Goodfellow, Bengio and Courville 2016, Deep Learning, section "
    "6.1.",
    refuted_by="A stack without an activation whose outputs differ from those of the product of its matrices by more "
    "than rounding, that brings XOR below a squared error of 0.25, or beats the linear model on the digits by a point; "
    "or a layer of ReLU that does not halve the error of XOR.",
    method="Networks with 0, 1 and 4 hidden layers without an activation, and with ReLU, learn XOR (16 units, 600 full "
    "steps) and the digits (64 units a layer), each at its own best step size. Then the trained matrices are "
    "multiplied, W₅·…·W₁, and the one matrix is asked the same questions in float64.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
