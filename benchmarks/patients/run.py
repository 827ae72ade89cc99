"""Scores tools on the patients: what they find of what was planted, and what they find where nothing is wrong.

Run with ``python -m benchmarks.patients`` (or ``python benchmarks/patients/run.py``)
``[--tool NAME]... [--patient NAME]... [--seed N] [--json FILE] [--page docs/checkup-benchmark.md]``.

Every patient is built anew for each tool, from the same seed, and checks its own truth first. A tool that is not
installed is listed as such; what a tool raises on a patient is recorded as its error, and the run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script: the names of this folder's files must not hide others
    sys.path[0] = str(Path(__file__).parents[2])

import torch

from benchmarks.patients import page
from benchmarks.patients.case import Patient, Tool
from benchmarks.patients.cases import PATIENTS
from benchmarks.patients.ranks import diagnoses
from benchmarks.patients.score import Score, failed, score
from benchmarks.patients.tools import TOOLS
from benchmarks.patients.truth import problems

__all__ = ["examine", "main", "result"]


def examine(tool: Tool, patient: Patient, seed: int, small: bool = False) -> Score:
    """Run one tool on one patient and score what it says."""
    case = patient.build(seed, small=small)
    try:
        if patient.ranks > 1:
            answers = diagnoses(tool, patient, seed, small)
        else:
            subject = case if tool.live else case.trained()
            answers = [tool.diagnose(subject.visit())]
    except Exception as error:  # a tool may raise anything
        return failed(tool.name, patient, case, f"{type(error).__name__}: {error}".splitlines()[0])
    truth = patient.build(seed, small=small)
    # Rank 0 is what a user reads; a count is exact where every process gives the same right one.
    scores = [score(tool.name, patient, truth, answer, tool.live) for answer in answers]
    wrong = next((one for one in scores if one.counts_exact is False), None)
    return scores[0] if wrong is None else Score(**{**vars(scores[0]), "counts_exact": False})


def result(tools: Iterable[Tool], patients: Iterable[Patient], seed: int, small: bool = False) -> dict[str, Any]:
    """Everything: what was run, what was not there, and a score for each pair.

    Raises RuntimeError where a patient's truth does not hold.
    """
    from rectifier.bench.machine import machine

    patients = list(patients)
    here = {tool.name: tool.version() for tool in tools}
    scores = []
    for patient in patients:
        wrong = problems(patient.build(seed, small=small))
        if wrong:
            raise RuntimeError(f"patients: the truth of {patient.name} does not hold at seed {seed}: {wrong[0]}")
        for name, version in here.items():
            if version is not None:
                print(f"{patient.name}: {name}", file=sys.stderr)
                scores.append(examine(TOOLS[name], patient, seed, small))
    return {"machine": machine(), "seed": seed, "tools": here, "scores": scores}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.patients", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--tool", action="append", choices=list(TOOLS), metavar="NAME", help=f"of {', '.join(TOOLS)}")
    parser.add_argument(
        "--patient", action="append", choices=list(PATIENTS), metavar="NAME", help=f"of {', '.join(PATIENTS)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the patients (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every score here")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of the documentation here")
    chosen = parser.parse_args(arguments)
    if chosen.page and (chosen.tool or chosen.patient):
        parser.error("--page shows every tool and every patient; leave out --tool and --patient")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    tools = [TOOLS[name] for name in chosen.tool or TOOLS]
    patients = [PATIENTS[name] for name in chosen.patient or PATIENTS]
    found = result(tools, patients, chosen.seed)
    print(page.terminal(found))
    if chosen.json:
        plain = {**found, "scores": [one.plain() for one in found["scores"]]}
        chosen.json.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        print(f"Wrote {chosen.json}", file=sys.stderr)
    if chosen.page:
        chosen.page.write_text(page.markdown(found, list(PATIENTS.values())), encoding="utf-8")
        print(f"Wrote {chosen.page}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
