"""Times forward and backward passes through autograd, eager, beside PyTorch's own functions, as ratios.

Run with ``python benchmarks/pytorch.py [--only small|large|huge pages] [--json FILE]``. Two tables: forward and
backward of 4 K to 1 M values (ours ÷ PyTorch: below 1 we are faster), and the backward pass alone of 16 M values
(PyTorch ÷ ours: above 1 we are faster), the latter once more with ``THP_MEM_ALLOC_ENABLE=1``, with which PyTorch
allocates huge pages. Calls of both are interleaved, so that a change of the machine's speed meets both; medians with
the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier import _native

Call = Callable[[torch.Tensor], torch.Tensor]
SLOPE = torch.full((1,), 0.25, requires_grad=True)
PAIRS: dict[str, tuple[Call, Call]] = {
    "relu": (rt.relu, torch.relu),
    "leaky_relu": (rt.leaky_relu, F.leaky_relu),
    "prelu": (lambda z: rt.prelu(z, negative_slope=SLOPE), lambda z: F.prelu(z, SLOPE)),
    "abs": (rt.abs, torch.abs),
    "relu6": (rt.relu6, F.relu6),
    "squared_relu": (rt.squared_relu, lambda z: torch.relu(z).square()),
    "elu": (rt.elu, F.elu),
    "celu": (rt.celu, F.celu),
    "selu": (rt.selu, F.selu),
    "softplus": (rt.softplus, F.softplus),
}
SMALL = (4096, 16384, 65536, 1 << 20)
LARGE = 1 << 24


def both_passes(call: Call, z: torch.Tensor, dh: torch.Tensor) -> float:
    begun = time.perf_counter()
    call(z).backward(dh)
    taken = time.perf_counter() - begun
    z.grad = SLOPE.grad = None
    return taken


def backward_alone(call: Call, z: torch.Tensor, dh: torch.Tensor) -> float:
    h = call(z)
    begun = time.perf_counter()
    h.backward(dh)
    taken = time.perf_counter() - begun
    z.grad = SLOPE.grad = None
    return taken


def compared(name: str, values: int, rounds: int, once: Callable[..., float]) -> dict[str, Any]:
    """Median seconds of each, and ours ÷ theirs with its quartiles over the rounds."""
    z, dh = torch.randn(values, requires_grad=True), torch.randn(values)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, taken in zip(PAIRS[name], times, strict=True):
            taken.append(once(call, z, dh))
    kept = tuple(taken[len(taken) // 10 :] for taken in times)  # the first of each warm up
    ratios = sorted(a / b for a, b in zip(*kept, strict=True))
    ours, theirs = (statistics.median(taken) for taken in kept)
    return {
        "function": name,
        "values": values,
        "ours": ours,
        "theirs": theirs,
        "ratio": ours / theirs,
        "quartiles": (ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]),
    }


def small() -> list[dict[str, Any]]:
    print(f"{'forward + backward':20}{'values':>9}{'ours µs':>10}{'PyTorch µs':>12}{'ratio':>7}  quartiles")
    rows = []
    for values in SMALL:
        for name in PAIRS:
            row = compared(name, values, 40 if values > 1 << 17 else 300, both_passes)
            low, high = row["quartiles"]
            print(
                f"{name:20}{values:9}{row['ours'] * 1e6:10.1f}{row['theirs'] * 1e6:12.1f}{row['ratio']:7.2f}"
                f"  {low:.2f} to {high:.2f}",
                flush=True,
            )
            rows.append(row)
    return rows


def large() -> list[dict[str, Any]]:
    way = "huge pages" if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1" else "as shipped"
    print(f"{'backward, 16 M':20}{'PyTorch':>12}{'ours ms':>9}{'theirs ms':>11}{'times':>7}  quartiles")
    rows = []
    for name in PAIRS:
        row = {**compared(name, LARGE, 10, backward_alone), "pages": way}
        low, high = row["quartiles"]
        print(
            f"{name:20}{way:>12}{row['ours'] * 1e3:9.1f}{row['theirs'] * 1e3:11.1f}{1 / row['ratio']:7.2f}"
            f"  {1 / high:.2f} to {1 / low:.2f}",
            flush=True,
        )
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["small", "large", "huge pages"])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.manual_seed(0)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__} with "
        f"{torch.get_num_threads()} threads, rectifier {_native.isa()} with {_native.threads()}"
    )
    rows: list[dict[str, Any]] = []
    if given.only in (None, "small"):
        rows += small()
    if given.only in (None, "large"):
        rows += large()
    if given.only in (None, "huge pages"):
        if os.environ.get("THP_MEM_ALLOC_ENABLE") == "1":
            rows += large()
        else:  # read once, when PyTorch starts
            command = [sys.executable, __file__, "--only", "huge pages"]
            subprocess.run(command, env={**os.environ, "THP_MEM_ALLOC_ENABLE": "1"}, check=True)
    if given.json:
        given.json.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1), encoding="utf-8")
        print(f"Wrote {given.json}", file=sys.stderr)


if __name__ == "__main__":
    main()
