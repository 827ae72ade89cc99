"""Changing slices of a model and taking it back, and a probe that measures the change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ...checkup.records import SiteVitals, Snapshot
from ...errors import RectifierValueError
from .answers import tensors_of
from .calm import undisturbed
from .checkup import arguments
from .observer.observe import Observer
from .tracing.graph import Place

__all__ = [
    "Edit",
    "Edits",
    "Look",
    "count_parameters",
    "look",
    "output_change",
    "refuse_undo",
    "sizes_of",
    "unchanged",
]


@dataclass
class Edit:
    """New values for a slice of a tensor; ``saved`` (what was there) and ``written`` once it is made."""

    tensor: torch.Tensor
    axis: int
    index: torch.Tensor
    value: torch.Tensor | float
    saved: torch.Tensor | None = None
    written: torch.Tensor | None = None

    def _at(self) -> tuple[Any, ...]:
        return (slice(None),) * self.axis + (self.index.to(self.tensor.device),)

    def make(self) -> None:
        with torch.no_grad():
            self.saved = self.tensor[self._at()].clone()
        self.write()

    def write(self) -> None:
        """Put the value in; what was there before the act stays saved."""
        value = self.value
        with torch.no_grad():
            self.tensor[self._at()] = value.to(self.tensor) if isinstance(value, torch.Tensor) else value
            self.written = self.tensor[self._at()].clone()

    @property
    def changed(self) -> bool:
        """Has the slice been written to since, by training or another act?"""
        if self.saved is None or self.written is None:
            return False
        with torch.no_grad():
            return not unchanged(self.tensor[self._at()], self.written)

    def undo(self) -> None:
        if self.saved is not None:
            with torch.no_grad():
                self.tensor[self._at()] = self.saved
            self.saved = None


def unchanged(now: torch.Tensor, then: torch.Tensor) -> bool:
    """The same values in the same format, NaN for NaN."""
    if now.shape != then.shape or now.dtype != then.dtype:
        return False
    then = then.to(now.device)
    return bool(((now == then) | (torch.isnan(now) & torch.isnan(then))).all())


def refuse_undo(site: str, what: str) -> RectifierValueError:
    """To put old rows into weights that were trained on would mix two models."""
    return RectifierValueError(
        f"undo: the model must be as the act at {site!r} left it; got {what} that changed since. "
        "Keep the act, or go on from a copy of the model made before it."
    )


@dataclass
class Edits:
    """Edits made in order and undone in reverse, bit for bit."""

    edits: list[Edit] = field(default_factory=list)

    def make(self) -> None:
        for edit in self.edits:
            edit.make()

    def undo(self, site: str) -> None:
        if any(edit.changed for edit in self.edits):
            raise refuse_undo(site, "weights or optimizer state")
        for edit in reversed(self.edits):
            edit.undo()


@dataclass(frozen=True)
class Look:
    """A model's answer to a probe: its outputs, what its sites did, and the mean of each consumer's inputs."""

    outputs: tuple[torch.Tensor, ...]
    snapshot: Snapshot | None
    means: Mapping[str, torch.Tensor]

    def site(self, name: str) -> SiteVitals | None:
        """What this site did on the probe."""
        sites = self.snapshot.sites if self.snapshot is not None else ()
        return next((site for site in sites if site.site == name), None)


def look(model: nn.Module, probe: Any, places: Sequence[Place], verb: str) -> Look:
    """Run the probe in evaluation mode, leaving no trace."""
    args, kwargs = arguments(probe, f"{verb}: `probe` must be a tensor, or a tuple or dict of them")
    means: dict[str, torch.Tensor] = {}

    def mean_of(name: str, axis_from_end: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].detach().to(torch.float64)
            axis = x.ndim - axis_from_end
            means[name] = x.mean(dim=[d for d in range(x.ndim) if d != axis]) if x.ndim > 1 else x

        return hook

    observer = Observer(model, training_only=False)
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        stack.enter_context(torch.no_grad())
        observer.attach()
        stack.callback(observer.detach)
        for consumer in (consumer for place in places for consumer in place.consumers):
            spatial = len(getattr(consumer.module, "kernel_size", ()))
            handle = consumer.module.register_forward_pre_hook(mean_of(consumer.name, spatial + 1))
            stack.callback(handle.remove)
        try:
            outputs = model(*args, **kwargs)
        except Exception as error:
            error.add_note(f"{verb}: the model raised this on `probe`. Pass a batch of inputs, without targets.")
            raise
    tensors = [tensor.detach().clone() for tensor in tensors_of(outputs)]
    return Look(tuple(tensors), observer.take(0), means)


def output_change(before: Look, after: Look) -> float:
    """max |Δ output|; a value that is the same NaN or infinity before and after has not changed."""
    largest = 0.0
    for old, new in zip(before.outputs, after.outputs, strict=True):
        if old.numel():
            same = (old == new) | (torch.isnan(old) & torch.isnan(new))
            change = (new.to(torch.float64) - old.to(torch.float64)).abs().masked_fill(same, 0.0)
            largest = max(largest, float(change.max()))
    return largest


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def sizes_of(module: nn.Module, groups: int | None = None) -> dict[str, int]:
    """What a module is to say of its size, from the sizes of its tensors: attribute → number.

    groups: of a convolution, which no tensor tells; those that it has by default.
    """
    weight = module._parameters.get("weight")
    if isinstance(module, _NormBase):
        tensor = weight if weight is not None else module._buffers.get("running_mean")
        return {} if tensor is None else {"num_features": tensor.shape[0]}
    if weight is None:
        return {}
    if isinstance(module, nn.Linear):
        return {"out_features": weight.shape[0], "in_features": weight.shape[1]}
    if isinstance(module, _ConvNd):
        many = module.groups if groups is None else groups
        first, second = ("in", "out") if isinstance(module, _ConvTransposeNd) else ("out", "in")
        return {f"{first}_channels": weight.shape[0], f"{second}_channels": weight.shape[1] * many, "groups": many}
    return {"num_parameters": weight.numel()} if isinstance(module, nn.PReLU) else {}
