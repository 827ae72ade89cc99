"""Tabular data: sets that ship with scikit-learn, by a plain feed-forward network."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from .images import feed_forward
from .setup import Setup, choice
from .training import Batch, Problem, accuracy, shuffled, train

__all__ = ["parts", "table"]

BATCH = 32
_CLASSES = {"breast_cancer": 2, "wine": 3}
_SETS = ("breast_cancer", "wine", "diabetes")


@cache
def parts(name: str) -> dict[str, Batch]:
    """Rows and targets, 60 % to train, 20 % to choose the step size by, 20 % to test, always the same.

    Features (and the target of a regression) have mean 0 and variance 1 over the training rows.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = name in _CLASSES
    rest, test = train_test_split(np.arange(len(x)), test_size=0.2, random_state=0, stratify=y if classes else None)
    fit, validation = train_test_split(rest, test_size=0.25, random_state=0, stratify=y[rest] if classes else None)
    x = (x - x[fit].mean(axis=0)) / x[fit].std(axis=0)
    if not classes:
        y = (y - y[fit].mean()) / y[fit].std()
    kind = torch.int64 if classes else torch.float32
    split = {"train": fit, "validation": validation, "test": test}
    return {
        part: (torch.tensor(x[rows], dtype=torch.float32), torch.tensor(y[rows], dtype=kind))
        for part, rows in split.items()
    }


def table(setup: Setup, *, data: str = "breast_cancer", depth: int = 3, width: int = 32) -> dict[str, Any]:
    """``depth`` hidden layers of ``width`` units on ``data``: "breast_cancer", "wine" (accuracy) or "diabetes" (R²)."""
    choice("data", data, _SETS)
    rows = parts(data)
    model = feed_forward(setup.activation, rows["train"][0].shape[1], depth, width, _CLASSES.get(data, 1), "none")
    setup.initialise(model)
    classes = data in _CLASSES
    problem = Problem(
        model=model,
        batches=shuffled(rows["train"], BATCH, setup.generator(1)),
        parts=rows,
        loss=nn.functional.cross_entropy if classes else _squares,
        score=accuracy if classes else _r2,
        goals=(0.8, 0.9, 0.95) if classes else (0.2, 0.3, 0.4),
    )
    return train(setup, problem)


def _squares(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.mse_loss(outputs.squeeze(1), targets)


def _r2(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """R² = 1 − Σ(y − ŷ)²/Σ(y − ȳ)², and 0 where it is less, so that one that went wrong outweighs no others."""
    left = (targets - outputs.squeeze(1)).double().square().sum()
    found = 1.0 - float(left / (targets.double() - targets.double().mean()).square().sum())
    return found if found > 0.0 else 0.0
