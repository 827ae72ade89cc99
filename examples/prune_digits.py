"""Before and after pruning: a convolutional network on real digits that lost units to a step that was too large.

python examples/prune_digits.py [--write docs/pruning.md]

A small network with batch normalisation is trained on scikit-learn's 1,797 digits, for 15 steps in between with a step
size that is sixteen times too large, and goes on with the right one. What that killed is cut in two goes: what is
proved dead for every image with pixels in [0, 1], and, because we say so, what was only seen silent.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import rectifier

START, END = "<!-- digits: written by examples/prune_digits.py -->", "<!-- end of digits -->"


def data() -> list[torch.Tensor]:
    images, classes = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    return train_test_split(x, torch.tensor(classes), test_size=0.25, stratify=classes, random_state=0)


def network() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64), (64, 64)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers[:3], *layers[4:], nn.Flatten(), nn.Linear(64 * 4, 10))


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.8 if 30 <= step < 45 else 0.05  # the step that is too large
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    model.eval()


def main(steps: int = 250, seed: int = 0) -> list[str]:
    """Train, cut twice, and return the lines of a table."""
    torch.manual_seed(seed)
    x_train, x_test, y_train, y_test = data()
    model = network()
    train(model, x_train, y_train, steps)
    whole = copy.deepcopy(model)
    with torch.no_grad():
        answers = whole(x_test).argmax(1)
    lines = [
        "| | units | parameters | operations | time, 450 images | max \\|Δ output\\| | same answers | accuracy |",
        "|---|---|---|---|---|---|---|---|",
        f"| before | {units(whole)} | {count(whole):,} | | | | | {(answers == y_test).float().mean():.2%} |",
    ]
    operations = seconds = 1.0
    for silent in (False, True):
        record = rectifier.check(model, [x_train], box=(0.0, 1.0))
        receipt = rectifier.prune(model, record, silent=silent, probe=x_test)
        print(receipt.change, receipt.evidence, sep="\n")
        with torch.no_grad():
            now = model(x_test).argmax(1)
        if receipt.flops and receipt.seconds:  # of this cut, against the one before
            operations *= receipt.flops[1] / receipt.flops[0]
            seconds *= receipt.seconds[1] / receipt.seconds[0]
        lines.append(
            f"| {'and only seen silent' if silent else 'proved dead'} cut | {units(model)} | {count(model):,} "
            f"| {operations - 1:+.1%} | {seconds - 1:+.1%} "
            f"| {receipt.output_change:.1e} | {int((now == answers).sum())} of {len(answers)} "
            f"| {(now == y_test).float().mean():.2%} |"
        )
    return lines


def units(model: nn.Sequential) -> str:
    return ", ".join(str(layer.out_channels) for layer in model if isinstance(layer, nn.Conv2d))


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page to write the table into")
    torch.set_num_threads(1)
    path, table = parser.parse_args().write, "\n".join(main())
    if path is None:
        print(table)
    else:
        text = path.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        path.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")
        print(f"Wrote {path}", file=sys.stderr)
