"""Where an act may go ahead: places that can be followed, weights that are those of the record, units that are shut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from ...checkup.plan import Wanted
from ...checkup.records import SiteVitals
from ...errors import RectifierValueError
from .calm import value_of
from .observer.kinds import has_weights
from .observer.reading import rows
from .parts import Parts
from .surgery import Look, look
from .tracing.graph import Place

__all__ = ["Target", "check_fresh", "same_norm", "targets_of"]


@dataclass(frozen=True)
class Target:
    """A place, and its units that are to be acted on."""

    place: Place
    units: tuple[int, ...]


def targets_of(
    model: nn.Module,
    wanted: Wanted,
    verb: str,
    *,
    probe: Any,
    alive: bool,
    fits: Callable[[Place], None] | None = None,
    plan: Callable[[Target, Look | None], None] | None = None,
    idle: bool = False,
) -> tuple[list[Target], tuple[str, ...]]:
    """What can be acted on, and a line on each place or unit that cannot.

    alive: units that fire on the probe are acted on too. fits: raises where a place will not do. plan: called for
    each target with what the probe showed; raises where it cannot be acted on. idle: it is no error where nothing
    can be done at all.

    Raises RectifierValueError where findings without a record ask for what cannot be done, where the record is of
    other weights, and, unless ``idle``, where nothing can be done at all.
    """
    if wanted.record and wanted.units:
        check_fresh(model, wanted, verb)
    parts = Parts(model, verb, probe)
    refused: list[RectifierValueError] = []
    places: list[Place] = []

    def attempt(act: Callable[[], None]) -> None:
        try:
            act()
        except RectifierValueError as error:
            if not wanted.record:
                raise
            refused.append(error)

    def follow(site: str) -> None:
        place = _place(parts, site, wanted, verb)
        if fits is not None:
            fits(place)
        places.append(place)

    for site in wanted.units:
        attempt(partial(follow, site))
    if probe is None and not wanted.record and wanted.units:
        raise RectifierValueError(
            f"{verb}: `probe` must be given with findings that come without their record; got None, so nothing shows "
            "that they still hold. Pass a batch of inputs, or the record itself."
        )
    seen = look(model, probe, places, verb) if probe is not None else None
    targets: list[Target] = []

    def take(place: Place) -> None:
        units = wanted.units[place.site]
        vitals = None if seen is None or alive else seen.site(place.site)
        live = [unit for unit in units if vitals is not None and vitals.fired[unit] > 0]
        target = Target(place, tuple(unit for unit in units if unit not in live))
        error = _alive(place.site, live, verb) if live else None
        if error is not None and (not wanted.record or not target.units):
            raise error
        if plan is not None:
            plan(target, seen)
        if error is not None:
            refused.append(error)
        targets.append(target)

    for place in places:
        attempt(partial(take, place))
    lines = tuple(str(error).removeprefix(f"{verb}: ") for error in refused)
    if wanted.units and not targets and not idle:
        if len(refused) == 1:
            raise refused[0]
        raise RectifierValueError(
            f"{verb}: `findings` must name a place that can be acted on; got {len(refused)} where none can. "
            f"{' '.join(lines)}"
        )
    return targets, lines


def _alive(site: str, live: list[int], verb: str) -> RectifierValueError:
    cure = "Leave them out, or pass force=True." if verb == "heal" else "Leave them out."
    return RectifierValueError(
        f"{verb}: `findings` must name units that do not fire; got units {live} of {site!r}, which fire on the probe. "
        f"{cure}"
    )


def _place(parts: Parts, site: str, wanted: Wanted, verb: str) -> Place:
    place = parts.place(site)
    units = wanted.units[site]
    if any(not 0 <= unit < place.units for unit in units):
        raise RectifierValueError(
            f"{verb}: `findings` must name units of this model; got units {list(units)} of {site!r}, which has "
            f"{place.units}. Check the model as it is now."
        )
    other = next((total for total in wanted.totals[site] if total != place.units), None)
    if other is not None:
        raise RectifierValueError(
            f"{verb}: `findings` must be about this model; got {other} units at {site!r}, which has {place.units}. "
            "Check the model as it is now."
        )
    vitals = wanted.vitals.get(site)
    if vitals is not None and place.norm is not None and not same_norm(place.norm, vitals):
        raise RectifierValueError(
            f"{verb}: `findings` must be a record of the model as it is; got one where γ or β of layer "
            f"{place.norm_name!r}, before {site!r}, were others. Run rectifier.check again."
        )
    return place


def same_norm(norm: nn.Module, vitals: SiteVitals) -> bool:
    for name, then in (("weight", vitals.scale), ("bias", vitals.shift)):
        now = value_of(norm, name)
        if now is None or then is None:
            continue
        if not np.array_equal(now.detach().to(torch.float64).cpu().numpy(), then, equal_nan=True):
            return False
    return True


def check_fresh(model: nn.Module, wanted: Wanted, verb: str) -> None:
    """Verdicts are about weights: they say nothing of weights that have changed since."""
    modules = dict(model.named_modules())

    def refuse(layer: str, how_many: str) -> RectifierValueError:
        return RectifierValueError(
            f"{verb}: `findings` must be a record of the model as it is; got one where the weights of layer "
            f"{layer!r} were others{how_many}. Run rectifier.check again."
        )

    for vitals in wanted.vitals.values():
        module = modules.get(vitals.layer or "")
        if vitals.layer is None:
            continue
        units = _changed(module, vitals) if module is not None and has_weights(module) else list(range(vitals.units))
        if units:
            raise refuse(vitals.layer, f", in {len(units)} of {vitals.units} units")
    for layer in wanted.layers:  # those that feed no site, too
        module = modules.get(layer.layer)
        weight = value_of(module, "weight") if module is not None and has_weights(module) else None
        rms = math.nan if weight is None else float(weight.detach().to(torch.float64).square().mean().sqrt())
        if not (math.isclose(rms, layer.weight_rms, rel_tol=1e-12) or math.isnan(layer.weight_rms)):
            raise refuse(layer.layer, "")


def _changed(module: nn.Module, vitals: SiteVitals) -> list[int]:
    """Units whose bias or norm of weights is not what the record holds."""
    with torch.no_grad():
        weight, bias = rows(module, value_of(module, "weight")), value_of(module, "bias")
        if vitals.weight_norm is None or weight is None:
            return []
        norm = weight.norm(dim=1).cpu().numpy()
        if norm.shape != vitals.weight_norm.shape:
            return list(range(vitals.units))
        # Another device sums in another order: that much is no change.
        same = np.isclose(norm, vitals.weight_norm, rtol=1e-12 * weight.shape[1] ** 0.5 + 1e-12, atol=0, equal_nan=True)
        if (bias is None) != (vitals.bias is None):
            return list(range(vitals.units))
        if bias is not None and vitals.bias is not None:
            now = bias.detach().to(torch.float64).cpu().numpy()
            same &= (now == vitals.bias) | (np.isnan(now) & np.isnan(vitals.bias))
    return [int(unit) for unit in np.flatnonzero(~same)]
