"""Without its conditions SELU does not keep mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.centres import passed_on
from .experiments.compared import across
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, mean
from .lab.verdicts import geometric
from .selu_fixed_point import CONDITIONS, DEPTH, FACTOR, MEAN, passing, variances

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: What is broken, one condition at a time.
_BROKEN: dict[str, dict[str, Any]] = {
    "He's weights": {"init": "he"},
    "PyTorch's own weights": {"init": "torch"},
    "residual chain": {"chain": "residual"},
    "input × 10": {"times": 10.0},
    "input ÷ 10": {"times": 0.1},
    "raw table": {"data": "raw"},
    "raw pixels": {"data": "digits"},
}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    for seed in plan.seeds:
        yield from (passing("selu", seed, **changed) for changed in ({}, *_BROKEN.values()))


def _of(results: Results, changed: dict[str, Any]) -> Results:
    return results.where(passed_on.name, **{**CONDITIONS, **changed})


def _end(results: Results, name: str) -> tuple[Effect, Effect]:
    rows = _of(results, _BROKEN[name])
    return (
        mean(rows.values("mean")[:, -1], f"{name}: mean in layer {DEPTH}"),
        geometric(rows.values("variance")[:, -1], f"{name}: variance in layer {DEPTH}"),
    )


def _lost(off: Effect, variance: Effect) -> Answer:
    """Holds where they are lost: an interval lies outside what counts as kept."""
    if variance.low > FACTOR or variance.high < 1 / FACTOR or off.low > MEAN or off.high < -MEAN:
        return "holds"
    kept = max(-off.low, off.high) < MEAN and max(1 / variance.low, variance.high) < FACTOR
    return "does not hold" if kept else "not enough"


def _back(results: Results, name: str) -> int:
    """The layer from which on mean and variance, averaged over the seeds, are kept."""
    rows = _of(results, _BROKEN[name])
    off = np.abs(rows.values("mean").mean(axis=0)) > MEAN
    far = np.abs(np.log(rows.values("variance")).mean(axis=0)) > np.log(FACTOR)
    beyond = np.flatnonzero(off | far)
    return int(beyond[-1]) + 2 if len(beyond) else 1


def _judge(results: Results) -> Verdict:
    ends = {name: _end(results, name) for name in _BROKEN}
    answers = {name: _lost(*effects) for name, effects in ends.items()}
    lost = [f"{name} ({ends[name][1].value:.1e})" for name in _BROKEN if answers[name] == "holds"]
    kept = [f"{name} ({_back(results, name)})" for name in _BROKEN if answers[name] == "does not hold"]
    parts = []
    if lost:
        parts.append(f"Lost, with the variance of the last layer: {', '.join(lost)}.")
    if kept:
        parts.append(f"Not lost, as SELU brings them back, from the layer on that is given: {', '.join(kept)}.")
    if opened := [name for name in _BROKEN if answers[name] == "not enough"]:
        parts.append(f"Open, as the seeds differ too much: {', '.join(opened)}.")
    if lost and kept:
        parts.insert(0, "It depends on which condition.")
    effects = tuple(effect for name in _BROKEN for effect in reversed(ends[name]))
    return Verdict(across(answers.values()), " ".join(parts), effects)


def _figure(results: Results) -> Chart:
    shown: dict[str, dict[str, Any]] = {"all conditions": {}, **_BROKEN}
    return variances(
        {name: np.minimum(_of(results, changed).values("variance"), 1e6) for name, changed in shown.items()},
        "Variance in 100 layers of SELU, with one condition broken at a time (drawn up to a million). A line that ends "
        "at 1 has its variance back, or never lost it.",
        f"Variance in layer {DEPTH}, up to a million",
    )


CLAIM = Claim(
    name="selu-conditions",
    group="training",
    place=80,
    statement="SELU loses mean 0 and variance 1 where one of its conditions is broken.",
    source="Klambauer et al. 2017, arXiv:1706.02515, which asks for LeCun's weights, standardised inputs and plain "
    "networks, and proves that SELU attracts to 0 and 1 from near them.",
    refuted_by="A condition without which, in layer 100, the mean is still within 0.1 of 0 and the variance within 0.8 "
    "to 1.25. It depends where that is so of some.",
    method="As for selu-fixed-point, with one condition broken at a time: weights from N(0, 2/n) (He's) or PyTorch's "
    "own; a residual chain; the input 10 times larger or smaller; the table as measured, from thousandths to "
    "thousands; pixels from 0 to 1.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(7, 15),
)
