"""Where a tensor came from: which layer made it, which site fed it, or the model's own input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)
from torch.utils.weak import WeakIdKeyDictionary

__all__ = [
    "Origin",
    "Origins",
    "has_weights",
    "is_activation_like",
    "is_norm",
    "is_opaque",
    "is_pool",
    "unit_axis",
]

#: Calls that keep every value and its order: what was true of the input is true of the output.
_SAME_ORDER = frozenset(
    {"clone", "contiguous", "detach", "flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view"}
)
#: Calls that keep the shape as well (dropout only hides units for a moment).
_SAME_SHAPE = frozenset(
    {"alpha_dropout", "clone", "contiguous", "detach", "dropout", "dropout1d", "dropout2d", "dropout3d"}
)
#: Calls of pooling: channels stay what they were, positions do not.
_POOLS = frozenset(
    f"{start}{kind}_pool{n}d" for start in ("", "_", "adaptive_") for kind in ("max", "avg") for n in (1, 2, 3)
)
_POOL_MODULES = (_MaxPoolNd, _AvgPoolNd, _AdaptiveMaxPoolNd, _AdaptiveAvgPoolNd)

_NOT_ACTIVATIONS = frozenset({"MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"})

#: Functional activations that are not of the family: named as not observed.
FOREIGN_CALLS = frozenset(
    {"gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "mish", "silu"}
    | {"softshrink", "softsign", "tanhshrink"}
)


@dataclass(frozen=True)
class Origin:
    """What is known of a tensor's past; None where it could not be followed."""

    layer: str | None = None
    """Layer with weights that made it (through at most one batch normalisation)."""
    norm: str | None = None
    site: str | None = None
    """Site whose outputs it holds (through reshaping, dropout and pooling)."""
    on_input: bool = False
    """True: that layer was called on the model's input."""
    input: bool = False
    """True: it holds the values of the model's one input tensor in their order."""


class Origins:
    """Tensor (by identity, weakly) → :class:`Origin`."""

    def __init__(self) -> None:
        self._of: Any = WeakIdKeyDictionary()

    def __getitem__(self, tensor: torch.Tensor) -> Origin:
        origin: Origin = self._of.get(tensor, Origin())
        return origin

    def __setitem__(self, tensor: torch.Tensor, origin: Origin) -> None:
        self._of[tensor] = origin

    def clear(self) -> None:
        self._of = WeakIdKeyDictionary()

    def follow(self, func: Callable[..., Any], args: tuple[Any, ...], result: Any) -> None:
        """Carry the origin of the first argument over to the result, where the call only moves values."""
        name = getattr(func, "__name__", "")
        if not (name in _SAME_ORDER or name in _SAME_SHAPE or name in _POOLS):
            return
        if not (args and isinstance(args[0], torch.Tensor) and isinstance(result, torch.Tensor)):
            return
        past = self[args[0]]
        if result is args[0]:
            return
        keeps_units = name in _SAME_SHAPE or name in _POOLS
        self[result] = Origin(
            layer=past.layer if keeps_units else None,
            norm=past.norm if keeps_units else None,
            on_input=keeps_units and past.on_input,
            site=past.site,
            input=past.input and (name in _SAME_ORDER or name in _SAME_SHAPE),
        )


def has_weights(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, _ConvNd))


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm)


def is_pool(module: nn.Module) -> bool:
    return isinstance(module, _POOL_MODULES)


def is_opaque(module: nn.Module) -> str | None:
    """Why the inside of a module cannot be seen, or None."""
    if isinstance(module, torch.jit.ScriptModule):
        return "scripted"
    if type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
        return "compiled"
    return None


def is_activation_like(module: nn.Module) -> bool:
    """PyTorch's own activation modules, and recurrent layers that hide a ReLU."""
    if isinstance(module, nn.RNNBase):
        return getattr(module, "nonlinearity", "") == "relu"
    kind = type(module)
    return kind.__module__ == "torch.nn.modules.activation" and kind.__name__ not in _NOT_ACTIVATIONS


def unit_axis(z: torch.Tensor, layer: nn.Module | None, norm: nn.Module | None) -> int:
    """Axis of the units: that of the layer which made ``z`` where it is known, else the field's habit (1 for maps)."""
    if isinstance(layer, _ConvNd):
        return z.ndim - 1 - len(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return z.ndim - 1
    if norm is not None and z.ndim > 1:
        return 1
    return 1 if z.ndim >= 4 else z.ndim - 1


def fan_in(module: nn.Module) -> int:
    if isinstance(module, _ConvTransposeNd):
        return module.in_channels // module.groups * int(torch.tensor(module.kernel_size).prod())
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    return weight[0].numel() if weight.shape[0] else 0
