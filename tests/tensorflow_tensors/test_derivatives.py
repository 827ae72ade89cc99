"""Derivatives of any order and in both modes, at the kinks, of slopes; what NaN and infinite gradients come to."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import rectifier.tensorflow as rtf
from rectifier._functions import FUNCTIONS
from tests.tensorflow_tensors.shared import GATED, NAMES, OTHER, REQUIRED, WAYS, bound, derivatives

SAVED = [(name, None) for name in NAMES] + [(name, "output") for name in NAMES[5:-1]] + [("softplus", "input")]


@pytest.mark.parametrize("way", WAYS)
def test_first_second_and_third_order(way: str) -> None:
    z = np.array([-2.3, -0.7, 0.4, 1.9])
    rows = SAVED if way == "eager" else [("squared_relu", "output"), ("celu", None)]
    functions = [bound(name, **OTHER.get(name, {}), **({} if save is None else {"save": save})) for name, save in rows]

    def all_(z: Any) -> Any:
        return [derivatives(f, z, 3) for f in functions]

    for (name, _), found in zip(rows, WAYS[way](all_)(tf.constant(z)), strict=True):
        given, step = OTHER.get(name, {}), 1e-3
        below, here, above = (FUNCTIONS[name].derivative(z + by, **given) for by in (-step, 0.0, step))
        differences = here, (above - below) / (2 * step), (above - 2 * here + below) / step**2
        for got, right in zip(found, differences, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", ["selu", "softplus"])
def test_third_derivatives_are_as_near_as_the_first(name: str) -> None:
    x = tf.constant([-30.0, -20.0, -3.0, -0.5])
    z = x.numpy().astype(np.float64)
    s = 1 / (1 + np.exp(-z))
    factor = {"selu": 1.7580993408473766}.get(name, 1.0)
    right = s * (1 - s) * (1 - 2 * s) if name == "softplus" else factor * np.exp(z)
    np.testing.assert_allclose(derivatives(bound(name), x, 3)[2], right, rtol=2e-6)


@pytest.mark.parametrize("name", ["relu", "prelu", "squared_relu", "elu", "softplus"])
def test_orders_over_a_function_that_is_a_graph(name: str) -> None:
    x = tf.constant([-2.3, -0.7, 0.4, 1.9])
    graph = tf.function(lambda x: tf.sin(bound(name)(1.5 * x)), autograph=False)
    right = derivatives(lambda x: tf.sin(bound(name)(1.5 * x)), x, 2)
    for got, plain in zip(derivatives(graph, x, 2), right, strict=True):
        np.testing.assert_allclose(got, plain, rtol=3e-6)


@pytest.mark.parametrize("name", ["relu", "abs", "prelu", "squared_relu", "elu", "softplus"])
def test_forward_mode_eager_and_over_a_graph(name: str) -> None:
    x = tf.constant([-2.3, -0.7, 0.4, 1.9])
    right = FUNCTIONS[name].derivative(x.numpy(), **REQUIRED.get(name, {}))
    for f in (bound(name), tf.function(bound(name), autograph=False)):
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as forward:
            h = f(x)
        np.testing.assert_allclose(forward.jvp(h), right, rtol=3e-7)


def test_forward_mode_inside_of_a_graph_is_refused() -> None:
    @tf.function(autograph=False)
    def inside(x: Any) -> Any:
        with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as forward:
            h = rtf.elu(x)
        return forward.jvp(h)

    with pytest.raises(LookupError) as refused:
        inside(tf.ones(2))
    assert str(refused.value) == (
        "Gradient explicitly disabled. Reason: b'elu: `x` must be differentiated where TensorFlow sees "
        "tf.custom_gradient; got tf.autodiff.ForwardAccumulator inside of tf.function, or a gradient through "
        "tf.vectorized_map. Use tf.GradientTape, inside of what is mapped.'"
    )


def test_hessians() -> None:
    x = tf.constant([-0.7, 0.4, 1.9])

    def hessian(x: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(rtf.elu(x)) * tf.reduce_sum(rtf.relu(x - 0.5))
            gradient = inner.gradient(loss, x)
        return outer.jacobian(gradient, x)

    found = tf.function(hessian, autograph=False)(x).numpy()
    np.testing.assert_allclose(found, found.T, rtol=1e-5, atol=1e-6)
    step = 1e-2
    for i in range(3):
        ends = []
        for by in (-step, step):
            z = tf.Variable(x)
            z[i].assign(x[i] + by)
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(rtf.elu(z)) * tf.reduce_sum(rtf.relu(z - 0.5))
            ends.append(tape.gradient(loss, z).numpy())
        np.testing.assert_allclose(found[i], (ends[1] - ends[0]) / (2 * step), rtol=5e-3, atol=5e-3)


# Kinks, NaN, ∞ -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_zero", [0.0, 0.25, 1.0, np.array([0.5, 0.25])], ids=str)
def test_relu_at_zero(at_zero: Any) -> None:
    x = tf.constant([[-1.0, 0.0], [-0.0, 2.0]])
    there = np.broadcast_to(at_zero, 2)
    (slope,) = derivatives(lambda z: rtf.relu(z, at_zero=at_zero), x)
    assert slope.numpy().tolist() == [[0.0, there[1]], [there[0], 1.0]]


@pytest.mark.parametrize("way", ["eager", "XLA"])
def test_conventions_at_the_kinks(way: str) -> None:
    x = np.array([0.0, -0.0, 6.0], np.float32)
    found = WAYS[way](lambda x: [derivatives(bound(name), x)[0] for name in NAMES])(tf.constant(x))
    for name, slope in zip(NAMES, found, strict=True):
        right = FUNCTIONS[name].derivative(x, **REQUIRED.get(name, {}))
        np.testing.assert_allclose(slope, right, rtol=2e-7, err_msg=name)


def vjp(f: Any, x: Any, dh: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        h = f(x)
    return tape.gradient(h, x, dh).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_let_through_by_a_gate_and_nan_otherwise(name: str) -> None:
    x = tf.constant([np.nan, 1.0])
    assert np.isnan(bound(name)(x).numpy()[0])
    dz = vjp(bound(name), x, tf.constant([7.0, 7.0]))
    assert dz[0] == 7.0 if name in GATED else np.isnan(dz[0])


@pytest.mark.parametrize("name", ["relu", "relu6", "squared_relu", "abs", "leaky_relu"])
def test_a_slope_of_zero_stops_an_infinite_gradient(name: str) -> None:
    given = {"negative_slope": 0.0} if name == "leaky_relu" else {}
    x = tf.constant([-1.0, 0.0] if name != "abs" else [0.0, -0.0])
    assert vjp(bound(name, **given), x, tf.constant([np.inf, np.inf])).tolist() == [0.0, 0.0]


def test_a_ceiling_that_the_dtype_does_not_hold() -> None:
    """2.7 is 2.703125 in bfloat16, and that 2.7 or less is below the ceiling the output does not tell."""
    x = tf.constant([2.6875, 2.703125, 3.0], tf.bfloat16)
    assert vjp(lambda z: rtf.relu6(z, ceiling=2.7), x, tf.ones_like(x)).tolist() == [1.0, 0.0, 0.0]
    x = tf.constant([1.296875, 1.3046875], tf.bfloat16)
    assert rtf.relu6(x, ceiling=1.3).numpy().tolist() == [1.296875, 1.296875]
    assert vjp(lambda z: rtf.relu6(z, ceiling=1.3), x, tf.ones_like(x)).tolist() == [1.0, 0.0]


def test_16_bit_gradients_are_formed_in_float32_and_rounded_once() -> None:
    z, dh = tf.fill(8, tf.constant(-11.0, tf.float16)), tf.fill(8, tf.constant(4096.0, tf.float16))
    assert float(vjp(rtf.elu, z, dh)[0]) == np.float16(np.exp(-11.0) * 4096)


# Slopes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [None, "output"])
@pytest.mark.parametrize("way", WAYS)
def test_slopes_broadcast_and_have_gradients(way: str, save: str | None) -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(4, 3)).astype(np.float32))
    slopes = [tf.Variable(rng.uniform(0.1, 0.9, shape).astype(np.float32)) for shape in ((), (3,), (4, 1), (2, 1, 1))]

    def gradients(f: Any) -> Any:
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.add_n([tf.reduce_sum(tf.sin(f(x, s))) for s in slopes])
            first = tape.gradient(loss, [x, *slopes])
            joined = tf.add_n([tf.reduce_sum(tf.cos(g)) for g in first])
        return first + outer.gradient(joined, [x, *slopes])

    ours = WAYS[way](lambda: gradients(lambda x, s: rtf.prelu(x, negative_slope=s, save=save)))()
    plain = gradients(lambda x, s: tf.where(x > 0, x, s * x))
    for got, right in zip(ours, plain, strict=True):
        assert got.shape == right.shape
        np.testing.assert_allclose(got, right, rtol=3e-6, atol=2e-6)


def test_the_gradient_of_a_slope_is_summed_in_float32() -> None:
    x = -tf.ones(4096, tf.bfloat16)
    for dtype in (tf.float32, tf.bfloat16):
        s = tf.constant(0.25, dtype)
        ds = vjp(lambda s: tf.cast(rtf.prelu(x, negative_slope=s), tf.float32), s, tf.ones(4096))
        assert ds == -4096


# What is kept --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("relu", {}, False),
        ("relu", {"at_zero": 0.5}, True),
        ("relu6", {}, False),
        ("relu6", {"ceiling": 2.7}, False),
        ("leaky_relu", {}, False),
        ("leaky_relu", {"negative_slope": -1.0}, True),
        ("abs", {}, True),
        ("elu", {}, True),
        ("elu", {"save": "output"}, False),
        ("squared_relu", {"save": "output"}, False),
        ("softplus", {}, False),
        ("softplus", {"beta": 2.0}, True),
    ],
    ids=str,
)
def test_the_input_is_let_go_where_the_output_tells_the_derivative(name: str, given: Any, kept: bool) -> None:
    with tf.GradientTape() as tape:
        source = tf.constant([-1.0, 2.0])
        tape.watch(source)
        z = source + 0.0
        h = bound(name, **given)(z)
    alive = weakref.ref(z)
    del z
    gc.collect()
    assert (alive() is not None) == kept
    assert tape.gradient(h, source) is not None
