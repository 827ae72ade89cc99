"""with_gate and backward: what the separate calls give, the planes they keep, and what they refuse."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rectifier
from rectifier import RectifierTypeError, RectifierValueError
from rectifier._functions import FUNCTIONS

FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: np.dtype(d).name)
#: Every function with a backward pass, and parameters that its derivative takes.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}),
    ("relu", {"at_zero": 0.5}),
    ("relu", {"at_zero": 1.0}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": -0.5}),
    ("leaky_relu", {"negative_slope": np.array([0.5, -2.0, 0.25, 4.0])}),
    ("prelu", {"negative_slope": np.array([0.5, 0.25, 2.0])[:, None]}),
    ("abs", {}),
    ("relu6", {}),
    ("relu6", {"ceiling": 2.0}),
]


def same_bits(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Any:
    """Halves, with zeros and both kinks: every product with a slope above is exact."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-16, 17, shape) / 2).astype(dtype)


def layouts(z: Any) -> list[Any]:
    return [z, np.moveaxis(np.ascontiguousarray(np.moveaxis(z, 0, -1)), -1, 0), z[::2], np.asfortranarray(z)]


def value_only(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameters.items() if key != "at_zero"}


@every_dtype
@pytest.mark.parametrize("name", FUNCTIONS)
def test_with_gate_equals_the_separate_calls(name: str, dtype: Any) -> None:
    f = FUNCTIONS[name]
    parameters: dict[str, Any] = {"negative_slope": 0.25} if name == "prelu" else {}
    for z in layouts(numbers((6, 3, 4), dtype)):
        h, gate = f.with_gate(z, **parameters)
        assert same_bits(h, f(z, **parameters))
        assert gate == f.gate(z)
        assert gate.shape == z.shape
        assert not gate.bits.flags.writeable


@every_dtype
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_backward_is_the_derivative_times_dh(name: str, parameters: dict[str, Any], dtype: Any) -> None:
    f = FUNCTIONS[name]
    for z in layouts(numbers((6, 3, 4), dtype)):
        for dh in layouts(numbers(z.shape, dtype, seed=1))[:2]:
            h, gate = f.with_gate(z, **parameters)
            assert same_bits(h, f(z, **value_only(name, parameters)))
            got = f.backward(dh, gate)
            # The slope is not rounded to 16 bits first, as a derivative of that dtype must be.
            wide = np.float64 if dtype is np.float64 else np.float32
            want = (f.derivative(z.astype(wide), **parameters) * dh.astype(np.float64)).astype(dtype)
            assert got.dtype == dh.dtype
            np.testing.assert_array_equal(got, want)
            np.testing.assert_array_equal(f.backward(dh, gate, **parameters), want)
            out = np.empty_like(h)
            assert f.backward(dh, gate, out=out) is out
            np.testing.assert_array_equal(out, want)


@pytest.mark.parametrize(("name", "parameters"), [c for c in CASES if np.ndim(list(c[1].values() or [0])[0]) == 0])
def test_in_place_and_scalars(name: str, parameters: dict[str, Any]) -> None:
    f = FUNCTIONS[name]
    z = numbers((500,), np.float32)
    same = z.copy()
    h, gate = f.with_gate(same, out=same, **parameters)
    assert h is same
    assert same_bits(h, f(z, **value_only(name, parameters)))
    dh = numbers((500,), np.float32, seed=2)
    want = f.backward(dh, gate)
    assert same_bits(f.backward(dh, gate, out=dh), want)
    for number in (-1.0, 0.0, 3.0, 7.0):
        h, gate = f.with_gate(np.float32(number), **parameters)
        assert h.dtype == np.float32 and gate.shape == ()
        assert f.backward(np.float32(2), gate) == 2 * f.derivative(np.float32(number), **parameters)
    empty, gate = f.with_gate(z[:0], **parameters)
    assert empty.shape == f.backward(z[:0], gate).shape == (0,)


@every_dtype
@pytest.mark.parametrize(("name", "parameters"), [case for case in CASES if case[0] != "prelu"])
def test_nan_is_open_and_a_closed_gate_of_slope_0_is_shut(name: str, parameters: dict[str, Any], dtype: Any) -> None:
    f = FUNCTIONS[name]
    z = np.array([np.nan, np.nan, 1.0, -1.0], dtype)
    dh = np.array([3.0, np.inf, np.nan, 2.0], dtype)
    dz = f.backward(dh, f.with_gate(z, **parameters)[1]).astype(np.float64)
    np.testing.assert_array_equal(dz[:3], [3.0, np.inf, np.nan])
    if name in ("relu", "relu6"):
        dz = f.backward(np.full(4, -np.inf, dtype), f.with_gate(np.array([-1, -2, -0.5, -np.inf], dtype))[1])
        assert dz.tolist() == [0.0] * 4 and not np.signbit(dz).any()


def test_planes_are_kept_only_where_they_are_needed() -> None:
    z = np.linspace(-8, 8, 80)  # no zero
    with_zero = np.append(z, [0.0] * 8)
    for name, parameters in (("relu", {}), ("leaky_relu", {}), ("squared_relu", {}), ("elu", {})):
        assert FUNCTIONS[name].with_gate(with_zero, **parameters)[1].nbytes == 11
    for name, parameters in (("abs", {}), ("relu", {"at_zero": 0.5})):
        assert FUNCTIONS[name].with_gate(z, **parameters)[1].nbytes == 10
        assert FUNCTIONS[name].with_gate(with_zero, **parameters)[1].nbytes == 22
    gate = rectifier.relu6.with_gate(z)[1]
    assert gate.nbytes == 20
    assert gate.count() == (z > 0).sum()


def test_integers_keep_their_kind_and_floats_go_back() -> None:
    z = np.array([-7, 0, 3, 9], np.int8)
    for name, want in (("relu", [0, 0, 1, 1]), ("abs", [-1, 0, 1, 1]), ("relu6", [0, 0, 1, 0])):
        h, gate = FUNCTIONS[name].with_gate(z)
        assert same_bits(h, FUNCTIONS[name](z))
        assert FUNCTIONS[name].backward(np.ones(4, np.float32), gate).tolist() == want
    swapped = numbers((40,), ">f4")
    h, gate = rectifier.leaky_relu.with_gate(swapped)
    assert same_bits(h, rectifier.leaky_relu(swapped))
    dh = numbers((40,), ">f4", seed=1)
    np.testing.assert_array_equal(
        rectifier.relu.backward(dh, gate), np.where(swapped > 0, dh, np.float32(0)).astype(np.float32)
    )


def test_a_plain_gate_is_enough_where_one_bit_is() -> None:
    z, dh = numbers((50,), np.float32), numbers((50,), np.float32, seed=1)
    gate = rectifier.relu.gate(z)
    np.testing.assert_array_equal(rectifier.relu.backward(dh, gate), np.where(z > 0, dh, 0))
    np.testing.assert_array_equal(
        rectifier.leaky_relu.backward(dh, gate, negative_slope=0.5), np.where(z > 0, dh, np.float32(0.5) * dh)
    )


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("relu", "leaky_relu", "prelu", "abs", "relu6")])
def test_functions_whose_derivative_the_gate_does_not_tell_are_refused(name: str) -> None:
    f = FUNCTIONS[name]
    z = np.ones(3)
    with pytest.raises(RectifierTypeError) as caught:
        f.backward(z, f.with_gate(z)[1])
    assert str(caught.value) == (
        f"{name}.backward: the gate must tell the whole derivative; got {name}, whose derivative is "
        f"{f.row.derivative}. Keep x and multiply: dh * {name}.derivative(x). "
        "Those that the gate is enough for: relu, leaky_relu, prelu, abs, relu6."
    )


def refused(kind: type[Exception], text: str, call: Any) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == text


def test_refusals_of_gates_and_parameters() -> None:
    z = np.ones(3, np.float32)
    plain = rectifier.relu.gate(z)
    refused(
        RectifierTypeError,
        "relu.backward: `gate` must be a Gate; got ndarray. Pass the one that relu.with_gate(x) returns.",
        lambda: rectifier.relu.backward(z, z),  # type: ignore[arg-type]
    )
    refused(
        RectifierValueError,
        "abs.backward: `gate` must say where z was 0; got a gate that does not. Take it with abs.with_gate(x).",
        lambda: rectifier.abs.backward(z, plain),
    )
    refused(
        RectifierValueError,
        "relu.backward: `gate` must say where z was 0; got a gate that does not. "
        "Take it with relu.with_gate(x, at_zero=0.5).",
        lambda: rectifier.relu.backward(z, plain, at_zero=0.5),
    )
    refused(
        RectifierValueError,
        "relu6.backward: `gate` must say where z was below the ceiling; got a gate that does not. "
        "Take it with relu6.with_gate(x).",
        lambda: rectifier.relu6.backward(z, plain),
    )
    refused(
        RectifierValueError,
        "relu6.backward: `ceiling` must be the one that the gate was taken with, 2.0; got 3.0. Leave it out.",
        lambda: rectifier.relu6.backward(z, rectifier.relu6.with_gate(z, ceiling=2.0)[1], ceiling=3.0),
    )
    refused(
        RectifierValueError,
        "leaky_relu.backward: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
        lambda: rectifier.leaky_relu.backward(z, plain, negative_slope=np.nan),
    )
    refused(
        RectifierTypeError,
        "prelu.backward: `negative_slope` must be given; got none. Pass a number such as 0.01, or an array of them.",
        lambda: rectifier.prelu.backward(z, plain),
    )
    refused(
        RectifierValueError,
        "leaky_relu.with_gate: `negative_slope` must broadcast to the shape (3,); got shape (2, 3). "
        "Give it one value for each entry of the last axis, or reshape it with numpy.expand_dims.",
        lambda: rectifier.leaky_relu.with_gate(z, negative_slope=np.ones((2, 3))),
    )
    refused(
        RectifierValueError,
        "relu.with_gate: `at_zero` must lie in [0, 1]; got 2.0. Pass a number such as 0.5.",
        lambda: rectifier.relu.with_gate(z, at_zero=2.0),
    )


def test_refusals_of_arrays() -> None:
    z = np.ones((4, 3), np.float32)
    memory = np.zeros(20, np.float32)
    gate = rectifier.relu.gate(z)
    refused(
        RectifierValueError,
        "relu.backward: `dh` must have the shape of the gate, (4, 3); got (3, 4). "
        "Pass the gradient of the h that relu.with_gate returned.",
        lambda: rectifier.relu.backward(np.ones((3, 4)), gate),
    )
    refused(
        RectifierTypeError,
        "relu.backward: `dh` must hold float16, bfloat16, float32 or float64; got int64. "
        "Convert it with dh.astype(numpy.float32).",
        lambda: rectifier.relu.backward(np.ones((4, 3), np.int64), gate),
    )
    bad_outs: list[tuple[type[Exception], Any, str]] = [
        (RectifierTypeError, [1.0], "`out` must be an array; got list. Pass numpy.empty_like({0})."),
        (
            RectifierTypeError,
            np.empty((4, 3)),
            "`out` must be of {0}'s dtype, float32; got float64. Pass numpy.empty_like({0}).",
        ),
        (
            RectifierValueError,
            np.empty((3, 4), np.float32),
            "`out` must have the shape of the result, (4, 3); got (3, 4). Pass numpy.empty_like({0}).",
        ),
        (
            RectifierValueError,
            np.broadcast_to(np.float32(0), (4, 3)),
            "`out` must be writeable; got a read-only array. Pass numpy.empty_like({0}).",
        ),
        (
            RectifierValueError,
            np.empty((3, 4), np.float32).T,
            "`out` must lie in memory without gaps and with its axes in the order of the gate's; got strides (4, 16). "
            "Pass numpy.empty(…).transpose(…) of that layout, or leave it out.",
        ),
    ]
    for kind, out, text in bad_outs:
        forward, back = "relu.with_gate: " + text.format("x"), "relu.backward: " + text.format("dh")
        refused(kind, forward, lambda out=out: rectifier.relu.with_gate(z, out=out))
        refused(kind, back, lambda out=out: rectifier.relu.backward(z, gate, out=out))
    overlap = (
        "`out` must be {0} itself or share no memory with it; got arrays that overlap. Pass numpy.empty_like({0})."
    )
    first, second = memory[:12].reshape(4, 3), memory[3:15].reshape(4, 3)
    refused(
        RectifierValueError,
        "relu.with_gate: " + overlap.format("x"),
        lambda: rectifier.relu.with_gate(first, out=second),
    )
    refused(
        RectifierValueError,
        "relu.backward: " + overlap.format("dh"),
        lambda: rectifier.relu.backward(first, gate, out=second),
    )
