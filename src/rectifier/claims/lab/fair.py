"""Fair comparisons: each candidate at its own best step size, found on other seeds and on validation data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from .experiment import Config, Experiment, Run, key
from .plan import Plan
from .results import Results

__all__ = ["best_step", "edges", "tuned"]

Best = Literal["highest", "lowest"]


def tuned(
    experiment: Experiment,
    candidates: Iterable[Config],
    plan: Plan,
    done: Results,
    *,
    steps: Sequence[float],
    score: str = "validation",
    best: Best = "highest",
) -> Iterator[Run]:
    """The runs that compare candidates fairly.

    First every candidate with every step size of the grid on the tuning seeds; once these are done, every candidate at
    its own best step size on the seeds that are judged.

    experiment: gets each candidate with ``step`` and ``seed`` added, and measures ``score``, of which the ``best`` is
        "highest" (accuracy) or "lowest" (loss), and NaN is worst. It must be measured on data that the verdict does not
        rest on.
    candidates: configurations without step and seed, such as ``{"task": "digits", "activation": "relu"}``.
    steps: the grid, the same for all candidates; wide enough that no best step lies at its edge: see :func:`edges`.
    """
    for candidate in candidates:
        runs = [
            Run(experiment, {**candidate, "step": step, "seed": seed})
            for step, seed in itertools.product(steps, plan.tuning)
        ]
        yield from runs
        step = best_step(experiment, candidate, plan, done, steps=steps, score=score, best=best)
        if step is not None:
            yield from (Run(experiment, {**candidate, "step": step, "seed": seed}) for seed in plan.seeds)


def best_step(
    experiment: Experiment,
    candidate: Config,
    plan: Plan,
    done: Results,
    *,
    steps: Sequence[float],
    score: str = "validation",
    best: Best = "highest",
) -> float | None:
    """The step size with the best mean score over the tuning seeds, the smaller of equals; None: not all is done."""
    of_candidate = done.where(experiment.name, **candidate)
    found = {key(row.experiment, experiment.version, row.config): row for row in of_candidate}
    costs = []
    for step in sorted(steps):
        wanted = [Run(experiment, {**candidate, "step": step, "seed": seed}).key for seed in plan.tuning]
        if not all(each in found for each in wanted):
            return None
        mean = sum(float(found[each][score]) for each in wanted) / len(wanted)
        costs.append((math.inf if math.isnan(mean) else -mean if best == "highest" else mean, step))
    return min(costs)[1]


def edges(made: Results, plan: Plan) -> dict[str, bool]:
    """Candidate → whether its best step size is an end of its grid, where a wider one might have shown a better.

    made: all runs of a claim, those that chose the step sizes among them. Beside the best a claim may judge larger
    steps.
    """
    grids: dict[str, set[float]] = {}
    taken: dict[str, float] = {}
    for row in made:
        if "step" in row.config:
            config = dict(row.config)
            step, _ = config.pop("step"), config.pop("seed")
            candidate = ", ".join(f"{name} {value}" for name, value in config.items())
            if row.seed in plan.tuning:
                grids.setdefault(candidate, set()).add(step)
            else:
                taken[candidate] = min(step, taken.get(candidate, math.inf))
    return {name: step in (min(grids[name]), max(grids[name])) for name, step in taken.items() if name in grids}
