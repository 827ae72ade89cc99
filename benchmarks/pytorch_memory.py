"""Measures what rectifiers keep for the backward pass in PyTorch, and what that does to the memory of a training step.

Run with ``python benchmarks/pytorch_memory.py [kept] [peak] [--no-compiled] [--json FILE] [--page docs/pytorch.md]``;
``--read FILE`` takes the figures of an earlier run in place of measuring.

``kept``: the memory that autograd holds between forward and backward in ``Linear → f → …``, in buffers of the hidden
size. Saved-tensor hooks see each tensor that is kept; a storage counts once; parameters and the input of the model do
not count. Around a compiled model the same hooks see what its one graph keeps; the graph is divided as for Inductor,
and only divided, since the code that Inductor would write keeps neither more nor less.

``peak``: the resident memory of the process, read from the kernel, during one training step of a whole network, above
what it holds before the step (weights, the optimizer's state). Each case runs in a process of its own, its high-water
mark is set back (``/proc/self/clear_refs``) after two steps for warming up, and malloc is told to map every tensor
apart, so that what is freed is gone from the figure. Linux only. Exact to what the libraries' scratch memory varies by:
a few MB.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memory_models
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier.bench.machine import machine

Tensor = torch.Tensor
Make = Callable[[], nn.Module]


class Squared(nn.Module):
    """Squared ReLU as PyTorch users write it."""

    def forward(self, z: Tensor) -> Tensor:
        return F.relu(z).square()


class Absolute(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.abs(z)


#: Function → PyTorch's module, ours, and ours with another save policy where there is one.
FUNCTIONS: dict[str, dict[str, Make]] = {
    "relu": {"PyTorch": nn.ReLU, "rectifier": rt.ReLU},
    "leaky_relu": {"PyTorch": nn.LeakyReLU, "rectifier": rt.LeakyReLU},
    "prelu": {"PyTorch": nn.PReLU, "rectifier": rt.PReLU},
    "relu6": {"PyTorch": nn.ReLU6, "rectifier": rt.ReLU6},
    "abs": {"PyTorch": Absolute, "rectifier": rt.Abs},
    "squared_relu": {"PyTorch": Squared, "rectifier": rt.SquaredReLU},
    "softplus": {"PyTorch": nn.Softplus, "rectifier": rt.Softplus},
    "elu": {"PyTorch": nn.ELU, "rectifier": rt.ELU},
    "celu": {"PyTorch": nn.CELU, "rectifier": rt.CELU},
    "selu": {"PyTorch": nn.SELU, "rectifier": rt.SELU},
}
for _name in ("elu", "celu", "selu"):
    _layer = FUNCTIONS[_name]["rectifier"]
    FUNCTIONS[_name]['rectifier, save="output"'] = lambda layer=_layer: layer(save="output")


# What is kept --------------------------------------------------------------------------------------------------------

EXAMPLES, INPUTS, HIDDEN, OUTPUTS = 512, 64, 4096, 16


class Place(nn.Module):
    """``Linear → f →`` and what follows: a Linear, a frozen one, the sum with a residual, or a global average."""

    def __init__(self, make: Make, then: str) -> None:
        super().__init__()
        self.first, self.f, self.then = nn.Linear(INPUTS, HIDDEN), make(), then
        if then in ("Linear", "frozen Linear"):
            self.second = nn.Linear(HIDDEN, OUTPUTS).requires_grad_(then == "Linear")

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        h = self.f(self.first(x))
        if self.then == "add":
            return h + residual
        return F.adaptive_avg_pool1d(h, 1) if self.then == "pool" else self.second(h)


PLACES = ("Linear", "frozen Linear", "add", "pool")


def kept(make: Make, then: str, compiled: bool) -> float:
    """Bytes held for the backward pass, in float32 buffers of the hidden size."""
    torch.manual_seed(0)
    model = Place(make, then)
    x, residual = torch.randn(EXAMPLES, INPUTS), torch.randn(EXAMPLES, HIDDEN)
    run = torch.compile(model, fullgraph=True, backend="aot_eager_decomp_partition") if compiled else model
    run(x, residual).sum().backward()  # compiles, outside the hooks
    not_counted = {t.untyped_storage().data_ptr() for t in (x, residual, *model.parameters())}
    # Held for as long as they are counted, or memory freed and used again would be taken for the same storage.
    held: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor)
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run(x, residual)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held}
    total = sum(size for address, size in storages.items() if address not in not_counted)
    out.sum().backward()
    return total / (EXAMPLES * HIDDEN * 4)


def kept_rows(compiled: bool) -> Iterator[dict[str, Any]]:
    for name, ways in FUNCTIONS.items():
        for way, make in ways.items():
            row = {"function": name, "way": way}
            for then in PLACES:
                row[then] = kept(make, then, compiled=False)
                if compiled:
                    torch._dynamo.reset()
                    row[f"{then}, compiled"] = kept(make, then, compiled=True)
            yield row


# Peak ----------------------------------------------------------------------------------------------------------------


class _KeepsNothing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class KeepsNothing(nn.Module):
    """Wrong gradients and no memory: what no rectifier can fall below."""

    def forward(self, z: Tensor) -> Tensor:
        return _KeepsNothing.apply(z)


PEERS: dict[str, dict[str, Make]] = {
    "mlp": {"PyTorch": nn.LeakyReLU, "PyTorch, inplace=True": lambda: nn.LeakyReLU(inplace=True)},
    "resnet18": {"PyTorch": nn.LeakyReLU, "PyTorch, inplace=True": lambda: nn.LeakyReLU(inplace=True)},
    "lora": {"PyTorch": nn.ReLU, "PyTorch, inplace=True": lambda: nn.ReLU(inplace=True)},
}
OURS: dict[str, Make] = {"mlp": rt.LeakyReLU, "resnet18": rt.LeakyReLU, "lora": rt.ReLU}
TITLES = {
    "mlp": "12-block MLP, LeakyReLU",
    "resnet18": "ResNet-18, LeakyReLU",
    "lora": "frozen transformer with LoRA, ReLU",
}


def ways(case: str, compiled: bool) -> dict[str, tuple[Make, bool]]:
    eager = {**PEERS[case], "rectifier": OURS[case], "the limit: nothing kept": KeepsNothing}
    found = {way: (make, False) for way, make in eager.items()}
    if compiled:
        found |= {f"{way}, compiled": (eager[way], True) for way in ("PyTorch", "rectifier")}
    return found


def resident(field: str) -> int:
    """Bytes of the process: VmRSS now, VmHWM at most since it was set back."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def child(case: str, way: str) -> dict[str, int]:
    """One case, in this process: what a step holds before it, after its forward pass, and at its peak."""
    make, compiled = ways(case, compiled=True)[way]
    torch.set_num_threads(1)  # scratch memory comes per thread
    torch.manual_seed(0)
    task = getattr(memory_models, case)(make)
    run = torch.compile(task.model) if compiled else task.model
    trained = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9)
    figures: dict[str, int] = {}
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
        start = resident("VmRSS")
        loss = run(task.batch).square().mean()
        figures = {"start": start, "kept": resident("VmRSS") - start}
        loss.backward()
        del loss
        optimizer.step()
        figures["peak"] = resident("VmHWM") - start
    return figures


def peak_rows(cases: list[str], compiled: bool) -> Iterator[dict[str, Any]]:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    for case in cases:
        first: dict[str, int] | None = None
        for way in ways(case, compiled):
            command = [sys.executable, __file__, "--child", case, way]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise SystemExit(f"{case}, {way}:\n{done.stderr}")
            figures = json.loads(done.stdout)
            first = first or figures
            saved = {f"{key} saved": 1 - figures[key] / first[key] for key in ("kept", "peak")}
            yield {"case": case, "way": way, **figures, **saved}


# Tables --------------------------------------------------------------------------------------------------------------


def kept_table(rows: list[dict[str, Any]]) -> str:
    compiled = "Linear, compiled" in rows[0]
    columns = [column for then in PLACES for column in ([then, f"{then}, compiled"] if compiled else [then])]
    lines = [f"| function | | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
    for row in rows:
        figures = " | ".join(f"{row[column]:.3g}" for column in columns)
        way = row["way"].replace('save="output"', '`save="output"`')
        lines.append(f"| {row['function']} | {way} | {figures} |")
    return "\n".join(lines)


def peak_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| network | | weights and state | kept after forward | saved | peak of the step | saved |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        start, held, peak = (f"{row[key] / 2**20:.0f} MB" for key in ("start", "kept", "peak"))
        lines.append(
            f"| {TITLES[row['case']]} | {row['way']} | {start} | {held} | {row['kept saved']:.0%} "
            f"| {peak} | {row['peak saved']:.0%} |"
        )
    return "\n".join(lines)


TABLES = {"kept": kept_table, "peak": peak_table}


def write_page(page: Path, tables: dict[str, str]) -> None:
    """Puts each table between its two marks in the page."""
    text = page.read_text(encoding="utf-8")
    for part, table in tables.items():
        start, end = f"<!-- {part}: written by benchmarks/pytorch_memory.py -->", f"<!-- end of {part} -->"
        before, after = text.split(start)[0], text.split(end)[1]
        text = f"{before}{start}\n\n{table}\n\n{end}{after}"
    page.write_text(text, encoding="utf-8")


def measured(parts: list[str], cases: list[str], compiled: bool) -> dict[str, Any]:
    record: dict[str, Any] = {**machine()}
    print("  ".join(f"{key}: {value}" for key, value in record.items()), file=sys.stderr)
    for part in parts:
        record[part] = []
        for row in kept_rows(compiled) if part == "kept" else peak_rows(cases, compiled):
            print(json.dumps(row), file=sys.stderr, flush=True)
            record[part].append(row)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="kept or peak; both when left out")
    parser.add_argument("--case", action="append", choices=PEERS, help="of peak, only this network; may be repeated")
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--read", type=Path, help="do not measure: the figures are those of this earlier --json")
    parser.add_argument("--page", type=Path, help="also write the tables into this page, between their marks")
    parser.add_argument("--child", nargs=2, metavar=("CASE", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.child:
        print(json.dumps(child(*options.child)))
        return
    if unknown := set(options.parts) - set(TABLES):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    if options.json and options.json.exists():
        parser.error(f"{options.json} exists; choose another file")

    parts = options.parts or list(TABLES)
    if options.read:
        record = json.loads(options.read.read_text(encoding="utf-8"))
    else:
        record = measured(parts, options.case or list(PEERS), not options.no_compiled)
    tables = {part: TABLES[part](record[part]) for part in parts if part in record}
    print("\n\n".join(tables.values()))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
        print(f"Wrote {options.json}", file=sys.stderr)
    if options.page:
        write_page(options.page, tables)
        print(f"Wrote {options.page}", file=sys.stderr)


if __name__ == "__main__":
    main()
