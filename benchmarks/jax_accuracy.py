"""Judges the JAX functions, compiled, by the reference that the NumPy kernels are held to.

Run with ``python benchmarks/jax_accuracy.py [--sample N] [--only NAMES] [--dtype NAMES] [--json FILE] [--write]``.
Values, and derivatives as ``jax.vjp`` gives them for an upstream gradient of 1: of float32 and float64 a sample that
holds each exponent, each edge and each hard case; of 16 bits all patterns. ``--write`` puts the table into
docs/frameworks.md.

Judged are inputs and results that are 0 or normal numbers of the dtype that is computed in (float32 for 16 bits), as
XLA's code for the CPU takes all others for 0; what it does with these is counted apart.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rectifier.jax as rj
from rectifier import _verify
from rectifier._functions import FUNCTIONS
from rectifier.verify import inputs
from rectifier.verify.plan import DTYPES, Case, make_plan

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
BEGIN, END = "<!-- accuracy: written by benchmarks/jax_accuracy.py -->", "<!-- end of accuracy -->"
NAMES = ("relu", "leaky_relu", "abs", "relu6", "squared_relu", "elu", "celu", "selu", "softplus")
CHUNK = 1 << 20


def judge(case: Case) -> dict[str, Any]:
    """The largest error of a case, in ulp, and what became of subnormal numbers."""
    wide: Any = np.float64 if case.dtype == "float64" else np.float32
    given: dict[str, Any] = {name: float(wide(value)) for name, value in case.parameters.items()}
    function = getattr(rj, case.function)

    def value(x: Any) -> Any:
        return function(x, **given)

    def derivative(x: Any) -> Any:
        h, backward = jax.vjp(value, x)
        return backward(jnp.ones_like(h))[0]

    compiled = jax.jit(value if case.kind == "value" else derivative)
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


def table(rows: list[dict[str, Any]]) -> str:
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
            f"JAX {jax.__version__}, {jax.default_backend()}, {judged:,} results judged; the largest: {worst:.2f}. "
            f"Of {subnormal:,} results that are subnormal numbers {lost:,} were 0.",
            "",
            *lines,
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(NAMES), help="functions, with commas")
    parser.add_argument("--dtype", default=",".join(DTYPES), help="dtypes, with commas")
    parser.add_argument("--json", type=Path, help="rows of an earlier run, which are added to")
    parser.add_argument("--write", action="store_true", help="put the table into docs/frameworks.md")
    given = parser.parse_args()
    rows: dict[str, Any] = {}
    if given.json is not None and given.json.exists():
        rows = {row["case"]: row for row in json.loads(given.json.read_text(encoding="utf-8"))}
    for dtype in given.dtype.split(",") if given.dtype else []:
        with jax.enable_x64(dtype == "float64"):
            for case in plan(given.sample, tuple(given.only.split(",")), (dtype,)):
                rows[case.label] = judge(case)
                print(rows[case.label], flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(list(rows.values()), indent=1), encoding="utf-8")
    made = table(list(rows.values()))
    print(made)
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
