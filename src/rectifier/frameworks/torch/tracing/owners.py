"""Whose the tensors are that a model computes with, and which of them can be made smaller where they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .channels import Channels, Slot

__all__ = ["Owners", "shared"]


def shared(model: nn.Module, module: nn.Module) -> tuple[str, str] | None:
    """A tensor of a module that another one of the model has, too: its name here, and the other module's name."""
    own = {id(tensor): name for name, tensor in _tensors(module) if tensor is not None}
    for path, other in model.named_modules():
        found = next((own[id(tensor)] for _, tensor in _tensors(other) if id(tensor) in own), None)
        if other is not module and found is not None:
            return found, path
    return None


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor | None]]:
    return [*module._parameters.items(), *module._buffers.items()]


class Owners:
    """Parameters and buffers of a model by the module that holds them."""

    def __init__(self, model: nn.Module, channels: Channels) -> None:
        self.channels = channels
        self._held: dict[int, list[tuple[nn.Module, str, str]]] = {}
        self._used: dict[int, list[torch.Tensor]] = {}
        self._read: dict[int, str] = {}
        for path, module in model.named_modules():
            for name, tensor in _tensors(module):
                if tensor is not None:
                    self._held.setdefault(id(tensor), []).append((module, name, path))

    def of(self, tensor: torch.Tensor) -> tuple[nn.Module, str, str] | str:
        """Module, name in it and the module's own name; or why the tensor cannot be made smaller there."""
        owners = self._held.get(id(tensor), [])
        if not owners:
            return "computes with a tensor that is computed from others, by a parametrization or by code"
        if len(owners) > 1:
            names = " and ".join(".".join(filter(None, (path, name))) for _, name, path in owners)
            return f"{names} are one tensor"
        module, name, path = owners[0]
        if _hooked(module):
            return f"layer {path} has hooks"
        if getattr(tensor, "_backward_hooks", None) or getattr(tensor, "_post_accumulate_grad_hooks", None):
            return f"{'.'.join(filter(None, (path, name)))} has hooks"
        return owners[0]

    def take(self, tensor: torch.Tensor, axes: Mapping[int, torch.Tensor], where: str, *, slots: bool = True) -> None:
        """These channels are places along these axes of this tensor; they stay where it cannot be made smaller.

        where: the layer or call that computes with it. slots: False where it is made smaller in another way.
        """
        owner = self.of(tensor)
        again = id(tensor) in self._used
        used = self._used.setdefault(id(tensor), [])
        used += axes.values()
        if isinstance(owner, str) or again:
            reader = self._read.get(id(tensor))
            reason = f"{where} is called several times" if reader is None else f"{reader} reads its weights as well"
            if isinstance(owner, str):
                reason = f"{where} {owner}" if id(tensor) not in self._held else owner
            for channels in used:
                self.channels.hold(channels, reason)
        elif slots:
            self.channels.slots += [Slot(tensor, axis, channels) for axis, channels in axes.items()]

    def met(self, tensor: torch.Tensor, where: str) -> None:
        """A call that is not known computes with this tensor, so that its size has to stay."""
        if id(tensor) in self._held:
            self.take(tensor, {}, where)

    def read(self, tensor: torch.Tensor, where: str) -> None:
        """Besides its layer, a call computes something of this tensor alone, so that its size has to stay."""
        if id(tensor) in self._held:
            self._read[id(tensor)] = where
            for channels in self._used.get(id(tensor), ()):
                self.channels.hold(channels, f"{where} reads its weights as well")
            self._used.setdefault(id(tensor), [])

    @property
    def not_met(self) -> list[str]:
        """Layers none of whose tensors was met."""
        layers: dict[str, bool] = {}
        for key, owners in self._held.items():
            for _, name, path in owners:
                if name != "num_batches_tracked":
                    layers[path] = layers.get(path, False) or key in self._used
        return [path for path, met in layers.items() if not met]


def _hooked(module: nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(
        not (getattr(hook, "__module__", None) or "").startswith("rectifier.")
        for each in hooks
        for hook in each.values()
    )
