"""What became of each unit between two files of one model: what stopped, what drifted, what closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...errors import RectifierValueError
from ..records import Finding
from . import names
from .findings import unit_finding
from .measure import BLOCK
from .parts import Bools, Floats, Part
from .stored import Tensor, Weights

__all__ = ["changes", "check_same", "moves", "with_news"]

#: Deviations of z, for inputs of unit scale, by which a bias that fell has drifted; and the share left of a γ.
_FELL, _SHRANK = 3.0, 0.1
#: A row was only scaled where what is not along its old self is this share of what it lost, or of its rounding.
_TURNED, _ROUNDED = 0.01, 1e-6
#: What a unit may have become.
_KINDS = ("dead", "closed", "constant")


def check_same(new: Weights, old: Weights) -> None:
    """Raise RectifierValueError with the first names or shapes that differ, where they are not of one architecture."""
    lost = [name for name in old.tensors if name not in new.tensors]
    added = [name for name in new.tensors if name not in old.tensors]
    both = [
        (name, tensor.shape, old.tensors[name].shape) for name, tensor in new.tensors.items() if name in old.tensors
    ]
    other = [f"{name} is {now}, was {then}" for name, now, then in both if now != then]
    if not (lost or added or other):
        return
    told = [f"only in the one: {names.listed(added, 3)}"] if added else []
    told += [f"only in the other: {names.listed(lost, 3)}"] if lost else []
    told += [f"of another shape: {names.listed(other, 3)}"] if other else []
    raise RectifierValueError(
        f"check_weights: `against` must be of the same architecture; got {old.path!r} beside {new.path!r}: "
        f"{'; '.join(told)}. Pass two checkpoints of one model."
    )


def moves(new: Part, old: Part) -> tuple[Floats, Bools] | None:
    """‖Δw‖ ÷ ‖w‖ of each unit, and which were scaled by one factor below 1 and not turned; None without weights."""
    layer, then = new.layer, old.layer
    if new.layer.role == "batchnorm":
        layer, then = new.before or layer, old.before or then
    tensors = [(layer.weight, then.weight, layer.axis), (layer.bias, then.bias, 0)]
    if new.layer.role == "batchnorm" and new.before is not None:
        tensors += [(new.layer.weight, old.layer.weight, 0), (new.layer.bias, old.layer.bias, 0)]
    units = new.layer.units
    changed, size, along = np.zeros(units), np.zeros(units), np.zeros(units)
    for now, before, axis in tensors:
        sums = _sums(now, before, axis)
        if sums is None:
            continue
        changed, size, along = changed + sums[0], size + sums[1], along + sums[2]
    if not size.any():
        return None
    with np.errstate(all="ignore"):
        moved = np.sqrt(changed / size)
        # ⟨Δw, w⟩ ÷ ‖w‖² = c − 1 where w became c·w; what is left of Δw beside that is its turn.
        lost = -along / size
        turned = np.sqrt(np.maximum(changed / size - np.square(lost), 0.0))
    scaled = (lost > 10 * _ROUNDED) & (turned <= np.maximum(_TURNED * lost, _ROUNDED))
    return np.where(size > 0, moved, np.where(changed > 0, np.inf, 0.0)), scaled


def _sums(now: Tensor | None, before: Tensor | None, axis: int) -> tuple[Floats, Floats, Floats] | None:
    """Σ(Δw)², Σ w² and Σ Δw·w of each unit, w as it was before."""
    if now is None or before is None or now.read is None or before.read is None:
        return None
    one, other = (np.moveaxis(tensor.read(), axis, 0) for tensor in (now, before))  # type: ignore[misc]
    units = one.shape[0]
    changed, size, along = np.zeros(units), np.zeros(units), np.zeros(units)
    step = max(1, BLOCK * units // max(one.size, 1))
    for start in range(0, units, step):
        some = slice(start, start + step)
        then = other[some].reshape(other[some].shape[0], -1).astype(np.float64)
        with np.errstate(all="ignore"):
            delta = one[some].reshape(then.shape).astype(np.float64) - then
            changed[some] = np.einsum("ij,ij->i", delta, delta)
            size[some] = np.einsum("ij,ij->i", then, then)
            along[some] = np.einsum("ij,ij->i", delta, then)
    return changed, size, along


def changes(pairs: Sequence[tuple[Part, Part]], moved: Mapping[str, tuple[Floats, Bools]]) -> list[Finding]:
    """Units that nothing but weight decay moved while others of their layer learned, and units that drifted shut."""
    found: list[Finding] = []
    for new, old in pairs:
        if new.layer.name in moved and new.layer.unitwise and not new.merged:
            found += _stopped(new, *moved[new.layer.name])
            found += _drifted(new, old)
    return found


def _stopped(part: Part, moved: Floats, scaled: Bools) -> list[Finding]:
    still = moved == 0
    learned = ~still & ~scaled
    if not learned.any():
        return []  # the whole layer is frozen, or the files are one
    found = []
    for which, told in (
        (still, "weights and bias are the same bit for bit, while other units of the layer learned"),
        (scaled, "weights and bias shrank without turning, as by weight decay alone, while other units learned"),
    ):
        members = np.flatnonzero(which)
        if members.size:
            evidence = f"{told}: no gradient came through, as behind a rectifier that did not fire"
            cause = "silent, masked or frozen in between"
            measures = {"learned": float(learned.sum())}
            found.append(unit_finding(part, "unmoved", members, evidence, cause, "unknown", measures=measures))
    return found


def _drifted(new: Part, old: Part) -> list[Finding]:
    found = []
    if new.scale is not None and new.shift is not None and old.scale is not None and old.shift is not None:
        with np.errstate(all="ignore"):
            fell = np.nan_to_num(old.shift / np.abs(old.scale) - new.shift / np.abs(new.scale), nan=0.0)
            shrank = (np.abs(new.scale) <= _SHRANK * np.abs(old.scale)) & (old.scale != 0)
        lower = (fell >= _FELL) & (new.shift < 0) & (new.scale != 0)
        told = [
            (lower, f"β ÷ |γ| fell by {{:.3g}} or more, in deviations of what is normalised (limit {_FELL:g})", fell)
        ]
        told += [(shrank & ~lower, f"|γ| is a tenth of what it was, or less ({_SHRANK:g})", fell)]
    elif new.rows is not None:
        zeros = np.zeros(new.layer.units)
        now, then = (part.bias if part.bias is not None else zeros for part in (new, old))
        with np.errstate(all="ignore"):
            fell = np.nan_to_num((then - now) / new.rows.norm, nan=0.0, posinf=0.0)
        told = [(fell >= _FELL, f"the bias fell by {{:.3g}} times ‖w‖ or more (limit {_FELL:g})", fell)]
    else:
        return []
    for which, evidence, size in told:
        members = np.flatnonzero(which)
        if members.size:
            least = float(size[members].min())
            cause = "bias or β moved towards where the unit is silent"
            found.append(unit_finding(new, "drift", members, evidence.format(least), cause, "bias"))
    return found


def with_news(findings: Sequence[Finding], before: Sequence[Finding]) -> list[Finding]:
    """The findings with which of their units are new since the other file."""
    shut: dict[str, set[int]] = {}
    for finding in before:
        if finding.kind in _KINDS:
            shut.setdefault(finding.site, set()).update(finding.units)
    told = []
    for finding in findings:
        news = [unit for unit in finding.units if unit not in shut.get(finding.site, set())]
        if finding.kind in _KINDS and news:
            which = "all of them" if len(news) == len(finding.units) else names.listed(map(str, news), 12)
            finding = replace(
                finding,
                evidence=f"{finding.evidence}; new since the earlier file: {which}",
                measures={**finding.measures, "new": len(news)},
            )
        told.append(finding)
    return told
