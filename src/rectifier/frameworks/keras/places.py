"""The surroundings of a site: the layer that makes its units, a normalisation between, the layers that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import layers

from ...errors import RectifierValueError
from .graph import Graph, Node
from .observer.kinds import channels_axis, is_norm, is_plain_convolution, is_pool
from .sites import computes_plainly

__all__ = ["Consumer", "Place", "place_of"]

Labels = npt.NDArray[np.int64]

_PASS = (
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.Identity,
    layers.GaussianNoise,
)
_SPATIAL = tuple(
    getattr(layers, f"{kind}{n}D") for kind in ("ZeroPadding", "Cropping", "UpSampling") for n in (1, 2, 3)
)


@dataclass(frozen=True)
class Consumer:
    """A layer with weights that reads the units; ``labels`` tells which unit each of its inputs is (−1: none)."""

    name: str
    layer: Any
    labels: Labels

    def columns(self, units: Sequence[int]) -> Labels:
        return np.flatnonzero(np.isin(self.labels, units))

    @property
    def axis(self) -> int:
        """Of the inputs, in the kernel."""
        return len(self.layer.kernel.shape) - 2


@dataclass
class Place:
    site: str
    rectifier: str
    parameters: dict[str, Any]
    layer_name: str
    layer: Any
    units: int
    norm_name: str | None = None
    norm: Any = None
    consumers: list[Consumer] = field(default_factory=list)
    mixed: bool = False
    """Whether a normalisation stands between the site and what reads it, so that 0 does not stay 0."""


def place_of(graph: Graph | str, site: str, verb: str) -> Place:
    """Raises RectifierValueError where the neighbours cannot be followed."""
    if isinstance(graph, str):
        raise _refused(verb, site, f"cannot be followed, as {graph}")
    found = [i for i, node in enumerate(graph.nodes) if node.site is not None and node.site.name == site]
    if not found:
        raise _refused(verb, site, "is not in the graph of the model")
    node = graph.nodes[found[0]]
    assert node.site is not None
    walk = _Walk(graph, site, verb)
    source, norm = walk.back(found[0])
    units = int(source.layer.kernel.shape[-1])
    place = Place(site, node.site.rectifier, dict(node.site.parameters), source.name, source.layer, units)
    if norm is not None:
        place.norm_name, place.norm = norm.name, norm.layer
    walk.forth(place, found[0], _first_labels(node, source.layer, units))
    if not place.consumers:
        raise walk.refused("is read by no layer with weights")
    return place


def _refused(verb: str, site: str, why: str) -> RectifierValueError:
    return RectifierValueError(
        f"{verb}: `findings` must name a place whose neighbours can be followed; got {site!r}, which {why}. "
        "Leave it out, or change the model by hand."
    )


def _first_labels(node: Node, layer: Any, units: int) -> Labels:
    ndim = len(node.shape)
    axis = channels_axis(layer, ndim + 1) - 1
    shape = [1] * ndim
    shape[axis] = units
    sizes = [1 if size is None else size for size in node.shape]
    return np.broadcast_to(np.arange(units).reshape(shape), sizes)


class _Walk:
    def __init__(self, graph: Graph, site: str, verb: str) -> None:
        self._graph, self._site, self._verb = graph, site, verb

    def refused(self, why: str) -> RectifierValueError:
        return _refused(self._verb, self._site, why)

    def _once(self, node: Node) -> None:
        if sum(other.layer is node.layer for other in self._graph.nodes) > 1:
            raise self.refused(f"depends on layer {node.name}, which is called more than once")

    def back(self, index: int) -> tuple[Node, Node | None]:
        """The layer that makes the units, and a normalisation behind it."""
        node, norm = self._graph.nodes[index], None
        while not _makes_units(node.layer):
            if node.layer is not None and is_norm(node.layer) and norm is None:
                norm = node
                self._once(node)
            elif index_of_site(node) != self._site and not isinstance(node.layer, _PASS):
                what = "the model's input" if node.layer is None else f"{type(node.layer).__name__} {node.name}"
                raise self.refused(f"reads {what}")
            if len(node.inputs) != 1 or not node.plain:
                raise self.refused(f"reads several values, at {node.name}")
            source = node.inputs[0]
            if len(self._graph.readers(source)) > 1 or source in self._graph.outputs:
                raise self.refused(f"shares its input, which others than {node.name} read")
            node = self._graph.nodes[source]
        self._once(node)
        if norm is not None and norm.layer.axis not in (-1, channels_axis(node.layer, len(node.shape) + 1)):
            raise self.refused(f"is normalised over another axis than that of its units, by {norm.name}")
        return node, norm

    def forth(self, place: Place, index: int, labels: Labels) -> None:
        """Add to the place the layers that read what this node gives."""
        if index in self._graph.outputs:
            raise self.refused("is an output of the model")
        for reader in self._graph.readers(index):
            node = self._graph.nodes[reader]
            if not node.plain or not computes_plainly(node.layer):
                raise self.refused(f"is read by {node.name} ({type(node.layer).__name__}), which is not known")
            if _reads_units(node.layer):
                self._once(node)
                place.consumers.append(Consumer(node.name, node.layer, self._per_input(node, labels)))
                continue
            place.mixed |= is_norm(node.layer)
            self.forth(place, reader, self._labels(node, index, labels))

    def _per_input(self, node: Node, labels: Labels) -> Labels:
        """The unit of each feature or channel that a layer reads."""
        axis = channels_axis(node.layer, labels.ndim + 1) - 1
        rows = np.moveaxis(labels, axis, -1).reshape(-1, labels.shape[axis])
        if (rows != rows[0]).any():
            raise self.refused(f"is read by {node.name} along another axis than that of its units")
        first: Labels = rows[0]
        return first

    def _labels(self, node: Node, index: int, labels: Labels) -> Labels:
        layer, shape = node.layer, tuple(1 if size is None else size for size in node.shape)
        if isinstance(layer, _PASS) or is_norm(layer):
            return labels
        if is_pool(layer) or isinstance(layer, _SPATIAL):
            axis = channels_axis(layer, labels.ndim + 1) - 1
            units = self._per_input(node, labels)
            if len(shape) == 1:
                return units
            return np.broadcast_to(units.reshape([-1 if d == axis else 1 for d in range(labels.ndim)]), shape)
        if None in node.shape or None in self._graph.nodes[index].shape:
            raise self.refused(f"goes through {node.name}, whose shape is not fixed")
        if isinstance(layer, layers.Flatten):
            if layer.data_format == "channels_first" and labels.ndim > 1:
                labels = np.moveaxis(labels, 0, -1)
            return labels.reshape(-1)
        if isinstance(layer, layers.Reshape):
            return labels.reshape(shape)
        if isinstance(layer, layers.Permute):
            return labels.transpose([axis - 1 for axis in layer.dims])
        if isinstance(layer, layers.Concatenate):
            parts = [labels if i == index else np.full(self._graph.nodes[i].shape, -1) for i in node.inputs]
            return np.concatenate(parts, axis=layer.axis % (len(shape) + 1) - 1)
        raise self.refused(f"is read by {node.name} ({type(layer).__name__}), through which units are not followed")


def index_of_site(node: Node) -> str | None:
    return None if node.site is None else node.site.name


def _makes_units(layer: Any) -> bool:
    return isinstance(layer, layers.Dense) and computes_plainly(layer) or _is_convolution(layer)


def _reads_units(layer: Any) -> bool:
    return isinstance(layer, layers.Dense) or (_is_convolution(layer) and layer.groups == 1)


def _is_convolution(layer: Any) -> bool:
    return layer is not None and is_plain_convolution(layer) and computes_plainly(layer)
