"""Why a unit is shut, decided from the record, and what to do about it.

Asked in this order: does anything come in at all (zeros, upstream silence)? Are the inputs to blame? Did it ever fire
(initialisation)? Was it moved too far before it died (step)? Did its normalisation or its bias close it? And where no
history tells, how do the weights as they are stand? ``docs/verdicts.md`` has each rule with its reasons and limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .deaths import Moment, death_of, input_changed, moments, push_above, push_of, unsure
from .reasons import RECYCLE, Cause, of_changed_input, of_drift, of_normalisation, of_push, of_statistics, unknown
from .records import CauseKind, LayerVitals, SiteVitals, Snapshot
from .scales import infinite_input
from .thresholds import Thresholds

__all__ = ["Causes"]

#: |mean| ÷ root mean square of a mean that is three deviations: then it, not the data, decides the sign of z.
_STRONG_SHIFT = 3 / math.sqrt(10)


class Causes:
    """Reads the likely cause of each shut unit from the snapshots."""

    def __init__(self, snapshots: Sequence[Snapshot], limits: Thresholds, *, history: bool) -> None:
        self._snapshots, self._limits, self._history = snapshots, limits, history

    # When

    def since(self, site: SiteVitals, units: Sequence[int]) -> dict[int, int]:
        """unit → step from which it never fired again; empty where there is no history."""
        if not self._history:
            return {}
        past = moments(self._snapshots, site)
        return {unit: self._step_of(past, unit) for unit in units}

    @staticmethod
    def _step_of(past: Sequence[Moment], unit: int) -> int:
        """Gradients were read at every step, so they tell which step between two snapshots it was."""
        death = death_of(past, unit)
        lived = [int(moment.site.lived[unit]) for moment in past[: death + 1] if moment.site.lived is not None]
        step = past[death].step
        return min(step, max(lived) + 1) if any(lived) else step

    # Why

    def of(self, site: SiteVitals, units: npt.NDArray[np.bool_]) -> dict[int, Cause]:
        """unit → cause, for the units that are True."""
        past = moments(self._snapshots, site)
        return {int(unit): self._cause(past, int(unit)) for unit in np.flatnonzero(units)}

    def _cause(self, past: Sequence[Moment], unit: int) -> Cause:
        dated = self._history and len(past) > 1
        death = death_of(past, unit) if dated else len(past) - 1
        # A rare unit looks dead before it is, so what befell it may have come a little later.
        looks = unsure(past, unit, death, self._limits) if dated else past[death:]
        told = next((cause for cause in map(_nothing_comes_in, looks) if cause is not None), None)
        if told is None and dated:
            told = self._of_death(past, unit, death, len(looks)) if death else self._never_lived(past, unit)
        return told or self._standing(past[-1], unit, when="" if self._history else _CANNOT_TELL)

    def _of_death(self, past: Sequence[Moment], unit: int, death: int, looks: int) -> Cause | None:
        """Died between two snapshots, or at one of the ``looks`` from there: what changed, or on the way there?"""
        changed = input_changed(past, death, self._limits)
        if changed is not None:
            return of_changed_input(past[death].step, *changed)
        pushes = (push_of(past, unit, at, self._limits) for at in range(death, death + looks))
        push = next((push for push in pushes if push is not None), None)
        # Inputs that are large, or all on one side, make every step large: they come before it.
        unscaled = self._unscaled(past[death].snapshot)
        if unscaled is not None and (push is not None or unscaled.layer == past[death].site.layer):
            return self._of_input(unscaled, "")
        drifted = push is not None and push.how == "path" and push.bias_share >= 0.5
        if push is not None and not drifted:
            return of_push(push, past, death, self._limits)
        above = self._of_push_above(past, death)
        return above or (of_drift(past, unit, death) if past[death].site.scale is None else None)

    def _of_push_above(self, past: Sequence[Moment], death: int) -> Cause | None:
        """It moved little itself: did a site before it move too far?"""
        name, visited = past[-1].site.upstream, {past[-1].site.site}
        while name is not None and name not in visited:
            visited.add(name)
            before = _site(self._snapshots[-1], name)
            above = moments(self._snapshots, before) if before is not None else []
            push = push_above(past, above, death, self._limits) if above else None
            if push is not None:
                return of_push(push, past, death, self._limits, above[-1].site)
            name = before.upstream if before is not None else None
        return None

    def _never_lived(self, past: Sequence[Moment], unit: int) -> Cause:
        standing = self._standing(past[0], unit, when="")
        if standing.kind == "input":
            return standing
        for at in range(1, len(past)) if past[0].site.scale is None else ():
            drifted = of_drift(past, unit, at)
            if drifted is not None:
                return drifted
        since = f"they never fired from the first snapshot (step {past[0].step}) on"
        # Its numbers without its name: a bias that was large from the start has not drifted.
        reading = (
            ", and nothing else stood out in their bias, normalisation and inputs"
            if standing.kind == "unknown"
            else f"; there {standing.cause.partition(': ')[2]}"
        )
        return Cause(
            "initialisation",
            f"initialisation {standing.key}",
            f"initialisation: {since}{reading}",
            f"initialise with the gain of the rectifier and zero biases (rectifier.torch.init_), or {RECYCLE}",
            standing.measures,
        )

    def _standing(self, at: Moment, unit: int, *, when: str) -> Cause:
        """What the weights as they are say, whenever it came about."""
        site = at.site
        if site.scale is not None and site.shift is not None:
            return of_statistics(site, unit, when) or of_normalisation(site, unit, when) or unknown(site, when)
        layer = _layer(at.snapshot, site.layer)
        bias = float(site.bias[unit]) if site.bias is not None else 0.0
        reach = float(site.max_z[unit]) - bias
        # Without the bias it would fire, or the bias outweighs all else by ten to one.
        if bias < 0 and (reach > 0 or -bias > 10 * abs(reach)):
            return Cause(
                "bias",
                "bias",
                "bias drift: bias {bias}, while its weights reach at most {reach} on what was seen" + when,
                f"{RECYCLE}; a smaller step size for the biases keeps them from drifting again",
                {"bias": bias, "reach": reach},
            )
        if layer is not None and layer.first and self._is_off(layer):
            return self._of_input(layer, when)
        upstream = _site(at.snapshot, site.upstream)
        if upstream is not None and reach <= 0 and not (upstream.sum_h < upstream.sum_abs_h).any():
            return Cause(
                "weights",
                "weights",
                "weights turned against inputs that are never negative: without the bias, z still reaches only {reach}"
                + when,
                f"{RECYCLE}; a smaller step or a rectifier with a living negative part keeps it from coming back",
                {"bias": bias, "reach": reach},
            )
        return unknown(site, when)

    # Inputs

    def _unscaled(self, snapshot: Snapshot) -> LayerVitals | None:
        """The layer at which inputs come in that are large, or all on one side, and stay so (no normalisation)."""
        normalised = {site.layer for site in snapshot.sites if site.normalised or site.scale is not None}
        found = (layer for layer in snapshot.layers if layer.first and layer.layer not in normalised)
        return next((layer for layer in found if self._is_unscaled(layer)), None)

    def _is_off(self, layer: LayerVitals) -> bool:
        """Are the inputs of this layer not centred, or not scaled?"""
        return _shift_of(layer) >= self._limits.shifted_input or self._is_unscaled(layer)

    def _is_unscaled(self, layer: LayerVitals) -> bool:
        shift = _shift_of(layer)  # NaN, which compares as False, where it cannot be told
        large = shift >= 0 and (layer.input_rms or 0.0) >= self._limits.input_scale
        return large or shift >= max(_STRONG_SHIFT, self._limits.shifted_input)

    def _of_input(self, layer: LayerVitals, when: str) -> Cause:
        limits = self._limits
        return Cause(
            "input",
            "input",
            "input scale or shift: the inputs have mean {input_mean} and root mean square {input_rms} (limits: a mean "
            f"of {limits.shifted_input:g} times that, and {limits.input_scale:g}), so one step moves every example the "
            f"same way{when}",
            f"standardise the inputs to mean 0 and variance 1, then {RECYCLE}",
            {"input_mean": float(layer.input_mean or 0.0), "input_rms": float(layer.input_rms or 0.0)},
        )

    # NaN

    def of_nan(self, site: SiteVitals) -> tuple[CauseKind, str, str]:
        last = self._snapshots[-1]
        layer = _layer(last, site.layer)
        first = next((other.site for other in last.sites if other.nan.any()), site.site)
        if layer is not None and np.isnan(layer.weight_rms):
            return (
                "step",
                f"the weights of layer {layer.layer} hold NaN",
                "go back to the last good weights; lower the step size or clip gradients",
            )
        if first != site.site:
            return "upstream", f"NaN comes in from upstream: {first} is the first site to see one", f"look at {first}"
        if layer is not None and layer.input_rms is not None and np.isnan(layer.input_rms):
            what = "the model's input holds NaN" if layer.first else f"what enters layer {layer.layer} holds NaN"
            return "data", what, "clean the data: replace or drop NaN before the model"
        entry = infinite_input(last.layers)
        if entry is not None:
            return (
                "data",
                f"the model's input holds infinite values ({entry.input_infinite} seen at layer {entry.layer}): ∞ − ∞ "
                "and 0·∞ are NaN",
                "clean the data: replace or drop infinite values before the model",
            )
        return (
            "unknown",
            "not known: the first NaN in the order of the forward pass appears here",
            "look for a division by 0, a logarithm of a negative number or an overflow just before this site",
        )


_CANNOT_TELL = "; one look cannot tell when it came about (rectifier.watch can)"


def _layer(snapshot: Snapshot, name: str | None) -> LayerVitals | None:
    return next((layer for layer in snapshot.layers if layer.layer == name), None)


def _site(snapshot: Snapshot, name: str | None) -> SiteVitals | None:
    return next((site for site in snapshot.sites if site.site == name), None)


def _shift_of(layer: LayerVitals) -> float:
    """|mean| ÷ root mean square of the inputs; NaN where they are 0, not finite or unknown."""
    mean, rms = layer.input_mean, layer.input_rms
    if mean is None or rms is None or not (rms > 0 and math.isfinite(rms) and math.isfinite(mean)):
        return math.nan
    return abs(mean) / rms


def _gives_nothing(site: SiteVitals) -> bool:
    """What it hands on is exactly 0 (a leaky rectifier that never fires still hands on something)."""
    return not site.sum_abs_h.any() and not site.fired.any() and not site.nan.any()


def _nothing_comes_in(at: Moment) -> Cause | None:
    """A layer on the way here that is fed only zeros, or a site before it at which nothing fires."""
    site: SiteVitals | None = at.site
    visited = set[str]()
    while site is not None and site.site not in visited:
        visited.add(site.site)
        layer, before = _layer(at.snapshot, site.layer), _site(at.snapshot, site.upstream)
        # What a site hands on is 0 only where it is shut: that is upstream silence, if of a few looks.
        if before is None and layer is not None and layer.input_rms == 0 and not layer.input_infinite:
            where = "the model's input there" if layer.first else "what enters it"
            return Cause(
                "zeros",
                f"zeros {layer.layer}",
                f"a data path of zeros: {where} is 0 at every example (layer {layer.layer}), so z is the bias alone",
                "look at what fills that input: an empty feature, a mask or a branch without data; else cut the branch",
            )
        site = before
    upstream = _site(at.snapshot, at.site.upstream)
    if upstream is not None and _gives_nothing(upstream):
        return Cause(
            "upstream",
            "upstream",
            f"upstream silence: no unit of {upstream.site}, which feeds this layer, fired either",
            f"heal {upstream.site} first: nothing reaches these units until it fires",
        )
    return None
