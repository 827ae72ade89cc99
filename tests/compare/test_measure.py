"""The measuring itself: functions with known conventions and known faults are told as what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import rectifier
from rectifier.compare import Measured, make_plan
from rectifier.compare.measure import measured
from rectifier.compare.plan import CANDIDATES, Candidate
from rectifier.peers import Function, ours

Array = npt.NDArray[Any]
OURS = CANDIDATES[0]


def told(
    name: str,
    value: Function,
    derivative: Function | None = None,
    candidate: Candidate = OURS,
    samples: int = 3000,
    dtypes: tuple[str, ...] = ("float32",),
) -> Measured:
    plan = make_plan([name], samples=samples, dtypes=dtypes)
    found = measured(candidate, ours, name, lambda name, kind: value if kind == "value" else derivative, plan)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("name", [name for name, row in rectifier.family.items() if not row.comparison])
def test_ours_is_right_in_every_dtype(name: str) -> None:
    lookup = ours.WAYS["rectifier"](ours.functions())
    value, derivative = lookup(name, "value"), lookup(name, "derivative")
    assert value is not None
    found = told(name, value, derivative, dtypes=("float32", "float16", "bfloat16", "float64"))
    for dtype, kinds in found.errors.items():
        for error in kinds.values():
            assert error["ulp"] <= rectifier.family[name].error_bound[dtype]
            assert dtype == "float64" or error["misrounded"] == 0
    assert all(kept == "all" for kinds in found.subnormals.values() for kept in kinds.values())
    assert all(len(results) == 1 for points in found.probes.values() for results in points.values())
    assert {dtype for dtype, result in found.dtypes.items() if dtype == result} >= {"float16", "bfloat16", "float64"}


def test_what_depends_on_the_position_is_seen() -> None:
    def tail(x: Array) -> Array:
        y = rectifier.relu(x)
        y[64:] = np.where(np.isnan(x[64:]), 0, y[64:])
        return y

    assert told("relu", tail).probes["value"]["nan"] == ["0", "nan"]

    def alone(x: Array) -> Array:
        return np.maximum(x, 0) if x.size == 1 else rectifier.relu(x)

    assert told("relu", alone).probes["value"]["-0"] == ["-0", "0"]


def flushing(f: Function, *, read: bool, written: bool) -> Function:
    def zeroed(x: Array) -> Array:
        return np.where(np.abs(x) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), x), x)

    def call(x: Array) -> Array:
        h = f(zeroed(x) if read else x)
        return zeroed(h) if written else h

    return call


@pytest.mark.parametrize(
    ("read", "written", "value", "derivative"),
    [
        (False, False, {"read": "all", "written": "all"}, {"read": "all"}),
        (True, False, {"read": "none", "written": "all"}, {"read": "none"}),
        (False, True, {"read": "none", "written": "none"}, {"read": "all"}),
    ],
)
def test_subnormals(read: bool, written: bool, value: dict[str, str], derivative: dict[str, str]) -> None:
    found = told(
        "leaky_relu",
        flushing(rectifier.leaky_relu, read=read, written=written),
        flushing(rectifier.leaky_relu.derivative, read=read, written=written),
    )
    assert found.subnormals == {"value": value, "derivative": derivative}
    # Not an error: those are of normal numbers.
    assert all(error["ulp"] == 0.5 for error in found.errors["float32"].values())


def test_the_largest_error_and_where_it_is() -> None:
    def elu(x: Array) -> Array:
        y = rectifier.elu(x)
        y[x == -1] *= np.float32(1.5)
        return y

    error = told("elu", elu).errors["float32"]["value"]
    assert (error["x"], error["relative"], error["got"]) == (-1.0, 0.5, float(rectifier.elu(np.float32(-1)) * 1.5))
    assert error["ulp"] == pytest.approx(0.5 * 0.632 * 2**24, rel=1e-3)
    assert 0 < error["misrounded"] < 1e-3


@pytest.mark.parametrize(("wrong", "got"), [(np.nan, "nan"), (np.inf, "inf")])
def test_a_result_that_is_no_number_is_the_worst_error(wrong: float, got: str) -> None:
    def relu6(x: Array) -> Array:
        return np.where(x == 1, np.float32(wrong), rectifier.relu6(x))

    error = told("relu6", relu6).errors["float32"]["value"]
    assert (error["ulp"], error["x"], error["got"]) == ("inf", 1.0, got)


def refusing(message: str) -> Function:
    def call(x: Array) -> Array:
        raise TypeError(message)

    return call


def test_a_function_that_refuses_is_told() -> None:
    found = told("relu", rectifier.relu, refusing("no gradients\nat all"))
    assert found.problems == {"derivative": "TypeError: no gradients"}
    assert found.probes.keys() == {"value"}


def test_dtypes() -> None:
    def narrow(x: Array) -> Array:
        if x.dtype.kind == "i":
            raise TypeError("floats only")
        return np.maximum(x, 0).astype(np.float32 if x.dtype == np.float64 else x.dtype)

    found = told("relu", narrow, dtypes=("float64",))
    assert found.dtypes["float64"] == "float32"
    assert (found.dtypes["int32"], found.dtypes["float16"]) == ("refused", "float16")
    assert found.errors["float64"]["value"] == {"problem": "gives float32"}


class Library:
    """A peer whose functions come with defaults of their own."""

    WAYS = {"usual": ours._usual}
    PLACES = {"leaky_relu": ("rectifier.leaky_relu", "rectifier.torch.LeakyReLU", "rectifier.gone")}

    def __init__(self, **own: Callable[[Array], Array]) -> None:
        self.own = own

    def functions(self) -> dict[str, Any]:
        return self.own

    def as_it_comes(self) -> dict[str, Any]:
        return self.own

    def prelu_start(self) -> dict[str, float | None]:
        return {"num_parameters": None, "init": float(np.float32(0.1))}


@pytest.mark.parametrize(
    ("name", "own", "preset"),
    [
        ("leaky_relu", lambda x: rectifier.leaky_relu(x, negative_slope=0.3), {"negative_slope": 0.3}),
        ("elu", lambda x: rectifier.elu(x, alpha=1.5), {"alpha": 1.5}),
        ("celu", lambda x: rectifier.celu(x, alpha=0.5), {"alpha": 0.5}),
        ("relu6", lambda x: rectifier.relu6(x, ceiling=4.0), {"ceiling": 4.0}),
        ("softplus", lambda x: rectifier.softplus(x, beta=2.0), {"beta": 2.0}),
        ("prelu", lambda x: x, {"num_parameters": None, "init": 0.1}),
        ("selu", None, None),
    ],
)
def test_presets_are_read_off_results(name: str, own: Any, preset: dict[str, float | None] | None) -> None:
    library = Library(**({} if own is None else {name: own}))
    candidate = replace(OURS, way="usual")
    lookup = library.WAYS["usual"]({name: own or rectifier.selu})
    found = measured(candidate, library, name, lookup, make_plan([name], samples=0))
    assert found is not None and found.preset == preset
    if name == "leaky_relu":
        assert found.defaults == {
            "rectifier.leaky_relu": {"negative_slope": 0.01},
            "rectifier.torch.LeakyReLU": {"negative_slope": 0.01},
            "rectifier.gone": None,
        }
