"""Whether a certificate is one of this model: its tensors by name, and its steps against those that tracing gives."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy.typing as npt
from torch import fx, nn

from ....checkup.proofs.certificate import described, needed
from ....checkup.proofs.network import Step
from ....errors import RectifierValueError
from ..calm import undisturbed, value_of
from ..observer.kinds import has_weights, is_norm
from .bounds import hooked, traced
from .graph import Graph, flattens
from .lowering import array_of, first_layer, next_layer

__all__ = ["Tensors", "of_another"]


class Tensors(Mapping[str, npt.NDArray[Any]]):
    """A model's tensors by qualified name, as arrays; a computed one (a parametrization) as it is now."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        path, _, own = name.rpartition(".")
        try:
            value = value_of(self._model.get_submodule(path), own)
        except AttributeError:
            value = None
        if value is None:
            raise KeyError(name)
        return array_of(name, value).values

    def __contains__(self, name: object) -> bool:
        try:
            return self[str(name)] is not None
        except KeyError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._model.state_dict())

    def __len__(self) -> int:
        return len(self._model.state_dict())


def of_another(model: nn.Module, document: str) -> str | None:
    """Why this certificate, which holds for the model's tensors, is not about what the model computes; or None."""
    for network in json.loads(document)["networks"]:
        reason = _whole(model, network)
        if reason is not None and _first(model, network) is not None:
            return reason
    return None


def _whole(model: nn.Module, network: Mapping[str, Any]) -> str | None:
    """Of a network of the whole model."""
    batches = [step["settings"]["rows"] for step in network["steps"] if step["settings"].get("rows")]
    axes = {site["site"]: site["axis"] for site in network["dead"]}
    shape, rows, training = tuple(network["example"]), min(batches, default=1), network["training"]
    with nullcontext() if training else undisturbed(model):
        whole = traced(model, shape, axes, training=training, rows=rows, roundoff=0.0)
    if isinstance(whole, str):
        return f"its sites cannot be compared with the model's, which could not be traced: {whole}"
    return _differs({site.name: (site.rectifier, site.step) for site in whole.sites}, whole.steps, network)


def _first(model: nn.Module, network: Mapping[str, Any]) -> str | None:
    """Of one first layer as it was seen to be called, whatever shapes its inputs have."""
    if hooked(model) is not None or len(network["dead"]) != 1 or network["dead"][0]["axis"] != 0:
        return "it is none of a first layer"
    with undisturbed(model):
        try:
            graph = Graph(model, "proved")
        except RectifierValueError as error:
            return str(error)
        name = network["dead"][0]["site"]
        found = _up_to(graph, name)
        if found is None:
            return f"the model has no site {name!r} behind a layer that reads its input"
        if network["training"] and found[-1].op == "scale":
            return "a batch normalisation does not use its running statistics in training mode"
        return _differs({name: (graph.sites[name][1], len(found) - 1)}, found, network)


def _up_to(graph: Graph, site: str) -> list[Step] | None:
    """The steps from the model's input through one layer and its normalisation to a site."""
    path = [graph.sites[site][0]] if site in graph.sites else []
    while path and path[-1].op != "placeholder":
        source = path[-1].args[0] if path[-1].args else None
        path = [*path, source] if isinstance(source, fx.Node) else []
    modules = [(str(node.target), graph.model.get_submodule(str(node.target))) for node in path[1:] if _is_module(node)]
    modules = [pair for pair in modules if not isinstance(pair[1], (nn.Flatten, nn.Identity))]
    calls = [(node, source) for node, source in itertools.pairwise(path[1:]) if not _is_module(node)]
    plain = all(flattens(node, source) for node, source in calls) and not graph.disturbed(path)
    layer, *norm = modules[::-1] or [("", graph.model)]
    if not (path and plain and has_weights(layer[1]) and (not norm or (len(norm) == 1 and is_norm(norm[0][1])))):
        return None
    weight: Any = layer[1].weight
    steps = first_layer(layer[1], layer[0], int(weight.shape[1]) * int(getattr(layer[1], "groups", 1)))
    return steps if steps is None or not norm else next_layer(norm[0][1], norm[0][0], steps)


def _is_module(node: fx.Node) -> bool:
    return node.op == "call_module"


def _differs(sites: Mapping[str, tuple[str, int]], steps: Sequence[Step], network: Mapping[str, Any]) -> str | None:
    """sites: name → rectifier and step that it reads."""
    for site in network["dead"]:
        if sites.get(site["site"], ("", 0))[0] != site["rectifier"]:
            return f"the model has no {site['rectifier']} {site['site']!r}"
    order = needed(steps, [sites[site["site"]][1] for site in network["dead"]])
    place = {index: number for number, index in enumerate(order)}
    for site in network["dead"]:
        if place[sites[site["site"]][1]] != site["step"]:
            return f"{site['site']!r} reads another step in the model"
    own = [described(steps[index], place) for index in order]
    told = [{key: step[key] for key in own[0] if key != "arrays"} for step in network["steps"]]
    names = [{role: array["name"] for role, array in step["arrays"].items()} for step in network["steps"]]
    mine = [{role: array["name"] for role, array in step.pop("arrays").items()} for step in own]
    if json.dumps([told, names], sort_keys=True) != json.dumps([own, mine], sort_keys=True):
        return "its steps are not those of the model"
    return None
