"""A sweep in a process of its own: python -m tests.claims.sweeping ENGINE FOLDER TIMES. Prints the results table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from rectifier.claims.lab.engines import Engine, engine
from rectifier.claims.lab.experiment import Run
from rectifier.claims.lab.plan import Plan
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.results import Results
from rectifier.claims.lab.sweep import asked, sweep

from .planted import fragile, sums
from .test_sweep import claim


def main(name: str, folder: Path, times: int) -> None:
    marks = folder / "marks"
    marks.mkdir(parents=True)

    def runs(plan: Plan, done: Results) -> Iterator[Run]:
        for seed in plan.seeds:
            yield Run(sums, {"seed": seed})
            yield Run(fragile, {"seed": seed, "marks": str(marks), "times": times})

    planted, plan = claim(runs=runs), Plan(quick=True, many=9)
    records = Records(folder / "results")
    if name == "here":
        sweep({"planted": (planted, plan)}, records, Engine(1))
    else:
        with engine(name, 2) as two:
            sweep({"planted": (planted, plan)}, records, two)
    rows = Records(folder / "results").results(asked(planted, plan, records))
    table = [[row.experiment, row.seed, row.outcome] for row in rows]
    print(json.dumps({"table": table, "killed": len(list(marks.iterdir())), "reports its use": _reported()}))


def _reported() -> bool:
    """Whether Ray, where it ran, would tell its makers."""
    if "ray" not in sys.modules:
        return False
    from ray._common.usage import usage_lib

    return bool(usage_lib.usage_stats_enabled())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
