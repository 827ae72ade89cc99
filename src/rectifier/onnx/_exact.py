"""Any ONNX model, with the operators that are wrong near 0 replaced."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, load

from .._files import check_writable, write_with
from ..errors import RectifierTypeError, RectifierValueError
from ._composition import LIKE_OPSET, MINIMAL_OPSET, OPERATORS, composition
from ._graphs import DEFAULT_DOMAIN, Names, element_types, opset_of, tensors, typed

__all__ = ["exact"]

Compute = Literal["float64", "float32"]
_WIDE = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT}
_KINDS = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE})


@overload
def exact(model: ModelProto, *, compute: Compute = ...) -> ModelProto: ...
@overload
def exact(model: str | Path, path: str | Path, *, compute: Compute = ..., force: bool = ...) -> Path: ...
def exact(model: Any, path: Any = None, *, compute: Any = "float64", force: bool = False) -> ModelProto | Path:
    """The model with each Elu, Selu and Celu replaced by standard operators that are right near 0.

    ONNX Runtime computes eᶻ − 1 by these words, in float32: −1e−7 gives 19 % too much, −1e−8 gives 0. The composition
    is within 0.75 ulp of the exact result (4 in float64; docs/onnx.md has it measured), keeps NaN, ±∞ and ±0, and runs
    in bfloat16 and float64 too, for which ONNX Runtime has no such operators on a CPU. Subgraphs (If, Loop, Scan) and
    the model's own functions are searched as well. Everything else stays as it is.

    Arguments
        model: an ``onnx.ModelProto``, which is not changed, or the path of a file.
        path: with the path of a file: where the new one goes. Weights that lie in files of their own are not read: the
            new file refers to the same ones, and where it is in another folder they are copied there.
        compute: "float64", or "float32" for a runtime that has no float64, and for speed: then within 6 ulp.
        force: True where existing files may be replaced.

    Returns a new ``ModelProto``, or the path written.
    Raises RectifierValueError where there is no such node, the model's opset is below 9 (or 15, for a node whose type
    cannot be inferred), a file is no ONNX model or cannot be written; RectifierTypeError for another ``model``.
    """
    if compute not in _WIDE:
        raise RectifierValueError(
            f"exact: `compute` must be 'float64' or 'float32'; got {compute!r}. Leave it out for 'float64'."
        )
    if isinstance(model, ModelProto):
        if path is not None or force:
            argument = "path" if path is not None else "force"
            raise RectifierValueError(
                f"exact: `{argument}` must come with the path of a model; got an onnx.ModelProto. "
                "Leave it out, and give the result to onnx.save."
            )
        copy = ModelProto()
        copy.CopyFrom(model)
        return _rewritten(copy, compute)
    if not isinstance(model, str | Path):
        raise RectifierTypeError(
            f"exact: `model` must be an onnx.ModelProto or the path of a file; got {type(model).__name__}. "
            "Export it first, with rectifier.onnx.export(…, exact=True)."
        )
    if path is None:
        raise RectifierValueError(
            f"exact: `path` must be given with the path of a model; got none for {str(model)!r}. "
            "Say where the new file goes."
        )
    return _written(Path(model), Path(path), compute, force)


# Files ---------------------------------------------------------------------------------------------------------------


def _written(source: Path, target: Path, compute: str, force: bool) -> Path:
    check_writable(target, force)
    model = _read(source)
    if target.exists() and target.samefile(source):
        raise RectifierValueError(
            f"exact: `path` must be another file than the model; got {str(target)!r}. Pick another name."
        )
    _rewritten(model, compute)
    elsewhere = []
    if target.parent.resolve() != source.parent.resolve():
        elsewhere = [check_writable(target.parent / name, force) for name in _weight_files(model, source)]
    for copy in elsewhere:
        write_with(copy, partial(shutil.copyfile, source.parent / copy.name), force=force)
    return write_with(target, lambda part: part.write_bytes(model.SerializeToString()), force=force)


def _read(source: Path) -> ModelProto:
    if not source.is_file():
        raise RectifierValueError(
            f"exact: `model` must be a file that exists; got {str(source)!r}. Pass the path of an ONNX model."
        )
    try:
        model = load(str(source), load_external_data=False)
    except DecodeError:
        model = ModelProto()
    if not (model.ir_version and model.HasField("graph")):
        raise RectifierValueError(f"exact: `model` must be an ONNX model; got {str(source)!r}. Pass a file of one.")
    return model


def _weight_files(model: ModelProto, source: Path) -> list[str]:
    """The names of the files that hold its weights."""
    names = {entry.value for tensor in tensors(model) for entry in tensor.external_data if entry.key == "location"}
    for name in names:
        if Path(name).name != name or not (source.parent / name).is_file():
            raise RectifierValueError(
                f"exact: `model` must have its weights in files beside it, to be written to another folder; got "
                f"{name!r} for {str(source)!r}. Write the new file beside the model."
            )
    return sorted(names)


# Graphs --------------------------------------------------------------------------------------------------------------


def _rewritten(model: ModelProto, compute: str) -> ModelProto:
    """The same object, changed."""
    fresh = Names(model)
    replaced = _replaced(model.graph, typed(model), (), opset_of(model), compute, fresh)
    for function in model.functions:
        replaced += _replaced(function, None, (), opset_of(function), compute, fresh)
    if not replaced:
        raise RectifierValueError(
            "exact: `model` must have an Elu, Selu or Celu, which are what is wrong near 0; got none. Use it as it is."
        )
    return model


def _replaced(
    scope: GraphProto | FunctionProto,
    types: GraphProto | None,
    outer: tuple[Mapping[str, int], ...],
    opset: int,
    compute: str,
    fresh: Callable[[str], str],
) -> int:
    """How many nodes were replaced, in it and in its subgraphs.

    types: the same graph with what is known of types; None in a function, which takes any. outer: what is known of the
    names that it sees from outside, the nearest first.
    """
    known = (element_types(types), *outer) if types is not None else outer
    nodes: list[NodeProto] = []
    replaced = 0
    for index, node in enumerate(scope.node):
        for place, attribute in enumerate(node.attribute):
            inner = (attribute.g, *attribute.graphs) if attribute.HasField("g") else tuple(attribute.graphs)
            typed_inner: Any = [None] * len(inner)
            if types is not None:
                same = types.node[index].attribute[place]
                typed_inner = (same.g, *same.graphs) if same.HasField("g") else same.graphs
            for graph, graph_types in zip(inner, typed_inner, strict=True):
                replaced += _replaced(graph, graph_types, known, opset, compute, fresh)
        if node.domain in DEFAULT_DOMAIN and node.op_type in OPERATORS:
            kind = next((names[node.input[0]] for names in known if node.input[0] in names), None)
            nodes += _composed(node, kind, opset, compute, fresh)
            replaced += 1
        else:
            nodes.append(node)
    if len(nodes) > len(scope.node):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del scope.node[:]
        scope.node.extend(copies)
    return replaced


def _composed(
    node: NodeProto, kind: int | None, opset: int, compute: str, fresh: Callable[[str], str]
) -> list[NodeProto]:
    kind = kind if kind in _KINDS else None
    least = LIKE_OPSET if kind is None else MINIMAL_OPSET
    if opset < least:
        unknown = " where a type is not known" if kind is None else ""
        raise RectifierValueError(
            f"exact: `model` must have opset {least} or later{unknown}; got {opset}, for {_named(node)}. "
            "Convert it with onnx.version_converter.convert_version."
        )
    if kind is None and compute == "float32":
        raise RectifierValueError(
            f"exact: `compute` must be 'float64' where a type is not known; got 'float32', for {_named(node)}. "
            "Leave it out, or put functions in their places with onnx.inliner.inline_local_functions."
        )
    wide = TensorProto.DOUBLE if kind in (None, TensorProto.DOUBLE) else _WIDE[compute]
    return composition(node, kind, wide, fresh)


def _named(node: NodeProto) -> str:
    return f"the {node.op_type} that makes {node.output[0]!r}"
