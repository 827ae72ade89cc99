"""The chain rule by hand: a chain of single units, every number a fraction, so that nothing is rounded."""

from __future__ import annotations

import random
from fractions import Fraction

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment

__all__ = ["chains"]

#: Quarters up to 1¾: the products of a chain of six have few enough binary places for float64 to hold them all.
_QUARTERS = [Fraction(n, 4) for n in range(1, 8)]
_STEP = Fraction(1, 4)


@experiment(version=1)
def chains(config: Config) -> Outcome:
    """``many`` chains h_k = f(w_k h_{k−1} + b_k) of ``length`` units, whose gate number ``closed`` is closed (0: none).

    The error is ½ (h_n − t)². Its slopes ∂/∂w_k are found by hand, in fractions, with 1 for an open gate and 0 for a
    closed one; and by PyTorch's autograd through the layer of the table, in float64. Then each weight is moved by
    −¼ of its slope.

    slopes, alike: slopes compared, and those that are the same number
    moved: share of the chains whose weight k moved, by k
    """
    import torch

    draw = random.Random(config["seed"])
    links = [_chain(draw, config["length"], config["closed"]) for _ in range(config["many"])]
    by_hand = [_slopes(*each) for each in links]
    layer = ACTIVATIONS[config["activation"]].module()
    weights = torch.tensor([[float(w) for w in ws] for ws, _, _, _ in links], dtype=torch.float64, requires_grad=True)
    biases = torch.tensor([[float(b) for b in bs] for _, bs, _, _ in links], dtype=torch.float64)
    h = torch.tensor([float(x) for _, _, x, _ in links], dtype=torch.float64)
    target = torch.tensor([float(t) for _, _, _, t in links], dtype=torch.float64)
    for k in range(config["length"]):
        h = layer(weights[:, k] * h + biases[:, k])
    (found,) = torch.autograd.grad((0.5 * (h - target) ** 2).sum(), weights)
    moved = weights.detach() - float(_STEP) * found != weights.detach()
    alike = sum(
        Fraction(one) == other
        for row, slopes in zip(found.tolist(), by_hand, strict=True)
        for one, other in zip(row, slopes, strict=True)
    )
    return {"slopes": found.numel(), "alike": alike, "moved": moved.double().mean(dim=0).tolist()}


_Chain = tuple[list[Fraction], list[Fraction], Fraction, Fraction]


def _chain(draw: random.Random, length: int, closed: int) -> _Chain:
    """Weights, biases, input and target; the biases put each z where its gate is to be."""
    x = draw.choice(_QUARTERS)
    weights, biases, h = [], [], x
    for place in range(1, length + 1):
        weight = draw.choice(_QUARTERS) * draw.choice((-1, 1))
        z = draw.choice(_QUARTERS) * (-1 if place == closed else 1)
        weights.append(weight)
        biases.append(z - weight * h)
        h = max(z, Fraction(0))
    # Never met by the last h, so that the error always has a slope there.
    return weights, biases, x, h + draw.choice(_QUARTERS) * draw.choice((-1, 1))


def _slopes(weights: list[Fraction], biases: list[Fraction], x: Fraction, target: Fraction) -> list[Fraction]:
    """∂error/∂w_k = (h_n − t) · f′(z_n) · w_n · f′(z_{n−1}) ⋯ w_{k+1} · f′(z_k) · h_{k−1}, by hand."""
    inputs, factors, h = [], [], x
    for weight, bias in zip(weights, biases, strict=True):
        inputs.append(h)
        z = weight * h + bias
        factors.append(1 if z > 0 else 0)
        h = z * factors[-1]
    slopes, back = [], h - target
    for weight, factor, before in zip(reversed(weights), reversed(factors), reversed(inputs), strict=True):
        back *= factor
        slopes.append(back * before)
        back *= weight
    return slopes[::-1]
