"""Too large a step size, or too low an initial bias, silences ReLU's units."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .experiments.deaths import BUDGET, deaths, percent, setting, signed
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.figures import heatmap
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import decide, mean, paired
from .lab.verdicts import all_of

if TYPE_CHECKING:
    from ..reporters.page import Chart

_USUAL, _LARGE, _LOW = 0.03, 0.3, -1.0
_STEPS = {True: (_USUAL, 0.1, _LARGE, 1.0), False: (0.003, 0.01, _USUAL, 0.1, _LARGE, 1.0)}
_BIASES = {True: (_LOW, 0.0, 1.0), False: (_LOW, -0.3, 0.0, 0.3, 1.0)}
_INITS = {True: ("gain", "torch"), False: ("gain", "lecun", "torch")}
_TITLES = {"gain": "He", "lecun": "gain 1", "torch": "PyTorch's"}
#: Per cent of the units: what is told of too large a step size (as much as 40 %), and what is few.
_MANY, _FEW = 40.0, 15.0


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    cells = itertools.product(_INITS[plan.quick], _BIASES[plan.quick], _STEPS[plan.quick])
    for (init, bias, step), seed in itertools.product(cells, plan.seeds):
        config = setting(init=init, init_bias=bias, step=step)
        yield Run(deaths, {**config, "budget": BUDGET[plan.quick], "seed": seed})


def _judge(results: Results) -> Verdict:
    usual, large, low = (
        results.where("deaths", **setting(**changed)) for changed in ({}, {"step": _LARGE}, {"init_bias": _LOW})
    )
    unit = "% of the units"
    few = mean(percent(usual, "silent"), f"silent, step size {_USUAL:g}, bias 0", unit)
    by_step = paired(percent(large, "silent"), percent(usual, "silent"), f"more at step size {_LARGE:g}", unit)
    by_bias = paired(percent(low, "silent"), percent(usual, "silent"), "more at initial bias −1", unit)
    proved = mean(percent(large, "dead"), f"proved dead, step size {_LARGE:g}", unit)
    raised = paired(
        percent(results.where("deaths", **setting(step=_LARGE, init_bias=1.0)), "silent"),
        percent(large, "silent"),
        f"more at step size {_LARGE:g} with initial bias 1 than with 0",
        unit,
    )
    begun = mean(percent(low, "silent_before"), "silent before training, initial bias −1", unit)
    answer = all_of(decide(by_step, _MANY), decide(by_bias, _MANY), decide(few, _FEW, sign=-1))
    told = (
        f"At the usual step size {few.value:.0f} % of the units are silent on all 1,797 images, at ten times that "
        f"{np.mean(percent(large, 'silent')):.0f} %; with initial biases of −1 and the usual step size "
        f"{np.mean(percent(low, 'silent')):.0f} %, and {begun.value:.0f} % were before training began. Silent is what "
        f"was seen: that no input in their range could wake them is proved of {proved.value:.0f} % at the "
        f"large step size, whose share initial biases of 1 in place of 0 change by {signed(raised)} %."
    )
    return Verdict(answer, told, (by_step, by_bias, few, proved, begun, raised))


def _figure(results: Results) -> Chart:
    inits, biases, steps = ([*results.by(name)] for name in ("init", "init_bias", "step"))
    rows = list(itertools.product(inits, biases))

    def cell(init: str, bias: float, step: float) -> float:
        shares = results.where(init=init, init_bias=bias, step=step).values("silent").astype(float)
        finite = shares[np.isfinite(shares)]
        return 100 * float(finite.mean()) if len(finite) else math.nan

    table = [[cell(init, bias, step) for step in steps] for init, bias in rows]
    labels = [f"{_TITLES[init]}, {bias:g}".replace("-", "−") for init, bias in rows]
    told = "; ".join(
        f"{label}: {', '.join(f'{value:.0f}' for value in line)}" for label, line in zip(labels, table, strict=True)
    )
    return heatmap(
        table,
        x_labels=[f"{step:g}" for step in steps],
        y_labels=labels,
        x_title="step size (momentum 0.9)",
        y_title="initial weights, initial bias",
        caption="Units that are silent on all 1,797 images after training, in per cent of all. The step size "
        f"grows to the right; the usual settings are {_USUAL:g} and a bias of 0. A dash: every training ended in "
        "numbers that are not finite.",
        alt=f"Per cent silent by initial weights and bias; step sizes {', '.join(f'{s:g}' for s in steps)}. {told}.",
        told=lambda value: f"{value:.0f}" if math.isfinite(value) else "–",
    )


CLAIM = Claim(
    name="dying-units",
    group="death",
    place=10,
    statement="Too large a step size, or too low an initial bias, silences 40 % and more of the units of ReLU.",
    source="CS231n notes, Neural Networks 1 (as much as 40 % of a network); Lu et al. 2019, arXiv:1903.06733.",
    refuted_by="Less than 40 % of the units that fall silent at ten times the usual step size, or with initial biases "
    "of −1, on top of those that do anyway; or 15 % and more of them at the usual settings.",
    method="Plain networks of 3 layers of 64 ReLUs learn the digits by SGD with momentum 0.9 over a grid of step "
    "sizes, initial biases (of all layers but the output) and initial weights: He's, PyTorch's own, in full gain 1. "
    "After training rectifier.check sees all 1,797 images: a unit is silent where it fired at none of them (then, with "
    "95 % confidence, it fires at less than 0.2 % of such images), and dead only where that is proved.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
