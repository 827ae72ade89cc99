"""``lean``: every rectifier by its twin of ours, which keeps least without loss, and what that saves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from ..errors import RectifierError, RectifierValueError
from ..frameworks.torch.calls import plain_class
from ..frameworks.torch.calm import undisturbed
from ..frameworks.torch.checkup import arguments
from ..frameworks.torch.swap import Spot, find
from . import _layers as ours
from ._swap import Swapped, changes, inner

__all__ = ["Leaned", "lean"]


@dataclass(frozen=True, eq=False)
class Leaned(Swapped):
    """The receipt of ``lean``: that of a swap, and what was measured on the example."""

    bytes_before: int | None = None
    """Bytes that a forward pass of the example kept for the backward pass; None without an example."""
    bytes_after: int | None = None
    output_change: float | None = None
    """max |Δ output| on the example: the twins round right where PyTorch's do not."""

    @property
    def bytes_saved(self) -> int | None:
        """What the swap saves. Below 0 where all are ReLUs before a Linear or a convolution: PyTorch's keeps the
        output, which the layer behind keeps anyway; ours a bit a value beside it.
        """
        return None if self.bytes_before is None or self.bytes_after is None else self.bytes_before - self.bytes_after

    def __str__(self) -> str:
        if self.bytes_saved is None or not self.bytes_before:
            return super().__str__()
        share = self.bytes_saved / self.bytes_before
        change = f"{share:.1%} saved" if share >= 0 else f"{-share:.1%} more"
        told = f"kept for backward: {self.bytes_before:,} → {self.bytes_after:,} bytes ({change})"
        return "\n".join(filter(None, (super().__str__(), told)))


def lean(model: nn.Module, example: Any = None) -> Leaned:
    """Put rectifiers of ours in the place of PyTorch's, the same functions with the same parameters.

    ReLU, LeakyReLU, PReLU (the very same parameter), ReLU6, Hardtanh from 0, ELU, CELU, SELU and Softplus, and calls of
    them, become the layer of that name in ``rectifier.torch``. Without loss means: the same function to the last
    rounding (ours is rounded right, so bits may differ where PyTorch's is not), with every gradient that PyTorch's has.
    So no twin with ``save="output"`` is taken. What stays, and is told in ``missed``: a Softplus with a threshold below
    20, which is another function (one of 20 or more differs from our exact softplus by at most 2.1e-9/beta); RReLU,
    which is random; ELU, CELU and SELU in place, which in PyTorch keep the output alone, and so lose digits of the
    gradient, where ours would keep one tensor more.

    model: changed in place, as by :func:`swap`, which says what happens to names, hooks, modes and calls.
    example: a tensor, or a tuple or dict of them, on which to measure; the model then runs forward twice, in the modes
        that it is in (call ``model.train()`` first), and leaves buffers and random state as they were.
    Returns the receipt of a swap with ``bytes_before``, ``bytes_after``, ``bytes_saved`` and ``output_change``. Bytes
    are those of the tensors that autograd saves, each storage once, without parameters and buffers.
    Raises RectifierTypeError, RectifierValueError, before anything is changed, for a model without a rectifier and for
    what cannot be changed or run.

    >>> model = nn.Sequential(nn.Linear(64, 256), nn.LeakyReLU(), nn.Linear(256, 1))
    >>> receipt = lean(model, torch.zeros(128, 64))
    >>> type(model[1]).__module__, receipt.bytes_before >= receipt.bytes_after
    ('rectifier.torch._layers', True)
    """
    body = inner(model, "lean")
    found = find(body)
    spots = [spot for spot in found.spots if spot.is_rectifier]
    if not spots:
        missed = "; ".join(f"{name} cannot be reached: {reason}" for name, reason in found.missed)
        raise RectifierValueError(
            f"lean: `model` must have a rectifier that can be reached; got {type(body).__name__} without one"
            f"{'; ' + missed if missed else ''}. Pass the whole model."
        )
    pairs: list[tuple[Spot, nn.Module]] = []
    left: list[tuple[str, str]] = []
    made: dict[int, nn.Module | str | None] = {}
    for spot in spots:
        twin = made.setdefault(id(spot.module), _twin(spot.module, spot.inplace))
        if isinstance(twin, nn.Module):
            pairs.append((spot, twin))
        elif isinstance(twin, str):
            left.append((spot.name, twin))
    before = None if example is None else _measure(model, example)
    swapped = changes(model, body, pairs, replace(found, missed=(*found.missed, *left)), "lean")
    receipt = Leaned(swapped.changed, swapped.missed, swapped.parameters, swapped._undo)
    if before is None:
        return receipt
    try:
        after = _measure(model, example)
    except BaseException:
        swapped.undo()
        raise
    moved = max((_largest(old, new) for old, new in zip(before[1], after[1], strict=True)), default=0.0)
    return replace(receipt, bytes_before=before[0], bytes_after=after[0], output_change=moved)


def _twin(layer: nn.Module, called_inplace: bool) -> nn.Module | str | None:
    """Ours for PyTorch's, the reason why there is none, or None where there is nothing to do."""
    kind, inplace = plain_class(layer), called_inplace or bool(getattr(layer, "inplace", False))
    makers: dict[type[nn.Module], Callable[[Any], nn.Module | str]] = {
        nn.ReLU: lambda old: ours.ReLU(inplace),
        nn.Threshold: lambda old: ours.ReLU(inplace),
        nn.LeakyReLU: lambda old: ours.LeakyReLU(old.negative_slope, inplace),
        nn.PReLU: _same_slopes,
        nn.ReLU6: lambda old: ours.ReLU6(inplace),
        nn.Hardtanh: lambda old: ours.ReLU6(inplace, ceiling=old.max_val),
        nn.ELU: lambda old: ours.ELU(old.alpha, inplace),
        nn.CELU: lambda old: ours.CELU(old.alpha, inplace),
        nn.SELU: lambda old: ours.SELU(inplace),
        nn.Softplus: _exact,
        nn.RReLU: lambda old: "RReLU draws its slopes at random; there is no twin",
    }
    if kind.__module__.startswith("rectifier.") or isinstance(layer, (nn.Sigmoid, nn.Tanh)):
        return None
    base = next((base for base in kind.__mro__ if base in makers), None)
    if base is None or kind.forward is not base.forward:
        return f"a {kind.__name__} has a forward of its own; there is no twin"
    if inplace and base in (nn.ELU, nn.CELU, nn.SELU):
        return f"{kind.__name__} in place keeps its output alone, at the price of digits; its twin would keep more"
    try:
        return makers[base](layer)
    except RectifierError as error:
        return f"its parameter is refused: {error}"


def _same_slopes(old: nn.PReLU) -> nn.Module:
    twin = ours.PReLU(old.num_parameters)
    twin.weight = old.weight
    return twin


def _exact(old: nn.Softplus) -> nn.Module | str:
    if old.threshold < 20:
        return f"Softplus with threshold {old.threshold} is another function than softplus; there is no twin"
    return ours.Softplus(old.beta)


def _measure(model: nn.Module, example: Any) -> tuple[int, list[torch.Tensor]]:
    """Bytes kept for backward by one forward pass, and its outputs."""
    args, kwargs = arguments(example, "lean: `example` must be a tensor, or a tuple or dict of them")
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}  # kept, so that no address is given out twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage
        return tensor

    modes = [(module, module.training) for module in model.modules()]
    with undisturbed(model), torch.enable_grad():
        for module, training in modes:
            module.training = training
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = model(*args, **kwargs)
    tensors = [leaf.detach() for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
    return sum(storage.nbytes() for storage in storages.values()), tensors


def _largest(old: torch.Tensor, new: torch.Tensor) -> float:
    same = (old == new) | (torch.isnan(old) & torch.isnan(new))
    return float((new.double() - old.double()).abs().masked_fill(same, 0.0).max()) if old.numel() else 0.0
