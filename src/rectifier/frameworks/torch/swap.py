"""The rectifiers of a model, where each hangs, and another layer in its place. ``heal`` and ``rt.swap`` end here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from ...errors import RectifierValueError
from .calls import as_attribute, calls_in, catch, catching, fence, mentions, plain_class, release
from .observer.kinds import is_activation_like, is_opaque
from .sites import identify
from .tracing.follow import twin

#: What the model itself is called where a name is wanted.
MODEL = "the model"

__all__ = ["MODEL", "Found", "Spot", "exchange", "find", "ready"]


@dataclass(frozen=True, eq=False)
class Spot:
    """One place where a model applies an activation."""

    names: tuple[str, ...]
    """Qualified names, several where the module that holds it is itself in several places."""
    kind: Literal["module", "attribute", "call"]
    parent: nn.Module
    key: str
    """Name in the parent: of the child, of the attribute, or of the call, such as ``"relu#0"``."""
    module: nn.Module
    """The layer there, or the one that the function there amounts to."""
    inplace: bool = False
    """A call in place, whose result the caller may look for in the input."""
    method: bool = False
    """A call written as a method, such as ``x.relu()``."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Row → calls of it in the parent's forward."""

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def is_rectifier(self) -> bool:
        return identify(self.module) is not None


@dataclass(frozen=True)
class Found:
    spots: tuple[Spot, ...]
    missed: tuple[tuple[str, str], ...]
    """(name, reason) of each that cannot be reached."""


def find(model: nn.Module) -> Found:
    """Every place that can be swapped, and every one that is seen but cannot.

    Calls are looked for by tracing the forward of each module that is not PyTorch's or ours, on a copy of the model.
    """
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    spots: list[Spot] = []
    missed: list[tuple[str, str]] = []
    own: list[nn.Module] = []
    for module in _open(model, "", missed):
        spots += _children(module, names[module], missed)
        if plain_class(module).__module__.startswith(("torch.nn.", "rectifier.")) or identify(module) is not None:
            spots += _attributes(module, names[module], missed)
        else:
            own.append(module)
    spots += _called(model, own, names, missed)
    order = {name: n for n, (name, _) in enumerate(model.named_modules())}
    spots.sort(key=lambda spot: order[names[spot.parent][0]])
    return Found(tuple(spots), tuple(missed))


def _open(model: nn.Module, name: str, missed: list[tuple[str, str]]) -> Iterator[nn.Module]:
    """The modules that can be looked into, each once."""
    met: set[nn.Module] = set()

    def walk(module: nn.Module, name: str) -> Iterator[nn.Module]:
        if module in met or isinstance(module, ParametrizationList):
            return
        met.add(module)
        reason = is_opaque(module)
        if reason is not None:
            missed.append((name or MODEL, f"it is {reason}, so its inside cannot be changed"))
            return
        yield module
        for key, child in module._modules.items():
            if child is not None:
                yield from walk(child, f"{name}.{key}" if name else key)

    return walk(model, name)


def _named(names: Sequence[str], key: str) -> tuple[str, ...]:
    return tuple(f"{name}.{key}" if name else key for name in names)


def _children(parent: nn.Module, names: Sequence[str], missed: list[tuple[str, str]]) -> Iterator[Spot]:
    """The children of a module that are activations; what is kept where it is no child is told."""
    for key, child in parent._modules.items():
        if isinstance(child, (nn.RNNBase, nn.RNNCell)):
            if getattr(child, "nonlinearity", "") == "relu":
                reason = f"a ReLU inside {type(child).__name__}, which computes it in one piece"
                missed.append((_named(names, key)[0], reason))
        elif child is not None and (identify(child) is not None or is_activation_like(child)):
            yield Spot(_named(names, key), "module", parent, key, child)
    for key, value in vars(parent).items():
        plain = isinstance(value, (list, tuple, dict)) and not key.startswith("_")  # not PyTorch's own registers
        if plain and any(isinstance(part, nn.Module) and identify(part) is not None for part in _values(value)):
            reason = f"kept in a plain {type(value).__name__}; make it a torch.nn.ModuleList"
            missed.append((_named(names, key)[0], reason))


def _attributes(parent: nn.Module, names: Sequence[str], missed: list[tuple[str, str]]) -> Iterator[Spot]:
    """Functions kept as attributes by a module whose calls cannot be caught, such as a TransformerEncoderLayer."""
    for key, value in vars(parent).items():
        layer = as_attribute(value)
        if isinstance(layer, nn.Module):
            yield Spot(_named(names, key), "attribute", parent, key, layer)
        elif isinstance(layer, str):
            missed.append((_named(names, key)[0], layer))


def _values(value: Any) -> Sequence[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _called(
    model: nn.Module,
    own: Sequence[nn.Module],
    names: Mapping[nn.Module, Sequence[str]],
    missed: list[tuple[str, str]],
) -> Iterator[Spot]:
    """The calls that modules of the user's make in their forward."""
    if not own:
        return
    try:
        copied = twin(model)
    except Exception as error:  # what a copy raises is the user's
        missed.append((MODEL, f"calls not looked for: it cannot be copied ({type(error).__name__}: {error})"))
        return
    with torch.random.fork_rng(devices=[]):  # a forward that draws numbers draws them now
        for module in own:
            name = names[module][0]
            traced = copied.get_submodule(name)
            traced.__class__ = plain_class(traced)
            calls = calls_in(traced)
            if isinstance(calls, str):
                if mentions(plain_class(module)):
                    missed.append((name or MODEL, f"a call in a forward {calls}"))
                yield from _attributes(module, names[module], missed)
                continue
            barrier = _barrier(module) if calls else None
            counts = Counter(call.name.partition("#")[0] for call in calls)
            for call in calls:
                labels = _named(names[module], call.name)
                if call.name in module._modules:
                    continue  # swapped before: a child by now
                reason = call.layer if isinstance(call.layer, str) else barrier
                if reason is not None:
                    missed.append((labels[0], reason))
                elif isinstance(call.layer, nn.Module):
                    yield Spot(labels, "call", module, call.name, call.layer, call.inplace, call.method, counts)


def _barrier(module: nn.Module) -> str | None:
    """Why a module's class cannot be exchanged for one that catches its calls."""
    kind = plain_class(module)
    if "forward" in vars(module):
        return "a call, and its module has a forward of its own put on the object"
    if hasattr(kind, "__deepcopy__") or _reduces(kind):
        return f"a call, and a {kind.__name__} makes copies in its own way, which would lose the swap; make it a layer"
    try:
        catching(kind)
    except Exception as error:  # what the making of a subclass sets off is the user's
        return f"a call, and a {kind.__name__} cannot be subclassed ({type(error).__name__}: {error})"
    return None


def _reduces(kind: type) -> bool:
    return any("__reduce__" in vars(base) or "__reduce_ex__" in vars(base) for base in kind.__mro__[:-1])


# Putting another in place --------------------------------------------------------------------------------------------

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def ready(model: nn.Module, spot: Spot, layer: nn.Module) -> nn.Module:
    """``layer`` made fit for the place: device, dtype, training mode, in place where the old one is, and its hooks."""
    near = next((p for p in _parameters_near(model, spot) if p.is_floating_point()), None)
    if near is not None:
        layer.to(device=near.device, dtype=near.dtype)
    old = spot.module
    layer.train(spot.parent.training if spot.kind != "module" else old.training)
    if (spot.inplace or getattr(old, "inplace", False)) and hasattr(layer, "inplace"):
        layer.__dict__["inplace"] = True
    if spot.kind == "module":
        for name in _HOOKS:  # the same registers, so that the handles that were given out still take hooks off
            layer.__dict__[name] = old.__dict__[name]
    return layer


def _parameters_near(model: nn.Module, spot: Spot) -> Iterator[nn.Parameter]:
    yield from spot.module.parameters()
    path = spot.name.split(".")[:-1]
    while path:
        yield from model.get_submodule(".".join(path)).parameters()
        path.pop()
    yield from model.parameters()


def exchange(model: nn.Module, pairs: Sequence[tuple[Spot, nn.Module]], verb: str) -> Callable[[], None]:
    """Put these layers in place. What is returned takes it back, once.

    That raises RectifierValueError where one of the places has been given something else since.
    """
    steps = [step for spot, layer in pairs for step in _put(model, spot, layer)]
    fence(model)
    done = [False]

    def undo() -> None:
        if done[0]:
            return
        for spot, layer in pairs:
            if spot.parent._modules.get(spot.key) is not layer:
                raise RectifierValueError(
                    f"undo: the model must be as the {verb} left it; got another layer at {spot.name!r}. "
                    "Undo what was done after it first."
                )
        for step in reversed(steps):
            step()
        for parent in {spot.parent for spot, _ in pairs if spot.kind == "call"}:
            release(parent)
        fence(model)
        done[0] = True

    return undo


def _put(model: nn.Module, spot: Spot, layer: nn.Module) -> Iterator[Callable[[], None]]:
    parent, key = spot.parent, spot.key
    children, attributes = parent._modules, vars(parent)
    if spot.kind == "module":
        children[key] = layer
        yield lambda: children.__setitem__(key, spot.module)
    elif spot.kind == "attribute":
        value = attributes.pop(key)
        children[key] = layer
        yield lambda: attributes.__setitem__(key, value)
        yield lambda: children.__delitem__(key)
    else:
        children[key] = layer
        by_copy = spot.inplace and not hasattr(layer, "inplace")
        catch(parent, spot.counts, key, inplace=by_copy, method=spot.method)
        yield lambda: children.__delitem__(key)
    if isinstance(parent, nn.TransformerEncoderLayer) and key == "activation":
        yield from _keep_off_the_fast_path(model, parent, layer)


def _keep_off_the_fast_path(
    model: nn.Module, parent: nn.TransformerEncoderLayer, layer: nn.Module
) -> Iterator[Callable[[], None]]:
    """In evaluation a fused kernel computes ReLU or GELU, whatever the activation is, if this number says so."""
    if (identify(layer) or ("",))[0] == "relu" and parent.activation_relu_or_gelu == 1:
        return
    told: list[tuple[nn.Module, str, Any]] = [(parent, "activation_relu_or_gelu", 0)]
    for module in model.modules():  # nested tensors are for that kernel alone
        if isinstance(module, nn.TransformerEncoder) and any(layer is parent for layer in module.layers):
            told.append((module, "use_nested_tensor", False))
    for holder, name, value in told:
        yield partial(setattr, holder, name, getattr(holder, name))
        setattr(holder, name, value)
