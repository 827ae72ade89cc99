"""What calls that move values do to channels: pooling, reshaping, permuting, taking pieces, joining, reducing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from .channels import Channels
from .rules import MOVES, PIECES, REDUCES, RESHAPES, SPATIAL

__all__ = ["Moves", "argument", "each"]


class Moves:
    """ids: tensor → channel of each of its elements. sized: see :class:`.follower.Follower`."""

    def __init__(self, channels: Channels, ids: Any) -> None:
        self.channels, self.ids = channels, ids
        self.sized: list[tuple[torch.Tensor, str]] = []

    def follow(
        self,
        name: str,
        where: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
        told: list[torch.Tensor],
    ) -> bool:
        """Give the result its channels; False where the call is none of these, or does something else to them."""
        if name in SPATIAL:
            return self._spatial(SPATIAL[name], told, result)
        if name in ("cat", "concat", "concatenate"):
            return self._cat(args, kwargs, result)
        if name in RESHAPES | MOVES | PIECES or (name == "get" and _transposes(func)):
            return self._moved(name, where, func, args, kwargs, result, told)
        return name in REDUCES and self._reduced(args, kwargs, result)

    def _spatial(self, positions: int | None, told: list[torch.Tensor], result: Any) -> bool:
        if len(told) != 1 or not isinstance(result, torch.Tensor):
            return False
        x = told[0]
        axis = (1 if x.ndim > 2 else 0) - x.ndim if positions is None else -1 - positions
        channels = self.channels.along(self.ids[x], axis)
        if channels is None or result.ndim != x.ndim or result.shape[axis] != x.shape[axis]:
            return False
        spread = [1] * result.ndim
        spread[axis] = -1
        self.ids[result] = channels.reshape(spread).expand(result.shape)
        return True

    def _moved(
        self,
        name: str,
        where: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
        told: list[torch.Tensor],
    ) -> bool:
        """The same is done to the channels."""
        if any(
            isinstance(leaf, (torch.dtype, torch.Tensor)) for leaf in tree_leaves((args[1:], kwargs))
        ) and name not in (
            "view_as",
            "reshape_as",
            "expand_as",
        ):
            return False
        ids = self.ids[told[0]]
        # The channels of a layer's outputs are spread over its positions without memory of their own: no view of them.
        moved = func(ids.contiguous() if name in RESHAPES else ids, *args[1:], **kwargs)
        old = self.channels.varying(ids)
        for tensor, channels in zip(_tensors(result), _tensors(moved), strict=True):
            new = self.channels.varying(channels)
            split = len(new) > max(1, len(old))
            if name in RESHAPES and any(channels.shape[axis] in tree_leaves((args[1:], kwargs)) for axis in new):
                self.sized.append((channels, f"{where} is given their number"))
            if split or (name in PIECES and old and not self._whole(ids, old, channels, new)):
                self.channels.hold(ids, f"{where} splits them up")
            self.ids[tensor] = channels
        return True

    def _whole(self, ids: torch.Tensor, old: list[int], channels: torch.Tensor, new: list[int]) -> bool:
        """Whether a piece has all channels in their order."""
        if len(old) != 1 or len(new) != 1:
            return False
        before, after = self.channels.along(ids, old[0]), self.channels.along(channels, new[0])
        return (
            before is not None and after is not None and before.shape == after.shape and bool((before == after).all())
        )

    def _cat(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> bool:
        given = args[0] if args else kwargs.get("tensors")
        parts = [part for part in given or () if part.ndim == result.ndim]  # an empty one may have but one axis
        dim = int(argument(args, kwargs, 1, "dim", 0)) % result.ndim
        ids = [
            self.ids[part]
            if part in self.ids
            else self.channels.fixed("a tensor of fixed size joins them").expand(part.shape)
            for part in parts
        ]
        if any(self.channels.varying(part) not in ([], [dim]) for part in ids):
            first = ids[0].narrow(dim, 0, 1)
            for part in ids:
                self.channels.unite(part, first.expand(part.shape))
        self.ids[result] = torch.cat(ids, dim)
        return True

    def _reduced(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> bool:
        x = args[0]
        dims = argument(args, kwargs, 1, "dim", None)
        if not isinstance(x, torch.Tensor) or x not in self.ids or not isinstance(result, torch.Tensor) or dims is None:
            return False
        axes = sorted(int(dim) % x.ndim for dim in each(dims))
        ids = self.ids[x]
        if set(axes) & set(self.channels.varying(ids)):
            return False
        for axis in reversed(axes):
            ids = ids.select(axis, 0) if result.ndim < x.ndim else ids.narrow(axis, 0, 1)
        self.ids[result] = ids
        return True


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def _transposes(func: Any) -> bool:
    return getattr(func, "__self__", None) in (torch.Tensor.T, torch.Tensor.mT)


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any) -> Any:
    """An argument given by position or by name."""
    return args[position] if len(args) > position else kwargs.get(name, default)


def each(value: Any) -> Sequence[Any]:
    """A sequence as it is, another value as the one of a sequence."""
    return value if isinstance(value, (tuple, list)) else (value,)
