"""One network of one task, trained with one activation: what most claims are judged by.

A configuration and its outcome are those of :func:`rectifier.claims.tasks.run`. The tasks, their budgets and grids are
in ``rectifier.claims.tasks.TASKS``.
"""

from __future__ import annotations

from ..lab.experiment import Config, Outcome, experiment
from ..tasks import run

__all__ = ["timed", "trained"]


@experiment(version=1)
def trained(config: Config) -> Outcome:
    """Everything but the time, so that the same configuration always gives the same outcome."""
    outcome = run(config)
    del outcome["seconds"]
    return outcome


@experiment(version=2, alone=True)
def timed(config: Config) -> Outcome:
    """With PyTorch's own layers, and ``seconds``, the processor time of all updates: run where nothing else runs."""
    return run({**config, "own_layers": True})
