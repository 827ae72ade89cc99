"""A small model that calls F.relu, and short ways to look at one site."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

import rectifier
from rectifier.checkup import SiteVitals

__all__ = ["Plain", "fired", "only"]


def fired(z: Tensor) -> list[int]:
    """Of each unit on the last axis."""
    return (z.detach().reshape(-1, z.shape[-1]) > 0).sum(dim=0).tolist()


def only(model: nn.Module, *batches: Any, **given: Any) -> SiteVitals:
    (site,) = rectifier.check(model, list(batches), **given).last.sites
    return site


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.a(x)))
