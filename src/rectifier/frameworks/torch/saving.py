"""What is kept for the backward pass: the choices of each function, its default, and why others are refused."""

from __future__ import annotations

import torch

from ...errors import RectifierTypeError, RectifierValueError

__all__ = ["check_choice", "check_save", "policy"]

Tensor = torch.Tensor

#: Their gate tells the whole derivative.
_GATED = frozenset({"relu", "leaky_relu", "abs", "relu6"})
#: The output, which the next layer keeps anyway, tells f′ to the last digit unless it underflows.
_UNDONE = frozenset({"softplus", "squared_relu"})
_NAMES = ("gate", "input", "output")


def policy(name: str, parameter: float | Tensor, save: str | None) -> str:
    """What the kernels keep: "gate", "input", "output", or "whole": the output unless it has underflowed."""
    if name in _GATED or name == "prelu":
        if isinstance(parameter, Tensor) and parameter.requires_grad and name in ("leaky_relu", "prelu"):
            return save or "input"
        return "gate"
    if save is not None:
        return save
    return "whole" if name in _UNDONE else "input"


def check_choice(function: str, name: str, save: str | None, learned: bool) -> None:
    """Refuse a ``save`` that the row ``name`` cannot honour. ``learned``: its slope gets a gradient."""
    if save is None:
        return
    if not isinstance(save, str):
        raise RectifierTypeError(
            f"{function}: `save` must be one of {', '.join(map(repr, _NAMES))}; got {save!r}. Leave it out."
        )
    if save not in _NAMES:
        raise RectifierValueError(
            f"{function}: `save` must be one of {', '.join(map(repr, _NAMES))}; got {save!r}. Leave it out."
        )
    if name in _GATED and not learned:
        if save != "gate":
            raise RectifierValueError(
                f"{function}: `save` must be 'gate', which tells the whole derivative in a bit a value; got {save!r}. "
                "Leave it out."
            )
    elif save == "gate":
        why = (
            "the slope's gradient needs the values below 0"
            if name in ("leaky_relu", "prelu")
            else "its derivative takes more values than one bit tells"
        )
        raise RectifierValueError(
            f"{function}: `save` must be 'input' or 'output', as {why}; got 'gate'. Leave it out."
        )


def check_save(name: str, save: str, parameter: float | Tensor) -> None:
    """Refuse a ``save`` that this call cannot honour."""
    slope = parameter if isinstance(parameter, Tensor) and name in ("leaky_relu", "prelu") else None
    learned = slope is not None and slope.requires_grad
    check_choice(name, name, save, learned or name == "prelu")
    # On another device a look would wait for it; in a compiled graph there is nothing to look at.
    if save != "output" or slope is None or not learned or torch.compiler.is_compiling() or not slope.is_cpu:
        return
    if type(slope) in (Tensor, torch.nn.Parameter) and bool((slope <= 0).any()):
        raise RectifierValueError(
            f"{name}: `save` must be 'input' where a slope is not above 0, as the output does not tell the input "
            f"there; got 'output' and a slope of {slope.detach().min().item():g}. Leave it out."
        )
