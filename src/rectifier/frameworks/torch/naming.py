"""Names of sites: one a call, except in a loop over the same weights, which is one site however often it turns."""

from __future__ import annotations

from collections import Counter

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

    A name belongs to its makers for good, so a pass of another length or in another order finds its sites again.
    """

    def __init__(self) -> None:
        self._given: dict[tuple[str, Makers, int], str] = {}
        self._labels: Counter[str] = Counter()
        self._loops: set[tuple[str, Makers]] = set()
        self._calls: Counter[tuple[str, Makers]] = Counter()

    def start(self) -> None:
        """A forward pass begins."""
        self._calls.clear()

    def of(self, label: str, makers: Makers, *, call: bool) -> tuple[str, bool, list[str]]:
        """Name of the site; whether it was called in this pass before; the names that are to become one with it.

        call: True for a functional call, whose name is numbered from 0.
        """
        key = (label, makers)
        turn = self._calls[key]
        self._calls[key] += 1
        if key in self._loops:
            return self._given[(*key, 0)], turn > 0, []
        if turn == (UNTOLD if makers is None else LOOP):
            self._loops.add(key)
            first, *others = [self._given[(*key, i)] for i in range(turn)]
            return first, True, others
        name = self._given.get((*key, turn))
        if name is None:
            n = self._labels[label]
            self._labels[label] += 1
            name = f"{label}#{n}" if call else label if n == 0 else f"{label}@{n}"
            self._given[(*key, turn)] = name
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
            tally.sums[key] = torch.minimum(mine, value)
        elif key.startswith("max_"):
            tally.sums[key] = torch.maximum(mine, value)
        else:
            tally.sums[key] = mine + value
    if (tally.layer, tally.norm) != (other.layer, other.norm):
        tally.layer = tally.norm = tally.upstream = None
    tally.on_input &= other.on_input
