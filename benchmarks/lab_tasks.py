"""What the tasks of the laboratory reach and take: writes the tables of docs/lab-tasks.md.

Each activation trains at its own best step size of the quick grid, found on two other seeds, with the quick budget; the
scores on the test part are means and standard deviations over three seeds. Seconds are of one processor, of a whole run
without loading the data, and medians. About 6 minutes on two processors.

    python benchmarks/lab_tasks.py                           # tables on standard output
    python benchmarks/lab_tasks.py --write docs/lab-tasks.md
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import joblib

from rectifier._machine import processor, versions
from rectifier.claims.experiments.trained import trained
from rectifier.claims.lab.fair import tuned
from rectifier.claims.lab.plan import Plan
from rectifier.claims.lab.results import Results, Row
from rectifier.claims.tasks import TASKS

ACTIVATIONS = ("relu", "elu", "tanh", "sigmoid")
START, END = "<!-- tables: written by benchmarks/lab_tasks.py -->", "<!-- end of tables -->"


def measured(task: str, activation: str, plan: Plan) -> Results:
    """All runs of one activation on one task, tuning included."""
    candidate = {"task": task, "activation": activation}
    trained({**candidate, "step": 0.01, "seed": 0, "budget": 1})  # loads the data
    rows: dict[str, Row] = {}
    while True:
        asked = tuned(trained, [candidate], plan, Results(rows.values()), steps=TASKS[task].few_steps)
        missing = [run for run in asked if run.key not in rows]
        if not missing:
            return Results(rows.values())
        for run in missing:
            start = time.process_time()
            outcome = trained(run.config)
            rows[run.key] = Row(trained.name, run.config, outcome, time.process_time() - start)


def full_seconds(task: str) -> float:
    """One run of ReLU with the full budget."""
    config = {"task": task, "activation": "relu", "step": TASKS[task].few_steps[0], "seed": 0}
    trained({**config, "budget": 1})
    start = time.process_time()
    trained({**config, "budget": TASKS[task].full})
    return time.process_time() - start


def tables(results: dict[tuple[str, str], Results], full: dict[str, float], plan: Plan) -> str:
    told = ", ".join(f"{name} {version}" for name, version in versions(("torch", "scikit-learn", "gymnasium")).items())
    lines = [
        f"{processor()}; {told}.",
        "",
        "| task | data and network | score | by chance | updates: quick, full | seconds a run: quick, full |",
        "|---|---|---|---|---|---|",
    ]
    for name, task in TASKS.items():
        quick = statistics.median(row.seconds for label in ACTIVATIONS for row in results[name, label])
        lines.append(
            f"| `{name}` | {task.about} | {task.measure} | {task.chance:g} | {task.quick:,}, {task.full:,} "
            f"| {quick:.1f}, {full[name]:.1f} |"
        )
    lines += [
        "",
        f"| score on the test part | {' | '.join(f'`{label}`' for label in ACTIVATIONS)} |",
        f"|---|{'---|' * len(ACTIVATIONS)}",
    ]
    for name in TASKS:
        cells = []
        for label in ACTIVATIONS:
            judged = results[name, label].of_seeds(plan.seeds)
            scores = [float(row["test"]) for row in judged]
            step = judged.rows[0].config["step"]
            cells.append(f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f} (at {step:g})")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    arguments = parser.parse_args()
    plan = Plan(quick=True, many=3)
    pairs = [(task, label) for task in TASKS for label in ACTIVATIONS]
    workers = joblib.Parallel(n_jobs=2, batch_size=1, verbose=1)
    found = dict(zip(pairs, workers(joblib.delayed(measured)(*pair, plan) for pair in pairs), strict=True))
    full = dict(zip(TASKS, workers(joblib.delayed(full_seconds)(task) for task in TASKS), strict=True))
    text = tables(found, full, plan)
    if arguments.write is None:
        print(text)
        return
    page = arguments.write.read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    arguments.write.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(f"Wrote {arguments.write}", file=sys.stderr)


if __name__ == "__main__":
    main()
