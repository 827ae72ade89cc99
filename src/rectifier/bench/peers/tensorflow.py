"""TensorFlow, eager and as a function, on a tensor of its own; its gradients are its operators for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from ...peers import tensorflow as table
from . import SLOPE, Data, Way

__all__ = ["ways"]


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    _set_threads(threads)
    values = table.functions()
    f = (values if kind == "value" else _GRADIENTS).get(name)
    if f is None:
        return []
    operands = [tf.constant(data.x)] if kind == "value" else [tf.constant(data.dh), tf.constant(data.x)]
    if name in ("sigmoid", "tanh") and kind == "backward":  # of these it keeps the result, not the input
        operands[1] = values[name](operands[1])
    graph = tf.function(f)
    return [
        Way("TensorFlow eager", lambda: f(*operands), fresh=True),
        Way("TensorFlow function", lambda: graph(*operands), fresh=True),
    ]


@functools.cache
def _set_threads(threads: int) -> None:
    """It takes them before its first operation only."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


_raw: Any = tf.raw_ops
_GRADIENTS: dict[str, Callable[..., Any]] = {
    "relu": lambda dh, x: _raw.ReluGrad(gradients=dh, features=x),
    "leaky_relu": lambda dh, x: _raw.LeakyReluGrad(gradients=dh, features=x, alpha=0.01),
    "prelu": lambda dh, x: _raw.LeakyReluGrad(gradients=dh, features=x, alpha=SLOPE),
    "abs": lambda dh, x: dh * tf.sign(x),
    "relu6": lambda dh, x: _raw.Relu6Grad(gradients=dh, features=x),
    "softplus": lambda dh, x: _raw.SoftplusGrad(gradients=dh, features=x),
    "sigmoid": lambda dh, h: _raw.SigmoidGrad(y=h, dy=dh),
    "tanh": lambda dh, h: _raw.TanhGrad(y=h, dy=dh),
}
