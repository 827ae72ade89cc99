"""Times ``rectifier check`` on a file of saved weights: the whole command, from the shell to its exit.

Run with ``python benchmarks/weights.py [--megabytes 100] [--rounds 5] [--json FILE] [--write]``. The files are
made in a temporary folder, of random numbers, one a shape of model and number format, and lie in the system's cache as
a file just written or downloaded does. Beside each: the same command that only prints
its version (what starting costs), and a process that reads every tensor through the safetensors library and looks for
NaN (what a bare look at the numbers costs).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from rectifier.bench.machine import machine

PAGE = Path(__file__).parents[1] / "docs" / "weights.md"
BEGIN, END = "<!-- written by benchmarks/weights.py -->", "<!-- end -->"
BARE = (
    "import sys, numpy as np, ml_dtypes; from safetensors import safe_open; f = safe_open(sys.argv[1], 'np'); "
    "print(sum(int(np.isnan(f.get_tensor(k)).sum()) for k in f.keys()))"
)
Arrays = dict[str, npt.NDArray[Any]]


def cnn(values: int, dtype: Any, generator: np.random.Generator) -> Arrays:
    """Convolutions of 3 × 3 with batch normalisation, 256 channels, as many as it takes."""
    arrays: Arrays = {}
    for layer in range(max(1, values // (256 * 256 * 9))):
        arrays[f"features.{layer}.conv.weight"] = generator.standard_normal((256, 256, 3, 3), np.float32).astype(dtype)
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            arrays[f"features.{layer}.bn.{name}"] = np.full(256, value, dtype)
    return arrays


def mlp(values: int, dtype: Any, generator: np.random.Generator) -> Arrays:
    """Linear layers of 1024 units."""
    arrays: Arrays = {}
    for layer in range(max(1, values // 1024**2)):
        arrays[f"layers.{layer}.weight"] = generator.standard_normal((1024, 1024), np.float32).astype(dtype)
        arrays[f"layers.{layer}.bias"] = np.zeros(1024, dtype)
    return arrays


def small(values: int, dtype: Any, generator: np.random.Generator) -> Arrays:
    """Many small layers of 64 units: what a tensor costs beside what a number costs."""
    arrays: Arrays = {}
    for layer in range(max(1, values // 4096)):
        arrays[f"blocks.{layer}.weight"] = generator.standard_normal((64, 64), np.float32).astype(dtype)
        arrays[f"blocks.{layer}.bias"] = np.zeros(64, dtype)
    return arrays


FILES = {
    "CNN, float32": (cnn, np.float32),
    "CNN, bfloat16": (cnn, ml_dtypes.bfloat16),
    "CNN, float16": (cnn, np.float16),
    "MLP, float32": (mlp, np.float32),
    "MLP, bfloat16": (mlp, ml_dtypes.bfloat16),
    "small layers, float32": (small, np.float32),
}


def wall(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode in (0, 1), done.stderr.decode()
    return seconds


def timed(name: str, path: Path, rounds: int) -> dict[str, Any]:
    """Medians, all ways in turn, so that a change of the machine's speed meets all of them."""
    command = [sys.executable, "-m", "rectifier"]
    ways = {
        "check": [*command, "check", str(path)],
        "start": [*command, "--version"],
        "bare": [sys.executable, "-c", BARE, str(path)],
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, words in ways.items():
            times[way].append(wall(words))
    medians = {way: statistics.median(taken) for way, taken in times.items()}
    return {"file": name, "bytes": path.stat().st_size, **medians, "slowest": max(times["check"])}


def table(rows: list[dict[str, Any]], rounds: int) -> str:
    told = machine()
    where = f"{told['processor']}, {told['cores']} cores, NumPy {told['numpy']}"
    lines = [
        "| file | MB | `rectifier check` | slowest | starting alone | a bare look |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        seconds = " | ".join(f"{row[way]:.2f} s" for way in ("check", "slowest", "start", "bare"))
        lines.append(f"| {row['file']} | {row['bytes'] / 1e6:.0f} | {seconds} |")
    lines += ["", f"Medians of {rounds} rounds; {where}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--write", action="store_true", help="put the table into docs/weights.md")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (make, dtype) in FILES.items():
            if asked.only in name:
                path = Path(folder) / "model.safetensors"
                values = asked.megabytes * 1_000_000 // np.dtype(dtype).itemsize
                save_file(make(values, dtype, np.random.default_rng(0)), path)
                rows.append(timed(name, path, asked.rounds))
    print(table(rows, asked.rounds))
    if asked.json:
        Path(asked.json).write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1), encoding="utf-8")
    if asked.write:
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{table(rows, asked.rounds)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
