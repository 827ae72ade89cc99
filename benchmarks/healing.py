"""Healing measured: what recycling moves, what it touches, and how much accuracy each remedy gives back.

    python benchmarks/healing.py --write docs/healing.md

writes the tables of that page, in about four minutes on two cores. The accuracies are on scikit-learn's digits, on the
networks of ``rectifier demo``: three hidden layers, trained with Adam at a step size that loses most of the units.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import rectifier
from rectifier.checkup import Arm, Record, Trial
from rectifier.demo import death, digits

Model = nn.Module
#: Steps from turn to turn of the scheduled recycling, and those that it looks at: two epochs, half an epoch.
EVERY, WINDOW = 42, 11
REMEDIES = "nothing", "recycle", "leaky_relu", "elu", "rescale", "clip gradients"
BEGIN, END = "<!-- healing: written by benchmarks/healing.py -->", "<!-- end of healing -->"


# What recycling moves and touches -------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(20, 32), nn.Linear(32, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        for block in self.blocks:
            x = x + block(x)
        return self.end(x)


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.end = nn.Linear(20, 32), nn.Linear(20, 16), nn.Linear(48, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(torch.cat([torch.relu(self.left(x)), self.right(x).relu()], dim=1))


def models() -> Iterator[tuple[str, Model, torch.Tensor, list[nn.Module]]]:
    """Name, model, inputs, and the modules whose bias shuts units."""
    mlp = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    yield "fully connected", mlp, torch.randn(256, 20), [mlp[0], mlp[2]]
    conv = nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 9, 5)),
    )
    yield "convolutions with batch normalisation", conv, torch.randn(32, 3, 12, 12), [conv[1], conv[5]]
    residual = Residual()
    yield "residual blocks", residual, torch.randn(256, 20), [block[1] for block in residual.blocks]  # type: ignore[index]
    joined = Joined()
    yield "concatenation", joined, torch.randn(256, 20), [joined.left, joined.right]
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    inside: list[nn.Module] = [part.linear1 for part in encoder.layers]  # type: ignore[misc]
    yield "transformer", nn.Sequential(encoder, nn.Linear(16, 5)), torch.randn(64, 6, 16), inside


def touched() -> list[str]:
    lines = [
        "| model | units recycled | outputs moved | units recycled that were not asked for |",
        "|---|---|---|---|",
    ]
    for name, model, x, parts in models():
        asked = 0
        with torch.no_grad():
            for part in parts:
                part.bias[::4] = -1e3  # type: ignore[index]
                asked += len(part.bias[::4])  # type: ignore[index, arg-type]
        model.eval()
        record = rectifier.check(model, [x])
        found = {(finding.site, unit) for finding in record.of("dead", "silent") for unit in finding.units}
        receipts = rectifier.heal(model, record, torch.optim.Adam(model.parameters()), probe=x, seed=0)
        done = {(receipt.site, unit) for receipt in receipts for unit in receipt.units}
        assert len(done & found) >= asked
        moved = max(receipt.output_change or 0.0 for receipt in receipts)
        changed = fires_otherwise(record, rectifier.check(model, [x]))
        lines.append(f"| {name} | {len(done)} | {moved:g} | {len((done | changed) - found)} |")
    return lines


def fires_otherwise(before: Record, after: Record) -> set[tuple[str, int]]:
    """Units that fire at another number of examples than before."""
    pairs = zip(before.last.sites, after.last.sites, strict=True)
    return {(old.site, int(unit)) for old, new in pairs for unit in (old.fired != new.fired).nonzero()[0]}


# Training goes on, with each optimizer --------------------------------------------------------------------------------

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.002),
    "AdamW, amsgrad": lambda p: torch.optim.AdamW(p, lr=0.002, amsgrad=True),
    "RMSprop, centred, momentum": lambda p: torch.optim.RMSprop(p, lr=0.0005, centered=True, momentum=0.5),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.02, initial_accumulator_value=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.002),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.002),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.004),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.001),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
}


def optimizers() -> list[str]:
    """Half of the units die after an epoch; recycled, they learn on."""
    lines = [
        "| optimizer | outputs moved | slices of state reset | loss before | loss 63 steps later | had it been left |",
        "|---|---|---|---|---|---|",
    ]
    data = digits.load()
    for name, make in OPTIMIZERS.items():
        model = digits.mlp(0)
        optimizer = make(model.parameters())
        stream = digits.batches(data, torch.Generator().manual_seed(0))
        digits.train(model, optimizer, stream, digits.EPOCH)
        with torch.no_grad():
            for place in (0, 2, 4):
                model[place].bias[::2] = -1e3  # type: ignore[index]
        left, memory = copy.deepcopy((model, optimizer))
        record = rectifier.check(model, [data.x_train])
        receipts = rectifier.heal(model, record, optimizer, probe=data.x_train, seed=0)
        before = _loss(model, data)
        digits.train(model, optimizer, stream, 3 * digits.EPOCH)
        digits.train(left, memory, stream, 3 * digits.EPOCH)
        moved = max(receipt.output_change or 0.0 for receipt in receipts)
        slices = sum(int(receipt.change.rpartition("; ")[2].split()[0]) for receipt in receipts)
        told = f"{before:.3f} | {_loss(model, data):.3f} | {_loss(left, data):.3f}"
        lines.append(f"| {name} | {moved:g} | {slices} | {told} |")
    return lines


def _loss(model: nn.Module, data: digits.Digits) -> float:
    with torch.no_grad():
        return float(digits.loss(model(data.x_test), data.y_test))


# Accuracy regained ----------------------------------------------------------------------------------------------------


def make(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network of this seed, after the epochs at too large a step size that cost it most of its units."""
    model = digits.mlp(seed)
    optimizer = death.adam(model, death.STEP)
    digits.train(model, optimizer, digits.batches(digits.load(), torch.Generator().manual_seed(seed)), death.STEPS)
    return model, optimizer


def accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs.argmax(dim=1) == targets).double().mean()


def zeros(model: Any, optimizer: Any, record: Record) -> None:
    """Recycling as it is usually done: Adam's second moment 0 as well."""
    rectifier.heal(model, record, optimizer, probe=digits.load().x_train[:64], seed=0, starts={"exp_avg_sq": 0.0})


def scheduled(tau: float) -> Callable[[Any, Any, Record], None]:
    def start(model: Any, optimizer: Any, record: Record) -> None:
        rectifier.heal(model, record, optimizer, probe=digits.load().x_train[:64], seed=0)
        rectifier.recycling(model, optimizer, every=EVERY, window=WINDOW, tau=tau, seed=0).start()

    return start


def one_seed(seed: int) -> Trial:
    with digits.one_thread():
        data = digits.load()
        whole = len(data.x_train) // digits.BATCH * digits.BATCH
        pairs = zip(data.x_train[:whole].split(digits.BATCH), data.y_train[:whole].split(digits.BATCH), strict=True)
        return rectifier.trial(
            make,
            list(pairs),
            digits.loss,
            remedies=[
                *REMEDIES,
                ("recycle, Adam's second moment 0", zeros),
                (f"recycle, and again every {EVERY} steps", scheduled(0.0)),
                ("the same with τ = 0.1", scheduled(0.1)),
            ],
            steps=death.STEPS,
            repeats=1,
            test=[(data.x_test, data.y_test)],
            score=accuracy,
            seed=seed,
        )


def regained(seeds: int) -> list[str]:
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        trials: list[Trial] = Parallel()(delayed(one_seed)(seed) for seed in range(seeds))
    lost = [trial.silent_before[0] for trial in trials]
    lines = [
        f"{seeds} networks, seeds 0 to {seeds - 1}: {trials[0].units} hidden units, of which {min(lost)} to "
        f"{max(lost)} are silent after {death.STEPS} steps of Adam at {death.STEP:g}. Then {death.STEPS} steps more.",
        "",
        "| remedy | step size | test accuracy | better than nothing by | silent at the end |",
        "|---|---|---|---|---|",
    ]
    for index, first in enumerate(trials[0].arms):
        mine = joined([trial.arms[index] for trial in trials], [_basis(trial, first) for trial in trials])
        name = "smaller step alone" if first.remedy == "nothing" and first.step != 1 else first.remedy
        gain = "" if first.remedy == "nothing" and first.step == 1 else f"{mine.gain:+.1%} ± {mine.gain_error:.1%}"
        sure = " **" if mine.sure else ""
        silent = f"{min(mine.silent)} to {max(mine.silent)}"
        right = f"{mine.mean:.1%} ± {mine.spread:.1%}"
        lines.append(f"| {name} | {death.STEP * first.step:g} | {right} | {gain}{sure} | {silent} |")
    return [line.replace(" ** |", " * |") for line in lines]


def _basis(trial: Trial, arm: Arm) -> float:
    alone = arm.remedy == "nothing" and arm.step != 1
    return trial.of("nothing", 1.0 if alone else arm.step).scores[0]


def joined(arms: list[Arm], basis: list[float]) -> Arm:
    """One arm of those of the seeds, as a trial with as many repeats has it."""
    from rectifier.checkup._trial import mean_and_error

    scores = tuple(arm.scores[0] for arm in arms)
    gain, error = mean_and_error([score - its for score, its in zip(scores, basis, strict=True)])
    return Arm(arms[0].remedy, arms[0].step, scores, tuple(arm.silent[0] for arm in arms), None, gain, error)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this Markdown page")
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    begun = time.perf_counter()
    told = [
        *("### What recycling moves and touches", "", *touched(), ""),
        *("### Training goes on", "", *optimizers(), ""),
        *("### Accuracy regained", "", *regained(given.seeds), ""),
        "± in the third column is the standard deviation over the networks; in the fourth the standard error of the "
        "difference, network by network, from doing nothing at the same step size (of the smaller step alone: at the "
        "larger). * larger than noise: outside the 95 % interval of Student's t.",
    ]
    print("\n".join(told))
    print(f"\n{time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
        made = f"Written by `python benchmarks/healing.py --seeds {given.seeds} --write {given.write}`."
        given.write.write_text("\n".join([head + BEGIN, "", *told, "", made, "", END]) + tail, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
