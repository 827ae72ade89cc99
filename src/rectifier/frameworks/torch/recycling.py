"""Recycling on a PyTorch model: units get new incoming weights, and what reads them starts from 0."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from ..._family import family
from ..._gain import gain
from ...checkup.plan import NOTHING_BELOW, Act, Wanted
from ...errors import RectifierValueError
from .optimizer_state import Held, state_edits
from .surgery import Edit, Edits, Look, count_parameters, look, output_change
from .targets import Target, targets_of
from .tracing.graph import Consumer, Place

__all__ = ["LastInputs", "generator_of", "held", "needed_gain", "recycle", "take_back"]


def generator_of(seed: int | None) -> torch.Generator:
    """A source of new weights, apart from the global random state."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def recycle(
    model: nn.Module,
    wanted: Wanted,
    *,
    optimizers: Sequence[Optimizer],
    probe: Any,
    generator: torch.Generator,
    force: bool,
    starts: Mapping[str, float | str] | None = None,
    idle: bool = False,
) -> tuple[list[Act], tuple[str, ...]]:
    """New incoming weights (normal, deviation gain/√fan-in), bias 0, outgoing weights 0, optimizer state anew.

    starts: what a new optimizer holds, for keys of its state that torch.optim does not have. idle: where nothing can
    be done, do nothing instead of refusing.
    """
    # All is planned, and so refused where it must be, before the first weight is written.
    plans: dict[str, tuple[list[Edit], str]] = {}

    def plan(target: Target, seen: Look | None) -> None:
        quiet = _quiet(target, wanted, seen)
        plans[target.place.site] = _Plan(model, target, seen, quiet, optimizers, starts, generator).all()

    targets, skipped = targets_of(model, wanted, "heal", probe=probe, alive=force, plan=plan, idle=idle)
    total = count_parameters(model)
    acts = []
    for target in targets:
        place, (edits, change) = target.place, plans[target.place.site]
        before = look(model, probe, [], "heal") if probe is not None else None
        Edits(edits).make()
        moved = None
        if before is not None:
            after = _until_it_fires(model, place, target.units, edits, probe, generator)
            moved = output_change(before, after)
        acts.append(Act(place.site, target.units, change, moved, total, total, partial(take_back, edits, place.site)))
    return acts, skipped


def take_back(edits: Sequence[Edit], site: str) -> None:
    """Undo edits, or refuse where what they changed is not there any more or was changed since."""
    if any(isinstance(edit, Held) and edit.replaced for edit in edits):
        raise RectifierValueError(
            f"undo: the model must be as the act at {site!r} left it; got parameters or optimizer state that were "
            "replaced since. Keep the act, or go on from a copy of the model made before it."
        )
    Edits(list(edits)).undo(site)


def held(model: nn.Module, name: str, key: str, index: torch.Tensor, value: Any, axis: int = 0) -> Held | None:
    """An edit of a tensor of the module of this name; None where it has none."""
    tensor = getattr(model.get_submodule(name), key, None)
    if not isinstance(tensor, torch.Tensor):
        return None
    return Held(tensor, axis, index, value, here=_reader(model, name, key))


def _reader(model: nn.Module, name: str, key: str) -> Callable[[], Any]:
    def here() -> Any:
        try:
            return getattr(model.get_submodule(name), key, None)
        except AttributeError:  # the module itself is gone
            return None

    return here


#: Draws of a unit that stays silent on the probe, before it is left as it is.
_DRAWS = 20


def _until_it_fires(
    model: nn.Module,
    place: Place,
    units: Sequence[int],
    edits: Sequence[Edit],
    probe: Any,
    generator: torch.Generator,
) -> Look:
    """Behind a rectifier inputs are never negative, and a fresh unit may be born silent: draw that one again."""
    drawn = edits[0].value
    assert isinstance(drawn, torch.Tensor)
    after = look(model, probe, [], "heal")
    for _ in range(_DRAWS):
        vitals = after.site(place.site)
        silent = [row for row, unit in enumerate(units) if vitals is not None and vitals.fired[unit] == 0]
        if not silent:
            break
        drawn[silent] = _draw(place, len(silent), generator).to(drawn)
        for edit in edits:
            if edit.value is drawn:  # the weights, and what an optimizer keeps of them
                edit.write()
        after = look(model, probe, [], "heal")
    return after


def _draw(place: Place, count: int, generator: torch.Generator) -> torch.Tensor:
    """He et al. 2015, arXiv:1502.01852, with the gain of the rectifier behind."""
    shape = _tensor(place.layer.weight).shape[1:]
    fresh = torch.randn((count, *shape), generator=generator, dtype=torch.float64)
    return fresh * _deviation(place)


def _deviation(place: Place) -> float:
    return needed_gain(place.rectifier, place.parameters) / math.sqrt(_tensor(place.layer.weight)[0].numel())


def needed_gain(row: str, parameters: Mapping[str, Any]) -> float:
    """The gain of a rectifier with these parameters; of a slope that is learned, at its mean."""
    numbers = {}
    for name, value in parameters.items():
        if isinstance(value, torch.Tensor):
            value = float(value.detach().mean())
        if any(parameter.name == name and parameter.of == "value" for parameter in family[row].parameters):
            numbers[name] = float(value)
    return gain(row, **numbers)


def _quiet(target: Target, wanted: Wanted, seen: Look | None) -> str | None:
    """On what these units were measured to give 0, the probe before the record; None where they do not."""
    place = target.place
    if place.rectifier not in NOTHING_BELOW:
        return None
    where, vitals = "on the probe", None if seen is None else seen.site(place.site)
    if vitals is None and seen is None:
        where, vitals = "on what the record saw", wanted.vitals.get(place.site)
    silent = vitals is not None and not any(vitals.fired[unit] for unit in target.units)
    return where if silent else None


@dataclass
class _Shift(Held):
    """An edit that adds to what is there when it is made: several places may give their mean to one bias."""

    by: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def make(self) -> None:
        self.value = (self.tensor.detach().to(torch.float64) + self.by).to(self.tensor.dtype)
        super().make()


@dataclass(frozen=True)
class _Plan:
    """The edits that recycle the units of one place, and what they are in words."""

    model: nn.Module
    target: Target
    seen: Look | None
    quiet: str | None
    optimizers: Sequence[Optimizer]
    starts: Mapping[str, float | str] | None
    generator: torch.Generator

    def all(self) -> tuple[list[Edit], str]:
        place, units = self.target.place, self.target.units
        index = torch.as_tensor(list(units), dtype=torch.int64)
        drawn = _draw(place, len(units), self.generator).to(_tensor(place.layer.weight))
        incoming = [self._edit(place.layer_name, "weight", index, drawn), self._edit(place.layer_name, "bias", index)]
        if place.norm_name is not None:
            starts = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            incoming += [self._edit(place.norm_name, key, index, start) for key, start in starts.items()]
        edits, told, carried = [pair for pair in incoming if pair is not None], [], []
        for consumer in place.consumers:
            columns = consumer.columns(index, place.units)
            zero = self._edit(consumer.name, "weight", columns, axis=1)
            assert zero is not None
            edits.append(zero)
            shift, line = self._carry(consumer, columns)
            carried += shift
            told.append(line)
        state: list[Edit] = []
        for edit, name in edits:
            state += state_edits(self.optimizers, edit, name, self.starts)
        with_state = f"; {len(state)} slices of optimizer state reset" if self.optimizers else ""
        norm = f", layer {place.norm_name} reset for them" if place.norm_name else ""
        change = (
            f"{len(units)} unit{'s' if len(units) != 1 else ''} of layer {place.layer_name} drawn anew "
            f"(normal, deviation {_deviation(place):.4g}), "
            f"bias 0{norm}; {'; '.join(told)}{with_state}"
        )
        return [*(edit for edit, _ in edits), *carried, *state], change

    def _edit(
        self, name: str, key: str, index: torch.Tensor, value: Any = 0.0, axis: int = 0
    ) -> tuple[Held, str] | None:
        edit = held(self.model, name, key, index, value, axis)
        return None if edit is None else (edit, name)

    def _carry(self, consumer: Consumer, columns: torch.Tensor) -> tuple[list[Edit], str]:
        """What the units gave on average goes into the bias of what reads them; the state of that bias stays."""
        site, seen = self.target.place.site, self.seen
        if self.quiet is not None:
            return [], f"their weights in layer {consumer.name} set to 0 (they gave 0 {self.quiet})"
        if seen is None or consumer.name not in seen.means:
            raise RectifierValueError(
                f"heal: `probe` must be given where the output of a unit is not 0; got None for {site!r} "
                f"({self.target.place.rectifier}). Pass a batch of inputs."
            )
        weight = _tensor(consumer.module.weight).detach().to(torch.float64)
        columns = columns.to(weight.device)
        read = weight[:, columns]
        given = read.reshape(read.shape[0], read.shape[1], -1).sum(dim=2) @ seen.means[consumer.name][columns]
        if not bool(torch.isfinite(given).all()):
            raise RectifierValueError(
                f"heal: `probe` must give finite outputs where the next layer is to take them over; got NaN or "
                f"infinities behind {site!r}. Leave such inputs out of it."
            )
        bias = consumer.module.bias
        if not isinstance(bias, torch.Tensor):
            raise RectifierValueError(
                f"heal: `findings` must name units whose mean output the next layer can take over; got {site!r}, "
                f"behind which layer {consumer.name} has no bias. Give it a bias, or leave these units out."
            )
        here = _reader(self.model, consumer.name, "bias")
        shift = _Shift(bias, 0, torch.arange(bias.shape[0]), 0.0, here=here, by=given)
        size = float(given.abs().max())
        return [shift], (
            f"their weights in layer {consumer.name} set to 0 and their mean on the probe (at most {size:.4g}) put "
            "into its bias"
        )


class LastInputs:
    """Keeps a copy of what the model was last called with in training: a probe for what comes after the step."""

    def __init__(self, model: nn.Module) -> None:
        self.probe: Any = None
        self._handle = model.register_forward_pre_hook(self._keep, with_kwargs=True)

    def detach(self) -> None:
        self._handle.remove()
        self.probe = None

    def _keep(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not module.training or not torch.is_grad_enabled():
            return
        args = tree_map_only(torch.Tensor, lambda value: value.detach().clone(), args)
        kwargs = tree_map_only(torch.Tensor, lambda value: value.detach().clone(), kwargs)
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        self.probe = args if not kwargs else dict(bound.arguments) if args else kwargs


def _tensor(value: Any) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value
