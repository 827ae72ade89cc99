"""Small models of every structure that ``prune`` follows, with units that can never fire."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rectifier.checkup import Finding

__all__ = [
    "AfterNorm",
    "Concatenated",
    "Gated",
    "Hard",
    "Residual",
    "Shuffled",
    "dead",
    "depthwise",
    "grouped",
    "kill",
    "mlp",
    "settle",
    "transposed",
    "volume",
    "wave",
]


def dead(site: str, *units: int, total: int = 8, kind: Any = "dead") -> Finding:
    return Finding(kind, site, units, total, "", "", "")


def kill(model: nn.Module, **units: list[int]) -> nn.Module:
    """Shut units by the bias of a layer: its name with underscores for dots → the units."""
    with torch.no_grad():
        for name, each in units.items():
            layer: Any = model.get_submodule(name.strip("_").replace("_", "."))
            layer.bias[each] = -1000.0
    return model


def settle(model: nn.Module) -> nn.Module:
    """Statistics and affine parameters of batch normalisations as a training leaves them."""
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
                part.weight.uniform_(0.5, 2.0)
                part.bias.normal_()
    return model.double().eval()


class Residual(nn.Module):
    """Two contributors to one stream, both behind a rectifier or not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.one = nn.Conv2d(8, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(8)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.stem(x)))
        h = F.relu(self.norm1(self.one(x)))
        x = F.relu(self.norm2(self.two(h)) + x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 6, 3, padding=1)
        self.b = nn.Conv2d(3, 5, 1)
        self.c = nn.Conv2d(11, 4, 3)
        self.d = nn.Linear(4 * 36, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.cat([F.relu(self.a(x)), F.relu(self.b(x))], 1)
        return self.d(torch.flatten(F.relu(self.c(h)), 1))


class Gated(nn.Module):
    """Squeeze and excitation: what is multiplied goes together."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)
        self.out = nn.Conv2d(8, 2, 3)
        self.scale = nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.conv(x))
        n, c, _, _ = h.shape
        gate = torch.sigmoid(self.up(F.relu(self.down(h.mean((2, 3))))))
        return self.out(h * gate.view(n, c, 1, 1) * self.scale)


class AfterNorm(nn.Module):
    """The normalisation behind the rectifier makes a constant of a dead unit that is not 0."""

    def __init__(self, padding: int = 0, *, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Conv2d(8, 2, 3, padding=padding, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(F.relu(self.conv(x))))


class Shuffled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.a(x))
        n, c, height, width = h.shape
        return self.b(h.view(n, 2, c // 2, height, width).transpose(1, 2).reshape(n, c, height, width))


class Hard(nn.Module):
    """Writes a number of channels into its code."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Linear(8 * 64, 16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(F.relu(self.b(F.relu(self.a(x)).view(-1, 8 * 64))))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    kill(model, _0=[1], _2=[2, 5])
    return model


def depthwise(multiplier: int = 1) -> nn.Sequential:
    wide = 8 * multiplier
    return nn.Sequential(
        nn.Conv2d(3, 8, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Conv2d(8, wide, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU6(),
        nn.Conv2d(wide, 5, 1),
    )


def grouped() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2, padding=1), nn.ReLU(), nn.Conv2d(12, 2, 1)
    )


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 5, 2, 2),
        nn.BatchNorm2d(5),
        nn.PReLU(5),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(5, 2, 3),
    )


def wave() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(3, 8, 3),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout1d(),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(24, 2),
    )


def volume() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(8, 2, 2),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
    )
