"""The training loop that all tasks but reinforcement learning share, and what is measured of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .health import health
from .setup import Setup

__all__ = ["Problem", "plain", "shuffled", "train"]

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Problem:
    """One network and what it is to learn."""

    model: nn.Module
    batches: Iterator[Batch]
    """Inputs and targets without end."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    score: Callable[[nn.Module, str], float]
    """Called with the model and "train", "validation" or "test"; higher is better."""
    goals: tuple[float, ...]
    """Scores whose first step is noted."""
    seen: torch.Tensor
    """Inputs that the check-up looks at."""
    looks: int = 20
    """How often the validation score is taken."""
    extras: Callable[[nn.Module], Mapping[str, Any]] = field(default=lambda model: {})
    """What else a task measures, called before the first step and after the last."""


def train(setup: Setup, problem: Problem) -> dict[str, Any]:
    """Train, and tell what happened in numbers and short lists that JSON can hold (NaN and infinities as None).

    steps: updates done; fewer than the budget where the loss was no longer finite: then ``diverged`` is True
    at: the steps at which ``loss`` (mean since the step before) and ``validation_curve`` were taken
    train, validation, test: scores at the end; steps_to_G: first of the steps ``at`` which the validation score was G
    seconds: processor time of the updates alone, the only number that differs from run to run
    and what ``health`` tells.
    """
    model, optimizer = problem.model, setup.make_optimizer(problem.model)
    marks = {max(1, round(setup.budget * k / problem.looks)) for k in range(1, problem.looks + 1)}
    at, curve, losses, recent = [0], [problem.score(model, "validation")], [], list[float]()
    before = {f"{name}_before": value for name, value in problem.extras(model).items()}
    seconds = 0.0
    model.train()
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
            losses.append(math.fsum(recent) / len(recent) if not diverged else math.nan)
            recent.clear()
            model.eval()
            curve.append(problem.score(model, "validation"))
            model.train()
    model.eval()
    reached = {f"steps_to_{goal:g}": _first(at, curve, goal) for goal in problem.goals}
    return plain(
        {
            "steps": done,
            "diverged": diverged,
            "train": problem.score(model, "train"),
            "validation": curve[-1],
            "test": problem.score(model, "test"),
            **reached,
            "at": at,
            "validation_curve": curve,
            "loss": losses,
            "seconds": seconds,
            **health(model, problem.seen),
            **before,
            **problem.extras(model),
        }
    )


def shuffled(tensors: Batch, batch: int, generator: torch.Generator) -> Iterator[Batch]:
    """Shuffled batches without end; what is left of an epoch is dropped."""
    x, y = tensors
    while True:
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(order) - batch + 1, batch):
            rows = order[start : start + batch]
            yield x[rows], y[rows]


def accuracy(parts: Mapping[str, Batch]) -> Callable[[nn.Module, str], float]:
    """The score of a classifier: the share of a part's examples whose class has the largest output."""

    def score(model: nn.Module, part: str) -> float:
        x, y = parts[part]
        with torch.no_grad():
            return float((model(x).argmax(dim=1) == y).double().mean())

    return score


def plain(value: Any) -> Any:
    """As JSON can hold it: what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _first(at: list[int], curve: list[float], goal: float) -> int | None:
    return next((step for step, score in zip(at, curve, strict=True) if score >= goal), None)
