"""What becomes of activations and gradients on their way through many layers, measured in networks as they begin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment
from .identities import numbers

if TYPE_CHECKING:
    import torch

__all__ = ["derivatives", "signals"]


@experiment(version=1)
def derivatives(config: Config) -> Outcome:
    """The derivative at ``many`` numbers of ``dtype`` drawn over all bit patterns: lowest, highest, not 0 or 1."""
    z = numbers(config["dtype"], config["many"], config["seed"])
    factor = np.asarray(ACTIVATIONS[config["activation"]].function.derivative(z))
    return {
        "compared": int(z.size),
        "lowest": float(factor.min()),
        "highest": float(factor.max()),
        "others": int(((factor != 0) & (factor != 1)).sum()),
    }


@experiment(version=1)
def signals(config: Config) -> Outcome:
    """One look through ``depth`` layers of ``width`` units, as they begin, with 256 digits; float64.

    The weights are drawn by the activation's gain, times ``scale``. In the order of the layers:

    activations: root mean square of h
    gradients: root mean square of ∂L/∂z, as a share of ∂L/∂h of the last layer; L is a random sum of the outputs
    factors: root mean square of f′(z), what the activation alone does to the gradient of its layer
    lowest, highest, others: of f′(z) over all layers; share of those that are neither 0 nor 1
    closed: share of f′(z) that is 0
    """
    import torch

    from ..tasks import images
    from ..tasks.setup import Setup

    label, depth = config["activation"], config["depth"]
    model = images.feed_forward(label, 64, depth, config["width"], 10, "none")
    setup = Setup(activation=label, seed=config["seed"], step=1.0, budget=1, init_scale=config["scale"])
    setup.initialise(model)
    model.double()
    h = images.parts()["train"][0][:256].double()
    before, after = [], []
    for place in range(1, depth + 1):
        z = model.get_submodule(f"linear{place}")(h)
        h = model.get_submodule(f"act{place}")(z)
        before.append(z)
        after.append(h)
    outputs = model.get_submodule("output")(h)
    loss = (outputs * torch.randn(outputs.shape, dtype=outputs.dtype, generator=setup.generator(3))).sum()
    *gradients, top = _gradients(loss, [*before, h])
    factors = torch.stack([_gradients(h.sum(), [z])[0] for z, h in zip(before, after, strict=True)])
    return {
        "activations": [_rms(h) for h in after],
        "gradients": [_rms(gradient) / _rms(top) for gradient in gradients],
        "factors": [_rms(factor) for factor in factors],
        "lowest": float(factors.min()),
        "highest": float(factors.max()),
        "others": float(((factors != 0) & (factors != 1)).double().mean()),
        "closed": float((factors == 0).double().mean()),
    }


def _gradients(of: torch.Tensor, at: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    import torch

    return torch.autograd.grad(of, at, retain_graph=True, allow_unused=True, materialize_grads=True)


def _rms(values: torch.Tensor) -> float:
    return math.sqrt(float(values.detach().square().mean()))
