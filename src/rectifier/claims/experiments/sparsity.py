"""Networks made sparser or denser in several ways, and how well they generalise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..lab.experiment import Config, Outcome, experiment
from .plain import plain

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["sparse"]


@experiment(version=1)
def sparse(config: Config) -> Outcome:
    """Train a plain network of three hidden layers on "digits-mlp" or "tabular", with what the configuration changes.

    width: units of a layer (64; tabular: 32); init_bias: as in every task (0); penalty: factor of the mean \\|h\\| of
    each hidden layer, added to the loss (0); decay: factor of half the sum of squared weights, added too (0)

    zeros: share of the activations that are exactly 0, on the validation part
    train, validation, test: accuracies
    """
    import torch
    from torch import nn

    from ..tasks import images
    from ..tasks.training import Problem, accuracy, train

    setup, model, data, batches = plain(config)
    seen = _seen(model)
    weights = [part.weight for part in model if isinstance(part, nn.Linear)]

    def loss(given: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        total = nn.functional.cross_entropy(given, classes)
        if "penalty" in config:
            total = total + config["penalty"] * torch.stack([h.abs().mean() for h in seen.values()]).sum()
        if "decay" in config:
            total = total + config["decay"] / 2 * torch.stack([weight.square().sum() for weight in weights]).sum()
        return total

    found = train(setup, Problem(model, batches, data, loss, accuracy, images.GOALS))
    with torch.no_grad():
        model(data["validation"][0])
    zeros = torch.stack([(h == 0).double().mean() for h in seen.values()]).mean()
    return {"zeros": float(zeros), **{name: found[name] for name in ("train", "validation", "test")}}


def _seen(model: nn.Sequential) -> dict[str, Any]:
    """What each activation gave last."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(part: nn.Module, inputs: Any, h: torch.Tensor) -> None:
            seen[name] = h

        return hook

    for name, part in model.named_children():
        if name.startswith("act"):
            part.register_forward_hook(keep(name))
    return seen
