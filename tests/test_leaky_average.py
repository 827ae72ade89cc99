"""The leaky average: its bits, its axes, its edges."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import rectifier
from rectifier import RectifierTypeError, RectifierValueError, _native, leaky_average


def by_steps(v, alpha, initial=0.0):
    """In float64, time last, each step rounded by NumPy."""
    alpha, mu = np.float64(alpha), np.broadcast_to(np.float64(initial), v.shape[:-1])
    out = np.empty(v.shape, np.float64)
    for t in range(v.shape[-1]):
        mu = alpha * mu + (1 - alpha) * v[..., t].astype(np.float64)
        out[..., t] = mu
    return out.astype(v.dtype)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1,), 0), ((70,), -1), ((3, 7, 20), 1), ((3, 100, 5), 1), ((200, 40), 1), ((2, 33, 17), 2), ((100, 5, 3), 0)],
)
def test_every_step_is_the_float64_sum_rounded_once(dtype, shape, axis):
    generator = np.random.default_rng(0)
    v = generator.normal(size=shape).astype(dtype)
    series = v.shape[: axis % v.ndim] + v.shape[axis % v.ndim + 1 :]
    wide = np.float64 if dtype == np.float64 else np.float32
    alpha, initial = generator.uniform(size=series).astype(wide), generator.normal(size=series).astype(wide)
    wanted = np.moveaxis(by_steps(np.moveaxis(v, axis, -1), alpha, initial), -1, axis)
    got = leaky_average(v, alpha, axis=axis, initial=initial)
    assert got.dtype == v.dtype
    np.testing.assert_array_equal(got, wanted)


def test_the_bits_depend_on_the_values_alone():
    v = np.random.default_rng(1).normal(size=(40, 300, 70)).astype(np.float32)
    alpha = np.linspace(0, 1, 70, dtype=np.float32)
    wanted = leaky_average(v, alpha, axis=1)
    isa, threads = _native.isa(), _native.threads()
    try:
        for name, n in itertools.product(_native.supported_isas(), (1, 3)):
            _native.use_isa(name)
            _native.set_threads(n)
            assert leaky_average(v, alpha, axis=1).tobytes() == wanted.tobytes()
    finally:
        _native.use_isa(isa)
        _native.set_threads(threads)
    for unit in (0, 7, 69):  # alone, from memory that lies otherwise, at an odd address
        odd = np.empty(300 * 4 + 1, np.uint8)[1:].view(np.float32)
        odd[:] = v[3, :, unit]
        np.testing.assert_array_equal(leaky_average(odd, alpha[unit]), wanted[3, :, unit])
    np.testing.assert_array_equal(leaky_average(np.asfortranarray(v), alpha, axis=1), wanted)
    np.testing.assert_array_equal(leaky_average(v[:, ::-1, ::2], alpha[::2], axis=1).shape, (40, 300, 35))


def test_it_is_the_sum_of_its_definition():
    """Against exact arithmetic: the error is that of the last rounding, and a hair."""
    v = np.random.default_rng(2).integers(-8, 9, 60).astype(np.float32)
    alpha = Fraction(3, 4)
    mu, exact = Fraction(0), []
    for value in v:
        mu = alpha * mu + (1 - alpha) * Fraction(int(value))
        exact.append(mu)
    for got, wanted in zip(leaky_average(v, 0.75), exact, strict=True):
        assert abs(Fraction(float(got)) - wanted) <= Fraction(float(np.spacing(abs(got)))) * Fraction(51, 100)


def test_memory_is_as_long_as_it_says():
    impulse = np.zeros(200)
    impulse[0] = 1.0
    response = leaky_average(impulse, 0.9)
    np.testing.assert_allclose(response, 0.1 * 0.9 ** np.arange(200), rtol=1e-13)
    assert np.arange(200) @ response == pytest.approx(0.9 / 0.1, rel=1e-6)


def test_shares_of_0_and_1_keep_nothing_and_everything():
    v = np.array([1.0, np.inf, -2.0, np.nan, 3.0])
    np.testing.assert_array_equal(leaky_average(v, 0.0), v)
    np.testing.assert_array_equal(leaky_average(v, 1.0, initial=4.0), np.full(5, 4.0))
    np.testing.assert_array_equal(leaky_average(v, 0.5), [0.5, np.inf, np.inf, np.nan, np.nan])


def test_no_flags_are_raised_but_true_ones():
    with np.errstate(all="raise"):
        leaky_average(np.array([np.nan, 1.0, np.inf], np.float32), 0.3)
        leaky_average(np.full((3, 5), 1e-20, np.float32), 0.5)
    for n in (1, 3, 9):  # lanes beside the last series stay silent
        with np.errstate(all="raise"):
            leaky_average(np.ones((n, 2000), np.float64), 0.5)


def test_in_place_and_into_an_array():
    v = np.random.default_rng(3).normal(size=(6, 50, 4)).astype(np.float32)
    wanted = leaky_average(v, 0.8, axis=1)
    out = np.empty((6, 4, 50), np.float32).transpose(0, 2, 1)
    assert leaky_average(v, 0.8, axis=1, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    big = np.random.default_rng(4).normal(size=(201, 50, 4)).astype(np.float32)
    overlapping = leaky_average(big[:-1].copy(), 0.8, axis=1)
    leaky_average(big[:-1], 0.8, axis=1, out=big[1:])
    np.testing.assert_array_equal(big[1:], overlapping)
    assert leaky_average(v, 0.8, axis=1, out=v) is v
    np.testing.assert_array_equal(v, wanted)


def test_integers_promote_and_empty_stays_empty():
    assert leaky_average(np.array([4, 8], np.int8), 0.5).dtype == np.float16
    np.testing.assert_array_equal(leaky_average([True, False], 0.5), np.array([0.5, 0.25], np.float16))
    assert leaky_average(np.empty((3, 0), np.float32), 0.5).shape == (3, 0)
    assert leaky_average(np.empty((0, 3), np.float32), 0.5).shape == (0, 3)


@pytest.mark.parametrize(
    ("error", "message", "arguments", "keywords"),
    [
        (
            RectifierValueError,
            "leaky_average: `alpha` must lie in [0, 1]; got 1.5. Pass a number such as 0.9.",
            ([1.0], 1.5),
            {},
        ),
        (
            RectifierValueError,
            "leaky_average: `alpha` must lie in [0, 1]; got nan. Pass a number such as 0.9.",
            ([1.0], math.nan),
            {},
        ),
        (
            RectifierTypeError,
            "leaky_average: `alpha` must be a number or an array of numbers; got '0.9'. Pass a number such as 0.9.",
            ([1.0], "0.9"),
            {},
        ),
        (
            RectifierValueError,
            "leaky_average: `alpha` must broadcast with v without its axis of time, (2,); got shape (3,). "
            "Give it one value a series, or a single number.",
            (np.ones((2, 3)), np.full(3, 0.5)),
            {},
        ),
        (
            RectifierValueError,
            "leaky_average: `initial` must be finite; got inf. Pass a number such as 0.01.",
            ([1.0], 0.5),
            {"initial": math.inf},
        ),
        (
            RectifierValueError,
            "leaky_average: `axis` must lie in [-1, 0] for v with 1 axes; got 1. Pass the axis of time, such as -1.",
            ([1.0], 0.5),
            {"axis": 1},
        ),
        (
            RectifierTypeError,
            "leaky_average: `axis` must be a whole number; got 0.5. Pass the axis of time, such as -1.",
            ([1.0], 0.5),
            {"axis": 0.5},
        ),
        (
            RectifierValueError,
            "leaky_average: `v` must have an axis of time; got a single number. Pass an array of steps.",
            (1.0, 0.5),
            {},
        ),
        (
            RectifierValueError,
            "leaky_average: `out` must be a writeable array of float64 and shape (1,); got float32 of shape (1,). "
            "Pass np.empty_like(v).",
            ([1.0], 0.5),
            {"out": np.empty(1, np.float32)},
        ),
    ],
)
def test_what_cannot_be_used_is_refused(error, message, arguments, keywords):
    with pytest.raises(error) as caught:
        rectifier.leaky_average(*arguments, **keywords)
    assert str(caught.value) == message


def test_complex_numbers_are_refused():
    with pytest.raises(RectifierTypeError) as caught:
        leaky_average(np.array([1j]), 0.5)
    assert str(caught.value) == (
        "leaky_average: `v` must hold float16, bfloat16, float32, float64, integers or bool; got complex128. "
        "Apply it to v.real and v.imag, or to numpy.abs(v)."
    )
