"""What frameworks do, in words, from the record that ``rectifier compare`` measured (``conventions.json``).

Read when it is first asked for: ``import rectifier`` does not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["PATH", "SLOPES", "conventions", "number", "presets"]

PATH = Path(__file__).with_name("conventions.json")

#: What is said of a framework → its candidates in the record, each with the name of that way.
_WAYS = {
    "PyTorch": {"PyTorch": "eager", "PyTorch compiled": "compiled"},
    "TensorFlow": {"TensorFlow": "eager", "TensorFlow function": "function", "TensorFlow XLA": "XLA"},
    "Keras": {"Keras on TensorFlow": "on TensorFlow", "Keras on JAX": "on JAX", "Keras on PyTorch": "on PyTorch"},
    "JAX": {"JAX": ""},
    "ONNX Runtime": {"ONNX Runtime": ""},
    "NumPy idiom": {"NumPy idiom": ""},
}
#: Name of a preset → the candidate that has it. Keras's are the same on every backend.
_PRESETS = {
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "keras": "Keras on TensorFlow",
    "jax": "JAX",
    "onnx": "ONNX Runtime",
}
#: The slopes at which everybody is measured, so that all compute the same.
SLOPES = {"leaky_relu": "0.01", "prelu": "0.25"}
#: Errors beyond this many ulp are told as such; up to _DIGITS as a number of ulp, then as a share of the result.
_WRONG, _DIGITS = 2.0, 1000.0

_One = dict[str, Any]


@functools.cache
def _record() -> dict[tuple[str, str], _One]:
    """(function, candidate) → what was measured."""
    import json  # here, as importing it costs a millisecond

    measured = json.loads(PATH.read_text(encoding="utf-8"))["measured"]
    return {(one["function"], one["candidate"]): one for one in measured}


@functools.cache
def presets(function: str) -> Mapping[str, Mapping[str, float | None]]:
    """Framework → arguments of our layer that give its defaults."""
    record = _record()
    found = {
        name: MappingProxyType(one["preset"])
        for name, candidate in _PRESETS.items()
        if (one := record.get((function, candidate), {})).get("preset")
    }
    return MappingProxyType(found)


def conventions(function: str, notes: Mapping[str, str]) -> Mapping[str, str]:
    """Framework → its defaults, conventions and errors; notes: what cannot be measured, said after it."""
    ours = _record().get((function, "rectifier"))
    if ours is None:  # here for comparison only
        return MappingProxyType(dict(notes))
    told = {}
    for framework, ways in _WAYS.items():
        parts = [*_told(function, ways, ours), *([notes[framework]] if framework in notes else [])]
        told[framework] = "; ".join(parts) or "as here"
    return MappingProxyType(told)


def _told(function: str, ways: Mapping[str, str], ours: _One) -> Iterator[str]:
    """What all ways have in common, then what is peculiar to some."""
    said = {way: dict(_pieces(one, ours)) for label, way in ways.items() if (one := _record().get((function, label)))}
    if not said:
        yield "not there"
        return
    peculiar: dict[str, list[str]] = {}
    for topic in dict.fromkeys(topic for pieces in said.values() for topic in pieces):
        texts: dict[str, list[str]] = {}
        for way, pieces in said.items():
            if topic in pieces:
                texts.setdefault(pieces[topic], []).append(way)
        for text, some in texts.items():
            # The signature is the same in every way, and told of the usual one.
            if len(some) == len(said) or topic == "defaults":
                yield text
            else:
                peculiar.setdefault(", ".join(some), []).append(text)
    for who, apart in peculiar.items():
        yield f"{who}: {', '.join(apart)}"


def _pieces(one: _One, ours: _One) -> Iterator[tuple[str, str]]:
    """What one candidate does: topic → words."""
    if defaults := ", ".join(_defaults(one)):
        yield "defaults", defaults
    elif one.get("preset"):
        yield "defaults", f"no argument for {', '.join(one['preset'])}"
    value, derivative = (one.get("probes", {}).get(kind, {}) for kind in ("value", "derivative"))
    theirs = ours["probes"]
    name = one["function"]
    for point in ("0", "6"):
        if point in derivative and (name not in _SMOOTH or derivative[point] != theirs["derivative"][point]):
            yield f"f′({point})", f"f′({point}) = {_slope(name, derivative[point])}"
    if "nan" in value:
        gradient = f", gradient {_slope(name, derivative['nan'])}" if "nan" in derivative else ""
        several = len(value["nan"]) > 1 or len(derivative.get("nan", ())) > 1
        where = " by its position in the array" if several else ""
        yield "nan", f"NaN gives {_results(value['nan'])}{gradient}{where}"
    if value.get("-0", theirs["value"]["-0"]) != theirs["value"]["-0"]:
        both = len(value["-0"]) > 1
        yield "-0", "the sign of −0.0 depends on its position" if both else f"−0.0 gives {_results(value['-0'])}"
    for point in ("-inf", "inf"):
        if value.get(point, theirs["value"][point]) != theirs["value"][point]:
            yield point, f"{number(point)} gives {_results(value[point])}"
    yield from _flushed(one.get("subnormals", {}))
    yield from _wrong(one.get("errors", {}))


#: f′(0) is the limit from both sides there: told only where it is not returned.
_SMOOTH = ("elu", "celu", "softplus", "squared_relu")


def _defaults(one: _One) -> Iterator[str]:
    """Arguments, and the place where places differ."""
    places = {place: given for place, given in one.get("defaults", {}).items() if given}
    alike = len({repr(given) for given in places.values()}) == 1
    for place, given in places.items():
        text = ", ".join(
            f"{name} = {value if isinstance(value, str) else format(value, 'g')}" for name, value in given.items()
        )
        yield text if alike else f"{'.'.join(place.split('.')[-2:])}: {text}"
        if alike:
            return


def _results(texts: list[str]) -> str:
    return " or ".join(map(number, texts))


def _slope(function: str, texts: list[str]) -> str:
    """Results, the slope by its name."""
    return _results(["s" if text == SLOPES.get(function) else text for text in texts])


def _flushed(subnormals: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    value, derivative = (subnormals.get(kind, {}) for kind in ("value", "derivative"))
    for key, kept, what in (
        ("read", value, "subnormal inputs are taken for 0"),
        ("written", value, "subnormal results are flushed to 0"),
        ("written", derivative, "subnormal gradients are flushed to 0"),
    ):
        if kept.get(key, "all") != "all":
            yield what, f"some {what}" if kept[key] == "some" else what
            if kept is value and key == "written":
                return  # of the gradients, too


def _wrong(errors: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    for kind, what in (("value", ""), ("derivative", "gradient ")):
        for dtype, kinds in errors.items():
            error = kinds.get(kind, {})
            if "problem" in error or float(error.get("ulp", 0)) <= _WRONG:
                continue
            where = f" at {number(format(float(error['x']), '.3g'))}" + ("" if dtype == "float32" else f" ({dtype})")
            ulp, relative = float(error["ulp"]), float(error["relative"])
            if float(error["got"]) == 0:
                size = "is 0" if what else "gives 0"
            elif ulp <= _DIGITS or relative < 0.01:
                size = f"{ulp:,.0f} ulp off" if ulp >= 10 else f"{ulp:.1f} ulp off"
            else:
                size = f"{100 * relative:.0f} % off"
            yield f"{what}{dtype}", f"{what}{size}{where}"
            break  # float64 is told where float32 is right


def number(text: str) -> str:
    """As printed: "-inf" → "−∞".

    >>> number("-inf"), number("-3e-08"), number("nan")
    ('−∞', '−3e−08', 'NaN')
    """
    return text.replace("inf", "∞").replace("nan", "NaN").replace("-", "−")
