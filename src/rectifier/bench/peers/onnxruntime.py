"""ONNX Runtime: a graph of one node, its input and its output bound to the arrays that all share."""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime
from onnx import TensorProto

from ...peers import onnxruntime as table
from . import Data, Way

__all__ = ["ways"]

_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "float64": TensorProto.DOUBLE,
}


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    if kind != "value" or name not in table.OPERATORS:
        return []
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Its threads would go on spinning long after a call, on a core that the next candidate needs; within a call they
    # spin as ever.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        table.model(name, data.dtype.name), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    x, out = data.x, data.out
    kind_of = _TYPES[data.dtype.name]
    binding.bind_input("x", "cpu", 0, kind_of, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, kind_of, out.shape, out.ctypes.data)
    return [Way("ONNX Runtime bound", lambda: session.run_with_iobinding(binding) or out)]
