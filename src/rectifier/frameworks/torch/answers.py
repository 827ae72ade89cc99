"""What a model gives: every tensor of its output, and its answer where some units give 0, whatever they would give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from .calm import undisturbed
from .observer.gates import Gates, Open
from .observer.observe import Observer

__all__ = ["answer", "tensors_of"]

_PLAIN = (str, bytes, int, float, complex, type, nn.Module)


def tensors_of(outputs: Any) -> list[torch.Tensor]:
    """The tensors of an output, also those that an object of the user's holds, which PyTorch does not look into."""
    found: list[torch.Tensor] = []
    waiting, met = [outputs], {id(None)}
    while waiting:
        for leaf in tree_leaves(waiting.pop()):
            if isinstance(leaf, torch.Tensor):
                found.append(leaf)
            elif not isinstance(leaf, _PLAIN) and id(leaf) not in met:
                met.add(id(leaf))
                waiting += _held(leaf)
    return found


def _held(value: Any) -> list[Any]:
    """What a container that is none of Python's own, or any other object, holds."""
    slots = [name for kind in type(value).__mro__ for name in _names(getattr(kind, "__slots__", ()))]
    own = [*getattr(value, "__dict__", {}).values(), *(getattr(value, name, None) for name in slots)]
    if isinstance(value, Mapping):
        return [*own, *value.values()]
    return [*own, *value] if isinstance(value, (Sequence, set, frozenset)) else own


def _names(slots: str | Iterable[str]) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


class _Shut(Gates):
    _o: _Silencer

    def close(self, opened: Open, h: torch.Tensor) -> None:
        super().close(opened, h)
        for unit in self._o.shut.get(opened.site, ()):
            h.select(opened.axis, unit).zero_()


class _Silencer(Observer):
    """shut: site → units that give 0."""

    def __init__(self, model: nn.Module, shut: Mapping[str, Sequence[int]]) -> None:
        super().__init__(model, training_only=False)
        self.gates = _Shut(self)
        self.shut = shut


def answer(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], shut: Mapping[str, Sequence[int]]
) -> tuple[torch.Tensor, ...]:
    """Its outputs in evaluation mode, leaving no trace. shut: site → units that are to give 0."""
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        stack.enter_context(torch.no_grad())
        if shut:
            observer = _Silencer(model, shut)
            observer.attach()
            stack.callback(observer.detach)
        return tuple(tensor.detach().clone() for tensor in tensors_of(model(*args, **kwargs)))
