"""Seeing the calls of PyTorch's functions that a forward pass makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Calls", "aside"]

#: Our own arithmetic in a hook is not a call of the model: the mode need not see it.
aside = torch._C.DisableTorchFunction


class Calls(TorchFunctionMode):
    """While it is on, each such call is handed to ``seen``, which makes it."""

    def __init__(self, seen: Callable[..., Any]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return self._seen(func, args, kwargs or {})
