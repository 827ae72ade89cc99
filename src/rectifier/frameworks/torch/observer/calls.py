"""How a model is called, and the calls of PyTorch's functions that its forward pass makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["NOT_ONE", "Calls", "aside", "differs"]

#: Our own arithmetic in a hook is not a call of the model: the mode need not see it.
aside = torch._C.DisableTorchFunction

NOT_ONE = "it is not called with one tensor"
#: Arguments of these kinds are the default where they equal it.
_PLAIN = (bool, int, float, str)


class Calls(TorchFunctionMode):
    """While it is on, each such call is handed to ``seen``, which makes it."""

    def __init__(self, seen: Callable[..., Any]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._seen(func, args, kwargs or {})


def differs(
    model: nn.Module, tensor: torch.Tensor, before: tuple[int, ...] | None, args: Any, kwargs: Mapping[str, Any]
) -> str | None:
    """Why a trace, which gives the model one tensor and all else its default, may compute something else.

    before: shape of one example of the call before, or None.
    """
    if before is not None and before != tuple(tensor.shape[1:]):
        return "it is called with examples of several shapes"
    if not tensor.is_floating_point():  # sums of whole numbers may wrap around
        return "it is called with whole numbers"
    if len(args) == 1 and not kwargs:
        return None
    parameters = inspect.signature(model.forward).parameters
    for place, name in enumerate(parameters):
        value = args[place] if place < len(args) else kwargs.get(name, parameters[name].default)
        default = parameters[name].default
        if value is tensor:
            if place:
                return "its tensor is not its first argument"
        elif value is not default and not (type(value) is type(default) in _PLAIN and value == default):
            return f"it is called with {name} other than its default"
    return None if len(args) <= len(parameters) and kwargs.keys() <= parameters.keys() else NOT_ONE
