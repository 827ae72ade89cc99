"""Comparisons as tables: one a function, a row a framework; what all agree on is said once, beside the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .._conventions import SLOPES, number
from .records import Comparison, Measured

__all__ = ["LEGEND", "Cell", "Sheet", "header", "markdown", "sheets"]

#: An error beyond it is marked, in ulp: what rectifier promises in frameworks that compile their own code.
MARKED = 2.0
LEGEND = (
    "* differs from rectifier's on NumPy arrays, or is off by more than 2 ulp. “or”: by position in the array. "
    "Errors are the largest in ulp where input and result are normal numbers (½: correctly rounded; in float64: "
    "the bits of rectifier's own kernels, within 1 ulp), with the share of the result where that is large, and the "
    "input."
)


@dataclass(frozen=True)
class Cell:
    text: str
    differs: bool


@dataclass(frozen=True)
class Sheet:
    """One function."""

    function: str
    columns: tuple[str, ...]
    """Where candidates differ."""
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]
    """What holds for all, defaults, dtypes, who does not have it."""


def sheets(comparison: Comparison) -> Iterator[Sheet]:
    for function in comparison.functions:
        yield _sheet(comparison, function)


_Look = Callable[[Measured], str]


def _sheet(comparison: Comparison, function: str) -> Sheet:
    every = comparison.of(function)
    texts = {
        title: [look(one) for one in every] for title, look in _columns(comparison) if any(look(one) for one in every)
    }
    agreed = [title for title, column in texts.items() if _agreed(title, set(column) - {"", "–"})]
    if texts.get("f′(−0)") == texts.get("f′(0)"):
        texts.pop("f′(−0)", None)
    columns = tuple(title for title in texts if title not in agreed)
    merged: dict[tuple[str, tuple[Cell, ...]], list[str]] = {}
    for index, one in enumerate(every):
        cells = tuple(_cell(title, texts[title][index], texts[title][0], one) for title in columns)
        merged.setdefault((one.framework, cells), []).append(one.candidate)
    rows = tuple((_joined(labels), cells) for (_, cells), labels in merged.items())
    common = [f"{title} = {next(text for text in texts[title] if text)}" for title in agreed if title in texts]
    notes = [f"In all: {', '.join(common)}."] if common else []
    if function in SLOPES:
        notes.append(f"Measured with the slope {SLOPES[function]}.")
    return Sheet(function, columns, rows, (*notes, *_defaults(every), *_dtypes(every), *_missing(comparison, every)))


def _agreed(title: str, texts: set[str]) -> bool:
    """Whether a column is said in one word beside the table: where all return the same, or nobody errs."""
    return len(texts) == 1 and (title.startswith("f") or texts == {"½"})


def _columns(comparison: Comparison) -> Iterator[tuple[str, _Look]]:
    points = {"0": "0", "6": "6", "nan": "NaN", "-0": "−0", "-inf": "−∞", "inf": "∞"}
    for point, shown in points.items():
        for kind, sign in (("value", "f"), ("derivative", "f′")):
            if (kind, point) in (("value", "0"), ("value", "6")):
                continue  # known from the formula
            yield f"{sign}({shown})", lambda one, k=kind, p=point: _result(one, k, p)  # type: ignore[misc]
    yield "subnormals", _subnormals
    for dtype in dict.fromkeys(dtype for one in comparison.measured for dtype in one.errors):
        for kind, sign in (("value", "f"), ("derivative", "f′")):
            yield f"error of {sign}, {dtype}", lambda one, k=kind, d=dtype: _error(one, k, d)  # type: ignore[misc]


def _cell(title: str, text: str, ours: str, one: Measured) -> Cell:
    if title.startswith("error"):
        kind, dtype = title.removeprefix("error of ").split(", ")
        ulp = one.errors.get(dtype, {}).get("value" if kind == "f" else "derivative", {}).get("ulp")
        return Cell(text, ulp is not None and float(ulp) > MARKED)
    return Cell(text, text not in ("", ours))


def _result(one: Measured, kind: str, point: str) -> str:
    return " or ".join(map(number, one.probes.get(kind, {}).get(point, ())))


def _subnormals(one: Measured) -> str:
    parts = [
        f"{sign} {said}"
        for kind, sign in (("value", "f"), ("derivative", "f′"))
        if (said := _lost(one.subnormals.get(kind, {})))
    ]
    return ", ".join(parts) or ("kept" if any(one.subnormals.values()) else "")


def _lost(kept: dict[str, str]) -> str:
    """What of subnormal inputs and results is taken for zero."""
    ends = [end for key, end in (("read", "in"), ("written", "out")) if kept.get(key, "all") != "all"]
    some = "some " if ends and all(kept.get(k) != "none" for k in ("read", "written")) else ""
    return f"{some}{' and '.join(ends)} lost" if ends else ""


def _error(one: Measured, kind: str, dtype: str) -> str:
    error = one.errors.get(dtype, {}).get(kind)
    if error is None:
        return ""
    if "problem" in error:
        return "–"
    ulp = float(error["ulp"])
    if ulp <= MARKED:
        return "½" if ulp <= 0.5 else f"{ulp:.2f}"
    relative = float(error["relative"])
    share = f" ({100 * relative:.0f} %)" if 0.01 <= relative < 10 else ""
    size = f"{ulp:.1f}" if ulp < 1000 else f"{ulp:,.0f}" if ulp < 1e6 else f"{ulp:.1e}"
    return f"{size}{share} at {number(format(float(error['x']), '.3g'))}"


def _joined(labels: list[str]) -> str:
    """ "TensorFlow", "TensorFlow function" → "TensorFlow, function"."""
    first = labels[0].split(" ")[0]
    return ", ".join([labels[0], *(label.removeprefix(f"{first} ") for label in labels[1:])])


def _grouped(told: dict[str, str]) -> str:
    groups: dict[str, list[str]] = {}
    for who, what in told.items():
        groups.setdefault(what, []).append(who)
    return "; ".join(f"{what}: {', '.join(who)}" for what, who in groups.items())


def _defaults(every: tuple[Measured, ...]) -> Iterator[str]:
    places: dict[str, str] = {}
    for one in every:
        for place, given in one.defaults.items():
            if given is None:
                places[place] = "not there"
            elif given:
                places[place] = ", ".join(f"{name} = {_plain(value)}" for name, value in given.items())
    if places:
        yield f"Defaults: {_grouped(places)}."


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _dtypes(every: tuple[Measured, ...]) -> Iterator[str]:
    told = {}
    for one in every:
        if one.dtypes:
            refused = [dtype for dtype, result in one.dtypes.items() if result == "refused"]
            others = [
                f"{dtype} gives {result}" for dtype, result in one.dtypes.items() if result not in (dtype, "refused")
            ]
            parts = [*([f"not {', '.join(refused)}"] if refused else []), *others]
            told[one.candidate] = ", ".join(parts) or "every one is kept"
    if told:
        yield f"Dtypes of float16, bfloat16, float32, float64, int32: {_grouped(told)}."


def _missing(comparison: Comparison, every: tuple[Measured, ...]) -> Iterator[str]:
    there = {one.framework for one in every}
    others = {one.framework: one.candidate for one in reversed(comparison.measured) if one.framework not in there}
    missing = list(reversed(others.values()))
    if missing:
        yield f"Not there: {', '.join(missing)}."


def header(comparison: Comparison) -> str:
    """What the figures must be told with, as one line."""
    versions = ", ".join(f"{name} {number}" for name, number in comparison.versions.items())
    return f"{comparison.machine}; {versions}; {comparison.date}; {comparison.samples:,} inputs an error"


def markdown(sheet: Sheet) -> str:
    """A section of the documentation."""
    lines = [f"| | {' | '.join(sheet.columns)} |", f"|---|{'---|' * len(sheet.columns)}"]
    for label, cells in sheet.rows:
        texts = (f"**{cell.text}**" if cell.differs else cell.text for cell in cells)
        lines.append(f"| {label} | {' | '.join(texts)} |")
    # A star alone would begin emphasis.
    notes = "\n".join(f"- {note}" for note in sheet.notes)
    return f"## `{sheet.function}`\n\n" + "\n".join(lines) + f"\n\n{notes}\n"
