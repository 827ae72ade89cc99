"""What layers add without a non-linearity between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lab.experiment import Config, Outcome, experiment

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["collapsed", "xor"]


@experiment(version=1)
def xor(config: Config) -> Outcome:
    """``depth`` hidden layers of ``width`` units learn XOR by ``budget`` full steps on the squared error.

    error: its mean over the four corners at the end. No linear function of the inputs can be below 0.25.
    right: corners on the right side of ½.
    """
    import torch

    from ..tasks.images import feed_forward
    from ..tasks.setup import Setup

    model = feed_forward(config["activation"], 2, config["depth"], config["width"], 1, "none")
    setup = Setup(**{name: config[name] for name in ("activation", "step", "seed", "budget")})
    setup.initialise(model)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0.0, 1.0, 1.0, 0.0])
    optimizer = setup.make_optimizer(model)
    for _ in range(config["budget"]):
        optimizer.zero_grad()
        ((model(x).squeeze(1) - y) ** 2).mean().backward()
        optimizer.step()
    with torch.no_grad():
        outputs = model(x).squeeze(1)
    return {
        "error": float(((outputs - y) ** 2).mean()) if bool(outputs.isfinite().all()) else float("nan"),
        "right": int(((outputs > 0.5) == (y > 0.5)).sum()),
    }


@experiment(version=1)
def collapsed(config: Config) -> Outcome:
    """Train the digits' plain network as ``trained`` does, then multiply its matrices, with nothing between them.

    In float64, on the images of the test. apart: largest difference between the outputs of the network and of the one
    matrix, as a share of the largest output. other_class: share of the images that the two call otherwise.
    test: accuracy of the network.
    """
    import torch
    from torch import nn

    from ..tasks import images
    from ..tasks.setup import Setup
    from ..tasks.training import Problem, accuracy, shuffled, train

    model = images.feed_forward(config["activation"], 64, config["depth"], 64, 10, "none")
    setup = Setup(**{name: config[name] for name in ("activation", "step", "seed", "budget")})
    setup.initialise(model)
    data = images.parts()
    batches = shuffled(data["train"], images.BATCH, setup.generator(1))
    found = train(setup, Problem(model, batches, data, nn.functional.cross_entropy, accuracy, images.GOALS))
    x = data["test"][0].double()
    with torch.no_grad():
        outputs, one = model.double()(x), _one_matrix(model, x)
    apart = float((outputs - one).abs().max() / outputs.abs().max())
    other = float((outputs.argmax(dim=1) != one.argmax(dim=1)).double().mean())
    return {"apart": apart, "other_class": other, "test": found["test"]}


def _one_matrix(model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """The outputs of W_n ⋯ W_2 W_1 x + (b_n + W_n b_{n−1} + …)."""
    import torch
    from torch import nn

    layers: list[Any] = [part for part in model if isinstance(part, nn.Linear)]
    weight, bias = layers[0].weight, layers[0].bias
    for layer in layers[1:]:
        weight, bias = layer.weight @ weight, layer.weight @ bias + layer.bias
    return torch.addmm(bias, x, weight.T)
