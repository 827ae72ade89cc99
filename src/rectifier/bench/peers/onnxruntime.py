"""ONNX Runtime: a graph of one node, its input and its output bound to the arrays that all share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime
from onnx import TensorProto, helper

from . import SLOPE, Data, Way

__all__ = ["ways"]

_OPERATORS = {
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
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float64": TensorProto.DOUBLE,
}


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    if kind != "value" or name not in _OPERATORS:
        return []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Its threads would go on spinning long after a call, on a core that the next candidate needs; within a call they
    # spin as ever.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(_model(name, data.dtype.name), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    x, out = data.x, data.out
    kind_of = _TYPES[data.dtype.name]
    binding.bind_input("x", "cpu", 0, kind_of, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, kind_of, out.shape, out.ctypes.data)
    return [Way("ONNX Runtime bound", lambda: session.run_with_iobinding(binding) or out)]


def _model(name: str, dtype: str) -> Any:
    kind = _TYPES[dtype]
    ends = [helper.make_tensor_value_info(end, kind, [None]) for end in "xy"]
    # A slope is an array of one; bounds are numbers.
    shape = [1] if name == "prelu" else []
    constants = [
        helper.make_tensor(f"c{index}", kind, shape, [value]) for index, value in enumerate(_CONSTANTS.get(name, ()))
    ]
    node = helper.make_node(_OPERATORS[name], ["x", *(constant.name for constant in constants)], ["y"])
    graph = helper.make_graph([node], name, ends[:1], ends[1:], initializer=constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
