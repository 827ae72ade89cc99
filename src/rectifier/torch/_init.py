"""``init_``: each layer gets the gain of the rectifier that follows it."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from .._gain import gain
from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.torch.sites import Site
from ..frameworks.torch.tracing.follow import LAYERS, Followers, followers

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
    such as ``F.relu`` included, of a copy that shares the weights. A model that cannot be traced is read in the order
    of its modules, where calls are not seen, and a UserWarning says so. PyTorch's rectifiers count like ours. What is
    no Linear or Conv layer is left as it is: transposed convolutions, recurrent layers, the input projections of
    ``MultiheadAttention``.

    model: changed in place. mode: ``"fan_in"`` keeps the scale of activations, ``"fan_out"`` that of gradients.
    generator: source of the random numbers; None takes PyTorch's global one.
    Returns one entry a layer, in the order of ``model.named_modules()``.
    Raises RectifierTypeError for what is no module; RectifierValueError for a model without such a layer or without a
    rectifier after one, with lazy layers or weights that are parametrised or on the meta device, for a rectifier
    outside its domain, and for another mode. Then nothing has been changed.

    The scale is kept at any depth where f grows no faster than its input. squared_relu does: each layer squares what
    the scale was off by, so a deep chain of it needs normalisation, whatever the initialisation.

    >>> model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    >>> for entry in init_(model, generator=torch.Generator().manual_seed(0)):
    ...     print(entry.layer, entry.rectifier, round(entry.gain, 4), round(entry.std, 4))
    0 relu 1.4142 0.1414
    2 None 1.0 0.1414
    """
    if not isinstance(model, nn.Module):
        raise RectifierTypeError(
            f"init_: `model` must be a torch.nn.Module; got {type(model).__name__}. Pass the whole model."
        )
    if mode not in ("fan_in", "fan_out"):
        raise RectifierValueError(
            f"init_: `mode` must be 'fan_in' or 'fan_out'; got {mode!r}. "
            "Pass 'fan_in' to keep the scale of activations."
        )
    layers: dict[str, nn.Module] = {
        name: module for name, module in model.named_modules() if isinstance(module, LAYERS)
    }
    if not layers:
        raise RectifierValueError(
            f"init_: `model` must have a Linear or Conv layer; got {type(model).__name__} without one. "
            "Pass the whole model."
        )
    _check(layers)
    found = followers(model)
    if not any(name in found.rectifier for name in layers):
        raise RectifierValueError(_no_rectifier(model, found))
    # All is computed, and so refused where it must be, before the first weight is written.
    entries = [_entry(name, layer, found.rectifier.get(name), mode) for name, layer in layers.items()]
    if found.untraced is not None:
        warnings.warn(
            f"init_: tracing the model failed ({found.untraced}), so the order of its modules told which rectifier "
            "follows which layer; calls such as F.relu are not seen there. Look at the entries returned.",
            stacklevel=2,
        )
    with torch.no_grad():
        for entry, layer in zip(entries, layers.values(), strict=True):
            layer.get_parameter("weight").normal_(0.0, entry.std, generator=generator)
            if layer.bias is not None:
                layer.get_parameter("bias").zero_()
    return tuple(entries)


def _check(layers: dict[str, nn.Module]) -> None:
    """Refuse weights that cannot be written."""
    lazy = [name for name, layer in layers.items() if any(map(nn.parameter.is_lazy, layer.parameters(recurse=False)))]
    if lazy:
        raise RectifierValueError(
            f"init_: `model` must have no lazy layer without weights; got {', '.join(map(repr, lazy))}. "
            "Run the model on one batch first."
        )
    for name, layer in layers.items():
        for part in ("weight", "bias"):
            if (
                part not in layer._parameters
            ):  # asked in this way, as spectral_norm changes with each look at its weight
                raise RectifierValueError(
                    f"init_: `model` must have parameters as weights; got layer {name!r}, whose {part} is computed "
                    "from others (weight_norm, spectral_norm, prune or another parametrisation). "
                    "Call init_ before it is parametrised."
                )
            value = layer._parameters[part]
            if value is not None and value.is_meta:
                raise RectifierValueError(
                    f"init_: `model` must have its weights in memory; got layer {name!r} on the device meta. "
                    "Call model.to_empty(device='cpu') first."
                )


def _no_rectifier(model: nn.Module, found: Followers) -> str:
    seen = f"got {type(model).__name__}, in which none follows a layer"
    if found.untraced is None:
        return f"init_: `model` must have a rectifier after a layer; {seen}. Add one such as rectifier.torch.ReLU()."
    return (
        f"init_: `model` must have a rectifier after a layer; {seen}, as far as the order of its modules tells "
        f"(tracing it failed: {found.untraced}). Make its rectifiers modules, in the order in which they are called."
    )


def _entry(name: str, layer: nn.Module, site: Site | None, mode: str) -> Initialised:
    weight = layer.get_parameter("weight")
    factor = 1.0 if site is None else _gain(name, *site)
    # A weight is (outputs, inputs per group, *kernel) in Linear and Conv alike.
    fan = math.prod(weight.shape[1:]) if mode == "fan_in" else weight.shape[0] * math.prod(weight.shape[2:])
    return Initialised(name, None if site is None else site[0], factor, factor / math.sqrt(max(fan, 1)))


def _gain(layer: str, row: str, parameters: dict[str, Any]) -> float:
    numbers = {}
    for name, value in parameters.items():
        if isinstance(value, torch.Tensor):
            if value.is_meta:
                raise RectifierValueError(
                    f"init_: `model` must have its weights in memory; got the {row} after layer {layer!r} on the "
                    "device meta. Call model.to_empty(device='cpu') first."
                )
            # One gain for all channels: the second moment is linear in s².
            value = value.detach().double().square().mean().sqrt()
        numbers[name] = float(value)
    try:
        return gain(row, **numbers)
    except RectifierValueError as error:
        given = ", ".join(f"{name}={value:g}" for name, value in numbers.items())
        raise RectifierValueError(
            f"init_: `model` must have rectifiers with parameters inside their domain; got {row}({given}) after layer "
            f"{layer!r}. Give it others, or draw the weights of that layer apart."
        ) from error
