"""How a unit is made dead, rare, dormant, always open or live at a chosen rate: by its bias and weights alone.

A unit's rate is set by shifting its bias (or β) to a quantile of its pre-activations on a large sample. A unit is dead
by one of five ways of dying, each for every input of a box, and the bound that says so is computed here in float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from benchmarks.patients.case import Label

__all__ = ["bounds", "dealt", "fit_norm", "generator", "images", "plant", "rates_of"]

Tensor = torch.Tensor

RARE = 0.004
MARGIN = 0.5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, source: torch.Generator, *shape: int) -> Tensor:
    """Noise in [0, 1], mean ½: as uncentred as pixels are."""
    return (0.5 + 0.25 * torch.randn((n, *shape), generator=source)).clamp_(0, 1)


def dealt(units: int, source: torch.Generator, **many: int) -> tuple[Label, ...]:
    """Labels of a layer's units: so many of each, the others live, in random order."""
    labels = [label for label, count in many.items() for _ in range(count)]
    labels += ["live"] * (units - len(labels))
    order = torch.randperm(units, generator=source).tolist()
    return tuple(labels[place] for place in order)  # type: ignore[return-value]


def rates_of(labels: Sequence[Label], source: torch.Generator, live: tuple[float, float] = (0.2, 0.8)) -> list[float]:
    """The share of the examples at which each unit is to fire; open and dead ones are set apart."""
    low, high = live
    drawn = (low + (high - low) * torch.rand(len(labels), generator=source)).tolist()
    return [RARE if label == "rare" else rate for label, rate in zip(labels, drawn, strict=True)]


def _edge(values: Tensor, rate: float) -> float:
    """A number that this share of the values lies above, halfway between two of them."""
    ordered = values.sort().values.double()
    many = max(1, min(len(ordered) - 1, round(rate * len(ordered))))
    return float((ordered[-many - 1] + ordered[-many]) / 2)


def bounds(layer: nn.Linear, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest z of each unit over the box, float64: Σ min(w·low, w·high) + b, Σ max(…) + b."""
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    ends = torch.stack([weight * low.double(), weight * high.double()])
    return ends.amin(0).sum(1) + bias, ends.amax(0).sum(1) + bias


@torch.no_grad()
def plant(
    layer: nn.Linear,
    x: Tensor,
    labels: Sequence[Label],
    low: Tensor,
    high: Tensor,
    source: torch.Generator,
    *,
    silent_inputs: Iterable[int] = (),
    live: tuple[float, float] = (0.2, 0.8),
) -> tuple[Tensor, Tensor]:
    """Give each unit of a layer what its label says. Returns the bounds of z over the box [low, high].

    x: a large sample of what enters the layer, (examples, features). low, high: the box, low ≥ 0.
    silent_inputs: features that are 0 for every input (dead units of the layer before).
    """
    silent = list(silent_inputs)
    ways = 0
    rates = rates_of(labels, source, live)
    z = x @ layer.weight.T + layer.bias
    for unit, label in enumerate(labels):
        weight, bias = layer.weight[unit], layer.bias[unit : unit + 1]
        if label == "dead":
            _kill(weight, bias, ways % 5, low, high, silent)
            ways += 1
        elif label == "open":
            bias.add_(1.5 * z[:, unit].std() - z[:, unit].min())
        else:
            bias.sub_(_edge(z[:, unit], rates[unit]))
            if label == "dormant":
                weight.mul_(1e-3)
                bias.mul_(1e-3)
    return bounds(layer, low, high)


def _kill(weight: Tensor, bias: Tensor, way: int, low: Tensor, high: Tensor, silent: list[int]) -> None:
    reach = torch.maximum(weight.double() * low, weight.double() * high).sum()
    if way == 0:  # just out of reach
        bias.copy_(-reach - MARGIN)
    elif way == 1:  # far out of reach
        bias.copy_(-reach - 50.0)
    elif way == 2:  # nothing comes in, nothing is added
        weight.zero_()
        bias.zero_()
    elif way == 3:  # turned against inputs that are never negative
        weight.copy_(-weight.abs())
        bias.fill_(-0.1)
    else:  # hangs on nothing, or on units that are dead themselves
        kept = weight[silent].clone()
        weight.zero_()
        weight[silent] = kept
        bias.fill_(-0.2)


@torch.no_grad()
def fit_norm(
    norm: nn.Module, z: Tensor, labels: Sequence[Label], source: torch.Generator, live: tuple[float, float] = (0.2, 0.8)
) -> None:
    """Set β of a batch normalisation with γ = 1 so that each channel that is not dead fires at its rate.

    z: what it is given, (examples, channels); its running statistics become those of z.
    """
    norm.running_mean.copy_(z.mean(0))
    norm.running_var.copy_(z.var(0))
    norm.weight.fill_(1.0)
    scaled = (z - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
    for unit, rate in enumerate(rates_of(labels, source, live)):
        if labels[unit] == "open":
            norm.bias[unit] = 1.5 - 1.5 * float(scaled[:, unit].min())
        elif labels[unit] != "dead":
            norm.bias[unit] = -_edge(scaled[:, unit], rate)
