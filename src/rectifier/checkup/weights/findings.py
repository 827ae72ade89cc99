"""What the numbers of saved weights prove of each unit, and how far it goes without knowing what runs them.

A batch normalisation gives z = γ·x̂ + β. Over the M values of a channel in a batch Σx̂² ≤ M and Σx̂ = 0, so that none
exceeds √(M − 1), and, by Cantelli's inequality, at most a share 1/(1 + t²) of them exceeds t. With t = −β/|γ| > 0 no
value of a batch is above 0 where M ≤ 1 + t², and never more than that share is. In evaluation the running statistics
take the batch's place: there the share holds for data whose mean and variance they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..records import CauseKind, Finding, Kind, Severity
from ..thresholds import Thresholds
from .layers import Layer
from .measure import without_numbers
from .parts import Bools, Floats, Part
from .stored import Tensor

__all__ = ["MOST_VALUES", "judged", "unit_finding"]

Counts = npt.NDArray[np.int64]

#: Values of a channel in a training batch (batch × positions) that none has more of: 256 images of 256 × 256.
MOST_VALUES = 1 << 24
#: Kept off the bound for the rounding of a normalisation.
_MARGIN = 1.01
#: Root mean square of the weights × √fan-in: He et al. 2015 start at 1.41, training seldom leaves [0.05, 5].
_SCALE = (0.01, 100.0)
#: |γ| from which a channel passes next to nothing, and the running variance that says that nothing varied.
_NO_SCALE, _NO_VARIANCE = 1e-3, 1e-12
_IF = "dead if a ReLU reads it directly"


def judged(parts: Sequence[Part], loose: Sequence[Tensor], values: int, limits: Thresholds) -> list[Finding]:
    """The findings of all layers."""
    found: list[Finding] = []
    for part in parts:
        found += _numbers(part)
        if part.layer.role in ("batchnorm", "norm") and part.scale is not None:
            found += _normalised(part, values, limits)
        elif part.rows is not None and part.layer.unitwise and not part.merged:
            found += _plain(part, limits)
        found += _scales(part)
    for tensor in loose:
        found += _whole_tensor(tensor, tensor.name)
    for part in parts:  # those whose numbers no unit needs
        if part.layer.role == "embedding" and part.layer.weight is not None:
            found += _whole_tensor(part.layer.weight, part.layer.name)
    return found


def _numbers(part: Part) -> list[Finding]:
    """NaN and infinities in anything of a layer."""
    layer, own = part.layer, part.layer.role not in ("batchnorm", "norm")
    nan, infinite = np.zeros(layer.units, dtype=np.int64), np.zeros(layer.units, dtype=np.int64)
    if own and part.rows is not None:
        nan, infinite = nan + part.rows.nan, infinite + part.rows.infinite
    for values in (part.bias,) if own else (part.scale, part.shift, part.mean, part.variance):
        if values is not None and values.shape == nan.shape:
            nan, infinite = nan + np.isnan(values), infinite + np.isinf(values)
    return _broken(layer.name, nan, infinite, layer.units)


def _broken(site: str, nan: Counts, infinite: Counts, total: int) -> list[Finding]:
    """Findings about how many NaN and infinities each unit has; about the whole tensor where ``total`` is 0."""
    found = []
    kinds: tuple[tuple[Kind, Counts, str], ...] = (("nan", nan, "NaN"), ("infinite", infinite, "infinite"))
    for kind, counts, called in kinds:
        many = int(counts.sum())
        if many:
            found.append(
                Finding(
                    kind=kind,
                    site=site,
                    units=tuple(map(int, np.flatnonzero(counts))) if total else (),
                    total=total,
                    evidence=f"{many} of its numbers {'is' if many == 1 else 'are'} {called}",
                    cause="not known from a file alone: a step that overflowed, or a file that is damaged",
                    remedy="go back to an earlier checkpoint, and clip the gradients or lower the step size",
                    measures={"values": many},
                    cause_kind="unknown",
                    severity="ill",
                    severity_reason="no output that depends on it is a number",
                )
            )
    return found


def _whole_tensor(tensor: Tensor, name: str) -> list[Finding]:
    nan, infinite = without_numbers(tensor)
    return _broken(name, np.array([nan]), np.array([infinite]), 0)


def _plain(part: Part, limits: Thresholds) -> list[Finding]:
    """Linear and convolution: rows that are exactly 0, and rows that are alike."""
    assert part.rows is not None
    bias = part.bias if part.bias is not None else np.zeros(part.layer.units)
    why = "all incoming weights are exactly 0, so z is the bias, {}, for every finite input"
    found = _fixed(part, part.rows.zero, bias, bias, why, "weights", limits)
    return found + _alike(part, bias)


def _normalised(part: Part, values: int, limits: Thresholds) -> list[Finding]:
    scale, shift = part.scale, part.shift
    assert scale is not None and shift is not None
    shut = scale == 0
    found = _fixed(
        part, shut, shift, shift, "γ is exactly 0, so z is β, {}, whatever comes in", "normalisation", limits
    )
    if part.layer.role == "norm" or part.layer.rectifier == "other":
        return found
    fed = _fed_constant(part) & ~shut
    low, high = _in_both_modes(part)
    why = f"layer {part.layer.follows}, before it as the names tell, has weights that are exactly 0: z is {{}} (β in "
    why += "training, or what the running statistics make of it)"
    found += _fixed(part, fed, low, high, why, "weights", limits, paired=True)
    with np.errstate(all="ignore"):
        reach = np.where(shift < 0, 1 + np.square(-shift / (np.abs(scale) * _MARGIN)), 0.0)
    reach[shut | fed | ~np.isfinite(scale) | ~np.isfinite(shift)] = 0.0
    return found + _bounded(part, reach, values, limits)


def _fed_constant(part: Part) -> Bools:
    if part.rows is None or part.rows.zero.shape != (part.layer.units,):
        return np.zeros(part.layer.units, dtype=bool)
    return part.rows.zero


def _in_both_modes(part: Part) -> tuple[Floats, Floats]:
    """Least and largest z of a channel whose input is the constant b: β in training, β + γ(b − μ)/√(σ² + ε) else.

    ε is in no file; the value lies between that of ε = 0 and β. Of b = μ = 0 both are β exactly; else the mean of a
    batch of b is b but for its rounding, which ε keeps from growing without bound.
    """
    assert part.scale is not None and part.shift is not None
    if part.mean is None or part.variance is None:
        return part.shift, np.full_like(part.shift, math.inf)
    bias = part.bias if part.bias is not None else np.zeros_like(part.shift)
    with np.errstate(all="ignore"):
        size, deviation = np.abs(part.scale), np.sqrt(part.variance)
        evaluated = part.shift + part.scale * (bias - part.mean) / deviation
        rounding = 1e-5 * (np.abs(part.shift) + size * (np.abs(bias) + np.abs(part.mean)) / deviation)
        rounding += 1e-3 * size * np.abs(bias)
    exact = (bias == 0) & (part.mean == 0)
    evaluated = np.where(exact, part.shift, np.where(np.isnan(evaluated), math.inf, evaluated))
    rounding = np.where(exact, 0.0, rounding)
    return np.minimum(part.shift, evaluated) - rounding, np.maximum(part.shift, evaluated) + rounding


def _fixed(
    part: Part,
    which: Bools,
    low: Floats,
    high: Floats,
    why: str,
    cause: CauseKind,
    limits: Thresholds,
    *,
    paired: bool = False,
) -> list[Finding]:
    """Units whose z does not depend on the input: it lies between ``low`` and ``high``."""
    sure = part.layer.role != "norm" and part.layer.rectifier != "other"
    shut = which & (high <= 0) if sure else np.zeros_like(which)
    found = []
    for members, closed in ((np.flatnonzero(shut), True), (np.flatnonzero(which & ~shut & ~np.isnan(high)), False)):
        if members.size:
            after = f" if layer {part.layer.follows} comes before it" if paired else ""
            span = _span(float(low[members].min()), float(high[members].max()))
            known = part.layer.rectifier if closed else None
            kind: Kind = "dead" if known else "closed" if closed else "constant"
            found.append(
                unit_finding(
                    part,
                    kind,
                    members,
                    why.format(span) + ("" if known or not closed else f"; {_IF}"),
                    "weights that are exactly 0: pruned, started so, or decayed" if cause == "weights" else _SHRUNK,
                    cause,
                    limits,
                    proof=f"z ≤ 0 for every finite input{after}{_read_as(part)}" if closed else None,
                )
            )
    return found


_SHRUNK = "γ started at 0, was pruned, or shrank while β did not rise"


def _bounded(part: Part, reach: Floats, values: int, limits: Thresholds) -> list[Finding]:
    """Channels whose β lies so far below 0 that few of a batch's values, or none, can be above it."""
    found = []
    shut = reach >= values
    few = ~shut & (reach * limits.rare >= 1)
    for members, closed in ((np.flatnonzero(shut), True), (np.flatnonzero(few), False)):
        if not members.size:
            continue
        least = float(reach[members].min())
        share = (
            f"at most 1 in {_whole(least)} of a batch's values can exceed 0, and none in a batch of {_whole(least)} "
        )
        found.append(
            unit_finding(
                part,
                "closed" if closed else "rare",
                members,
                f"−β/|γ| is {math.sqrt(least - 1) * _MARGIN:.4g} or more: in training {share}values or fewer (batch × "
                "positions); in evaluation that share holds for data whose mean and variance are the running ones"
                + (f"; {_IF}" if closed else ""),
                "γ shrank or β fell until next to nothing passes",
                "normalisation",
                limits,
                proof=f"in training, γ·√(M − 1) + β ≤ 0 for batches of M ≤ {_whole(least)} values a channel"
                if closed
                else None,
                measures={"values": least, "rate_bound": 1 / least},
            )
        )
    return found


def _alike(part: Part, bias: Floats) -> list[Finding]:
    """Units of the same weights and bias: one of them would do."""
    assert part.rows is not None and part.layer.weight is not None
    squares = np.where(part.rows.zero | ~np.isfinite(part.rows.squares), np.nan, part.rows.squares)
    values, counts = np.unique(squares[~np.isnan(squares)], return_counts=True)
    doubtful = np.flatnonzero(np.isin(squares, values[counts > 1]))
    if not doubtful.size or part.layer.weight.read is None:
        return []
    by_unit = np.moveaxis(part.layer.weight.read(), part.layer.axis, 0)
    seen: dict[tuple[float, float, bytes], int] = {}
    copies = []
    for unit in map(int, doubtful):
        key = (float(squares[unit]), float(bias[unit]), by_unit[unit].tobytes())
        if seen.setdefault(key, unit) != unit:
            copies.append(unit)
    if not copies:
        return []
    return [
        unit_finding(
            part,
            "duplicate",
            np.array(copies),
            "weights and bias are those of another unit of the layer, bit for bit: it computes the same",
            "started alike (a constant initialisation), or copied",
            "initialisation",
            Thresholds(),
        )
    ]


def _scales(part: Part) -> list[Finding]:
    """Weights far from the scale that their fan-in asks for, γ and running variances next to 0."""
    layer, rows = part.layer, part.rows
    if layer.role in ("linear", "conv", "attention") and rows is not None:
        ratio = rows.rms * math.sqrt(rows.fan_in)
        all_zero = bool(rows.zero.all()) and layer.unitwise  # told unit by unit
        if math.isfinite(ratio) and not all_zero and not _SCALE[0] <= ratio <= _SCALE[1]:
            return [_scale_finding(layer, ratio)]
    if layer.role != "batchnorm" or part.scale is None:
        return []
    found = []
    size = np.abs(part.scale)
    small = np.flatnonzero((size > 0) & (size <= _NO_SCALE * max(float(np.median(size)), _NO_SCALE)))
    if small.size:
        told = f"|γ| is {float(size[small].max()):.3g} at most, beside {float(np.median(size)):.3g} in the median"
        found.append(
            unit_finding(part, "scale", small, f"{told}: next to nothing but β passes", _SHRUNK, "normalisation")
        )
    variance = part.variance
    flat = np.flatnonzero((variance <= _NO_VARIANCE) & (part.scale != 0)) if variance is not None else np.array([])
    if flat.size and variance is not None:
        told = f"the running variance is {float(variance[flat].max()):.3g} at most: its input hardly varied in training"
        found.append(unit_finding(part, "scale", flat, told, "what feeds it is constant: look upstream", "upstream"))
    return found


def _scale_finding(layer: Layer, ratio: float) -> Finding:
    small = ratio < 1
    return Finding(
        kind="scale",
        site=layer.name,
        units=(),
        total=0,
        evidence=f"the root mean square of its weights is {ratio:.3g}/√fan-in; He et al. start at 1.41/√fan-in, and "
        f"trained layers stay within {_SCALE[0]:g} and {_SCALE[1]:g}",
        cause=f"not known from a file alone: started or decayed too {'small' if small else 'large'}, or not trained",
        remedy="check its initialisation and weight decay" if small else "clip the gradients or lower the step size",
        measures={"ratio": ratio},
        cause_kind="unknown",
        severity="warning",
        severity_reason="the signal changes by about that factor there, unless a normalisation takes it away",
    )


def unit_finding(
    part: Part,
    kind: Kind,
    members: npt.NDArray[np.intp],
    evidence: str,
    cause: str,
    cause_kind: CauseKind,
    limits: Thresholds | None = None,
    *,
    proof: str | None = None,
    measures: dict[str, float] | None = None,
) -> Finding:
    severity, reason = _weighed(kind, members.size, part.layer.units, limits or Thresholds())
    return Finding(
        kind=kind,
        site=part.layer.name,
        units=tuple(map(int, members)),
        total=part.layer.units,
        evidence=evidence,
        cause=cause,
        remedy=_REMEDIES[kind],
        measures=measures or {},
        proof=proof,
        cause_kind=None if kind in ("rare", "duplicate") else cause_kind,
        severity=severity,
        severity_reason=reason,
    )


_REMEDIES: dict[str, str] = {
    "dead": "run the model through rectifier.check; then rectifier.prune or rectifier.heal",
    "closed": "run the model through rectifier.check, which sees what reads it; then rectifier.prune or rectifier.heal",
    "constant": "fold it into the next layer's bias (rectifier.prune on the running model tells what is equal)",
    "rare": "leave it where the feature is rare; else run the model through rectifier.check",
    "scale": "look at weight decay on γ, and at what feeds the layer",
    "duplicate": "start units apart; of trained ones keep one and add its outgoing weights",
    "unmoved": "run the model through rectifier.check: such units are silent, masked, or frozen on purpose",
    "drift": "exempt biases and normalisation from weight decay, lower the step size, and look again",
}


def _weighed(kind: Kind, many: int, total: int, limits: Thresholds) -> tuple[Severity, str]:
    share = many / total
    told = f"{many} of the layer's {total} units ({100 * share:.3g} %)"
    if kind in ("rare", "duplicate"):
        return "note", f"{told}: an observation, not a fault"
    if kind == "dead" and share >= limits.ill_silence:
        return "ill", f"{told} never fire: {100 * limits.ill_silence:g} % or more (ill_silence)"
    if share > limits.usual_silence:
        untold = "" if kind == "dead" else "; not more, for what reads them is not known (a residual branch starts so)"
        return (
            "warning",
            f"{told}: more than sound training leaves ({100 * limits.usual_silence:g} %, usual_silence){untold}",
        )
    return "note", f"{told}: no more than sound training leaves ({100 * limits.usual_silence:g} %, usual_silence)"


def _read_as(part: Part) -> str:
    """What a proof about a kernel takes for granted."""
    kernel = part.layer if part.layer.role == "conv" else None
    return " (the kernel read as that of a convolution: units on its axis 0)" if kernel and kernel.axis == 0 else ""


def _span(low: float, high: float) -> str:
    low, high = low + 0.0, high + 0.0  # −0 is 0
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _whole(number: float) -> str:
    return f"{math.floor(number):,}" if number < 1e15 else f"{number:.3g}"
