"""The training loop that all tasks but reinforcement learning share, and what is measured of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from .health import health
from .setup import Setup

__all__ = ["Batch", "Problem", "accuracy", "first", "shuffled", "train"]

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """One network and what it is to learn."""

    model: nn.Module
    batches: Iterator[Batch]
    """Inputs and targets without end."""
    parts: Mapping[str, Batch]
    """Inputs and targets of "train", "validation" and "test"."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score: Callable[[torch.Tensor, torch.Tensor], float]
    """Called with the outputs and targets of a part; at most 1, higher is better."""
    goals: tuple[float, ...]
    """Scores whose first step is noted."""
    looks: int = 60
    """How often the validation score is taken, at most."""
    extras: Callable[[nn.Module], Mapping[str, Any]] = field(default=lambda model: {})
    """What else a task measures, called before the first step and after the last."""


def train(setup: Setup, problem: Problem) -> dict[str, Any]:
    """Train, and tell what happened in numbers and short lists.

    updates: how many were done; fewer than the budget where the loss was no longer finite, then ``diverged`` is True
    train, validation, test: scores at the end
    validation_loss: the mean loss there; NaN where the training diverged
    updates_to_G: first of ``at`` by which the validation score was G; infinity: never
    at: the updates, evenly spaced in their logarithm, by which ``curve`` (validation scores) and ``loss`` (mean over
        the training batches since the one before; NaN before the first) were taken
    seconds: processor time of the updates alone, the only number that differs from run to run
    silent, dormant, zeros and the like: see ``health``
    """
    model, optimizer = problem.model, setup.make_optimizer(problem.model)
    marks = set(np.geomspace(1, setup.budget, problem.looks).round().astype(int).tolist())
    at, curve, losses, recent = [0], [_score(problem, "validation")], [math.nan], list[float]()
    before = {f"{name}_before": value for name, value in problem.extras(model).items()}
    seconds = 0.0
    done, diverged = 0, False
    while done < setup.budget and not diverged:
        start = time.thread_time()
        x, y = next(problem.batches)
        optimizer.zero_grad()
        loss = problem.loss(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        recent.append(loss.item())
        seconds += time.thread_time() - start
        done += 1
        diverged = not math.isfinite(recent[-1])
        if done in marks or diverged:
            at.append(done)
            losses.append(sum(recent) / len(recent))
            recent.clear()
            curve.append(_score(problem, "validation"))
    validation_loss = _evaluated(model, problem.parts["validation"], problem.loss)
    # The last update can be the one that breaks it.
    diverged = diverged or not math.isfinite(validation_loss)
    return {
        "updates": done,
        "diverged": diverged,
        "train": _score(problem, "train"),
        "validation": curve[-1],
        "test": _score(problem, "test"),
        "validation_loss": math.nan if diverged else validation_loss,
        **{f"updates_to_{goal:g}": first(at, curve, goal) for goal in problem.goals},
        "at": at,
        "curve": curve,
        "loss": losses,
        "seconds": seconds,
        **health(model, problem.parts["validation"][0]),
        **before,
        **problem.extras(model),
    }


def _score(problem: Problem, part: str) -> float:
    return _evaluated(problem.model, problem.parts[part], problem.score)


def _evaluated(model: nn.Module, part: Batch, measure: Callable[[torch.Tensor, torch.Tensor], Any]) -> float:
    x, y = part
    model.eval()
    with torch.no_grad():
        value = float(measure(model(x), y))
    model.train()
    return value


def shuffled(tensors: Batch, batch: int, generator: torch.Generator) -> Iterator[Batch]:
    """Shuffled batches without end; what is left of an epoch is dropped."""
    x, y = tensors
    while True:
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            yield x[rows], y[rows]


def accuracy(outputs: torch.Tensor, classes: torch.Tensor) -> float:
    """Share of the examples whose class has the largest output."""
    return float((outputs.argmax(dim=1) == classes).double().mean())


def first(at: list[int], curve: list[float], goal: float) -> float:
    """The first of ``at`` by which the goal was reached; infinity: never."""
    return next((float(step) for step, score in zip(at, curve, strict=True) if score >= goal), math.inf)
