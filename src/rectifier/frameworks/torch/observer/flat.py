"""Activations that are not of the family but have flat parts: which module or call is one, and their counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ....checkup.flat import levels
from ..sites import Site
from .tally import SiteTally, per_unit

__all__ = ["identify_flat", "identify_flat_call", "see_flat"]

_MODULES: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.GELU, "gelu"),
    (nn.SiLU, "silu"),
    (nn.Mish, "mish"),
    (nn.Hardswish, "hardswish"),
    (nn.Hardsigmoid, "hardsigmoid"),
    (nn.Hardtanh, "hardtanh"),
)
_CALLS: Mapping[Callable[..., Any], str] = {
    F.gelu: "gelu",
    F.silu: "silu",
    F.mish: "mish",
    F.hardswish: "hardswish",
    F.hardsigmoid: "hardsigmoid",
    F.hardtanh: "hardtanh",
    F.hardtanh_: "hardtanh",
}


def identify_flat(module: nn.Module) -> Site | None:
    """Name and parameters of an activation module outside the family that has flat parts; None for any other.

    >>> identify_flat(nn.GELU()), identify_flat(nn.Hardtanh(-2.0, 2.0)), identify_flat(nn.Softsign())
    (('gelu', {}), ('hardtanh', {'min_val': -2.0, 'max_val': 2.0}), None)
    """
    name = next((name for kind, name in _MODULES if isinstance(module, kind)), None)
    if name is None:
        return None
    bounds = {"min_val": module.min_val, "max_val": module.max_val} if isinstance(module, nn.Hardtanh) else {}
    return name, bounds


def identify_flat_call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Site | None:
    """The same of a call."""
    try:
        name = _CALLS.get(func)
    except TypeError:  # an unhashable callable is none
        return None
    if name != "hardtanh":
        return None if name is None else (name, {})
    bounds = {"min_val": -1.0, "max_val": 1.0, **dict(zip(("min_val", "max_val"), args[1:3], strict=False))}
    return name, {**bounds, **{key: kwargs[key] for key in bounds if key in kwargs}}


def see_flat(tally: SiteTally, z: torch.Tensor) -> None:
    """Count the examples of each unit on the flat parts of its function."""
    numbers = {key: value for key, value in tally.parameters.items() if isinstance(value, (int, float))}
    low, high = levels(tally.rectifier, numbers)
    for name, level, below in (("flat_low", low, True), ("flat_high", high, False)):
        if level is not None:
            count = per_unit(z <= level if below else z >= level, tally.axis, torch.int64)
            tally.sums[name] = tally.sums[name] + count if name in tally.sums else count
