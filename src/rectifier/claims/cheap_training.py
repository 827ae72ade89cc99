"""ReLU makes a training step noticeably cheaper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .experiments.compared import across
from .experiments.cost import step
from .lab.activations import ACTIVATIONS
from .lab.claim import Answer, Claim, Verdict
from .lab.experiment import Run
from .lab.figures import intervals
from .lab.plan import Plan
from .lab.results import Results
from .lab.statistics import Effect, decide, mean
from .lab.verdicts import geometric

if TYPE_CHECKING:
    from ..reporters.page import Chart

_RIVALS = ("sigmoid", "tanh", "elu", "softplus")
_NETWORKS: dict[str, dict[str, Any]] = {
    "3 layers of 64": {"network": "mlp", "width": 64, "batch": 64},
    "3 layers of 512": {"network": "mlp", "width": 512, "batch": 256},
    "convolutions from 8": {"network": "cnn", "width": 8, "batch": 64},
    "convolutions from 32": {"network": "cnn", "width": 32, "batch": 64},
}
#: A step that takes this much longer with the other one is noticeably dearer.
_NOTICED = 1.05


def _runs(plan: Plan, done: Results) -> Iterator[Run]:
    labels = ["relu", *_RIVALS, "identity"]
    rounds = 11 if plan.quick else 45
    for seed in plan.seeds:
        for network in _NETWORKS.values():
            yield Run(step, {**network, "activations": labels, "rounds": rounds, "seed": seed})


def _times(results: Results, label: str, network: str) -> np.ndarray:
    return results.where(**_NETWORKS[network]).values(f"times_{label}")


def _over_all(results: Results, label: str) -> Effect:
    logs = np.mean([np.log(_times(results, label, network)) for network in _NETWORKS], axis=0)
    return geometric(np.exp(logs), f"a step with {ACTIVATIONS[label].title} ÷ one with ReLU", "times")


def _judge(results: Results) -> Verdict:
    found = {label: _over_all(results, label) for label in _RIVALS}
    shares = [
        mean(100 * (1 - _times(results, "identity", network)), f"ReLU's share of a step, {network}", "%")
        for network in _NETWORKS
    ]
    effects = (*found.values(), *shares)
    answers = {label: decide(effect, _NOTICED) for label, effect in found.items()}
    told = ", ".join(f"{ACTIVATIONS[label].title} {effect.value:.2f}" for label, effect in found.items())
    share = f"ReLU itself is {min(s.value for s in shares):.0f} to {max(s.value for s in shares):.0f} % of a step"

    def named(wanted: Answer) -> str:
        return ", ".join(ACTIVATIONS[label].title for label, answer in answers.items() if answer == wanted)

    answer = across(answers.values())
    opened = f"; open: {named('not enough')}" if named("not enough") else ""
    said = {
        "holds": f"A step takes so many times as long with the others: {told}.",
        "depends": f"On which one. A step at least a twentieth longer: {named('holds')}; not so much: "
        f"{named('does not hold')}{opened} ({told} times the step with ReLU). {share}.",
        "does not hold": f"A step is not a twentieth longer with {named('does not hold')}{opened}: {told} times as "
        f"long as with ReLU. {share}; the rest is the same for all.",
        "not enough": f"The times vary too much: {told}.",
    }
    return Verdict(answer, said[answer], effects)


def _figure(results: Results) -> Chart:
    shown = [(label, network) for label in _RIVALS for network in _NETWORKS]
    effects = [
        geometric(_times(results, label, network), f"{ACTIVATIONS[label].title}, {network}", "times")
        for label, network in shown
    ]
    return intervals(
        effects,
        x_title="time of a training step, as a multiple of the step with ReLU",
        caption="Forward, backward and update with each activation in place of ReLU, PyTorch on one thread. To the "
        "right of the line ReLU is cheaper.",
        alt="; ".join(effect.told for effect in effects),
        reference=1.0,
        groups=[network for _, network in shown],
    )


CLAIM = Claim(
    name="cheap-training",
    group="cost",
    place=20,
    statement="As ReLU is cheap, training with it is noticeably cheaper: a step takes at least a twentieth longer with "
    "others.",
    source="Told with the first: that ReLU is fast to compute is given as a reason why it is fast to train.",
    refuted_by="Steps with sigmoid, tanh, ELU and softplus that take less than 1.05 times as long, the mean of four "
    "networks. It depends where that is so of some.",
    method="One training step (forward, backward, update) of two plain and two convolutional networks on digits, "
    "PyTorch's own layers, one thread; all activations in turn, round after round in changing order, by processor "
    "time; the ratio to ReLU within each round, median of the rounds. Without an activation the step is timed too: "
    "what is missing then is ReLU's share.",
    runs=_runs,
    judge=_judge,
    figure=_figure,
    seeds=(5, 10),
)
