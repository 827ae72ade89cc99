"""Which module or call is a rectifier: PyTorch's own and ours, mapped to rows of the family. The one such table.

What is deliberately no site:

- ``torch.abs``, ``Tensor.abs``, ``torch.sigmoid`` and ``torch.tanh`` as *calls*: outside activations (losses, gates,
  attention) they are too common to be taken for one. The layers ``rt.Abs``, ``nn.Sigmoid`` and ``nn.Tanh`` are sites,
  and so are our own functions such as ``rt.abs``.
- ``clamp`` with an upper bound as well: usually a guard on a range, not an activation.
- ``Hardtanh`` and ``hardtanh``, except from 0 up, where they are ReLU6 by another name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..._family import family
from . import ops

__all__ = ["FUNCTIONS", "identify", "identify_call"]

Site = tuple[str, dict[str, Any]]

_TENSOR = torch.Tensor

_RELU: tuple[Callable[..., Any], ...] = (
    F.relu,
    F.relu_,
    torch.relu,
    torch.relu_,
    _TENSOR.relu,
    _TENSOR.relu_,
)
_CLAMP: tuple[Callable[..., Any], ...] = (
    torch.clamp,
    torch.clamp_,
    torch.clip,
    torch.clip_,
    torch.clamp_min,
    torch.clamp_min_,
    _TENSOR.clamp,
    _TENSOR.clamp_,
    _TENSOR.clip,
    _TENSOR.clip_,
    _TENSOR.clamp_min,
    _TENSOR.clamp_min_,
)
_THRESHOLD: tuple[Callable[..., Any], ...] = (F.threshold, F.threshold_, torch.threshold, torch.threshold_)  # type: ignore[attr-defined]
_HARDTANH: tuple[Callable[..., Any], ...] = (F.hardtanh, F.hardtanh_)

#: callable → name of the row it may be. ``clamp``, ``threshold`` and ``hardtanh`` are rectifiers for some arguments
#: only: ask :func:`identify_call`.
FUNCTIONS: Mapping[Callable[..., Any], str] = {
    **dict.fromkeys(_RELU + _CLAMP + _THRESHOLD, "relu"),
    **dict.fromkeys(_HARDTANH, "relu6"),
    F.relu6: "relu6",
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_, F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_), "leaky_relu"),
    **dict.fromkeys((F.prelu, torch.prelu, _TENSOR.prelu), "prelu"),
    **dict.fromkeys((F.elu, F.elu_), "elu"),
    **dict.fromkeys((F.celu, F.celu_, torch.celu, torch.celu_), "celu"),
    **dict.fromkeys((F.selu, F.selu_, torch.selu, torch.selu_), "selu"),
    F.softplus: "softplus",
    **{function: name for name, function in ops.PUBLIC.items()},
}

# Our functions take parameters by keyword with the row's own names; PyTorch's have them after the input.
_OURS = frozenset(ops.PUBLIC.values())
_RRELU = frozenset((F.rrelu, F.rrelu_, torch.rrelu, torch.rrelu_))
_ARGUMENTS: Mapping[str, tuple[str, str, float]] = {
    # row: (PyTorch's name of the argument at position 1, the row's name of it, default)
    "leaky_relu": ("negative_slope", "negative_slope", 0.01),
    "elu": ("alpha", "alpha", 1.0),
    "celu": ("alpha", "alpha", 1.0),
    "softplus": ("beta", "beta", 1.0),
}


def identify(module: nn.Module) -> Site | None:
    """The row of the family and the parameters of an activation module, or None where it is none.

    Subclasses, ours among them, count as what they derive from. ``RReLU`` is a Leaky ReLU of its mean slope, as it is
    in evaluation. The slope of a PReLU is the parameter itself (a tensor): it is learned, and reading a number would
    wait for the device.

    >>> identify(nn.LeakyReLU(0.2))
    ('leaky_relu', {'negative_slope': 0.2})
    >>> identify(nn.GELU()) is None
    True
    """
    row = getattr(type(module), "rectifier_row", None)  # ours that derive from no activation of PyTorch's
    if row is not None:
        return str(row), {}
    match module:
        case nn.ReLU():
            return "relu", {}
        case nn.Threshold():
            return ("relu", {}) if module.threshold == 0 and module.value == 0 else None
        case nn.Hardtanh():  # nn.ReLU6 is a subclass
            return _hardtanh(module.min_val, module.max_val)
        case nn.LeakyReLU():
            return "leaky_relu", {"negative_slope": module.negative_slope}
        case nn.RReLU():
            return "leaky_relu", {"negative_slope": (module.lower + module.upper) / 2}
        case nn.PReLU():
            return "prelu", {"negative_slope": module.weight}
        case nn.ELU():
            return "elu", {"alpha": module.alpha}
        case nn.CELU():
            return "celu", {"alpha": module.alpha}
        case nn.SELU():
            return "selu", {}
        case nn.Softplus():
            return "softplus", {"beta": module.beta}
        case nn.Sigmoid():
            return "sigmoid", {}
        case nn.Tanh():
            return "tanh", {}
    return None


def identify_call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Site | None:
    """The row of the family and the parameters of the call ``func(*args, **kwargs)``, or None where it is none.

    ``func`` is what ``__torch_function__`` or a traced graph hands over; the input is ``args[0]`` (or
    ``kwargs["input"]``), also for ours.

    >>> identify_call(torch.clamp, (torch.ones(3),), {"min": 0.0})
    ('relu', {})
    >>> identify_call(torch.clamp, (torch.ones(3),), {"min": 0.0, "max": 1.0}) is None
    True
    """
    try:
        row = FUNCTIONS.get(func)
    except TypeError:  # an unhashable callable is none of ours
        return None
    if row is None:
        return None
    if func in _OURS:
        of_value = {p.name for p in family[row].parameters if p.of == "value"}
        return row, {name: value for name, value in kwargs.items() if name in of_value}
    if func in _CLAMP:
        return _clamp(args, kwargs)
    if func in _THRESHOLD:
        bounds = (_argument(args, kwargs, 1, "threshold"), _argument(args, kwargs, 2, "value"))
        return ("relu", {}) if bounds == (0, 0) else None
    if func in _HARDTANH:
        return _hardtanh(_argument(args, kwargs, 1, "min_val", -1.0), _argument(args, kwargs, 2, "max_val", 1.0))
    if func in _RRELU:
        lower, upper = _argument(args, kwargs, 1, "lower", 1 / 8), _argument(args, kwargs, 2, "upper", 1 / 3)
        return row, {"negative_slope": (lower + upper) / 2}
    if row == "prelu":
        return row, {"negative_slope": _argument(args, kwargs, 1, "weight")}
    if row in _ARGUMENTS:
        theirs, ours, default = _ARGUMENTS[row]
        return row, {ours: _argument(args, kwargs, 1, theirs, default)}
    return row, {}


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str, default: Any = None) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _clamp(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Site | None:
    low, high = _argument(args, kwargs, 1, "min"), _argument(args, kwargs, 2, "max")
    # A tensor as bound is a guard on data; comparing it would also wait for the device.
    is_relu = isinstance(low, (int, float)) and low == 0 and high is None
    return ("relu", {}) if is_relu else None


def _hardtanh(low: Any, high: Any) -> Site | None:
    return ("relu6", {} if high == 6 else {"ceiling": float(high)}) if low == 0 else None
