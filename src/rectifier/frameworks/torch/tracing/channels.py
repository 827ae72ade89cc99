"""Channels of a network as classes: which slices of its tensors go together, who reads them, and which have to stay.

A channel is a number. Every element of a tensor that a model computes has the number of its channel, so that what
moves values (a flattening, a concatenation, a permutation) moves their channels the same way; what adds two tensors
makes one class of the channels that meet. A class can go where nothing holds it and every layer that reads it is known
to be given a constant there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

__all__ = ["Channels", "Grouped", "Reader", "Slot"]


@dataclass(frozen=True, eq=False)
class Slot:
    """An axis of a parameter or buffer, with the channel of each of its places."""

    tensor: torch.Tensor
    axis: int
    channels: torch.Tensor


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that sums over channels: its columns of a channel can go where the channel's value is known."""

    layer: str
    weight: torch.Tensor
    axis: int
    """Axis of the weight that the channels lie on."""
    channels: torch.Tensor
    values: torch.Tensor
    """What the layer is given in each of these places, float64; NaN where it is not the same for every input."""
    bias: torch.Tensor | None
    no_fold: str | None
    """Why a constant other than 0 cannot go into the bias, or None."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """A convolution of several groups, which must lose as many channels in each, or a whole one."""

    layer: str
    weight: torch.Tensor
    groups: int
    inputs: torch.Tensor
    outputs: torch.Tensor


class Channels:
    """Classes of channels that can go only together."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._held: dict[int, str] = {}
        self._table: torch.Tensor | None = None
        self.slots: list[Slot] = []
        self.readers: list[Reader] = []
        self.grouped: list[Grouped] = []

    def fresh(self, count: int) -> torch.Tensor:
        """New channels, each a class of its own, shape (count,)."""
        start = len(self._parent)
        self._parent += range(start, start + count)
        self._table = None
        return torch.arange(start, start + count)

    def fixed(self, reason: str) -> torch.Tensor:
        """A new channel that has to stay, shape ()."""
        channel = self.fresh(1)[0]
        self._held[int(channel)] = reason
        return channel

    def root(self, channel: int) -> int:
        """The class of a channel."""
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    def roots(self, channels: torch.Tensor) -> list[int]:
        return [self.root(int(channel)) for channel in channels]

    def unite(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Make one class of the channels that meet, element by element."""
        a, b = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
        for axis in range(a.ndim):
            if a.stride(axis) == 0 and b.stride(axis) == 0 and a.shape[axis] > 1:
                a, b = a.narrow(axis, 0, 1), b.narrow(axis, 0, 1)
        size = len(self._parent)
        for pair in (a.reshape(-1) * size + b.reshape(-1)).unique().tolist():  # type: ignore[no-untyped-call]
            one, other = self.root(pair // size), self.root(pair % size)
            if one != other:
                self._parent[other] = one
                reason = self._held.pop(other, None)
                if reason is not None:
                    self._held.setdefault(one, reason)
                self._table = None

    def hold(self, channels: torch.Tensor, reason: str) -> None:
        """Whatever class these are of has to stay; the first reason is told."""
        for axis in range(channels.ndim):
            if channels.stride(axis) == 0 and channels.shape[axis] > 1:
                channels = channels.narrow(axis, 0, 1)
        for channel in channels.unique().tolist():  # type: ignore[no-untyped-call]
            self._held.setdefault(self.root(channel), reason)

    def held(self, root: int) -> str | None:
        return self._held.get(root)

    def varying(self, channels: torch.Tensor) -> list[int]:
        """The axes along which the class is not the same everywhere."""
        found = []
        for axis in range(channels.ndim):
            if channels.shape[axis] > 1 and channels.stride(axis) != 0:
                first = channels.narrow(axis, 0, 1)
                if not self._same(channels, first):
                    found.append(axis)
        return found

    def along(self, channels: torch.Tensor, axis: int) -> torch.Tensor | None:
        """The channels along an axis; None where they differ between the other places."""
        axis %= channels.ndim
        for other in range(channels.ndim):
            if other != axis and channels.shape[other] > 1 and channels.stride(other) == 0:
                channels = channels.narrow(other, 0, 1)
        lines = channels.movedim(axis, -1).reshape(-1, channels.shape[axis])
        return lines[0] if self._same(lines, lines[:1]) else None

    def _same(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        if bool((a == b).all()):
            return True
        if self._table is None:
            self._table = torch.tensor([self.root(i) for i in range(len(self._parent))])
        return bool((self._table[a] == self._table[b]).all())

    # What can go

    def why_not(self, roots: Iterable[int], *, constants: bool) -> dict[int, str]:
        """class → why it has to stay, for those of ``roots`` that do. constants: others than 0 may go into a bias."""
        found = {root: self._held[root] for root in roots if root in self._held}
        asked = set(roots) - set(found)
        for reader in self.readers:
            for root, value in zip(self.roots(reader.channels), reader.values.tolist(), strict=True):
                if root not in asked or root in found:
                    continue
                if value - value != 0:  # NaN or infinite
                    found[root] = f"what layer {reader.layer} reads in their place is not the same for every input"
                no_fold = reader.no_fold if constants else "in training mode that is no constant"
                if value - value == 0 and value != 0 and no_fold is not None:
                    found[root] = f"layer {reader.layer} is given {value:.4g} for them, and {no_fold}"
        return found

    def balanced(self, removed: set[int], order: Mapping[int, int]) -> tuple[set[int], dict[int, str], set[int]]:
        """The classes that can go together, class → why it cannot go with them, and those left so that a layer stays.

        A convolution of several groups keeps as many channels in each. order: which class stays first.
        """
        removed = set(removed)
        stay: dict[int, str] = {}
        left: set[int] = set()
        while True:
            uneven: dict[int, str] = {}
            for layer in self.grouped:
                uneven |= self._uneven(layer, removed, order)
            last: set[int] = set()
            for slot in () if uneven else self.slots:
                roots = self.roots(slot.channels)
                if all(root in removed - last for root in roots):
                    last.add(min(roots, key=lambda root: order.get(root, root)))
            if not uneven and not last:
                return removed, stay, left
            removed -= uneven.keys() | last
            stay |= uneven
            left |= last

    def _uneven(self, layer: Grouped, removed: set[int], order: Mapping[int, int]) -> dict[int, str]:
        sides = [self.roots(side) for side in (layer.inputs, layer.outputs)]
        groups = [[side[g * len(side) // layer.groups :][: len(side) // layer.groups] for side in sides]
                  for g in range(layer.groups)]  # fmt: skip
        whole = [all(root in removed for side in group for root in side) for group in groups]
        back: dict[int, str] = {}
        for number in (0, 1):
            going = [[root for root in group[number] if root in removed] for group in groups]
            least = min((len(g) for g, w in zip(going, whole, strict=True) if not w), default=0)
            for group, gone in zip(going, whole, strict=True):
                spare = [] if gone else sorted(group, key=lambda root: order.get(root, root))[: len(group) - least]
                back |= dict.fromkeys(spare, f"layer {layer.layer} must lose as many channels in each of its groups")
        return back
