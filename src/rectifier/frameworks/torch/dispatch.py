"""How a call finds its way: parameters checked, then native kernels, or PyTorch's operators, with or without autograd.

On a plain CPU tensor in eager mode the result comes from the native kernels and has the bits of NumPy's
(:mod:`.kernels`); everywhere else it is composed of PyTorch's operators (:mod:`.composed`). :mod:`.autograd` says how
both are differentiated, and :mod:`.saving` what is kept for that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad
from torch.overrides import handle_torch_function, has_torch_function

from ..._family import Row, family
from ..._functions import FUNCTIONS
from ...errors import RectifierTypeError, RectifierValueError
from .. import refuse_mixed
from ..numpy import given_parameter, parameter_value
from . import composed, devices, exported, kernels
from .autograd import FromGate, FromValue, RectifyTransformed, gate_of
from .bound import slope_of, value_of
from .compiled import RectifyComposed
from .saving import check_save, policy

__all__ = ["PUBLIC", "apply", "call"]

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


def apply(name: str, x: Tensor, **parameters: Any) -> Tensor:
    """f(x) for the row ``name``, as ``rectifier.relu(tensor)`` calls it: parameters by the row's own names.

    Raises RectifierTypeError, RectifierValueError for an x or a parameter that cannot be used.
    """
    value = given_parameter(name, parameters)
    return call(name, x, 0.0 if value is None else value, False, None)


def call(name: str, x: Tensor, value: Any, inplace: bool, save: str | None) -> Tensor:
    """f(x) for the row ``name``, differentiable.

    x: a tensor of any shape, device and layout in memory, floating, integer or bool (integers promote to the default
    dtype, but relu, abs and relu6 with a whole ceiling keep them). value: the row's parameter, a number or a tensor
    that broadcasts with x (a slope that requires a gradient gets one); 0.0 for a row without. inplace: write the
    result into x. save: what the backward pass is to read; None for the function's default.
    Returns a tensor of x's dtype, device and memory layout.
    Raises RectifierTypeError, RectifierValueError for an argument that cannot be used.
    """
    compiling = _is_compiling()
    if not compiling:
        if has_torch_function((x, value)):
            return _handed_over(name, x, value, inplace, save)  # type: ignore[no-any-return]
        # The short way, for what is asked again and again: finding the long one takes as long as a small ReLU.
        if save is None and not inplace and type(x) is Tensor:
            if type(value) is float:
                ready = _READY.get((name, value, x.dtype))
                if ready is not None and _unwatched(x):
                    if x.requires_grad and _is_grad_enabled():
                        return ready(x)
                    return kernels.value(name, x, value)
            elif name in _SLOPED and _is_one_slope(x, value):
                return _OF_SLOPE[x.dtype](x, value)
    row = family[name]
    if not isinstance(x, Tensor):
        raise RectifierTypeError(
            f"{name}: `x` must be a torch.Tensor; got {type(x).__name__}. "
            f"Pass torch.as_tensor(x), or call rectifier.{name} on a NumPy array."
        )
    if x.dtype not in _FLOATS:
        return _not_floating(row, x, inplace, value, save)
    parameter = _parameter(row, x, value)
    of_tensor = parameter if isinstance(parameter, Tensor) else None
    if save is not None:
        check_save(name, save, parameter)
    if of_tensor is not None and of_tensor.ndim:
        x = _broadcast(name, x, of_tensor, inplace)
    if compiling or not kernels.reach(x) or not (of_tensor is None or kernels.reach(of_tensor)):
        return _in_place(name, x, parameter, save) if inplace else _composed(name, x, parameter, save)
    if of_tensor is None and len(_READY) < _MOST_READY:
        _READY.setdefault((name, parameter, x.dtype), _ready(name, parameter, x.dtype))  # type: ignore[arg-type]
    return _native(name, x, parameter, inplace, save)


#: What has passed the checks: function, number and dtype of x → what to call where a gradient is wanted.
_READY: dict[tuple[str, Any, torch.dtype], Callable[[Tensor], Tensor]] = {}
_MOST_READY = 512

_is_compiling, _is_grad_enabled = torch.compiler.is_compiling, torch.is_grad_enabled
_unwatched = kernels.unwatched
# What Function.apply comes to outside of function transforms, where these are never called. Finding that out takes a
# tenth of the time of a small ReLU, forward and backward.
_from_gate: Callable[..., Tensor] = super(torch.autograd.Function, FromGate).apply
_from_value: Callable[..., Tensor] = super(torch.autograd.Function, FromValue).apply


_SLOPED = frozenset({"leaky_relu", "prelu"})
_OF_SLOPE: dict[torch.dtype, Callable[..., Tensor]] = {
    dtype: super(torch.autograd.Function, slope_of(dtype)).apply  # type: ignore[misc]
    for dtype in (torch.float32, torch.float64)
}


def _is_one_slope(x: Tensor, slope: Any) -> bool:
    """Whether it is a learned slope, one number, that the kernels take as it is."""
    return (
        type(slope) in kernels.PLAIN
        and _unwatched(x)
        and _unwatched(slope)
        and slope.requires_grad
        and slope.numel() == 1
        and slope.ndim <= x.ndim
        and slope.dtype is x.dtype
        and x.dtype in _OF_SLOPE
        and _is_grad_enabled()
    )


def _ready(name: str, number: float, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    kept = policy(name, number, None)
    if kept != "gate":
        value: Any = super(torch.autograd.Function, value_of(name, number, dtype, kept))
        return value.apply  # type: ignore[no-any-return]
    if name == "relu" and number != 0:
        return lambda x: _from_gate(x, number, name, False)
    bound: Any = super(torch.autograd.Function, gate_of(name, number, dtype))
    return bound.apply  # type: ignore[no-any-return]


def _native(name: str, x: Tensor, parameter: float | Tensor, inplace: bool, save: str | None) -> Tensor:
    of_slope = isinstance(parameter, Tensor) and parameter.requires_grad
    if _is_grad_enabled() and (x.requires_grad or of_slope):
        return _differentiated(name, x, parameter, inplace, save)
    if not inplace:
        return kernels.value(name, x, parameter)
    if not _writable(x, False):
        return _in_place(name, x, parameter, save)
    kernels.value(name, x, parameter, out=x)
    if not x.is_inference():  # the kernel wrote: autograd has to be told
        torch.autograd.graph.increment_version(x)
    return x


def _handed_over(name: str, x: Tensor, value: Any, inplace: bool, save: str | None) -> Any:
    row = family[name]
    given: dict[str, Any] = {row.parameters[0].name: value} if row.parameters else {}
    if inplace:
        given["inplace"] = True
    if save is not None:
        given["save"] = save
    return handle_torch_function(PUBLIC[name], (x, value), x, **given)


def _differentiated(name: str, x: Tensor, parameter: float | Tensor, inplace: bool, save: str | None) -> Tensor:
    if inplace and not _writable(x, True):
        return _in_place(name, x, parameter, save)
    kept = policy(name, parameter, save)
    if kept == "gate":
        return _from_gate(x, parameter, name, inplace)
    if inplace and kept != "output":
        # What is kept is about to be overwritten. The clone is made where autograd sees it, as second derivatives go
        # through what is kept.
        h = _from_value(x.clone(), parameter, name, kept, False)
        return x.copy_(h)
    return _from_value(x, parameter, name, kept, inplace)


def _writable(x: Tensor, differentiated: bool) -> bool:
    """Whether PyTorch lets this tensor be changed in place; where not, its own operators shall say so."""
    base = x if x._base is None else x._base
    return not (
        (differentiated and base.is_leaf and base.requires_grad)
        or 0 in x.stride()
        or (x.is_inference() and not torch.is_inference_mode_enabled())
    )


def _composed(name: str, x: Tensor, parameter: float | Tensor, save: str | None) -> Tensor:
    """Whatever the kernels do not reach: other devices, compiled and traced graphs, transforms, subclasses."""
    compiling = _is_compiling()
    if not compiling:
        if torch._C._is_tracing():  # a graph of operators: a Function would be opaque in it
            return _traced(name, x, parameter)
        if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
            return RectifyTransformed.apply(x, parameter, name)  # type: ignore[no-any-return, no-untyped-call]
    elif torch.compiler.is_exporting():
        return _traced(name, x, parameter)
    there = None if compiling or x.is_cpu else devices.kernels_of(x.device.type)
    tracked = x.requires_grad or (isinstance(parameter, Tensor) and parameter.requires_grad)
    if not (tracked and torch.is_grad_enabled()):
        return composed.value(name, x, parameter)
    save = policy(name, parameter, save)
    if save == "gate" and not compiling and type(x) not in (Tensor, torch.nn.Parameter):
        save = "input"  # such as a DTensor, which cannot be split along the axis that it is sharded on
    if there is not None and save == "gate" and there.reach(x, parameter):
        return there.FromGate.apply(x, parameter, name)  # type: ignore[no-any-return]
    return RectifyComposed.apply(x, parameter, name, save)  # type: ignore[no-any-return, no-untyped-call]


def _traced(name: str, x: Tensor, parameter: float | Tensor) -> Tensor:
    if torch.onnx.is_in_onnx_export():
        return exported.value(name, x, parameter)
    return composed.value(name, x, parameter)


def _in_place(name: str, x: Tensor, parameter: float | Tensor, save: str | None) -> Tensor:
    # The backward keeps its input, which copy_ is about to overwrite: hence the clone.
    return x.copy_(_composed(name, x.clone(), parameter, save))


def _not_floating(row: Row, x: Tensor, inplace: bool, value: Any, save: str | None) -> Tensor:
    if x.dtype not in _INTEGERS and x.dtype is not torch.bool:
        cure = (
            "Apply it to x.real and x.imag, or to torch.abs(x)." if x.dtype.is_complex else "Convert it with x.float()."
        )
        raise RectifierTypeError(
            f"{row.name}: `x` must hold float16, bfloat16, float32, float64, integers or bool; got {x.dtype}. {cure}"
        )
    parameter = _parameter(row, x, value)
    if save is not None:
        check_save(row.name, save, parameter)
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
        return call(row.name, x.to(torch.get_default_dtype()), value, False, save)
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


def _parameter(row: Row, x: Tensor, value: Any) -> float | Tensor:
    """The row's parameter, checked: a float, or a tensor of the dtype that x is computed in; 0.0 for a row without."""
    if not row.parameters:
        return 0.0
    (parameter,) = row.parameters
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
        refuse_mixed(row.name, parameter.name, value, "torch")
        checked = parameter_value(row.name, parameter, value, np.dtype(np.float64 if double else np.float32))
        return torch.from_numpy(checked).to(x.device) if checked.ndim else float(checked)
    if value.requires_grad and parameter.name != "negative_slope":
        raise RectifierTypeError(
            f"{row.name}: `{parameter.name}` must be fixed; got a tensor that requires a gradient. "
            f"Pass {parameter.name}.detach(); only `negative_slope` can be learned."
        )
    # PyTorch lets a number that is a tensor lie on the CPU.
    if value.device != x.device and (value.ndim or value.device.type != "cpu"):
        raise RectifierValueError(
            f"{row.name}: `{parameter.name}` must be on the device of x, {x.device}; got a tensor on {value.device}. "
            f"Pass {parameter.name}.to(x.device)."
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
