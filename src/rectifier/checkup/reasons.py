"""Each cause in words: what it says of the units, with its numbers, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .deaths import Moment, Push
from .records import CauseKind, SiteVitals
from .thresholds import Thresholds

__all__ = [
    "RECYCLE",
    "Cause",
    "group",
    "of_changed_input",
    "of_drift",
    "of_normalisation",
    "of_push",
    "of_statistics",
    "percent",
    "unknown",
]

RECYCLE = "recycle them (rectifier.heal) where the layers round them can be followed"


@dataclass(frozen=True)
class Cause:
    kind: CauseKind
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


def of_changed_input(step: int, layer: str, before: float, now: float, of_scale: float) -> Cause:
    what = "root mean square" if of_scale else "mean"
    return Cause(
        "input",
        "input change",
        f"input scale or shift: they last fired before step {{step}}, when the {what} of the inputs of layer {layer} "
        f"went from {before:.3g} to {now:.3g}",
        f"find what changed in the data there, and standardise them as before; then {RECYCLE}",
        {"step": step, "before": before, "now": now},
    )


def of_push(
    push: Push, past: Sequence[Moment], death: int, limits: Thresholds, above: SiteVitals | None = None
) -> Cause:
    """above: the site that was pushed, where it was one before."""
    at = past[death]
    whose = "their own weights" if above is None else f"the weights of {above.site}, which feeds them,"
    layer = at.site.layer if above is None else above.layer
    if push.how == "one step":
        how = f"when one step moved the weights of layer {layer} by {{update_ratio}} times their norm"
        usual = f"{limits.large_update:g} a step is too much, 0.001 is usual"
    elif push.how == "jump":
        how = (
            f"and after step {{step_before}}: there {whose} moved by {{moved}} times their norm within {{steps}} "
            "steps, far beyond the pace before"
        )
        usual = f"{limits.large_update:g} more than three times that pace explains is too much"
    else:
        how = (
            "after their own weights had moved by {moved} times their norm within {steps} steps, {a_step} a step "
            "on average"
        )
        usual = "0.001 a step is usual"
    return Cause(
        "step",
        f"step {push.how} {layer}",
        f"too large a step: they last fired before step {{step}}, {how} ({usual})",
        f"lower the step size (or warm it up, or clip gradients), then {RECYCLE}",
        {
            "step": at.step,
            "step_before": push.after,
            "update_ratio": push.largest,
            "moved": push.moved,
            "steps": push.steps,
            "a_step": push.moved / max(push.steps, 1),
        },
    )


def of_drift(past: Sequence[Moment], unit: int, death: int) -> Cause | None:
    """With the bias that it had when it was first seen, the unit would still fire: then the bias closed it."""
    at, first = past[death].site, past[0].site
    if at.bias is None or first.bias is None:
        return None
    now, then = float(at.bias[unit]), float(first.bias[unit])
    reach = float(at.max_z[unit]) - now
    if not (now < then and reach + then > 0):
        return None
    return Cause(
        "bias",
        "bias drift",
        f"bias drift: the bias went from {{bias_before}} to {{bias}} by step {{step}}; with the one of step "
        f"{past[0].step} they would still fire, as their weights reach {{reach}}",
        f"{RECYCLE}; a smaller step size for the biases, or a penalty on activity that is smaller, keeps them from "
        "drifting again",
        {"bias_before": then, "bias": now, "reach": reach, "step": past[death].step},
    )


def of_statistics(site: SiteVitals, unit: int, when: str) -> Cause | None:
    """Statistics that match the data give values round 0; here all lie beyond one deviation on one side."""
    assert site.scale is not None and site.shift is not None
    scale, shift = float(site.scale[unit]), float(site.shift[unit])
    if scale == 0:
        return None
    ends = [(float(z[unit]) - shift) / scale for z in (site.min_z, site.max_z)]
    low, high = min(ends), max(ends)
    if not (math.isfinite(low) and math.isfinite(high)) or low <= 1.0 and high >= -1.0:
        return None
    return Cause(
        "statistics",
        "statistics",
        "running statistics that do not match the data: normalised by them, values lie between {low} and {high} "
        f"deviations, where a batch's own statistics would put their mean at 0{when}",
        "run the training data through the model in training mode, or raise the momentum of the normalisation; "
        "then check again",
        {"low": low, "high": high},
    )


def of_normalisation(site: SiteVitals, unit: int, when: str) -> Cause | None:
    """Values that are normalised well, and yet none is lifted above 0: then it is γ and β that close the unit."""
    assert site.scale is not None and site.shift is not None
    scale, shift = float(site.scale[unit]), float(site.shift[unit])
    if shift > 0 and abs(scale) >= 1e-6:
        return None
    return Cause(
        "normalisation",
        "normalisation",
        "collapsed normalisation: γ = {scale} against β = {shift}, so the normalised value cannot lift z above 0"
        + when,
        f"{RECYCLE}, which puts γ to 1 and β to 0; keep weight decay off γ and β",
        {"scale": scale, "shift": shift},
    )


def unknown(site: SiteVitals, when: str) -> Cause:
    tried = "upstream silence, step size, initialisation, bias, normalisation and inputs were looked at"
    where = "" if site.layer is not None else "; the layer that makes these units could not be followed"
    return Cause("unknown", "unknown", f"not known: {tried}{where}{when}", f"{RECYCLE}, and watch the next training")
