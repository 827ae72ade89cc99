"""What other libraries compute, each called as its users call it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MODULES", "function", "installed", "torch_gradient"]

Array = npt.NDArray[Any]
Function = Callable[[Array], Array]

#: Name of a peer → modules that it needs.
MODULES: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "numpy idiom": ("numpy",),
    "scipy": ("scipy",),
    "jax": ("jax",),
    "tensorflow": ("tensorflow",),
    "keras": ("keras",),
    # A graph for it is written with a package of its own.
    "onnxruntime": ("onnxruntime", "onnx"),
}


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def function(peer: str, name: str, kind: str, dtype: str) -> Function | None:
    """The peer's function on arrays of a dtype at default parameters; None where it has none."""
    if not all(map(installed, MODULES[peer])):
        return None
    return _TABLES[peer](name, kind, dtype)


def torch_gradient(f: Callable[[Any], Any], x: Array) -> Array:
    """The gradient at x for an upstream gradient of 1."""
    z = _tensor(x).requires_grad_()
    f(z).backward(_ones(z))
    return _array(z.grad, x.dtype)


def _ones(z: Any) -> Any:
    import torch

    return torch.ones_like(z)


def _tensor(x: Array) -> Any:
    import torch

    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(x.copy())


def _array(tensor: Any, dtype: np.dtype[Any]) -> Array:
    import torch

    if dtype.name == "bfloat16":
        bits: Array = tensor.detach().view(torch.int16).numpy()
        return bits.view(dtype)
    values: Array = tensor.detach().numpy()
    return values


def _torch(name: str, kind: str, dtype: str) -> Function | None:
    import torch
    import torch.nn.functional as F

    functions: dict[str, Callable[[Any], Any]] = {
        "relu": F.relu,
        "leaky_relu": F.leaky_relu,
        "abs": torch.abs,
        "relu6": F.relu6,
        "squared_relu": lambda z: F.relu(z).square(),
        "elu": F.elu,
        "celu": F.celu,
        "selu": F.selu,
        "softplus": F.softplus,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }
    f = functions.get(name)
    if f is None or kind not in ("value", "derivative"):
        return None
    if kind == "derivative":
        return lambda x: torch_gradient(f, x)
    return lambda x: _array(f(_tensor(x)), x.dtype)


def _numpy(name: str, kind: str, dtype: str) -> Function | None:
    if dtype == "bfloat16":
        return None
    idioms: dict[tuple[str, str], Function] = {
        ("relu", "value"): lambda x: np.maximum(x, 0),
        ("leaky_relu", "value"): lambda x: np.where(x > 0, x, x * x.dtype.type(0.01)),
        ("abs", "value"): np.abs,
        ("relu6", "value"): lambda x: np.clip(x, 0, 6),
        ("squared_relu", "value"): lambda x: np.square(np.maximum(x, 0)),
        ("elu", "value"): lambda x: np.where(x > 0, x, np.expm1(x)),
        ("elu", "derivative"): lambda x: np.where(x > 0, x.dtype.type(1), np.exp(x)),
        ("softplus", "value"): lambda x: np.logaddexp(x.dtype.type(0), x),
        ("sigmoid", "value"): lambda x: 1 / (1 + np.exp(-x)),
        ("tanh", "value"): np.tanh,
    }
    return idioms.get((name, kind))


def _scipy(name: str, kind: str, dtype: str) -> Function | None:
    if (name, kind) not in (("sigmoid", "value"), ("softplus", "derivative")) or dtype == "bfloat16":
        return None
    from scipy.special import expit

    return lambda x: np.asarray(expit(x))


def _jax(name: str, kind: str, dtype: str) -> Function | None:
    import jax

    functions: dict[str, Any] = {
        n: getattr(jax.nn, n) for n in ("relu", "leaky_relu", "relu6", "elu", "celu", "selu", "softplus")
    }
    functions |= {"sigmoid": jax.nn.sigmoid, "tanh": jax.numpy.tanh, "abs": jax.numpy.abs}
    f = functions.get(name)
    if f is None or kind not in ("value", "derivative"):
        return None
    if kind == "derivative":
        f = jax.vmap(jax.grad(f))
    compiled = jax.jit(f)

    def call(x: Array) -> Array:
        with jax.enable_x64(True):  # here alone: it is the user's setting
            return np.asarray(compiled(x))

    return call


def _tensorflow(name: str, kind: str, dtype: str) -> Function | None:
    import tensorflow as tf

    functions = {n: getattr(tf.nn, n) for n in ("relu", "relu6", "elu", "selu", "softplus", "sigmoid", "tanh")}
    functions["abs"] = tf.abs
    f = functions.get(name)
    if f is None or kind not in ("value", "derivative"):
        return None
    if kind == "value":
        return lambda x: np.asarray(f(tf.constant(x)))

    def gradient(x: Array) -> Array:
        z = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(z)
            h = f(z)
        return np.asarray(tape.gradient(h, z))

    return gradient


def _keras(name: str, kind: str, dtype: str) -> Function | None:
    """On the backend that it is set to. Gradients are that backend's."""
    import keras

    names = ("relu", "relu6", "elu", "celu", "selu", "softplus", "sigmoid", "tanh")
    functions: dict[str, Callable[[Any], Any]] = {n: getattr(keras.activations, n) for n in names}
    functions["abs"] = keras.ops.abs
    functions["leaky_relu"] = lambda z: keras.activations.leaky_relu(z, negative_slope=0.01)
    f = functions.get(name)
    if f is None or kind != "value":
        return None
    return lambda x: np.asarray(keras.ops.convert_to_numpy(f(keras.ops.convert_to_tensor(x, dtype=dtype))))


def _onnxruntime(name: str, kind: str, dtype: str) -> Function | None:
    import onnxruntime

    operators = {
        "relu": "Relu",
        "leaky_relu": "LeakyRelu",
        "abs": "Abs",
        "elu": "Elu",
        "celu": "Celu",
        "selu": "Selu",
        "softplus": "Softplus",
        "sigmoid": "Sigmoid",
        "tanh": "Tanh",
    }
    # Its processor provider computes float32 for all of these, the other dtypes for some; it has no gradients.
    if name not in operators or kind != "value" or dtype != "float32":
        return None
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [None]) for end in "xy"]
    graph = helper.make_graph([helper.make_node(operators[name], ["x"], ["y"])], name, ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(None, {"x": x})[0])


_TABLES: dict[str, Callable[[str, str, str], Function | None]] = {
    "torch": _torch,
    "numpy idiom": _numpy,
    "scipy": _scipy,
    "jax": _jax,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "onnxruntime": _onnxruntime,
}
