"""Looking at one function of one candidate. Nothing here knows a framework: functions take and return NumPy arrays."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import oracle
from .._family import family
from ..peers import SLOPE, Function, Lookup, Peer
from ..verify.inputs import dtype_of, sample
from ..verify.plan import Case
from ..verify.subjects import kernel
from .plan import Candidate, Plan
from .records import Measured

__all__ = ["measured"]

Array = npt.NDArray[Any]

#: Values of a call: some vectors of any machine, and a tail. Few numbers, as some compile for each anew.
LENGTH = 67
#: Result dtypes are asked of these.
SUPPORTED = ("float16", "bfloat16", "float32", "float64", "int32")
KINDS = ("value", "derivative")
#: Largest differences in place of all, for the slow arithmetic that tells errors exactly.
WORST = 24


def measured(candidate: Candidate, peer: Peer, name: str, lookup: Lookup, plan: Plan) -> Measured | None:
    """All that can be measured of a function; None where the candidate does not have it."""
    functions: dict[str, Function] = {}
    for kind in KINDS:
        if (function := lookup(name, kind)) is not None:
            functions[kind] = function
    if not functions:
        return None
    found = Measured(name, candidate.framework, candidate.label)
    usual = candidate.way == next(iter(peer.WAYS))
    if usual and candidate.ours is None:
        found.defaults.update({place: _defaults(place) for place in peer.PLACES.get(name, ())})
        found.preset = _preset(peer, name)
    for kind, function in functions.items():
        try:
            found.probes[kind] = dict(_probes(name, function))
            found.subnormals[kind] = dict(_subnormals(name, kind, function))
        except Exception as error:  # a library's own way of saying that it cannot
            found.problems[kind] = _said(error)
            continue
        if plan.samples:
            for dtype in plan.dtypes:
                told = _error(name, kind, dtype, function, plan.samples)
                found.errors.setdefault(dtype, {})[kind] = told
    if "value" in functions and usual:
        found.dtypes.update({dtype: _supported(functions["value"], dtype) for dtype in SUPPORTED})
    return found


def _said(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:120]}"


def _defaults(place: str) -> dict[str, float | str] | None:
    """Argument → default, of the numbers and names that a place's signature holds; None where the place is not there.

    place: a dotted path, or ``onnx:Operator``.
    """
    if place.startswith("onnx:"):
        import onnx

        attributes = onnx.defs.get_schema(place.removeprefix("onnx:")).attributes
        return {key: _short(a.default_value.f) for key, a in attributes.items() if a.default_value.f}
    path, _, last = place.rpartition(".")
    try:
        parent = importlib.import_module(path)
    except ModuleNotFoundError:
        outer, _, inner = path.rpartition(".")
        parent = getattr(importlib.import_module(outer), inner)
    there = getattr(parent, last, None)
    if there is None:
        return None
    try:
        parameters = inspect.signature(there).parameters
    except ValueError:  # a function in C tells none
        return {}
    told = {key: p.default for key, p in parameters.items() if isinstance(p.default, (int, float, str))}
    return {
        key: value if isinstance(value, str) else _short(value)
        for key, value in told.items()
        # Of the texts only how a learned slope begins is a default of the function.
        if not isinstance(value, bool) and (not isinstance(value, str) or key.endswith("initializer"))
    }


def _short(value: float) -> float:
    """The number that was written where it was rounded to float32."""
    return float(str(np.float32(value)))


def _preset(peer: Peer, name: str) -> dict[str, float | None] | None:
    """The arguments of our layer that give what the function does as it comes, read off its results."""
    if name == "prelu":
        start = peer.prelu_start()
        return (
            None
            if start is None
            else {k: v if v is None else v if k != "init" else _short(v) for k, v in start.items()}
        )
    there = peer.as_it_comes()
    if name not in there:
        return None
    f = next(iter(peer.WAYS.values()))(there)(name, "value")
    assert f is not None
    below, one, middle, above = f(np.resize(np.array([-math.inf, -1, 0, math.inf], np.float32), LENGTH))[:4].tolist()
    value = {
        "leaky_relu": -one,
        "relu6": above,
        "elu": -below,
        "celu": -below,
        "softplus": math.log(2) / (middle or math.inf),
    }[name]
    return {family[name].parameters[0].name: float(f"{value:.6g}")}


def _probes(name: str, function: Function) -> Iterator[tuple[str, list[str]]]:
    """Point → every result that some position of an array gives there; one where the position does not matter."""
    points = {"nan": math.nan, "0": 0.0, "-0": -0.0, "inf": math.inf, "-inf": -math.inf}
    if name == "relu6":
        points["6"] = family[name].parameter("ceiling").default or 0.0
    for point, value in points.items():
        # A value alone may take a path of its own.
        results = np.concatenate([function(np.full(length, value, np.float32)) for length in (LENGTH, 1)])
        yield point, sorted({_text(result) for result in results.tolist()})


def _text(value: float) -> str:
    """In six digits: the last ones are the processor's."""
    return f"{value:.6g}"


def _kernel(name: str, kind: str, dtype: str) -> tuple[Case, Function]:
    """Our own: exact in float32 and 16 bits, and within 1 ulp in float64."""
    key = "leaky_relu" if name == "prelu" else name
    names = oracle.EXACT[key, kind][0]  # type: ignore[index]
    parameter = None if not names else SLOPE if name == "prelu" else oracle.DEFAULTS[names[0]]
    return Case(key, kind, dtype, parameter, name != "prelu", 1), kernel(key, kind, dtype, parameter)  # type: ignore[arg-type]


def _subnormals(name: str, kind: str, function: Function) -> Iterator[tuple[str, str]]:
    """``read``: inputs below the normal range are not taken for 0; ``written``: nor are such results made 0."""
    exact = _kernel(name, kind, "float32")[1]
    small = np.array([1e-45, 1e-42, 1e-40, 1.1e-38], np.float32)
    with np.errstate(all="ignore"):
        x = np.resize(np.concatenate([small, -small]), LENGTH)
        zero = np.copysign(np.float32(0), x)
        yield from _kept("read", (function(x) != function(zero))[exact(x) != exact(zero)])
        size = np.geomspace(1.2e-38, 200, 997, dtype=np.float32)
        x = np.concatenate([size, -size])
        wanted = np.abs(exact(x))
        x = x[(wanted > 0) & (wanted < np.finfo(np.float32).tiny)]
        if x.size:
            yield from _kept("written", function(np.resize(x, LENGTH)) != 0)


def _kept(what: str, kept: Array) -> Iterator[tuple[str, str]]:
    if kept.size:
        yield what, "all" if kept.all() else "some" if kept.any() else "none"


def _error(name: str, kind: str, dtype: str, function: Function, samples: int) -> dict[str, Any]:
    """The largest error in ulp where input and result are normal numbers, apart from kinks; where it is; how many of
    the results are not the nearest number."""
    case, exact = _kernel(name, kind, dtype)
    x = sample(Case(case.function, case.kind, dtype, case.parameter, case.default, samples))
    # Twice the smallest normal number: who flushes may do so before rounding up to it.
    least = x.dtype.type(2.0 ** (oracle.FORMATS[dtype][1] + 1))
    with np.errstate(all="ignore"):
        wanted = exact(x)
        apart = (x != 6) if name == "relu6" else np.True_
        plain = np.isfinite(x) & (np.abs(x) >= least) & apart & ((wanted == 0) | (np.abs(wanted) >= least))
        x, wanted = x[plain], wanted[plain]
        try:
            got = np.asarray(function(x))
        except Exception as error:
            return {"problem": _said(error)}
    if got.dtype != x.dtype:
        return {"problem": f"gives {got.dtype.name}"}
    # Which zero is told apart.
    got = np.where((got == 0) & (wanted == 0), wanted, got)
    wrong = np.flatnonzero(got != wanted)
    share = wrong.size / x.size
    if not wrong.size:
        return {"ulp": 0.5, "misrounded": 0.0}
    x, wanted, got = x[wrong], wanted[wrong], got[wrong]
    distance = np.abs(_order(got) - _order(wanted))
    most = np.argsort(distance, kind="stable")[-WORST:]
    given = {} if case.parameter is None else case.parameters
    errors = oracle.ulp_error(got[most], case.function, x[most], kind=case.kind, **given)
    at = int(np.argmax(errors))
    worst = most[at]
    relative = abs(float(got[worst]) / float(wanted[worst]) - 1) if wanted[worst] else math.inf
    return {
        "ulp": _json(float(f"{errors[at]:.4g}")),
        "x": _json(float(x[worst])),
        "got": _json(float(got[worst])),
        "relative": _json(float(f"{relative:.2g}")),
        "misrounded": float(f"{share:.3g}"),
    }


def _json(value: float) -> float | str:
    """JSON knows no infinity and no NaN."""
    return value if math.isfinite(value) else str(value)


def _order(values: Array) -> Array:
    """Their places among all numbers of their dtype; a NaN's is beyond the infinities'."""
    bits = values.view(f"int{8 * values.dtype.itemsize}").astype(np.float64)
    lowest = -float(2 ** (8 * values.dtype.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits)


def _supported(function: Function, dtype: str) -> str:
    """The dtype of the results, or why there are none."""
    try:
        kind = dtype_of(dtype)
        with np.errstate(all="ignore"):
            return str(np.asarray(function(np.array([-1, 0, 2]).astype(kind))).dtype.name)
    except Exception:
        return "refused"
