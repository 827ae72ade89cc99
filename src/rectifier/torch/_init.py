"""``init_``: each layer gets the gain of the rectifier that follows it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from .._gain import gain
from ..errors import RectifierValueError
from ..frameworks.torch.follow import LAYERS, Followers, followers

__all__ = ["Initialised", "init_"]


class Initialised(NamedTuple):
    """What one layer was given."""

    layer: str
    """Qualified name of the layer."""
    rectifier: str | None
    """Row of the rectifier that follows it; None where none does."""
    gain: float
    """1/√E[f(z)²] for z ~ N(0, 1); 1 where no rectifier follows."""
    std: float
    """Standard deviation of its weights: gain/√fan."""


def init_(
    model: nn.Module,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    generator: torch.Generator | None = None,
) -> tuple[Initialised, ...]:
    """Initialise each Linear and Conv layer of ``model``: weights ~ N(0, (gain/√fan)²), biases 0.

    The gain is that of the rectifier that follows the layer, looked for through normalisation, dropout, pooling,
    reshaping and sums: √2 for ReLU, √(2/(1 + s²)) for a slope s (He et al. 2015, arXiv:1502.01852), 1 for SELU and
    where no rectifier follows (LeCun et al. 1998). What follows is read from the traced graph (``torch.fx``), calls
    such as ``F.relu`` included; a model that cannot be traced is read in the order of its modules, where calls are not
    seen. PyTorch's rectifiers count like ours. Transposed convolutions are left as they are.

    model: changed in place. mode: ``"fan_in"`` keeps the scale of activations, ``"fan_out"`` that of gradients.
    generator: source of the random numbers; None takes PyTorch's global one.
    Returns one entry a layer, in the order of ``model.named_modules()``.
    Raises RectifierValueError for a model without such a layer, without a rectifier after one, and for another mode.

    The scale is kept at any depth where f grows no faster than its input. squared_relu does: each layer squares what
    the scale was off by, so a deep chain of it needs normalisation, whatever the initialisation.

    >>> model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> for entry in init_(model, generator=torch.Generator().manual_seed(0)):
    ...     print(entry.layer, entry.rectifier, round(entry.gain, 4), round(entry.std, 4))
    0 relu 1.4142 0.1414
    2 None 1.0 0.1414
    """
    if mode not in ("fan_in", "fan_out"):
        raise RectifierValueError(
            f"init_: `mode` must be 'fan_in' or 'fan_out'; got {mode!r}. "
            "Pass 'fan_in' to keep the scale of activations."
        )
    layers = dict(_layers(model))
    if not layers:
        raise RectifierValueError(
            f"init_: `model` must have a Linear or Conv layer; got {type(model).__name__} without one. "
            "Pass the whole model, after lazy layers have seen a batch."
        )
    found = followers(model)
    if not any(name in found.rectifier for name in layers):
        raise RectifierValueError(_no_rectifier(model, found))
    return tuple(_initialise(name, layer, found.rectifier.get(name), mode, generator) for name, layer in layers.items())


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, LAYERS) and not nn.parameter.is_lazy(module.weight):
            yield name, module


def _no_rectifier(model: nn.Module, found: Followers) -> str:
    seen = f"got {type(model).__name__}, in which none follows a layer"
    if found.untraced is None:
        return f"init_: `model` must have a rectifier after a layer; {seen}. Add one such as rectifier.torch.ReLU()."
    return (
        f"init_: `model` must have a rectifier after a layer; {seen}, as far as the order of its modules tells "
        f"(tracing it failed: {found.untraced}). Make its rectifiers modules, in the order in which they are called."
    )


def _initialise(
    name: str,
    layer: nn.Module,
    site: tuple[str, dict[str, Any]] | None,
    mode: str,
    generator: torch.Generator | None,
) -> Initialised:
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    factor = 1.0 if site is None else _gain(*site)
    # A weight is (outputs, inputs per group, *kernel) in Linear and Conv alike.
    fan = weight[0].numel() if mode == "fan_in" else weight.shape[0] * math.prod(weight.shape[2:])
    std = factor / math.sqrt(max(fan, 1))
    with torch.no_grad():
        weight.normal_(0.0, std, generator=generator)
        if bias is not None:
            bias.zero_()
    return Initialised(name, None if site is None else site[0], factor, std)


def _gain(row: str, parameters: dict[str, Any]) -> float:
    numbers = {}
    for name, value in parameters.items():
        if isinstance(value, torch.Tensor):
            # One gain for all channels: the second moment is linear in s².
            value = value.detach().double().square().mean().sqrt()
        numbers[name] = float(value)
    return gain(row, **numbers)
