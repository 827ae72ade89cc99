"""Times every function side by side with NumPy's idiom and PyTorch's function, in one process, as ratios.

Run with ``make bench`` or ``python benchmarks/functions.py [--values N] [--json FILE]``. One thread; float32; results
written into memory that is already there (``out=``) wherever the peer can do that. Rounds of all candidates are
interleaved, so that a change of the machine's speed meets all of them; medians with the quartiles are printed. A ratio
above 1 means that rectifier is faster.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rectifier
from rectifier import _native
from rectifier._functions import FUNCTIONS

Run = Callable[[], Any]


def candidates(name: str, x: np.ndarray, out: np.ndarray) -> dict[str, Run]:
    """What computes ``name`` into ``out``: ours, NumPy's usual idiom, and PyTorch's best way."""
    tensor, result = torch.from_numpy(x), torch.from_numpy(out)
    nn = torch.nn.functional
    function = FUNCTIONS[name]
    peers: dict[str, dict[str, Run]] = {
        "relu": {
            "NumPy": lambda: np.maximum(x, 0, out=out),
            "PyTorch": lambda: torch.clamp_min(tensor, 0, out=result),
        },
        "leaky_relu": {
            "NumPy": lambda: np.where(x > 0, x, np.float32(0.01) * x),
            "PyTorch": lambda: torch._C._nn.leaky_relu(tensor, 0.01, out=result),
        },
        "abs": {"NumPy": lambda: np.abs(x, out=out), "PyTorch": lambda: torch.abs(tensor, out=result)},
        "relu6": {
            "NumPy": lambda: np.clip(x, 0, 6, out=out),
            "PyTorch": lambda: torch._C._nn.hardtanh(tensor, 0.0, 6.0, out=result),
        },
        "squared_relu": {
            "NumPy": lambda: np.square(np.maximum(x, 0, out=out), out=out),
            "PyTorch": lambda: torch.clamp_min(tensor, 0, out=result).square_(),
        },
        "elu": {
            "NumPy": lambda: np.where(x > 0, x, np.expm1(x)),
            "PyTorch": lambda: torch._C._nn.elu(tensor, out=result),
        },
        "celu": {
            "NumPy": lambda: np.where(x > 0, x, np.expm1(x)),
            "PyTorch": lambda: nn.celu(tensor),
        },
        "selu": {
            "NumPy": lambda: np.float32(1.0507) * np.where(x > 0, x, np.float32(1.67326) * np.expm1(x)),
            "PyTorch": lambda: nn.selu(tensor),
        },
        "softplus": {
            "NumPy": lambda: np.logaddexp(0, x, out=out),
            "PyTorch": lambda: torch._C._nn.softplus(tensor, out=result),
        },
        "sigmoid": {
            "NumPy": lambda: 1 / (1 + np.exp(-x)),
            "PyTorch": lambda: torch.sigmoid(tensor, out=result),
        },
        "tanh": {"NumPy": lambda: np.tanh(x, out=out), "PyTorch": lambda: torch.tanh(tensor, out=result)},
    }
    return {"rectifier": lambda: function(x, out=out), **peers[name]}


def measure(runs: dict[str, Run], rounds: int, repeats: int) -> dict[str, list[float]]:
    """Seconds a call, one entry a round, the candidates interleaved."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            times[key].append((time.perf_counter() - start) / repeats)
    return times


def commit() -> str:
    shown = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or "unknown"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def machine() -> dict[str, str]:
    """What a figure must be told with: the processor, the instruction set in use, versions and commit."""
    return {
        "processor": processor(),
        "instruction set": _native.isa(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "commit": commit(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=131_072, help="float32 values a call (default: 128 K, in L2)")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if options.json and options.json.exists():
        parser.error(f"{options.json} exists; choose another file")

    torch.set_num_threads(1)
    _native.set_threads(1)
    rng = np.random.default_rng(0)
    x = (3 * rng.normal(size=options.values)).astype(np.float32)
    out = np.empty_like(x)
    repeats = max(1, 2_000_000 // options.values)
    header = {**machine(), "values": options.values}
    print("  ".join(f"{key}: {value}" for key, value in header.items()))
    print(f"{'':13}{'ns a value':>12}{'(quartiles)':>18}{'× NumPy idiom':>16}{'× PyTorch':>12}")
    rows = []
    for name in (row.name for row in rectifier.family.values() if row.name not in ("prelu", "threshold")):
        times = measure(candidates(name, x, out), options.rounds, repeats)
        low, middle, high = (1e9 / options.values * q for q in statistics.quantiles(times["rectifier"], n=4))
        ratios = {
            peer: statistics.median(times[peer]) / statistics.median(times["rectifier"])
            for peer in ("NumPy", "PyTorch")
        }
        print(f"{name:13}{middle:12.3f}{f'({low:.3f}–{high:.3f})':>18}{ratios['NumPy']:16.2f}{ratios['PyTorch']:12.2f}")
        rows.append({"function": name, "ns": middle, "quartiles": [low, high], **ratios})
    if options.json:
        options.json.write_text(json.dumps({**header, "rows": rows}, indent=1), encoding="utf-8")
        print(f"Wrote {options.json}")


if __name__ == "__main__":
    main()
