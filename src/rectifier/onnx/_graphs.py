"""What is asked of a model as a whole: its graphs, names, tensors, opsets and types."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, shape_inference

__all__ = ["DEFAULT_DOMAIN", "Names", "element_types", "opset_of", "tensors", "typed"]

DEFAULT_DOMAIN = ("", "ai.onnx")
#: Bytes. Larger tensors are weights, and types do not follow from weights.
_LARGE = 4096


def scopes(model: ModelProto) -> Iterator[GraphProto | FunctionProto]:
    """The graph, the functions, and the graphs inside them."""
    for scope in (model.graph, *model.functions):
        yield from _nested(scope)


def _nested(scope: GraphProto | FunctionProto) -> Iterator[GraphProto | FunctionProto]:
    yield scope
    for node in scope.node:
        for attribute in node.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _nested(graph)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor: weights, constants, and the parts of sparse ones."""
    for scope in scopes(model):
        if isinstance(scope, GraphProto):
            yield from scope.initializer
            for sparse in scope.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in scope.node:
            for attribute in node.attribute:
                yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)


class Names:
    """Makes names that nothing in the model has: subgraphs see the names outside, so it is one set for all."""

    def __init__(self, model: ModelProto) -> None:
        self._taken: set[str] = set()
        for scope in scopes(model):
            self._taken.update(i for node in scope.node for i in (node.name, *node.input, *node.output))
            self._taken.update(i if isinstance(i, str) else i.name for i in (*scope.input, *scope.output))
            if isinstance(scope, GraphProto):
                self._taken.update(tensor.name for tensor in scope.initializer)
                self._taken.update(tensor.values.name for tensor in scope.sparse_initializer)

    def __call__(self, stem: str) -> str:
        numbered = (f"{stem}_{number}" for number in itertools.count(1))
        name = next(name for name in itertools.chain([stem], numbered) if name not in self._taken)
        self._taken.add(name)
        return name


def opset_of(scope: ModelProto | FunctionProto) -> int:
    """The version of ONNX's own operators that it uses; 1 where it says none."""
    return next((entry.version for entry in scope.opset_import if entry.domain in DEFAULT_DOMAIN), 1)


def typed(model: ModelProto) -> GraphProto:
    """The model's graph with the types that ONNX infers, without large weights: what is inferred is limited to 2 GB."""
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    graph = light.graph
    graph.name = model.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        small = tensor.ByteSize() <= _LARGE
        graph.initializer.append(
            tensor if small else TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        )
    for tensor in tensors(light):
        if tensor.ByteSize() > _LARGE:
            tensor.CopyFrom(TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type))
    try:
        inferred: GraphProto = shape_inference.infer_shapes(light).graph
    except Exception:  # whatever is wrong with the model, what it states itself of its types is there
        return graph
    return inferred


def element_types(graph: GraphProto) -> Mapping[str, int]:
    """Name → the type of its elements, of those that the graph tells of itself."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    return types
