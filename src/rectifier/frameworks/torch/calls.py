"""Functional calls as sites that can be swapped: found in a module's own forward, and caught where they are made.

A module whose calls are swapped gets another class, as ``torch.nn.utils.parametrize`` does it: a subclass whose forward
runs under a mode that hands the n-th call of a row to the child module of that name (``"relu#0"``), where there is one.
That way copies, pickles, replicas of DataParallel and ``torch.compile(fullgraph=True)`` take the swap along.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import fx, nn
from torch.fx._symbolic_trace import is_fx_symbolic_tracing
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ...errors import RectifierValueError
from .sites import FUNCTIONS, identify, identify_call

__all__ = ["Call", "as_attribute", "calls_in", "catch", "catching", "fence", "mentions", "plain_class", "release"]

#: Our own functions are not seen by a mode in a compiled graph, so they are caught nowhere.
_THEIRS = frozenset(func for func in FUNCTIONS if not str(getattr(func, "__module__", "")).startswith("rectifier"))


# What a call amounts to ----------------------------------------------------------------------------------------------


def as_layer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> nn.Module | str | None:
    """The layer that does what the call does, the reason why there is none, or None where it is no rectifier."""
    found = identify_call(func, args, kwargs)
    if found is None:
        return None
    row, name = found[0], func.__name__.removesuffix("_")
    if func not in _THEIRS:
        return f"a call of rectifier.torch.{name}, which a compiled graph does not show; make it a layer"
    if row == "prelu":
        return "its slope is not its own; make it a torch.nn.PReLU"
    if row == "relu":
        return nn.Threshold(0, 0) if name == "threshold" else nn.ReLU()
    make: Mapping[str, tuple[Callable[..., nn.Module], tuple[tuple[str, float], ...]]] = {
        "hardtanh": (nn.Hardtanh, (("min_val", -1.0), ("max_val", 1.0))),
        "relu6": (nn.ReLU6, ()),
        "leaky_relu": (nn.LeakyReLU, (("negative_slope", 0.01),)),
        "rrelu": (nn.RReLU, (("lower", 1 / 8), ("upper", 1 / 3))),
        "elu": (nn.ELU, (("alpha", 1.0),)),
        "celu": (nn.CELU, (("alpha", 1.0),)),
        "selu": (nn.SELU, ()),
        "softplus": (nn.Softplus, (("beta", 1.0), ("threshold", 20.0))),
    }
    layer, parameters = make[name]
    given = [args[i] if len(args) > i else kwargs.get(key, start) for i, (key, start) in enumerate(parameters, 1)]
    if not all(isinstance(value, (int, float)) for value in given):
        return "its parameter is computed; make it a layer"
    return layer(*given)


#: Names of functions → the position at which each takes ``inplace``.
_INPLACE_AT = {"relu": 1, "relu6": 1, "selu": 1, "leaky_relu": 2, "elu": 2, "celu": 2, "hardtanh": 3, "threshold": 3}


def _is_inplace(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    at = 4 if func is F.rrelu else _INPLACE_AT.get(func.__name__, sys.maxsize)
    return func.__name__.endswith("_") or bool(args[at] if len(args) > at else kwargs.get("inplace", False))


# Finding them --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """The n-th call of a row in one pass of a module's forward, as ``"relu#0"``."""

    name: str
    layer: nn.Module | str
    """The layer that it amounts to, or the reason why it cannot be swapped."""
    inplace: bool
    method: bool
    """Written as ``x.relu()``, which torch.fx records without asking anyone."""


class _Tracer(fx.Tracer):
    """Traces one forward: every module that it calls is a leaf. Notes the calls that checkpointing will repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: set[fx.Node] = set()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node: fx.Node = super().create_node(*args, **kwargs)
        frame = inspect.currentframe()
        while frame is not None:
            if frame.f_globals.get("__name__") == "torch.utils.checkpoint":
                self.repeated.add(node)
            frame = frame.f_back
        return node


def calls_in(module: nn.Module) -> list[Call] | str:
    """The rectifiers that ``module.forward`` itself calls, or what is said of one it cannot read. May write to it."""
    try:
        signature = inspect.signature(module.forward)
        fixed = {p.name: p.default for p in signature.parameters.values() if p.default is not p.empty}
        seen = []
        for training in (True, False):
            module.training = training
            tracer = _Tracer()
            seen.append(_calls(tracer.trace(module, concrete_args=fixed), tracer))
    except Exception as error:  # the user's forward meets proxies: anything may come
        return f"that torch.fx cannot follow ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    first, second = ([(call.name, repr(call.layer), call.inplace) for call in calls] for calls in seen)
    return seen[0] if first == second else "that calls other rectifiers in training than in evaluation"


def _calls(graph: fx.Graph, tracer: _Tracer) -> list[Call]:
    counts: Counter[str] = Counter()
    found = []
    for node in graph.nodes:
        if node.op not in ("call_function", "call_method"):
            continue
        func: Any = node.target
        if node.op == "call_method":
            func = getattr(torch.Tensor, str(node.target), None)
        layer = as_layer(func, node.args, node.kwargs)
        if layer is None:
            continue
        row = identify_call(func, node.args, node.kwargs)[0]  # type: ignore[index]
        if node in tracer.repeated:
            layer = "inside torch.utils.checkpoint, which repeats it outside the forward; make it a layer"
        inplace = func in _THEIRS and _is_inplace(func, node.args, node.kwargs)
        found.append(Call(f"{row}#{counts[row]}", layer, inplace, node.op == "call_method"))
        counts[row] += func in _THEIRS
    return found


def mentions(kind: type) -> bool:
    """Whether code of this class names a rectifier: if not, a forward that cannot be followed is no loss."""
    names = {func.__name__ for func in FUNCTIONS}

    def inside(code: CodeType) -> bool:
        nested = (const for const in code.co_consts if isinstance(const, CodeType))
        return not names.isdisjoint(code.co_names) or any(map(inside, nested))

    codes = (getattr(inspect.unwrap(f), "__code__", None) for f in vars(kind).values() if callable(f))
    own = any(inside(code) for code in codes if code is not None)
    return own or any(
        mentions(base) for base in kind.__bases__ if not base.__module__.startswith(("torch.", "builtin"))
    )


# Catching them -------------------------------------------------------------------------------------------------------


class _Here(threading.local):
    """Whose forward this thread is in, and how many calls of each row it has made."""

    module: nn.Module | None = None
    counts: dict[str, int]
    watching = False


_here = _Here()
_CALLS = "_rectifier_calls"
_INPLACE = "_rectifier_inplace"
_METHODS = "_rectifier_methods"


class _Catch(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        module = _here.module
        if module is None or func not in _THEIRS:
            return func(*args, **kwargs)
        found = identify_call(func, args, kwargs)
        if found is None:
            return func(*args, **kwargs)
        n = _here.counts.get(found[0], 0)
        _here.counts[found[0]] = n + 1
        name = f"{found[0]}#{n}"
        layer = module._modules.get(name)
        if layer is None:
            known = getattr(module, _CALLS)
            if n >= known.get(found[0], 0) and not torch.compiler.is_compiling():
                _warn_of_more(module, name)
            return func(*args, **kwargs)
        z = args[0] if args else kwargs["input"]
        _here.module, _here.watching = None, False
        try:
            if name in getattr(module, _INPLACE):
                return z.copy_(layer(z.clone()))
            return layer(z)
        finally:
            _here.module, _here.watching = module, True


def _warn_of_more(module: nn.Module, name: str) -> None:
    warnings.warn(
        f"swap: {type(module).__name__} made a call {name!r} that was not there when its rectifiers were swapped; it "
        "is left as it is. Make it a layer, and swap again.",
        stacklevel=2,
    )


def _forward(kind: type, self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """``kind``'s forward with its calls caught, or, where none are to be, with those of an outer module let through."""
    before = _here.module, getattr(_here, "counts", None), _here.watching
    on = bool(self.__dict__[_CALLS])
    if on and not torch.compiler.is_compiling() and is_fx_symbolic_tracing() and self.__dict__[_METHODS]:
        raise RectifierValueError(
            f"swap: {type(self).__name__}'s forward must be traced by torch.fx without swapped methods, which it "
            f"records as they were; got {', '.join(sorted(self.__dict__[_METHODS]))}. Write them as torch.relu(x) and "
            "the like, or undo the swap."
        )
    _here.module = self if on else None
    _here.counts = {}
    try:
        if on and not _here.watching:
            _here.watching = True
            with _Catch():
                return kind.forward(self, *args, **kwargs)  # type: ignore[attr-defined]
        return kind.forward(self, *args, **kwargs)  # type: ignore[attr-defined]
    finally:
        _here.module, _here.counts, _here.watching = before  # type: ignore[assignment]


_KINDS: dict[type[nn.Module], type[nn.Module]] = {}


def catching(kind: type[nn.Module]) -> type[nn.Module]:
    """The subclass of ``kind`` with that forward; the same one each time."""
    if kind not in _KINDS:

        @functools.wraps(kind.forward)  # its signature is read by torch.fx and by trainers
        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return _forward(kind, self, *args, **kwargs)

        def __reduce_ex__(self: nn.Module, protocol: Any) -> Any:
            _, _, *state = super(made, self).__reduce_ex__(protocol)  # of a new object, which can be imported
            return (_anew, (kind,), *state)

        names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        made: Any = type(kind.__name__, (kind,), {**names, "forward": forward, "__reduce_ex__": __reduce_ex__})
        made._rectifier_plain = kind
        _KINDS[kind] = made
    return _KINDS[kind]


def _anew(kind: type) -> Any:
    made: Any = catching(kind)
    return made.__new__(made)


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The class as the user wrote it."""
    return getattr(type(module), "_rectifier_plain", type(module))


def catch(owner: nn.Module, counts: Mapping[str, int], name: str, *, inplace: bool, method: bool) -> None:
    """Hand the call of this name in ``owner``'s forward to its child of that name; :func:`fence` is to follow.

    counts: row → calls there are. inplace: the result is to be written into the input. method: see :class:`Call`.
    """
    _enclose(owner)
    owner.__dict__[_CALLS] = dict(counts)
    for key, holds in ((_INPLACE, inplace), (_METHODS, method)):
        owner.__dict__[key] = owner.__dict__[key] | {name} if holds else owner.__dict__[key] - {name}


def release(owner: nn.Module) -> None:
    """Catch no more calls where no child of such a name is left; :func:`fence` is to follow."""
    for key in (_INPLACE, _METHODS):
        owner.__dict__[key] = frozenset(name for name in owner.__dict__[key] if name in owner._modules)
    if not any("#" in name for name in owner._modules):
        owner.__dict__[_CALLS] = {}


def fence(model: nn.Module) -> None:
    """Keep calls that other modules make, below one whose calls are caught, from being taken for its own."""
    below: set[nn.Module] = set()
    for module in model.modules():
        if module.__dict__.get(_CALLS):
            below.update(child for child in module.modules() if child is not module)
    for module in model.modules():
        if module.__dict__.get(_CALLS):
            continue
        if module in below and _may_call(module):
            _enclose(module)
        elif _CALLS in module.__dict__:
            module.__class__ = plain_class(module)
            for key in (_CALLS, _INPLACE, _METHODS):
                del module.__dict__[key]


def _may_call(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return False
    kind = plain_class(module)
    if kind.__module__.startswith("rectifier."):
        return False
    transformer = issubclass(kind, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer))
    return identify(module) is not None or transformer or not kind.__module__.startswith("torch.nn.")


def _enclose(module: nn.Module) -> None:
    if _CALLS not in module.__dict__:
        module.__class__ = catching(type(module))
        module.__dict__.update({_CALLS: {}, _INPLACE: frozenset(), _METHODS: frozenset()})


def as_attribute(value: Any) -> nn.Module | str | None:
    """The layer that a function kept as an attribute amounts to, such as ``self.activation = F.relu``."""
    if isinstance(value, functools.partial):
        if value.args:
            return None
        func, kwargs = value.func, dict(value.keywords)
    else:
        func, kwargs = value, {}
    try:
        known = func in FUNCTIONS
    except TypeError:
        return None
    if not known or func.__name__.startswith(("clamp", "clip")) and "min" not in kwargs:
        return None
    return as_layer(func, (None,), kwargs)
