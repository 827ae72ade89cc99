"""Two processes over gloo: each builds the patient, takes its share of the batches and runs the tool on it.

One of them is ``python -m benchmarks.patients.ranks TOOL PATIENT SEED SMALL RANK WORLD FILE``; it writes FILE.RANK.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from benchmarks.patients.case import Answer, Patient, Tool

__all__ = ["diagnoses"]

ROOT = Path(__file__).parents[2]


def diagnoses(tool: Tool, patient: Patient, seed: int, small: bool = False, timeout: float = 300.0) -> list[Answer]:
    """The answer of each process.

    Raises RuntimeError with the last line of what the first failing process wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer")
        command = [sys.executable, "-m", __name__, tool.name, patient.name, str(seed), str(int(small))]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        running = [
            subprocess.Popen(
                [*command, str(rank), str(patient.ranks), str(file)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path},
            )
            for rank in range(patient.ranks)
        ]
        try:
            errors = [process.communicate(timeout=timeout)[1] for process in running]
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"no answer within {timeout:g} s") from None
        finally:
            for process in running:
                process.kill()
        for process, error in zip(running, errors, strict=True):
            if process.returncode:
                raise RuntimeError(error.strip().splitlines()[-1] if error.strip() else "a process died")
        return [pickle.loads(Path(f"{file}.{rank}").read_bytes()) for rank in range(patient.ranks)]


def main(tool: str, patient: str, seed: int, small: bool, rank: int, world: int, file: str) -> None:
    import torch
    import torch.distributed as dist

    from benchmarks.patients.cases import PATIENTS
    from benchmarks.patients.tools import TOOLS

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{file}.store", rank=rank, world_size=world)
    case = PATIENTS[patient].build(seed, small=small)
    adapter = TOOLS[tool]
    answer = adapter.diagnose(replace(case, batches=case.batches[rank::world]).visit())
    Path(f"{file}.{rank}").write_bytes(pickle.dumps(answer))
    dist.destroy_process_group()


if __name__ == "__main__":
    _tool, _patient, _seed, _small, _rank, _world, _file = sys.argv[1:]
    main(_tool, _patient, int(_seed), _small == "1", int(_rank), int(_world), _file)
