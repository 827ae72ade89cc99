"""What ``watch`` does at every step of a training: next to nothing, so that the step costs what it did.

Looking at everything (:mod:`.observe`) takes longer than a small training step, so that is done at some steps only.
Between them :class:`Gradients` reads what the backward pass has left in ``.grad`` anyway, and :class:`Counting`, where
it is asked for, counts gates by a popcount.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import nn

from ...._family import family
from ..calm import plain_value
from ..sites import identify
from .observe import Observer
from .popcount import countable
from .reading import rows
from .tally import SiteTally

__all__ = ["Counting", "Gradients", "before_step", "on_pass", "on_step", "unowned"]

Tensor = torch.Tensor
_set_grad_enabled = torch._C._set_grad_enabled

#: Gradients are kept for at most so many steps before they are read, and at most so many of them.
_STEPS, _VALUES = 128, 1 << 20


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
    units: int
    parameter: nn.Parameter
    by_row: bool
    rows: Tensor = field(default_factory=lambda: torch.empty(0))
    """Its gradients at the steps that are to be read, shape (steps, units); zeros where there was none."""
    missing: int = 0
    """Of these, those without one."""
    steps: int = 0
    """At which its gradient was read since the last look."""
    lived: Tensor | None = None
    latest: Tensor | None = None
    """Its gradient at the last step, where that was read."""
    quiet: Tensor | None = None
    """Units without a gradient in all the steps that were read together last."""


class Gradients:
    """Proof of life at every step: a unit whose bias has a gradient has fired.

    dL/db = Σ f'(z)·dL/dh over the examples, which is exactly 0 where no gate was open; likewise for β of a batch
    normalisation, and for each row of the weights where there is no bias. A gradient of 0 proves nothing and is only a
    suspicion: the unit's outputs may be ignored.

    At a step they are copied, in one call, and not looked at: many steps are read together, and nothing waits for a
    device. (To hold on to the tensors instead takes longer: it makes the allocator find new memory for all that the
    next step needs.)

    It holds where the bias acts through this site alone. A penalty on it, a second path or gradients that nobody sets
    to zero show in a look: then a unit has a gradient though its gates were all shut, and its site is left out from
    then on (``refuted``).
    """

    def __init__(self, observer: Observer, optimizer: torch.optim.Optimizer) -> None:
        self._observer = observer
        self._owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        self.refuted: set[str] = set()
        self.suspects = False
        """Whether a unit that moved has not for many steps; told on a CPU alone, elsewhere it would mean to wait."""
        self._sources: list[_Source] = []
        self._parameters: list[nn.Parameter] = []
        self._targets: list[list[Tensor]] = []
        self._weighted: list[tuple[_Source, Tensor]] = []
        self._held = self._step = self._calls = 0
        self._spent = 0.0

    def follow(self) -> None:
        """Find the parameters of the sites seen so far. Where there are others than before, start anew."""
        of = (self._of(site, tally) for site, tally in self._observer.sites.items())
        found = [source for source in of if source is not None]
        if [(s.site, id(s.parameter)) for s in self._sources] == [(s.site, id(s.parameter)) for s in found]:
            return
        self._sources = found
        most = max(1, min(_STEPS, _VALUES // max(1, sum(source.units for source in found))))
        for source in found:
            source.rows = torch.zeros(most, source.units, device=source.parameter.device)
        whole = [source for source in found if not source.by_row]
        self._parameters = [source.parameter for source in whole]
        self._targets = [[source.rows[n] for source in whole] for n in range(most)]
        # No two weights alike, so that the gradients of a row are not likely to add up to 0.
        self._weighted = [
            (source, torch.linspace(1.0, 2.0, source.parameter[0].numel(), device=source.parameter.device))
            for source in found
            if source.by_row
        ]
        self._held = 0
        self._begin()

    def _of(self, site: str, tally: SiteTally) -> _Source | None:
        row = family[tally.rectifier if tally.rectifier in family else "tanh"]  # what is no row proves no life either
        if tally.layer is None or site in self.refuted or row.comparison or row.negative_part != "none":
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
                return _Source(site, tally.units, parameter, by_row)
        return None

    def see(self, step: int) -> None:
        """Copy the gradients of this step. Steps follow each other without a gap."""
        if not self._sources:
            return
        begun = perf_counter()
        self._step = step
        # As torch.no_grad() does, which takes half as long as all the rest.
        before = torch.is_grad_enabled()
        _set_grad_enabled(False)
        try:
            self._copy()
        finally:
            _set_grad_enabled(before)
        self._spent += perf_counter() - begun
        self._calls += 1

    def _copy(self) -> None:
        if self._parameters:
            gradients: Any = [parameter.grad for parameter in self._parameters]
            try:
                torch._foreach_copy_(self._targets[self._held], gradients)
            except (TypeError, RuntimeError):  # there is none of one of them, or one of another kind
                self._one_by_one()
        for source, weights in self._weighted:
            gradient, row = source.parameter.grad, source.rows[self._held]
            if _dense(gradient):
                torch.mv(gradient.reshape(source.units, -1).to(weights.dtype), weights, out=row)
            else:
                source.missing += 1
                row.zero_()
        self._held += 1
        if self._held == len(self._targets):
            self._read()

    def _one_by_one(self) -> None:
        for source in self._sources:
            gradient, row = source.parameter.grad, source.rows[self._held]
            if source.by_row:
                continue
            if _dense(gradient) and gradient.shape == row.shape:
                row.copy_(gradient)
            else:
                source.missing += 1
                row.zero_()

    @property
    def seconds(self) -> float:
        """What a step costs on average."""
        return self._spent / max(self._calls, 1)

    @torch.no_grad()
    def _read(self) -> None:
        """Date the last sign of life of each unit in the steps that were copied."""
        for source in self._sources:
            rows, seen = source.rows[: self._held], self._held - source.missing
            source.missing = 0
            if not seen or source.site in self.refuted:
                continue
            source.steps += seen
            source.latest = rows[-1]
            lived = _dated(rows, self._step)
            if self._held == len(self._targets) and lived.device.type == "cpu":
                quiet = lived == 0
                self.suspects |= source.quiet is not None and bool((quiet & ~source.quiet).any())
                source.quiet = quiet
            source.lived = lived if source.lived is None else torch.maximum(source.lived, lived)
        self._held = 0

    @torch.no_grad()
    def give(self) -> None:
        """Hand over to the tallies of a look what was read since the last, to be taken with their sums."""
        self._read()
        for source in self._sources:
            tally = self._observer.sites[source.site]
            if source.lived is None or not tally.examples:
                continue
            shut = (tally.sums["fired"] == 0) & (tally.sums["nan"] == 0)
            tally.graded = source.steps
            tally.sums["lived"] = source.lived
            assert source.latest is not None
            tally.sums["refuted"] = (shut & _proves(source.latest)).sum().reshape(1)
        self._begin()

    def rest(self) -> dict[str, tuple[int, Any]]:
        """Site → (steps, last step of proved life a unit) since the last look: the one transfer at the end."""
        self._read()
        found = {
            source.site: (source.steps, source.lived.cpu().numpy())
            for source in self._sources
            if source.lived is not None
        }
        self._begin()
        return found

    def _begin(self) -> None:
        self.suspects = False
        for source in self._sources:
            source.steps, source.lived, source.latest = 0, None, None


def _dense(gradient: Tensor | None) -> TypeGuard[Tensor]:
    return type(gradient) is Tensor and gradient.layout is torch.strided


def _proves(gradient: Tensor) -> Tensor:
    """Which entries prove that a unit fired: an infinite or NaN gradient does not."""
    return (gradient != 0) & torch.isfinite(gradient)


def _dated(rows: Tensor, step: int) -> Tensor:
    """The last step of each unit at which its gradient proves life, 0 where none does; ``step``: that of rows[-1]."""
    first = step - len(rows) + 1
    if rows.device.type != "cpu":  # to ask whether there is more to look at would be to wait for the device
        return (_proves(rows) * torch.arange(first, step + 1, device=rows.device).unsqueeze(1)).amax(dim=0)
    # NumPy's calls are the cheaper ones for a few hundred numbers. Most units moved at the last step.
    seen = rows.numpy()
    moved = (seen[-1] != 0) & np.isfinite(seen[-1])
    dated = moved * np.int64(step)
    if not moved.all():
        before = seen[:, ~moved]
        if before.any():
            proves = (before != 0) & np.isfinite(before)
            dated[~moved] = (proves * np.arange(first, step + 1)[:, np.newaxis]).max(axis=0)
    return torch.from_numpy(dated)


class Counting:
    """Counts at every step which units fired, and nothing else: gates are packed, and counted some steps later.

    The gate that layers of ours keep for their backward pass is not used: it does not tell a NaN from a firing, and to
    look for one takes longer than to pack a gate. For sites that are modules; calls such as ``F.relu`` are only seen by
    a look at everything.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._handles: list[Any] = []
        self._hooked: set[str] = set()
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
        if modules == self._hooked:
            return
        self.detach()
        self._hooked = modules
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
        self._hooked = set()
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
