"""Names of sites: one a call, except in a loop over the same weights, which is one site however often it turns."""

from __future__ import annotations

from collections import Counter, defaultdict

import torch

from .tally import SiteTally

__all__ = ["LOOP", "UNTOLD", "Names", "join", "recomputing"]

Makers = frozenset[str] | None

#: From more calls than this in one forward pass, all on values made from the same weights, they are one site.
LOOP = 8
#: The same where the weights could not be followed.
UNTOLD = 64


class Names:
    """Label of a call (``"act"``, ``"block.relu"``) and the makers of its input → name of its site.

    The name tells which call of that label in the pass it is; that of a loop is its first call's.
    """

    def __init__(self) -> None:
        self._turns: Counter[str] = Counter()
        self._given: defaultdict[tuple[str, Makers], list[str]] = defaultdict(list)
        self._loops: dict[tuple[str, Makers], str] = {}

    def start(self) -> None:
        """A forward pass begins."""
        self._turns.clear()
        self._given.clear()

    def of(self, label: str, makers: Makers, *, call: bool) -> tuple[str, bool, list[str]]:
        """Name of the site; whether it was called in this pass before; the names that are to become one with it.

        call: True for a functional call, whose name is numbered from 0.
        """
        n = self._turns[label]
        self._turns[label] += 1
        name = f"{label}#{n}" if call else label if n == 0 else f"{label}@{n}"
        key = (label, makers)
        given = self._given[key]
        given.append(name)
        if key in self._loops:
            return self._loops[key], len(given) > 1, []
        if len(given) > (UNTOLD if makers is None else LOOP):
            self._loops[key] = given[0]
            return given[0], True, given[1:-1]
        return name, False, []


def recomputing() -> bool:
    """Whether this runs inside a backward pass: a checkpointed block that is computed again was counted before."""
    return torch._C._current_graph_task_id() != -1


def join(tally: SiteTally, other: SiteTally) -> None:
    """Add what the other counted on the same inputs."""
    tally.examples += other.examples
    tally.gradient_values += other.gradient_values
    for key, value in other.sums.items():
        mine = tally.sums.get(key)
        if mine is None:
            tally.sums[key] = value
        elif key.startswith("min_"):
            torch.minimum(mine, value, out=mine)
        elif key.startswith("max_"):
            torch.maximum(mine, value, out=mine)
        else:
            mine += value
    if (tally.layer, tally.norm) != (other.layer, other.norm):
        tally.layer = tally.norm = tally.upstream = None
    tally.on_input &= other.on_input
