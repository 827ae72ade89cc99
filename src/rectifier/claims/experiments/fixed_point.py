"""Networks in fixed point: every weight and every activation a small whole number times a power of two."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..lab.experiment import Config, Outcome, experiment

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["BITS", "fixed_point"]

#: Widths at which each network is tried.
BITS = (8, 6, 5, 4, 3)


@experiment(version=1)
def fixed_point(config: Config) -> Outcome:
    """Train a network of "digits-mlp" or "digits-cnn" as ``trained`` does, then run it in fixed point.

    Each tensor of weights, the input and the output of each activation have one step 2^−k of their own: the finest with
    which the largest number met still fits, in training images for activations. Weights are signed, activations signed
    where any met is negative; beyond the range they saturate. Products are summed and biases added without loss, as
    in accumulators of 32 bits; the activation is taken of that sum and rounded to nearest.

    exact: accuracy in float64 on the images of the test. For each number of bits: its accuracy in fixed point, and
    the share of the images that it calls otherwise (``bits``, ``fixed``, ``changed``).
    """
    import torch
    from torch import nn

    from ..tasks import images
    from ..tasks.setup import Setup
    from ..tasks.training import Problem, accuracy, shuffled, train

    label, data = config["activation"], images.parts()
    if config["task"] == "digits-cnn":
        model, data = images.convolutional(label, 8), images.maps(data)
    else:
        model = images.feed_forward(label, 64, 3, 64, 10, "none")
    setup = Setup(**{name: config[name] for name in ("activation", "step", "seed", "budget")})
    setup.initialise(model)
    batches = shuffled(data["train"], images.BATCH, setup.generator(1))
    train(setup, Problem(model, batches, data, nn.functional.cross_entropy, accuracy, images.GOALS))
    model.double()
    x, y = data["test"][0].double(), data["test"][1]
    known = data["train"][0].double()
    with torch.no_grad():
        exact = model(x)
        fixed = [_Rounded.of(model, known, bits).run(model, x) for bits in BITS]
    return {
        "exact": accuracy(exact, y),
        "bits": list(BITS),
        "fixed": [accuracy(outputs, y) for outputs in fixed],
        "changed": [1.0 - accuracy(outputs, exact.argmax(dim=1)) for outputs in fixed],
    }


@dataclass(frozen=True)
class Grid:
    """Whole numbers of ``bits`` bits times 2^−places."""

    bits: int
    signed: bool
    places: int

    @classmethod
    def of(cls, values: torch.Tensor, bits: int, *, signed: bool = False) -> Grid:
        """The finest grid that holds the values; signed also where one of them is negative."""
        signed = signed or bool((values < 0).any())
        most = 2 ** (bits - signed) - 1
        largest = float(values.detach().abs().max())
        places = math.floor(math.log2(most / largest)) if 0.0 < largest < math.inf else 0
        return cls(bits, signed, places)

    def round(self, values: torch.Tensor) -> torch.Tensor:
        most = 2 ** (self.bits - self.signed) - 1
        return (values * 2.0**self.places).round().clamp(-most - 1 if self.signed else 0, most) * 2.0**-self.places


@dataclass(frozen=True)
class _Rounded:
    """A network's weights on their grids, and the grids of its activations."""

    bits: int
    input: Grid
    activations: dict[str, Grid]
    weights: dict[str, torch.Tensor]

    @classmethod
    def of(cls, model: nn.Sequential, known: torch.Tensor, bits: int) -> _Rounded:
        from ..tasks.setup import LAYERS

        activations, weights, h = {}, {}, known
        for name, part in model.named_children():
            h = part(h)
            if isinstance(part, LAYERS):
                weights[name] = Grid.of(part.weight, bits, signed=True).round(part.weight.detach())
            elif name.startswith("act"):
                activations[name] = Grid.of(h, bits)
        return cls(bits, Grid.of(known, bits), activations, weights)

    def run(self, model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        from torch.func import functional_call

        h = self.input.round(x)
        for name, part in model.named_children():
            h = functional_call(part, {"weight": self.weights[name]}, (h,)) if name in self.weights else part(h)
            if name in self.activations:
                h = self.activations[name].round(h)
        return h
