"""Recycling on a Keras model: units get new incoming weights, and what reads them starts from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..._family import family
from ..._gain import gain
from ...checkup.plan import NOTHING_BELOW, Act, Wanted
from ...checkup.records import SiteVitals
from ...errors import RectifierValueError
from .graph import graph_of
from .observer.kinds import as_array, bias_of, has_weights, kernel_of, rows
from .observer.names import named
from .observer.reading import exact
from .optimizer_state import state_edits
from .places import Consumer, Place, place_of
from .surgery import Edit, Look, count_parameters, look, output_change, take_back

__all__ = ["check_fresh", "generator_of", "recycle"]

#: Draws of a unit that stays silent on the probe, before it is left as it is.
_DRAWS = 20


def generator_of(seed: int | None) -> np.random.Generator:
    """A source of new weights, apart from the global random state."""
    return np.random.default_rng(seed)


def recycle(
    model: Any,
    wanted: Wanted,
    *,
    optimizers: Sequence[Any],
    probe: Any,
    generator: np.random.Generator,
    force: bool,
    starts: Mapping[str, float | str] | None = None,
) -> tuple[list[Act], tuple[str, ...]]:
    """New incoming weights (normal, deviation gain/√fan-in), bias 0, outgoing weights 0, optimizer state anew."""
    if wanted.record:
        check_fresh(model, wanted)
    elif probe is None:
        raise RectifierValueError(
            "heal: `probe` must be given with findings that come without their record; got None, so nothing shows "
            "that they still hold. Pass a batch of inputs, or the record itself."
        )
    graph = graph_of(model)
    seen = None if probe is None else look(model, probe, "heal")
    refused: list[RectifierValueError] = []
    plans: list[tuple[Place, tuple[int, ...], list[Edit], str]] = []
    # All is planned, and so refused where it must be, before the first weight is written.
    for site in wanted.units:
        try:
            place = _that_learns(place_of(graph, site, "heal"))
            units, alive = _chosen(place, wanted, seen, force)
            plan = _Plan(place, units, wanted, seen, optimizers, starts, generator)
            plans.append((place, units, *plan.all()))
            refused += alive
        except RectifierValueError as error:
            if not wanted.record:
                raise
            refused.append(error)
    lines = tuple(str(error).removeprefix("heal: ") for error in refused)
    if not plans:
        if len(refused) == 1:
            raise refused[0]
        raise RectifierValueError(
            f"heal: `findings` must name a place that can be acted on; got {len(refused)} where none can. "
            f"{' '.join(lines)}"
        )
    total = count_parameters(model)
    acts = []
    for place, units, edits, change in plans:
        before = None if probe is None else look(model, probe, "heal")
        for edit in edits:
            edit.make()
        moved = None
        if before is not None:
            moved = output_change(before, _until_it_fires(model, place, units, edits, probe, generator))
        acts.append(Act(place.site, units, change, moved, total, total, partial(take_back, edits, place.site)))
    return acts, lines


def _chosen(
    place: Place, wanted: Wanted, seen: Look | None, force: bool
) -> tuple[tuple[int, ...], list[RectifierValueError]]:
    """The units to act on, and what is said of those that fire on the probe."""
    site, units = place.site, wanted.units[place.site]
    if any(not 0 <= unit < place.units for unit in units) or any(n != place.units for n in wanted.totals[site]):
        raise RectifierValueError(
            f"heal: `findings` must name units of this model; got units {list(units)} of {max(wanted.totals[site])} at "
            f"{site!r}, which has {place.units}. Check the model as it is now."
        )
    vitals = None if seen is None or force else seen.site(site)
    live = [unit for unit in units if vitals is not None and vitals.fired[unit] > 0]
    if not live:
        return units, []
    error = RectifierValueError(
        f"heal: `findings` must name units that do not fire; got units {live} of {site!r}, which fire on the probe. "
        "Leave them out, or pass force=True."
    )
    left = tuple(unit for unit in units if unit not in live)
    if not wanted.record or not left:
        raise error
    return left, [error]


def check_fresh(model: Any, wanted: Wanted) -> None:
    """Verdicts are about weights: they say nothing of weights that have changed since."""
    layers = named(model)

    def refuse(layer: str) -> RectifierValueError:
        return RectifierValueError(
            f"heal: `findings` must be a record of the model as it is; got one where the weights of layer {layer!r} "
            "were others. Run rectifier.check again."
        )

    for vitals in wanted.vitals.values():
        if vitals.layer is not None and not _same(layers.get(vitals.layer), vitals):
            raise refuse(vitals.layer)
    for told in wanted.layers:
        layer = layers.get(told.layer)
        kernel = exact(kernel_of(layer)) if has_weights(layer) else None
        rms = math.nan if kernel is None else float(np.sqrt(np.mean(np.square(kernel))))
        if not (math.isclose(rms, told.weight_rms, rel_tol=1e-12) or math.isnan(told.weight_rms)):
            raise refuse(told.layer)


def _same(layer: Any, vitals: SiteVitals) -> bool:
    if layer is None or not has_weights(layer):
        return False
    weight, bias = rows(layer), exact(bias_of(layer))
    if vitals.weight_norm is None or weight is None:
        return True
    norm = np.linalg.norm(weight, axis=1)
    if norm.shape != vitals.weight_norm.shape or (bias is None) != (vitals.bias is None):
        return False
    same = np.allclose(norm, vitals.weight_norm, rtol=1e-12, atol=0, equal_nan=True)
    return bool(same) and (bias is None or np.array_equal(bias, vitals.bias, equal_nan=True))  # type: ignore[arg-type]


def _deviation(place: Place) -> float:
    """He et al. 2015, arXiv:1502.01852, with the gain of the rectifier behind."""
    of_value = {p.name for p in family[place.rectifier].parameters if p.of == "value"}
    numbers = {}
    for name, value in place.parameters.items():
        if name in of_value and value is not None:
            numbers[name] = float(value) if isinstance(value, (int, float)) else float(as_array(value).mean())
    return gain(place.rectifier, **numbers) / math.sqrt(math.prod(place.layer.kernel.shape[:-1]))


def _draw(place: Place, count: int, generator: np.random.Generator) -> Any:
    return generator.standard_normal((*place.layer.kernel.shape[:-1], count)) * _deviation(place)


def _that_learns(place: Place) -> Place:
    """Raises RectifierValueError where new weights would stay as they were drawn."""
    frozen = next((layer for layer in (place.layer, *(c.layer for c in place.consumers)) if not layer.trainable), None)
    if frozen is not None:
        raise RectifierValueError(
            f"heal: `model` must train the layers around units that are recycled; got layer {frozen.name!r} at "
            f"{place.site!r}, which is frozen. Set its `trainable` to True, or leave {place.site!r} out."
        )
    return place


def _until_it_fires(
    model: Any, place: Place, units: Sequence[int], edits: Sequence[Edit], probe: Any, generator: np.random.Generator
) -> Look:
    """Behind a rectifier inputs are never negative, and a fresh unit may be born silent: draw that one again."""
    drawn = edits[0].value
    after = look(model, probe, "heal")
    for _ in range(_DRAWS):
        vitals = after.site(place.site)
        silent = [i for i, unit in enumerate(units) if vitals is not None and vitals.fired[unit] == 0]
        if not silent:
            break
        drawn[..., silent] = _draw(place, len(silent), generator)
        for edit in edits:
            if edit.value is drawn:  # the weights, and what an optimizer keeps of them
                edit.write()
        after = look(model, probe, "heal")
    return after


class _Plan:
    """The edits that recycle the units of one place, and what they are in words."""

    def __init__(
        self,
        place: Place,
        units: tuple[int, ...],
        wanted: Wanted,
        seen: Look | None,
        optimizers: Sequence[Any],
        starts: Mapping[str, float | str] | None,
        generator: np.random.Generator,
    ) -> None:
        self._place, self._units, self._seen = place, units, seen
        self._optimizers, self._starts, self._generator = optimizers, starts, generator
        self._quiet = self._where_quiet(wanted)
        self._index = np.asarray(units, np.int64)

    def _where_quiet(self, wanted: Wanted) -> str | None:
        """On what these units were measured to give 0, the probe before the record; None where they do not."""
        place = self._place
        if place.rectifier not in NOTHING_BELOW or place.mixed:
            return None
        where, vitals = "on the probe", None if self._seen is None else self._seen.site(place.site)
        if self._seen is None:
            where, vitals = "on what the record saw", wanted.vitals.get(place.site)
        silent = vitals is not None and not any(vitals.fired[unit] for unit in self._units)
        return where if silent else None

    def all(self) -> tuple[list[Edit], str]:
        place, index = self._place, self._index
        layer, count = place.layer, len(self._units)
        drawn = _draw(place, count, self._generator)
        edits = [(Edit(layer.kernel, len(layer.kernel.shape) - 1, index, drawn), place.layer_name)]
        if bias_of(layer) is not None:
            edits.append((Edit(layer.bias, 0, index, 0.0), place.layer_name))
        if place.norm is not None:
            anew = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
            for key, start in anew.items():
                if getattr(place.norm, key) is not None:
                    edits.append((Edit(getattr(place.norm, key), 0, index, start), str(place.norm_name)))
        told, carried = [], []
        for consumer in place.consumers:
            columns = consumer.columns(self._units)
            edits.append((Edit(consumer.layer.kernel, consumer.axis, columns, 0.0), consumer.name))
            shift, line = self._carry(consumer, columns)
            carried += shift
            told.append(line)
        state = [one for edit, name in edits for one in state_edits(self._optimizers, edit, name, self._starts)]
        with_state = f"; {len(state)} slices of optimizer state reset" if self._optimizers else ""
        norm = f", layer {place.norm_name} reset for them" if place.norm_name else ""
        change = (
            f"{count} unit{'s' if count != 1 else ''} of layer {place.layer_name} drawn anew "
            f"(normal, deviation {_deviation(place):.4g}), bias 0{norm}; {'; '.join(told)}{with_state}"
        )
        return [*(edit for edit, _ in edits), *carried, *state], change

    def _carry(self, consumer: Consumer, columns: Any) -> tuple[list[Edit], str]:
        """What the units gave on average goes into the bias of what reads them; the state of that bias stays."""
        site, seen = self._place.site, self._seen
        if self._quiet is not None:
            return [], f"their weights in layer {consumer.name} set to 0 (they gave 0 {self._quiet})"
        if seen is None or consumer.name not in seen.means:
            raise RectifierValueError(
                f"heal: `probe` must be given where the output of a unit is not 0; got None for {site!r} "
                f"({self._place.rectifier}). Pass a batch of inputs."
            )
        kernel = np.moveaxis(as_array(consumer.layer.kernel).astype(np.float64), consumer.axis, 0)[columns]
        read = kernel.reshape(len(columns), -1, kernel.shape[-1]).sum(axis=1)
        given = seen.means[consumer.name][columns] @ read
        if not np.isfinite(given).all():
            raise RectifierValueError(
                f"heal: `probe` must give finite outputs where the next layer is to take them over; got NaN or "
                f"infinities behind {site!r}. Leave such inputs out of it."
            )
        bias = bias_of(consumer.layer)
        if bias is None:
            raise RectifierValueError(
                f"heal: `findings` must name units whose mean output the next layer can take over; got {site!r}, "
                f"behind which layer {consumer.name} has no bias. Give it a bias, or leave these units out."
            )
        shift = Edit(bias, 0, np.arange(len(given)), given, adds=True)
        return [shift], (
            f"their weights in layer {consumer.name} set to 0 and their mean on the probe (at most "
            f"{float(np.abs(given).max()):.4g}) put into its bias"
        )
