"""Rules that are a few lines of everybody's own code: hooks on the ReLU modules, and a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from benchmarks.patients.case import Answer, Visit, bare, call

__all__ = ["TOOLS"]

Tensor = torch.Tensor
MODULES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)


@torch.no_grad()
def outputs(visit: Visit, batches: Iterable[Any]) -> dict[str, Tensor]:
    """place → Σ over the batches of |h|, (units,): of every call of an activation module, seen by a hook."""
    found: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def see(name: str, h: Tensor) -> None:
        calls[name] = calls.get(name, -1) + 1
        place = f"{name}@{calls[name]}" if calls[name] else name
        size = h.abs().movedim(1, -1).flatten(0, -2).sum(0) if h.ndim == 4 else h.abs().flatten(0, -2).sum(0)
        found[place] = found[place] + size if place in found else size

    handles = [
        module.register_forward_hook(lambda _, args, h, name=name: see(bare(name), h))
        for name, module in visit.model.named_modules()
        if isinstance(module, MODULES)
    ]
    visit.model.eval()
    for inputs in batches:
        calls.clear()
        call(visit.model, inputs)
    for handle in handles:
        handle.remove()
    return found


class Rule:
    """A unit is called dead where its Σ|h| over the mean of that in its layer is at most τ.

    τ = 0.025 is how ReDo (Sokar et al. 2023, arXiv:2302.12902) picks the units that it recycles, τ = 0 its strict form;
    in one batch, τ = 0 is the usual "share of zeros" of blogs and notebooks.
    """

    live = False

    def __init__(self, name: str, tau: float, one_batch: bool = False) -> None:
        self.name, self._tau, self._one = name, tau, one_batch

    def version(self) -> str | None:
        return "own lines"

    def diagnose(self, visit: Visit) -> Answer:
        batches = [inputs for inputs, _ in visit.batches]
        sizes = outputs(visit, batches[:1] if self._one else batches)
        dead = {}
        for place, size in sizes.items():
            units = torch.nonzero(size <= self._tau * size.mean()).flatten().tolist()
            if units:
                dead[place] = set(units)
        return Answer(dead, alarms=tuple(f"{len(units)} units of {place}" for place, units in dead.items()))


TOOLS = (
    Rule("ReDo's rule, τ = 0", 0.0),
    Rule("ReDo's rule, τ = 0.025", 0.025),
    Rule("zeros in one batch", 0.0, one_batch=True),
)
