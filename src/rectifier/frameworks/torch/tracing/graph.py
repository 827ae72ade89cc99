"""Which layer makes the units of a site and which layers read them, followed through the model's graph (torch.fx)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrize import is_parametrized

from ....errors import RectifierValueError
from ..observer.kinds import has_weights, is_norm, is_pool
from ..sites import identify, identify_call
from .aliases import Memory, Strict, changed
from .owners import shared

__all__ = ["Consumer", "Graph", "Place", "Tracer", "flattens"]

_POOLS = frozenset(
    f"{start}{kind}_pool{n}d" for start in ("", "adaptive_") for kind in ("max", "avg") for n in (1, 2, 3)
)
_SAME = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d", "contiguous", "fn", "relu_"}) | _POOLS
_JOINS = frozenset({"cat", "concat", "concatenate"})
#: Calls whose result lies in memory of its own.
_FRESH = frozenset(
    {"add", "sub", "mul", "div", "truediv", "neg", "matmul", "bmm", "linear", "conv1d", "conv2d", "conv3d"}
    | {"cat", "mean", "sum", "softmax", "sigmoid", "tanh", "clone"}
)
_SHAPE_ONLY = frozenset({"size", "dim", "getattr", "numel"})


@dataclass(frozen=True)
class Consumer:
    """A layer that reads the units of a site."""

    name: str
    module: nn.Module
    per_unit: int
    """Inputs of the layer that one unit fills: 1, or the positions where a map was flattened."""
    unit_major: bool
    """True: the inputs of one unit are next to each other (a flattened map); False: they are ``units`` apart."""
    offset: int = 0
    """Channels of a concatenation that stand before those of the site."""
    width: int | None = None
    """Channels of the whole concatenation; None where there is none."""

    def columns(self, units: torch.Tensor, total: int) -> torch.Tensor:
        """Indices into axis 1 of the weight that these units fill."""
        steps = torch.arange(self.per_unit)
        units, total = units + self.offset, self.width or total
        if self.unit_major:
            return (units[:, None] * self.per_unit + steps).reshape(-1)
        return (units[:, None] + steps * total).reshape(-1)


@dataclass(frozen=True)
class Place:
    """A site with what stands before and behind it."""

    site: str
    rectifier: str
    parameters: dict[str, Any]
    layer_name: str
    layer: nn.Module
    norm_name: str | None
    norm: nn.Module | None
    consumers: tuple[Consumer, ...]

    @property
    def modules(self) -> list[tuple[str, nn.Module]]:
        """The layer, its normalisation and what reads it, by name."""
        norm = [] if self.norm is None or self.norm_name is None else [(self.norm_name, self.norm)]
        return [(self.layer_name, self.layer), *norm, *((each.name, each.module) for each in self.consumers)]

    @property
    def units(self) -> int:
        weight = self.layer.weight
        assert isinstance(weight, torch.Tensor)
        return int(weight.shape[0])


class Tracer(fx.Tracer):
    """Keeps rectifiers and PyTorch's own modules whole, and what is changed in place."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Strict(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return identify(m) is not None or bool(super().is_leaf_module(m, module_qualified_name))


class Graph:
    """The graph of a model as ``torch.fx`` traces it.

    verb: for the messages. Raises RectifierValueError where the model cannot be traced.
    """

    tracer: type[fx.Tracer] = Tracer

    def __init__(self, model: nn.Module, verb: str) -> None:
        self.model, self.verb = model, verb
        try:
            self.graph = self.tracer().trace(model)
        except Exception as error:  # what cannot be traced raises whatever the user's forward raises
            raise RectifierValueError(
                f"{verb}: `model` must be one whose graph torch.fx can follow; got {type(model).__name__}, where "
                f"tracing raised {type(error).__name__}: {error}. Act on a part of it that has no data-dependent "
                "control flow."
            ) from error
        self._memory, self._changes = self._followed()
        self._calls = Counter(node.target for node in self.graph.nodes if node.op == "call_module")
        self.sites = dict(self._name_sites())

    def _followed(self) -> tuple[Memory, list[tuple[fx.Node, fx.Node]]]:
        """Which nodes may share memory, and each change in place with the tensor that it changes."""
        memory, changes = Memory(), []
        for node in self.graph.nodes:
            target, surely = changed(node, self.model)
            if target is not None:
                changes.append((node, target))
                memory.join(node, target)
            module = self._module(node) if node.op == "call_module" else None
            own = _name(node).strip("_") in _FRESH if module is None else has_weights(module) or is_norm(module)
            if node.op in ("call_module", "call_function", "call_method") and not own and not (target and surely):
                for source in node.all_input_nodes:
                    memory.join(node, source)
        return memory, changes

    def disturbed(self, path: Iterable[fx.Node]) -> fx.Node | None:
        """A node beside this path that changes one of its tensors in place, or may; None where there is none."""
        path = set(path)
        touched = set().union(*(self._memory.mates(node) for node in path))
        return next((node for node, target in self._changes if target in touched and node not in path), None)

    def _name_sites(self) -> Iterator[tuple[str, tuple[fx.Node, str, dict[str, Any]]]]:
        counts: Counter[str] = Counter()
        for node in self.graph.nodes:
            label, found = None, None
            if node.op == "call_module":
                found = identify(self._module(node))
                label, start = str(node.target), ""
            elif node.op in ("call_function", "call_method"):
                func = node.target if node.op == "call_function" else getattr(torch.Tensor, str(node.target), None)
                found = identify_call(func, node.args, node.kwargs)
                inside = next(reversed([path for path, _ in node.meta.get("nn_module_stack", {}).values()]), "")
                label, start = (f"{inside}.{found[0]}" if inside else found[0]) if found else None, "#0"
            if found is None or label is None:
                continue
            n = counts[label]
            counts[label] += 1
            yield (label + start if n == 0 else f"{label}{'#' if start else '@'}{n}"), (node, *found)

    def _module(self, node: fx.Node) -> nn.Module:
        return self.model.get_submodule(str(node.target))

    def place(self, site: str) -> Place:
        """What stands before and behind a site. Raises RectifierValueError where it cannot be followed."""
        if site not in self.sites:
            kept = self._kept_whole(site)
            inner = self._feed_forward(site) if kept is not None and self.verb == "heal" else None
            if inner is not None:
                return inner
            if kept is not None:
                raise self._refuse(site, f"it is inside {kept}, which torch.fx keeps whole")
            raise RectifierValueError(
                f"{self.verb}: `findings` must name sites of this model; got {site!r}. Its sites are "
                f"{', '.join(self.sites) or 'none'}."
            )
        node, row, parameters = self.sites[site]
        layer_node, norm_node = self._before(site, node)
        layer = self._module(layer_node)
        conv = isinstance(layer, _ConvNd)
        assert isinstance(layer.weight, torch.Tensor)
        units = int(layer.weight.shape[0])
        place = Place(
            site=site,
            rectifier=row,
            parameters=parameters,
            layer_name=str(layer_node.target),
            layer=layer,
            norm_name=None if norm_node is None else str(norm_node.target),
            norm=None if norm_node is None else self._module(norm_node),
            consumers=tuple(self._behind(site, node, units, conv, flat=False)),
        )
        if not place.consumers:
            raise self._refuse(site, "no layer reads its units")
        for name, module in place.modules:
            self._own(site, name, module)
        return place

    def channels(self, site: str) -> int | None:
        """Size of axis 1 where the site is applied, as the layers before it tell; None where they do not."""
        nodes = [node for label, (node, _, _) in self.sites.items() if label.partition("@")[0] == site]
        sizes = {self._channels(node.args[0]) if node.args else None for node in nodes}
        return sizes.pop() if len(sizes) == 1 else None

    def _channels(self, value: Any) -> int | None:
        """Size of axis 1 of the tensor that a node gives."""
        if not isinstance(value, fx.Node) or not value.args:
            return None
        if value.op == "call_module":
            module = self._module(value)
            # Linear is not among them: its units are on the last axis, which is axis 1 for two axes alone.
            for kind, name in ((_ConvNd, "out_channels"), (_NormBase, "num_features"), (nn.GroupNorm, "num_channels")):
                if isinstance(module, kind):
                    return int(getattr(module, name))
            passes = isinstance(module, (nn.Identity, _DropoutNd)) or is_pool(module) or identify(module) is not None
            return self._channels(value.args[0]) if passes else None
        if _name(value) in ("add", "iadd", "add_"):
            sizes = {self._channels(arg) for arg in value.args} - {None}
            return sizes.pop() if len(sizes) == 1 else None
        func = value.target if value.op == "call_function" else getattr(torch.Tensor, str(value.target), None)
        passes = _name(value) in _SAME or identify_call(func, value.args, value.kwargs) is not None
        return self._channels(value.args[0]) if passes else None

    def _kept_whole(self, site: str) -> str | None:
        """The module of PyTorch's own, such as a TransformerEncoderLayer, whose inside the graph does not show."""
        for node in self.graph.nodes:
            inside = node.op == "call_module" and site.startswith(f"{node.target}.")
            if inside and identify(self._module(node)) is None:
                return f"{node.target}, a {type(self._module(node)).__name__}"
        return None

    def _feed_forward(self, site: str) -> Place | None:
        """The activation of PyTorch's transformer layers: linear1 → it → dropout → linear2, as their code has it."""
        name, _, own = site.rpartition(".")
        layer: Any = self.model.get_submodule(name)
        kind = next(
            (kind for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer) if isinstance(layer, kind)), None
        )
        if kind is None or type(layer)._ff_block is not kind._ff_block:
            return None
        act = layer.activation
        found = identify(act) if isinstance(act, nn.Module) else identify_call(act, (None,), {})
        if found is None or own not in ("activation", f"{found[0]}#0"):
            return None
        called = [str(node.target) for node in self.graph.nodes if node.op == "call_module"]
        times = sum(name == whole or name.startswith(f"{whole}.") for whole in called)
        if times != 1:
            raise self._refuse(site, f"{name} is called {times} times")
        consumer = Consumer(f"{name}.linear2", layer.linear2, 1, unit_major=True)
        place = Place(site, *found, f"{name}.linear1", layer.linear1, None, None, (consumer,))
        self._own(site, place.layer_name, layer.linear1)
        self._own(site, consumer.name, layer.linear2)
        return place

    def _refuse(self, site: str, why: str) -> RectifierValueError:
        return RectifierValueError(
            f"{self.verb}: {site!r} must stand between layers that can be followed (Linear or Conv, through "
            f"batch normalisation, dropout, pooling and flattening); got a place where {why}. Leave this site out."
        )

    def _own(self, site: str, name: str, module: nn.Module) -> None:
        """Refuse weights that something else uses too."""
        if self._calls[name] > 1:
            raise self._refuse(site, f"{name} is called {self._calls[name]} times")
        if is_parametrized(module) or "weight" not in module._parameters:
            raise self._refuse(site, f"the weight of {name} is computed from other parameters")
        read = (node for node in self.graph.nodes if node.op == "get_attr" and not all(map(_shape_only, node.users)))
        if any(str(node.target) in (f"{name}.weight", f"{name}.bias") for node in read):
            raise self._refuse(site, f"the forward pass reads the weights of {name} beside the layer")
        both = shared(self.model, module)
        if both is not None:
            raise self._refuse(site, f"{name} shares its {both[0]} with {both[1]}")

    def _before(self, site: str, node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
        norm: fx.Node | None = None
        current = self._input(site, node)
        while True:
            if len([user for user in current.users if not _shape_only(user)]) != 1:
                raise self._refuse(site, f"{current.name}, before it, feeds something else as well")
            if current.op == "call_module":
                module = self._module(current)
                if isinstance(module, (nn.Linear, _ConvNd)) and not isinstance(module, _ConvTransposeNd):
                    return current, norm
                if is_norm(module) and norm is None and self._calls[current.target] == 1:
                    norm = current
                    current = self._input(site, current)
                    continue
                if isinstance(module, (nn.Identity, _DropoutNd)):
                    current = self._input(site, current)
                    continue
            raise self._refuse(site, f"its input comes from {_say(current)}")

    def _input(self, site: str, node: fx.Node) -> fx.Node:
        source = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
        if not isinstance(source, fx.Node):
            raise self._refuse(site, "its input is not one tensor")
        return source

    def _behind(self, site: str, node: fx.Node, units: int, conv: bool, *, flat: bool) -> Iterator[Consumer]:
        for user in node.users:
            if _shape_only(user):
                continue
            if user.op == "call_module":
                module = self._module(user)
                if isinstance(module, (nn.Linear, _ConvNd)):
                    yield self._consumer(site, str(user.target), module, units, conv, flat)
                    continue
                if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1:
                    yield from self._behind(site, user, units, conv, flat=True)
                    continue
                if isinstance(module, (nn.Identity, _DropoutNd)) or (is_pool(module) and not flat):
                    yield from self._behind(site, user, units, conv, flat=flat)
                    continue
            elif flattens(user, node):
                yield from self._behind(site, user, units, conv, flat=True)
                continue
            elif _name(user) in _SAME:
                yield from self._behind(site, user, units, conv, flat=flat)
                continue
            elif _name(user) in _JOINS and self.verb == "heal" and not flat:  # what is cut must be the whole input
                yield from self._joined(site, user, node, conv)
                continue
            raise self._refuse(site, f"its units go into {_say(user)}")

    def _joined(self, site: str, user: fx.Node, node: fx.Node, conv: bool) -> Iterator[Consumer]:
        """What reads a concatenation: the units stand behind those of the parts before them."""
        parts = user.args[0] if user.args else user.kwargs.get("tensors")
        axis = user.args[1] if len(user.args) > 1 else user.kwargs.get("dim", user.kwargs.get("axis", 0))
        if not isinstance(parts, (tuple, list)) or axis not in ((1, -3) if conv else (1, -1)):
            raise self._refuse(site, f"its units go into {_say(user)} along axis {axis}")
        widths = [self._width(part, conv) for part in parts]
        other = next((_say(part) for part, width in zip(parts, widths, strict=True) if width is None), None)
        if other is not None:
            raise self._refuse(site, f"its units go into {_say(user)}, beside {other}, whose size cannot be told")
        sizes = [width or 0 for width in widths]
        for place in (n for n, part in enumerate(parts) if part is node):
            for consumer in self._behind(site, user, sum(sizes), conv, flat=False):
                if not conv and axis == 1 and consumer.per_unit != 1:
                    raise self._refuse(site, f"its units go into {_say(user)}, which may join tokens")
                yield replace(consumer, offset=consumer.offset + sum(sizes[:place]), width=consumer.width or sum(sizes))

    def _width(self, value: Any, conv: bool) -> int | None:
        """Units of a part of a concatenation, as the layers before it tell; None where they do not."""
        if conv:
            return self._channels(value)
        if not isinstance(value, fx.Node) or not value.args:
            return None
        if value.op == "call_module":
            module = self._module(value)
            if isinstance(module, nn.Linear):
                return module.out_features
            passes = (
                isinstance(module, (nn.Identity, _DropoutNd, nn.LayerNorm, _NormBase)) or identify(module) is not None
            )
            return self._width(value.args[0], conv) if passes else None
        func = value.target if value.op == "call_function" else getattr(torch.Tensor, str(value.target), None)
        passes = identify_call(func, value.args, value.kwargs) is not None or _name(value) == "dropout"
        return self._width(value.args[0], conv) if passes else None

    def _consumer(self, site: str, name: str, module: nn.Module, units: int, conv: bool, flat: bool) -> Consumer:
        if isinstance(module, nn.Linear):
            fits = module.in_features % units == 0 and (flat or (not conv and module.in_features == units))
            if not fits:
                raise self._refuse(site, f"{name} does not read its units as features")
            return Consumer(name, module, module.in_features // units, unit_major=conv)
        plain = not isinstance(module, _ConvTransposeNd) and module.groups == 1 and conv and not flat
        if not plain or module.in_channels != units:
            raise self._refuse(site, f"{name} is a transposed or grouped convolution, or does not read its channels")
        return Consumer(name, module, 1, unit_major=True)


def _name(node: fx.Node) -> str:
    return str(node.target) if node.op == "call_method" else str(getattr(node.target, "__name__", node.target))


def _say(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the model's input"
    if node.op == "output":
        return "the model's output"
    return str(node.target) if node.op == "call_module" else _name(node)


def _shape_only(node: fx.Node) -> bool:
    return node.op in ("call_function", "call_method") and _name(node) in _SHAPE_ONLY


def flattens(node: fx.Node, source: fx.Node) -> bool:
    """flatten(x, 1), or view and reshape to (…, −1)."""
    if node.op not in ("call_function", "call_method") or not node.args or node.args[0] is not source:
        return False
    rest = list(node.args[1:])
    if _name(node) == "flatten":
        return bool((rest or [node.kwargs.get("start_dim", 0)]) == [1])
    if _name(node) in ("view", "reshape"):
        shape = list(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest
        return bool(len(shape) == 2 and shape[1] == -1)
    return False
