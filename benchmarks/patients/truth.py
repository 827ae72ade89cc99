"""A patient checks its own truth, by brute force over a sample many times larger than what tools are given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from benchmarks.patients.case import Case, Label

__all__ = ["Sums", "as_found", "problems", "sums"]

Tensor = torch.Tensor
#: As in the thresholds of Sokar et al. 2023 and of the check-up.
RARE, DORMANT = 0.01, 0.025
#: Values this near to 0, beside the mean of their size, may round to either side of it.
ROUNDING = 1e-5


@dataclass
class Sums:
    """What the units of one place did, counted from pre-activations."""

    examples: int
    fired: Tensor
    size: Tensor
    """Σ|h| with h = max(z, 0)."""
    least: Tensor
    """Examples at which it fired beyond doubt: another order of summing could not have closed it."""
    most: Tensor
    """Examples at which it may have fired, by another order of summing. A z of exactly 0 is closed in any order."""

    @property
    def rate(self) -> Tensor:
        return self.fired / self.examples

    @property
    def score(self) -> Tensor:
        """Mean |h| of each unit over the mean of that."""
        return self.size / self.size.mean()


@torch.no_grad()
def sums(case: Case, inputs: Iterable[Any], training: bool) -> dict[str, Sums]:
    """The counts of each place over these inputs."""
    model: nn.Module = case.model
    mode = model.training
    model.train(training)
    found: dict[str, Sums] = {}
    try:
        for one in inputs:
            for name, z in case.z(model, one).items():
                edge = ROUNDING * float(z.abs().mean())
                least, most = (z > edge).sum(0), ((z > -edge) & (z != 0)).sum(0)
                new = Sums(z.shape[0], (z > 0).sum(0), z.relu().double().sum(0), least, most)
                old = found.get(name)
                found[name] = new if old is None else _added(old, new)
    finally:
        model.train(mode)
    return found


def _added(a: Sums, b: Sums) -> Sums:
    return Sums(*(getattr(a, field.name) + getattr(b, field.name) for field in fields(Sums)))


def as_found(case: Case) -> Case:
    """The case with labels for units that nobody planted."""
    found = sums(case, (inputs for inputs, _ in case.batches), training=False)
    truth: dict[str, tuple[Label, ...]] = {
        name: tuple("alive" if rate > RARE else "idle" for rate in one.rate.tolist()) for name, one in found.items()
    }
    return replace(case, truth=truth)


def problems(case: Case, times: int = 20, seed: int = 1_000_003) -> list[str]:
    """What of the truth does not hold, one line each; empty where all does.

    The sample is ``times`` as large as the batches, drawn anew, in batches of the same size; in evaluation mode and,
    where the model normalises by batches, in training mode too; after the training where that is what kills. Units that
    are planted must also show in the batches that tools are given, or no tool could know.
    """
    wrong: list[str] = []
    case = case.trained()
    source = torch.Generator().manual_seed(seed)
    size = len(case.batches[0][1])
    normalised = any(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in case.model.modules())
    for training in (False, True) if normalised else (False,):
        more = [case.draw(size, source) for _ in range(times * len(case.batches))]
        large = sums(case, more, training)
        given = sums(case, (inputs for inputs, _ in case.batches), training)
        if set(large) != set(case.truth):
            return [f"places {sorted(large)} are not those of the truth, {sorted(case.truth)}"]
        for name, labels in case.truth.items():
            wrong += [f"{name}: {line}" for line in _unlike(labels, large[name], given[name])]
    for name, bound in case.ceiling.items():
        wrong += [
            f"{name}: unit {unit} is said to be dead, but z may reach {bound[unit]:.4g}"
            for unit in case.planted()[name]
            if not bound[unit] <= 0
        ]
    return wrong


def _unlike(labels: tuple[Label, ...], large: Sums, given: Sums) -> list[str]:
    if len(labels) != len(large.fired):
        return [f"{len(labels)} labels for {len(large.fired)} units"]
    wrong = []
    for unit, label in enumerate(labels):
        rate, seen, score = float(large.rate[unit]), int(given.fired[unit]), float(large.score[unit])
        held = {
            "dead": rate == 0 and seen == 0,
            "closed": rate == 0 and seen == 0,
            "idle": float(given.rate[unit]) <= RARE,
            "alive": float(given.rate[unit]) > RARE,
            "rare": 0 < rate <= RARE and 0 < seen <= RARE * given.examples,
            "open": rate == 1 and seen == given.examples,
            "dormant": score <= DORMANT and float(given.score[unit]) <= DORMANT and RARE < rate < 1,
            "live": RARE < rate < 1 and RARE < float(given.rate[unit]) < 1 and score > DORMANT,
        }[label]
        if not held:
            wrong.append(
                f"unit {unit} is said to be {label}, but fired at {rate:.4%} of {large.examples} examples and at "
                f"{seen} of the {given.examples} given, with mean |h| {score:.3g} of the mean"
            )
    return wrong
