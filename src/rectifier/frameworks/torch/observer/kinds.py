"""What a module is to the check-up: a layer with weights, a normalisation, a pooling, or something it cannot open."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

__all__ = [
    "computes_plainly",
    "has_weights",
    "is_activation_like",
    "is_norm",
    "is_opaque",
    "is_pool",
    "unit_axis",
]

_POOL_MODULES = (_MaxPoolNd, _AvgPoolNd, _AdaptiveMaxPoolNd, _AdaptiveAvgPoolNd)

_NOT_ACTIVATIONS = frozenset({"MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin"})


def computes_plainly(module: nn.Module) -> bool:
    """Whether its forward pass is PyTorch's own: a subclass or a patched one may compute anything."""
    kind = type(module)
    return (
        "forward" not in module.__dict__
        and getattr(kind.forward, "__module__", "").startswith("torch.nn.modules.")
        and getattr(getattr(kind, "_conv_forward", kind.forward), "__module__", "").startswith("torch.nn.modules.")
    )


def has_weights(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, _ConvNd))


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm)


def is_pool(module: nn.Module) -> bool:
    return isinstance(module, _POOL_MODULES)


def calls_nothing_else(module: nn.Module) -> bool:
    """PyTorch's own modules of which no forward pass calls a rectifier but those of its parts."""
    kind = type(module)
    return kind.__module__.startswith("torch.nn.modules.") and not kind.__module__.endswith((".transformer", ".rnn"))


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


def unit_axis(z: torch.Tensor, known: int | None) -> tuple[int, bool]:
    """Axis of the units, and whether it is a guess: the axis followed, else the field's habit (1 for maps)."""
    if known is not None and -known <= z.ndim:
        return z.ndim + known, False
    # Without positions there is only one axis besides the samples.
    return (1 if z.ndim >= 4 else z.ndim - 1), z.ndim >= 3
