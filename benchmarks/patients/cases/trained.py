"""Units that die in training, each from one cause: the cause is planted, the deaths are counted.

Which units died is found by brute force over a large sample after the training; a patient is built by training a copy,
so that a tool that watches can live through the same steps, number for number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.patients.case import Case, Label, Patient, Place
from benchmarks.patients.cases.dense import linears
from benchmarks.patients.cases.depth import chain, chain_z
from benchmarks.patients.planting import generator
from benchmarks.patients.truth import as_found, sums

Tensor = torch.Tensor
FEATURES, WIDTH, CLASSES = 20, 32, 4
MANY = 8
"""Units that the cause is planted in."""
RATE = 0.05
Prepare = Callable[[Any, int], None]
Start = Callable[[Any], None]


def standard(n: int, source: torch.Generator) -> Tensor:
    return torch.randn(n, FEATURES, generator=source)


def data(draw: Callable[[int, torch.Generator], Tensor], seed: int) -> list[tuple[Tensor, Tensor]]:
    source, teacher = generator(seed + 101), torch.randn(FEATURES, CLASSES, generator=generator(7))
    return [(x, (x @ teacher).argmax(1)) for x in (draw(100, source) for _ in range(30))]


def net(
    seed: int, prepare: Prepare | None = None, start: Start | None = None, draw: Any = standard, rate: float = RATE
) -> Case:
    model, places = chain(linears((FEATURES, WIDTH, WIDTH, CLASSES), seed))
    if start is not None:
        with torch.no_grad():
            start(model)
    given = data(draw, seed)
    return Case(model, given, F.cross_entropy, places, {}, chain_z, draw, rate=rate, prepare=prepare, epochs=2)


def judged(case: Case, cause: str, at: str = "1", seed: int = 78) -> Case:
    """The case with the truth after its training: what fires at none of many examples at this place died of it."""
    end = as_found(case.trained())
    source = generator(seed)
    found = sums(end, (end.draw(1000, source) for _ in range(60)), training=False)[at]
    gone = {unit for unit, fired in enumerate(found.fired.tolist()) if fired == 0}
    labels: tuple[Label, ...] = tuple("dead" if unit in gone else is_ for unit, is_ in enumerate(end.truth[at]))
    causes = {**case.causes, at: dict.fromkeys(sorted(gone), cause)}
    return replace(case, truth={**end.truth, at: labels}, causes=causes)


def step(seed: int, small: bool = False) -> Case:
    """The 31st step moves eight units of the first layer by more than twice their weights."""

    def prepare(model: Any, step: int) -> None:
        if step == 31:
            model[0].bias.grad[:MANY] += 20.0 / RATE
            model[0].weight.grad[:MANY] += 0.25 / RATE

    return judged(net(seed, prepare), "step")


def bias(seed: int, small: bool = False) -> Case:
    """The biases of eight units are pulled down by 0.25 a step, as by a penalty with the wrong sign."""

    def prepare(model: Any, step: int) -> None:
        model[0].bias.grad[:MANY] += 0.25 / RATE

    return judged(net(seed, prepare), "bias")


def initialisation(seed: int, small: bool = False) -> Case:
    """Eight units start with a bias of −30."""

    def start(model: Any) -> None:
        model[0].bias[:MANY] = -30.0

    return judged(net(seed, start=start), "initialisation")


def upstream(seed: int, small: bool = False) -> Case:
    """All of the first layer is shut from the start, so that nothing reaches the second, whose biases are negative."""

    def start(model: Any) -> None:
        model[0].bias.fill_(-30.0)
        model[2].bias.fill_(-0.1)

    first = judged(net(seed, start=start), "initialisation")
    both = judged(first, "upstream", at="3")
    return replace(both, truth={**both.truth, "1": first.truth["1"]})


def shifted(seed: int, small: bool = False) -> Case:
    """Inputs of mean 40 and deviation 1: a unit whose weights sum to less than 0 never fires."""

    def draw(n: int, source: torch.Generator) -> Tensor:
        return standard(n, source) + 40.0

    return judged(net(seed, draw=draw, rate=1e-5), "input")


def zeros(seed: int, small: bool = False) -> Case:
    """Every input is 0, as from a path of data that is broken: units whose bias is negative never fire."""

    def start(model: Any) -> None:
        model[0].bias.fill_(0.1)
        model[0].bias[:MANY] = -0.1

    def draw(n: int, source: torch.Generator) -> Tensor:
        return torch.zeros(n, FEATURES)

    return judged(net(seed, start=start, draw=draw, rate=1e-3), "zeros")


def _normalised_z(model: Any, x: Any) -> dict[str, Tensor]:
    z, norm = model[0](x), model[1]
    mean, variance = (z.mean(0), z.var(0, unbiased=False)) if norm.training else (norm.running_mean, norm.running_var)
    return {"2": (z - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias}


def normalisation(seed: int, small: bool = False) -> Case:
    """γ of eight channels shrinks by a tenth at every step, as by a weight decay far too strong, under a β of −1.5."""

    def prepare(model: Any, step: int) -> None:
        scale, shift = model[1].weight, model[1].bias
        scale.grad[:MANY] = 0.1 * scale.detach()[:MANY] / RATE
        shift.grad[:MANY] = 0.0

    first, last = linears((FEATURES, WIDTH, CLASSES), seed)
    model = nn.Sequential(first, nn.BatchNorm1d(WIDTH), nn.ReLU(), last)
    with torch.no_grad():
        model[1].bias[:MANY] = -1.5
    case = Case(
        model,
        data(standard, seed),
        F.cross_entropy,
        (Place("2", "0", "1", "2"),),
        {},
        _normalised_z,
        standard,
        rate=RATE,
        prepare=prepare,
        epochs=2,
    )
    return judged(case, "normalisation", at="2")


PATIENTS = (
    Patient("cause-step", "8 units die of one step that is far too large", step),
    Patient("cause-bias", "the biases of 8 units are pulled down a little at every step", bias),
    Patient("cause-initialisation", "8 units start with a bias of −30", initialisation),
    Patient("cause-upstream", "the first layer is shut from the start, so the second is too", upstream),
    Patient("cause-normalisation", "γ of 8 channels decays under a negative β", normalisation),
    Patient("cause-input", "inputs of mean 40 and deviation 1", shifted),
    Patient("cause-zeros", "every input is 0", zeros),
)
