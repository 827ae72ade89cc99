"""Sequences: the digits read row by row (or pixel by pixel) by recurrent networks."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import nn

import rectifier.torch as rt

from ...errors import RectifierValueError
from . import images
from .layers import gain, layer
from .setup import Setup, choice, whole
from .training import Batch, Problem, accuracy, shuffled, train

__all__ = ["Reader", "rows"]


class Reader(nn.Module):
    """v_t = f(W x_t + b + U h_{t−1}), h_t = v_t, or with leaky units h_t = α h_{t−1} + (1 − α) v_t; classes from h_T.

    The leaky form is ``rt.LeakyCell`` with any activation of the table in it.
    """

    def __init__(self, activation: str, shape: tuple[int, int], width: int) -> None:
        super().__init__()
        # Known beforehand, so that the loop can be traced and init_ finds the rectifier in it.
        self.steps, features = shape
        self.input = nn.Linear(features, width)
        self.recurrent = nn.Linear(width, width, bias=False)
        self.activation = layer(activation)
        self.leak: nn.Module | None = None
        self.output = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(self.input(x))

    def read(self, driven: torch.Tensor) -> torch.Tensor:
        """The outputs from W x + b of all steps, shape (batch, time, width)."""
        hidden = torch.zeros_like(driven[:, 0])
        # The formula of ``rt.LeakyAverage``, for one step at a time: a call of it costs more than the rest of the step.
        alpha = None if self.leak is None else cast(torch.Tensor, self.leak.alpha)
        for t in range(self.steps):
            value = self.activation(driven[:, t] + self.recurrent(hidden))
            hidden = value if alpha is None else torch.lerp(value, hidden, alpha)
        logits: torch.Tensor = self.output(hidden)
        return logits


def rows(
    setup: Setup,
    *,
    width: int = 48,
    recurrent: str = "orthogonal",
    alpha: float | None = None,
    learn_alpha: bool = True,
    by: str = "rows",
    delay: int = 0,
) -> dict[str, Any]:
    """A recurrent network over 8 rows of 8 pixels (``by="rows"``) or 64 pixels, then ``delay`` blank steps.

    recurrent: how U begins: "orthogonal" (times the activation's gain), "identity" (Le, Jaitly & Hinton 2015,
        arXiv:1504.00941) or "normal" (as every other layer). alpha: leaky units that begin at this α; None: plain ones.

    Tells as well: gradient_by_step (root mean square of ∂loss/∂(W x_t + b) on the validation images, first step
    first), the same before training, and alphas (their mean over the units) where they are leaky.
    """
    choice("recurrent", recurrent, ("orthogonal", "identity", "normal"))
    choice("by", by, ("rows", "pixels"))
    whole(1, width=width)
    whole(0, delay=delay)
    if alpha is None and learn_alpha is not True:
        raise RectifierValueError(
            f"claims: `learn_alpha` must be left out where there is no `alpha`; got {learn_alpha!r}. Pass alpha=0.9."
        )
    shape = (8, 8) if by == "rows" else (64, 1)
    data = {part: _sequences(batch, shape, delay) for part, batch in images.parts().items()}
    model = Reader(setup.activation, (shape[0] + delay, shape[1]), width)
    setup.initialise(model)
    if alpha is not None:  # only now, as init_ cannot trace through it
        model.leak = rt.LeakyAverage(width, alpha, learn=learn_alpha)
    _begin(setup, model, recurrent)
    problem = Problem(
        model=model,
        batches=shuffled(data["train"], images.BATCH, setup.generator(1)),
        parts=data,
        loss=nn.functional.cross_entropy,
        score=accuracy,
        goals=images.GOALS,
        extras=partial(_through_time, data["validation"]),
    )
    return train(setup, problem)


def _sequences(batch: Batch, shape: tuple[int, int], delay: int) -> Batch:
    x, y = batch
    return nn.functional.pad(x.reshape(-1, *shape), (0, 0, 0, delay)), y


def _begin(setup: Setup, model: Reader, recurrent: str) -> None:
    weight = model.recurrent.weight
    if recurrent == "identity":
        nn.init.eye_(weight)
    elif recurrent == "orthogonal":
        factor = gain(setup.activation) if setup.init == "gain" else 1.0
        nn.init.orthogonal_(weight, factor, generator=setup.generator(2))
    else:
        return
    with torch.no_grad():
        weight.mul_(setup.init_scale)


def _through_time(batch: Batch, model: nn.Module) -> dict[str, Any]:
    assert isinstance(model, Reader)
    x, y = batch
    driven = model.input(x).detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model.read(driven), y), driven)
    found: dict[str, Any] = {"gradient_by_step": gradient.double().square().mean(dim=(0, 2)).sqrt().tolist()}
    if isinstance(model.leak, rt.LeakyAverage):
        found["alphas"] = float(model.leak.alpha.detach().double().mean())
    return found
