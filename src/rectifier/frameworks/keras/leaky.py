"""The leaky average on Keras's tensors, by the backend's own operations."""

from __future__ import annotations

from typing import Any

import keras

from ...errors import RectifierTypeError
from .backend import OWN, held, tensor

__all__ = ["leaky_average"]


def leaky_average(v: Any, alpha: Any, *, axis: int = -1, initial: Any = 0.0) -> Any:
    """The leaky unit μ ← α·μ + (1 − α)·v over time: μ_t = α·μ_{t−1} + (1 − α)·v_t.

    v: a tensor of the backend or a NumPy array, floating; time runs along ``axis``.
    alpha: the share of the past, in [0, 1]; a number, or an array that broadcasts with v without its time axis; it gets
        a gradient where one is taken.
    axis: of time; the last by default.
    initial: μ before the first step, a number or an array likewise.

    Returns a tensor of v's shape and dtype: μ at every step. Raises RectifierTypeError, RectifierValueError for
    arguments that cannot be used.
    Source: Mozer 1992 (NIPS 4, "Induction of multiscale temporal structure"); Goodfellow, Bengio & Courville 2016,
    Deep Learning, section 10.9.2.

    >>> keras.ops.convert_to_numpy(leaky_average([1.0, 1.0, 1.0], 0.5))
    array([0.5  , 0.75 , 0.875], dtype=float32)
    """
    if isinstance(v, keras.KerasTensor):
        raise RectifierTypeError(
            "leaky_average: `v` must hold values; got a KerasTensor. Use the layer rectifier.keras.LeakyAverage."
        )
    return OWN.leaky_average(tensor("leaky_average", "v", v), held(alpha), axis=axis, initial=held(initial))
