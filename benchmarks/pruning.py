"""How much time a network saves when a fifth of its channels is dead and cut, and whether its outputs stay.

A VGG-16 with batch normalisation in the shape for CIFAR-10 (3 × 32 × 32 images, thirteen convolutions, one linear
layer). In each convolution a fifth of the channels, drawn at random, is dead: γ is 0 and β negative, as a weight decay
leaves them. ``rectifier.check`` proves it, ``rectifier.prune`` cuts it, and the two networks run by turns. Beside it:
cuts that leave a multiple of 8 or 16 channels by leaving some dead ones, and the same channels cut by torch-pruning.

    python benchmarks/pruning.py [--batch 1 16] [--threads 1 2] [--rounds 15] [--write docs/pruning.md]

Median of all rounds; in brackets the quartiles of the saving, round by round.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import rectifier
from rectifier.bench.machine import machine
from rectifier.checkup import Finding, Record

START, END = "<!-- vgg: written by benchmarks/pruning.py -->", "<!-- end of vgg -->"
WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg(seed: int = 0, widths: tuple[tuple[int, ...], ...] = WIDTHS) -> nn.Sequential:
    """Convolutions, batch normalisations with statistics of their own, rectifiers; He's initialisation."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    channels = 3
    for block in widths:
        for width in block:
            conv = nn.Conv2d(channels, width, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))
    with torch.no_grad():
        for _ in range(5):
            model(torch.randn(32, 3, 32, 32))
    return model.eval()


def kill(model: nn.Module, share: float = 0.2) -> dict[str, list[int]]:
    """Shut a share of the channels of each convolution; convolution → its dead channels."""
    dead = {}
    convolution = ""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = name
        if isinstance(module, nn.BatchNorm2d):
            units = torch.randperm(module.num_features)[: round(share * module.num_features)].sort().values
            with torch.no_grad():
                module.weight[units], module.bias[units] = 0.0, -1.0
            dead[convolution] = units.tolist()
    return dead


def padded(record: Record, multiple: int) -> Iterator[Finding]:
    """The findings, with so many dead channels left in each layer that a multiple of ``multiple`` stays."""
    for finding in record.of("dead"):
        left = -(finding.total - len(finding.units)) % multiple
        if left < len(finding.units):
            yield replace(finding, units=finding.units[left:])


def by_torch_pruning(model: nn.Module, dead: dict[str, list[int]], x: torch.Tensor) -> nn.Module | None:
    """The same channels cut by torch-pruning; None where it is not installed."""
    if importlib.util.find_spec("torch_pruning") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruning = importlib.import_module("torch_pruning")
        model = copy.deepcopy(model)
        graph = pruning.DependencyGraph().build_dependency(model, example_inputs=x[:1])
        for name, units in dead.items():
            graph.get_pruning_group(model.get_submodule(name), pruning.prune_conv_out_channels, idxs=units).prune()
    return model


def networks(x: torch.Tensor) -> dict[str, tuple[nn.Module, str]]:
    """Name → the network, and what was measured of its outputs."""
    whole = vgg()
    dead = kill(whole)
    record = rectifier.check(whole, [x[:2]])
    found: dict[str, tuple[nn.Module, str]] = {"before": (whole, "")}
    for multiple in (1, 8, 16):
        model = copy.deepcopy(whole)
        receipt = rectifier.prune(model, record.with_findings(tuple(padded(record, multiple))), probe=x[:1])
        assert receipt.proved
        name = "rectifier.prune" + (f", to multiples of {multiple}" if multiple > 1 else "")
        found[name] = model, _cells(model, whole, x)
    other = by_torch_pruning(whole, dead, x)
    if other is not None:
        found["torch-pruning"] = other, _cells(other, whole, x)
    return found


def _cells(model: nn.Module, whole: nn.Module, x: torch.Tensor) -> str:
    with torch.no_grad():
        moved = float((model(x) - whole(x)).abs().max())
    return f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.2f} M | {moved:.1e}"


def timed(models: dict[str, nn.Module], x: torch.Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of each round, the models by turns, after two rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(rounds + 2):
            for name in models if turn % 2 else reversed(models):
                start = time.perf_counter()
                models[name](x)
                if turn >= 2:
                    seconds[name].append(time.perf_counter() - start)
    return seconds


def saving(before: list[float], after: list[float]) -> tuple[float, float, float]:
    """Median saving, and its quartiles over the rounds."""
    each = [1 - b / a for a, b in zip(before, after, strict=True)]
    low, _, high = statistics.quantiles(each, n=4)
    return 1 - statistics.median(after) / statistics.median(before), low, high


def table(batches: list[int], threads: list[int], rounds: int) -> list[str]:
    torch.manual_seed(0)
    x = torch.randn(max(batches), 3, 32, 32)
    found = networks(x)
    models = {name: model for name, (model, _) in found.items()}
    cases = [(thread, batch) for thread in threads for batch in batches]
    cells: dict[str, list[str]] = {name: [] for name in models}
    for thread, batch in cases:
        torch.set_num_threads(thread)
        seconds = timed(models, x[:batch], rounds)
        for name in models:
            if name == "before":
                cells[name].append(f"{statistics.median(seconds[name]) * 1e3:.1f} ms")
            else:
                middle, low, high = saving(seconds["before"], seconds[name])
                cells[name].append(f"{-middle:+.1%} ({-low:+.1%} … {-high:+.1%})")
    heads = [f"{thread} thread{'s' * (thread > 1)}, batch {batch}" for thread, batch in cases]
    whole = sum(parameter.numel() for parameter in models["before"].parameters())
    lines = [
        f"| | parameters | max \\|Δ output\\| | {' | '.join(heads)} |",
        f"|---|---|---|{'---|' * len(heads)}",
    ]
    for name, (_, measured) in found.items():
        lines.append(f"| {name} | {measured or f'{whole / 1e6:.2f} M | '} | {' | '.join(cells[name])} |")
    return lines


def where() -> str:
    told = machine()
    return f"{told['processor']}, {told['cores']} cores, PyTorch {torch.__version__}, float32."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", type=Path, help="the page to write the table into")
    given = parser.parse_args()
    text = "\n".join(table(given.batch, given.threads, given.rounds))
    if given.write is None:
        print(text)
        return
    page = given.write.read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    told = f"{text}\n\n{where()}"
    given.write.write_text(f"{before}{START}\n\n{told}\n\n{END}{after}", encoding="utf-8")
    print(f"Wrote {given.write}", file=sys.stderr)


if __name__ == "__main__":
    main()
