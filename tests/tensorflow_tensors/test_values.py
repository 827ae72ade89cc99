"""Values and derivatives against the reference, eager, in graphs and compiled; dtypes, shapes, integers, parameters."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import rectifier
import rectifier.tensorflow as rtf
from benchmarks.accuracy import NAMES as JUDGED
from benchmarks.accuracy import judge, plan
from benchmarks.tensorflow_accuracy import compiling
from rectifier._functions import FUNCTIONS
from tests.tensorflow_tensors.shared import NAMES, OTHER, REQUIRED, SPECIAL, WAYS, bound, derivatives

ULP = 2.0  # the bar of compiled frameworks
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


def sample(dtype: Any) -> Any:
    spread = np.linspace(-25.0, 25.0, 505)
    return np.concatenate([spread, spread * 1e-3, SPECIAL]).astype(dtype)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("name", JUDGED)
def test_float32_is_within_two_ulp(name: str, xla: bool) -> None:
    for case in plan(30_000, (name,), ("float32",)):
        if not case.default and (xla or case.label.split()[1] not in ("0.1", "2.5", "3.3", "0.3")):
            continue  # the benchmark has them all
        found = judge(case, compiling(xla))
        assert found["judged"] > 25_000
        assert found["worst"] <= ULP, found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "softplus"])
def test_other_dtypes_are_within_two_ulp(name: str, dtype: str) -> None:
    for case in plan(10_000, (name,), (dtype,)):
        if case.default:
            found = judge(case, compiling(False))
            assert found["judged"] > 8_000
            assert found["worst"] <= (0.501 if case.kind == "value" and dtype != "float64" else ULP), found


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_eager_is_near_numpy_with_the_same_signs_and_nans(name: str, dtype: Any) -> None:
    x = sample(dtype)
    near = {"rtol": 1.5 * float(ml_dtypes.finfo(dtype).eps), "atol": 1e-37}
    for given in (REQUIRED.get(name, {}), OTHER.get(name, {})):
        with np.errstate(all="ignore"):
            right, slope = FUNCTIONS[name](x, **given), FUNCTIONS[name].derivative(x, **given)
        got = getattr(rectifier, name)(tf.constant(x), **given)
        assert tf.is_tensor(got) and got.dtype.as_numpy_dtype == dtype
        wide, number = got.numpy().astype(np.float64), ~np.isnan(x)
        np.testing.assert_allclose(wide, right.astype(np.float64), **near)
        assert np.array_equal(np.signbit(wide)[number], np.signbit(right.astype(np.float64))[number])
        (found,) = derivatives(bound(name, **given), tf.constant(x))
        np.testing.assert_allclose(found.numpy()[number].astype(np.float64), slope[number].astype(np.float64), **near)


@pytest.mark.parametrize("way", ["graph", "XLA"])
def test_signs_and_nans_in_graphs_are_numpys(way: str) -> None:
    x = np.array(SPECIAL, np.float32)
    made = WAYS[way](lambda z: [bound(name)(z) for name in NAMES])(tf.constant(x))
    for name, got in zip(NAMES, made, strict=True):
        with np.errstate(all="ignore"):
            right = FUNCTIONS[name](x, **REQUIRED.get(name, {}))
        assert np.array_equal(np.isnan(got), np.isnan(right))
        assert np.array_equal(np.signbit(got)[:-1], np.signbit(right)[:-1]), name


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_derivatives_do_not_cancel_in_the_tail(name: str) -> None:
    z = tf.constant([-20.0])
    right = (1.7580993408473766 if name == "selu" else 1.0) * np.exp(-20.0)
    np.testing.assert_allclose(derivatives(bound(name), z)[0], [right], rtol=2e-7)
    # What is asked for by name: from the output, which is −α there.
    assert derivatives(bound(name, save="output"), z)[0].numpy()[0] != pytest.approx(right, rel=1e-2)


# Integers, bool, shapes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers_stay_integers(dtype: str) -> None:
    values = np.array([0, 1, 5, 6, 7, 100] + ([-1, -6, -100, -128] if dtype[0] == "i" else []), dtype)
    for name in ("relu", "abs", "relu6"):
        h = getattr(rtf, name)(tf.constant(values))
        assert h.dtype.name == dtype
        assert np.array_equal(h, FUNCTIONS[name](values))
    assert rtf.elu(tf.constant(values)).dtype == tf.float32


def test_whole_ceilings_of_integers() -> None:
    x = tf.constant([-3, 5, 127], tf.int8)
    ceilings: list[tuple[Any, list[int]]] = [
        (4, [0, 4, 4]),
        (4.0, [0, 4, 4]),
        (300, [0, 5, 127]),
        (1e300, [0, 5, 127]),
        (2**80, [0, 5, 127]),
        (np.array([4.0, 2.0, 3.0]), [0, 2, 3]),
        (tf.constant([4, 2, 3]), [0, 2, 3]),
    ]
    for ceiling, right in ceilings:
        h = rtf.relu6(x, ceiling=ceiling)
        assert h.dtype == tf.int8 and h.numpy().tolist() == right
    half = rtf.relu6(x, ceiling=2.5)
    assert half.dtype == tf.float32 and half.numpy().tolist() == [0.0, 2.5, 2.5]
    far = tf.constant([2**53 + 1, -(2**53) - 1], tf.int64)
    assert rtf.relu(far).numpy().tolist() == [2**53 + 1, 0]
    assert rtf.relu6(far, ceiling=2**53 - 1).numpy().tolist() == [2**53 - 1, 0]


def test_bool_and_python_numbers_become_float32() -> None:
    for name in NAMES:
        assert bound(name)(tf.constant([True])).dtype == bound(name)(2.0).dtype == tf.float32


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4, 5)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    for name in NAMES:
        assert bound(name)(x).shape == derivatives(bound(name), x)[0].shape == shape


@pytest.mark.parametrize("spec", [[None, None], [None, 3], None], ids=str)
def test_shapes_that_are_not_known_while_tracing(spec: Any) -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    slope = tf.constant([0.1, 0.2, 0.3])

    def all_(x: Any) -> Any:
        made = [bound(name)(x) for name in NAMES] + [rtf.prelu(x, negative_slope=slope)]
        assert all(h.shape.rank == x.shape.rank for h in made[:-1])
        return made + [derivatives(lambda x: rtf.prelu(x, negative_slope=slope), x)[0], derivatives(rtf.elu, x)[0]]

    traced = tf.function(all_, input_signature=[tf.TensorSpec(spec)], autograph=False)(x)
    for got, right in zip(traced, all_(x), strict=True):
        np.testing.assert_allclose(got, right, rtol=3e-7)


# Parameters ----------------------------------------------------------------------------------------------------------


def test_parameters_may_be_tensors_and_numpys() -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))
    rows = (("leaky_relu", "negative_slope"), ("elu", "alpha"), ("celu", "alpha"), ("softplus", "beta"))
    for name, parameter in (*rows, ("relu6", "ceiling")):
        values = [0.1, 0.5, 2.0]
        f = getattr(rtf, name)
        right = tf.stack([f(x[:, i], **{parameter: value}) for i, value in enumerate(values)], 1)
        for given in (np.array(values), tf.constant(values), tf.Variable(values), values):
            np.testing.assert_allclose(f(x, **{parameter: given}), right, rtol=3e-7)
        grown = f(x[:1], **{parameter: tf.fill((5, 1), 0.5)})
        assert grown.shape == (5, 3)


def test_the_result_has_the_dtype_of_x_whatever_the_parameter_has() -> None:
    x = tf.ones(3, tf.bfloat16)
    for slope in (np.float64(0.3), np.full(3, 0.3), tf.fill(3, 0.3), tf.constant(0.3, tf.float64)):
        assert rtf.leaky_relu(x, negative_slope=slope).dtype == tf.bfloat16


@pytest.mark.parametrize("slope", [0.0, np.zeros(2), tf.constant(0.0)], ids=["number", "numpy", "tensor"])
def test_slope_zero_at_minus_infinity_is_zero(slope: Any) -> None:
    h = rtf.leaky_relu(tf.constant([-np.inf, 1.0]), negative_slope=slope)
    assert h[0] == 0 and np.signbit(h[0])


def test_what_stands_for_a_tensor_is_one() -> None:
    import keras

    x = np.array([-1.0, 2.0], np.float32)
    assert type(rectifier.relu(x)) is np.ndarray
    for given in (tf.constant(x), tf.Variable(x)):
        h = rectifier.relu(given)
        assert tf.is_tensor(h) and h.numpy().tolist() == [0.0, 2.0]
    assert tf.is_tensor(rtf.relu(x))  # asked for by name
    if keras.backend.backend() == "tensorflow":
        assert rectifier.relu(keras.Variable(x)).numpy().tolist() == [0.0, 2.0]
    # Beside an x of NumPy the gradient of a slope of TensorFlow would be lost.
    with pytest.raises(rectifier.RectifierTypeError, match="got one of TensorFlow"):
        rectifier.leaky_relu(x, negative_slope=tf.constant(0.5))


@pytest.mark.parametrize("way", WAYS)
def test_what_tensorflow_does_to_subnormal_numbers_is_as_the_docs_say(way: str) -> None:
    """On the CPU; should it change, docs/frameworks.md has to."""
    x = tf.constant([1e-40, -1e-40])
    curved, slope, tail, kept = WAYS[way](
        lambda x: (rtf.elu(x) * 1.5, derivatives(rtf.relu, x)[0], rtf.softplus(x - 90.0), rtf.relu(x))
    )(x)
    assert curved.numpy().tolist() == slope.numpy().tolist() == tail.numpy().tolist() == [0.0, 0.0]
    assert np.signbit(curved).tolist() == [False, True]
    # What is only chosen is handed on, but for XLA.
    assert kept.numpy()[0] == (0.0 if way == "XLA" else x.numpy()[0])
