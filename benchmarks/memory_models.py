"""The networks whose memory ``pytorch_memory.py`` measures: real shapes, with the rectifier left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

Tensor = torch.Tensor
Rectifier = Callable[[], nn.Module]


@dataclass(frozen=True)
class Task:
    """A model and a batch; the loss is the mean square of the output, which keeps next to nothing."""

    model: nn.Module
    batch: Tensor
    shape: str


def mlp(rectifier: Rectifier) -> Task:
    """12 blocks of Linear and rectifier, all of one width."""
    width, examples = 1024, 4096
    blocks = [layer for _ in range(12) for layer in (nn.Linear(width, width), rectifier())]
    return Task(nn.Sequential(*blocks, nn.Linear(width, 10)), torch.randn(examples, width), f"{examples} × {width}")


class Basic(nn.Module):
    """The basic block of He et al. 2015, arXiv:1512.03385: two convolutions, a skip added in place."""

    def __init__(self, inputs: int, outputs: int, stride: int, rectifier: Rectifier) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = rectifier()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = rectifier()
        self.skip = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        h += self.skip(x)
        return self.act2(h)


def resnet18(rectifier: Rectifier) -> Task:
    """ResNet-18 with its stem of ImageNet, on images of 128 × 128."""
    blocks: list[nn.Module] = []
    inputs = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Basic(inputs, outputs, stride, rectifier), Basic(outputs, outputs, 1, rectifier)]
        inputs = outputs
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), rectifier(), nn.MaxPool2d(3, 2, 1)]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))
    images = 16
    return Task(model, torch.randn(images, 3, 128, 128), f"{images} × 3 × 128 × 128")


class LoRA(nn.Module):
    """A frozen Linear and a trained product of low rank beside it (Hu et al. 2021, arXiv:2106.09685)."""

    def __init__(self, frozen: nn.Linear, rank: int = 8) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.down = nn.Linear(frozen.in_features, rank, bias=False)
        self.up = nn.Linear(rank, frozen.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.up(self.down(x))


class Layer(nn.Module):
    """A pre-norm layer as in OPT (Zhang et al. 2022, arXiv:2205.01068), with ReLU; adapters on queries and values."""

    def __init__(self, width: int, heads: int, rectifier: Rectifier) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width).requires_grad_(False) for _ in range(2))
        self.query, self.value = (LoRA(nn.Linear(width, width)) for _ in range(2))
        self.key, self.out = (nn.Linear(width, width).requires_grad_(False) for _ in range(2))
        self.up = nn.Linear(width, 4 * width).requires_grad_(False)
        self.down = nn.Linear(4 * width, width).requires_grad_(False)
        self.rectifier = rectifier()

    def forward(self, x: Tensor) -> Tensor:
        n = self.norm1(x)
        q, k, v = (f(n).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(self.rectifier(self.up(self.norm2(x))))


def lora(rectifier: Rectifier) -> Task:
    """12 layers of the shape of OPT-125M, all frozen but the adapters, on the embeddings of some texts."""
    width, texts, tokens = 768, 4, 512
    model = nn.Sequential(*(Layer(width, 12, rectifier) for _ in range(12)))
    return Task(model, torch.randn(texts, tokens, width), f"{texts} × {tokens} × {width}")
