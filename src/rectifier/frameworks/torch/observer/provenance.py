"""Where a tensor came from: which layer made it, which site fed it, or the model's own input.

What is known is kept with the tensor's version: PyTorch counts every change in place, also through a view, so what was
true of the values before such a change is not believed after it. Where the units lie (``axis``) is followed further
than what the values are: through normalisations, residuals and other element-wise calls.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch

__all__ = ["DROPOUTS", "FOREIGN_CALLS", "Gate", "Origin", "Origins", "name_of"]

#: What a call does to the origin of its first argument, by the call's name without underscores.
_CALLS: Mapping[str, str] = {
    # every value and its order stay
    **dict.fromkeys(("clone", "contiguous", "detach"), "same"),
    **dict.fromkeys(("to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type_as"), "cast"),
    **dict.fromkeys(
        ("flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view", "view_as", "reshape_as"), "reshape"
    ),
    # every value stays, in another order
    **dict.fromkeys(("permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t"), "move"),
    # units are hidden for a moment, the rest is scaled
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"), "dropout"),
    # channels stay what they were, positions do not
    **dict.fromkeys((f"{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)), "pool"),
    **dict.fromkeys((f"adaptive_{kind}_pool{n}d" for kind in ("max", "avg") for n in (1, 2, 3)), "pool"),
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d"), "made"),
    **dict.fromkeys((f"conv_transpose{n}d" for n in (1, 2, 3)), "made"),
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), "norm"),
    # values change, the shape does not: the axis stays
    **dict.fromkeys(("layer_norm", "rms_norm", "local_response_norm", "normalize", "alpha_dropout"), "element"),
    **dict.fromkeys(("feature_alpha_dropout", "add", "sub", "rsub", "mul", "multiply", "div", "divide"), "element"),
    **dict.fromkeys(("subtract", "true_divide", "rdiv", "rtruediv", "neg", "pow", "rpow", "square"), "element"),
    **dict.fromkeys(("abs", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sin", "cos"), "element"),
    **dict.fromkeys(("tanh", "sigmoid", "erf", "sign", "round", "floor", "ceil", "nan_to_num"), "element"),
    **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "minimum", "maximum", "fmax", "fmin"), "element"),
    **dict.fromkeys(("where", "lerp", "addcmul", "addcdiv", "masked_fill", "softmax", "log_softmax"), "element"),
    **dict.fromkeys(("gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh", "softsign"), "element"),
    **dict.fromkeys(("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "prelu", "softplus", "rrelu"), "element"),
    # positions are cut or put together; where the units lie stays
    **dict.fromkeys(("cat", "concat", "concatenate", "chunk", "split", "tensor_split", "narrow", "pad"), "pieces"),
    **dict.fromkeys(("interpolate", "upsample", "flip", "roll", "getitem"), "pieces"),
    **dict.fromkeys(("topk", "sort", "msort"), "picked"),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), "reduce"),
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), "zeros"),
    **dict.fromkeys(("gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"), "compare"),
}
#: Calls that hand out memory which can then be changed without PyTorch counting it.
_LEAKS = frozenset({"numpy", "data_ptr", "untyped_storage", "storage", "array", "dlpack"})
#: Comparisons that are true where the first is the larger, and those that hold at equality too.
_GATES = frozenset({"gt", "ge", "greater", "greater_equal"})
_INCLUSIVE = frozenset({"ge", "greater_equal", "lt", "less"})
_AXIS = {"linear": -1} | {f"conv{kind}{n}d": -1 - n for kind in ("", "_transpose") for n in (1, 2, 3)}
#: Functional activations that are not of the family: named as not observed.
FOREIGN_CALLS = frozenset(
    {"gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "logsigmoid", "mish", "silu"}
    | {"softshrink", "softsign", "tanhshrink"}
)

#: Calls that drop values: which of them a self-normalising network has is told with its site.
DROPOUTS = frozenset({"dropout", "alpha_dropout", "feature_alpha_dropout", "dropout1d", "dropout2d", "dropout3d"})


@dataclass(frozen=True)
class Origin:
    """What is known of a tensor's past; None where it could not be followed."""

    layer: str | None = None
    """Layer with weights that made it (through at most one batch normalisation)."""
    norm: str | None = None
    site: str | None = None
    """Site whose outputs it holds (through reshaping, dropout and pooling)."""
    on_input: bool = False
    """True: that layer was called on the model's input."""
    input: bool = False
    """True: it holds the values of the model's one input tensor in their order."""
    axis: int | None = None
    """Axis of the units, counted from the end; it outlives changes of the values."""
    made: bool = False
    """True: just what a convolution, matrix product or batch normalisation of PyTorch's returned."""
    zero: bool = False
    """True: made of zeros."""
    gate: Gate | None = None
    """Set for a mask: what was compared with 0 or with a threshold."""
    makers: frozenset[str] | None = None
    """The weights and sites that its values were made from, element by element: the same makers, the same units. None
    where one of them is not known."""
    picked: bool = False
    """True: sorted or picked (``topk``), so that the last axis holds ranks, not units."""
    before: Held | None = None
    """Set for what a site returned: its pre-activation."""


@dataclass(frozen=True)
class Held:
    """A tensor as it was: one that was changed in place since is no more the same."""

    of: weakref.ref[torch.Tensor]
    version: int | None

    @classmethod
    def now(cls, tensor: torch.Tensor) -> Held:
        return cls(weakref.ref(tensor), version_of(tensor))

    def is_of(self, tensor: Any) -> bool:
        return isinstance(tensor, torch.Tensor) and self.of() is tensor and self.version == version_of(tensor)

    def get(self) -> torch.Tensor | None:
        tensor = self.of()
        return tensor if tensor is not None and self.version == version_of(tensor) else None


@dataclass(frozen=True)
class Gate:
    """A mask made by comparing a tensor with a level."""

    held: Held
    level: float | Held
    open: bool
    """True for z > level, False for z < level."""
    inclusive: bool
    """True where the gate is open at equality: z ≥ level, or a mask z < level of what is shut."""

    def is_of(self, z: Any) -> bool:
        return self.held.is_of(z)


_UNKNOWN = Origin()


def version_of(tensor: torch.Tensor) -> int | None:
    """How often its memory was changed in place; None for tensors of inference mode, which do not count."""
    try:
        return tensor._version
    except RuntimeError:
        return None


def name_of(func: Any) -> str:
    """The bare name of a call: ``add`` for ``Tensor.__iadd__``, ``relu`` for ``aten.relu.default``."""
    name: str = getattr(func, "__name__", "")
    name = name.strip("_").partition(".")[0]
    return name[1:] if name in ("iadd", "isub", "imul") else name


class Origins:
    """Tensor → :class:`Origin`, for one forward pass."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[weakref.ref[torch.Tensor], int | None, torch.Size, Origin]] = {}
        self._leaked: set[int] = set()
        #: Parameters in the order in which the pass meets them: the same in every pass, whoever holds them now.
        self._weights: dict[int, str] = {}

    def __getitem__(self, tensor: torch.Tensor) -> Origin:
        entry = self._of.get(id(tensor))
        if entry is None or entry[0]() is not tensor or entry[2] != tensor.shape:
            return _UNKNOWN
        origin = entry[3]
        if entry[1] is None or entry[1] != version_of(tensor):
            return Origin(axis=origin.axis)
        if self._leaked and tensor.untyped_storage().data_ptr() in self._leaked:
            return Origin(axis=origin.axis)
        return origin

    def __setitem__(self, tensor: torch.Tensor, origin: Origin) -> None:
        self._of[id(tensor)] = (weakref.ref(tensor), version_of(tensor), tensor.shape, origin)

    def clear(self) -> None:
        self._of.clear()
        self._leaked.clear()
        self._weights.clear()

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a call of a PyTorch function, and carry over to its result what stays true."""
        name = name_of(func)
        kind = _CALLS.get(name)
        if kind is None:
            result = func(*args, **kwargs)
            if name in ("get", "set"):
                self._property(func, name, args, result)
            elif name in _LEAKS:
                self._leak(args)
            return result
        first: Any = args[0] if args else kwargs.get("input")
        # Before the call: it may change its argument in place.
        past = self[first] if isinstance(first, torch.Tensor) else _UNKNOWN
        makers = self._makers(kind, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            if result is first:
                self._in_place(kind, past, result, getattr(func, "__name__", "").endswith("_"))
            else:
                if self._leaked and kind in ("element", "norm", "made"):
                    # New memory, at an address that may have been handed out before: FSDP frees and takes much.
                    self._leaked.discard(result.untyped_storage().data_ptr())
                self._carry(kind, name, past, first, func, args, kwargs, result)
            if makers is not None:
                self[result] = replace(self[result], makers=makers)
        elif kind in ("pieces", "picked") and isinstance(result, (tuple, list)):
            for piece in result:
                if isinstance(piece, torch.Tensor):
                    self[piece] = Origin(axis=past.axis, picked=kind == "picked")
        return result

    def _makers(self, kind: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> frozenset[str] | None:
        """Of what an element-wise call, a normalisation or a layer's function returns; None where one is not known."""
        if kind not in ("element", "norm", "made"):
            return None
        found: set[str] = set()
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.nn.Parameter):
                found.add(self._weights.setdefault(id(value), f"weight {len(self._weights)}"))
            elif isinstance(value, torch.Tensor) and kind != "made":
                makers = self[value].makers
                if makers is None:
                    return None
                found |= makers
        return frozenset(found) if found else None

    def _in_place(self, kind: str, past: Origin, result: torch.Tensor, named: bool) -> None:
        """The argument itself came back: changed, or (``flatten`` of what is flat) as it was."""
        if kind in ("reshape", "move"):
            if named:
                self[result] = _UNKNOWN
        elif kind == "dropout" and self[result] != past:
            self[result] = replace(past, input=False, made=False)
        elif version_of(result) is None:
            self[result] = Origin(axis=past.axis)
        # else: the version tells

    def _carry(
        self,
        kind: str,
        name: str,
        past: Origin,
        first: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: torch.Tensor,
    ) -> None:
        if kind == "zeros":
            self[result] = Origin(zero=True, makers=frozenset())
        elif kind == "element":
            axis = self._common_axis((*args, *kwargs.values()) if kwargs else args, result)
            if axis is not None:
                self[result] = Origin(axis=axis, picked=past.picked)
        elif kind == "pieces":
            axis = past.axis
            if not isinstance(first, torch.Tensor):
                axis = self._common_axis(first if isinstance(first, (tuple, list)) else (), result, pieces=True)
            elif name == "getitem" and not _keeps_axes(args[1]):
                axis = None
            self[result] = Origin(
                axis=axis if not isinstance(first, torch.Tensor) or first.ndim == result.ndim else None
            )
        elif isinstance(first, torch.Tensor):
            origin = self._moved(kind, name, past, first, func, args, kwargs, result)
            if origin != _UNKNOWN:
                self[result] = origin

    def _moved(
        self,
        kind: str,
        name: str,
        past: Origin,
        first: torch.Tensor,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: torch.Tensor,
    ) -> Origin:
        """The origin of a result whose values are those of the first argument, or made from them unit by unit."""
        if kind == "made":
            return Origin(axis=_AXIS[name], made=True)
        if kind == "norm":
            channels = 1 - result.ndim if result.ndim > 1 else None
            return Origin(axis=past.axis if past.axis is not None else channels, made=name == "batch_norm")
        if kind == "compare":
            other = args[1] if len(args) > 1 else kwargs.get("other")
            if not isinstance(other, (int, float, torch.Tensor)):
                return Origin(axis=past.axis)
            level = Held.now(other) if isinstance(other, torch.Tensor) else float(other)
            gate = Gate(Held.now(first), level, name in _GATES, name in _INCLUSIVE)
            return Origin(axis=past.axis, gate=gate)
        if kind == "picked":
            return Origin(axis=past.axis, picked=True)
        if past == _UNKNOWN:
            return past
        past = replace(past, made=False, before=None)
        if kind == "same":
            return past
        if kind == "cast":
            # Rounding keeps the sign, but may leave the range that the input was given in.
            return replace(past, input=past.input and result.dtype == first.dtype)
        if kind in ("dropout", "pool"):
            return replace(past, input=False, gate=None)
        if kind == "reshape":
            return _reshaped(past, first, result)
        axis = _probed(past.axis, first.ndim, func, args, kwargs)
        if kind == "reduce":
            return Origin(axis=axis)
        return _at(replace(past, input=False, gate=None), axis)

    def _common_axis(self, values: Any, result: torch.Tensor, *, pieces: bool = False) -> int | None:
        """The axis that all arguments with a known one agree on."""
        found = set()
        for value in values:
            if isinstance(value, torch.Tensor):
                axis = self[value].axis
                if axis is not None and -axis <= result.ndim and (pieces or value.shape[axis] == result.shape[axis]):
                    found.add(axis)
        return found.pop() if len(found) == 1 else None

    def _property(self, func: Any, name: str, args: tuple[Any, ...], result: Any) -> None:
        owner = getattr(func, "__self__", None)
        if name == "set" and owner is None:  # Tensor.set_: other memory under the same tensor
            self._leak((*args, result))
        elif owner is torch.Tensor.data:
            self._leak(args if name == "set" else (*args, result))
        elif name == "get" and owner in _TRANSPOSES and isinstance(result, torch.Tensor):
            past = replace(self[args[0]], input=False, made=False, gate=None)
            axis = past.axis
            if axis is not None:
                turned = {-1: -2, -2: -1}.get(axis, axis)
                axis = turned if owner is not torch.Tensor.T or args[0].ndim == 2 else -1 - args[0].ndim - axis
            self[result] = _at(past, axis)

    def _leak(self, args: tuple[Any, ...]) -> None:
        for value in args:
            if isinstance(value, torch.Tensor):
                self._leaked.add(value.untyped_storage().data_ptr())


_TRANSPOSES = (torch.Tensor.T, torch.Tensor.mT)


def _at(past: Origin, axis: int | None) -> Origin:
    """The same with its units on another axis; without one, they are no units any more."""
    if axis is None:
        return Origin(site=past.site, input=past.input)
    return replace(past, axis=axis)


def _reshaped(past: Origin, x: torch.Tensor, result: torch.Tensor) -> Origin:
    """The order of the values stays, so an axis does where as many values come before and lie in it."""
    if result.dtype != x.dtype:  # Tensor.view(dtype) reads the bits anew
        return _UNKNOWN
    rows = x.shape[0] if x.ndim else 1
    whole = past.input and result.ndim > 0 and rows > 0 and result.shape[0] % rows == 0
    past = replace(past, input=whole, gate=None)
    if past.axis is None:
        return past
    size, before = x.shape[past.axis], prod(x.shape[: past.axis])
    for axis in range(-1, -1 - result.ndim, -1):
        if result.shape[axis] == size and prod(result.shape[:axis]) == before:
            return _at(past, axis)
    return _at(past, None)


def _probed(
    axis: int | None, ndim: int, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> int | None:
    """Where a call that moves axes puts this one: it is asked to move a tensor whose one axis of size 2 it is."""
    if axis is None or not args:
        return None
    shape = [1] * ndim
    shape[axis] = 2
    try:
        moved = func(torch.empty(shape, device="meta"), *args[1:], **kwargs)
    except (RuntimeError, TypeError, IndexError, NotImplementedError):
        return None
    found = (
        [i - moved.ndim for i, size in enumerate(moved.shape) if size == 2] if isinstance(moved, torch.Tensor) else []
    )
    return found[0] if found else None


def _keeps_axes(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(isinstance(part, slice) or part is Ellipsis for part in parts)
