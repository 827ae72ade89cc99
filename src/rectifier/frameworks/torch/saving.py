"""What is kept for the backward pass by default, and what a call cannot honour."""

from __future__ import annotations

import torch

from ...errors import RectifierValueError
from ..saving import GATED, UNDONE, check_choice

__all__ = ["check_choice", "check_save", "policy"]

Tensor = torch.Tensor


def policy(name: str, parameter: float | Tensor, save: str | None) -> str:
    """What the kernels keep: "gate", "input", "output", or "whole": the output unless it has underflowed."""
    if name in GATED or name == "prelu":
        if isinstance(parameter, Tensor) and parameter.requires_grad and name in ("leaky_relu", "prelu"):
            return save or "input"
        return "gate"
    if save is not None:
        return save
    return "whole" if name in UNDONE else "input"


def check_save(name: str, save: str, parameter: float | Tensor) -> None:
    """Refuse a ``save`` that this call cannot honour."""
    slope = parameter if isinstance(parameter, Tensor) and name in ("leaky_relu", "prelu") else None
    learned = slope is not None and slope.requires_grad
    check_choice(name, name, save, learned or name == "prelu")
    # On another device a look would wait for it; in a compiled or traced graph there is nothing to look at.
    traced = torch.compiler.is_compiling() or torch._C._is_tracing()
    if save != "output" or slope is None or not learned or traced or not slope.is_cpu:
        return
    if type(slope) in (Tensor, torch.nn.Parameter) and bool((slope <= 0).any()):
        raise RectifierValueError(
            f"{name}: `save` must be 'input' where a slope is not above 0, as the output does not tell the input "
            f"there; got 'output' and a slope of {slope.detach().min().item():g}. Leave it out."
        )
