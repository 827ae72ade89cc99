"""The tasks of the laboratory: small, real, and each trained with any activation of the table.

``run`` takes a configuration that JSON can hold and returns numbers. The same configuration gives the same numbers, bit
for bit, on the same machine and versions; only ``seconds`` differs. PyTorch and the like are imported when a task runs.

>>> from rectifier.claims.tasks import run
>>> outcome = run({"task": "digits-mlp", "activation": "relu", "step": 0.03, "seed": 0, "budget": 150})
>>> outcome["test"] > 0.85
True
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...errors import RectifierValueError

__all__ = ["TASKS", "Task", "run"]


@dataclass(frozen=True)
class Task:
    """One task, with what its runs take unless a configuration says otherwise."""

    about: str
    """Data and network in one line."""
    measure: str
    """What ``train``, ``validation`` and ``test`` are: at most 1, higher is better."""
    chance: float
    """The measure of one who guesses."""
    where: str
    """Module of this folder, and the function in it: ``function(setup, **options)``."""
    quick: int
    """Budget of a run in the quick sweep."""
    full: int
    """Budget in the full one."""
    steps: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    """The grid from which each activation takes its own best step size in the full sweep."""
    few_steps: tuple[float, ...] = (0.003, 0.03, 0.3)
    """That of the quick one."""
    optimizer: str = "momentum"
    tested: int = 0
    """Examples of the test part; 0 where the measure is no share of them."""

    def budget(self, quick: bool) -> int:
        """Of a run in the quick sweep, or in the full one."""
        return self.quick if quick else self.full

    def grid(self, quick: bool) -> tuple[float, ...]:
        """The step sizes of the quick sweep, or of the full one."""
        return self.few_steps if quick else self.steps

    @property
    def function(self) -> Any:
        """What trains; importing it imports PyTorch."""
        module, _, name = self.where.partition(":")
        return getattr(importlib.import_module(f".{module}", __name__), name)


TASKS: dict[str, Task] = {
    "digits-mlp": Task(
        about="8 × 8 digits, 3 hidden layers of 64 units",
        measure="accuracy",
        chance=0.1,
        where="images:plain",
        quick=300,
        full=2000,
        tested=450,
    ),
    "digits-cnn": Task(
        about="8 × 8 digits, 3 convolutions of 8, 16 and 32 channels",
        measure="accuracy",
        chance=0.1,
        where="images:convolution",
        quick=300,
        full=1500,
        tested=450,
    ),
    "rows": Task(
        about="8 × 8 digits row by row, a recurrent layer of 48 units",
        measure="accuracy",
        chance=0.1,
        where="sequences:rows",
        quick=300,
        full=1500,
        tested=450,
    ),
    "tabular": Task(
        about="breast cancer set (569 rows of 30), 3 hidden layers of 32 units",
        measure="accuracy",
        chance=0.63,
        where="tables:table",
        quick=200,
        full=1000,
        tested=114,
    ),
    "detection": Task(
        about="1 to 3 digits in scenes of 24 × 24, 4 convolutions, 6 × 6 cells",
        measure="mean average precision at an overlap of ½",
        chance=0.0,
        where="detection:detector",
        quick=300,
        full=2000,
        steps=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
        few_steps=(0.001, 0.005, 0.02),
        optimizer="adam",
    ),
    "speech": Task(
        about="spoken digits as 24 × 40 log-mel features, 3 convolutions over time; voices of the test unheard",
        measure="accuracy",
        chance=0.1,
        where="speech:words",
        quick=300,
        full=1500,
        tested=210,
    ),
    "text": Task(
        about="the next of 31 characters after 8, English prose, 2 hidden layers of 128 units",
        measure="share of the bits of a uniform guess that is saved",
        chance=0.0,
        where="text:characters",
        quick=600,
        full=5000,
    ),
    "cartpole": Task(
        about="balancing a pole, 4 observations, 2 hidden layers of 64 units, actor and critic",
        measure="mean return ÷ 500",
        chance=0.04,
        where="control:cartpole",
        quick=150,
        full=400,
        steps=(0.001, 0.003, 0.01, 0.03),
        few_steps=(0.001, 0.01),
        optimizer="adam",
    ),
}


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Train one network as ``config`` says and tell what came of it.

    config: "task" (a key of TASKS), the fields of ``setup.Setup`` ("activation", "step" and "seed" are required; the
        budget is the task's quick one and the optimizer the task's unless given) and the options of the task.
    Returns what ``training.train`` tells. PyTorch runs on one thread meanwhile, and its global random state is left as
    it was. Raises RectifierValueError for what cannot be used.
    """
    given = dict(config)
    name = given.pop("task", None)
    if name not in TASKS:
        raise RectifierValueError(
            f"claims: `task` must be one of {', '.join(TASKS)}; got {name!r}. Pass a name such as 'digits-mlp'."
        )
    import torch

    from ...demo.digits import one_thread
    from .setup import Setup

    task = TASKS[name]
    common = [field.name for field in fields(Setup)]
    options = list(inspect.signature(task.function).parameters)[1:]
    settings: dict[str, Any] = {"budget": task.quick, "optimizer": task.optimizer}
    settings |= {key: given.pop(key) for key in common if key in given}
    missing = [f"no {key!r}" for key in ("activation", "step", "seed") if key not in settings]
    unknown = [repr(key) for key in given if key not in options]
    if missing or unknown:
        raise RectifierValueError(
            f"claims: a configuration of {name!r} must hold activation, step and seed, and may hold "
            f"{', '.join(key for key in [*common, *options] if key not in ('activation', 'step', 'seed'))}; "
            f"got {', '.join(missing + unknown)}. Correct the names."
        )
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for what a library draws by itself; ours has sources of its own
        outcome: dict[str, Any] = task.function(Setup(**settings), **given)
    return outcome
