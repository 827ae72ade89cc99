"""``check_weights``: what a file of weights proves, without the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import RectifierTypeError, RectifierValueError
from .adapters import versions
from .records import Record, Snapshot
from .thresholds import Thresholds
from .weights import names
from .weights.compare import changes, check_same, moves, with_news
from .weights.findings import MOST_VALUES, judged
from .weights.folder import open_weights
from .weights.layers import structure_of
from .weights.parts import Bools, Floats, layer_vitals, parts_of, site_vitals
from .weights.stored import Weights

__all__ = ["check_weights"]


def check_weights(
    path: str | Path,
    *,
    against: str | Path | None = None,
    values: int | None = None,
    name: str = "",
    limits: Thresholds | None = None,
) -> Record:
    """Tell what saved weights alone prove of a network's units; nothing is run, and nothing in the file is trusted.

    A unit is *closed* where z ≤ 0 for every finite input: its incoming weights are exactly 0 and its bias b ≤ 0, or in
    a batch normalisation γ = 0 and β ≤ 0, or, in training, γ·√(M − 1) + β ≤ 0 for M values of a channel in a batch, as
    a normalised value is at most √(M − 1). It is *dead* where a function that is 0 below 0 reads it: that is told only
    where a ``config.json`` says so. *Constant* units give the same value for every input, *rare* channels at most a
    stated share above 0 (Cantelli's inequality). NaN, infinities, scales far off and units alike are told as well.

    path: a ``.safetensors`` file; ``.pt``, ``.pth``, ``.bin`` or ``.ckpt`` written by torch.save (read without running
        code); an ``.npz`` of arrays; a folder as Hugging Face's libraries write it.
    against: an earlier file of the same model: which units did not move since, drifted or closed is told.
    values: most values of a channel in a training batch, batch × positions (M above); 2²⁴ by default.
    name: what the record is about, for titles; the path by default.
    limits: the thresholds of the verdicts.

    Returns a :class:`Record` with ``source`` "weights", its sites those where a rectifier could be, with no example.

    Raises RectifierTypeError or RectifierValueError for a file that cannot be read, is damaged, asks for code to be
    run, holds no tensor, or (``against``) is of another architecture.

    >>> import numpy as np, rectifier, tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "net.npz"
    >>> np.savez(file, **{"fc.weight": np.array([[1.0, 2.0], [0.0, 0.0]]), "fc.bias": np.array([0.5, -0.5])})
    >>> [(finding.kind, finding.site, finding.units) for finding in rectifier.check_weights(file).findings]
    [('closed', 'fc', (1,))]
    """
    most, limits = _checked(values, limits)
    now = _Look(open_weights(path), most, limits)
    snapshots: tuple[Snapshot, ...] = (now.snapshot(0),)
    findings, told = now.findings, now.not_seen
    if against is not None:
        then = _Look(_opened(against), most, limits)
        check_same(now.weights, then.weights)
        pairs = list(zip(now.parts, then.parts, strict=True))
        found = {new.layer.name: moves(new, old) for new, old in pairs if new.layer.unitwise}
        moved = {layer: pair for layer, pair in found.items() if pair is not None}
        snapshots = (then.snapshot(0), now.snapshot(1, moved))
        findings = [*with_news(now.findings, then.findings), *changes(pairs, moved)]
        told = (*told, *_frozen(moved))
    return Record(
        model=now.title,
        source="weights",
        snapshots=snapshots,
        findings=tuple(findings),
        not_observed=told,
        versions=versions(),
        name=name or names.shown(now.weights.path),
    )


def _opened(against: str | Path) -> Weights:
    try:
        return open_weights(against)
    except (RectifierTypeError, RectifierValueError) as error:
        raise type(error)(str(error).replace("`path`", "`against`", 1)) from error


class _Look:
    """One file, read and judged."""

    def __init__(self, weights: Weights, most: int, limits: Thresholds) -> None:
        self.weights, self.structure = weights, structure_of(weights)
        self.parts = parts_of(self.structure)
        self.findings = judged(self.parts, self.structure.loose, most, limits)

    def snapshot(self, step: int, moved: Mapping[str, tuple[Floats, Bools]] | None = None) -> Snapshot:
        still = {layer: pair[0] for layer, pair in (moved or {}).items()}
        sites = tuple(site_vitals(part, still.get(part.layer.name)) for part in self.parts if part.site)
        return Snapshot(step, sites, layer_vitals(self.parts))

    @property
    def title(self) -> str:
        """The class of the model where the config names it, else what the file is."""
        classes = self.weights.config.get("architectures")
        if isinstance(classes, list) and classes and isinstance(classes[0], str):
            return names.shown(classes[0])
        return f"weights ({self.weights.format})"

    @property
    def not_seen(self) -> tuple[str, ...]:
        """What no file tells, and what of this one was not judged; never more than a few lines."""
        lines = [*self.weights.told]
        if self.structure.known is None:
            lines.append(
                "which function follows a layer: no unit is called dead, and what is closed is dead only behind a "
                "rectifier that is 0 below 0"
            )
        else:
            lines.append(f"functions are those that config.json gives for {self.structure.known!r}")
        paired = [f"{layer.follows} before {layer.name}" for layer in self.structure.layers if layer.follows]
        if paired:
            lines.append(f"taken from names and sizes: {names.listed(paired, 3)}")
        attention = [layer.name for layer in self.structure.layers if layer.role == "attention"]
        if attention:
            lines.append(f"attention feeds no rectifier, so its units are not judged: {names.listed(attention, 3)}")
        loose = [tensor.name for tensor in self.structure.loose if tensor.read is not None]
        if loose:
            lines.append(f"of no layer that is known, read for NaN and infinities alone: {names.listed(loose, 3)}")
        tensors = self.weights.tensors.values()
        unread = [f"{tensor.name} ({tensor.dtype})" for tensor in tensors if tensor.read is None]
        if unread:
            lines.append(f"not read, of a dtype or layout that is none of plain numbers: {names.listed(unread, 3)}")
        integers = [part.layer.name for part in self.parts if part.whole_numbers]
        if integers:
            lines.append(f"not judged, as their weights are no floating-point numbers: {names.listed(integers, 3)}")
        return tuple(lines)


def _frozen(moved: Mapping[str, tuple[Floats, Bools]]) -> tuple[str, ...]:
    layers = [layer for layer, (size, _) in moved.items() if not size.any()]
    same = "no layer moved: the two files hold the same weights" if len(layers) == len(moved) else ""
    return (same or f"layers that did not move at all, so frozen: {names.listed(layers, 6)}",) if layers else ()


def _checked(values: int | None, limits: Thresholds | None) -> tuple[int, Thresholds]:
    if values is not None and (type(values) is not int or values < 2):
        raise RectifierValueError(
            f"check_weights: `values` must be a whole number, 2 or more; got {values!r}. Pass batch × positions."
        )
    if limits is not None and not isinstance(limits, Thresholds):
        raise RectifierTypeError(
            f"check_weights: `limits` must be Thresholds; got {type(limits).__name__}. "
            "Pass rectifier.checkup.Thresholds(rare=0.01)."
        )
    return MOST_VALUES if values is None else values, limits or Thresholds()
