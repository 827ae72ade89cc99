"""Why a unit is shut, decided from the record, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .records import LayerVitals, SiteVitals, Snapshot
from .scales import infinite_input
from .thresholds import Thresholds

__all__ = ["Cause", "Causes", "group", "percent"]

RECYCLE = "recycle them (rectifier.heal) where the layers round them can be followed"


@dataclass(frozen=True)
class Cause:
    key: str
    """Units with one key are told together."""
    cause: str
    """In words; ``{name}`` stands for a number in ``measures``."""
    remedy: str
    measures: Mapping[str, float] = field(default_factory=dict, compare=False)


def group(causes: Mapping[int, Cause]) -> list[tuple[Cause, list[int]]]:
    """Each cause with its units; the numbers in its text become the span over them."""
    by_key: dict[str, list[int]] = {}
    for unit, cause in causes.items():
        by_key.setdefault(cause.key, []).append(unit)
    told = []
    for units in by_key.values():
        first = causes[units[0]]
        spans = {name: _span([causes[unit].measures[name] for unit in units]) for name in first.measures}
        told.append((replace(first, cause=first.cause.format_map(spans)), units))
    return told


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def percent(share: float) -> str:
    """0.953 → "95 %"."""
    return f"{100 * share:.0f} %"


class Causes:
    """Reads the likely cause of each shut unit from the snapshots."""

    def __init__(self, snapshots: Sequence[Snapshot], limits: Thresholds, *, history: bool) -> None:
        self._snapshots, self._limits, self._history = snapshots, limits, history
        self._last = {site.site: site for site in snapshots[-1].sites}
        self._layers = {layer.layer: layer for layer in snapshots[-1].layers}

    # When

    def _past(self, site: SiteVitals) -> list[tuple[Snapshot, SiteVitals]]:
        pairs = [(snapshot, other) for snapshot in self._snapshots for other in snapshot.sites]
        return [(s, o) for s, o in pairs if o.site == site.site and o.units == site.units]

    def since(self, site: SiteVitals, units: Sequence[int]) -> dict[int, int]:
        """unit → step from which it never fired again; empty where there is no history."""
        if not self._history:
            return {}
        past = self._past(site)
        return {unit: self._step_of(past, unit) for unit in units}

    def _step_of(self, past: Sequence[tuple[Snapshot, SiteVitals]], unit: int) -> int:
        """Gradients were read at every step, so they tell which step between two snapshots it was."""
        death = self._death(past, unit)
        lived = [int(site.lived[unit]) for _, site in past[: death + 1] if site.lived is not None]
        step = past[death][0].step
        return min(step, max(lived) + 1) if any(lived) else step

    @staticmethod
    def _death(past: Sequence[tuple[Snapshot, SiteVitals]], unit: int) -> int:
        first = len(past) - 1
        while first > 0 and not past[first - 1][1].alive[unit]:
            first -= 1
        return first

    # Why

    def of(self, site: SiteVitals, units: npt.NDArray[np.bool_]) -> dict[int, Cause]:
        """unit → cause, for the units that are True."""
        past = self._past(site)
        return {int(unit): self._cause(site, int(unit), past) for unit in np.flatnonzero(units)}

    def _cause(self, site: SiteVitals, unit: int, past: Sequence[tuple[Snapshot, SiteVitals]]) -> Cause:
        upstream = self._last.get(site.upstream or "")
        if upstream is not None and not upstream.fired.any() and not upstream.nan.any():
            return Cause(
                "upstream",
                f"upstream silence: no unit of {upstream.site}, which feeds this layer, fired either",
                f"heal {upstream.site} first: nothing reaches these units until it fires",
            )
        if self._history and len(past) > 1:
            death = self._death(past, unit)
            told = self._of_death(site, unit, past, death) if death else self._never_lived(site, unit, past)
            if told is not None:
                return told
        return self._standing(site, unit, when="" if self._history else _CANNOT_TELL)

    def _of_death(
        self, site: SiteVitals, unit: int, past: Sequence[tuple[Snapshot, SiteVitals]], death: int
    ) -> Cause | None:
        """Died between two snapshots: did one step, or the steps up to there together, move it too far?"""
        (before, _), (after, _) = past[death - 1], past[death]
        step_ratio = max((self._ratio(snapshot, site.layer) for snapshot in (before, after)), default=0.0)
        moved, steps = self._path(past, unit, death)
        if step_ratio >= self._limits.large_update:
            key = "step"
            how = f"when one step moved the weights of layer {site.layer} by {{update_ratio}} times their norm"
            usual = f"{self._limits.large_update:g} a step is too much, 0.001 is usual"
        elif steps:
            key = "own steps"
            how = (
                "after their own weights had moved by {moved} times their norm within {steps} steps, {a_step} a step "
                "on average"
            )
            usual = "0.001 a step is usual"
        else:
            return None
        return Cause(
            key,
            f"too large a step: they last fired before step {{step}}, {how} ({usual})",
            f"lower the step size (or warm it up, or clip gradients), then {RECYCLE}",
            {
                "step": after.step,
                "update_ratio": step_ratio,
                "moved": moved,
                "steps": steps,
                "a_step": moved / max(steps, 1),
            },
        )

    def _path(self, past: Sequence[tuple[Snapshot, SiteVitals]], unit: int, death: int) -> tuple[float, int]:
        """(how far its weights moved, in how many steps): the shortest run of snapshots up to its death that is too
        far; without one, the interval of the death and 0 steps.

        Too far: by ``large_update`` a step over the interval of the death, or by ``large_path`` in all at a tenth of
        that a step. The update ratio of a layer is measured at single steps only; this covers those in between.
        """
        total, limits = 0.0, self._limits
        for first in range(death, 0, -1):
            moved = past[first][1].moved
            value = 0.0 if moved is None else float(moved[unit])
            if not math.isfinite(value):  # weights that were 0, or NaN: no share of a norm
                break
            total += value
            steps = max(past[death][0].step - past[first - 1][0].step, 1)
            at_once = first == death and total >= limits.large_update * steps
            if at_once or total >= max(limits.large_path, 0.1 * limits.large_update * steps):
                return total, steps
        near = past[death][1].moved
        return (0.0 if near is None else float(near[unit])), 0

    def _never_lived(self, site: SiteVitals, unit: int, past: Sequence[tuple[Snapshot, SiteVitals]]) -> Cause | None:
        standing = self._standing(past[0][1], unit, when="")
        since = f"they never fired from the first snapshot (step {past[0][0].step}) on"
        # Its numbers without its name: a bias that was large from the start has not drifted.
        reading = (
            ", and nothing else stood out in their bias, normalisation and inputs"
            if standing.key == "unknown"
            else f"; there {standing.cause.partition(': ')[2]}"
        )
        return Cause(
            f"initialisation {standing.key}",
            f"initialisation: {since}{reading}",
            f"initialise with the gain of the rectifier and zero biases (rectifier.torch.init_), or {RECYCLE}",
            standing.measures,
        )

    @staticmethod
    def _ratio(snapshot: Snapshot, layer: str | None) -> float:
        ratios = [other.update_ratio for other in snapshot.layers if other.layer == layer]
        return float(ratios[0]) if ratios and ratios[0] is not None else 0.0

    def _standing(self, site: SiteVitals, unit: int, *, when: str) -> Cause:
        """What the weights as they are say, whenever it came about."""
        top = float(site.max_z[unit])
        if site.scale is not None and site.shift is not None:
            scale, shift = float(site.scale[unit]), float(site.shift[unit])
            # A normalised value is rarely beyond 3 deviations.
            if (shift < 0 and abs(scale) * 3.0 <= -shift) or abs(scale) < 1e-6:
                return Cause(
                    "normalisation",
                    "collapsed normalisation: γ = {scale} against β = {shift}, so the normalised value cannot lift z "
                    f"above 0{when}",
                    f"{RECYCLE}, which puts γ to 1 and β to 0; keep weight decay off γ and β",
                    {"scale": scale, "shift": shift},
                )
            return self._of_statistics(site, unit, when) or self._unknown(site, when)
        layer = self._layers.get(site.layer or "")
        bias = float(site.bias[unit]) if site.bias is not None else 0.0
        reach = top - bias
        # Without the bias it would fire, or the bias outweighs all else by ten to one.
        if bias < 0 and (reach > 0 or -bias > 10 * abs(reach)):
            return Cause(
                "bias",
                "bias drift: bias {bias}, while its weights reach at most {reach} on what was seen" + when,
                f"{RECYCLE}; a smaller step size for the biases keeps them from drifting again",
                {"bias": bias, "reach": reach},
            )
        if layer is not None and layer.first:
            shifted = self._of_input(layer, when)
            if shifted is not None:
                return shifted
        upstream = self._last.get(site.upstream or "")
        if upstream is not None and reach <= 0 and not (upstream.sum_h < upstream.sum_abs_h).any():
            return Cause(
                "weights",
                "weights turned against inputs that are never negative: without the bias, z still reaches only {reach}"
                + when,
                f"{RECYCLE}; a smaller step or a rectifier with a living negative part keeps it from coming back",
                {"bias": bias, "reach": reach},
            )
        return self._unknown(site, when)

    @staticmethod
    def _of_statistics(site: SiteVitals, unit: int, when: str) -> Cause | None:
        """Statistics that match the data give values round 0; here all lie beyond one deviation on one side."""
        assert site.scale is not None and site.shift is not None
        scale, shift = float(site.scale[unit]), float(site.shift[unit])
        ends = [(float(z[unit]) - shift) / scale for z in (site.min_z, site.max_z)]
        low, high = min(ends), max(ends)
        if not (math.isfinite(low) and math.isfinite(high)) or low <= 1.0 and high >= -1.0:
            return None
        return Cause(
            "statistics",
            "running statistics that do not match the data: normalised by them, values lie between {low} and {high} "
            f"deviations, where a batch's own statistics would put their mean at 0{when}",
            "run the training data through the model in training mode, or raise the momentum of the normalisation; "
            "then check again",
            {"low": low, "high": high},
        )

    def _of_input(self, layer: LayerVitals, when: str) -> Cause | None:
        mean, rms = layer.input_mean, layer.input_rms
        if mean is None or rms is None or not (rms > 0 and math.isfinite(rms) and math.isfinite(mean)):
            return None
        if abs(mean) / rms < self._limits.shifted_input and rms < self._limits.input_scale:
            return None
        return Cause(
            "input",
            "input scale or shift: the inputs have mean {input_mean} and root mean square {input_rms}, so one step "
            f"moves every example the same way{when}",
            f"standardise the inputs to mean 0 and variance 1, then {RECYCLE}",
            {"input_mean": mean, "input_rms": rms},
        )

    @staticmethod
    def _unknown(site: SiteVitals, when: str) -> Cause:
        tried = "upstream silence, step size, initialisation, bias, normalisation and inputs were looked at"
        where = "" if site.layer is not None else "; the layer that makes these units could not be followed"
        return Cause("unknown", f"not known: {tried}{where}{when}", f"{RECYCLE}, and watch the next training")

    # NaN

    def of_nan(self, site: SiteVitals) -> tuple[str, str]:
        layer = self._layers.get(site.layer or "")
        first = next((other.site for other in self._snapshots[-1].sites if other.nan.any()), site.site)
        if layer is not None and np.isnan(layer.weight_rms):
            return (
                f"the weights of layer {layer.layer} hold NaN",
                "go back to the last good weights; lower the step size or clip gradients",
            )
        if first != site.site:
            return f"NaN comes in from upstream: {first} is the first site to see one", f"look at {first}"
        if layer is not None and layer.input_rms is not None and np.isnan(layer.input_rms):
            what = "the model's input holds NaN" if layer.first else f"what enters layer {layer.layer} holds NaN"
            return what, "clean the data: replace or drop NaN before the model"
        entry = infinite_input(self._snapshots[-1].layers)
        if entry is not None:
            return (
                f"the model's input holds infinite values ({entry.input_infinite} seen at layer {entry.layer}): ∞ − ∞ "
                "and 0·∞ are NaN",
                "clean the data: replace or drop infinite values before the model",
            )
        return "not known: the first NaN in the order of the forward pass appears here", (
            "look for a division by 0, a logarithm of a negative number or an overflow just before this site"
        )


_CANNOT_TELL = "; one look cannot tell when it came about (rectifier.watch can)"
