"""The operations of TensorFlow that the formulas are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..exponential import Formula
from ..formulas import Formulas

__all__ = ["FORMULAS", "here", "where"]

Tensor = Any


def where(condition: Tensor, a: Any, b: Any) -> Tensor:
    """Of the dtype of the tensor among a and b, where TensorFlow would make float32 of a Python number."""
    dtype = a.dtype if tf.is_tensor(a) else b.dtype
    return tf.where(condition, tf.convert_to_tensor(a, dtype), tf.convert_to_tensor(b, dtype))


def here(x: Any) -> Any:
    """x as a tensor of the graph that is being made.

    What a gradient function of tf.custom_gradient refers to must be of the graph in which that was called. In a
    backward pass x may still be of the graph of the forward pass, which the next order cannot reach.
    """
    return tf.identity(x) if tf.is_tensor(x) and not tf.executing_eagerly() else x


class TensorFlowOperations:
    """``rectifier.frameworks.exponential.Operations`` of TensorFlow."""

    def dtype(self, x: Tensor) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(x.dtype.as_numpy_dtype)
        return dtype

    def where(self, condition: Tensor, a: Any, b: Any) -> Tensor:
        return where(condition, a, b)

    def abs(self, x: Tensor) -> Tensor:
        return tf.abs(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return tf.sqrt(x)

    def maximum(self, x: Tensor, limit: Any) -> Tensor:
        return tf.maximum(x, limit)

    def minimum(self, x: Tensor, limit: Any) -> Tensor:
        return tf.minimum(x, limit)

    def round(self, x: Tensor) -> Tensor:
        return tf.math.rint(x)

    def astype(self, x: Tensor, dtype: Any) -> Tensor:
        return tf.cast(x, dtype)

    def bits_as(self, x: Tensor, dtype: Any) -> Tensor:
        return tf.bitcast(x, dtype)

    def quarter(self, k: Tensor) -> Tensor:
        return tf.bitwise.right_shift(k, 2)

    def together(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return tf.convert_to_tensor(a), tf.convert_to_tensor(b)

    def opaque(self, formula: Formula, derivative: Formula) -> Formula:
        def function(z: Tensor, parameter: Any) -> Tensor:
            parameter = here(parameter)

            @tf.custom_gradient  # type: ignore[untyped-decorator]
            def of(z: Tensor) -> tuple[Tensor, Any]:
                return formula(tf.stop_gradient(z), parameter), lambda t: derivative(z, parameter) * t

            return of(here(z))

        return function


FORMULAS = Formulas(TensorFlowOperations())
