"""What a compiled ``Linear → f → Linear`` keeps for its backward pass, and how long a training step of it takes.

Run with ``python benchmarks/pytorch_compiled.py [kept] [step] [--threads N] [--batch N] [--features N] [--hidden N]
[--json FILE]``. Both beside PyTorch's own function, compiled with the same settings. Kept: bytes that the saved-tensor
hooks see, without parameters and the model's input, in buffers of the hidden size. Step: forward, backward and a zeroed
gradient, interleaved in blocks; medians, and ours as a ratio of theirs (below 1: ours is faster).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier.bench.machine import machine

Function = Callable[[torch.Tensor], torch.Tensor]
#: Ours and PyTorch's.
PAIRS: dict[str, tuple[Function, Function]] = {
    "relu": (rt.relu, torch.relu),
    "leaky_relu": (rt.leaky_relu, F.leaky_relu),
    "relu6": (rt.relu6, F.relu6),
    "abs": (rt.abs, torch.abs),
    "softplus": (rt.softplus, F.softplus),
    "squared_relu": (rt.squared_relu, lambda z: torch.relu(z).square()),
    "elu": (rt.elu, F.elu),
    "celu": (rt.celu, F.celu),
    "selu": (rt.selu, F.selu),
}
FOLLOWED = ("linear", "frozen", "add", "pool")
BLOCKS = 20


class Model(nn.Module):
    """A layer, the function, and what follows it."""

    def __init__(self, function: Function, features: int, hidden: int, followed: str = "linear") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function, self.followed = nn.Linear(features, hidden), function, followed
        self.second = nn.Linear(hidden, features)
        if followed == "frozen":
            self.second.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(x)
        h = self.function(z)
        if self.followed == "add":
            return h + x.sum(-1, keepdim=True)
        if self.followed == "pool":
            return h.mean(0)  # a pool that keeps nothing; nn.AvgPool1d and others keep their input
        return self.second(h)


def kept(model: nn.Module, x: torch.Tensor, hidden: int) -> float:
    """Hidden-size buffers that the hooks see."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), x)}
    seen: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        model(x).sum().backward()
    return sum(seen.values()) / (x.shape[0] * hidden * x.element_size())


def kept_table(args: argparse.Namespace) -> list[dict[str, Any]]:
    x = torch.randn(args.batch, args.features)
    rows = []
    for name, pair in PAIRS.items():
        if name not in args.functions:
            continue
        for who, function in zip(("rectifier", "PyTorch"), pair, strict=True):
            row: dict[str, Any] = {"function": name, "of": who}
            for followed in FOLLOWED:
                torch.compiler.reset()
                model = Model(function, args.features, args.hidden, followed)
                row[followed] = round(kept(torch.compile(model, fullgraph=True), x, args.hidden), 3)
            print(f"{name:14}{who:12}" + "".join(f"{followed} {row[followed]:<8}" for followed in FOLLOWED), flush=True)
            rows.append(row)
    return rows


def step_table(args: argparse.Namespace) -> list[dict[str, Any]]:
    x = torch.randn(args.batch, args.features)
    rows = []
    for name, pair in PAIRS.items():
        if name not in args.functions:
            continue
        torch.compiler.reset()
        steps = [step_of(torch.compile(Model(f, args.features, args.hidden), fullgraph=True), x) for f in pair]
        for _ in range(3):
            for step in steps:
                step()
        repeats = max(1, round(0.02 / timed(steps[1], 1)))
        times: list[list[float]] = [[], []]
        for block in range(BLOCKS):
            for which in (0, 1) if block % 2 else (1, 0):
                times[which].append(timed(steps[which], repeats))
        ours, theirs = (statistics.median(of) for of in times)
        times_of = f"rectifier {ours * 1e3:8.3f} ms   PyTorch {theirs * 1e3:8.3f} ms"
        print(f"{name:14}{times_of}   ratio {ours / theirs:.3f}", flush=True)
        rows.append({"function": name, "rectifier": ours, "PyTorch": theirs, "ratio": ours / theirs})
    return rows


def step_of(model: Callable[..., torch.Tensor], x: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad(set_to_none=True)  # type: ignore[attr-defined]
        model(x).sum().backward()

    step()
    return step


def timed(step: Callable[[], None], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="kept, step; both by default")
    parser.add_argument("--functions", nargs="+", default=[*PAIRS], choices=[*PAIRS], metavar="NAME")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tables = {"kept": kept_table, "step": step_table}
    result = {"machine": machine(), **{part: tables[part](args) for part in args.parts or tables}}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))
        print(f"Wrote {args.json}")


if __name__ == "__main__":
    main()
