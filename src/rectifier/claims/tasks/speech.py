"""Speech: ten spoken words of 28 synthetic voices, those of the test unheard in training, by convolutions over time."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import nn

from .images import GOALS
from .layers import layer
from .setup import Setup, whole
from .training import Batch, Problem, accuracy, shuffled, train

__all__ = ["parts", "words"]

_BATCH = 32
#: Decibels above the floor that the loudest value of each utterance has.
_RANGE = 60.0


@cache
def parts() -> dict[str, Batch]:
    """Log-mel features (n, 24 bands, 40 frames) around 0 and words: 480, 150 and 210 utterances of 16, 5 and 7 voices.

    benchmarks/spoken_digits.py made them.
    """
    with (files(__package__) / "spoken_digits.npz").open("rb") as file, np.load(file) as stored:
        return {
            part: (
                torch.tensor(stored[f"{part}_features"], dtype=torch.float32).transpose(1, 2) / _RANGE * 2 - 1,
                torch.tensor(stored[f"{part}_words"], dtype=torch.int64),
            )
            for part in ("train", "validation", "test")
        }


def words(setup: Setup, *, width: int = 32) -> dict[str, Any]:
    """Three convolutions over time, 5 frames wide, of ``width`` channels; their mean over time; 10 outputs."""
    whole(1, width=width)
    stack: OrderedDict[str, nn.Module] = OrderedDict()
    for place in (1, 2, 3):
        stack[f"conv{place}"] = nn.Conv1d(
            24 if place == 1 else width, width, 5, stride=2 if place > 1 else 1, padding=2
        )
        stack[f"act{place}"] = layer(setup.activation)
    model = nn.Sequential(
        OrderedDict(**stack, mean=nn.AdaptiveAvgPool1d(1), flat=nn.Flatten(), output=nn.Linear(width, 10))
    )
    setup.initialise(model)
    data = parts()
    problem = Problem(
        model=model,
        batches=shuffled(data["train"], _BATCH, setup.generator(1)),
        parts=data,
        loss=nn.functional.cross_entropy,
        score=accuracy,
        goals=GOALS,
    )
    return train(setup, problem)
