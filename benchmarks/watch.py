"""Times a training step that is watched beside the same step that is not, as ratios.

Run with ``python benchmarks/watch.py [--only mlp|cnn] [--layers pytorch|ours|calls] [--rounds N] [--json FILE]
[--write]``.
Each way of training has three networks and optimizers of its own, as where their tensors happen to lie in memory makes
two per cent of difference, and all take turns in blocks of steps, so that a change of the machine's speed meets all; a
ratio is one block's time over that of the plain block of its round, and what is shown is the median over the rounds
with the quartiles. "plain again" beside "plain" says how much of a ratio is chance. Before the first block every way
runs for a while, in which the early looks of ``every="auto"`` fall; what that takes is shown apart. ``--write`` puts
the table of those JSON files into docs/watching.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import rectifier
import rectifier.torch as rt

PAGE = Path(__file__).parents[1] / "docs" / "watching.md"
BEGIN, END = "<!-- written by benchmarks/watch.py -->", "<!-- end -->"
Layer = Callable[[], nn.Module]
#: ``calls``: the same network with ``F.relu`` where it otherwise has a module.
LAYERS = ("pytorch", "ours", "calls")
#: Networks of each way.
COPIES = 3


def mlp(relu: Layer) -> nn.Module:
    return nn.Sequential(nn.Linear(64, 256), relu(), nn.Linear(256, 256), relu(), nn.Linear(256, 10))


class Calls(nn.Module):
    """A network of modules, with ``F.relu`` called where one of them is an activation."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts = list(network.children())
        self.parts = nn.ModuleList(part for part in parts if not isinstance(part, nn.ReLU))
        kept = [place for place, part in enumerate(parts) if not isinstance(part, nn.ReLU)]
        self.rectified = [place + 1 < len(parts) and isinstance(parts[place + 1], nn.ReLU) for place in kept]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part, rectified in zip(self.parts, self.rectified, strict=True):
            x = F.relu(part(x)) if rectified else part(x)
        return x


def cnn(relu: Layer) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        relu(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        relu(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


#: name: (network, shape of a batch, steps a block, steps before the first block, what it is called)
NETWORKS: dict[str, tuple[Callable[[Layer], nn.Module], tuple[int, ...], int, int, str]] = {
    "mlp": (mlp, (128, 64), 130, 800, "MLP 64-256-256-10, batch 128"),
    "cnn": (cnn, (128, 1, 8, 8), 45, 300, "Conv-BN-ReLU CNN 16-32 on 8 × 8, batch 128"),
}
#: what is shown: (layers, arguments of watch; None: not watched, what it is compared with)
WAYS: dict[str, tuple[str, dict[str, Any] | None, str]] = {
    "plain": ("pytorch", None, "plain"),
    "plain again": ("pytorch", None, "plain"),
    "watched": ("pytorch", {}, "plain"),
    "watched, gates every step": ("pytorch", {"gates": "every"}, "plain"),
    "our layers, plain": ("ours", None, "our layers, plain"),
    "our layers, gates every step": ("ours", {"gates": "every"}, "our layers, plain"),
    "F.relu, plain": ("calls", None, "F.relu, plain"),
    "F.relu, gates every step": ("calls", {"gates": "every"}, "F.relu, plain"),
}


class Training:
    """One network in training, watched or not."""

    def __init__(self, network: str, way: str) -> None:
        make, shape, *_ = NETWORKS[network]
        layers, self.arguments, _ = WAYS[way]
        torch.manual_seed(0)
        model = make(rt.ReLU if layers == "ours" else nn.ReLU)
        self.model = Calls(model) if layers == "calls" else model
        self.x, self.y = torch.randn(shape), torch.randint(0, 10, shape[:1])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        self.watching: Any = None

    def run(self, steps: int) -> float:
        """Seconds of so many steps, watched from the first on."""
        begun = time.perf_counter()
        if self.watching is None and self.arguments is not None:
            self.watching = rectifier.watch(self.model, self.optimizer, **self.arguments).start()
        for _ in range(steps):
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(self.x), self.y).backward()
            self.optimizer.step()
        return time.perf_counter() - begun


def measured(network: str, layers: str, rounds: int) -> list[dict[str, Any]]:
    """The ways with these layers, in turns."""
    *_, block, before, _ = NETWORKS[network]
    ways = [way for way in WAYS if WAYS[way][0] == layers]
    copies = [{way: Training(network, way) for way in ways} for _ in range(COPIES)]

    def run(turn: int, steps: int) -> dict[str, float]:
        """One block of each, in another order each time."""
        turned = ways[turn % len(ways) :] + ways[: turn % len(ways)]
        taken = [{way: copy[way].run(steps) for way in turned} for copy in copies]
        return {way: sum(part[way] for part in taken) for way in ways}

    early = [run(turn, before // 5) for turn in range(5)]
    blocks = [run(turn, block) for turn in range(rounds)]
    rows = []
    for way in ways:
        base = WAYS[way][2]
        if way == base:
            continue
        ratios = sorted(taken[way] / taken[base] for taken in blocks)
        looks = 0
        for watching in [copy[way].watching for copy in copies if copy[way].watching is not None]:
            watching.stop()
            looks += sum(len(snapshot.looked) for snapshot in watching.record.snapshots)
        rows.append(
            {
                "network": network,
                "way": way,
                "step": statistics.median(taken[base] for taken in blocks) / block / COPIES,
                "ratio": statistics.median(ratios),
                "quartiles": (ratios[len(ratios) // 4], ratios[len(ratios) * 3 // 4]),
                "from_start": sum(taken[way] for taken in early) / sum(taken[base] for taken in early),
                "looks": looks / COPIES,
                "steps": before // 5 * 5 + rounds * block,
            }
        )
    return rows


def table(rows: list[dict[str, Any]], rounds: int) -> str:
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__} with {torch.get_num_threads()} "
        f"thread, Adam; median of {rounds} interleaved blocks (quartiles).",
        "",
        "| network | step | way | step time ÷ plain | from the first step on | looks |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        *_, before, title = NETWORKS[row["network"]]
        low, high = row["quartiles"]
        looks = f"{row['looks']:.0f} in {row['steps']} steps" if row["looks"] else "–"
        lines.append(
            f"| {title} | {row['step'] * 1e3:.2f} ms | {row['way']} | {row['ratio']:.3f} ({low:.3f} to {high:.3f}) | "
            f"{row['from_start']:.3f} over {before} | {looks} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=list(NETWORKS))
    parser.add_argument("--layers", choices=LAYERS)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--json", type=Path, action="append", default=[])
    parser.add_argument("--write", action="store_true", help="put the table of these JSON files into the page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.write:
        rows = [row for path in given.json for row in json.loads(path.read_text(encoding="utf-8"))]
        text = PAGE.read_text(encoding="utf-8")
        head, rest = text.split(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n\n{table(rows, given.rounds)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
        print(f"Wrote {PAGE}", file=sys.stderr)
        return
    chosen = [(network, layers) for network in NETWORKS for layers in LAYERS]
    rows: list[dict[str, Any]] = []
    for network, layers in chosen:
        if given.only in (None, network) and given.layers in (None, layers):
            rows += measured(network, layers, given.rounds)
    print(table(rows, given.rounds))
    for path in given.json:
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"Wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
