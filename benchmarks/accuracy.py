"""What the accuracy of functions that a framework compiles is judged by: the reference that NumPy's are held to.

Of float32 and float64 a sample that holds each exponent, each edge and each hard case; of 16 bits all patterns. Judged
are inputs and results that are 0 or normal numbers of the dtype that is computed in (float32 for 16 bits), as XLA's
code for the CPU takes all others for 0; what it does with these is counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rectifier import _verify
from rectifier._functions import FUNCTIONS
from rectifier.verify import inputs
from rectifier.verify.plan import DTYPES, Case, make_plan

__all__ = ["NAMES", "judge", "plan", "run", "write"]

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
NAMES = ("relu", "leaky_relu", "abs", "relu6", "squared_relu", "elu", "celu", "selu", "softplus")
CHUNK = 1 << 20
Call = Callable[[Any], Any]
#: A case and its parameters → the compiled function, of an array.
Compile = Callable[[Case, Mapping[str, float]], Call]


def judge(case: Case, compile_: Compile) -> dict[str, Any]:
    """The largest error of a case, in ulp, and what became of subnormal numbers."""
    wide: Any = np.float64 if case.dtype == "float64" else np.float32
    given: dict[str, Any] = {name: float(wide(value)) for name, value in case.parameters.items()}
    compiled = compile_(case, given)
    every = inputs.patterns(case.dtype, 0, 1 << 16) if case.count is None else inputs.sample(case)
    with np.errstate(invalid="ignore"):
        every = every[~np.isnan(every)]  # a NaN is let through by a gate and NaN otherwise: tested apart
    found: dict[str, Any] = {"case": case.label, "judged": 0, "misrounded": 0, "worst": -1.0, "subnormal": 0, "lost": 0}
    for start in range(0, every.size, CHUNK):
        x = every[start : start + CHUNK]
        with np.errstate(all="ignore"):
            exact = FUNCTIONS[case.function] if case.kind == "value" else FUNCTIONS[case.function].derivative
            right, got = exact(x, **given), np.asarray(compiled(x))
        assert got.dtype == x.dtype
        # One that is the smallest normal number may have been rounded up to it.
        tiny = np.finfo(wide).tiny
        normal = [(np.abs(values.astype(wide)) > tiny) | (values == 0) for values in (x, right)]
        judged = normal[0] & normal[1]
        bits = f"uint{8 * x.dtype.itemsize}"
        parameter = next(iter(given.values()), 0.0)
        misrounded, worst, at, _ = _verify.compare(
            case.function, case.kind, case.dtype, x[judged].view(bits), got[judged].view(bits), parameter
        )
        found["judged"] += int(judged.sum())
        found["misrounded"] += int(misrounded)
        lost = ~normal[1] & (right != 0) & (got == 0)
        found["subnormal"] += int((~normal[1] & (right != 0)).sum())
        found["lost"] += int(lost.sum())
        if worst > found["worst"]:
            found |= {"worst": float(worst), "at": float(x[judged][at]), "got": float(got[judged][at])}
    return found


def plan(sample: int, names: tuple[str, ...], dtypes: tuple[str, ...]) -> list[Case]:
    return list(make_plan(names, dtypes, sample=sample, kinds=("value", "derivative")))


def table(rows: list[dict[str, Any]], how: str) -> str:
    """The largest error by function, kind and dtype: at the default parameter, and at all others."""
    cells: dict[tuple[str, str], dict[tuple[str, bool], float]] = {}
    for row in rows:
        *words, kind, dtype = row["case"].split()
        cell = cells.setdefault((words[0], kind), {})
        key = dtype, len(words) == 1
        cell[key] = max(cell.get(key, 0.0), row["worst"])
    there = {dtype for cell in cells.values() for dtype, _ in cell}
    dtypes = [dtype for dtype in DTYPES if dtype in there]
    lines = ["| function | kind | " + " | ".join(dtypes) + " |", "|---|---|" + "---|" * len(dtypes)]
    for (function, kind), cell in cells.items():
        told = []
        for dtype in dtypes:
            usual, others = cell.get((dtype, True)), cell.get((dtype, False))
            told.append("–" if usual is None else f"{usual:.2f}" + ("" if others is None else f" ({others:.2f})"))
        lines.append(f"| {function} | {kind} | " + " | ".join(told) + " |")
    judged, lost, subnormal = (sum(row[key] for row in rows) for key in ("judged", "lost", "subnormal"))
    worst = max(row["worst"] for row in rows)
    return "\n".join(
        [
            f"Largest error in ulp at the default parameter (and at the others that `rectifier verify` tries), "
            f"{how}, {judged:,} results judged; the largest: {worst:.2f}. "
            f"Of {subnormal:,} results that are subnormal numbers {lost:,} were 0.",
            "",
            *lines,
        ]
    )


def write(begin: str, end: str, made: str) -> None:
    """Put a table between its two marks on the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{head}{begin}\n{made}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def run(
    description: str,
    marks: tuple[str, str],
    ways: Mapping[str, Compile],
    setting: Callable[[str], contextlib.AbstractContextManager[Any]] = lambda dtype: contextlib.nullcontext(),
) -> None:
    """The program. ways: how each table says what it judged → what compiles; setting: what a dtype needs to be on."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--sample", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(NAMES), help="functions, with commas")
    parser.add_argument("--dtype", default=",".join(DTYPES), help="dtypes, with commas")
    parser.add_argument("--json", type=Path, help="rows of an earlier run, which are added to")
    parser.add_argument("--write", action="store_true", help="put the table into docs/frameworks.md")
    given = parser.parse_args()
    rows: dict[str, dict[str, Any]] = {way: {} for way in ways}
    if given.json is not None and given.json.exists():
        rows |= json.loads(given.json.read_text(encoding="utf-8"))
    for dtype in given.dtype.split(",") if given.dtype else []:
        with setting(dtype):
            for case in plan(given.sample, tuple(given.only.split(",")), (dtype,)):
                for way, compile_ in ways.items():
                    rows[way][case.label] = judge(case, compile_)
                    print(way, rows[way][case.label], flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    made = "\n\n".join(table(list(found.values()), way) for way, found in rows.items())
    print(made)
    if given.write:
        write(*marks, made)
