"""dead-relu-viz: its ``visualization`` with activations; what it counted is read from what it prints."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re

import torch

from benchmarks.patients.case import Answer, Visit, bare, call
from benchmarks.patients.tools.ormas import installed

__all__ = ["TOOLS"]

LINE = re.compile(r"^  (\S+) ->\s+(?:(\d+) dead|none dead)", re.MULTILINE)


class DeadReluViz:
    """It counts outputs of Linear and Conv2d that are never positive, before a normalisation, and does not say which.
    Of maps and of tokens it counts positions and not channels: that is no number of units, and is left out."""

    name, live = "dead-relu-viz", False

    def version(self) -> str | None:
        needed = all(importlib.util.find_spec(name) for name in ("torchview", "graphviz"))
        return installed("dead-relu-viz") if needed else None

    def diagnose(self, visit: Visit) -> Answer:
        from dead_relu_viz import visualization

        made = {place.layer: place.name for place in visit.places}
        layers = {
            bare(name): module
            for name, module in visit.model.named_modules()
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))
        }
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            # Layers that no rectifier follows are excluded, as its documentation asks for.
            out = [name for name in layers if name not in made]
            visualization(visit.model, visit.batches, True, device="cpu", exclude_from_dead_check=out)
        flat = _flat(visit)
        counts = {}
        for layer, many in LINE.findall(said.getvalue()):
            layer = bare(layer)
            if layer in made and layer in flat:
                counts[made[layer]] = int(many or 0)
        alarms = tuple(f"{name}: {count} dead" for name, count in counts.items() if count)
        return Answer(counts=counts, alarms=alarms)


@torch.no_grad()
def _flat(visit: Visit) -> set[str]:
    """The layers whose output is (batch, units)."""
    found: set[str] = set()
    handles = [
        module.register_forward_hook(lambda _, args, z, name=name: found.add(name) if z.ndim == 2 else None)
        for name, module in visit.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    call(visit.model, visit.batches[0][0])
    for handle in handles:
        handle.remove()
    return {bare(name) for name in found}


TOOLS = (DeadReluViz(),)
