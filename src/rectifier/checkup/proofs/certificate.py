"""A certificate: what was proved, as a document that :mod:`.checker` accepts or refuses without trusting the prover.

It states the steps of the network with the bounds of each, so that each can be checked from the bounds of the steps
before it and the weights, which it names and tells by their hashes. Of the network it holds what the proofs need.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .bounds import Interval
from .network import Network, Site, Step

__all__ = ["SCHEMA", "Certificate", "Claim", "described", "needed"]

SCHEMA = "rectifier-certificate/2"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Claim:
    """What one network proves."""

    network: Network
    found: Sequence[Interval]
    """The interval of each step."""
    dead: tuple[tuple[Site, dict[int, float]], ...]


@dataclass(frozen=True)
class Certificate:
    """The proofs of one check, to be kept beside the weights.

    ``units`` tells what it is about; ``write`` makes the file, which ``rectifier certificate FILE --weights WEIGHTS``
    (or :func:`rectifier.checkup.accept`) checks.
    """

    units: dict[str, tuple[int, ...]]
    """site → its units that are proved dead."""
    document: str

    @staticmethod
    def of(claims: Sequence[Claim]) -> Certificate:
        networks = [_network(claim) for claim in claims]
        units = {site.name: tuple(found) for claim in claims for site, found in claim.dead}
        return Certificate(units, json.dumps({"schema": SCHEMA, "networks": networks}, indent=None, allow_nan=False))

    def write(self, path: str | Path, *, force: bool = False) -> Path:
        """Write it; an existing file is refused without ``force``. Returns the path.

        Raises RectifierValueError where the file exists or could not be written.
        """
        from ... import _files

        return _files.write(path, self.document + "\n", force=force)


def _network(claim: Claim) -> dict[str, Any]:
    network = claim.network
    order = needed(network.steps, [site.step for site, _ in claim.dead])
    place = {index: number for number, index in enumerate(order)}
    steps = []
    for index in order:
        low, high = claim.found[index]
        steps.append({**described(network.steps[index], place), "low": _listed(low), "high": _listed(high)})
    dead = [
        {"site": s.name, "rectifier": s.rectifier, "step": place[s.step], "axis": s.axis, "units": list(units)}
        for s, units in claim.dead
    ]
    arithmetic = {name: getattr(network, name) for name in ("roundoff", "smallest", "largest")}
    told = {"training": network.training, "example": list(network.input_shape), "arithmetic": arithmetic}
    return {**told, "steps": steps, "dead": dead}


def needed(steps: Sequence[Step], wanted: Sequence[int]) -> list[int]:
    """The steps that these depend on, and they themselves, in order."""
    found: set[int] = set()
    waiting = list(wanted)
    while waiting:
        index = waiting.pop()
        if index not in found:
            found.add(index)
            waiting += steps[index].inputs
    return sorted(found)


def described(step: Step, place: Mapping[int, int]) -> dict[str, Any]:
    """A step as the file tells it, but for its bounds. place: index of a step → its number in the file."""
    return {
        "op": step.op,
        "layer": step.layer,
        "inputs": [place[i] for i in step.inputs],
        "shape": list(step.shape),
        "settings": dict(step.settings),
        "arrays": {role: {"name": a.name, "sha256": a.digest} for role, a in step.arrays.items()},
    }


def _listed(end: Floats) -> Any:
    """Nested lists of the shortest decimals that read back as these float32 numbers; infinities as words."""

    def one(value: float) -> float | str:
        return float(str(np.float32(value))) if math.isfinite(value) else str(value)

    flat = [one(value) for value in end.ravel().tolist()]
    return {"shape": list(end.shape), "values": flat}
