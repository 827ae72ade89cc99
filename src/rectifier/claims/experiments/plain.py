"""The plain network of "digits-mlp" or "tabular", for experiments that look into its training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..lab.experiment import Config

if TYPE_CHECKING:
    from torch import nn

    from ..tasks.setup import Setup
    from ..tasks.training import Batch

__all__ = ["plain"]

_OF_SETUP = ("activation", "step", "seed", "budget", "init_bias")


def plain(config: Config) -> tuple[Setup, nn.Sequential, Mapping[str, Batch], Iterator[Batch]]:
    """Its setup, the network as it begins, the parts of the data, and the batches; ``trained`` has the same.

    config: "task", what of the setup is not as usual, and "width" where it is not the task's.
    """
    from ..tasks import images, tables
    from ..tasks.setup import Setup
    from ..tasks.training import shuffled

    digits = config["task"] == "digits-mlp"
    data = images.parts() if digits else tables.parts("breast_cancer")
    inputs, usual, outputs = (64, 64, 10) if digits else (data["train"][0].shape[1], 32, 2)
    model = images.feed_forward(config["activation"], inputs, 3, config.get("width", usual), outputs, "none")
    setup = Setup(**{name: config[name] for name in _OF_SETUP if name in config})
    setup.initialise(model)
    return setup, model, data, shuffled(data["train"], images.BATCH if digits else tables.BATCH, setup.generator(1))
