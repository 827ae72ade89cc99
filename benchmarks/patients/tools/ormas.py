"""ormas-monitor, as its README tells: ``step`` after each backward pass; it reads every step here."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.patients.case import Answer, Place, Visit

__all__ = ["TOOLS"]


class Ormas:
    """``patience``: checks in a row after which a channel that gave nothing counts as silent. None: all batches where
    training moves nothing, so that it sees as much as the others."""

    live = True

    def __init__(self, name: str, patience: int | None) -> None:
        self.name, self._patience = name, patience

    def version(self) -> str | None:
        return installed("ormas-monitor")

    def diagnose(self, visit: Visit) -> Answer:
        from ormas_monitor import Monitor

        patience = self._patience
        if patience is None:
            patience = 4 if visit.optimizer.param_groups[0]["lr"] else len(visit.batches)
        with tempfile.TemporaryDirectory() as folder:
            monitor = Monitor(visit.model, visit.optimizer, out=folder, check_every=1, patience=patience, verbose=False)
            visit.train(monitor.step)
            monitor.close(report=False)
            if not Path(folder, "diary.jsonl").exists():  # it writes in one of several processes
                return Answer()
            events, rows = (_lines(Path(folder, name)) for name in ("diary.jsonl", "metrics.jsonl"))
        return _answer(events, rows[-1]["stuck"], visit.places)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _answer(events: list[dict[str, Any]], stuck: dict[str, list[int]], places: tuple[Place, ...]) -> Answer:
    """How many channels of each layer were stuck (certified, constant, silent or decayed) at the last check. Which ones
    it tells only when a layer goes from none to some, to most, to all; the numbers are of every check."""
    proved: dict[str, set[int]] = {}
    watched: set[str] = set()
    alarms, scales = [], set()
    for event in events:
        kind = event["event"]
        if kind == "certificate":
            proved[event["layer"]] = set(event["channels"])
        elif kind == "structure":
            after = set(event["relu_after"])
            watched = after | {layer for layer, norm in event["pairs"].items() if norm in after}
        elif kind == "alarm":
            scales.add("exploding" if event["diagnosis"] == "exploding" else "vanishing")
        if event.get("severity") in ("warning", "critical"):
            alarms.append(f"{kind}: {event.get('layer', '')}")
    counts = {place.name: sum(stuck[place.layer]) for place in places if place.layer in stuck}
    # Its manifest says of each layer whether a ReLU module follows; where none does, silence is not looked at.
    return Answer(
        proved={place.name: proved[place.layer] for place in places if place.layer in proved},
        counts=counts,
        scales=frozenset(scales),
        alarms=tuple(alarms),
        unseen=frozenset(place.name for place in places if place.layer not in watched),
    )


def installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


TOOLS = (Ormas("ormas-monitor", None), Ormas("ormas-monitor (patience 4)", 4))
