"""What ``watch`` does at every step of a training: next to nothing, so that the step costs what it did.

Looking at everything (:mod:`.observe`) takes longer than a small training step, so that is done at some steps only.
Between them :class:`Gradients` reads what the backward pass has left in ``.grad`` anyway, and :class:`Counting`, where
it is asked for, counts gates by a popcount.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..._family import family
from . import kernels
from .calm import plain_value
from .observe import Observer
from .reading import rows
from .sites import identify
from .tally import SiteTally

__all__ = ["Counting", "Gradients", "before_step", "on_pass", "on_step", "unowned"]

Tensor = torch.Tensor

#: Gradients are kept for at most so many steps before they are read, and at most so many of them.
_STEPS, _VALUES = 64, 1 << 20


def on_step(optimizer: torch.optim.Optimizer, after: Callable[[], None]) -> Any:
    """Call this after every step; the handle takes the hook off."""
    return optimizer.register_step_post_hook(lambda *_: after())


def before_step(optimizer: torch.optim.Optimizer, before: Callable[[], None]) -> Any:
    """Call this before every step; the handle takes the hook off."""
    return optimizer.register_step_pre_hook(lambda *_: before())


def on_pass(model: nn.Module, before: Callable[[], None]) -> Any:
    """Call this before every forward pass of a training; the handle takes the hook off."""

    def hook(module: nn.Module, args: Any) -> None:
        if module.training and torch.is_grad_enabled():
            before()

    return model.register_forward_pre_hook(hook)


def unowned(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[list[str], int]:
    """Names of the model's trained parameters that the optimizer does not step, and how many it does."""
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    names = [name for name, parameter in trained.items() if id(parameter) not in owned]
    return names, len(trained) - len(names)


@dataclass
class _Source:
    """One site and the parameter whose gradient has an entry (or a row) a unit."""

    site: str
    parameter: nn.Parameter
    by_row: bool
    row: slice
    missing: int = 0


class Gradients:
    """Proof of life at every step: a unit whose bias has a gradient has fired.

    dL/db = Σ f'(z)·dL/dh over the examples, which is exactly 0 where no gate was open; likewise for β of a batch
    normalisation, and for each row of the weights where there is no bias. A gradient of 0 proves nothing and is only a
    suspicion: the unit's outputs may be ignored. One copy a step into rows that are read together later; nothing waits
    for a device.

    It holds where the bias acts through this site alone. A penalty on it, a second path or gradients that nobody sets
    to zero show in a look: then a unit has a gradient though its gates were all shut, and its site is left out from
    then on (``refuted``).
    """

    def __init__(self, observer: Observer, optimizer: torch.optim.Optimizer) -> None:
        self._observer = observer
        self._owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self._sources: list[_Source] = []
        self.refuted: set[str] = set()
        self._step = self._filled = self._steps = 0
        self._ring = self._lived = torch.empty(0)
        self._targets: list[list[Tensor]] = []
        self._parameters: list[nn.Parameter] = []
        self._by_row: list[tuple[_Source, Tensor]] = []

    def follow(self) -> None:
        """Find the parameters of the sites seen so far. Where there are others than before, start anew."""
        found: list[_Source] = []
        size, device = 0, None
        for site, tally in self._observer.sites.items():
            source = self._of(site, tally)
            if source is not None and device in (None, source.parameter.device):
                device = source.parameter.device  # of several, the first: a ring each would be copies each
                source.row = slice(size, size + tally.units)
                size += tally.units
                found.append(source)
        known = [(source.site, id(source.parameter)) for source in self._sources]
        if known == [(source.site, id(source.parameter)) for source in found]:
            return
        self._sources, self._filled, self._steps = found, 0, 0
        deep = max(1, min(_STEPS, _VALUES // max(size, 1)))
        self._ring = torch.zeros(deep, size, device=device)
        self._lived = torch.zeros(size, dtype=torch.int64, device=device)
        whole = [source for source in found if not source.by_row]
        self._parameters = [source.parameter for source in whole]
        self._targets = [[row[source.row] for source in whole] for row in self._ring]
        # no two weights alike, so that gradients of a row are not likely to add up to 0
        self._by_row = [
            (source, torch.linspace(1.0, 2.0, source.parameter[0].numel(), device=device))
            for source in found
            if source.by_row
        ]

    def _of(self, site: str, tally: SiteTally) -> _Source | None:
        if tally.layer is None or site in self.refuted or family[tally.rectifier].negative_part != "none":
            return None
        names = self._observer.names
        layer = names[tally.layer]
        norm = names[tally.norm] if tally.norm else layer
        for module, name in ((norm, "bias"), (layer, "bias"), (layer, "weight")):
            parameter = plain_value(module, name)
            if type(parameter) is not nn.Parameter or id(parameter) not in self._owned or not parameter.is_leaf:
                continue
            by_row = name == "weight"
            matrix = rows(layer, parameter) if by_row else parameter
            if matrix is not None and matrix.shape[0] == tally.units and parameter.is_floating_point():
                return _Source(site, parameter, by_row, slice(0))
        return None

    @torch.no_grad()
    def see(self, step: int) -> None:
        """Read the gradients of this step. Steps follow each other without a gap."""
        if not self._sources:
            return
        self._step = step
        try:
            torch._foreach_copy_(self._targets[self._filled], [parameter.grad for parameter in self._parameters])
        except (TypeError, RuntimeError):  # one of them has no gradient, or one of another kind
            self._one_by_one()
        for source, weights in self._by_row:
            gradient, target = source.parameter.grad, self._ring[self._filled, source.row]
            if type(gradient) is Tensor and gradient.layout is torch.strided:
                torch.mv(gradient.reshape(gradient.shape[0], -1).to(weights.dtype), weights, out=target)
            else:
                source.missing += 1
                target.zero_()
        self._steps += 1
        self._filled += 1
        if self._filled == len(self._targets):
            self._read()

    def _one_by_one(self) -> None:
        for source in self._sources:
            if source.by_row:
                continue
            gradient, target = source.parameter.grad, self._ring[self._filled, source.row]
            if type(gradient) is Tensor and gradient.layout is torch.strided and gradient.shape == target.shape:
                target.copy_(gradient)
            else:
                source.missing += 1
                target.zero_()

    def _read(self) -> None:
        if not self._filled:
            return
        seen = self._ring[: self._filled]
        # An infinite or NaN gradient proves nothing.
        nth = torch.arange(1, self._filled + 1, device=seen.device).unsqueeze(1)
        last = (((seen != 0) & torch.isfinite(seen)) * nth).amax(dim=0)
        dated = torch.where(last > 0, last + (self._step - self._filled), last)
        self._lived = torch.maximum(self._lived, dated)
        self._filled = 0

    @torch.no_grad()
    def give(self) -> None:
        """Hand over to the tallies of a look what was read since the last, to be taken with their sums."""
        latest = self._ring[(self._filled or len(self._targets)) - 1] if self._sources else self._ring
        self._read()
        for source in self._sources:
            tally = self._observer.sites[source.site]
            graded = self._steps - source.missing
            if not graded or not tally.examples or source.site in self.refuted:
                continue
            moving = latest[source.row]
            shut = (tally.sums["fired"] == 0) & (tally.sums["nan"] == 0)
            contradicted = (moving != 0) & torch.isfinite(moving) & shut
            tally.graded = graded
            tally.sums["lived"] = self._lived[source.row].clone()
            tally.sums["refuted"] = contradicted.sum().reshape(1)
        self._begin()

    def rest(self) -> dict[str, tuple[int, Any]]:
        """Site → (steps, last step of proved life a unit) since the last look: the one transfer at the end."""
        self._read()
        lived = self._lived.cpu().numpy()
        found = {
            source.site: (self._steps - source.missing, lived[source.row].copy())
            for source in self._sources
            if self._steps > source.missing and source.site not in self.refuted
        }
        self._begin()
        return found

    def _begin(self) -> None:
        self._steps = 0
        for source in self._sources:
            source.missing = 0
        self._lived = torch.zeros_like(self._lived)


#: Rectifiers of ours whose backward pass reads the gate, so that it is there to be counted.
_KEEP_GATES = frozenset({"relu", "leaky_relu", "abs"})
_KEPT_BY = frozenset({"FromGateBackward", "BoundBackward"})
_saving_hooks = torch._C._autograd._top_saved_tensors_default_hooks


class Counting:
    """Counts at every step which units fired, and nothing else: a popcount over packed gates.

    Layers of ours keep that gate for their backward pass: it is counted as it lies. For sites that are modules; calls
    such as ``F.relu`` are only seen by a look at everything.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._handles: list[Any] = []
        self._hooked: set[str] = set()
        self._seen: Counter[str] = Counter()
        self._depth = 0
        self.paused = False

    @property
    def suffices(self) -> bool:
        """Whether all sites seen so far are modules."""
        labels = {name or type(module).__name__ for name, module in self._observer.names.items()}
        return all(site.partition("@")[0] in labels for site in self._observer.sites)

    def follow(self, *, inside: bool) -> None:
        """Hook on to the activation modules seen so far; ``inside`` a forward pass that has begun, or not."""
        modules = {site.partition("@")[0] for site in self._observer.sites}
        if modules == self._hooked:
            return
        self.detach()
        self._hooked = modules
        model = self._observer.model
        self._handles.append(model.register_forward_pre_hook(self._enter))
        for name, module in self._observer.names.items():
            label = name or type(module).__name__
            found = identify(module) if label in modules else None
            if found is None:
                continue
            ours = type(module).__module__.startswith("rectifier.") and not getattr(module, "inplace", False)
            if ours and found[0] in _KEEP_GATES:
                self._handles.append(module.register_forward_hook(self._after(label), with_kwargs=True))
            else:
                self._handles.append(module.register_forward_pre_hook(self._before(label), with_kwargs=True))
        self._handles.append(model.register_forward_hook(self._leave, always_call=True))
        if inside:
            self._enter(model, ())

    def detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._hooked = set()
        self._depth = 0

    def _enter(self, module: nn.Module, args: Any) -> None:
        if self._depth or not self.paused and module.training and torch.is_grad_enabled():
            self._depth += 1
            if self._depth == 1:
                self._seen.clear()

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)

    def _tally(self, label: str) -> SiteTally | None:
        n = self._seen[label]
        self._seen[label] = n + 1
        return self._observer.sites.get(f"{label}@{n}" if n else label)

    def _before(self, label: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            if self._depth:
                z = _first(args, kwargs)
                tally = self._tally(label)
                if tally is not None and z is not None:
                    tally.count(z.detach())

        return hook

    def _after(self, label: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, h: Any) -> None:
            if self._depth:
                z = _first(args, kwargs)
                tally = self._tally(label)
                if tally is not None and z is not None:
                    tally.count(z.detach(), _kept_gate(z, h))

        return hook


def _first(args: Any, kwargs: Any) -> Tensor | None:
    return next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)


def _kept_gate(z: Tensor, h: Any) -> Tensor | None:
    """The packed gate of z that autograd holds for the backward pass of h, where it is just that."""
    node = h.grad_fn if isinstance(h, Tensor) else None
    # Under hooks on what is saved, reading it runs them: a checkpoint would compute its block anew.
    if type(node).__name__ not in _KEPT_BY or _saving_hooks(False) is not None or not h.is_contiguous():
        return None
    bits = node.saved_tensors[0]  # type: ignore[union-attr]
    return bits if kernels.reach_kept(bits, z) else None
