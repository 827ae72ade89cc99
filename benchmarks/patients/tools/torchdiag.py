"""torchdiag: ``check_dead_neurons`` on all batches as one, ``check_gradients`` after a backward pass."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch

from benchmarks.patients.case import Answer, Visit, bare, call
from benchmarks.patients.tools.ormas import installed

__all__ = ["TOOLS"]


STATUS = {"VANISH": "vanishing", "EXPLODE": "exploding"}


class Torchdiag:
    """It counts, and does not say which: one number an activation module, of its last call."""

    name, live = "torchdiag", False

    def version(self) -> str | None:
        return installed("torchdiag")

    def diagnose(self, visit: Visit) -> Answer:
        import torchdiag

        model = visit.model.eval()
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            report = torchdiag.check_dead_neurons(model, joined([inputs for inputs, _ in visit.batches]))
            inputs, targets = visit.batches[0]
            model.zero_grad()
            visit.loss(call(model, inputs), targets).backward()
            gradients = torchdiag.check_gradients(model)
        model.zero_grad()
        statuses = {row["status"] for row in gradients.values()}
        scales = frozenset(way for word, way in STATUS.items() if word in statuses)
        counts = {}
        for name, found in report.items():
            calls = [place.name for place in visit.places if place.module == bare(name)]
            if calls:
                counts[calls[-1]] = int(found["dead"])
        alarms = [f"{name}: {count} dead" for name, count in counts.items() if count]
        unseen: frozenset[str] = frozenset()
        if not report and "No activation layers" in said.getvalue():
            unseen = frozenset(place.name for place in visit.places)
        return Answer(counts=counts, scales=scales, alarms=(*alarms, *sorted(scales)), unseen=unseen)


def joined(batches: list[Any]) -> Any:
    """All batches as one."""
    first = batches[0]
    if isinstance(first, dict):
        raise TypeError("check_dead_neurons takes one tensor; this model takes keywords")
    return torch.cat(batches)


TOOLS = (Torchdiag(),)
