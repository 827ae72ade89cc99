"""Models as ONNX files: export to standard operators, and a composition in the place of those that are wrong near 0.

PyTorch's own ``torch.onnx.export`` turns the functions and layers of this library into ``Relu``, ``LeakyRelu``,
``PRelu``, ``Abs``, ``Clip``, ``Elu``, ``Celu``, ``Selu`` and ``Softplus``; :func:`export` is for that and more.
:func:`exact` takes any ONNX model.

>>> import onnx.parser, rectifier.onnx
>>> graph = "g (float[N] x) => (float[N] y) {y = Elu(x)}"
>>> model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + graph)
>>> [node.op_type for node in rectifier.onnx.exact(model).graph.node if node.op_type != "Constant"]
['Cast', 'Exp', 'Sub', 'Less', 'Where', 'Cast']
"""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnx":  # it is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        'rectifier.onnx: `onnx` must be installed; it was not found. Run: pip install "rectifier[onnx]"',
        name="onnx",
    ) from error

from ._exact import exact
from ._export import export

__all__ = ["exact", "export"]
