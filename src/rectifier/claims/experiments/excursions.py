"""A short training, followed closely: how far weights move, how large activations become."""

from __future__ import annotations

import math

from ..lab.experiment import Config, Outcome, experiment

__all__ = ["excursion"]


@experiment(version=1)
def excursion(config: Config) -> Outcome:
    """The digits' plain network of ``depth`` layers, trained for ``budget`` updates with ``step``.

    largest: the largest \\|h\\| of any hidden unit in any update; infinity where numbers overflowed
    loss: mean of the last ten updates; NaN where it is no number
    moved: by layer, the root mean square by which its weights changed, as a share of what they were
    """
    import torch
    from torch import nn

    from ..tasks import images
    from ..tasks.setup import Setup
    from ..tasks.training import shuffled

    model = images.feed_forward(config["activation"], 64, config["depth"], 64, 10, "none")
    setup = Setup(**{name: config[name] for name in ("activation", "step", "seed", "budget")})
    setup.initialise(model)
    layers = [part for part in model if isinstance(part, nn.Linear)]
    begun = [layer.weight.detach().clone() for layer in layers]
    largest = [0.0]

    def look(part: nn.Module, inputs: tuple[torch.Tensor, ...], h: torch.Tensor) -> None:
        largest[0] = max(largest[0], float(h.detach().abs().max().nan_to_num(nan=math.inf, posinf=math.inf)))

    for name, part in model.named_children():
        if name.startswith("act"):
            part.register_forward_hook(look)
    optimizer = setup.make_optimizer(model)
    batches = shuffled(images.parts()["train"], images.BATCH, setup.generator(1))
    losses: list[float] = []
    while len(losses) < config["budget"] and (not losses or math.isfinite(losses[-1])):
        x, y = next(batches)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    changes = [(layer.weight.detach() - old).norm() / old.norm() for layer, old in zip(layers, begun, strict=True)]
    return {
        "largest": largest[0] if math.isfinite(losses[-1]) else math.inf,
        "loss": sum(losses[-10:]) / len(losses[-10:]),
        "moved": [float(change) for change in changes],
    }
