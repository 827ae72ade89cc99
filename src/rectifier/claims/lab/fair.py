"""Fair comparisons: each candidate at its own best step size, found on other seeds and on validation data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .experiment import Config, Experiment, Run, key
from .plan import Plan
from .results import Results

__all__ = ["best_step", "tuned"]


def tuned(
    experiment: Experiment,
    candidates: Iterable[Config],
    plan: Plan,
    done: Results,
    *,
    steps: Sequence[float],
    score: str = "validation_loss",
    name: str = "step",
) -> Iterator[Run]:
    """The runs that compare candidates fairly.

    First every candidate with every step size of the grid on the tuning seeds; once these are done, every candidate at
    its own best step size on the seeds that are judged.

    experiment: gets each candidate with ``step`` and ``seed`` added, and measures ``score``, of which less is better
        and NaN is worst. It must be measured on data that the verdict does not rest on.
    candidates: configurations without step and seed, such as ``{"task": "digits", "activation": "relu"}``.
    steps: the grid, the same for all candidates; wide enough that no best step lies at its edge.
    """
    for candidate in candidates:
        runs = [
            Run(experiment, {**candidate, name: step, "seed": seed})
            for step, seed in itertools.product(steps, plan.tuning)
        ]
        yield from runs
        step = best_step(experiment, candidate, plan, done, steps=steps, score=score, name=name)
        if step is not None:
            yield from (Run(experiment, {**candidate, name: step, "seed": seed}) for seed in plan.seeds)


def best_step(
    experiment: Experiment,
    candidate: Config,
    plan: Plan,
    done: Results,
    *,
    steps: Sequence[float],
    score: str = "validation_loss",
    name: str = "step",
) -> float | None:
    """The step size with the least mean score over the tuning seeds (the smaller of equals); None: not all is done."""
    found: dict[str, Any] = {
        key(row.experiment, experiment.version, row.config): row[score] for row in done.where(experiment.name)
    }
    means = []
    for step in sorted(steps):
        wanted = [Run(experiment, {**candidate, name: step, "seed": seed}).key for seed in plan.tuning]
        if not all(each in found for each in wanted):
            return None
        scores = [float(found[each]) for each in wanted]
        means.append((math.inf if any(map(math.isnan, scores)) else sum(scores) / len(scores), step))
    return min(means)[1]
