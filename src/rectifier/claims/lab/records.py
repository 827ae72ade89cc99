"""Finished runs on disk: one file of JSON lines an experiment, one line a run, appended and synchronised at once.

A kill in the middle of a line loses that line alone: what is torn is left out and told, and dropped as runs are added;
its run is then made again. A line::

    {"experiment": "trained", "version": 1, "config": {…}, "outcome": {…}, "seconds": 1.2, "machine": "3f2a9c01"}

and machines, with the versions of what is installed, have lines of their own: ``{"machine": "3f2a9c01", "is": {…}}``.
Numbers that JSON lacks are the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ... import _files
from ...errors import RectifierValueError
from .experiment import Outcome, Run, key
from .results import Results, Row

__all__ = ["Records", "written_number"]

_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Records:
    """The runs kept in a folder.

    folder: is made when the first run is added. Raises RectifierValueError where it is none that can be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.machines: dict[str, dict[str, str]] = {}
        self.unreadable: dict[str, int] = {}
        """File → lines that are no record: torn by a kill or by a full disk. They go as runs are added."""
        self._rows: dict[str, Row] = {}
        try:
            for path in sorted(self.folder.iterdir()) if self.folder.exists() else ():
                if path.suffix == ".jsonl":
                    self._read(path)
        except OSError as error:
            raise _unusable(error) from error

    def _read(self, path: Path) -> list[bytes]:
        """Take in a file; its lines that are records."""
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        whole = [line for line in lines if self._take(line)]
        if len(whole) < len(lines):
            self.unreadable[path.name] = len(lines) - len(whole)
        return whole

    def _take(self, line: bytes) -> bool:
        """Take in a line, if it is a record."""
        try:
            entry = json.loads(line)
            if "is" in entry:
                self.machines[entry["machine"]] = {name: str(value) for name, value in entry["is"].items()}
                return True
            row = Row(
                entry["experiment"],
                entry["config"],
                {name: _read_number(value) for name, value in entry["outcome"].items()},
                float(entry["seconds"]),
                entry["machine"],
            )
            self._rows[key(entry["experiment"], entry["version"], entry["config"])] = row
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def __contains__(self, run: Run) -> bool:
        return run.key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def results(self, runs: Iterable[Run]) -> Results:
        """What is on record of these runs, in their order."""
        found = {run.key: self._rows[run.key] for run in runs if run.key in self._rows}
        return Results(found.values())

    def other_versions(self, runs: Iterable[Run]) -> dict[str, int]:
        """Experiment of which runs are missing → how many of another version are on record; none of them is used."""
        asked = {
            run.experiment.name: f"{run.experiment.name}/{run.experiment.version} " for run in runs if run not in self
        }
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

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            opened = (self.folder / ".lock").open("w")
        except OSError as error:
            raise _unusable(error) from error
        with opened as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RectifierValueError(
                    f"claims: `--results` must not be in use; another sweep is writing to {str(self.folder)!r}. "
                    "Wait for it, or name another folder."
                ) from None
            self._tidy()
            yield

    def _tidy(self) -> None:
        """Write the files with unreadable lines anew, without these: the runs that they were are made again."""
        for name in self.unreadable:
            lines = b"".join(line + b"\n" for line in self._read(self.folder / name))
            _files.write_with(self.folder / name, functools.partial(_write_whole, lines), force=True)
        self.unreadable.clear()

    def add(self, run: Run, outcome: Outcome, seconds: float, machine: Mapping[str, str]) -> None:
        """Keep a finished run; it is on the disk when this returns. Raises OSError where it could not be written."""
        told = json.dumps(machine, sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()[:8]
        path = self.folder / f"{run.experiment.name}.jsonl"
        entry = {
            "experiment": run.experiment.name,
            "version": run.experiment.version,
            "config": run.config,
            "outcome": {name: written_number(value) for name, value in outcome.items()},
            "seconds": round(seconds, 3),
            "machine": name,
        }
        lines = [entry]
        if name not in self.machines or not path.exists():
            lines.insert(0, {"machine": name, "is": dict(machine)})
        _append(path, "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines))
        self.machines[name] = dict(machine)
        self._rows[run.key] = Row(run.experiment.name, run.config, dict(outcome), seconds, name)


def _unusable(error: OSError) -> RectifierValueError:
    return RectifierValueError(
        "claims: `--results` must be a folder whose files can be read and written; "
        f"got {str(error.filename)!r} ({error.strerror}). Name another."
    )


def _write_whole(content: bytes, path: Path) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _append(path: Path, text: str) -> None:
    """Add whole lines, or nothing."""
    # Without a buffer, which would be written once more when the file is closed.
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":  # a kill took the end of a line that is whole otherwise
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


def written_number(value: Any) -> Any:
    """A number, or a list of them, as JSON can hold it: "NaN", "Infinity" and "-Infinity" are texts."""
    if isinstance(value, list | tuple):
        return [written_number(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _read_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_read_number(each) for each in value]
    return _SPELLED.get(value, value) if isinstance(value, str) else value
