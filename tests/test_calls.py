"""The common calls, which go to the ufunc at once: what is remembered, and what must be checked anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rectifier
from rectifier import RectifierError, RectifierTypeError, RectifierValueError
from rectifier._functions import FUNCTIONS, MOST_NUMBERS

X = np.linspace(-3, 7, 23)
PARAMETERS = {"leaky_relu": "negative_slope", "relu6": "ceiling", "elu": "alpha", "celu": "alpha", "softplus": "beta"}


def at_length(function: Any, x: np.ndarray[Any, Any], **parameters: Any) -> Any:
    """The same result by the long way, which a mask takes."""
    return function(x, where=np.ones(x.shape, bool), out=np.empty_like(x), **parameters)


def same(a: Any, b: Any) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_both_ways_give_the_same_bits(name: str, dtype: str) -> None:
    x = X.astype(dtype)
    wide = np.float64 if dtype == "float64" else np.float32
    values = (0.3, 0.3, 2, 1e-3, np.float32(0.3), np.float64(0.3), np.array(0.3, wide), np.linspace(0.1, 5, 23))
    functions = [FUNCTIONS[name], FUNCTIONS[name].derivative]
    if FUNCTIONS[name].row.inverse:
        functions.append(FUNCTIONS[name].inverse)
    for function in functions:
        assert same(function(x), at_length(function, x))
        for value in (*values, np.linspace(0.1, 5, 23).astype(wide)):
            given = {PARAMETERS[name]: value}
            want = at_length(function, x, **given)
            for _ in range(2):
                out = np.empty_like(x)
                assert same(function(x, **given), want), value
                assert function(x, out=out, **given) is out
                assert same(out, want), value


def test_a_number_is_known_by_its_type_too() -> None:
    assert rectifier.elu(X, alpha=1.0).size
    for value in (True, np.True_):
        with pytest.raises(RectifierTypeError, match="must be a number"):
            rectifier.elu(X, alpha=value)
    for value in (float("nan"), float("inf"), -1.0, 0.0, -0.0, 0):
        for _ in range(2):
            with pytest.raises(RectifierValueError, match="greater than 0"):
                rectifier.elu(X, alpha=value)


def test_zeros_of_either_sign_are_told_apart_by_every_function() -> None:
    x = np.array([-1.0, -2.0])
    for slope in (0.0, -0.0, 0, -0.0, 0.0):
        negative = not np.signbit(float(slope))
        assert np.signbit(rectifier.leaky_relu(x, negative_slope=slope)).tolist() == [negative] * 2
        assert np.signbit(rectifier.leaky_relu.derivative(x, negative_slope=slope)).tolist() == [not negative] * 2


def test_a_number_is_remembered_for_one_function_alone() -> None:
    assert rectifier.leaky_relu(X, negative_slope=-0.5).size
    assert rectifier.leaky_relu.derivative(X, negative_slope=-0.5).size
    with pytest.raises(RectifierValueError, match=r"leaky_relu\.inverse: .* one to one; got -0\.5"):
        rectifier.leaky_relu.inverse(X, negative_slope=-0.5)
    assert rectifier.leaky_relu(X, negative_slope=1e39).size
    with pytest.raises(RectifierValueError, match="must be finite in float32"):
        rectifier.leaky_relu(X.astype(np.float32), negative_slope=1e39)


def test_a_number_is_as_exact_as_the_dtype_of_x_asks() -> None:
    for dtype in ("float32", "float64", "float32"):
        x = np.array([-1.0], dtype)
        assert rectifier.leaky_relu(x, negative_slope=0.1)[0] == -x.dtype.type(0.1)


def test_no_more_numbers_are_remembered_than_told() -> None:
    x = np.array([-1.0])
    for i in range(1, 2 * MOST_NUMBERS):
        assert rectifier.leaky_relu(x, negative_slope=i / 7)[0] == -i / 7
    assert len(rectifier.leaky_relu._value._numbers[x.dtype]) <= MOST_NUMBERS
    assert rectifier.leaky_relu(x)[0] == -0.01


def test_whole_numbers_stay_exact_beside_integers() -> None:
    assert rectifier.relu6(np.array([2.0**60]), ceiling=2**53 + 1)[0] == 2.0**53
    assert rectifier.relu6(np.array([2**60]), ceiling=2**53 + 1)[0] == 2**53 + 1
    assert rectifier.relu6(np.array([9]), ceiling=5.0).tolist() == [5]
    assert rectifier.relu(np.array([-1, 2], np.int8)).dtype == np.int8
    assert rectifier.abs(np.array([1, 2], np.uint16)).dtype == np.uint16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_is_looked_at_every_time_and_everywhere(dtype: str) -> None:
    x, slopes = X.astype(dtype), np.full(23, 0.5, dtype)
    for place in range(23):
        assert rectifier.leaky_relu(x, negative_slope=slopes).size
        for bad in (np.nan, np.inf, -np.inf):
            slopes[place] = bad
            with pytest.raises(RectifierValueError, match=f"must be finite; got {bad}"):
                rectifier.leaky_relu(x, negative_slope=slopes)
        slopes[place] = 0.5
        for function, rule in ((rectifier.elu, "greater than 0"), (rectifier.elu.inverse, "greater than 0")):
            slopes[place] = -0.0
            with pytest.raises(RectifierValueError, match=rule):
                function(x, alpha=slopes)
            slopes[place] = np.finfo(dtype).smallest_subnormal
            assert function(x, alpha=slopes).size
            slopes[place] = 0.5
    shares = np.full(23, 1.0, dtype)
    assert rectifier.relu.derivative(x, at_zero=shares).size
    shares[7] = np.nextafter(shares[7], 2)
    with pytest.raises(RectifierValueError, match=r"must lie in \[0, 1\]"):
        rectifier.relu.derivative(x, at_zero=shares)


def test_arrays_of_every_layout() -> None:
    x = X[:20].reshape(4, 5)
    slopes = np.linspace(0.1, 0.9, 20).reshape(4, 5)
    wide = np.linspace(0.1, 0.9, 40).reshape(4, 10)
    for given in (
        slopes,
        slopes[:, :1],
        slopes[0],
        slopes[::-1],
        wide[:, ::2],
        slopes.T.copy().T,
        slopes.astype(">f8"),
    ):
        assert same(rectifier.leaky_relu(x, negative_slope=given), np.where(x > 0, x, given * x))
    spoiled = wide.copy()
    spoiled[2, 4] = np.nan
    assert rectifier.leaky_relu(x, negative_slope=spoiled[:, 1::2]).shape == (4, 5)
    with pytest.raises(RectifierValueError, match="must be finite; got nan"):
        rectifier.leaky_relu(x, negative_slope=spoiled[:, ::2])


def test_out_may_be_x_or_the_parameter_or_overlap_them() -> None:
    slopes = np.linspace(0.1, 0.9, 23)
    want = rectifier.leaky_relu(X, negative_slope=slopes)
    in_place, both = X.copy(), slopes.copy()
    assert same(rectifier.leaky_relu(in_place, negative_slope=slopes, out=in_place), want)
    assert same(rectifier.leaky_relu(X, negative_slope=both, out=both), want)
    longer = np.append(slopes, 0.5)
    assert same(rectifier.leaky_relu(X, negative_slope=longer[:-1], out=longer[1:]), want)


def test_subclasses_keep_their_class() -> None:
    class Mine(np.ndarray):  # type: ignore[type-arg]
        pass

    mine = X.view(Mine)
    assert type(rectifier.leaky_relu(mine, negative_slope=0.2)) is Mine
    assert type(rectifier.elu.derivative(mine)) is Mine
    masked = rectifier.relu(np.ma.masked_less(X, 0))
    assert isinstance(masked, np.ma.MaskedArray)


def test_what_the_ufunc_refuses_is_told_in_words() -> None:
    calls: list[tuple[Any, str]] = [
        (lambda: rectifier.leaky_relu(X, negative_slope=0.2, out=np.empty(3)), "leaky_relu: `out` must have the shape"),
        (lambda: rectifier.elu.derivative(X, out=np.empty(23, int)), "elu.derivative: `out` must be of a dtype"),
        (lambda: rectifier.leaky_relu(X, negative_slope=np.ones(4)), "leaky_relu: `negative_slope` must broadcast"),
        (lambda: rectifier.leaky_relu(X, negative_slope=0.2, alpha=1.0), "leaky_relu: `alpha` is not a parameter"),
        (lambda: rectifier.relu(X, out=np.broadcast_to(0.0, 23)), "relu: `out` must be writeable"),
        (lambda: rectifier.relu(X, out=(np.empty(23), 1)), "relu: `out` must be an array; got tuple"),
    ]
    for call, start in calls:
        with pytest.raises((RectifierError, ValueError)) as caught:
            call()
        assert start in str(caught.value)
        # NumPy's own refusal would only distract.
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_floating_point_errors_are_raised_once_and_as_they_are() -> None:
    large = np.full(20, -1e300)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        rectifier.leaky_relu(large, negative_slope=1e300)
    with pytest.warns(RuntimeWarning, match="overflow"):
        rectifier.leaky_relu(large, negative_slope=1e300)
