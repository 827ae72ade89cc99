"""One network of one task, trained with one activation: what most claims are judged by.

A configuration and its outcome are those of :func:`rectifier.claims.tasks.run`. The tasks, their budgets and grids are
in ``rectifier.claims.tasks.TASKS``.
"""

from __future__ import annotations

from ..lab.experiment import Config, Outcome, experiment
from ..tasks import run

__all__ = ["timed", "trained"]


#: Kept of no run: the time, so that the same configuration always gives the same outcome, and the learning curve, which
#: no claim reads and which is most of an outcome's bytes.
_LEFT_OUT = ("seconds", "curve", "loss")


@experiment(version=2)
def trained(config: Config) -> Outcome:
    """Everything but the time and the learning curve."""
    return {name: value for name, value in run(config).items() if name not in _LEFT_OUT}


@experiment(version=2, alone=True)
def timed(config: Config) -> Outcome:
    """With PyTorch's own layers: ``seconds``, the processor time of all ``updates``; run where nothing else runs."""
    outcome = run({**config, "own_layers": True})
    return {name: outcome[name] for name in ("seconds", "updates")}
