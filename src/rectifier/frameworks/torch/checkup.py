"""What the check-up asks of a framework, for PyTorch: find, observe and run a model."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from ...errors import RectifierTypeError, RectifierValueError
from .calm import plain_value, undisturbed
from .observer.counting import Counting
from .observer.distributed import gather, group_of, leads, title, unwrapped
from .observer.kinds import is_opaque
from .observer.live import Gradients, before_step, on_pass, on_step, unowned
from .observer.observe import Observer

if TYPE_CHECKING:
    from . import acts, pruning, trials, written
    from .tracing import certified

__all__ = [
    "Counting",
    "Gradients",
    "Observer",
    "acts",
    "arguments",
    "before_step",
    "certified",
    "check_optimizer",
    "gather",
    "group_of",
    "leads",
    "observable",
    "on_pass",
    "on_step",
    "pruning",
    "run",
    "title",
    "trials",
    "undisturbed",
    "unowned",
    "written",
]


def __getattr__(name: str) -> Any:
    if name in ("acts", "pruning", "trials", "written"):  # most load torch.fx, which a check does not need
        return importlib.import_module(f"rectifier.frameworks.torch.{name}")
    if name == "certified":
        return importlib.import_module("rectifier.frameworks.torch.tracing.certified")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def observable(model: nn.Module, verb: str) -> nn.Module:
    """The module whose inside can be seen: the model, the one under DDP, or for ``check`` the one that was compiled.

    Raises RectifierValueError for a model that cannot be looked into.
    """
    model = unwrapped(model)
    reason = is_opaque(model)
    inner = getattr(model, "_orig_mod", None)
    if reason == "compiled" and verb == "check":
        return inner if isinstance(inner, nn.Module) else model  # the same weights, run eagerly
    if reason == "compiled" and verb == "watch" and isinstance(inner, nn.Module):
        return model  # seen inside its graph
    if reason is not None:
        cure = "Pass the model that was compiled." if reason == "compiled" else "Pass the model before torch.jit."
        if verb == "watch" and reason == "compiled":
            cure = "Use torch.compile(model) in place of model.compile()."
        raise RectifierValueError(
            f"{verb}: `model` must run eagerly, module by module; got a {reason} {type(model).__name__}. {cure}"
        )
    if any(isinstance(parameter, UninitializedParameter) for parameter in model.parameters()):
        raise RectifierValueError(
            f"{verb}: `model` must have its parameters; got {type(model).__name__} with a lazy layer that never ran. "
            "Run one batch through it first."
        )
    return model


def check_optimizer(optimizer: Any, verb: str) -> None:
    """Refuse what is no optimizer of PyTorch's."""
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise RectifierTypeError(
            f"{verb}: `optimizer` must be a torch.optim.Optimizer or None; got {type(optimizer).__name__}. "
            "Pass the optimizer that steps this model."
        )


def run(observer: Observer, inputs: Any, targets: Any, loss: Callable[[Any, Any], Any] | None) -> float | None:
    """One batch through the observed model; with a loss, its value, and gradients that leave ``.grad`` alone."""
    args, kwargs = arguments(inputs, "check: `batches` must yield inputs that are tensors, or a tuple or dict of them")
    if loss is None:
        # Tensors of inference mode do not count their changes. Inputs are copied: a model may change them in place.
        with torch.inference_mode(False), torch.no_grad():
            args = tuple(_copied(value) for value in args)
            kwargs = {key: _copied(value) for key, value in kwargs.items()}
            observer.model(*args, **kwargs)
        return None
    with torch.inference_mode(False), torch.enable_grad():
        # Gradients are followed from the inputs on, so that frozen layers show theirs as well. A copy of each input:
        # a leaf cannot be changed in place, and the user's own tensor must not be.
        leaves: list[torch.Tensor] = []
        args = tuple(_followed(value, leaves) for value in args)
        kwargs = {key: _followed(value, leaves) for key, value in kwargs.items()}
        value = loss(observer.model(*args, **kwargs), targets)
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
            got = (
                f"a tensor of shape {tuple(value.shape)}{'' if value.requires_grad else ' without gradient'}"
                if isinstance(value, torch.Tensor)
                else type(value).__name__
            )
            raise RectifierValueError(
                f"check: `loss` must return a scalar tensor that depends on the outputs; got {got}. "
                "Return for instance torch.nn.functional.cross_entropy(outputs, targets)."
            )
        # What is computed anew at each reading is not the tensor that the loss was computed from.
        weights = {name: plain_value(observer.names[name], "weight") for name in observer.layers}
        asked = {
            name: weight
            for name, weight in weights.items()
            if isinstance(weight, torch.Tensor) and weight.requires_grad
        }
        found = torch.autograd.grad(value.reshape(()), [*asked.values(), *leaves], allow_unused=True)
        named = zip(asked, found, strict=False)
        observer.see_weight_gradients({name: gradient for name, gradient in named if gradient is not None})
        return float(value.detach())


def arguments(inputs: Any, rule: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of one call of the model."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,), {}
    if isinstance(inputs, (tuple, list)) and any(isinstance(value, torch.Tensor) for value in inputs):
        return tuple(inputs), {}
    if isinstance(inputs, Mapping) and any(isinstance(value, torch.Tensor) for value in inputs.values()):
        return (), dict(inputs)
    raise RectifierTypeError(f"{rule}; got {type(inputs).__name__}. Convert arrays with torch.as_tensor.")


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _followed(value: Any, leaves: list[torch.Tensor]) -> Any:
    if not isinstance(value, torch.Tensor) or not (value.is_floating_point() or value.is_complex()):
        return _copied(value)
    leaf = value.detach().clone().requires_grad_(True)
    leaves.append(leaf)
    return leaf.clone()
