"""Multilayer perceptrons: of modules, of calls, with a leaky rectifier; the planted units of each layer are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.patients.case import Case, Label, Patient, Place
from benchmarks.patients.planting import dealt, generator, images, plant

Tensor = torch.Tensor
Draw = Callable[[int, torch.Generator], Tensor]

FEATURES, CLASSES = 64, 10
LOW, HIGH = torch.zeros(FEATURES), torch.ones(FEATURES)


def inputs(n: int, source: torch.Generator) -> Tensor:
    return images(n, source, FEATURES)


def batches(many: int, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs, and classes that depend on them."""
    source = generator(seed + 101)
    return [(x, classes(x)) for x in (inputs(size, source) for _ in range(many))]


def classes(x: Tensor) -> Tensor:
    return (x @ torch.randn(FEATURES, CLASSES, generator=generator(7))).argmax(1)


def linears(widths: tuple[int, ...], seed: int) -> list[nn.Linear]:
    """Layers with He's initialisation and zero biases."""
    source = generator(seed)
    layers = []
    for wide, narrow in zip(widths, widths[1:], strict=False):
        layer = nn.Linear(wide, narrow)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(narrow, wide, generator=source) * (2 / wide) ** 0.5)
            layer.bias.zero_()
        layers.append(layer)
    return layers


@torch.no_grad()
def plant_in(
    layers: list[nn.Linear],
    labels: list[tuple[Label, ...]],
    seed: int,
    draw: Draw = inputs,
    live: tuple[float, float] = (0.2, 0.8),
) -> list[Tensor]:
    """Plant in the first layers, one after the other; the upper bounds of their z over inputs in [0, 1]."""
    source = generator(seed + 1)
    x, low, high, dead = draw(20_000, source), LOW.double(), HIGH.double(), []
    tops = []
    for layer, planted in zip(layers, labels, strict=False):
        bottom, top = plant(layer, x, planted, low, high, source, silent_inputs=dead, live=live)
        x, low, high = F.relu(layer(x)), bottom.clamp(min=0), top.clamp(min=0)
        dead = [unit for unit, label in enumerate(planted) if label == "dead"]
        tops.append(top)
    return tops


def two_layers(seed: int, draw: Draw = inputs, live: tuple[float, float] = (0.2, 0.8), apart: int = 0) -> Case:
    """The mlp; the first ``apart`` live units of its first layer hang on feature 0 alone, every second one against it:
    with ``live`` below ½ and a feature 0 that is 0 or 1 at even odds, each fires at only one of its two values."""
    layers = linears((FEATURES, 80, 60, CLASSES), seed)
    source = generator(seed + 2)
    labels = [dealt(units, source, dead=20, rare=3, open=3, dormant=2) for units in (80, 60)]
    with torch.no_grad():
        for order, unit in enumerate([unit for unit, label in enumerate(labels[0]) if label == "live"][:apart]):
            layers[0].weight[unit, 0] = 4.0 if order % 2 else -4.0
    top = plant_in(layers, labels, seed, draw, live)
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

    def z(net: nn.Module, x: Any) -> dict[str, Tensor]:
        first = x @ net[0].weight.T + net[0].bias
        return {"1": first, "3": first.relu() @ net[2].weight.T + net[2].bias}

    return Case(
        model,
        batches(20, 100, seed),
        F.cross_entropy,
        (Place("1", "0", module="1"), Place("3", "2", module="3")),
        {"1": labels[0], "3": labels[1]},
        z,
        draw,
        ceiling={"1": top[0], "3": top[1]},
    )


def mlp(seed: int, small: bool = False) -> Case:
    return two_layers(seed)


class Block(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x))


class Functional(nn.Module):
    """``F.relu``, ``torch.relu`` and ``Tensor.clamp_min``: a module of an activation is nowhere."""

    def __init__(self, layers: list[nn.Linear]) -> None:
        super().__init__()
        self.first, self.block, self.third, self.out = layers[0], Block(layers[1]), layers[2], layers[3]

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(F.relu(self.first(x)))
        return self.out(self.third(x).clamp_min(0))


def functional(seed: int, small: bool = False) -> Case:
    layers = linears((FEATURES, 50, 50, 30, CLASSES), seed)
    source = generator(seed + 2)
    labels = [dealt(units, source, dead=dead, rare=2) for units, dead in ((50, 15), (50, 15), (30, 10))]
    top = plant_in(layers, labels, seed)

    def z(net: Any, x: Any) -> dict[str, Tensor]:
        first = x @ net.first.weight.T + net.first.bias
        second = first.relu() @ net.block.layer.weight.T + net.block.layer.bias
        return {
            "relu#0": first,
            "block.relu#0": second,
            "relu#1": second.relu() @ net.third.weight.T + net.third.bias,
        }

    names = ("relu#0", "block.relu#0", "relu#1")
    return Case(
        Functional(layers),
        batches(20, 100, seed),
        F.cross_entropy,
        tuple(Place(name, layer) for name, layer in zip(names, ("first", "block.layer", "third"), strict=True)),
        dict(zip(names, labels, strict=True)),
        z,
        inputs,
        ceiling={name: top[place] for place, name in enumerate(names)},
    )


def leaky(seed: int, small: bool = False) -> Case:
    """Units that never fire, and yet pass on a hundredth of what comes in, and learn."""
    layers = linears((FEATURES, 40, CLASSES), seed)
    source = generator(seed + 2)
    labels = dealt(40, source, closed=10, rare=2)
    _, top = plant(layers[0], inputs(20_000, source), labels, LOW, HIGH, source)
    with torch.no_grad():
        for unit, label in enumerate(labels):
            if label == "closed":
                layers[0].bias[unit] -= float(top[unit]) + 0.5

    def z(net: nn.Module, x: Any) -> dict[str, Tensor]:
        return {"1": x @ net[0].weight.T + net[0].bias}

    return Case(
        nn.Sequential(layers[0], nn.LeakyReLU(), layers[1]),
        batches(20, 100, seed),
        F.cross_entropy,
        (Place("1", "0", module="1"),),
        {"1": labels},
        z,
        inputs,
    )


def sparse(share: float, seed: int, small: bool = False) -> Case:
    """Three layers whose every unit fires at this share of the examples: sparse, and nothing wrong."""
    layers = linears((FEATURES, 64, 64, 64, CLASSES), seed)
    source = generator(seed + 1)
    x = inputs(20_000, source)
    labels: tuple[Label, ...] = ("live",) * 64
    with torch.no_grad():
        for layer in layers[:-1]:
            plant(layer, x, labels, x.amin(0), x.amax(0), source, live=(share, share))
            h = F.relu(layer(x))
            size = h.square().mean().sqrt()
            layer.weight.div_(size)  # the scale of the activations stays 1: positive factors move no gate
            layer.bias.div_(size)
            x = h / size

    def z(net: nn.Module, x: Any) -> dict[str, Tensor]:
        found = {}
        for place in (0, 2, 4):
            found[str(place + 1)] = x @ net[place].weight.T + net[place].bias
            x = found[str(place + 1)].relu()
        return found

    relus = [nn.ReLU() for _ in range(3)]
    model = nn.Sequential(layers[0], relus[0], layers[1], relus[1], layers[2], relus[2], layers[3])
    places = tuple(Place(str(place + 1), str(place), module=str(place + 1)) for place in (0, 2, 4))
    return Case(
        model,
        batches(40, 100, seed),
        F.cross_entropy,
        places,
        {place.name: labels for place in places},
        z,
        inputs,
    )


PATIENTS = (
    Patient("mlp", "Linear, ReLU, twice, as modules; 20 dead units in each layer, five ways of dying", mlp),
    Patient("functional", "`F.relu`, `torch.relu` and `clamp_min` in place of modules; 40 dead units", functional),
    Patient("leaky", "LeakyReLU with 10 units that never fire: closed, not dead", leaky),
    Patient(
        "healthy-8",
        "every unit fires at 8 % of the examples",
        lambda seed, small=False: sparse(0.08, seed, small),
        healthy=True,
    ),
    Patient(
        "healthy-2",
        "every unit fires at 2 % of the examples",
        lambda seed, small=False: sparse(0.02, seed, small),
        healthy=True,
    ),
)
