"""Deep networks whose scale vanishes, explodes or stays; and networks trained as they should be."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.patients.case import Case, Patient, Place
from benchmarks.patients.cases.dense import CLASSES, linears
from benchmarks.patients.planting import generator
from benchmarks.patients.truth import as_found

Tensor = torch.Tensor
DEPTH, WIDTH = 12, 96


def chain_z(net: nn.Module, x: Any) -> dict[str, Tensor]:
    """Of Linear, ReLU, Linear, ReLU, …, Linear."""
    found = {}
    for place in range(0, len(net) - 1, 2):
        z = x @ net[place].weight.T + net[place].bias
        found[str(place + 1)] = z
        x = z.relu()
    return found


def chain(layers: list[nn.Linear]) -> tuple[nn.Sequential, tuple[Place, ...]]:
    parts: list[nn.Module] = [part for layer in layers[:-1] for part in (layer, nn.ReLU())]
    places = tuple(Place(str(place + 1), str(place), module=str(place + 1)) for place in range(0, len(parts), 2))
    return nn.Sequential(*parts, layers[-1]), places


def deep(factor: float, scales: frozenset[str], seed: int, small: bool = False) -> Case:
    """He's initialisation times a factor in each of 12 layers: the scale changes by that factor a layer."""

    def draw(n: int, source: torch.Generator) -> Tensor:
        return torch.randn(n, WIDTH, generator=source)

    layers = linears((WIDTH,) * DEPTH + (CLASSES,), seed)
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(factor)
    model, places = chain(layers)
    source = generator(seed + 101)
    data = [(draw(100, source), torch.randint(CLASSES, (100,), generator=source)) for _ in range(8)]
    return as_found(Case(model, data, F.cross_entropy, places, {}, chain_z, draw, scales=scales))


@cache
def _digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return torch.tensor(images / 16.0, dtype=torch.float32), torch.tensor(classes, dtype=torch.int64)


def digits(seed: int, small: bool = False) -> Case:
    """64-128-64-10 trained with Adam at 0.001 on scikit-learn's digits to over 96 % on the quarter held out. Some of
    its units come to rest on real digits: idle, as far as all digits there are can tell."""
    x, y = _digits()
    order = torch.randperm(len(x), generator=generator(seed))
    train, test = order[: 3 * len(x) // 4], order[3 * len(x) // 4 :]
    model, places = chain(linears((64, 128, 64, 10), seed))
    optimizer, source = torch.optim.Adam(model.parameters(), lr=1e-3), generator(seed + 1)
    for _ in range(600):
        rows = train[torch.randint(len(train), (64,), generator=source)]
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    model.zero_grad()
    with torch.no_grad():
        share = float((model(x[test]).argmax(1) == y[test]).float().mean())
    if share < 0.96:
        raise RuntimeError(f"digits: the healthy control must be right about 96 % of the test digits; got {share:.1%}")
    data = [(x[rows], y[rows]) for rows in order[:1750].split(125)]

    def draw(n: int, source: torch.Generator) -> Tensor:
        return x[torch.randint(len(x), (n,), generator=source)]

    return as_found(Case(model, data, F.cross_entropy, places, {}, chain_z, draw))


PATIENTS = (
    Patient(
        "vanishing",
        "12 layers whose weights are 0.4 times what ReLU needs",
        lambda seed, small=False: deep(0.4, frozenset({"vanishing"}), seed, small),
    ),
    Patient(
        "exploding",
        "12 layers whose weights are 3 times what ReLU needs",
        lambda seed, small=False: deep(3.0, frozenset({"exploding"}), seed, small),
    ),
    Patient(
        "healthy-deep",
        "12 layers with He's initialisation",
        lambda seed, small=False: deep(1.0, frozenset(), seed, small),
        healthy=True,
    ),
    Patient("healthy-digits", "trained on real digits with Adam, over 96 % right", digits, healthy=True),
)
