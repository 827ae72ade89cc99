"""Training with another derivative at 0, and how often a pre-activation is exactly 0."""

from __future__ import annotations

import zlib
from itertools import pairwise

from ..lab.activations import ACTIVATIONS
from ..lab.experiment import Config, Outcome, experiment

__all__ = ["at_the_kink"]

_WIDTHS = (64, 128, 128, 64)


@experiment(version=1)
def at_the_kink(config: Config) -> Outcome:
    """A network on the digits (64 → 128 → 128 → 64 → 10, plain SGD, batches of 64) in ``dtype`` with ``at_zero``.

    validation, test: shares that are right, of a fifth of the training images held out, and of the test images.
    zeros, values: pre-activations that were exactly 0 during training, and all of them.
    weights: a checksum of the final weights; equal where not a bit differs.
    """
    import torch
    from torch import nn

    from ...demo import digits

    dtype, seed = getattr(torch, config["dtype"]), config["seed"]
    data = digits.load()
    held = len(data.x_train) // 5
    x, y = data.x_train[held:].to(dtype), data.y_train[held:]
    seen = [0, 0]

    def count(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        seen[0] += int((inputs[0] == 0).sum())
        seen[1] += inputs[0].numel()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(_WIDTHS):
            rectifier = ACTIVATIONS[config["activation"]].module(at_zero=config["at_zero"])
            rectifier.register_forward_pre_hook(count)
            layers += [nn.Linear(wide, narrow), rectifier]
        model = nn.Sequential(*layers, nn.Linear(_WIDTHS[-1], 10)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["step"])
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config["updates"]):
        rows = torch.randperm(len(x), generator=generator)[: digits.BATCH]
        optimizer.zero_grad()
        # The loss in float32: float16 would end the training by itself.
        nn.functional.cross_entropy(model(x[rows]).float(), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    zeros, values = seen
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    return {
        "validation": digits.accuracy(model, data.x_train[:held].to(dtype), data.y_train[:held]),
        "test": digits.accuracy(model, data.x_test.to(dtype), data.y_test),
        "zeros": zeros,
        "values": values,
        "weights": zlib.crc32(weights),
    }
