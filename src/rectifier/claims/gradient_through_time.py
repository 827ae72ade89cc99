"""Paths whose factors are near 1 carry gradient through time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.trained import trained
from .lab.claim import Claim, Verdict
from .lab.experiment import Run
from .lab.fair import tuned
from .lab.figures import curves
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean, paired
from .lab.verdicts import all_of, curve, geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

#: Blank steps between the last row of the digit and the question which it was.
_DELAY = 40
_ROWS = 8
_LEAKY = {"activation": "tanh", "recurrent": "normal", "init": "torch", "learn_alpha": False}
#: Recurrent networks by name. "torch": PyTorch's own beginning, U uniform within ±1/√inputs.
_NETWORKS: dict[str, dict[str, Any]] = {
    "tanh": {"activation": "tanh", "recurrent": "normal", "init": "torch"},
    "ReLU": {"activation": "relu", "recurrent": "normal", "init": "torch"},
    "tanh, orthogonal U": {"activation": "tanh", "recurrent": "orthogonal", "init": "lecun"},
    "ReLU, U = 1": {"activation": "relu", "recurrent": "identity", "init": "torch"},
    "leaky tanh, α = 0.5": {**_LEAKY, "alpha": 0.5},
    "leaky tanh, α = 0.9": {**_LEAKY, "alpha": 0.9},
    "leaky tanh, α = 0.98": {**_LEAKY, "alpha": 0.98},
}
_PLAIN = ("tanh", "ReLU")
_NEAR = ("tanh, orthogonal U", "ReLU, U = 1", "leaky tanh, α = 0.9", "leaky tanh, α = 0.98")
#: The step size of Adam, quick and full.
_STEPS = {True: (0.001, 0.003, 0.01, 0.03), False: (0.0003, 0.001, 0.003, 0.01, 0.03)}
#: Updates, quick and full: few, as in the long run plain networks can find a way too.
_BUDGET = {True: 200, False: 500}


def _candidate(network: str, budget: int) -> dict[str, Any]:
    return {"task": "rows", "delay": _DELAY, "optimizer": "adam", "budget": budget, **_NETWORKS[network]}


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    candidates = [_candidate(network, _BUDGET[plan.quick]) for network in _NETWORKS]
    yield from tuned(trained, candidates, plan, done, steps=_STEPS[plan.quick])


def _of(results: Results, network: str) -> Results:
    wanted = _NETWORKS[network]
    return Results(row for row in results.where(**wanted) if ("alpha" in row.config) == ("alpha" in wanted))


def _factor(results: Results, network: str) -> Effect:
    """By what a blank step multiplies the gradient on its way back, before training."""
    factors = []
    for row in _of(results, network):
        by_step = row["gradient_by_step_before"]
        factors.append((by_step[_ROWS - 1] / by_step[-1]) ** (1 / (len(by_step) - _ROWS)))
    return geometric(factors, f"{network}: gradient kept by a step, as it begins", "times")


def _points(results: Results, network: str) -> np.ndarray:
    points: np.ndarray = 100 * _of(results, network).values("test")
    return points


def _judge(results: Results) -> Verdict:
    factors = {network: _factor(results, network) for network in _NETWORKS}
    unit = "points of accuracy"
    plain = np.mean([_points(results, network) for network in _PLAIN], axis=0)
    gains = {
        network: paired(_points(results, network), plain, f"{network} − the plain ones", unit) for network in _NEAR
    }
    answer = all_of(
        *(decide(factors[network], 0.7, sign=-1) for network in _PLAIN),
        *(decide(factors[network], 0.85) for network in _NEAR),
        *(decide(gain, 10.0) for gain in gains.values()),
    )
    reached = {network: mean(_points(results, network), network).value for network in _NETWORKS}
    kept = "; ".join(f"{network} {factors[network].value:.2f}" for network in _NETWORKS)
    learned = "; ".join(f"{network} {reached[network]:.0f} %" for network in _NETWORKS)
    told = f"Of the gradient a step keeps: {kept}. After {_DELAY} blank steps they tell the digit: {learned}."
    return Verdict(answer, told, (*gains.values(), *factors.values()))


def _figure(results: Results) -> Chart:
    lines = []
    for network in _NETWORKS:
        table = _of(results, network).values("gradient_by_step_before")
        back = (table / table[:, -1:])[:, ::-1]
        lines.append(curve(network, list(range(back.shape[1])), back, log=True))
    told = "; ".join(f"{line.name} {line.y[-1]:.1e}" for line in lines)
    return curves(
        lines,
        x_title="steps back from the answer",
        y_title="gradient, as a share of the last",
        caption=f"Gradient that arrives so many steps back, before training. The digit's rows lie at {_DELAY} to "
        f"{_DELAY + _ROWS - 1}; what does not get there teaches nothing of them.",
        alt=f"Share of the gradient that reaches the first row: {told}.",
        log_y=True,
    )


CLAIM = Claim(
    name="gradient-through-time",
    group="time scales",
    place=20,
    statement="Paths whose factors are near 1 carry gradient through time, and what they carry can be learned.",
    source="Hochreiter 1991; Le, Jaitly and Hinton 2015, arXiv:1504.00941; Goodfellow, Bengio and Courville 2016, "
    "10.9.",
    refuted_by="Plain networks that keep 0.7 of the gradient a step or more; or orthogonal, identity or leaky ones "
    "(α = 0.9, 0.98) that keep less than 0.85, or do not beat the mean of the plain by 10 points.",
    method=f"Recurrent networks of 48 units read the 8 rows of a digit, then {_DELAY} blank steps, and then say which "
    "it was; Adam, few updates, each at its own best step size. The gradient is measured with respect to the input of "
    "each step before training: its root mean square, and by what a blank step multiplies it.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(4, 8),
)
