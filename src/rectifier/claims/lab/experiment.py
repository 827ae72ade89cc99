"""An experiment turns a configuration into numbers, and the same configuration always into the same.

>>> from rectifier.claims.lab.experiment import Run, experiment
>>> @experiment(version=1)
... def doubled(config):
...     return {"twice": 2 * config["number"]}
>>> doubled({"number": 4, "seed": 0})
{'twice': 8}
>>> Run(doubled, {"number": 4, "seed": 0}).key
'doubled/1 {"number":4,"seed":0}'
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...errors import RectifierValueError

__all__ = ["Config", "Experiment", "Outcome", "Run", "experiment"]

#: What an experiment is told: names → numbers, texts, booleans, or lists of these; ``seed`` among them.
Config = Mapping[str, Any]
#: What it measured: names → numbers (NaN and infinities too), texts, booleans, or short lists of these.
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A function from configuration to numbers, with the version that its results carry."""

    function: Callable[[Config], Outcome]
    version: int
    alone: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, config: Config) -> Outcome:
        return self.function(config)

    def __reduce__(self) -> tuple[Callable[[str, str, int], Experiment], tuple[str, str, int]]:
        # By name, as its module's attribute is this object and not the function that pickle would look for.
        return _named, (self.function.__module__, self.name, self.version)


def _named(module: str, name: str, version: int) -> Experiment:
    found: Experiment = getattr(importlib.import_module(module), name)
    if found.version != version:  # a worker on another machine, with another release
        raise RectifierValueError(
            f"claims: `--address` must be that of workers with the same rectifier; got version {found.version} "
            f"of the experiment {name!r}, which is {version} here. Install the same release there."
        )
    return found


def experiment(*, version: int, alone: bool = False) -> Callable[[Callable[[Config], Outcome]], Experiment]:
    """Make an :class:`Experiment` of a function.

    version: raise it when the same configuration would give other numbers; results of other versions are left out.
    alone: it takes the time of something, so nothing else may run beside it. Such results differ from run to run.

    The function draws every random number from ``config["seed"]``, imports what is heavy inside itself, and lets
    a training that went wrong end in NaN rather than in an exception.
    """
    return lambda function: Experiment(function, version, alone)


@dataclass(frozen=True, eq=False)
class Run:
    """One experiment with one configuration."""

    experiment: Experiment
    config: Config

    @cached_property
    def key(self) -> str:
        """What tells this run from every other; a finished one is not repeated."""
        return key(self.experiment.name, self.experiment.version, self.config)


def key(name: str, version: int, config: Config) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{name}/{version} {text}"
