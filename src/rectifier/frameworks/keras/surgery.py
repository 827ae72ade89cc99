"""Changing slices of a model's variables and taking it back, and a probe that measures the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from ...checkup.records import SiteVitals, Snapshot
from ...errors import RectifierValueError
from .calm import undisturbed
from .checkup import tensors
from .observer.kinds import as_array
from .observer.observe import Observer

__all__ = ["Edit", "Look", "count_parameters", "look", "output_change", "refuse_undo", "take_back"]


@dataclass
class Edit:
    """New values for a slice of a variable along one axis."""

    variable: Any
    axis: int
    index: npt.NDArray[np.int64]
    value: Any
    adds: bool = False
    """Whether the value is added to what is there when it is made."""
    saved: Any = None
    written: Any = None

    def _at(self) -> tuple[Any, ...]:
        return (slice(None),) * self.axis + (self.index,)

    def make(self) -> None:
        self.saved = as_array(self.variable)[self._at()].copy()
        if self.adds:
            self.value = self.saved.astype(np.float64) + self.value
        self.write()

    def write(self) -> None:
        """Put the value in; what was there before the act stays saved."""
        self._put(self.value)
        self.written = as_array(self.variable)[self._at()].copy()

    def _put(self, value: Any) -> None:
        array = as_array(self.variable).copy()
        array[self._at()] = value
        self.variable.assign(array)

    @property
    def changed(self) -> bool:
        """Has the slice been written to since, by training or another act?"""
        return not np.array_equal(as_array(self.variable)[self._at()], self.written, equal_nan=True)

    def undo(self) -> None:
        if self.saved is not None:
            self._put(self.saved)
            self.saved = None


def take_back(edits: Sequence[Edit], site: str) -> None:
    """Undo edits in reverse, bit for bit, or refuse where what they changed was changed since."""
    if any(edit.changed for edit in edits if edit.saved is not None):
        raise refuse_undo(site, "weights or optimizer state")
    for edit in reversed(edits):
        edit.undo()


def refuse_undo(site: str, what: str) -> RectifierValueError:
    """To put old rows into weights that were trained on would mix two models."""
    return RectifierValueError(
        f"undo: the model must be as the act at {site!r} left it; got {what} that changed since. "
        "Keep the act, or go on from a copy of the model made before it."
    )


@dataclass(frozen=True)
class Look:
    """A model's answer to a probe: its outputs, what its sites did, and the means of each layer's inputs."""

    outputs: tuple[Any, ...]
    snapshot: Snapshot | None
    means: dict[str, Any]

    def site(self, name: str) -> SiteVitals | None:
        sites = self.snapshot.sites if self.snapshot is not None else ()
        return next((site for site in sites if site.site == name), None)


def look(model: Any, probe: Any, verb: str) -> Look:
    """Run the probe as in evaluation, leaving no trace."""
    given = tensors(probe, f"{verb}: `probe` must be an array, or a tuple, list or dict of them")
    observer = Observer(model, training_only=False)
    observer.means = {}
    with undisturbed(model):
        observer.attach()
        try:
            outputs = observer.forward(given)
        except Exception as error:
            error.add_note(f"{verb}: the model raised this on `probe`. Pass a batch of inputs, without targets.")
            raise
        finally:
            observer.detach()
    arrays = tuple(as_array(leaf).astype(np.float64) for leaf in keras.tree.flatten(outputs))
    return Look(arrays, observer.take(0), observer.means)


def output_change(before: Look, after: Look) -> float:
    """max |Δ output|; a value that is the same NaN or infinity before and after has not changed."""
    largest = 0.0
    for old, new in zip(before.outputs, after.outputs, strict=True):
        if old.size:
            same = (old == new) | (np.isnan(old) & np.isnan(new))
            with np.errstate(invalid="ignore"):
                largest = max(largest, float(np.where(same, 0.0, np.abs(new - old)).max()))
    return largest


def count_parameters(model: Any) -> int:
    return int(model.count_params())
