"""How a call finds its way: parameters checked, then native kernels, or PyTorch's operators, with or without autograd.

On a plain CPU tensor in eager mode the result comes from the native kernels and has the bits of NumPy's
(:mod:`.kernels`), or from one operator of PyTorch's that has the same bits and is quicker on few values; everywhere
else it is composed of PyTorch's operators (:mod:`.composed`). :mod:`.autograd` says how both are differentiated.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function

from ..._family import Row, family
from ..._functions import FUNCTIONS
from ...errors import RectifierTypeError, RectifierValueError
from ..numpy import parameter_value, unknown_parameter
from . import composed, kernels
from .autograd import Rectify, RectifyTransformed, output_suffices
from .compiled import KEPT, RectifyComposed

__all__ = ["PUBLIC", "apply"]

Tensor = torch.Tensor

PUBLIC: dict[str, Callable[..., Any]] = {}
"""Name of the row → its public function in :mod:`.ops`, which enters it here."""

_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_INTEGERS = frozenset(
    {
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    }
)


def apply(name: str, x: Tensor, *, inplace: bool = False, **parameters: Any) -> Tensor:
    """f(x) for the row ``name``, differentiable.

    x: a tensor of any shape, device and layout in memory, floating, integer or bool (integers promote to the default
    dtype, but relu, abs and relu6 with a whole ceiling keep them). parameters: the row's, numbers or tensors that
    broadcast with x; a ``negative_slope`` that requires a gradient gets one. inplace: write the result into x.
    Returns a tensor of x's dtype, device and memory layout.
    Raises RectifierTypeError, RectifierValueError for an x or a parameter that cannot be used.
    """
    compiling = torch.compiler.is_compiling()
    if not compiling and has_torch_function((x, *parameters.values())):
        given = {**parameters, "inplace": True} if inplace else parameters
        return handle_torch_function(PUBLIC[name], (x, *parameters.values()), x, **given)  # type: ignore[no-any-return]
    row = family[name]
    if not isinstance(x, Tensor):
        raise RectifierTypeError(
            f"{name}: `x` must be a torch.Tensor; got {type(x).__name__}. "
            f"Pass torch.as_tensor(x), or call rectifier.{name} on a NumPy array."
        )
    if x.dtype not in _FLOATS:
        return _not_floating(row, x, inplace, parameters)
    parameter = _parameter(row, x, parameters)
    if isinstance(parameter, Tensor) and parameter.ndim:
        x = _broadcast(name, x, parameter, inplace)
    if compiling:
        return _in_place(name, x, parameter) if inplace else _composed(name, x, parameter)
    if kernels.reach(x) and (not isinstance(parameter, Tensor) or kernels.reach(parameter)):
        return _native(name, x, parameter, inplace)
    return _in_place(name, x, parameter) if inplace else _composed(name, x, parameter)


def _native(name: str, x: Tensor, parameter: float | Tensor, inplace: bool) -> Tensor:
    differentiated = _differentiated(x, parameter)
    if not inplace:
        if type(parameter) is float and x.numel() <= _FEW:
            h = _theirs(name, x, parameter, differentiated)
            if h is not None:
                return h
        if differentiated:
            return Rectify.apply(x, parameter, name, True, False)  # type: ignore[no-any-return, no-untyped-call]
        return kernels.value(name, x, parameter)
    base = x if x._base is None else x._base
    if (
        (differentiated and base.is_leaf and base.requires_grad)
        or 0 in x.stride()
        or (x.is_inference() and not torch.is_inference_mode_enabled())
    ):
        return _in_place(name, x, parameter)  # PyTorch's own error for these
    if differentiated:
        if output_suffices(name, parameter):
            return Rectify.apply(x, parameter, name, True, True)  # type: ignore[no-any-return, no-untyped-call]
        return x.copy_(Rectify.apply(x.clone(), parameter, name, True, False))  # type: ignore[no-untyped-call]
    kernels.value(name, x, parameter, out=x)
    if not x.is_inference():  # NumPy wrote: autograd has to be told
        torch.autograd.graph.increment_version(x)
    return x


#: Up to so many values PyTorch's operators are as fast as the kernels, and called in a tenth of the time that a Python
#: autograd.Function takes. Measured on 2 cores: with it relu forward and backward takes half the time at 2¹⁴ values,
#: 0.7 at 2²⁰; beyond, the kernels win.
_FEW = 1 << 20


def _theirs(name: str, x: Tensor, parameter: float, differentiated: bool) -> Tensor | None:
    """PyTorch's own operator where it gives our bits, here and in all derivatives; None elsewhere."""
    if name == "relu":
        if not differentiated:
            return torch.relu(x)
        if parameter != 0:
            return None
        h = torch.relu(x)
    elif name == "leaky_relu" and x.dtype.itemsize > 2 and parameter != 0:  # slope 0 at −∞ is not NaN here
        h = F.leaky_relu(x, parameter)
        if not differentiated:
            return h
    else:
        return None
    # Their gradient at NaN is not NaN. −∞ and ∞ together look like one here, and then the kernels take them, as they
    # could all others.
    return None if math.isnan(h.detach().sum()) else h


def _composed(name: str, x: Tensor, parameter: float | Tensor) -> Tensor:
    if not torch.compiler.is_compiling():
        if torch._C._is_tracing():  # a graph of operators: a Function would be opaque in it
            return composed.value(name, x, parameter)
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return RectifyTransformed.apply(x, parameter, name)  # type: ignore[no-any-return, no-untyped-call]
    if _differentiated(x, parameter):
        save = KEPT[name]
        if isinstance(parameter, Tensor) and parameter.requires_grad:
            save = "input"
        return RectifyComposed.apply(x, parameter, name, save)  # type: ignore[no-any-return, no-untyped-call]
    return composed.value(name, x, parameter)


def _in_place(name: str, x: Tensor, parameter: float | Tensor) -> Tensor:
    # The backward keeps its input, which copy_ is about to overwrite: hence the clone. It is made where autograd sees
    # it, as second derivatives go through what is kept.
    return x.copy_(_composed(name, x.clone(), parameter))


def _differentiated(x: Tensor, parameter: float | Tensor) -> bool:
    return torch.is_grad_enabled() and (x.requires_grad or (isinstance(parameter, Tensor) and parameter.requires_grad))


def _not_floating(row: Row, x: Tensor, inplace: bool, parameters: Mapping[str, Any]) -> Tensor:
    if x.dtype not in _INTEGERS and x.dtype is not torch.bool:
        cure = (
            "Apply it to x.real and x.imag, or to torch.abs(x)." if x.dtype.is_complex else "Convert it with x.float()."
        )
        raise RectifierTypeError(
            f"{row.name}: `x` must hold float16, bfloat16, float32, float64, integers or bool; got {x.dtype}. {cure}"
        )
    parameter = _parameter(row, x, parameters)
    of_value = [p.name for p in row.parameters if p.of == "value"]
    here = not torch.compiler.is_compiling() and kernels.reach(x)
    here = here and not (isinstance(parameter, Tensor) and not kernels.reach(parameter))
    whole = not of_value or _is_whole(parameter, here)
    if not (row.integers and x.dtype is not torch.bool and whole):
        if inplace:
            raise RectifierTypeError(
                f"{row.name}: `x` must be floating to be changed in place; got {x.dtype}. "
                "Convert it with x.float(), or pass inplace=False."
            )
        return apply(row.name, x.to(torch.get_default_dtype()), **parameters)
    if here:  # in NumPy, as PyTorch has few operators for unsigned types
        number = kernels.array(parameter) if isinstance(parameter, Tensor) else parameter
        h = torch.empty_like(x)
        FUNCTIONS[row.name](kernels.array(x), **dict.fromkeys(of_value, number), out=kernels.array(h))
    else:
        h = composed.value(row.name, x, parameter)
    return x.copy_(h) if inplace else h


def _is_whole(parameter: float | Tensor, here: bool) -> bool:
    """Whether integers stay integers under it. A tensor elsewhere is not waited for: they do not."""
    if isinstance(parameter, Tensor):
        return here and bool((parameter == parameter.floor()).all())
    return parameter == int(parameter)


# Parameters ----------------------------------------------------------------------------------------------------------


def _parameter(row: Row, x: Tensor, given: Mapping[str, Any]) -> float | Tensor:
    """The row's parameter, checked: a float, or a tensor of the dtype that x is computed in; 0.0 for a row without."""
    if not row.parameters:
        if given:
            raise unknown_parameter(row.name, given, ())
        return 0.0
    (parameter,) = row.parameters
    if given and given.keys() != {parameter.name}:
        raise unknown_parameter(row.name, given, (parameter.name,))
    value = given.get(parameter.name, parameter.default)
    if value is None:
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be given; got none. "
            f"Pass a number such as {parameter.domain.example}, or an array of them."
        )
    double = x.dtype is torch.float64 or x.dtype not in _FLOATS  # integers: as NumPy checks them
    if type(value) is float or type(value) is int:
        if not torch.compiler.is_compiling():  # there it may be a symbol, which stands for any number
            _check_number(row.name, value, double)
        return float(value)
    if torch.compiler.is_compiling() and not isinstance(value, Tensor):
        value = torch.as_tensor(value)  # NumPy's checks cannot be compiled
    if not isinstance(value, Tensor):
        checked = parameter_value(row.name, parameter, value, np.dtype(np.float64 if double else np.float32))
        return torch.from_numpy(checked).to(x.device) if checked.ndim else float(checked)
    if value.requires_grad and parameter.name != "negative_slope":
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be fixed; got a tensor that requires a gradient. "
            f"Pass {parameter.name}.detach(); only `negative_slope` can be learned."
        )
    _check_tensor(row, value, double)
    return value.to(torch.float64 if double else torch.float32)


@functools.lru_cache(maxsize=1024)  # the same slope again and again, and the check takes longer than a small ReLU
def _check_number(name: str, value: float, double: bool) -> None:
    (parameter,) = family[name].parameters
    parameter_value(name, parameter, value, np.dtype(np.float64 if double else np.float32))


def _check_tensor(row: Row, value: Tensor, double: bool) -> None:
    """Refuse a tensor with values outside the domain, where looking at them is free of waiting and of surprise."""
    (parameter,) = row.parameters
    if value.dtype not in _FLOATS and value.dtype not in _INTEGERS:
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be a number or a tensor of numbers; got a tensor of {value.dtype}. "
            f"Pass a number such as {parameter.domain.example}."
        )
    # A learned slope that has diverged shall show as NaN, as it does everywhere in PyTorch. On another device a look
    # would wait for it; in a compiled graph there is nothing to look at.
    if row.name == "prelu" or value.requires_grad or torch.compiler.is_compiling():
        return
    wide = value.detach().double() if double else value.detach().float()
    if kernels.reach(wide):
        parameter_value(row.name, parameter, kernels.array(wide), np.dtype(np.float64 if double else np.float32))


def _broadcast(name: str, x: Tensor, parameter: Tensor, inplace: bool) -> Tensor:
    """x expanded to the shape of the result."""
    # Traced, the operators see to it, and a look at a size would be frozen.
    if not (inplace or torch.compiler.is_compiling()) and torch._C._is_tracing():
        return x
    missing = x.ndim - parameter.ndim
    # Asked in this way, nothing is asked of a size that an exported graph leaves open.
    if missing >= 0 and all(n in (1, x.shape[missing + axis]) for axis, n in enumerate(parameter.shape)):
        return x
    argument = family[name].parameters[0].name
    try:
        shape = torch.broadcast_shapes(x.shape, parameter.shape)  # type: ignore[no-untyped-call]
    except RuntimeError:
        raise RectifierValueError(
            f"{name}: `{argument}` must broadcast with x of shape {tuple(x.shape)}; "
            f"got shape {tuple(parameter.shape)}. "
            "Give it one value for each entry of the last axis, or reshape it with torch.unsqueeze."
        ) from None
    if inplace:
        raise RectifierValueError(
            f"{name}: `{argument}` must not enlarge an x that is changed in place; x has shape {tuple(x.shape)}, "
            f"got shape {tuple(parameter.shape)}. Pass inplace=False."
        )
    return x.expand(shape)
