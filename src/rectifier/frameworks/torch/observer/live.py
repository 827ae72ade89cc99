"""What ``watch`` does at every step of a training: next to nothing, so that the step costs what it did.

Looking at everything (:mod:`.observe`) takes longer than a small training step, so that is done at some steps only.
Between them :class:`Gradients` reads what the backward pass has left in ``.grad`` anyway, and, where it is asked for,
:class:`~.counting.Counting` counts gates by a popcount.
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
from .observe import Observer
from .reading import rows
from .recurrent import parameters_of
from .tally import SiteTally
from .window import STEPS, Window, proves

__all__ = ["Gradients", "before_step", "on_pass", "on_step", "unowned"]

Tensor = torch.Tensor
_set_grad_enabled = torch._C._set_grad_enabled

#: Most gradients that are kept before they are read.
_VALUES = 1 << 20


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
    window: Window | None = None
    place: slice = field(default_factory=lambda: slice(0))
    """Where its units lie in the window."""
    missing: int = 0
    """Steps without a gradient, of those that are to be read."""
    steps: int = 0
    """At which its gradient was read since the last look."""
    kinked: Tensor | None = None
    """Units that had a gradient with their gates shut, and z = 0: it proves nothing of them."""

    def told(self) -> list[Tensor] | None:
        """The last step at which each unit's gradient proved life, 0 for none, and at how many it did."""
        if self.window is None or self.window.lived is None or not self.steps:
            return None
        found = self.window.told(self.place)
        return [values if self.kinked is None else values.masked_fill(self.kinked, 0) for values in found]


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
        self._windows: list[Window] = []
        self._most = 1
        self._held = self._step = self._calls = 0
        self._spent = 0.0

    def follow(self) -> None:
        """Find the parameters of the sites seen so far. Where there are others than before, start anew."""
        of = (self._of(site, tally) for site, tally in self._observer.sites.items())
        found = [source for source in of if source is not None]
        if [(s.site, id(s.parameter)) for s in self._sources] == [(s.site, id(s.parameter)) for s in found]:
            return
        self._sources = found
        self._most = max(1, min(STEPS, _VALUES // max(1, sum(source.units for source in found))))
        self._windows = []
        for device in {source.parameter.device: None for source in found}:
            here = [source for source in found if source.parameter.device == device]
            window, units = Window(device, sum(source.units for source in here), self._most), 0
            for source in here:
                source.window, source.place = window, slice(units, units + source.units)
                units += source.units
            self._windows.append(window)
        whole = [source for source in found if not source.by_row]
        self._parameters = [source.parameter for source in whole]
        self._targets = [[_row(source, n) for source in whole] for n in range(self._most)]
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
        if site in self.refuted or row.comparison or row.negative_part != "none":
            return None
        names = self._observer.names
        if tally.layer is not None:
            layer = names[tally.layer]
            norm = names[tally.norm] if tally.norm else layer
            places: tuple[tuple[nn.Module, str], ...] = ((norm, "bias"), (layer, "bias"), (layer, "weight"))
        else:
            model, label = self._observer.model, site.partition("@")[0]
            layer = names.get(label, model)
            own = label in names or label == type(model).__name__
            places = tuple((layer, name) for name in parameters_of(layer)) if own else ()
        for module, name in places:
            parameter = plain_value(module, name)
            if type(parameter) is not nn.Parameter or id(parameter) not in self._owned or not parameter.is_leaf:
                continue
            by_row = name.startswith("weight")
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
            gradient, row = source.parameter.grad, _row(source, self._held)
            if _dense(gradient):
                torch.mv(gradient.reshape(source.units, -1).to(weights.dtype), weights, out=row)
            else:
                source.missing += 1
                row.zero_()
        self._held += 1
        if self._held == self._most:
            self._read()

    def _one_by_one(self) -> None:
        for source in self._sources:
            gradient, row = source.parameter.grad, _row(source, self._held)
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
        if not self._held:
            return
        for window in self._windows:
            missing = [source.place for source in self._sources if source.window is window and source.missing]
            followed = np.ones(window.rows.shape[1], dtype=bool) if missing else None
            for place in missing:
                followed[place] = False  # type: ignore[index]
            self.suspects |= window.read(self._held, self._step, followed)
        for source in self._sources:
            source.steps += self._held - source.missing
            source.missing = 0
        self._held = 0

    @torch.no_grad()
    def give(self) -> None:
        """Hand over to the tallies of a look what was read since the last, to be taken with their sums."""
        self._read()
        for source in self._sources:
            tally, told = self._observer.sites[source.site], source.told()
            if told is None or not tally.examples or source.site in self.refuted:
                continue
            assert source.window is not None and source.window.latest is not None
            shut = (tally.sums["fired"] == 0) & (tally.sums["nan"] == 0)
            wrong = shut & proves(source.window.latest[source.place])
            # clamp(min=0) passes a gradient on at z = 0, where nothing fires: that is no sign of a penalty.
            kinked = wrong & (tally.sums["max_z"] == 0)
            source.kinked = kinked if source.kinked is None else source.kinked | kinked
            tally.graded = source.steps
            tally.sums["lived"], tally.sums["lives"] = (values.masked_fill(source.kinked, 0) for values in told)
            tally.sums["refuted"] = (wrong & ~kinked).sum().reshape(1)
        self._begin()

    def rest(self) -> dict[str, tuple[int, Any, Any]]:
        """Site → (steps, the last of each unit's life, how many of it) since the last look: one transfer at the end."""
        self._read()
        found = {}
        for source in self._sources:
            told = source.told()
            if told is not None and source.site not in self.refuted:
                lived, lives = (values.cpu().numpy() for values in told)
                found[source.site] = source.steps, lived, lives
        self._begin()
        return found

    def _begin(self) -> None:
        self.suspects = False
        for window in self._windows:
            window.begin()
        for source in self._sources:
            source.steps = 0


def _row(source: _Source, step: int) -> Tensor:
    assert source.window is not None
    return source.window.rows[step, source.place]


def _dense(gradient: Tensor | None) -> TypeGuard[Tensor]:
    return type(gradient) is Tensor and gradient.layout is torch.strided
