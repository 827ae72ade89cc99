"""What a layer is to the check-up: one with weights, a normalisation, or one behind which values are what they were."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from ..sites import computes_plainly

__all__ = [
    "DROPOUTS",
    "ELEMENTWISE",
    "RESHAPES",
    "as_array",
    "bias_of",
    "channels_axis",
    "fan_in",
    "guessed_axis",
    "has_weights",
    "is_norm",
    "is_pool",
    "kernel_of",
    "rows",
]

Floats = npt.NDArray[np.float64]

_CONVOLUTIONS = tuple(
    getattr(layers, f"{kind}{n}D")
    for kind, most in (("Conv", 3), ("DepthwiseConv", 2), ("SeparableConv", 2))
    for n in range(1, most + 1)
) + tuple(getattr(layers, f"Conv{n}DTranspose") for n in (1, 2, 3))
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_TRANSPOSED = tuple(getattr(layers, f"Conv{n}DTranspose") for n in (1, 2, 3))
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_POOLS = tuple(
    getattr(layers, f"{kind}Pooling{n}D")
    for kind in ("Max", "Average", "GlobalMax", "GlobalAverage")
    for n in (1, 2, 3)
)

#: Layers that hide some values for a moment and scale the rest → what their kind of dropout is called.
DROPOUTS: dict[type, str] = {
    layers.Dropout: "dropout",
    layers.AlphaDropout: "alpha_dropout",
    layers.SpatialDropout1D: "dropout1d",
    layers.SpatialDropout2D: "dropout2d",
    layers.SpatialDropout3D: "dropout3d",
}
#: Layers behind which every value and their order stay.
RESHAPES = (layers.Flatten, layers.Reshape, layers.Identity, layers.InputLayer)
#: Layers that change values and leave the units where they are.
ELEMENTWISE = (
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.Rescaling,
    layers.GaussianNoise,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.ZeroPadding3D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
    layers.ActivityRegularization,
)


def has_weights(layer: Any) -> bool:
    """Dense and convolutions."""
    return isinstance(layer, (layers.Dense, *_CONVOLUTIONS)) and computes_plainly(layer)


def is_norm(layer: Any) -> bool:
    return isinstance(layer, layers.BatchNormalization) and computes_plainly(layer)


def is_pool(layer: Any) -> bool:
    return isinstance(layer, _POOLS) and computes_plainly(layer)


def is_depthwise(layer: Any) -> bool:
    return isinstance(layer, _DEPTHWISE)


def is_plain_convolution(layer: Any) -> bool:
    other = (*_DEPTHWISE, *_TRANSPOSED, *_SEPARABLE)
    return isinstance(layer, _CONVOLUTIONS) and not isinstance(layer, other)


def channels_axis(layer: Any, ndim: int) -> int:
    """Axis of the units in what a layer gives, which has so many axes."""
    axis = getattr(layer, "axis", None)
    if isinstance(layer, layers.BatchNormalization) and isinstance(axis, int):
        return axis % ndim
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else ndim - 1


def guessed_axis(ndim: int) -> tuple[int, bool]:
    """Axis of the units where none could be followed, and whether that is a guess: of maps that of Keras's setting."""
    first = ndim >= 4 and keras.config.image_data_format() == "channels_first"
    return (1 if first else ndim - 1), ndim >= 3


def kernel_of(layer: Any) -> Any:
    """Its weights, as the variable; of a separable convolution those that make the units."""
    return layer.pointwise_kernel if isinstance(layer, _SEPARABLE) else layer.kernel


def bias_of(layer: Any) -> Any:
    return getattr(layer, "bias", None)


def as_array(variable: Any) -> npt.NDArray[Any]:
    """A variable's or tensor's values as NumPy holds them; bfloat16, which NumPy lacks, as float32."""
    value = np.asarray(keras.ops.convert_to_numpy(variable))
    return value.astype(np.float32) if value.dtype.kind == "V" or value.dtype.name == "bfloat16" else value


def rows(layer: Any) -> Floats | None:
    """The weights with one row a unit, (units, fan-in); None where rows are no units (transposed, separable)."""
    if isinstance(layer, (*_TRANSPOSED, *_SEPARABLE)):
        return None
    kernel = as_array(kernel_of(layer)).astype(np.float64)
    if is_depthwise(layer):
        kernel = kernel.reshape(-1, kernel.shape[-2] * kernel.shape[-1])
    return kernel.reshape(-1, kernel.shape[-1]).T


def fan_in(layer: Any) -> int:
    shape = kernel_of(layer).shape
    if is_depthwise(layer):
        return math.prod(shape[:-2])
    # A transposed convolution has as many inputs a unit where strides do not thin them out.
    return math.prod(shape[:-2]) * shape[-1] if isinstance(layer, _TRANSPOSED) else math.prod(shape[:-1])
