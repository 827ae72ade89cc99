"""The public functions on NumPy arrays: dtypes, parameters, out=, and every refusal word by word."""

from __future__ import annotations

import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rectifier
from rectifier import RectifierTypeError, RectifierValueError
from rectifier._functions import FUNCTIONS

BF16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype(np.float16), BF16, np.dtype(np.float32), np.dtype(np.float64)]
INTEGERS = [np.dtype(c) for c in "bBhHiIlL"]
REQUIRED = {"prelu": {"negative_slope": 0.25}}


def required(name: str) -> dict[str, float]:
    return REQUIRED.get(name, {})


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_result_has_the_dtype_of_x_and_its_shape(name: str, dtype: np.dtype[Any]) -> None:
    x = np.linspace(-3, 7, 24).reshape(2, 3, 4).astype(dtype)
    function = FUNCTIONS[name]
    for result in (function(x, **required(name)), function.derivative(x, **required(name))):
        assert result.dtype == dtype
        assert result.shape == x.shape
    assert isinstance(function(x[0, 0, 0], **required(name)), np.generic)
    assert function(x[:0], **required(name)).shape == (0, 3, 4)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [*INTEGERS, np.dtype(bool)], ids=str)
def test_integers_keep_their_type_or_promote_as_exp(name: str, dtype: np.dtype[Any]) -> None:
    x = np.array([0, 1, 7, 100]).astype(dtype)
    promoted = np.exp(np.zeros(1, dtype)).dtype
    kept = FUNCTIONS[name].row.integers and dtype.kind in "iu"
    assert FUNCTIONS[name](x, **required(name)).dtype == (dtype if kept else promoted)
    assert FUNCTIONS[name].derivative(x, **required(name)).dtype == promoted
    value = FUNCTIONS[name](x, **required(name)).astype(float)
    exact = FUNCTIONS[name](x.astype(float), **required(name))
    np.testing.assert_allclose(value, exact, rtol=2e-3)


def test_integer_values() -> None:
    x = np.array([-128, -1, 0, 5, 6, 7, 127], np.int8)
    assert rectifier.relu(x).tolist() == [0, 0, 0, 5, 6, 7, 127]
    assert rectifier.relu6(x).tolist() == [0, 0, 0, 5, 6, 6, 6]
    assert rectifier.relu6(x, ceiling=300).tolist() == [0, 0, 0, 5, 6, 7, 127]
    assert rectifier.relu6(x, ceiling=5.5).dtype == np.float16
    assert rectifier.abs(x).tolist() == np.abs(x).tolist()  # the smallest one wraps
    big = np.array([2**64 - 1, 5], np.uint64)
    assert rectifier.relu6(big, ceiling=2.0**63).tolist() == [2**63, 5]
    assert rectifier.relu(big).tolist() == big.tolist()


def test_parameters_are_rounded_before_the_function() -> None:
    x = np.array([-3.0], np.float32)
    exact = Fraction(float(np.float32(0.1))) * Fraction(-3)
    assert rectifier.leaky_relu(x, negative_slope=0.1)[0] == np.float32(float(exact))
    half = np.array([-3.0], np.float16)
    assert rectifier.leaky_relu(half, negative_slope=0.1)[0] == np.float16(float(exact))


def test_array_slopes_broadcast_by_the_rule_of_numpy() -> None:
    x = -np.ones((2, 3), np.float32)
    slopes = np.array([0.1, 0.2, 0.5], np.float64)
    np.testing.assert_array_equal(
        rectifier.leaky_relu(x, negative_slope=slopes), np.tile(-slopes.astype(np.float32), (2, 1))
    )
    np.testing.assert_array_equal(
        rectifier.leaky_relu(x[0], negative_slope=slopes[:, None]), -np.tile(slopes.astype(np.float32)[:, None], 3)
    )
    assert rectifier.prelu(x, negative_slope=slopes).dtype == np.float32


def test_out_where_strides_and_byte_order() -> None:
    x = np.linspace(-2, 2, 9)
    out = np.full(9, 7.0)
    result = rectifier.relu(x, out=out, where=x != 2)
    assert result is out
    assert out[-1] == 7.0 and out[0] == 0.0
    overlapping = np.linspace(-2, 2, 9)
    rectifier.elu(overlapping[:-1], out=overlapping[1:])
    np.testing.assert_array_equal(overlapping[1:], rectifier.elu(x[:-1]))
    big_endian = x.astype(">f4")
    assert rectifier.softplus(big_endian).dtype == np.dtype("=f4")
    np.testing.assert_array_equal(rectifier.softplus(big_endian), rectifier.softplus(x.astype("f4")))
    np.testing.assert_array_equal(rectifier.elu(x[::-2]), rectifier.elu(x)[::-2])
    frozen = x.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(rectifier.relu(frozen), np.maximum(x, 0))
    narrow = np.empty(9, np.float32)
    rectifier.elu(x, out=narrow)
    np.testing.assert_array_equal(narrow, rectifier.elu(x).astype(np.float32))


def test_out_may_be_larger_than_the_result() -> None:
    out = np.full((2, 3), 7.0)
    rectifier.relu(np.array([-1.0, 2.0, 3.0]), out=out, where=[[True], [False]])
    assert out.tolist() == [[0, 2, 3], [7, 7, 7]]
    assert rectifier.relu(np.array([-1.0]), out=(None,)).tolist() == [0]


def test_big_endian_integers_take_an_integer_out() -> None:
    out = np.empty(3, np.int32)
    rectifier.relu6(np.array([-1, 5, 9], ">i4"), out=out)
    assert out.tolist() == [0, 5, 6]


def test_a_zero_slope_keeps_its_sign_whatever_was_called_before() -> None:
    x = np.array([-1.0])
    for slope in (0.0, -0.0, 0.0):
        assert np.signbit(rectifier.leaky_relu(x, negative_slope=slope))[0] == (not np.signbit(slope))


def test_whole_parameters_stay_exact() -> None:
    big = 2**53 + 1
    assert rectifier.relu6(np.array([2**60]), ceiling=big).tolist() == [big]
    assert rectifier.relu6(np.array([2**60]), ceiling=np.array([big])).tolist() == [big]
    assert rectifier.relu6(np.array([100], np.uint8), ceiling=10**30).tolist() == [100]
    assert rectifier.leaky_relu(np.array([-1.0]), negative_slope=10**30).tolist() == [-1e30]


def test_lists_and_python_numbers() -> None:
    assert rectifier.relu([-1.0, 2.0]).tolist() == [0.0, 2.0]
    assert rectifier.relu(-3) == 0 and rectifier.relu(3).dtype == np.int64
    assert isinstance(rectifier.elu(1.0), np.float64)


def test_dask_arrays_stay_lazy_and_agree() -> None:
    da = pytest.importorskip("dask.array")
    x = np.linspace(-4, 4, 1000, dtype=np.float32)
    lazy = rectifier.elu(da.from_array(x, chunks=300), alpha=0.7)
    assert isinstance(lazy, da.Array) and lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(), rectifier.elu(x, alpha=0.7))


def test_dask_arrays_of_unknown_shape_and_lazy_parameters() -> None:
    da = pytest.importorskip("dask.array")
    x = np.linspace(-4, 4, 300).reshape(100, 3)
    lazy = da.from_array(x, chunks=(30, 3))
    chosen = lazy[lazy[:, 0] > -2]
    slopes = np.array([0.1, 0.2, 0.3])
    np.testing.assert_array_equal(
        rectifier.leaky_relu(chosen, negative_slope=slopes).compute(),
        rectifier.leaky_relu(x[x[:, 0] > -2], negative_slope=slopes),
    )
    looked_at: list[int] = []

    def look(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        looked_at.append(block.size)
        return block

    parameter = da.from_array(slopes, chunks=3).map_blocks(look, dtype=np.float64, meta=slopes[:0])
    inverse = rectifier.leaky_relu.inverse(lazy, negative_slope=parameter)
    kept = rectifier.relu6(lazy.astype(int), ceiling=10 * parameter)
    assert not looked_at
    np.testing.assert_array_equal(inverse.compute(), rectifier.leaky_relu.inverse(x, negative_slope=slopes))
    np.testing.assert_array_equal(kept.compute(), rectifier.relu6(x.astype(int), ceiling=10 * slopes))


@pytest.mark.parametrize("name", [row.name for row in rectifier.family.values() if row.inverse])
def test_inverse_undoes_the_function(name: str) -> None:
    z = np.linspace(-4, 20, 401)
    np.testing.assert_allclose(FUNCTIONS[name].inverse(FUNCTIONS[name](z)), z, rtol=1e-12, atol=1e-14)


def test_inverse_outside_the_range_is_nan() -> None:
    assert np.isnan(rectifier.elu.inverse(np.array([-1.5]), alpha=1.0))
    assert np.isnan(rectifier.softplus.inverse(np.array([-1e-9])))
    assert rectifier.elu.inverse(np.array([-1.0])) == -np.inf


def test_conventions_at_the_kinks() -> None:
    zero = np.array([0.0, -0.0])
    assert rectifier.relu.derivative(zero).tolist() == [0, 0]
    assert rectifier.relu.derivative(zero, at_zero=0.5).tolist() == [0.5, 0.5]
    assert rectifier.leaky_relu.derivative(zero, negative_slope=0.2).tolist() == [0.2, 0.2]
    assert rectifier.abs.derivative(zero).tolist() == [0, 0]
    assert rectifier.relu6.derivative(np.array([0.0, 6.0, 5.999])).tolist() == [0, 0, 1]
    assert rectifier.relu6.derivative(np.array([6.0]), ceiling=7).tolist() == [1]
    assert rectifier.elu.derivative(zero, alpha=0.3).tolist() == [0.3, 0.3]
    assert rectifier.celu.derivative(zero, alpha=0.3).tolist() == [1, 1]
    assert rectifier.selu.derivative(zero)[0] == 1.0507009873554805 * 1.6732632423543772
    assert rectifier.softplus.derivative(zero).tolist() == [0.5, 0.5]
    assert rectifier.prelu.slope_derivative(np.array([-2.0, 0.0, 3.0])).tolist() == [-2, 0, 0]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_gives_nan(name: str, dtype: np.dtype[Any]) -> None:
    x = np.full(40, np.nan).astype(dtype)
    assert np.isnan(FUNCTIONS[name](x, **required(name)).astype(float)).all()
    assert np.isnan(FUNCTIONS[name].derivative(x, **required(name)).astype(float)).all()


def test_signed_zero_and_infinities() -> None:
    for name in ("relu", "relu6", "leaky_relu", "elu", "celu", "selu"):
        assert np.signbit(FUNCTIONS[name](np.array([-0.0])))[0], name
    for name in ("abs", "squared_relu"):
        assert not np.signbit(FUNCTIONS[name](np.array([-0.0])))[0], name
    assert not np.signbit(rectifier.relu(np.array([-1.0])))[0]
    infinite = rectifier.leaky_relu(np.array([-np.inf]), negative_slope=0.0)
    assert infinite[0] == 0 and np.signbit(infinite)[0]
    assert rectifier.softplus(np.array([-np.inf, np.inf])).tolist() == [0, np.inf]


REFUSALS: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: rectifier.relu(np.ones(2, complex)),
        RectifierTypeError,
        "relu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got complex128. "
        "Apply it to x.real and x.imag, or to numpy.abs(x).",
    ),
    (
        lambda: rectifier.elu(np.ones(2, np.longdouble)),
        RectifierTypeError,
        f"elu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got {np.dtype(np.longdouble)}. "
        "Convert it with x.astype(numpy.float64).",
    ),
    (
        lambda: rectifier.elu(np.ones(2, object)),
        RectifierTypeError,
        "elu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got object. "
        "Make an array of numbers first, such as numpy.array([1.0, 2.0]).",
    ),
    (
        lambda: rectifier.abs(["one"]),
        RectifierTypeError,
        "abs: `x` must hold float16, bfloat16, float32, float64, integers or bool; got <U3. "
        "Make an array of numbers first, such as numpy.array([1.0, 2.0]).",
    ),
    (
        lambda: rectifier.relu([[1.0], [1.0, 2.0]]),
        RectifierTypeError,
        "relu: `x` must be an array of real numbers; got list that NumPy cannot make one of. "
        "Give every row the same length.",
    ),
    (
        lambda: rectifier.relu(np.ones(3), out=np.empty(4)),
        RectifierValueError,
        "relu: `out` must have the shape of the result, (3,), or one that it broadcasts to; got (4,). "
        "Pass numpy.empty((3,), numpy.float64).",
    ),
    (
        lambda: rectifier.relu(np.ones(3), out=np.empty(3, np.int64)),
        RectifierTypeError,
        "relu: `out` must be of a dtype that float64 casts to within its kind; got int64. Pass an array of float64.",
    ),
    (
        lambda: rectifier.relu(np.ones(3), out=[0.0, 0.0, 0.0]),
        RectifierTypeError,
        "relu: `out` must be an array; got list. Pass numpy.empty((3,), numpy.float64).",
    ),
    (
        lambda: rectifier.relu(np.ones(3), out=np.broadcast_to(0.0, 3)),
        RectifierValueError,
        "relu: `out` must be writeable; got a read-only array. Pass numpy.empty((3,), numpy.float64).",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3), negative_slope=np.nan),
        RectifierValueError,
        "leaky_relu: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3), negative_slope=[0.1, np.inf, 0.2]),
        RectifierValueError,
        "leaky_relu: `negative_slope` must be finite; got inf. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3, np.float32), negative_slope=1e39),
        RectifierValueError,
        "leaky_relu: `negative_slope` must be finite in float32; got 1e+39. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3), negative_slope="steep"),
        RectifierTypeError,
        "leaky_relu: `negative_slope` must be a number or an array of numbers; got 'steep'. "
        "Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones((2, 3)), negative_slope=np.ones(2)),
        RectifierValueError,
        "leaky_relu: `negative_slope` must broadcast with x of shape (2, 3); got shape (2,). "
        "Give it one value for each entry of the last axis, or reshape it with numpy.expand_dims.",
    ),
    (
        lambda: rectifier.elu(np.ones(3), alpha=0),
        RectifierValueError,
        "elu: `alpha` must be finite and greater than 0; got 0. Pass a number such as 1.0.",
    ),
    (
        lambda: rectifier.celu(np.ones(3), alpha=-1.0),
        RectifierValueError,
        "celu: `alpha` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rectifier.softplus(np.ones(3), beta=0.0),
        RectifierValueError,
        "softplus: `beta` must be finite and greater than 0; got 0.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rectifier.relu6(np.ones(3), ceiling=np.inf),
        RectifierValueError,
        "relu6: `ceiling` must be finite and greater than 0; got inf. Pass a number such as 6.0.",
    ),
    (
        lambda: rectifier.relu.derivative(np.ones(3), at_zero=1.5),
        RectifierValueError,
        "relu.derivative: `at_zero` must lie in [0, 1]; got 1.5. Pass a number such as 0.5.",
    ),
    (
        lambda: rectifier.relu(np.ones(3), at_zero=0.5),
        RectifierTypeError,
        "relu: `at_zero` is not a parameter of it; got at_zero=0.5. relu.derivative takes it, "
        "and relu of rectifier.torch, rectifier.jax and rectifier.tensorflow.",
    ),
    (
        lambda: rectifier.elu(np.ones(3), slope=0.5),
        RectifierTypeError,
        "elu: `slope` is not a parameter of it; got slope=0.5. Its parameters: alpha.",
    ),
    (
        lambda: rectifier.prelu(np.ones(3)),
        RectifierTypeError,
        "prelu: `negative_slope` must be given; got none. Pass a number such as 0.01, or an array of them.",
    ),
    (
        lambda: rectifier.relu.inverse(np.ones(3)),
        RectifierTypeError,
        "relu.inverse: `relu` must be one to one to have an inverse; got max(0, z). "
        "Those with one: leaky_relu, elu, celu, selu, softplus.",
    ),
    (
        lambda: rectifier.leaky_relu.inverse(np.ones(3), negative_slope=-1),
        RectifierValueError,
        "leaky_relu.inverse: `negative_slope` must be finite and greater than 0 for a function that is one to one; "
        "got -1. "
        "Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu.inverse(np.float32(1), negative_slope=1e-50),
        RectifierValueError,
        "leaky_relu.inverse: `negative_slope` must be finite and greater than 0 for a function that is one to one "
        "in float32; got 1e-50. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3), 0.2),
        RectifierTypeError,
        "leaky_relu: `negative_slope` must be given by its name; got 1 more after x. "
        "Write leaky_relu(x, negative_slope=…).",
    ),
    (
        lambda: rectifier.leaky_relu(np.ones(3), negative_slope=10**400),
        RectifierValueError,
        "leaky_relu: `negative_slope` must be finite; got inf. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.elu(np.ones(3), alpha=None),
        RectifierTypeError,
        "elu: `alpha` must be a number or an array of numbers; got None. Pass a number such as 1.0.",
    ),
    (
        lambda: rectifier.elu(np.ones(3), where=np.ones(4, bool), out=np.ones(3)),
        RectifierValueError,
        "elu: `where` must broadcast with the result of shape (3,); got shape (4,). Pass a mask of x's shape.",
    ),
    (
        lambda: rectifier.selu(np.arange(3), out=np.empty(3, int)),
        RectifierTypeError,
        "selu: `out` must be of a dtype that float64 casts to within its kind; got int64. Pass an array of float64.",
    ),
    (
        lambda: rectifier.gain("relu6", ceiling=1e-200),
        RectifierValueError,
        "gain: `ceiling` must leave a second moment that float64 can hold; got {'ceiling': 1e-200}, and with it 0. "
        "Pass a value nearer to 1.",
    ),
    (
        lambda: rectifier.gain("gelu"),
        RectifierValueError,
        "gain: `name` must be one of relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, softplus, "
        "sigmoid, tanh, threshold; got 'gelu'. See rectifier.family.",
    ),
    (
        lambda: rectifier.gain("leaky_relu", negative_slope=np.ones(2)),
        RectifierTypeError,
        "gain: `negative_slope` must be one number; got an array of shape (2,). Call it once a value.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSALS, ids=[message[:60] for _, _, message in REFUSALS])
def test_refusals_say_what_and_how(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.args == (message,)
    assert isinstance(caught.value, rectifier.RectifierError)


def test_a_refused_out_is_left_as_it_was() -> None:
    out = np.full(4, 3.0)
    with pytest.raises(RectifierValueError):
        rectifier.relu(np.ones(3), out=out)
    assert out.tolist() == [3.0] * 4


def test_arrays_of_frameworks_without_operations_are_refused() -> None:
    foreign = type("ArrayImpl", (), {"__module__": "jaxlib._jax"})()
    with pytest.raises(RectifierTypeError) as caught:
        rectifier.relu(foreign)
    assert str(caught.value) == (
        "relu: `x` must be a NumPy array, an array that speaks __array_ufunc__, a PyTorch tensor, a JAX array or a "
        "TensorFlow tensor; got jaxlib._jax.ArrayImpl. Convert it with numpy.asarray(x)."
    )


def test_functions_for_comparison_are_for_numpy_only() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(RectifierTypeError) as caught:
        rectifier.sigmoid(torch.ones(2))
    assert str(caught.value) == (
        "sigmoid: `x` must be a NumPy array, as this function is here to compare with; got a Tensor. "
        "Call the framework's own, or pass x.detach().numpy()."
    )
    with pytest.raises(RectifierTypeError, match=r"leaky_relu: `negative_slope` must be a number or an array"):
        rectifier.leaky_relu(np.ones(2), negative_slope=torch.ones(2, requires_grad=True))


def test_objects_pickle_and_describe_themselves() -> None:
    assert pickle.loads(pickle.dumps(rectifier.elu)) is rectifier.elu
    assert repr(rectifier.relu) == "<rectifier.relu: max(0, z)>"
    assert "arXiv:1511.07289" in (rectifier.elu.__doc__ or "")
    assert "alpha: " in (rectifier.elu.__doc__ or "")


def test_import_loads_numpy_and_nothing_more() -> None:
    script = (
        "import sys; before = set(sys.modules); import rectifier; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.home())
    loaded = set(eval(shown.stdout))
    assert loaded <= {"rectifier", "numpy", "ml_dtypes", "_rectifier_editable"}, loaded
    assert "rectifier" in loaded
