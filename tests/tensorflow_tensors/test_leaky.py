"""The leaky average on TensorFlow tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import rectifier
import rectifier.tensorflow as rtf
from tests.tensorflow_tensors.shared import WAYS


@pytest.mark.parametrize("way", [*WAYS, "unknown steps"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_it_is_numpys_within_the_rounding_of_float32(dtype: Any, way: str) -> None:
    random = np.random.default_rng(0)
    v, alpha = random.normal(size=(3, 50, 4)).astype(dtype), random.uniform(size=4).astype(np.float32)
    wanted = rectifier.leaky_average(v, alpha, axis=1, initial=0.5)

    def average(v: Any) -> Any:
        return rectifier.leaky_average(v, alpha, axis=1, initial=0.5)

    if way == "unknown steps":
        average = tf.function(average, input_signature=[tf.TensorSpec([None, None, 4], dtype)], autograph=False)
    got = WAYS.get(way, lambda f: f)(average)(tf.constant(v))
    assert got.dtype == dtype and got.shape == v.shape
    eps = float(ml_dtypes.finfo(dtype).eps)
    np.testing.assert_allclose(got.numpy().astype(float), wanted.astype(float), rtol=eps, atol=4 * 2**-23)


@pytest.mark.parametrize("way", WAYS)
def test_gradients_of_two_orders_are_those_of_the_definition(way: str) -> None:
    random = np.random.default_rng(0)
    given = [
        tf.constant(random.normal(size=(2, 7, 3))),
        tf.constant(random.uniform(size=3)),
        tf.constant(0.3, tf.float64),
    ]
    weights = tf.constant(random.normal(size=(2, 7, 3)))

    def by_steps(v: Any, alpha: Any, initial: Any) -> Any:
        mu, out = initial * tf.ones_like(v[:, 0]), []
        for t in range(v.shape[1]):
            mu = alpha * mu + (1 - alpha) * v[:, t]
            out.append(mu)
        return tf.stack(out, 1)

    def by_doubling(v: Any, alpha: Any, initial: Any) -> Any:
        return rtf.leaky_average(v, alpha, axis=1, initial=initial)

    def gradients(f: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(given)
            with tf.GradientTape() as tape:
                tape.watch(given)
                loss = tf.reduce_sum(tf.sin(f(*given)) * weights)
            first = tape.gradient(loss, given)
            joined = tf.add_n([tf.reduce_sum(tf.cos(g)) for g in first])
        return first + outer.gradient(joined, given)

    for mine, right in zip(WAYS[way](lambda: gradients(by_doubling))(), gradients(by_steps), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-12)


def test_no_steps_and_one() -> None:
    assert rtf.leaky_average(tf.zeros((2, 0)), 0.5).shape == (2, 0)
    assert rtf.leaky_average(tf.ones((2, 1)), tf.constant([0.25, 0.5])).numpy().tolist() == [[0.75], [0.5]]
