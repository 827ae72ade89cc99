"""Experiments for tests; in a module of its own, as workers import them by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rectifier.claims.lab.experiment import Config, Outcome, experiment


@experiment(version=1)
def sums(config: Config) -> Outcome:
    """Sums that more than one thread would round otherwise."""
    import torch

    generator = torch.Generator().manual_seed(config["seed"])
    values = torch.randn(300_000, generator=generator)
    product = torch.randn(64, 64, generator=generator) @ torch.randn(64, 64, generator=generator)
    return {"sum": float(values.sum()), "product": float(product.sum()), "threads": torch.get_num_threads()}


@experiment(version=1)
def fragile(config: Config) -> Outcome:
    """Ends its own process the first ``times`` times that it runs with seed 2."""
    marks = Path(config["marks"])
    if config["seed"] == 2 and len(list(marks.iterdir())) < config["times"]:
        (marks / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"test": config["seed"] ** 2}


@experiment(version=1)
def failing(config: Config) -> Outcome:
    if config["seed"] == 1:
        raise ArithmeticError("planted")
    return {"test": config["seed"] ** 2}


@experiment(version=1)
def bowls(config: Config) -> Outcome:
    """A score whose best step size is known: 0.3 for relu, 0.1 for tanh; at 1 it diverges."""
    best = {"relu": 0.3, "tanh": 0.1}[config["activation"]]
    score = abs(config["step"] - best) if config["step"] < 1 else float("nan")
    return {"validation": score, "test": score + config["seed"]}
