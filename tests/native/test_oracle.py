"""The oracle itself: values known from elsewhere, its rounding, its errors."""

import math
import sys

import ml_dtypes
import numpy as np
import pytest

from rectifier import oracle
from rectifier.errors import RectifierTypeError, RectifierValueError


def test_values_known_from_elsewhere():
    x = np.linspace(-20, 20, 401)
    for name, formula in {"tanh": math.tanh, "elu": lambda v: v if v > 0 else math.expm1(v)}.items():
        # The C library is within an ulp.
        assert oracle.value(name, x, np.float64) == pytest.approx([formula(v) for v in x], rel=3e-16, abs=0), name
    assert oracle.value("softplus", 0.0, np.float64) == math.log(2)
    assert oracle.inverse("softplus", math.log(2), np.float64) == pytest.approx(-2.3190468138462996e-17 * 2, rel=1e-9)
    assert oracle.derivative("sigmoid", 0.0, np.float64) == 0.25


def test_rounds_to_nearest_even_and_into_the_subnormals():
    half = np.float32(0.5)
    # 0.5 * 3 and 0.5 * 5 units of the last place are ties, to even; a parameter is float32 first.
    for dtype, unit in {np.float16: 2.0**-24, ml_dtypes.bfloat16: 2.0**-133, np.float32: 2.0**-149}.items():
        x = np.array([-3, -5, -1], np.float64) * unit
        got = oracle.value("leaky_relu", x, dtype, negative_slope=half)
        assert (got.astype(np.float64) / unit).tolist() == [-2, -2, 0]
        assert np.signbit(got).all()
    assert oracle.value("squared_relu", 60000.0, np.float16) == np.inf
    assert oracle.value("leaky_relu", -1.0, np.float64, negative_slope=0.1) == -0.1
    assert oracle.value("leaky_relu", -1.0, np.float32, negative_slope=0.1) == -np.float32(0.1)


def test_error_in_last_places():
    right = oracle.value("elu", [-1.0], np.float32)
    assert oracle.ulp_error(right, "elu", [-1.0])[0] < 0.5
    assert 0.5 < oracle.ulp_error(np.nextafter(right, np.float32(0)), "elu", [-1.0])[0] < 1.5
    assert oracle.ulp_error(np.float32([np.nan, 1.0, 0.0]), "elu", [-1.0, np.nan, -0.0]).tolist() == [np.inf] * 3
    assert oracle.ulp_error(np.float32([np.inf, np.nan, -0.0]), "elu", [np.inf, np.nan, -0.0]).tolist() == [0] * 3


def test_parameters_broadcast():
    got = oracle.value("leaky_relu", [[-1.0], [-2.0]], np.float64, negative_slope=[0.5, 0.25])
    assert got.tolist() == [[-0.5, -0.25], [-1.0, -0.5]]


def test_errors_say_the_cure(monkeypatch):
    with pytest.raises(RectifierValueError, match=r"oracle: `name` must be one of abs, .*; got 'gelu'. Pass 'elu'."):
        oracle.value("gelu", [1.0], np.float32)
    with pytest.raises(
        RectifierTypeError, match="oracle: value of relu takes no parameter; got `alpha`. Leave it out."
    ):
        oracle.value("relu", [1.0], np.float32, alpha=1.0)
    with pytest.raises(RectifierTypeError, match="`dtype` must be float16, .*; got int64. Pass np.float32."):
        oracle.value("relu", [1.0], np.int64)
    monkeypatch.setitem(sys.modules, "mpmath", None)
    with pytest.raises(oracle.OracleUnavailableError, match="mpmath is not installed.*Run `pip install mpmath`."):
        oracle.value("relu", [1.0], np.float32)
