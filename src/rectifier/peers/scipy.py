"""SciPy has the logistic functions, as special functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import Array, Functions, Lookup, plain

__all__ = ["PLACES", "WAYS", "as_it_comes", "functions", "prelu_start"]


def _softplus(x: Array) -> Array:
    from scipy.special import log_expit

    return plain(-log_expit(-x))


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    return plain(expit(x))


def functions() -> Functions:
    return {"softplus": _softplus, "sigmoid": _sigmoid}


def as_it_comes() -> Functions:
    return {}


def prelu_start() -> None:
    return None


def _usual(functions: Functions) -> Lookup:
    there = {("softplus", "derivative"): _sigmoid}
    return lambda name, kind: functions.get(name) if kind == "value" else there.get((name, kind))


WAYS: Mapping[str, Callable[[Functions], Lookup]] = {"SciPy": _usual}
PLACES: Mapping[str, tuple[str, ...]] = {"softplus": ("scipy.special.log_expit",)}
