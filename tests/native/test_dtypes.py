"""Which loops there are: integers, promotion, refusals."""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from rectifier import _native

INTEGERS = "bBhHiIlLqQ"


@pytest.mark.parametrize("code", INTEGERS)
def test_integers_stay_integers(code):
    info = np.iinfo(code)
    x = np.array([info.min, info.min + 1, 0, 1, 5, 6, 7, 100, info.max], code)
    x = np.concatenate([x, x[::-1]] * 9)
    for isa in _native.supported_isas():
        _native.use_isa(isa)
        for view in (x, x[::2], x[::-1], x[:3]):
            assert _native.relu(view).dtype == x.dtype
            assert np.array_equal(_native.relu(view), np.maximum(view, x.dtype.type(0)))
            assert _native.abs(view).dtype == x.dtype
            assert np.array_equal(_native.abs(view), np.abs(view))
            ceiling = x.dtype.type(6)
            assert _native.relu6(view, ceiling).dtype == x.dtype
            assert np.array_equal(_native.relu6(view, ceiling), np.clip(view, x.dtype.type(0), ceiling))
        each = np.resize(np.arange(9), len(x)).astype(code)
        assert np.array_equal(_native.relu6(x, each), np.minimum(np.maximum(x, x.dtype.type(0)), each))


def test_abs_of_the_smallest_integer_wraps():
    for code in "bhilq":
        smallest = np.full(40, np.iinfo(code).min, code)
        assert np.array_equal(_native.abs(smallest), smallest)


ONE_INPUT = [
    "squared_relu",
    "selu",
    "sigmoid",
    "tanh",
    "threshold",
    "abs_derivative",
    "selu_derivative",
    "selu_inverse",
]
TWO_INPUTS = ["leaky_relu", "elu", "celu", "softplus", "relu_derivative", "relu6_derivative", "elu_inverse"]


@pytest.mark.parametrize("code", INTEGERS + "?")
def test_other_functions_promote_as_exp_does(code):
    x = np.array([1, 0, 1], code)
    want = np.exp(x).dtype
    for name in ONE_INPUT:
        assert getattr(_native, name)(x).dtype == want, name
    parameter = np.float64(1) if want == np.float64 else np.float32(1)
    for name in TWO_INPUTS:
        assert getattr(_native, name)(x, parameter).dtype == want, name


def test_bool_promotes_in_the_integer_functions_too():
    x = np.array([True, False])
    assert _native.relu(x).dtype == np.float16
    assert _native.abs(x).dtype == np.float16
    assert _native.relu6(x, np.float32(6)).dtype == np.float16


@pytest.mark.parametrize("code", "gFDG")
def test_longdouble_and_complex_are_refused(code):
    x = np.zeros(3, code)
    for name in ONE_INPUT + ["relu", "abs"]:
        with pytest.raises(TypeError):
            getattr(_native, name)(x)
    for name in TWO_INPUTS + ["relu6"]:
        with pytest.raises(TypeError):
            getattr(_native, name)(x, np.float32(1))


def test_bfloat16_stays_and_takes_a_float32_parameter():
    x = np.array([-1, 0, 1], ml_dtypes.bfloat16)
    for name in ONE_INPUT + ["relu", "abs"]:
        assert getattr(_native, name)(x).dtype == ml_dtypes.bfloat16
    for name in TWO_INPUTS + ["relu6"]:
        assert getattr(_native, name)(x, np.float32(1)).dtype == ml_dtypes.bfloat16
    # 0.3 rounded to bfloat16 first would give 0.30078125 * 1.0.
    assert _native.leaky_relu(np.array([-100], ml_dtypes.bfloat16), np.float32(0.3))[0] == -30


def test_register_bfloat16_says_what_it_takes():
    _native.register_bfloat16(np.dtype(ml_dtypes.bfloat16))
    with pytest.raises(TypeError, match="must be ml_dtypes' bfloat16; got <class 'numpy.float32'>"):
        _native.register_bfloat16(np.float32)


def test_byte_order_and_casting_of_out():
    swapped = np.array([-1.0, 2.0], ">f4")
    result = _native.relu(swapped)
    assert result.tolist() == [0.0, 2.0]
    assert result.dtype.isnative
    out = np.zeros(2, np.float64)
    _native.relu(swapped, out=out)
    assert out.tolist() == [0.0, 2.0]
    narrow = np.zeros(2, np.float16)
    _native.relu(swapped, out=narrow)
    assert narrow.tolist() == [0.0, 2.0]
    masked = np.full(2, 7.0)
    _native.relu(np.array([-1.0, 2.0]), out=masked, where=[True, False])
    assert masked.tolist() == [0.0, 7.0]


def test_a_module_imported_anew_has_the_loops_of_bfloat16():
    script = (
        "import sys, numpy as np, ml_dtypes, rectifier\n"
        "for name in [name for name in sys.modules if name.startswith('rectifier')]:\n"
        "    del sys.modules[name]\n"
        "import rectifier\n"
        "print(rectifier.elu(np.ones(3, ml_dtypes.bfloat16)).dtype)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "bfloat16\n"
