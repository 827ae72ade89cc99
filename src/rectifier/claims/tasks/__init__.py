"""The tasks of the laboratory: small, real, and each trained with any activation of one table.

``run`` takes a configuration that JSON can hold and returns a result that JSON can hold. The same configuration gives
the same numbers, bit for bit, on the same machine and versions; only ``seconds`` differs.

>>> from rectifier.claims.tasks import run
>>> result = run({"task": "digits-mlp", "activation": "relu", "seed": 0, "step_size": 0.03, "budget": 150})
>>> result["test"] > 0.85
True
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...demo.digits import one_thread
from ...errors import RectifierValueError
from . import images, sequences, tables
from .activations import LAYERS
from .setup import Setup

__all__ = ["LAYERS", "TASKS", "Setup", "Task", "run"]

_COMMON = tuple(field.name for field in fields(Setup))


@dataclass(frozen=True)
class Task:
    """One task, with what its runs take unless a configuration says otherwise."""

    about: str
    """Data and network in one line."""
    measure: str
    """What ``train``, ``validation`` and ``test`` are; higher is better."""
    chance: float
    """The measure of one who guesses."""
    train: Callable[..., dict[str, Any]]
    quick: int
    """Budget of a run in the quick sweep."""
    full: int
    """Budget in the full one."""
    step_sizes: tuple[float, ...]
    """The grid from which each activation takes the best on the validation part: all in the full sweep, every other
    in the quick one."""
    optimizer: str = "momentum"

    @property
    def options(self) -> dict[str, Any]:
        """What this task alone can be told, with the defaults."""
        parameters = list(inspect.signature(self.train).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}


_SGD = (0.003, 0.01, 0.03, 0.1, 0.3)

TASKS: dict[str, Task] = {
    "digits-mlp": Task(
        about="8 × 8 digits, 3 hidden layers of 64 units",
        measure="accuracy",
        chance=0.1,
        train=images.plain,
        quick=300,
        full=2000,
        step_sizes=_SGD,
    ),
    "digits-cnn": Task(
        about="8 × 8 digits, 3 convolutions of 8, 16 and 32 channels",
        measure="accuracy",
        chance=0.1,
        train=images.convolution,
        quick=300,
        full=1500,
        step_sizes=_SGD,
    ),
    "rows": Task(
        about="8 × 8 digits row by row, a recurrent layer of 48 units",
        measure="accuracy",
        chance=0.1,
        train=sequences.rows,
        quick=300,
        full=1500,
        step_sizes=_SGD,
    ),
    "tabular": Task(
        about="breast cancer set (569 rows of 30), 3 hidden layers of 32 units",
        measure="accuracy",
        chance=0.63,
        train=tables.table,
        quick=200,
        full=1000,
        step_sizes=_SGD,
    ),
}


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Train one network as ``config`` says and tell what came of it.

    config: "task" (a key of TASKS), the fields of ``Setup`` ("activation", "seed" and "step_size" are required; the
        budget is the task's quick one and the optimizer the task's unless given) and the options of the task.
    Returns what ``training.train`` tells (of "cartpole", what ``control.cartpole`` does). PyTorch runs on one thread
    meanwhile, and its global random state is left as it was. Raises RectifierValueError for what cannot be used.
    """
    given = dict(config)
    name = given.pop("task", None)
    if name not in TASKS:
        raise RectifierValueError(
            f"claims: `task` must be one of {', '.join(TASKS)}; got {name!r}. Pass a name such as 'digits-mlp'."
        )
    task = TASKS[name]
    common = {"budget": task.quick, "optimizer": task.optimizer}
    common |= {key: given.pop(key) for key in _COMMON if key in given}
    missing = [key for key in ("activation", "seed", "step_size") if key not in common]
    if missing or not given.keys() <= task.options.keys():
        unknown = ", ".join(sorted(map(repr, given.keys() - task.options.keys()))) or "no " + ", ".join(missing)
        raise RectifierValueError(
            f"claims: a configuration of {name!r} must hold activation, seed and step_size and may hold "
            f"{', '.join([*_COMMON[3:], *task.options])}; got {unknown}. Correct the names."
        )
    import torch

    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for what a library draws on its own; ours has sources of its own
        return task.train(Setup(**common), **given)
