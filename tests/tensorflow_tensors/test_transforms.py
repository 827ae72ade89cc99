"""vectorized_map, tf.data, recomputation, branches and loops, saved models and mixed precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import rectifier
import rectifier.tensorflow as rtf
from tests.tensorflow_tensors.shared import bound, derivatives

X = tf.constant(np.linspace(-3.0, 7.0, 40).reshape(5, 8).astype(np.float32))


@pytest.mark.parametrize("name", ["relu", "abs", "elu"])
def test_what_wraps_a_function_changes_nothing(name: str) -> None:
    f = bound(name)
    data = tf.data.Dataset.from_tensor_slices(X)

    def looped(x: Any) -> Any:
        return tf.map_fn(f, x)

    def chosen(x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > -1e9, lambda: f(x), lambda: tf.zeros_like(x))

    ways = {
        "recompute_grad": tf.recompute_grad(f),
        "recompute_grad in a graph": tf.function(tf.recompute_grad(f), autograph=False),
        "map_fn in a graph": tf.function(looped, autograph=False),
        "cond in a graph": tf.function(chosen, autograph=False),
    }
    for way, g in ways.items():
        np.testing.assert_allclose(g(X), f(X), rtol=3e-7, err_msg=way)
        np.testing.assert_allclose(derivatives(g, X)[0], derivatives(f, X)[0], rtol=1e-6, err_msg=way)
    np.testing.assert_allclose(np.stack(list(data.map(f).as_numpy_iterator())), f(X), rtol=3e-7)
    np.testing.assert_allclose(
        next(data.batch(5).map(getattr(rectifier, name) if name != "prelu" else f).as_numpy_iterator()), f(X), rtol=3e-7
    )


@pytest.mark.parametrize("name", ["relu", "elu"])
def test_vectorized_map(name: str) -> None:
    f = bound(name)
    np.testing.assert_allclose(tf.vectorized_map(f, X), f(X), rtol=3e-7)
    of_each = tf.vectorized_map(lambda x: derivatives(f, x)[0], X)
    np.testing.assert_allclose(of_each, derivatives(f, X)[0], rtol=1e-6)
    with pytest.raises(Exception, match="or a gradient through tf.vectorized_map"):  # AutoGraph's own, made of it
        derivatives(lambda x: tf.vectorized_map(f, x), X)


def test_jacobians() -> None:
    for name in ("relu", "elu"):
        x = X[2]
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = bound(name)(x)
        np.testing.assert_allclose(tape.jacobian(h, x), np.diag(derivatives(bound(name), x)[0]), rtol=1e-6)


SAVED = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
assert not [name for name in sys.modules if name.startswith("rectifier")]
x = tf.constant(np.linspace(-3.0, 7.0, 40).reshape(5, 8).astype(np.float32))
with tf.GradientTape() as tape:
    tape.watch(x)
    parts = model(x)
    loss = sum(tf.reduce_sum(tf.sin(h)) for h in parts)
np.savez(sys.argv[2], *parts, *tape.gradient(loss, [x, model.weight, model.slope]))
"""


class Model(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32))
        self.slope = tf.Variable(tf.fill(8, 0.1))
        self.alpha = tf.Variable(0.5, trainable=False)

    @tf.function(input_signature=[tf.TensorSpec([None, 8])])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        z = x @ self.weight
        parts = [bound(name)(z) for name in ("relu", "abs", "relu6", "squared_relu", "selu", "softplus")] + [
            rtf.prelu(z, negative_slope=self.slope)
        ]
        return [*parts, rtf.leaky_average(z, 0.5), rtf.elu(z, alpha=self.alpha)]


def test_saved_models_are_right_where_the_library_is_not(tmp_path: Path) -> None:
    model = Model()
    tf.saved_model.save(model, str(tmp_path / "model"))
    subprocess.run(
        [sys.executable, "-c", SAVED, str(tmp_path / "model"), str(tmp_path / "found.npz")],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with tf.GradientTape() as tape:
        tape.watch(X)
        parts = model(X)
        loss = sum(tf.reduce_sum(tf.sin(h)) for h in parts)
    right = [*parts, *tape.gradient(loss, [X, model.weight, model.slope])]
    found = np.load(tmp_path / "found.npz")
    assert len(found.files) == len(right)
    for name, here in zip(found.files, right, strict=True):
        np.testing.assert_allclose(found[name], here, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mixed_precision_trains(dtype: str) -> None:
    """Weights in float32, what flows in 16 bits, as Keras's mixed policies have it."""
    weight = tf.Variable(tf.random.stateless_normal((8, 8), (0, 1)) * 0.3)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            z = tf.cast(X, dtype) @ tf.cast(weight, dtype)
            h = rtf.elu(z) + rtf.relu(z) + rtf.softplus(z)
            assert h.dtype.name == dtype
            loss = tf.reduce_mean(tf.cast(h, tf.float32) ** 2)
        gradient = tape.gradient(loss, weight)
        assert gradient.dtype == tf.float32
        weight.assign_sub(0.01 * gradient)
        return loss

    losses = [float(step()) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
