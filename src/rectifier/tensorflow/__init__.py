"""Rectified-linear units for TensorFlow: functions with gradients of any order, eager, in graphs and under XLA.

>>> import tensorflow as tf, rectifier.tensorflow as rtf
>>> rtf.softplus(tf.constant([0.0]), beta=2.0).numpy()
array([0.3465736], dtype=float32)
>>> with tf.GradientTape() as tape:
...     z = tf.Variable([-1.0, 2.0])
...     h = rtf.elu(z)
>>> tape.gradient(h, z).numpy()
array([0.36787945, 1.        ], dtype=float32)

Every device runs the same composition of TensorFlow's operators, within 2 ulp of the exact functions.
"""

from __future__ import annotations

try:
    import tensorflow as _tensorflow  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "tensorflow":  # TensorFlow is there, but broken: its own message says more
        raise
    raise ModuleNotFoundError(
        "rectifier.tensorflow: `tensorflow` must be installed; it was not found. "
        'Run: pip install "rectifier[tensorflow]"',
        name="tensorflow",
    ) from error

from ..frameworks.tensorflow.ops import (
    abs,
    celu,
    elu,
    leaky_average,
    leaky_relu,
    prelu,
    relu,
    relu6,
    selu,
    softplus,
    squared_relu,
)

__all__ = [
    "abs",
    "celu",
    "elu",
    "leaky_average",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "softplus",
    "squared_relu",
]
