"""Counting gates at every step of a training, and nothing else, where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..sites import identify
from .observe import Observer
from .popcount import countable

__all__ = ["Counting"]

Tensor = torch.Tensor


class Counting:
    """Counts at every step which units fired, and nothing else: gates are packed, and counted some steps later.

    The gate that layers of ours keep for their backward pass is not used: it does not tell a NaN from a firing, and to
    look for one takes longer than to pack a gate. For sites that are modules; calls such as ``F.relu`` are only seen by
    a look at everything.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._handles: list[Any] = []
        self._hooked: tuple[set[str], int] | None = None
        """The sites, and how often modules were replaced, when hooks were put on."""
        self._seen: dict[str, int] = {}
        self._packed = False
        self._depth = 0
        self.paused = False

    @property
    def suffices(self) -> bool:
        """Whether all sites seen so far are modules, each with all values that it is given."""
        if not self._observer.gates.by_modules:
            return False
        labels = {name or type(module).__name__ for name, module in self._observer.names.items()}
        return all(site.partition("@")[0] in labels for site in self._observer.sites)

    def follow(self, *, inside: bool) -> None:
        """Hook on to the activation modules seen so far; ``inside`` a forward pass that has begun, or not."""
        modules = {site.partition("@")[0] for site in self._observer.sites}
        if (modules, self._observer.walks) == self._hooked:
            return
        self.detach()
        self._hooked = modules, self._observer.walks
        model = self._observer.model
        self._handles.append(model.register_forward_pre_hook(self._enter))
        for name, module in self._observer.names.items():
            label = name or type(module).__name__
            if label in modules and identify(module) is not None:
                self._handles.append(module.register_forward_pre_hook(self._before(label), with_kwargs=True))
        self._handles.append(model.register_forward_hook(self._leave, always_call=True))
        if inside:
            self._enter(model, ())

    def settle(self) -> None:
        """Count the gates that are put aside."""
        for tally in self._observer.sites.values():
            tally.settle()

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooked = None
        self._depth = 0

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self._depth or not self.paused and module.training and torch.is_grad_enabled():
            self._depth += 1
            if self._depth == 1:
                self._seen.clear()
                self._packed = countable()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)

    def _before(self, label: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            if not self._depth:
                return
            n = self._seen.get(label, 0)
            self._seen[label] = n + 1
            tally = self._observer.sites.get(f"{label}@{n}" if n else label)
            z = args[0] if args else next(iter(kwargs.values()), None)
            if tally is not None and isinstance(z, Tensor):
                tally.count(z, packed=self._packed)

        return hook
