"""Convolutions with batch normalisation: a plain chain, and residual blocks that use one ReLU module twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.patients.case import Case, Label, Patient, Place
from benchmarks.patients.planting import dealt, fit_norm, generator, images

Tensor = torch.Tensor
SIZE, CLASSES = 12, 5


def inputs(n: int, source: torch.Generator) -> Tensor:
    return images(n, source, 3, SIZE, SIZE)


def batches(many: int, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    source = generator(seed + 101)
    teacher = torch.randn(3 * SIZE * SIZE, CLASSES, generator=generator(7))
    return [(x, (x.flatten(1) @ teacher).argmax(1)) for x in (inputs(size, source) for _ in range(many))]


def flat(z: Tensor) -> Tensor:
    """(batch, channels, height, width) → (examples, channels)."""
    return z.movedim(1, -1).flatten(0, -2)


def normed(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """γ·(x − mean)/√(variance + ε) + β, written out, and without moving the running statistics."""
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    else:
        mean, variance = norm.running_mean, norm.running_var
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return x * scale[:, None, None] + (norm.bias - mean * scale)[:, None, None]


def conv(wide: int, narrow: int, source: torch.Generator, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(wide, narrow, 3, padding=1, stride=stride, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=source) * (2 / (9 * wide)) ** 0.5)
    return layer


#: Ways for a normalised channel to be shut in training as well as after it: (γ, β, filter is 0).
#: A value normalised by a batch of M is at most √(M − 1); the batches here have M ≤ 7200.
SHUT = ((0.0, -0.5, False), (1.0, -150.0, False), (1.0, -0.1, True), (1e-3, -1.0, False), (0.0, 0.0, False))


@torch.no_grad()
def shut(layer: nn.Conv2d, norm: nn.BatchNorm2d, labels: tuple[Label, ...], ways: list[int]) -> None:
    for unit, label in enumerate(labels):
        if label == "dead":
            scale, shift, empty = SHUT[ways.pop(0)]
            norm.weight[unit], norm.bias[unit] = scale, shift
            if empty:
                layer.weight[unit] = 0.0
                norm.running_mean[unit], norm.running_var[unit] = 0.0, 1.0


class ConvNet(nn.Module):
    def __init__(self, source: torch.Generator) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu1 = conv(3, 16, source), nn.BatchNorm2d(16), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2, self.bn2, self.relu2 = conv(16, 24, source), nn.BatchNorm2d(24), nn.ReLU()
        self.head = nn.Linear(24, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu1(self.bn1(self.conv1(x))))
        return self.head(self.relu2(self.bn2(self.conv2(x))).mean((2, 3)))


def cnn(seed: int, small: bool = False) -> Case:
    source = generator(seed)
    model = ConvNet(source)
    labels = [dealt(16, source, dead=3, rare=1, open=1), dealt(24, source, dead=2, rare=1)]
    with torch.no_grad():
        x = inputs(400, source)
        fit_norm(model.bn1, flat(model.conv1(x)), labels[0], source, live=(0.08, 0.8))
        shut(model.conv1, model.bn1, labels[0], [0, 1, 2])
        x = F.max_pool2d(normed(model.bn1.eval(), model.conv1(x)).relu(), 2)
        fit_norm(model.bn2, flat(model.conv2(x)), labels[1], source, live=(0.08, 0.8))
        shut(model.conv2, model.bn2, labels[1], [3, 4])
    model.train()

    def z(net: Any, x: Any) -> dict[str, Tensor]:
        first = normed(net.bn1, net.conv1(x))
        second = normed(net.bn2, net.conv2(F.max_pool2d(first.relu(), 2)))
        return {"relu1": flat(first), "relu2": flat(second)}

    return Case(
        model,
        batches(8, 25 if small else 50, seed),
        F.cross_entropy,
        (Place("relu1", "conv1", "bn1", "relu1"), Place("relu2", "conv2", "bn2", "relu2")),
        {"relu1": labels[0], "relu2": labels[1]},
        z,
        inputs,
    )


class Residual(nn.Module):
    """As in torchvision's ResNet: one in-place ReLU, used after each of the two normalisations."""

    def __init__(self, width: int, source: torch.Generator) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(width, width, source), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, source), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, source: torch.Generator, width: int = 12, depth: int = 3) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = conv(3, width, source, stride=2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.blocks = nn.Sequential(*(Residual(width, source) for _ in range(depth)))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.relu(self.bn(self.conv(x)))).mean((2, 3)))


def _resnet_z(net: Any, x: Tensor) -> dict[str, Tensor]:
    z = normed(net.bn, net.conv(x))
    found = {"relu": flat(z)}
    for place, block in enumerate(net.blocks):
        inner = normed(block.bn1, block.conv1(z.relu()))
        z = normed(block.bn2, block.conv2(inner.relu())) + z.relu()
        found[f"blocks.{place}.relu"], found[f"blocks.{place}.relu@1"] = flat(inner), flat(z)
    return found


def resnet(seed: int, small: bool = False) -> Case:
    """Dead: one channel of the stem; it stays dead behind the first addition, whose own branch is shut there too; and
    five channels inside the blocks."""
    source = generator(seed)
    model = ResNet(source)
    labels: dict[str, tuple[Label, ...]] = {"relu": dealt(12, source, dead=1)}
    with torch.no_grad():
        x = inputs(400, source)
        fit_norm(model.bn, flat(model.conv(x)), labels["relu"], source, live=(0.3, 0.6))
        shut(model.conv, model.bn, labels["relu"], [1])
        x = normed(model.bn.eval(), model.conv(x)).relu()
        gone = labels["relu"].index("dead")
        for place, block in enumerate(model.blocks):
            inner = dealt(12, source, dead=(2, 1, 2)[place])
            fit_norm(block.bn1, flat(block.conv1(x)), inner, source)
            shut(block.conv1, block.bn1, inner, [[0, 1], [2], [3, 4]][place])
            y = block.conv2(normed(block.bn1.eval(), block.conv1(x)).relu())
            fit_norm(block.bn2, flat(y), ("live",) * 12, source, live=(0.2, 0.4))
            out: list[Label] = ["live"] * 12
            if place == 0:
                block.bn2.weight[gone], block.bn2.bias[gone] = 0.0, -0.5
                out[gone] = "dead"
            z = normed(block.bn2.eval(), y) + x
            # What comes round the block is never negative: pull the sum down to where it closes at times.
            for unit, label in enumerate(out):
                if label == "live":
                    block.bn2.bias[unit] -= float(flat(z)[:, unit].quantile(0.4))
            x = (normed(block.bn2, y) + x).relu()
            labels[f"blocks.{place}.relu"], labels[f"blocks.{place}.relu@1"] = inner, tuple(out)
    model.train()
    places = [Place("relu", "conv", "bn", "relu")]
    for place in range(3):
        name = f"blocks.{place}"
        places.append(Place(f"{name}.relu", f"{name}.conv1", f"{name}.bn1", f"{name}.relu"))
        places.append(Place(f"{name}.relu@1", f"{name}.conv2", f"{name}.bn2", f"{name}.relu"))
    return Case(model, batches(8, 25 if small else 50, seed), F.cross_entropy, tuple(places), labels, _resnet_z, inputs)


PATIENTS = (
    Patient(
        "cnn",
        "Conv, BatchNorm, ReLU, twice; 5 dead channels: γ = 0, a filter of zeros, γ = 1 with β = −150, γ = 0.001",
        cnn,
    ),
    Patient("resnet", "residual blocks, each with one ReLU module used twice; 7 dead channels", resnet),
)
