"""A Functional or Sequential model as a list of nodes, nested models taken apart: proofs and acts are made from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from ...errors import RectifierValueError
from .observer.kinds import has_weights
from .observer.names import named
from .sites import computes_plainly, identify, identify_function, keeps_values

__all__ = ["Graph", "Node", "SiteNode", "functional_of", "graph_of"]


@dataclass(frozen=True)
class SiteNode:
    """The rectifier that a node applies."""

    name: str
    rectifier: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One layer, or one call of a function of Keras's on symbolic tensors."""

    name: str
    """Qualified name of the layer; of a call its own."""
    layer: Any
    inputs: tuple[int, ...]
    """Indices of earlier nodes."""
    shape: tuple[Any, ...]
    """Of one example; None where it is not fixed."""
    site: SiteNode | None = None
    plain: bool = True
    """Whether it is called with tensors alone, and gives one."""


@dataclass(frozen=True)
class Graph:
    nodes: tuple[Node, ...]
    outputs: frozenset[int]

    def readers(self, index: int) -> list[int]:
        """The nodes that read this one."""
        return [i for i, node in enumerate(self.nodes) if index in node.inputs]


def graph_of(model: Any) -> Graph | str:
    """The nodes of a model in the order in which they run; or why they cannot be told."""
    try:
        walk = _Walk(model)
        outputs = walk.enter(model, "", None)
    except RectifierValueError as error:
        return str(error)
    return Graph(tuple(walk.nodes), frozenset(outputs))


class _Walk:
    def __init__(self, model: Any) -> None:
        self.nodes: list[Node] = []
        self._names = {id(layer): name for name, layer in named(model).items()}
        self._turns: Counter[str] = Counter()

    def enter(self, model: Any, name: str, inputs: list[int] | None) -> list[int]:
        """Take a model in; inputs: the nodes that it reads (None: its own)."""
        functional = functional_of(model)
        if functional is None:
            raise RectifierValueError(f"{type(model).__name__} is no Functional or Sequential model")
        place: dict[int, int] = {}
        for i, tensor in enumerate(functional.inputs):
            if inputs is None:
                self.nodes.append(Node("the input", None, (), _example(tensor)))
            place[id(tensor)] = len(self.nodes) - 1 if inputs is None else inputs[i]
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if node.operation and not node.is_input and all(id(x) in place for x in node.input_tensors):
                    found = self._node(node, name, [place[id(x)] for x in node.input_tensors])
                    place |= {id(x): i for x, i in zip(node.outputs, found, strict=True)}
        return [place[id(tensor)] for tensor in functional.outputs]

    def _node(self, node: Any, inside: str, inputs: list[int]) -> list[int]:
        operation = node.operation
        name = self._names.get(id(operation), operation.name)
        if functional_of(operation) is not None:
            return self.enter(operation, name, inputs)
        # Whether a layer trains is up to each call of the model.
        others = {key: value for key, value in node.arguments.kwargs.items() if key != "training"}
        plain = len(node.outputs) == 1 and all(value is None for value in others.values())
        for tensor in node.outputs:
            site = self._site(operation, name, inside) if plain else None
            self.nodes.append(Node(name, operation, tuple(inputs), _example(tensor), site, plain))
        return list(range(len(self.nodes) - len(node.outputs), len(self.nodes)))

    def _site(self, operation: Any, name: str, inside: str) -> SiteNode | None:
        if not isinstance(operation, layers.Layer):
            found, label = _called(operation), inside
        elif has_weights(operation):
            found, label = identify_function(operation.activation), name
            if isinstance(operation.activation, layers.Layer):
                return self._turn(self._names.get(id(operation.activation), ""), found, call=False)
        else:
            return self._turn(name, identify(operation) if computes_plainly(operation) else None, call=False)
        return None if found is None else self._turn(f"{label}.{found[0]}" if label else found[0], found, call=True)

    def _turn(self, label: str, found: Any, *, call: bool) -> SiteNode | None:
        if found is None:
            return None
        n = self._turns[label]
        self._turns[label] += 1
        return SiteNode(f"{label}#{n}" if call else f"{label}@{n}" if n else label, *found)


def functional_of(operation: Any) -> Any:
    """The functional model that is run; None where none is, or code of the user's."""
    if isinstance(operation, keras.Sequential):
        return operation._functional if computes_plainly(operation) else None
    functional = isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth")
    return operation if functional and computes_plainly(operation) else None


def _called(operation: Any) -> Any:
    """What a call on symbolic tensors, such as ``keras.ops.relu(x)``, applies."""
    if hasattr(operation, "function") and type(operation).__module__.startswith("rectifier."):
        return operation.function, dict(operation.parameters)
    names = {"Relu": "relu", "Relu6": "relu6", "LeakyRelu": "leaky_relu", "Elu": "elu", "Celu": "celu", "Selu": "selu"}
    row = names.get(type(operation).__name__) if type(operation).__module__.startswith("keras.") else None
    if row is None:
        return None
    given = {key: float(getattr(operation, key)) for key in ("negative_slope", "alpha") if hasattr(operation, key)}
    return row, given


def _example(tensor: Any) -> tuple[Any, ...]:
    return tuple(tensor.shape[1:])


def applies_nothing(layer: Any) -> bool:
    """Whether a layer with weights has no activation."""
    return keeps_values(getattr(layer, "activation", None))
