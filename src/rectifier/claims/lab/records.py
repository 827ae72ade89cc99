"""Finished runs on disk: one file of JSON lines an experiment, one line a run, appended and synchronised at once.

A kill in the middle of a line loses that line alone: what is torn is left out, told, and its run made again. A line::

    {"experiment": "trained", "version": 1, "config": {…}, "outcome": {…}, "seconds": 1.2, "machine": "3f2a9c01"}

and machines, with the versions of what is installed, have lines of their own: ``{"machine": "3f2a9c01", "is": {…}}``.
Numbers that JSON lacks are the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import RectifierValueError
from .experiment import Outcome, Run, key
from .results import Results, Row

__all__ = ["Records"]

_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Records:
    """The runs kept in a folder.

    folder: is made when the first run is added. Raises RectifierValueError where it is no folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise RectifierValueError(
                f"claims: `--results` must be a folder; got the file {str(folder)!r}. Name another."
            )
        self.machines: dict[str, dict[str, str]] = {}
        self.unreadable: dict[str, int] = {}
        """File → lines that are no record: torn by a kill or by a full disk."""
        self._rows: dict[str, Row] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            self._read(path)

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().split(b"\n"):
            if not line:
                continue
            try:
                entry = json.loads(line)
                if "is" in entry:
                    self.machines[entry["machine"]] = dict(entry["is"])
                    continue
                row = Row(
                    entry["experiment"],
                    entry["config"],
                    {name: _read_number(value) for name, value in entry["outcome"].items()},
                    entry["seconds"],
                    entry["machine"],
                )
                self._rows[key(entry["experiment"], entry["version"], entry["config"])] = row
            except (ValueError, KeyError, TypeError, AttributeError):
                self.unreadable[path.name] = self.unreadable.get(path.name, 0) + 1

    def __contains__(self, run: Run) -> bool:
        return run.key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def results(self, runs: Iterable[Run]) -> Results:
        """What is on record of these runs, in their order."""
        found = {run.key: self._rows[run.key] for run in runs if run.key in self._rows}
        return Results(found.values())

    def other_versions(self, runs: Iterable[Run]) -> dict[str, int]:
        """Experiment → how many runs on record are of another version than the one asked for; none of them is used."""
        asked = {run.experiment.name: f"{run.experiment.name}/{run.experiment.version} " for run in runs}
        counts: dict[str, int] = {}
        for name, start in asked.items():
            many = sum(each.startswith(f"{name}/") and not each.startswith(start) for each in self._rows)
            if many:
                counts[name] = many
        return counts

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """The right to add runs; refused while another process has it, as both would make the same runs."""
        import fcntl

        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RectifierValueError(
                    f"claims: `--results` must not be in use; another sweep is writing to {str(self.folder)!r}. "
                    "Wait for it, or name another folder."
                ) from None
            yield

    def add(self, run: Run, outcome: Outcome, seconds: float, machine: Mapping[str, str]) -> None:
        """Keep a finished run; it is on the disk when this returns. Raises OSError where it could not be written."""
        told = json.dumps(machine, sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()[:8]
        path = self.folder / f"{run.experiment.name}.jsonl"
        entry = {
            "experiment": run.experiment.name,
            "version": run.experiment.version,
            "config": run.config,
            "outcome": {name: _written_number(value) for name, value in outcome.items()},
            "seconds": round(seconds, 3),
            "machine": name,
        }
        lines = [entry]
        if name not in self.machines or not path.exists():
            lines.insert(0, {"machine": name, "is": dict(machine)})
        _append(path, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines))
        self.machines[name] = dict(machine)
        self._rows[run.key] = Row(run.experiment.name, run.config, dict(outcome), seconds, name)


def _append(path: Path, text: str) -> None:
    """Add whole lines, or nothing."""
    # Without a buffer, which would be written once more when the file is closed.
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":  # the line of a kill: it stays, as something unreadable, and ends here
                text = "\n" + text
        left = memoryview(text.encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise OSError(error.errno, error.strerror, str(path)) from error


def _written_number(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_written_number(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _read_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_read_number(each) for each in value]
    return _SPELLED.get(value, value) if isinstance(value, str) else value
