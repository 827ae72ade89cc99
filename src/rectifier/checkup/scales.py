"""Scales of gradients, activations and updates: do they vanish or explode, along the depth or against the history?

Along the depth, in the order of the forward pass: the norm of ∂loss/∂z an example (root mean square × √values, so that
positions and widths do not count as loss of signal) and the root mean square of h, one end against the other. The limit
is for the whole way; spread over the depth it is a factor a layer, and the finding states both. Fewer than three layers
make no depth. Against its own history: a scale that is 1000 times what it was before, or a thousandth. Against the
number format: what lies outside of what it can carry. ``docs/verdicts.md`` has the formulas and their reasons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .records import CauseKind, Finding, Kind, LayerVitals, Severity, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = ["FORMATS", "Format", "ends_ratio", "infinite_input", "judge_scales"]

_DEPTH = 3
#: What layers that make queries and keys are called. They act through a softmax: while attention is near uniform, as
#: it is at first in a sound model too, their gradients are small: no sign of what reaches that depth.
_SCORES = frozenset({"q", "k", "query", "key", "q_proj", "k_proj", "q_lin", "k_lin", "to_q", "to_k"})
#: Looks whose update ratios are taken together: one step may be unlike the others.
_LOOKS = 3


@dataclass(frozen=True)
class Format:
    """What a number format can carry."""

    epsilon: float
    smallest: float
    """Smallest normal number: below it digits are lost one by one, below ``smallest · epsilon`` all is 0."""
    largest: float


FORMATS: Mapping[str, Format] = {
    "float16": Format(2.0**-10, 2.0**-14, 65504.0),
    "bfloat16": Format(2.0**-7, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    "float32": Format(2.0**-23, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "float64": Format(2.0**-52, 2.0**-1022, float(np.finfo(np.float64).max)),
}


def judge_scales(snapshots: Sequence[Snapshot], limits: Thresholds, *, history: bool = False) -> list[Finding]:
    """Findings about gradients (by layer), activations (by site) and updates (by layer) of the last snapshot."""
    last = snapshots[-1]
    before = snapshots[:-1] if history else ()
    # NaN has its own finding, and makes every gradient NaN: that is no explosion.
    gradients = [] if any(site.nan.any() for site in last.sites) else _gradients(last, before, limits)
    infinite = _infinite(last)
    if infinite is not None:  # it makes every scale behind it infinite: told once, where it comes in
        return [infinite]
    found = [*gradients, *_activations(last, before, limits), *_updates(snapshots, limits)]
    told = {finding.kind for finding in found}
    return found + [other for other in (*_history(last, before, limits), *_carried(last)) if other.kind not in told]


def infinite_input(layers: Sequence[LayerVitals]) -> LayerVitals | None:
    """The layer at which infinite values come in with the model's input."""
    return next((layer for layer in layers if layer.first and layer.input_infinite), None)


def _infinite(last: Snapshot) -> Finding | None:
    """Infinite pre-activations; None without any. With NaN at the first such site, its own finding tells."""
    site = next((site for site in last.sites if _count(site) and not site.nan.any()), None)
    if site is None:
        return None
    assert site.infinite is not None
    count, units = _count(site), int((site.infinite > 0).sum())
    evidence = (
        f"{count} of {site.examples * site.units} pre-activations at {site.site} are infinite, in {units} of "
        f"{site.units} units"
    )
    entry = infinite_input(last.layers)
    if entry is not None:
        kind: CauseKind = "data"
        cause = f"the model's input holds infinite values ({entry.input_infinite} seen at layer {entry.layer})"
        remedy = "clean the data: replace or drop infinite values before the model"
    else:
        inputs = [layer.input_infinite for layer in last.layers if layer.first]
        seen = "; no infinite value was seen among the model's inputs" if inputs and None not in inputs else ""
        kind = "format"
        cause = f"overflow: values beyond the largest number of the format{seen}"
        remedy = "lower the step size, clip gradients or add normalisation; in half precision use bfloat16 or float32"
    measures = {"infinite": float(count), "examples": float(site.examples)}
    reason = "a value that is infinite carries nothing"
    return _made("exploding_activation", site.site, evidence, (kind, cause, remedy), measures, ("ill", reason))


def _count(site: SiteVitals) -> int:
    return 0 if site.infinite is None else int(site.infinite.sum())


# Along the depth


def _gradient_scales(snapshot: Snapshot) -> list[tuple[str, float]]:
    scaled = [
        (layer.layer, layer.gradient_rms * math.sqrt(layer.values or layer.units))
        for layer in snapshot.layers
        if layer.gradient_rms is not None and layer.layer.rpartition(".")[2] not in _SCORES
    ]
    # Backward runs from the last layer to the first: the signal's start is the last.
    return scaled[::-1]


def _activation_scales(snapshot: Snapshot) -> list[tuple[str, float]]:
    return [(site.site, site.rms_h) for site in snapshot.sites if not site.nan.any()]


def ends_ratio(scaled: Sequence[tuple[str, float]]) -> float:
    """The scale at the end of the way ÷ that at its start; NaN where there is no depth, or one is 0 or not finite."""
    if len(scaled) < _DEPTH or not all(scale > 0 and math.isfinite(scale) for _, scale in scaled):
        return math.nan
    return scaled[-1][1] / scaled[0][1]


def _gradients(last: Snapshot, before: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    then = ends_ratio(_gradient_scales(before[0])) if before else math.nan
    limit, reason = limits.scale_ratio, ""
    known = [layer.weight_format for layer in last.layers if layer.weight_format in FORMATS]
    if limit and known:
        name = max(known, key=lambda name: FORMATS[name or ""].epsilon) or ""
        lost = FORMATS[name].epsilon / (2 * limits.large_update)
        if lost > limit:
            limit = lost
            reason = (
                f", where weights in {name} lose an update below ε/2 = {FORMATS[name].epsilon / 2:.3g} of themselves "
                f"and one above {limits.large_update:g} is too large: no step size serves both ends"
            )
    return _ends("gradient", _gradient_scales(last), limit, reason, then, before)


def _activations(last: Snapshot, before: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    then = ends_ratio(_activation_scales(before[0])) if before else math.nan
    return _ends("activation", _activation_scales(last), limits.scale_ratio, "", then, before)


def _ends(
    what: str,
    scaled: list[tuple[str, float]],
    limit: float,
    reason: str,
    then: float,
    before: Sequence[Snapshot],
) -> list[Finding]:
    """Judge scales in the order in which the signal runs. then: the ratio of the ends at the first look."""
    broken = [name for name, scale in scaled if not math.isfinite(scale)]
    if broken:
        evidence = f"the {what} is not finite at {', '.join(broken)}"
        return [_finding(what, False, broken[0], evidence, {"layers": len(scaled), "not_finite": len(broken)})]
    zero = [name for name, scale in scaled if scale == 0]
    if zero and any(scale > 0 for _, scale in scaled):
        evidence = f"the {what} is exactly 0 at {', '.join(zero)}, and not at {scaled[0][0]}"
        return [_finding(what, True, zero[0], evidence, {"layers": len(scaled), "zero_layers": len(zero)})]
    ratio = ends_ratio(scaled)
    if math.isnan(ratio) or not limit or limit <= ratio <= 1 / limit:
        return []
    (start, first), (end, last) = scaled[0], scaled[-1]
    depth = len(scaled) - 1
    evidence = (
        f"the {what} goes from {first:.3g} at {start} to {last:.3g} at {end}: a ratio of {ratio:.3g} over "
        f"{len(scaled)} places, a factor {ratio ** (1 / depth):.3g} at each (limits {limit:g} and {1 / limit:g}, "
        f"{limit ** (1 / depth):.3g} and {limit ** (-1 / depth):.3g} at each{reason})"
    )
    measures = {"ratio": ratio, "factor": ratio ** (1 / depth), "layers": len(scaled), "first": first, "last": last}
    measures["limit"] = limit
    born = None
    if before and not math.isnan(then):
        measures["ratio_at_first"] = then
        born = not limit <= then <= 1 / limit
        evidence += f"; at the first look (step {before[0].step}) the ratio was {then:.3g}"
    return [_finding(what, ratio < 1, end, evidence, measures, born)]


def _finding(
    what: str, vanishing: bool, site: str, evidence: str, measures: dict[str, float], born: bool | None = None
) -> Finding:
    kinds: dict[tuple[str, bool], Kind] = {
        ("gradient", True): "vanishing_gradient",
        ("gradient", False): "exploding_gradient",
        ("activation", True): "vanishing_activation",
        ("activation", False): "exploding_activation",
    }
    why: tuple[CauseKind, str, str]
    if "zero_layers" in measures:
        why = (
            "shut",
            "units that are shut: they pass nothing on, and nothing back",
            "see the findings about silent and dead units there, and heal those",
        )
        severity: tuple[Severity, str] = ("ill", f"a {what} that is exactly 0 teaches nothing")
    elif "not_finite" in measures:
        why = (
            "format",
            "values beyond the largest number of the format: too large weights or steps, or infinite data",
            _EXPLODED,
        )
        severity = ("ill", f"a {what} that is not finite ends the training")
    else:
        cause = (
            "each layer shrinks the signal: a derivative below 1 (sigmoid, tanh), weights too small for it, "
            "or units that are shut"
            if vanishing
            else "each layer grows the signal: weights too large for the rectifier, or a step that made them so"
        )
        why = (
            "initialisation" if born else "depth",
            f"initialisation: it was so at the first look; {cause}" if born else cause,
            _VANISHED if vanishing else _EXPLODED,
        )
        severity = ("ill", f"beyond {measures['limit']:g} or its inverse (scale_ratio or the format)")
    return _made(kinds[what, vanishing], site, evidence, why, measures, severity)


_VANISHED = "use a rectifier, initialise with its gain (rectifier.torch.init_), add normalisation or skip connections"
_EXPLODED = (
    "initialise anew with the gain of the rectifier (rectifier.torch.init_), clip gradients, lower the step size, use "
    "a bounded rectifier (relu6) or add normalisation"
)


def _made(
    kind: Kind,
    site: str,
    evidence: str,
    why: tuple[CauseKind, str, str],
    measures: Mapping[str, float],
    severity: tuple[Severity, str],
) -> Finding:
    return Finding(
        kind=kind,
        site=site,
        units=(),
        total=0,
        evidence=evidence,
        cause=why[1],
        remedy=why[2],
        measures=measures,
        cause_kind=why[0],
        severity=severity[0],
        severity_reason=severity[1],
    )


# Updates


def _updates(snapshots: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    """Layers whose steps are too large look after look, or so small that they are lost in rounding."""
    ratios: dict[str, list[float]] = {}
    for snapshot in snapshots:
        for layer in snapshot.layers:
            if layer.update_ratio is not None and math.isfinite(layer.update_ratio):
                ratios.setdefault(layer.layer, []).append(layer.update_ratio)
    recent = {name: seen[-_LOOKS:] for name, seen in ratios.items() if len(seen) >= _LOOKS}
    found = []
    most = max((float(np.median(seen)) for seen in recent.values()), default=0.0)
    for layer in snapshots[-1].layers:
        if layer.layer not in recent:
            continue
        least, middle = min(recent[layer.layer]), float(np.median(recent[layer.layer]))
        if least >= limits.large_update:
            found.append(_exploding_update(layer.layer, least, limits))
        carried = FORMATS.get(layer.weight_format or "")
        # Frozen layers have no gradient, and a step size that went down to 0 makes all updates small.
        if carried is None or not 0 < middle < carried.epsilon / 2 or not layer.weight_gradient_rms:
            continue
        if carried.epsilon > 2.0**-20 or middle < limits.scale_ratio * most:
            found.append(_vanishing_update(layer, middle, most, carried))
    return found


def _exploding_update(layer: str, least: float, limits: Thresholds) -> Finding:
    evidence = (
        f"the last {_LOOKS} steps that were measured moved the weights of layer {layer} by {least:.3g} of their norm "
        f"or more each (limit {limits.large_update:g}; 0.001 is usual)"
    )
    why: tuple[CauseKind, str, str] = (
        "step",
        "too large a step: what was learned is overwritten within a few steps",
        "lower the step size, clip gradients or add normalisation",
    )
    ill = least >= limits.large_path
    severity: tuple[Severity, str] = (
        ("ill", f"each step replaces the weights ({limits.large_path:g} of their norm, large_path, or more)")
        if ill
        else ("warning", f"{limits.large_update:g} of the norm (large_update) or more at each of {_LOOKS} looks")
    )
    return _made("exploding_update", layer, evidence, why, {"update_ratio": least}, severity)


def _vanishing_update(layer: LayerVitals, middle: float, most: float, carried: Format) -> Finding:
    evidence = (
        f"steps move the weights of layer {layer.layer} by {middle:.3g} of their norm, below ε/2 = "
        f"{carried.epsilon / 2:.3g} of {layer.weight_format}; the layer that moves most does by {most:.3g}"
    )
    why: tuple[CauseKind, str, str] = (
        "format",
        f"the format: an update below half a unit in the last place of a {layer.weight_format} weight is rounded away",
        "keep the weights in float32 (mixed precision), or see to the gradient of this layer",
    )
    measures = {"update_ratio": middle, "most": most, "epsilon": carried.epsilon}
    return _made("vanishing_update", layer.layer, evidence, why, measures, ("warning", "below ε/2 of the format"))


# Against the run's own history, and against the format


def _history(last: Snapshot, before: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    """Scales that are ``history_ratio`` times what they were, or that part of it."""
    if not before:
        return []
    found, factor = [], limits.history_ratio
    first = dict(_activation_scales(before[0]))
    for name, now in _activation_scales(last):
        then = first.get(name, 0.0)
        if then > 0 and now > 0 and math.isfinite(now) and not 1 / factor < now / then < factor:
            kind: Kind = "exploding_activation" if now > then else "vanishing_activation"
            evidence = f"the activation at {name} went from {then:.3g} at step {before[0].step} to {now:.3g}"
            found.append(_of_history(kind, name, evidence, now / then, factor))
    if len(before) < _LOOKS:
        return found
    past = [dict(_gradient_scales(snapshot)) for snapshot in before]
    for name, now in _gradient_scales(last):
        seen = [scales[name] for scales in past if name in scales and math.isfinite(scales[name])]
        then = float(np.median(seen)) if seen else 0.0
        # A gradient that falls in the whole network is what learning does.
        if then > 0 and math.isfinite(now) and now >= factor * then:
            evidence = f"the gradient at {name} is {now:.3g}, where the median of the looks before is {then:.3g}"
            found.append(_of_history("exploding_gradient", name, evidence, now / then, factor))
    by_kind = {finding.kind: finding for finding in reversed(found)}  # the first of each: the others follow from it
    return list(by_kind.values())


def _of_history(kind: Kind, name: str, evidence: str, ratio: float, factor: float) -> Finding:
    why: tuple[CauseKind, str, str] = (
        "step" if kind.startswith("exploding") else "depth",
        "it came about in training: the scale was sound before"
        if kind.startswith("exploding")
        else "it came about in training: weights that decay, or units that fall silent",
        _EXPLODED if kind.startswith("exploding") else "lower the weight decay, and see to silent units",
    )
    told = f"a factor {ratio:.3g} (limits {1 / factor:g} and {factor:g}, history_ratio)"
    return _made(kind, name, f"{evidence}: {told}", why, {"ratio": ratio}, ("ill", told))


def _carried(last: Snapshot) -> list[Finding]:
    """What the number format of the activations and gradients can hardly carry, or no more."""
    layers = {layer.layer: layer for layer in last.layers}
    found = []
    for site in last.sites:
        layer = layers.get(site.layer or "")
        carried = FORMATS.get(layer.format or "") if layer is not None else None
        top = float(max(np.max(np.abs(site.max_z), initial=0.0), np.max(np.abs(site.min_z), initial=0.0)))
        if layer is not None and carried is not None and math.isfinite(top) and top >= carried.largest / 4:
            evidence = (
                f"|z| reaches {top:.4g} at {site.site}; the largest number of {layer.format} is {carried.largest:g}"
            )
            why: tuple[CauseKind, str, str] = ("format", "the format: two doublings are left until overflow", _OVERFLOW)
            severity: tuple[Severity, str] = ("warning", "a quarter of the largest number or more")
            found.append(_made("exploding_activation", site.site, evidence, why, {"max_z": top}, severity))
    for layer in last.layers:
        carried, scale = FORMATS.get(layer.format or ""), layer.gradient_rms
        if carried is None or not scale or not scale < carried.smallest:
            continue
        zero = carried.smallest * carried.epsilon
        evidence = (
            f"the gradient at layer {layer.layer} has a root mean square of {scale:.3g}; the smallest normal number of "
            f"{layer.format} is {carried.smallest:.3g}, and below {zero:.3g} all is 0"
        )
        why = ("format", "underflow: gradients below what the format can carry lose their digits", _UNDERFLOW)
        severity = ("ill", "most of it is rounded to 0") if scale < zero else ("warning", "digits are lost")
        found.append(_made("vanishing_gradient", layer.layer, evidence, why, {"gradient_rms": scale}, severity))
    by_kind = {finding.kind: finding for finding in reversed(found)}
    return list(by_kind.values())


_OVERFLOW = "use bfloat16 or float32 there, add normalisation or use a bounded rectifier (relu6)"
_UNDERFLOW = "scale the loss (torch.amp.GradScaler), or use bfloat16 or float32"
