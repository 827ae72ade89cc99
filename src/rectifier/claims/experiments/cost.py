"""What activations cost: alone, and in a training step. All in turn, round after round, on one thread."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment

if TYPE_CHECKING:
    from torch import nn

__all__ = ["alone", "step"]

#: Seconds of one turn of one candidate: long enough for the clock, short enough that a disturbance spoils few.
_TURN = 0.002


@experiment(version=1, alone=True)
def alone(config: Config) -> Outcome:
    """One activation applied to ``values`` numbers of float32, for each of ``activations``, and a copy of the numbers.

    library: "numpy", the functions of rectifier into memory that is there; "torch", PyTorch's own layers without
    gradients. Numbers are drawn from N(0, 1).

    nanoseconds: a value, by label; times: as a multiple of what ReLU took in the same round, the median of all rounds
    """
    x = np.random.default_rng(config["seed"]).standard_normal((config["values"],), dtype=np.float32)
    make = _numpy if config["library"] == "numpy" else _torch
    with _one_thread():
        found = _rounds(make(x, config["activations"]), config["rounds"], config["seed"])
    return _told(found, 1e9 / config["values"], "nanoseconds")


@experiment(version=1, alone=True)
def step(config: Config) -> Outcome:
    """One training step (forward, backward, update) of ``network`` with PyTorch's own layer of each of ``activations``.

    network: "mlp": the digits' plain network, 3 layers of ``width`` units; "cnn": the convolutional one, beginning
    with ``width`` channels. batch: images of a step.

    milliseconds: a step, by label; times: as a multiple of what the step with ReLU took in the same round
    """
    import torch
    from torch import nn

    from ..tasks import images
    from ..tasks.setup import Setup

    x, y = images.parts()["train"]
    picked = torch.randint(len(x), (config["batch"],), generator=torch.Generator().manual_seed(config["seed"]))
    x, y = x[picked], y[picked]
    if config["network"] == "cnn":
        x = x.reshape(-1, 1, 8, 8)

    def stepping(label: str) -> Callable[[], None]:
        model: nn.Sequential = (
            images.convolutional(label, config["width"])
            if config["network"] == "cnn"
            else images.feed_forward(label, 64, 3, config["width"], 10, "none")
        )
        # So small a step that no network leaves the weights that it began with: numbers that die are other work.
        setup = Setup(activation=label, seed=config["seed"], step=1e-6, budget=1, own_layers=True)
        setup.initialise(model)
        optimizer = setup.make_optimizer(model)

        def run() -> None:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return run

    with _one_thread():
        found = _rounds({label: stepping(label) for label in config["activations"]}, config["rounds"], config["seed"])
    return _told(found, 1e3, "milliseconds")


def _numpy(x: np.ndarray[Any, Any], labels: list[str]) -> dict[str, Callable[[], Any]]:
    out = np.empty_like(x)

    def applied(function: Any) -> Callable[[], Any]:
        return lambda: function(x, out=out)

    calls: dict[str, Callable[[], Any]] = {label: applied(ACTIVATIONS[label].function) for label in labels}
    return {**calls, "copy": lambda: np.copyto(out, x)}


def _torch(x: np.ndarray[Any, Any], labels: list[str]) -> dict[str, Callable[[], Any]]:
    import torch

    from ..tasks.layers import own

    values = torch.from_numpy(x)

    def applied(layer: nn.Module) -> Callable[[], Any]:
        def run() -> Any:
            with torch.no_grad():
                return layer(values)

        return run

    calls: dict[str, Callable[[], Any]] = {label: applied(own(ACTIVATIONS[label].module())) for label in labels}
    return {**calls, "copy": values.clone}


def _rounds(calls: Mapping[str, Callable[[], Any]], rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds a call, one entry a round, for each; their order changes, so that none profits from the one before it."""
    many = {label: max(1, round(_TURN / _turn(call, 1))) for label, call in calls.items()}
    times: dict[str, list[float]] = {label: [] for label in calls}
    order, shuffle = list(calls), random.Random(seed).shuffle
    for _ in range(rounds):
        shuffle(order)
        for label in order:
            times[label].append(_turn(calls[label], many[label]))
    return times


def _turn(call: Callable[[], Any], many: int) -> float:
    call()  # brings what it needs back to the caches
    # Processor time: what others take of this core is left out.
    begun = time.thread_time()
    for _ in range(many):
        call()
    return max(time.thread_time() - begun, 1e-9) / many


def _told(times: Mapping[str, list[float]], factor: float, unit: str) -> Outcome:
    found: Outcome = {}
    for label, each in times.items():
        found[f"{unit}_{label}"] = factor * statistics.median(each)
        ratios = [one / relu for one, relu in zip(each, times["relu"], strict=True)]
        found[f"times_{label}"] = statistics.median(ratios)
    return found


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch's threads, and the library's own, which no other setting reaches."""
    import torch

    from ..._native import set_threads, threads

    before = threads(), torch.get_num_threads()
    set_threads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        set_threads(before[0])
        torch.set_num_threads(before[1])
