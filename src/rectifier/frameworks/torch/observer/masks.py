"""Padding: which positions of (batch, tokens) hold data, where the model is told so.

Believed are PyTorch's ``src_key_padding_mask``, ``tgt_key_padding_mask`` and ``key_padding_mask`` (true, or −∞ where
added to the scores, means padding) at any module that takes them, and the ``attention_mask`` (1 means data) that a
model is called with in the manner of Hugging Face's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

import torch
from torch import nn

__all__ = ["Positions", "padding"]

_PADDING = ("src_key_padding_mask", "tgt_key_padding_mask", "key_padding_mask")
#: PyTorch's own modules that take more than one: the one of the tokens that their feed-forward units see.
_OWN: tuple[tuple[type[nn.Module], str | None], ...] = (
    (nn.TransformerEncoderLayer, "src_key_padding_mask"),
    (nn.TransformerEncoder, "src_key_padding_mask"),
    (nn.TransformerDecoderLayer, "tgt_key_padding_mask"),
    (nn.TransformerDecoder, "tgt_key_padding_mask"),
    (nn.Transformer, None),  # hands each to its own parts
    (nn.MultiheadAttention, None),
)


class Positions:
    """The positions that hold data: ``keep`` of shape (batch, tokens), or (tokens, batch) as the values lie."""

    def __init__(self, keep: torch.Tensor) -> None:
        self.keep = keep

    @cached_property
    def rows(self) -> torch.Tensor:
        """Their places in the flattened tensor. Waits for the device, once a forward pass."""
        return self.keep.reshape(-1).nonzero().squeeze(1)

    def fits(self, z: torch.Tensor, axis: int) -> bool:
        """Whether z has these positions before its units: (batch, tokens, units), or the first two flattened."""
        lead = z.shape[:axis]
        return axis == z.ndim - 1 and (lead == self.keep.shape or lead == (self.keep.numel(),))

    def of(self, z: torch.Tensor) -> torch.Tensor:
        """z where there is data, (examples, units); z itself where that is everywhere."""
        flat = z.reshape(-1, z.shape[-1])
        return z if len(self.rows) == len(flat) else flat.index_select(0, self.rows)


@cache
def _takes(kind: Any) -> tuple[str, ...]:
    """Names of the masks that the forward of this class takes, with their places."""
    try:
        parameters = inspect.signature(kind.forward).parameters
    except (TypeError, ValueError):
        return ()
    return tuple(name for name in parameters if name != "self")


def padding(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, root: bool) -> Positions | None:
    """The positions that hold data, as told by one call of a module; None where it is not told."""
    own = next((name for kind, name in _OWN if isinstance(module, kind)), "")
    if own is None:
        return None
    kind: Any = type(module)
    names = _takes(kind)
    if not kwargs and not (set(_PADDING) | {"attention_mask"}) & set(names):
        return None
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    x = next((value for value in given.values() if isinstance(value, torch.Tensor)), None)
    found = [given[name] for name in ((own,) if own else _PADDING) if isinstance(given.get(name), torch.Tensor)]
    keep = None
    if len(found) == 1 and found[0].ndim == 2:
        mask = found[0].detach()
        keep = mask != -torch.inf if mask.is_floating_point() else mask == 0
    elif root and not found:
        mask = given.get("attention_mask")
        # One of floating-point numbers may be 1 and 0, or 0 and −∞: not to be told apart without waiting.
        if isinstance(mask, torch.Tensor) and mask.ndim == 2 and not mask.is_floating_point():
            keep = mask.detach() != 0
    if keep is None or x is None:
        return None
    return Positions(keep if _batch_first(module, x, keep) else keep.t())


def _batch_first(module: nn.Module, x: torch.Tensor, keep: torch.Tensor) -> bool:
    layer = module.layers[0] if isinstance(module, (nn.TransformerEncoder, nn.TransformerDecoder)) else module
    attention = getattr(layer, "self_attn", None)
    if isinstance(attention, nn.MultiheadAttention):
        return bool(attention.batch_first)
    return tuple(x.shape[:2]) == tuple(keep.shape) or tuple(x.shape[:2]) != tuple(keep.shape)[::-1]
