"""Act 1, depth: what is left of the gradient after twenty layers, for seven functions.

The backward pass multiplies the gradient by f'(z) and by the weights once a layer. Written out in NumPy with the
library's own functions and derivatives, so that the threshold, whose derivative is 0, can be shown like the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import rectifier

from . import digits

__all__ = ["FUNCTIONS", "DepthCurve", "DepthResult", "run"]

FUNCTIONS = ("threshold", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu")
LAYERS = 20
WIDTH = 64
_IMAGES = 256
_NETWORKS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DepthCurve:
    """The gradient of one function, layer by layer, at initialisation."""

    function: str
    """Name of the row in ``rectifier.family``."""
    gain: float
    """Factor of the initial weights: their standard deviation is gain / √fan_in."""
    largest_derivative: float
    """Largest f'(z) met in these networks."""
    gradient: tuple[float, ...]
    """Root mean square of ∂loss/∂z of layers 1 … ``layers``; geometric mean over the networks."""

    @property
    def kept(self) -> float:
        """Gradient of the first layer ÷ gradient of the last; 0 where nothing arrives."""
        return self.gradient[0] / self.gradient[-1] if self.gradient[-1] else 0.0

    @property
    def factor(self) -> float:
        """The same per layer: what one more layer multiplies the gradient by."""
        return float(self.kept ** (1.0 / (len(self.gradient) - 1)))


@dataclass(frozen=True)
class DepthResult:
    """Act 1: ``curves`` with each function's own gain, ``plain`` with the weights at 1/√fan_in."""

    layers: int
    width: int
    images: int
    networks: int
    curves: tuple[DepthCurve, ...]
    plain: tuple[DepthCurve, ...]

    def of(self, function: str) -> DepthCurve:
        return next(curve for curve in self.curves if curve.function == function)


def run(
    seed: int,
    *,
    layers: int = LAYERS,
    networks: int = _NETWORKS,
    tick: Callable[[float], None] = lambda share: None,
) -> DepthResult:
    """Measure the gradient through ``layers`` layers of 64 units for every function, on ``networks`` seeds each."""
    data = digits.load()
    x, y = data.numpy[:_IMAGES], data.y_train[:_IMAGES].numpy()
    seeds = range(seed, seed + networks)
    curves, plain = [], []
    for done, name in enumerate(FUNCTIONS, start=1):
        curves.append(_curve(x, y, name, rectifier.gain(name), layers, seeds))
        plain.append(_curve(x, y, name, 1.0, layers, seeds))
        tick(done / len(FUNCTIONS))
    return DepthResult(
        layers=layers,
        width=WIDTH,
        images=len(x),
        networks=networks,
        curves=tuple(curves),
        plain=tuple(plain),
    )


def _curve(x: Floats, y: npt.NDArray[np.int64], name: str, gain: float, layers: int, seeds: range) -> DepthCurve:
    measured = [gradients(x, y, initial_weights(x, gain, layers, seed), name) for seed in seeds]
    scales = np.array([scale for scale, _ in measured])
    with np.errstate(divide="ignore"):  # the threshold's gradient is 0: its logarithm is −inf and its mean 0 again
        mean = np.exp(np.log(scales).mean(axis=0))
    return DepthCurve(name, gain, max(largest for _, largest in measured), tuple(mean.tolist()))


def initial_weights(x: Floats, gain: float, layers: int, seed: int) -> list[Floats]:
    """Normal weights: gain/√fan_in, but the first layer by the scale of the images, so that its z has scale 1."""
    rng = np.random.default_rng(seed)
    scale = math.sqrt(float(np.mean(x * x)) * x.shape[1])
    first = rng.standard_normal((x.shape[1], WIDTH)) / scale
    hidden = [rng.standard_normal((WIDTH, WIDTH)) * gain / math.sqrt(WIDTH) for _ in range(layers - 1)]
    return [first, *hidden, rng.standard_normal((WIDTH, 10)) * gain / math.sqrt(WIDTH)]


def gradients(x: Floats, y: npt.NDArray[np.int64], weights: list[Floats], name: str) -> tuple[list[float], float]:
    """Root mean square of ∂loss/∂z of each hidden layer, and the largest derivative met.

    The loss is the cross-entropy, averaged over the images; biases start at 0 and are left out.
    """
    f = getattr(rectifier, name)
    inputs, before = x, []
    for weight in weights[:-1]:
        before.append(inputs @ weight)
        inputs = f(before[-1])
    logits = inputs @ weights[-1]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(y)), y] -= 1.0
    d_inputs, scales, largest = (shares / len(y)) @ weights[-1].T, [], 0.0
    for z, weight in zip(reversed(before), reversed(weights[:-1]), strict=True):
        slope = f.derivative(z)
        largest = max(largest, float(slope.max()))
        dz = d_inputs * slope  # the chain rule: dL/dz = dL/dh · f'(z)
        scales.append(math.sqrt(float(np.mean(dz * dz))))
        d_inputs = dz @ weight.T
    return scales[::-1], largest
