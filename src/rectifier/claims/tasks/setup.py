"""What every run of every task is told, and how its weights begin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

import rectifier.torch as rt

from ...errors import RectifierValueError
from ...frameworks.torch.sites import identify
from .layers import gain, own

__all__ = ["LAYERS", "Setup", "choice", "whole"]

#: Layers with weights.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)

_INITS = ("gain", "lecun", "torch")
_OPTIMIZERS = ("sgd", "momentum", "adam")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The part of a configuration that all tasks share."""

    activation: str
    """A label of ``ACTIVATIONS``, alone or with one parameter: "leaky_relu(negative_slope=0.2)"."""
    seed: int
    """Of the initial weights and of the order of the data: the same of both for every activation."""
    step: float
    """Step size."""
    budget: int
    """Updates of the weights."""
    optimizer: str = "momentum"
    """"sgd", "momentum" (SGD with 0.9) or "adam" (PyTorch's defaults)."""
    init: str = "gain"
    """"gain": ``rt.init_``, each layer by the gain of what follows it; "lecun": gain 1 everywhere; "torch": PyTorch's
    own uniform draw, whatever follows."""
    init_scale: float = 1.0
    """Factor on all initial weights."""
    init_bias: float = 0.0
    """Initial bias of every layer but the output."""
    own_layers: bool = False
    """PyTorch's own activation layers where the library's stand for them: for what is timed."""

    def __post_init__(self) -> None:
        whole(0, seed=self.seed)
        whole(1, budget=self.budget)
        for name in ("step", "init_scale"):
            if not (_number(value := getattr(self, name)) and 0.0 < value < math.inf):
                raise RectifierValueError(f"claims: `{name}` must be a number above 0; got {value!r}. Pass 0.1.")
        if not (_number(self.init_bias) and math.isfinite(self.init_bias)):
            raise RectifierValueError(f"claims: `init_bias` must be a finite number; got {self.init_bias!r}. Pass 0.")
        choice("optimizer", self.optimizer, _OPTIMIZERS)
        choice("init", self.init, _INITS)
        choice("own_layers", self.own_layers, (False, True))

    def generator(self, stream: int) -> torch.Generator:
        """A source of random numbers of its own for each use, so that one never shifts another."""
        return torch.Generator().manual_seed(1000 * self.seed + stream)

    def initialise(self, model: nn.Module) -> None:
        """Draw the weights; a layer called ``output`` gets gain 1 and no bias. Then see to ``own_layers``."""
        layers = {name: part for name, part in model.named_modules() if isinstance(part, LAYERS)}
        source = self.generator(0)
        if self.init == "gain" and any(identify(part) for part in model.modules()):
            rt.init_(model, generator=source)
        elif self.init == "torch":
            for part in layers.values():
                bound = 1.0 / math.sqrt(fan_in(part))
                for weights in part.parameters():
                    nn.init.uniform_(weights, -bound, bound, generator=source)
        else:
            # Also where the library knows no rectifier in the model: after the identity, a threshold, or a false label.
            hidden = gain(self.activation) if self.init == "gain" else 1.0
            for name, part in layers.items():
                std = (1.0 if _is_output(name) else hidden) / math.sqrt(fan_in(part))
                nn.init.normal_(part.weight, 0.0, std, generator=source)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        with torch.no_grad():
            for name, part in layers.items():
                part.weight.mul_(self.init_scale)
                if part.bias is not None and not _is_output(name):
                    part.bias.add_(self.init_bias)
        if self.own_layers:
            for name, part in list(model.named_modules())[1:]:
                model.set_submodule(name, own(part))

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The fused forms: the same formulas in a fraction of the time on networks this small."""
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), lr=self.step, fused=True)
        momentum = 0.9 if self.optimizer == "momentum" else 0.0
        return torch.optim.SGD(model.parameters(), lr=self.step, momentum=momentum, fused=True)


def _is_output(name: str) -> bool:
    return name.rpartition(".")[2] == "output"


def fan_in(part: nn.Module) -> int:
    """Inputs of one unit of a layer."""
    return part.get_parameter("weight")[0].numel()


def choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        told = ", ".join(map(repr, choices))
        raise RectifierValueError(f"claims: `{name}` must be one of {told}; got {value!r}. Pass {choices[0]!r}.")


def whole(least: int, **values: object) -> None:
    """Refuse what is no whole number, or less than ``least``."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RectifierValueError(
                f"claims: `{name}` must be a whole number, {least} or more; got {value!r}. Pass {100 * least}."
            )


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
