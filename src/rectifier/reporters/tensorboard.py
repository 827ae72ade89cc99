"""A training, or a record, in TensorBoard: scalars at each look, histograms over the units, the findings as text."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..checkup.metrics import metrics, place_names, verdicts
from ..checkup.records import Finding, Floats, Record, SiteVitals, Snapshot
from ..errors import RectifierTypeError, RectifierValueError
from .words import TITLES, first_silence, ordered, spot, summary, told_severity, units

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes event files that TensorBoard shows; also the ``log=`` of :func:`rectifier.watch`.

    folder: where to write, made if it is not there; or a ``torch.utils.tensorboard.SummaryWriter`` of yours.

    Raises RectifierValueError where the folder cannot be written to, RectifierTypeError where it is no folder's name,
    and ModuleNotFoundError without TensorBoard.

    >>> board = TensorBoard("runs/digits")                                        # doctest: +SKIP
    >>> with board, rectifier.watch(model, optimizer, log=board) as watching:     # doctest: +SKIP
    ...     train(model, optimizer)
    >>> board.add(watching.record)                                                # doctest: +SKIP
    """

    def __init__(self, folder: str | Path | SummaryWriter) -> None:
        self._writer = _writer(folder)
        self._told: set[int] = set()
        self._judged = False

    def __call__(self, numbers: dict[str, float]) -> None:
        """The numbers of one look as scalars, at its step."""
        step = next(int(value) for name, value in numbers.items() if name.endswith("/step"))
        self._told.add(step)
        self._judged |= any(name.endswith("/faults") for name in numbers)
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def add(self, record: Record) -> None:
        """A whole record: scalars where ``log=`` has not written them, histograms of each site's firing rates and
        gradients (one value a unit) at each snapshot, and the summary with the findings as text."""
        for snapshot in record.snapshots:
            if snapshot.step not in self._told:
                self(metrics(snapshot))
            self._histograms(snapshot)
        step = record.last.step if record.snapshots else 0
        for name, value in verdicts(record).items() if not self._judged else ():
            self._writer.add_scalar(name, value, step)
        self._writer.add_text("rectifier/summary", summary(record), step)
        lines = [_told(finding) for finding in ordered(record.findings)]
        lines += [f"- not observed: {line}" for line in record.not_observed]
        if lines:
            self._writer.add_text("rectifier/findings", "\n".join(lines), step)
        self._writer.flush()

    def _histograms(self, snapshot: Snapshot) -> None:
        names = place_names(site.site for site in snapshot.sites)
        for site in snapshot.sites:
            for measure, values in _spread(site).items():
                finite = values[np.isfinite(values)]
                if finite.size:
                    # Not the name of the scalar: TensorBoard shows one kind of value a name.
                    self._writer.add_histogram(f"rectifier/{names[site.site]}/{measure}", finite, snapshot.step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        self.close()
        return False


def _spread(site: SiteVitals) -> dict[str, Floats]:
    found = {"firing_rates": site.firing_rate}
    return found if site.gradient_abs is None else {**found, "gradients": site.gradient_abs}


def _told(finding: Finding) -> str:
    which = f", units {units(finding.units, finding.total)}" if finding.units else ""
    parts = [
        ("evidence", finding.evidence),
        ("proof", finding.proof),
        ("since", first_silence(finding.since)),
        ("severity", told_severity(finding)),
        ("cause", finding.cause),
        ("what helps", finding.remedy),
    ]
    told = "".join(f"\n    - {name}: {text}" for name, text in parts if text)
    return f"- **{TITLES[finding.kind]}** at {spot(finding.site, finding.kind)}{which}{told}"


def _writer(folder: str | Path | SummaryWriter) -> SummaryWriter:
    if find_spec("tensorflow") is not None:
        # TensorBoard loads it where it is installed, and Triton, as PyTorch's optimizers load it, crashes after that.
        with suppress(ImportError):
            importlib.import_module("triton")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ModuleNotFoundError as error:
        if error.name not in ("tensorboard", "torch"):
            raise
        raise ModuleNotFoundError(
            f"TensorBoard: `{error.name}` must be installed; it was not found. "
            'Run: pip install "rectifier[tensorboard]"',
            name=error.name,
        ) from error
    if isinstance(folder, SummaryWriter):
        return folder
    if not isinstance(folder, (str, Path)):
        raise RectifierTypeError(
            f"TensorBoard: `folder` must be a folder's name or a SummaryWriter; got {type(folder).__name__}. "
            "Pass for instance 'runs/digits'."
        )
    if "://" not in str(folder):  # else it is a bucket, of which TensorBoard knows more
        _check(Path(folder))
    return SummaryWriter(str(folder))


def _check(folder: Path) -> None:
    """Before TensorBoard does, whose error depends on what is installed beside it."""
    reason = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    if reason is None and not os.access(folder, os.W_OK):
        reason = "Permission denied"
    if reason is not None:
        raise RectifierValueError(
            f"TensorBoard: `folder` must be a folder that can be written to; got {str(folder)!r} ({reason}). "
            "Pass another folder."
        )
