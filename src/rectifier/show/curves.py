"""Sampling f and f′ for drawing: pieces between the kinks, and the dots at each kink."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .._family import Row, family
from .._functions import FUNCTIONS
from ..errors import RectifierValueError

__all__ = ["Curve", "Drawn", "span", "trace", "view", "with_defaults"]

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]
Pieces = tuple[tuple[Floats, Floats], ...]
Evaluate = Callable[[Floats], Floats]

#: How far beside a kink its limits are taken, and how much they differ where it is one: a drawing's scale.
_BESIDE = 1e-9
_JUMP = 1e-6
#: A kink beyond this would squeeze the rest of the graph into a point.
_FARTHEST = 1e6
#: Highest f and f′ that are shown, so that a square does not flatten all others.
_HIGHEST_VALUE = 4.0
_HIGHEST_DERIVATIVE = 2.5
#: Slope with which a learned PReLU starts in PyTorch; the row has no default, as the function needs one.
_PRELU_SLOPE = 0.25


@dataclass(frozen=True)
class Curve:
    """One curve: continuous pieces (x, y), values taken at kinks (filled), limits not taken (hollow)."""

    pieces: Pieces
    filled: tuple[Point, ...]
    hollow: tuple[Point, ...]

    def heights(self) -> Floats:
        """All y values."""
        return np.concatenate([y for _, y in self.pieces])


@dataclass(frozen=True)
class Drawn:
    """One function at given parameters, sampled for drawing."""

    row: Row
    parameters: Mapping[str, float]
    value: Curve
    derivative: Curve

    @property
    def equations(self) -> tuple[str, str]:
        """f and f′ as equations, from the texts of the row."""
        return _equation("f(z)", self.row.formula), _equation("f′(z)", self.row.derivative)

    @property
    def label(self) -> str:
        """Title, with the parameters that differ from their defaults or have none."""
        told = {p.name: self.parameters[p.name] for p in self.row.parameters}
        changed = [
            f"{p.name} = {told[p.name]:g}"
            for p in self.row.parameters
            if p.default is None or told[p.name] != p.default
        ]
        return f"{self.row.title} ({', '.join(changed)})" if changed else self.row.title


def with_defaults(row: Row, settings: Mapping[str, float]) -> dict[str, float]:
    """All parameters of a row, from the settings that it has and its defaults.

    Raises RectifierValueError where one is outside its domain.
    """
    parameters = {}
    for parameter in row.parameters:
        default = _PRELU_SLOPE if parameter.default is None else parameter.default
        value = settings.get(parameter.name, default)
        if not parameter.domain.holds(np.asarray(value)):
            raise RectifierValueError(
                f"show: `{parameter.name}` of {row.name} {parameter.domain.rule}; got {value:g}. "
                f"Pass a number such as {parameter.domain.example}."
            )
        parameters[parameter.name] = value
    return parameters


def span(names: Iterable[str], settings: Mapping[str, float]) -> Point:
    """The stretch of z that shows all these functions: −4 to 4, and past every ceiling that can be drawn."""
    ends = [4.0]
    for name in names:
        row = family[name]
        parameters = with_defaults(row, settings)
        places = (_place(kink.at, parameters) for kink in row.kinks)
        ends += [1.25 * place for place in places if place <= _FARTHEST]
    return -4.0, max(ends)


def view(curves: Iterable[Curve], *, derivative: bool) -> Point:
    """The stretch of heights to show: all of the curves, up to a limit, and always 0 and 1.

    A derivative of 0 is so a line at the bottom and not the middle of nothing.
    """
    curves = tuple(curves)
    last = max(float(x[-1]) for curve in curves for x, _ in curve.pieces)
    limit = _HIGHEST_DERIVATIVE if derivative else max(_HIGHEST_VALUE, last)
    heights = np.clip(np.concatenate([curve.heights() for curve in curves]), -limit, limit)
    lowest, highest = min(float(heights.min()), 0.0), max(float(heights.max()), 1.0)
    margin = 0.09 * (highest - lowest)
    return lowest - margin, highest + margin


def trace(name: str, settings: Mapping[str, float], *, lowest: float, highest: float, points: int = 400) -> Drawn:
    """Sample one function and its derivative on [lowest, highest], about ``points`` points in all.

    settings: values of parameters; those the function does not have are left aside.
    """
    row = family[name]
    function = FUNCTIONS[name]
    parameters = with_defaults(row, settings)
    of_value = {p.name: parameters[p.name] for p in row.parameters if p.of == "value"}
    kinks = [_place(kink.at, parameters) for kink in row.kinks]
    inside = [kink for kink in kinks if lowest < kink < highest]
    sampled = partial(_pieces, kinks=inside, lowest=lowest, highest=highest, points=points)
    value_of = partial(_at, function, of_value)
    derivative_of = partial(_at, function.derivative, parameters)
    value, derivative = sampled(value_of), sampled(derivative_of)
    # ELU at α = 1 or a leaky slope of 1 has no kink where the row of the family has one.
    real = [(index, kink) for index, kink in enumerate(inside) if _jumps(value, index) or _jumps(derivative, index)]
    return Drawn(row, parameters, _marked(value, real, value_of), _marked(derivative, real, derivative_of))


def _equation(symbol: str, text: str) -> str:
    """ "f(z) = max(0, z)", but "f(z):  z > 0: z, else s·z" where the text is a list of cases."""
    return f"{symbol}:  {text}" if re.match(r"z [<>]|0 <|∂", text) else f"{symbol} = {text}"


def _at(function: Any, parameters: Mapping[str, float], z: Floats) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(function(z, **parameters), dtype=np.float64)


def _place(at: str, parameters: Mapping[str, float]) -> float:
    return parameters[at] if at in parameters else float(at)


def _pieces(evaluate: Evaluate, *, kinks: list[float], lowest: float, highest: float, points: int) -> Pieces:
    edges = [lowest, *kinks, highest]
    pieces = []
    for left, right in zip(edges, edges[1:], strict=False):
        count = max(3, round(points * (right - left) / (highest - lowest)))
        z = np.linspace(left, right, count)
        beside = z.copy()
        beside[0] += _BESIDE * (left in kinks)
        beside[-1] -= _BESIDE * (right in kinks)
        pieces.append((z, evaluate(beside)))
    return tuple(pieces)


def _limits(pieces: Pieces, index: int) -> Point:
    """The limits from the left and from the right at the kink after piece ``index``."""
    return float(pieces[index][1][-1]), float(pieces[index + 1][1][0])


def _jumps(pieces: Pieces, index: int) -> bool:
    before, after = _limits(pieces, index)
    return abs(after - before) > _JUMP


def _marked(pieces: Pieces, kinks: list[tuple[int, float]], evaluate: Evaluate) -> Curve:
    filled: list[Point] = []
    hollow: list[Point] = []
    for index, kink in kinks:
        here = float(evaluate(np.array([kink]))[0])
        filled.append((kink, here))
        hollow += [(kink, limit) for limit in _limits(pieces, index) if abs(limit - here) > _JUMP]
    return Curve(pieces, tuple(filled), tuple(hollow))
