"""ONNX Runtime: graphs of one node, on the processor. It has no gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import SLOPE, Array, Functions, Lookup, each, plain

__all__ = ["OPERATORS", "PLACES", "WAYS", "as_it_comes", "functions", "model", "prelu_start"]

OPERATORS = {
    "relu": "Relu",
    "leaky_relu": "LeakyRelu",
    "prelu": "PRelu",
    "abs": "Abs",
    "relu6": "Clip",
    "elu": "Elu",
    "celu": "Celu",
    "selu": "Selu",
    "softplus": "Softplus",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}
_CONSTANTS = {"prelu": (SLOPE,), "relu6": (0.0, 6.0)}


def model(name: str, dtype: str) -> bytes:
    """A graph of one operator from x to y, in the format of files."""
    from onnx import TensorProto, helper

    types = {
        "float32": TensorProto.FLOAT,
        "float16": TensorProto.FLOAT16,
        "bfloat16": TensorProto.BFLOAT16,
        "float64": TensorProto.DOUBLE,
        "int32": TensorProto.INT32,
    }
    kind = types[dtype]
    ends = [helper.make_tensor_value_info(end, kind, [None]) for end in "xy"]
    # A slope is an array of one; bounds are numbers.
    shape = [1] if name == "prelu" else []
    values = [
        np.array(value).astype(dtype) if kind == TensorProto.INT32 else value for value in _CONSTANTS.get(name, ())
    ]
    constants = [helper.make_tensor(f"c{index}", kind, shape, [value]) for index, value in enumerate(values)]
    node = helper.make_node(OPERATORS[name], ["x", *(constant.name for constant in constants)], ["y"])
    graph = helper.make_graph([node], name, ends[:1], ends[1:], initializer=constants)
    written = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(written.SerializeToString())


@functools.cache
def _session(name: str, dtype: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model(name, dtype), options, providers=["CPUExecutionProvider"])


def _run(name: str, x: Array) -> Array:
    session = _session(name, x.dtype.name)
    if x.dtype.name != "bfloat16":
        return plain(session.run(None, {"x": x})[0])
    import onnxruntime
    from onnx import TensorProto

    # NumPy's own dtypes are the only ones that its plain call takes.
    out = np.empty_like(x)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, TensorProto.BFLOAT16, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, TensorProto.BFLOAT16, out.shape, out.ctypes.data)
    session.run_with_iobinding(binding, onnxruntime.RunOptions())
    return out


def functions() -> Functions:
    return {
        **{name: functools.partial(_run, name) for name in OPERATORS},
        "squared_relu": lambda x: np.square(_run("relu", x)),
    }


def as_it_comes() -> Functions:
    # Clip has no bounds of its own.
    return {name: functools.partial(_run, name) for name in ("leaky_relu", "elu", "celu", "softplus")}


def prelu_start() -> None:
    """The slope is an input."""
    return None


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"ONNX Runtime": each(lambda f: f, None)}
PLACES: Mapping[str, tuple[str, ...]] = {name: (f"onnx:{operator}",) for name, operator in OPERATORS.items()}
