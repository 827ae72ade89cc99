"""What one node of a traced graph tells of itself: the shape of an example, its name, what it may change."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

__all__ = ["BATCH", "bare", "example_of", "is_softmax", "say", "tells"]

Shape = tuple[int, ...]

#: A batch that no other axis is likely to be as long as: an axis of this length in front is the batch.
BATCH = 7919
#: Functions of these packages change what they are given only where their name or arguments say so.
_TELLING = ("torch", "_operator", "operator", "builtins", "math", "rectifier")


def example_of(value: Any) -> Shape | None:
    """Shape of one example; None for what has no batch in front, or no real values."""
    if not isinstance(value, torch.Tensor) or not value.dtype.is_floating_point:
        return None
    return tuple(int(n) for n in value.shape[1:]) if value.ndim >= 2 and value.shape[0] == BATCH else None


def is_softmax(node: fx.Node, shape: Shape | None) -> bool:
    """Over the last axis of values with one."""
    if shape is None or bare(node) != "softmax":
        return False
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    return dim in (-1, len(shape))


def say(node: fx.Node) -> str:
    """The module's name, or that of the call."""
    named = node.op in ("call_module", "call_method")
    return str(node.target) if named else str(getattr(node.target, "__name__", node.target))


def bare(node: fx.Node) -> str:
    """A call's name without underscores: ``add`` for ``add_``."""
    return "" if node.op == "call_module" else say(node).strip("_")


def tells(node: fx.Node) -> bool:
    return node.op != "call_function" or str(getattr(node.target, "__module__", None) or "torch").startswith(_TELLING)
