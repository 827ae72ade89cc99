"""Object detection: digits in larger scenes, by a small single-shot network, measured by average precision."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from . import scenes
from .layers import layer
from .precision import average_precision, suppress
from .setup import Setup, whole
from .training import Problem, shuffled, train

__all__ = ["detector"]

_BATCH = 32
_MOST_OVERLAP = 0.4


def detector(setup: Setup, *, width: int = 16) -> dict[str, Any]:
    """Three 3 × 3 convolutions of ``width``, 2 and 2 times ``width`` channels down to 6 × 6 cells, then a 1 × 1 one.

    A cell has 15 outputs: whether it holds an object's middle, its box (4) and its class (10).

    The score is the mean over the classes of the average precision at an overlap of ½.
    """
    whole(1, width=width)
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, width, 3, stride=2, padding=1),
            act1=layer(setup.activation),
            conv2=nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            act2=layer(setup.activation),
            conv3=nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            act3=layer(setup.activation),
            conv4=nn.Conv2d(2 * width, 4 * width, 1),
            act4=layer(setup.activation),
            output=nn.Conv2d(4 * width, 15, 1),
        )
    )
    setup.initialise(model)
    data = scenes.parts()
    problem = Problem(
        model=model,
        batches=shuffled(data["train"], _BATCH, setup.generator(1)),
        parts={**data, "train": (data["train"][0][:400], data["train"][1][:400])},
        loss=_loss,
        score=_precision,
        goals=(0.2, 0.4, 0.6, 0.8),
        looks=25,
    )
    return train(setup, problem)


def _loss(outputs: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """An object's: cross-entropies of "an object here?" over all cells and of its class, smooth |error| of its box."""
    here = truth[:, 0]
    many = here.sum()
    objects = F.binary_cross_entropy_with_logits(outputs[:, 0], here, reduction="sum")
    box = F.smooth_l1_loss(outputs[:, 1:5], truth[:, 1:5], reduction="none", beta=0.2).sum(dim=1)
    label = F.cross_entropy(outputs[:, 5:], truth[:, 5].long(), reduction="none")
    return (objects + ((box + label) * here).sum()) / many


def _precision(outputs: torch.Tensor, truth: torch.Tensor) -> float:
    if not bool(outputs.isfinite().all()):
        return 0.0
    chance, labels = outputs[:, 5:].softmax(dim=1).flatten(2).max(dim=1)
    scores = outputs[:, 0].sigmoid().flatten(1) * chance
    found = scenes.boxes(outputs[:, 1:5])
    there = truth[:, 0].flatten(1) > 0
    return average_precision(
        (found, suppress(found, scores, labels, _MOST_OVERLAP), labels),
        (scenes.boxes(truth[:, 1:5]), there, truth[:, 5].flatten(1).long()),
        10,
    )
