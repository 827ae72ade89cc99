"""Scales of gradients and activations along the depth: do they vanish or explode?

The rule: along the layers in the order of the forward pass, take the norm of ∂loss/∂z an example (root mean square ×
√values, so that positions and widths do not count as loss of signal), and compare the two ends. A ratio below
``Thresholds.scale_ratio`` (1e-3) vanishes, above its inverse explodes. The factor a layer, ratio^(1/(layers − 1)), is
told with it. Fewer than three layers make no depth. A gradient that is exactly 0 at every later look counts as
vanished at any depth, and one that is not finite as exploded. Where infinite values came in with the data, they are
named as the cause, and not the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .records import Finding, Kind, LayerVitals, SiteVitals, Snapshot
from .thresholds import Thresholds

__all__ = ["infinite_input", "judge_scales"]

_DEPTH = 3


def judge_scales(snapshots: Sequence[Snapshot], limits: Thresholds) -> list[Finding]:
    """Findings about gradients (by layer) and activations (by site) of the last snapshot."""
    last = snapshots[-1]
    # NaN has its own finding, and makes every gradient NaN: that is no explosion.
    gradients = [] if any(site.nan.any() for site in last.sites) else _gradients(last.layers, limits)
    infinite = _infinite(last)
    if infinite is not None:  # it makes every scale behind it infinite: told once, where it comes in
        return [infinite]
    return [*gradients, *_activations(last.sites, limits)]


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
        cause = f"the model's input holds infinite values ({entry.input_infinite} seen at layer {entry.layer})"
        remedy = "clean the data: replace or drop infinite values before the model"
    else:
        inputs = [layer.input_infinite for layer in last.layers if layer.first]
        seen = "; no infinite value was seen among the model's inputs" if inputs and None not in inputs else ""
        cause = f"overflow: values beyond the largest number of the format{seen}"
        remedy = "lower the step size, clip gradients or add normalisation; in half precision use bfloat16 or float32"
    measures = {"infinite": float(count), "examples": float(site.examples)}
    return Finding("exploding_activation", site.site, (), 0, evidence, cause, remedy, measures)


def _count(site: SiteVitals) -> int:
    return 0 if site.infinite is None else int(site.infinite.sum())


def _gradients(layers: Sequence[LayerVitals], limits: Thresholds) -> list[Finding]:
    scaled = [
        (layer.layer, layer.gradient_rms * math.sqrt(layer.values or layer.units))
        for layer in layers
        if layer.gradient_rms is not None
    ]
    # Backward runs from the last layer to the first: the signal's start is the last.
    return _ends("gradient", scaled[::-1], limits)


def _activations(sites: Sequence[SiteVitals], limits: Thresholds) -> list[Finding]:
    seen = [site for site in sites if not site.nan.any()]
    return _ends("activation", [(site.site, site.rms_h) for site in seen], limits)


def _ends(what: str, scaled: list[tuple[str, float]], limits: Thresholds) -> list[Finding]:
    """Judge scales in the order in which the signal runs."""
    broken = [name for name, scale in scaled if not math.isfinite(scale)]
    if broken:
        evidence = f"the {what} is not finite at {', '.join(broken)}"
        return [_finding(what, False, broken[0], evidence, {"layers": len(scaled), "not_finite": len(broken)})]
    zero = [name for name, scale in scaled if scale == 0]
    if zero and any(scale > 0 for _, scale in scaled):
        evidence = f"the {what} is exactly 0 at {', '.join(zero)}, and not at {scaled[0][0]}"
        return [_finding(what, True, zero[0], evidence, {"layers": len(scaled), "zero_layers": len(zero)})]
    if len(scaled) < _DEPTH or not all(scale > 0 for _, scale in scaled):
        return []
    (start, first), (end, last) = scaled[0], scaled[-1]
    ratio = last / first
    if limits.scale_ratio <= ratio <= 1 / limits.scale_ratio if limits.scale_ratio else True:
        return []
    factor = math.exp(math.log(ratio) / (len(scaled) - 1))
    evidence = (
        f"the {what} goes from {first:.3g} at {start} to {last:.3g} at {end}: a ratio of {ratio:.3g} over "
        f"{len(scaled)} places, a factor {factor:.3g} at each (limits {limits.scale_ratio:g} and "
        f"{1 / limits.scale_ratio:g})"
    )
    measures = {"ratio": ratio, "factor": factor, "layers": len(scaled), "first": first, "last": last}
    return [_finding(what, ratio < 1, end, evidence, measures)]


def _finding(what: str, vanishing: bool, site: str, evidence: str, measures: dict[str, float]) -> Finding:
    kinds: dict[tuple[str, bool], Kind] = {
        ("gradient", True): "vanishing_gradient",
        ("gradient", False): "exploding_gradient",
        ("activation", True): "vanishing_activation",
        ("activation", False): "exploding_activation",
    }
    cause = (
        "units that are shut: they pass nothing on, and nothing back"
        if "zero_layers" in measures
        else "values beyond the largest number of the format: too large weights or steps, or infinite data"
        if "not_finite" in measures
        else "each layer shrinks the signal: a derivative below 1 (sigmoid, tanh), weights too small for it, "
        "or units that are shut"
        if vanishing
        else "each layer grows the signal: weights too large for the rectifier, or a step that made them so"
    )
    remedy = (
        "see the findings about silent and dead units there, and heal those"
        if "zero_layers" in measures
        else "use a rectifier, initialise with its gain (rectifier.torch.init_), add normalisation or skip connections"
        if vanishing
        else "initialise with the gain of the rectifier (rectifier.torch.init_), clip gradients, lower the step size, "
        "or add normalisation"
    )
    return Finding(kinds[what, vanishing], site, (), 0, evidence, cause, remedy, measures)
