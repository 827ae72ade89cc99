"""``swap``: other rectifiers in the place of those that a model has."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from ..errors import RectifierTypeError, RectifierValueError
from ..frameworks.torch.calls import plain_class
from ..frameworks.torch.checkup import observable
from ..frameworks.torch.swap import Found, Spot, exchange, find, ready

__all__ = ["Change", "Missed", "Swapped", "changes", "inner", "swap"]

Key = type[nn.Module] | str | Callable[[str, nn.Module], bool]
Replacement = nn.Module | type[nn.Module] | Callable[[str, nn.Module], nn.Module]


@dataclass(frozen=True)
class Change:
    """One site that was changed."""

    site: str
    """Its qualified name: of the module, of the attribute that held a function, or ``"block.relu#0"`` for the n-th call
    in a forward. The new layer has this name."""
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.site}: {self.old} → {self.new}"


@dataclass(frozen=True)
class Missed:
    """One site that could not be changed."""

    site: str
    reason: str

    def __str__(self) -> str:
        return f"{self.site}: not changed, {self.reason}"


@dataclass(frozen=True, eq=False)
class Swapped:
    """The receipt of a swap: what was changed, what could not be, and the way back."""

    changed: tuple[Change, ...]
    missed: tuple[Missed, ...]
    parameters: tuple[nn.Parameter, ...] = field(repr=False)
    """Parameters that the model has now and had not before, for ``optimizer.add_param_group``."""
    _undo: Callable[[], None] = field(repr=False)

    def undo(self) -> None:
        """Put the very same modules and functions back; a second time does nothing.

        Raises RectifierValueError, before anything is changed, where a site has been given another layer since.
        """
        self._undo()

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.changed, *self.missed)))


def swap(model: nn.Module, rules: Mapping[Key, Replacement]) -> Swapped:
    """Put other rectifiers in the place of those that ``model`` has, calls such as ``F.relu`` included.

    model: changed in place. A model in DataParallel or DistributedDataParallel is looked into, and names are those of
        the model inside.
    rules: what is replaced → what by; of several that match, the first counts.

    What is replaced is given as a class such as ``torch.nn.ReLU``: layers of it and of its subclasses, and calls that
    amount to one (``F.relu``, ``torch.relu``, ``x.relu()``, ``x.clamp_min(0)``); of another activation, such as
    ``torch.nn.GELU``, layers alone. Or as a pattern such as ``"encoder.?"`` for the qualified name of a rectifier, as
    in ``fnmatch`` with case, where a star matches dots too: that of a module, or ``"encoder.relu#0"`` for the first
    ReLU call in the forward of ``encoder``. Or as a predicate, called with name and layer of each rectifier (for a
    call, with a layer that does the same).

    What it is replaced by is a layer: each site gets a copy of its own, which starts as the layer does. Or a class of
    layers, called without arguments, but ``PReLU`` with the number of channels of the site. Or another callable, called
    with name and old layer of each site, which returns the new one.

    A layer that is used in several places is replaced by one that is used in the same places. The new layer has the
    place, and so the prefix in ``state_dict``, of the old; its device, dtype and training mode; ``inplace`` where both
    know it; and its hooks. That of a call becomes a child of the module whose forward makes the call, under the name
    ``"relu#0"``, and that module gets a subclass of its class which watches its own calls.

    Returns a receipt: ``changed``, ``missed`` with reasons, ``parameters`` that are new, ``undo()``.
    Raises RectifierTypeError, RectifierValueError before anything is changed: for a rule that matches nothing, a
    replacement that cannot be made or is no layer, channels that are not known, a compiled or scripted model, and new
    or lost parameters under DistributedDataParallel, which would not learn of them.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> receipt = swap(model, {"1": nn.SELU(), nn.ReLU: nn.LeakyReLU(0.1)})
    >>> print(receipt)
    1: nn.ReLU() → nn.SELU()
    3: nn.ReLU() → nn.LeakyReLU(negative_slope=0.1)
    >>> receipt.undo()
    >>> model[1], model[3]
    (ReLU(), ReLU())
    """
    body = inner(model, "swap")
    _check_rules(rules)
    found = find(body)
    pairs: list[tuple[Spot, nn.Module]] = []
    made: dict[tuple[int, int], nn.Module] = {}
    unused = dict(enumerate(rules))
    for spot in found.spots:
        matching = [n for n, key in enumerate(rules) if _matches(key, spot)]
        for n in matching:
            unused.pop(n, None)
        if not matching:
            continue
        key = (matching[0], id(spot.module))
        if key not in made:
            made[key] = _made(list(rules.values())[matching[0]], spot, body)
        pairs.append((spot, made[key]))
    if unused:
        raise _unmatched(next(iter(unused.values())), found)
    return changes(model, body, pairs, found, "swap")


def inner(model: Any, verb: str) -> nn.Module:
    """The model to act on. Raises RectifierTypeError, RectifierValueError for what cannot be acted on."""
    if not isinstance(model, nn.Module):
        raise RectifierTypeError(
            f"{verb}: `model` must be a torch.nn.Module; got {type(model).__name__}. Pass the whole model."
        )
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return observable(model, verb)


def changes(model: nn.Module, body: nn.Module, pairs: list[tuple[Spot, nn.Module]], found: Found, verb: str) -> Swapped:
    """Make the exchange and write the receipt."""
    had = set(body.parameters())
    fresh = {id(p): p for _, layer in pairs for p in layer.parameters() if p not in had}
    if isinstance(model, nn.parallel.DistributedDataParallel):
        kept = {id(p) for _, layer in pairs for p in layer.parameters()}
        lost = any(id(p) not in kept for spot, _ in pairs for p in spot.module.parameters())
        if fresh or lost:
            raise RectifierValueError(
                f"{verb}: `model` must not gain or lose parameters once it is in DistributedDataParallel, which has "
                "counted them; got rectifiers with learned slopes. Swap first, then wrap it."
            )
    ready_made = {layer: ready(body, spot, layer) for spot, layer in reversed(pairs)}
    told = tuple(Change(spot.name, _told(spot.module), _told(layer)) for spot, layer in pairs)
    missed = tuple(Missed(name, reason) for name, reason in found.missed)
    undo = exchange(body, pairs, verb)
    return Swapped(told, missed, tuple(p for layer in ready_made for p in layer.parameters() if p not in had), undo)


def _told(layer: nn.Module) -> str:
    """Its repr, with whose it is: ours have the names of PyTorch's."""
    owner = {"torch": "nn.", "rectifier": "rt."}.get(plain_class(layer).__module__.partition(".")[0], "")
    return f"{owner}{layer!r}"


def _check_rules(rules: Any) -> None:
    if not isinstance(rules, Mapping) or not rules:
        got = "an empty mapping" if isinstance(rules, Mapping) else type(rules).__name__
        raise RectifierTypeError(
            f"swap: `rules` must map what is replaced to what it is replaced by; got {got}. "
            "Pass for instance {torch.nn.ReLU: rectifier.torch.LeakyReLU(0.01)}."
        )
    for key, new in rules.items():
        if not (isinstance(key, str) or (callable(key) and not isinstance(key, nn.Module))) or (
            isinstance(key, type) and not issubclass(key, nn.Module)
        ):
            raise RectifierTypeError(
                "swap: `rules` must have a class of layers, a pattern of names or a predicate on the left; got "
                f"{_say(key)}. Pass for instance torch.nn.ReLU."
            )
        if not callable(new) or (isinstance(new, type) and not issubclass(new, nn.Module)):
            raise RectifierTypeError(
                "swap: `rules` must have a layer, a class of layers or a callable that makes one on the right; got "
                f"{_say(new)} for {_say(key)}. Pass for instance rectifier.torch.LeakyReLU(0.01)."
            )


def _say(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else repr(value)


def _matches(key: Key, spot: Spot) -> bool:
    if isinstance(key, type):
        return isinstance(spot.module, key)
    if not spot.is_rectifier:
        return False
    if isinstance(key, str):
        return any(fnmatchcase(name, key) for name in spot.names)
    return bool(key(spot.name, spot.module))


def _made(new: Replacement, spot: Spot, model: nn.Module) -> nn.Module:
    if isinstance(new, nn.Module):
        return copy.deepcopy(new)
    if isinstance(new, type):
        if issubclass(new, nn.PReLU):
            return new(_channels(spot, model))
        made: Any = new
        try:
            return made()  # type: ignore[no-any-return]
        except TypeError as error:
            raise RectifierTypeError(
                f"swap: `rules` must give a class that needs no arguments; got {new.__name__} ({error}). "
                "Pass a layer of it, made with its arguments."
            ) from error
    layer: Any = new(spot.name, spot.module)
    if not isinstance(layer, nn.Module):
        raise RectifierTypeError(
            f"swap: `rules` must give callables that return a torch.nn.Module; got {type(layer).__name__} for "
            f"{spot.name!r}. Return the new layer."
        )
    return layer


def _channels(spot: Spot, model: nn.Module) -> int:
    if isinstance(spot.module, nn.PReLU):
        return spot.module.num_parameters
    from ..frameworks.torch.tracing.graph import Graph  # loads what only this needs

    channels, why = None, "the layers before it do not tell (a Linear has its units on the last axis)"
    try:
        channels = Graph(model, "swap").channels(spot.name)
    except RectifierValueError:
        why = "torch.fx cannot follow the model"
    if channels is None:
        raise RectifierValueError(
            f"swap: `rules` must give PReLU as a layer where the channels (axis 1) are not known; got the class at "
            f"{spot.name!r}, where {why}. Pass PReLU(n) for n channels, or PReLU() for one slope."
        )
    return channels


def _unmatched(key: Key, found: Found) -> RectifierValueError:
    there = [f"{spot.name} ({type(spot.module).__name__})" for spot in found.spots]
    missed = "; ".join(f"{name} cannot be reached: {reason}" for name, reason in found.missed)
    there_is = f"in it are {_some(there)}" if there else "there is none that can be reached"
    return RectifierValueError(
        f"swap: `rules` must match rectifiers of the model; got {_say(key)}, which matches none; {there_is}"
        f"{'; ' + missed if missed else ''}. Correct the rule, or leave it out."
    )


def _some(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
