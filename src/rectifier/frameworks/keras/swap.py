"""Other rectifiers in the place of those of a Keras model: layers of its graph, and activations of its layers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from ..._family import family
from ...checkup.plan import Act, Wanted
from ...errors import RectifierTypeError, RectifierValueError
from .graph import functional_of
from .observer.kinds import has_weights
from .observer.names import named
from .sites import identify, identify_function
from .surgery import count_parameters, look, output_change, refuse_undo

__all__ = ["swap"]


def swap(model: Any, wanted: Wanted, *, with_: Any, probe: Any) -> tuple[list[Act], tuple[str, ...]]:
    """Another rectifier in place of those at these sites."""
    check_new(with_)
    spots, refused = [], []
    for name in dict.fromkeys(site.partition("@")[0] for site in wanted.units):
        try:
            spots.append(_spot(model, name))
        except RectifierValueError as error:
            if not wanted.record:
                raise
            refused.append(error)
    if not spots:
        raise refused[0]
    total = count_parameters(model)
    acts: list[Act] = []
    for spot in spots:
        before = None if probe is None else look(model, probe, "heal")
        old = spot.exchange(with_)
        try:
            moved = None if before is None else output_change(before, look(model, probe, "heal"))
        except BaseException:  # the new one does not run here, and no receipt will come that could take it back
            for back in (spot.undo, *(act.undo for act in reversed(acts))):
                back()
            raise
        told = with_ if isinstance(with_, str) else type(with_).__name__
        change = f"{old} replaced by {told}; steps are compiled anew at the next fit"
        acts.append(Act(spot.site, (), change, moved, total, total, spot.undo))
    return acts, tuple(str(error).removeprefix("heal: ") for error in refused)


def check_new(with_: Any) -> None:
    """Refuse what is no rectifier, or has weights that no optimizer would know of."""
    names = [name for name, row in family.items() if row.layer is not None and name != "prelu"]
    if isinstance(with_, str) and with_ not in names:
        raise RectifierValueError(
            f"heal: `with_` must be one of {', '.join(names)} for a Keras model, or a layer without weights; got "
            f'{with_!r}. Pass for instance with_="leaky_relu".'
        )
    if not isinstance(with_, (str, keras.layers.Layer)):
        raise RectifierTypeError(
            f"heal: `with_` must be the name of a rectifier or a layer of Keras's; got {type(with_).__name__}. "
            'Pass for instance with_="leaky_relu".'
        )
    found = None if isinstance(with_, str) else identify(with_)
    if isinstance(with_, keras.layers.Layer) and (found is None or found[0] == "prelu"):
        raise RectifierValueError(
            "heal: `with_` must be a rectifier without weights of its own for a Keras model; got "
            f'{type(with_).__name__}. Pass for instance with_="leaky_relu".'
        )


def _made(with_: Any, *, name: str | None, dtype: Any) -> Any:
    """A layer of its own for each place."""
    given = {} if name is None else {"name": name}
    if isinstance(with_, str):
        return getattr(importlib.import_module("rectifier.keras"), str(family[with_].layer))(dtype=dtype, **given)
    config = {**with_.get_config(), **given, "dtype": keras.dtype_policies.serialize(dtype)}
    return type(with_).from_config(config)


@dataclass
class _Spot:
    """A place where a rectifier is: ``put`` puts one there."""

    model: Any
    site: str
    get: Callable[[], Any]
    put: Callable[[Any], None]
    make: Callable[[Any], Any]
    old: Any = field(default=None)
    new: Any = field(default=None)

    def exchange(self, with_: Any) -> str:
        """Returns what was there, in words."""
        self.old, self.new = self.get(), self.make(with_)
        self._place(self.new)
        return getattr(self.old, "__name__", type(self.old).__name__)

    def undo(self) -> None:
        if self.get() is not self.new:
            raise refuse_undo(self.site, "a rectifier")
        self._place(self.old)

    def _place(self, value: Any) -> None:
        self.put(value)
        for function in ("train_function", "test_function", "predict_function"):
            if hasattr(self.model, function):
                setattr(self.model, function, None)  # compiled with the rectifier that was


def _spot(model: Any, site: str) -> _Spot:
    layers = named(model)
    if site in layers and identify(layers[site]) is not None:
        return _layer_spot(model, site, layers[site])
    owner = layers.get(site.rpartition(".")[0])
    if owner is not None and has_weights(owner) and site.endswith("#0"):
        found = identify_function(owner.activation)
        if found is not None and not isinstance(owner.activation, keras.layers.Layer):
            return _activation_spot(model, site, owner)
    raise RectifierValueError(
        f"heal: `findings` must name sites of this model that can be swapped; got {site!r}, which is neither a layer "
        "of a Functional or Sequential model nor the activation of a layer. Check the model as it is now, or change "
        "its code."
    )


def _activation_spot(model: Any, site: str, owner: Any) -> _Spot:
    def make(with_: Any) -> Any:
        if isinstance(with_, str):
            return getattr(importlib.import_module("rectifier.keras"), with_)
        return _made(with_, name=None, dtype=owner.dtype_policy)

    def put(value: Any) -> None:
        # Past Keras's tracking, which is closed to new parts of a layer that is built; this one has no weights.
        vars(owner)["activation"] = value

    return _Spot(model, site, lambda: owner.activation, put, make)


def _layer_spot(model: Any, site: str, layer: Any) -> _Spot:
    owners = [m for m in (model, *named(model).values()) if functional_of(m) is not None]
    holders = [(owner, functional_of(owner)) for owner in owners]
    if not any(layer in functional._operations for _, functional in holders):
        raise RectifierValueError(
            f"heal: `findings` must name sites of this model that can be swapped; got {site!r}, which code of the "
            "user's calls. Change that code."
        )
    held = [layer]

    def put(new: Any) -> None:
        old, held[0] = held[0], new
        new._inbound_nodes, new._outbound_nodes, new.built = old._inbound_nodes, old._outbound_nodes, True
        for owner, functional in holders:
            _exchange(functional, old, new)
            if owner is not functional:
                _replace(owner._layers, old, new)

    return _Spot(
        model, site, lambda: held[0], put, lambda with_: _made(with_, name=layer.name, dtype=layer.dtype_policy)
    )


def _exchange(functional: Any, old: Any, new: Any) -> None:
    """In a graph every mention of an operation is of the object."""
    for node in (node for nodes in functional._nodes_by_depth.values() for node in nodes):
        if node.operation is old:
            node.operation = new
            for tensor in node.outputs:
                tensor._keras_history = tensor._keras_history._replace(operation=new)
    for operations in (functional._operations, *functional._operations_by_depth.values(), functional._layers):
        _replace(operations, old, new)


def _replace(items: Any, old: Any, new: Any) -> None:
    # A list that Keras tracks is closed to new layers once its owner is built; this one has no weights. TensorFlow
    # holds the items of such a list apart.
    plain = getattr(items, "_storage", items)
    for i, item in enumerate(plain):
        if item is old:
            list.__setitem__(plain, i, new)
