"""Two linear layers in one, where the rectifier between them is open for every unit and so does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from ...checkup.proofs.certificate import Certificate
from ...checkup.proofs.proof import upper_bound
from ...errors import RectifierValueError
from .surgery import Look, refuse_undo, unchanged
from .tracing.bounds import traced
from .tracing.channels import Channels
from .tracing.graph import Graph, Place
from .tracing.owners import Owners

__all__ = ["Folded", "fold", "proved_open"]

#: Rectifiers that are the identity on all of z > 0.
_IDENTITY = frozenset({"relu", "leaky_relu", "prelu", "elu", "celu", "abs"})


@dataclass
class Folded:
    """What was folded, and how to take it back."""

    sites: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _left: list[tuple[nn.Module, str, nn.Parameter, torch.Tensor]] = field(default_factory=list)
    _gone: set[tuple[int, str]] = field(default_factory=set)

    @property
    def replaced(self) -> set[tuple[int, str]]:
        """Where a parameter was replaced or its module taken out: id of the store, and name."""
        return self._gone | {(id(module._parameters), name) for module, name, _, _ in self._left}

    def check(self, site: str) -> None:
        """Raises RectifierValueError where the layers were trained on since."""
        if any(m._parameters.get(n) is not p or not unchanged(p.detach(), was) for m, n, p, was in self._left):
            raise refuse_undo(site, "parameters")

    def put_back(self) -> None:
        for step in reversed(self._undo):
            step()
        self._undo.clear()
        self._left.clear()


def proved_open(model: nn.Module, sites: Sequence[str], certificate: Certificate | None) -> frozenset[str]:
    """Sites each of whose units is open for every input of the certificate's box, by bounds with rounding included."""
    networks = [] if certificate is None or not sites else json.loads(certificate.document)["networks"]
    proved: set[str] = set()
    for document in networks:
        box = document["steps"][0]
        shape = tuple(document["example"])
        ends = [np.array([float(v) for v in box[end]["values"]]).reshape(box[end]["shape"]) for end in ("low", "high")]
        # One window of a map, or a constant, is no box of the inputs that the whole model takes.
        whole = box["op"] == "input" and tuple(box["shape"]) == shape
        if model.training or not whole or not np.isfinite(ends).all():
            continue
        axes = dict.fromkeys(sites, -1)
        network = traced(model, shape, axes, training=False, rows=1, roundoff=float(document["arithmetic"]["roundoff"]))
        if isinstance(network, str):
            continue
        low, high = (np.broadcast_to(end, shape) for end in ends)
        bounds = upper_bound(network, (low, high))
        proved |= {site for site in sites if site in bounds and bool((bounds[site][0] > 0).all())}
    return frozenset(proved)


def fold(model: nn.Module, sites: Sequence[str], seen: Look | None, optimizer: torch.optim.Optimizer | None) -> Folded:
    """Make one layer of the two round each of these sites, whose units are all open, where that saves anything."""
    folded = Folded()
    for site in sites:
        try:
            graph = Graph(model, "prune")
            place = graph.place(site)
            reason = _why_not(model, graph, place, seen)
        except RectifierValueError as error:
            reason = str(error).removeprefix("prune: ")
        if reason is not None:
            folded.skipped.append(f"{site!r} was not folded: {reason}")
            continue
        _make(model, place, optimizer, folded)
        folded.sites.append(site)
        folded.told.append(f"layers {place.layer_name} and {place.consumers[0].name} made one")
    return folded


def _why_not(model: nn.Module, graph: Graph, place: Place, seen: Look | None) -> str | None:
    layer, readers = place.layer, place.consumers
    node = graph.sites[place.site][0]
    if place.rectifier not in _IDENTITY:
        return f"{place.rectifier} is no identity where it is open"
    if node.op != "call_module" or "@" in place.site:
        return "it is a call in the code, or one of several, which cannot be taken out"
    plain = len(readers) == 1 and isinstance(layer, nn.Linear) and isinstance(readers[0].module, nn.Linear)
    if not plain or place.norm is not None or readers[0].per_unit != 1:
        return "it does not stand between two Linear layers alone"
    before = node.args[0] if node.args else None
    direct = [str(user.target) for user in node.users] == [readers[0].name]
    if not direct or str(getattr(before, "target", "")) != place.layer_name:
        return "something stands between it and the layers"
    owners = Owners(model, Channels())
    for module in (layer, readers[0].module):
        found = owners.of(module.weight) if isinstance(module.weight, torch.Tensor) else ""
        if isinstance(found, str):
            return found
    weight, reading = layer.weight, readers[0].module.weight
    assert isinstance(weight, torch.Tensor) and isinstance(reading, torch.Tensor)
    if weight.shape[1] * reading.shape[0] >= weight.numel() + reading.numel():
        return "one layer would have as many weights as both"
    vitals = None if seen is None else seen.site(place.site)
    if vitals is not None and bool((vitals.fired < vitals.examples).any()):
        return "units of it close on the probe"
    return None


def _make(model: nn.Module, place: Place, optimizer: torch.optim.Optimizer | None, folded: Folded) -> None:
    first, second = place.layer, place.consumers[0].module
    a, b = (_exact(module, "weight") for module in (first, second))
    assert a is not None and b is not None
    shift, own = _exact(first, "bias"), _exact(second, "bias")
    bias = own if shift is None else b @ shift + (0 if own is None else own)
    fresh = {"weight": b @ a, "bias": bias}
    gone = [p for p in first._parameters.values() if p is not None]
    like = second._parameters["weight"]
    assert like is not None
    for name, value in fresh.items():
        old = second._parameters[name]
        if value is None or (name == "bias" and shift is None):
            continue
        parameter = nn.Parameter(value.to(device=like.device, dtype=like.dtype), like.requires_grad)
        _set(second._parameters, name, parameter, folded)
        folded._left.append((second, name, parameter, parameter.detach().clone()))
        _in_optimizer(optimizer, old, parameter, like, folded)
    _set(second.__dict__, "in_features", a.shape[1], folded)
    folded._gone |= {(id(first._parameters), name) for name in first._parameters}
    for parameter in gone:
        _in_optimizer(optimizer, parameter, None, like, folded)
    for name in (place.layer_name, place.site):
        parent, _, child = name.rpartition(".")
        _set(model.get_submodule(parent)._modules, child, nn.Identity(), folded)


def _exact(module: nn.Module, name: str) -> torch.Tensor | None:
    value = module._parameters[name]
    return None if value is None else value.detach().to(torch.float64)


def _set(store: Any, name: Any, new: Any, folded: Folded) -> None:
    old = store[name]
    store[name] = new

    def back() -> None:
        store[name] = old

    folded._undo.append(back)


def _in_optimizer(
    optimizer: torch.optim.Optimizer | None,
    old: torch.Tensor | None,
    new: torch.Tensor | None,
    beside: torch.Tensor,
    folded: Folded,
) -> None:
    """A folded layer starts without state: a product has no moments of its own."""
    if optimizer is None:
        return
    kept: Mapping[str, Any] | None = optimizer.state.pop(old, None) if old is not None else None
    for group in optimizer.param_groups:
        before = list(group["params"])
        if old is not None and any(p is old for p in before):
            group["params"][:] = [q for p in before for q in ([new] if p is old else [p]) if q is not None]
        elif old is None and new is not None and any(p is beside for p in before):
            group["params"].append(new)

        def back(params: list[Any] = group["params"], before: list[Any] = before) -> None:
            params[:] = before

        folded._undo.append(back)

    def restore() -> None:
        if new is not None:
            optimizer.state.pop(new, None)
        if kept is not None and old is not None:
            optimizer.state[old] = kept

    folded._undo.append(restore)
