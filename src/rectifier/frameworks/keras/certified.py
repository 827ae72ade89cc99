"""Whether a certificate is one of this Keras model: its tensors by name, and its steps against those of its graph."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt

from ...checkup.proofs.certificate import described, needed
from ...checkup.proofs.network import Network
from .lowering import network_of

__all__ = ["Tensors", "of_another"]


class Tensors(Mapping[str, npt.NDArray[Any]]):
    """The arrays that proofs of this model are about, by qualified name; a kernel with one row a unit in front."""

    def __init__(self, model: Any) -> None:
        network = _network(model, {}, training=False)
        steps = () if isinstance(network, str) else network.steps
        self._arrays = {array.name: array.values for step in steps for array in step.arrays.values()}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _network(model: Any, axes: Mapping[str, int], *, training: bool) -> Network | str:
    return network_of(model, None, axes, (), training=training, seen=None)


def of_another(model: Any, document: str) -> str | None:
    """Why this certificate, which holds for the model's tensors, is not about what the model computes; or None."""
    for network in json.loads(document)["networks"]:
        axes = {site["site"]: site["axis"] for site in network["dead"]}
        whole = _network(model, axes, training=network["training"])
        if isinstance(whole, str):
            return f"its sites cannot be compared with the model's: {whole}"
        reason = _differs(whole, network)
        if reason is not None:
            return reason
    return None


def _differs(whole: Network, network: Mapping[str, Any]) -> str | None:
    sites = {site.name: site for site in whole.sites}
    for site in network["dead"]:
        if site["site"] not in sites or sites[site["site"]].rectifier != site["rectifier"]:
            return f"the model has no {site['rectifier']} {site['site']!r}"
    order = needed(whole.steps, [sites[site["site"]].step for site in network["dead"]])
    place = {index: number for number, index in enumerate(order)}
    if any(place[sites[site["site"]].step] != site["step"] for site in network["dead"]):
        return "its sites read other steps in the model"
    own = [described(whole.steps[index], place) for index in order]
    told = [{key: step[key] for key in own[0]} for step in network["steps"]]
    if json.dumps(told, sort_keys=True) != json.dumps(own, sort_keys=True):
        return "its steps are not those of the model"
    return None
