"""Known-answer patients: networks with units planted dead, rare and always open, and the truth about each unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass
class Patient:
    model: nn.Module
    inputs: torch.Tensor
    truth: dict[str, dict[str, set[int]]]
    """kind → site → units."""


def plant(model: nn.Module, layer: nn.Module, norm: nn.Module | None, z_of: Callable[[], torch.Tensor]) -> None:
    """Shift units 0 to 3 of a layer so that, on what ``z_of`` gives, they fire never, never, rarely and always."""
    target = layer if norm is None else norm
    with torch.no_grad():
        z = z_of()
        flat = z.movedim(1 if z.ndim == 4 else -1, 0).reshape(z.shape[1 if z.ndim == 4 else -1], -1)
        ordered = flat.sort(dim=1).values
        count = ordered.shape[1]
        rare = max(2, count // 500)
        # between two neighbours, so that rounding cannot move a value over the edge
        edge = (ordered[2, count - rare - 1] + ordered[2, count - rare]) / 2
        target.bias[0] -= ordered[0, -1] + 50.0
        target.bias[1] -= ordered[1, -1] + 0.05
        target.bias[2] -= edge
        target.bias[3] -= ordered[3, 0] - 0.5


def make_mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 3))


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.act2 = nn.ReLU()
        self.out = nn.Linear(6 * 9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.act(self.norm(self.conv(x))))
        return self.out(self.act2(self.conv2(x)).flatten(1))


class Block(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.one = nn.Linear(features, 9)
        self.two = nn.Linear(9, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.two(F.relu(self.one(x))))


class Functional(nn.Module):
    """Calls F.relu, torch.relu, Tensor.relu, clamp_min and an in-place call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 10)
        self.block = Block(10)
        self.mid = nn.Linear(8, 7)
        self.last = nn.Linear(7, 7)
        self.end = nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).clamp_min(0)
        x = self.mid(self.block(x)).relu()
        return self.end(F.relu(self.last(x), inplace=True))


@pytest.fixture
def mlp() -> Patient:
    torch.manual_seed(0)
    model, x = make_mlp(), torch.randn(1000, 16)
    model.eval()
    plant(model, model[0], None, lambda: model[0](x))
    plant(model, model[3], None, lambda: model[:4](x))
    model.train()
    return Patient(
        model,
        x,
        {
            "dead": {"1": {0}, "4": {0}},
            "silent": {"1": {1}, "4": {1}},
            "rare": {"1": {2}, "4": {2}},
            "always_open": {"1": {3}, "4": {3}},
        },
    )


@pytest.fixture
def convnet() -> Patient:
    torch.manual_seed(4)
    model, x = ConvNet(), torch.randn(64, 2, 6, 6)
    model(x)
    model.eval()
    plant(model, model.conv, model.norm, lambda: model.norm(model.conv(x)))
    plant(model, model.conv2, None, lambda: model.conv2(model.pool(F.relu(model.norm(model.conv(x))))))
    model.train()
    return Patient(
        model,
        x,
        {
            "dead": {"act": {0}, "act2": {0}},
            "silent": {"act": {1}, "act2": {1}},
            "rare": {"act": {2}, "act2": {2}},
            "always_open": {"act": {3}, "act2": {3}},
        },
    )


@pytest.fixture
def functional() -> Patient:
    torch.manual_seed(2)
    model, x = Functional(), torch.randn(1000, 16)
    with torch.no_grad():
        plant(model, model.first, None, lambda: model.first(x))
        plant(model, model.block.two, None, lambda: model.block.two(F.relu(model.block.one(F.relu(model.first(x))))))
    return Patient(
        model,
        x,
        {
            "dead": {"relu#0": {0}, "block.relu#1": {0}},
            "silent": {"relu#0": {1}, "block.relu#1": {1}},
            "rare": {"relu#0": {2}, "block.relu#1": {2}},
            "always_open": {"relu#0": {3}, "block.relu#1": {3}},
        },
    )


@pytest.fixture
def healthy() -> Patient:
    """Every unit fires for some of the inputs and not for others, and no scale drifts."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(4):
        linear = nn.Linear(32, 32)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.BatchNorm1d(32), nn.ReLU()]
    model, x = nn.Sequential(*layers, nn.Linear(32, 4)), torch.randn(2000, 32)
    for _ in range(40):  # the running statistics settle
        model(x)
    return Patient(model, x, {})
