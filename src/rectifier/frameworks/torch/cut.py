"""Smaller parameters in the same modules, with what an optimizer keeps of them, and the very same ones back."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...errors import RectifierValueError
from .surgery import refuse_undo, sizes_of, unchanged
from .tracing.channels import Channels

__all__ = ["Cut", "Kept", "Smaller", "kept_of"]

#: What makes the smaller tensor of a tensor of the same shape.
Smaller = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class Kept:
    """What is to become of one parameter or buffer."""

    tensor: torch.Tensor
    smaller: Smaller
    added: torch.Tensor | None = None
    """For a bias: what the constant inputs that go gave, shape of the whole bias."""
    groups: int | None = None
    """For the weight of a convolution of several groups: how many of them are left."""


def kept_of(channels: Channels, removed: set[int]) -> list[Kept]:
    """Every tensor that has places of a class that goes."""
    axes: dict[int, dict[int, torch.Tensor]] = {}
    tensors: dict[int, torch.Tensor] = {}
    for slot in channels.slots:
        kept = _kept(channels, slot.channels, removed)
        if len(kept) < slot.tensor.shape[slot.axis]:
            axes.setdefault(id(slot.tensor), {})[slot.axis] = kept
            tensors[id(slot.tensor)] = slot.tensor
    groups: dict[int, int] = {}
    plans: dict[int, Smaller] = {key: _selecting(found) for key, found in axes.items()}
    for layer in channels.grouped:
        sides = [_kept(channels, side, removed) for side in (layer.outputs, layer.inputs)]
        if any(len(kept) < len(side) for kept, side in zip(sides, (layer.outputs, layer.inputs), strict=True)):
            tensors[id(layer.weight)] = layer.weight
            plans[id(layer.weight)] = _by_group(sides[0], sides[1], layer.weight, layer.groups)
            rows = layer.weight.shape[0] // layer.groups
            groups[id(layer.weight)] = len((sides[0] // rows).unique())  # type: ignore[no-untyped-call]
    added = _folded(channels, removed, tensors)
    return [
        Kept(tensor, plans.get(key, torch.clone), added.get(key), groups.get(key)) for key, tensor in tensors.items()
    ]


def _kept(channels: Channels, of: torch.Tensor, removed: set[int]) -> torch.Tensor:
    return torch.tensor([i for i, root in enumerate(channels.roots(of)) if root not in removed], dtype=torch.int64)


def _selecting(axes: Mapping[int, torch.Tensor]) -> Smaller:
    def smaller(tensor: torch.Tensor) -> torch.Tensor:
        found = tensor.detach()
        for axis, kept in axes.items():
            found = found.index_select(axis, kept.to(found.device))
        return found.clone() if not axes else found

    return smaller


def _by_group(outputs: torch.Tensor, inputs: torch.Tensor, weight: torch.Tensor, groups: int) -> Smaller:
    """Rows of each group and, within it, the columns of the inputs of that group that are left."""
    rows, columns = weight.shape[0] // groups, weight.shape[1]

    def smaller(tensor: torch.Tensor) -> torch.Tensor:
        parts = []
        for group in range(groups):
            mine = outputs[outputs // rows == group].to(tensor.device)
            read = (inputs[inputs // columns == group] % columns).to(tensor.device)
            if len(mine):
                parts.append(tensor.detach().index_select(0, mine).index_select(1, read))
        return torch.cat(parts)

    return smaller


def _folded(channels: Channels, removed: set[int], tensors: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """id of a bias → what its layer was given by constants that go."""
    added: dict[int, torch.Tensor] = {}
    for reader in channels.readers:
        gone = [i for i, root in enumerate(channels.roots(reader.channels)) if root in removed]
        values = reader.values[gone]
        if reader.bias is None or not bool((values != 0).any()):
            continue
        weight = reader.weight.detach().to(torch.float64).cpu().index_select(reader.axis, torch.tensor(gone))
        given = weight.movedim(reader.axis, 1).reshape(weight.shape[0], len(gone), -1).sum(dim=2) @ values
        tensors[id(reader.bias)] = reader.bias
        added[id(reader.bias)] = given
    return added


@dataclass
class Cut:
    """The change of a model, and the way back."""

    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _left: list[tuple[dict[str, Any], str, torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def check(self, plan: Sequence[Kept]) -> None:
        """Refuse an optimizer whose state cannot be made smaller. Nothing is changed."""
        for kept in plan:
            for key, value in (self.optimizer.state.get(kept.tensor, {}) if self.optimizer else {}).items():
                plain = value is None or isinstance(value, (bool, int, float, str))
                fits = isinstance(value, torch.Tensor) and (value.numel() <= 1 or value.shape == kept.tensor.shape)
                if not (plain or fits):
                    shape = (
                        f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
                    )
                    raise RectifierValueError(
                        f"prune: `optimizer` must keep state of the shape of its parameter, "
                        f"{tuple(kept.tensor.shape)}; got {key!r} {shape} in {type(self.optimizer).__name__}. Leave "
                        "`optimizer` out and make a new one afterwards."
                    )

    def make(self, plan: Sequence[Kept]) -> None:
        groups = {id(self._replace(kept)): kept.groups for kept in plan if kept.groups is not None}
        for kept in plan:
            if kept.groups is None:
                self._replace(kept)
        for module in self.model.modules():
            weight = module._parameters.get("weight")
            for name, size in sizes_of(module, groups.get(id(weight))).items():
                if getattr(module, name) != size:
                    self._set(module.__dict__, name, size)

    def check_left(self, site: str, replaced: Collection[tuple[int, str]]) -> None:
        """Raises RectifierValueError where the smaller parameters were changed since. replaced: what was folded since,
        as id of the store and name."""
        here = {id(store) for module in self.model.modules() for store in (module._parameters, module._buffers)}
        for store, name, new, was in self._left:
            if (id(store), name) in replaced:
                continue
            # A layer that was put in the place of one that was cut has a store of its own.
            if id(store) not in here or store.get(name) is not new or not unchanged(new.detach(), was):
                raise refuse_undo(site, "parameters")

    def put_back(self) -> None:
        for step in reversed(self._undo):
            step()
        self._undo.clear()
        self._left.clear()

    def _replace(self, kept: Kept) -> torch.Tensor:
        old = kept.tensor
        whole = old.detach()
        if kept.added is not None:
            whole = (whole.to(torch.float64) + kept.added.to(whole.device)).to(old.dtype)
        new: torch.Tensor = _like(kept.smaller(whole), old)
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
            if old.grad is not None:
                new.grad = _like(kept.smaller(old.grad), old.grad)
        for module in self.model.modules():
            for store in (module._parameters, module._buffers):
                for name, value in store.items():
                    if value is old:
                        self._set(store, name, new)
                        self._left.append((store, name, new, new.detach().clone()))
        self._in_optimizer(old, new, kept.smaller)
        return new

    def _set(self, store: Any, name: Any, new: Any) -> None:
        old = store[name]
        store[name] = new

        def back() -> None:
            store[name] = old

        self._undo.append(back)

    def _in_optimizer(self, old: torch.Tensor, new: torch.Tensor, smaller: Smaller) -> None:
        if self.optimizer is None:
            return
        for group in self.optimizer.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter is old:
                    self._set(group["params"], place, new)
        if old not in self.optimizer.state:
            return
        state, every = self.optimizer.state[old], self.optimizer.state
        every[new] = {
            key: _like(smaller(value), value) if isinstance(value, torch.Tensor) and value.shape == old.shape else value
            for key, value in state.items()
        }
        for key, value in every[new].items():  # a counter of steps is counted on in place
            if isinstance(value, torch.Tensor) and value is state[key]:
                every[new][key] = value.clone()
        del every[old]

        def back() -> None:
            every.pop(new, None)
            every[old] = state

        self._undo.append(back)


def _like(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """In the memory format of the old one, and in memory of its own."""
    if old.ndim == 4 and old.is_contiguous(memory_format=torch.channels_last) and not old.is_contiguous():
        return new.contiguous(memory_format=torch.channels_last)
    return new.contiguous() if math.prod(new.shape) else new
