"""Which models can be pruned, and whether proofs hold in the mode that they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import RectifierValueError
from .observer.distributed import unwrapped
from .observer.kinds import is_opaque
from .tracing.lowering import array_of

__all__ = ["check_mode", "check_model", "digests", "example", "running_statistics"]


def check_model(model: nn.Module) -> None:
    """Refuse what has no weights of its own that could be made smaller."""
    reason = is_opaque(model)
    if reason is None and (unwrapped(model) is not model or isinstance(model, nn.DataParallel)):
        reason = "wrapped"
    inside = next((name for name, part in model.named_modules() if is_opaque(part) is not None), None)
    what, cure = None, ""
    if reason == "compiled":
        what, cure = f"a compiled {type(model).__name__}", "Pass the model that was compiled, and compile it again."
    elif reason == "scripted":
        what, cure = f"a scripted {type(model).__name__}", "Pass the model before torch.jit."
    elif reason == "wrapped":
        what, cure = f"a {type(model).__name__}", "Pass its `module`, before it is spread over devices."
    elif inside is not None:
        part = model.get_submodule(inside)
        what, cure = f"{inside!r}, which is {is_opaque(part)}", "Put the part that it was made of there."
    sharded = any(hasattr(tensor, "full_tensor") for tensor in model.parameters())
    if what is None and sharded:
        what, cure = "weights that are spread over processes", "Prune before they are, or what one process holds whole."
    quantized = next((name for name, part in model.named_modules() if _quantized(part)), None)
    if what is None and quantized is not None:
        what = f"{quantized!r}, which is quantized" if quantized else f"a quantized {type(model).__name__}"
        cure = "Prune before it is quantized."
    if what is not None:
        raise RectifierValueError(
            f"prune: `model` must be made of layers with weights of their own; got {what}. {cure}"
        )


def _quantized(module: nn.Module) -> bool:
    tensors = (*module._parameters.values(), *module._buffers.values())
    return "quantized" in type(module).__module__ or any(
        tensor is not None and (tensor.is_quantized or "torchao" in type(tensor).__module__) for tensor in tensors
    )


def running_statistics(model: nn.Module) -> tuple[bool, bool]:
    """Whether a batch normalisation of the model is in training mode, and whether one is in evaluation mode."""
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]
    return any(part.training for part in norms), any(not part.training for part in norms)


def digests(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Name → hash, as certificates have it, of those that are parameters or buffers."""
    state = model.state_dict()
    return {name: array_of(name, state[name]).digest for name in names if name in state}


def check_mode(model: nn.Module, document: Mapping[str, Any]) -> None:
    """Refuse a certificate whose normalisations are those of another mode than the model's."""
    modules = dict(model.named_modules())
    for step in (step for network in document["networks"] for step in network["steps"]):
        module = modules.get(step["layer"])
        if not isinstance(module, _BatchNorm) or module.running_mean is None:
            continue
        if step["op"] == "scale" and module.training:
            raise RectifierValueError(
                "prune: `findings` must hold in the mode that the model is in; got a certificate with batch "
                f"normalisation in evaluation mode, and {step['layer']!r} in training mode. Call model.eval() first."
            )
        if step["op"] == "normalise" and not module.training:
            raise RectifierValueError(
                "prune: `findings` must hold in the mode that the model is in; got a certificate for training mode, "
                f"and {step['layer']!r} in evaluation mode. Make one of the model in evaluation mode."
            )


def example(model: nn.Module, shape: Sequence[int] | None) -> torch.Tensor:
    """A batch of the model's own kind, of numbers from 0 to 1, where no probe tells what it takes."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    if shape is None:
        first = next((part for part in model.modules() if next(part.parameters(recurse=False), None) is not None), None)
        if not isinstance(first, nn.Linear):
            raise RectifierValueError(
                "prune: `probe` must be given where the first layer does not tell the shape of the inputs; got None. "
                "Pass a batch of inputs."
            )
        shape = (first.in_features,)
    numbers = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    return numbers.to(dtype=like.dtype, device=like.device)
