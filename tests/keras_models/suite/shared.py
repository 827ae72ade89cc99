"""What the tests on Keras share, whatever its backend is: the functions, and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import rectifier
import rectifier.keras as rk

BACKEND: str = keras.backend.backend()
#: How ``compile`` is asked for steps that run at once: compiling takes longer than a few of them, but on JAX.
AT_ONCE: dict[str, Any] = {"jit_compile": BACKEND == "jax"}
NAMES = tuple(name for name, row in rectifier.family.items() if not row.comparison)
REQUIRED: dict[str, dict[str, Any]] = {"prelu": {"negative_slope": 0.25}}
#: Each layer with an argument that is not its default, and the same for its function.
LAYERS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "relu": (lambda: rk.ReLU(at_zero=0.5), {}),
    "leaky_relu": (lambda: rk.LeakyReLU(0.2), {"negative_slope": 0.2}),
    "prelu": (lambda: rk.PReLU(shared_axes=[1]), {"negative_slope": 0.25}),
    "abs": (rk.Abs, {}),
    "relu6": (lambda: rk.ReLU6(2.5), {"ceiling": 2.5}),
    "squared_relu": (lambda: rk.SquaredReLU(save="input"), {}),
    "elu": (lambda: rk.ELU(0.5), {"alpha": 0.5}),
    "celu": (lambda: rk.CELU(2.0), {"alpha": 2.0}),
    "selu": (rk.SELU, {}),
    "softplus": (lambda: rk.Softplus(3.0), {"beta": 3.0}),
}
X = np.concatenate([np.linspace(-9, 9, 249), [0.0, -0.0, 6.0, 1e-7, -1e-7, 30.0, -30.0]]).astype(np.float32)


def array(x: Any) -> Any:
    return keras.ops.convert_to_numpy(x)


def derivative(f: Callable[[Any], Any], x: Any) -> Any:
    """f′(x), element by element, by the backend's own autograd."""
    if BACKEND == "torch":
        import torch

        z = torch.tensor(np.asarray(x), requires_grad=True)
        f(z).sum().backward()
        return z.grad.numpy()
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.grad(lambda z: f(z).sum())(jax.numpy.asarray(x)))
    import tensorflow as tf

    z = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(z)
        h = f(z)
    return tape.gradient(h, z).numpy()


def ulp_apart(a: Any, b: Any) -> float:
    """The largest distance of two arrays in units of the last place; 0 where both are 0."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(a.astype(np.float64) - b) / np.spacing(np.maximum(np.abs(b), np.finfo(b.dtype).tiny))))


def redraw(model: Any, seed: int = 0) -> None:
    """Weights that are the same on every backend."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) > 1:
            fan_in = int(np.prod(weight.shape[:-1]))
            weight.assign(rng.normal(size=weight.shape).astype(np.float32) * np.sqrt(2 / fan_in))


def plant(variable: Any, unit: int, value: float) -> None:
    array = np.array(keras.ops.convert_to_numpy(variable))
    array[unit] = value
    variable.assign(array)
