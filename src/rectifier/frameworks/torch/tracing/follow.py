"""Which rectifier follows which layer: from the traced graph, else from the order of the modules."""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from ..sites import Site, identify, identify_call
from .graph import Tracer

__all__ = ["LAYERS", "Followers", "followers", "twin"]

#: Layers with weights whose outputs are pre-activations.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)
_POOLS = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
_SHAPES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle, nn.ZeroPad2d)
#: What lies between a layer and its rectifier without being a layer or a nonlinearity that matters here.
_PASSING_MODULES = _NORMS + _DROPOUTS + _POOLS + _SHAPES
_PASSING_CALLS = frozenset(
    {
        operator.add,
        operator.iadd,
        operator.getitem,
        torch.add,
        torch.cat,
        torch.flatten,
        torch.reshape,
        torch.permute,
        torch.transpose,
        torch.squeeze,
        torch.unsqueeze,
        F.batch_norm,
        F.layer_norm,
        F.group_norm,
        F.instance_norm,
        F.dropout,
        F.dropout1d,
        F.dropout2d,
        F.dropout3d,
        F.alpha_dropout,
        F.max_pool1d,
        F.max_pool2d,
        F.max_pool3d,
        F.avg_pool1d,
        F.avg_pool2d,
        F.avg_pool3d,
        F.adaptive_avg_pool1d,
        F.adaptive_avg_pool2d,
        F.adaptive_avg_pool3d,
        F.interpolate,
        F.pad,
    }
)
_PASSING_METHODS = frozenset(
    {
        "add",
        "add_",
        "clone",
        "contiguous",
        "flatten",
        "permute",
        "reshape",
        "squeeze",
        "to",
        "transpose",
        "unflatten",
        "unsqueeze",
        "view",
    }
)


@dataclass(frozen=True)
class Followers:
    """What was found."""

    rectifier: dict[str, Site]
    """Qualified name of a layer → row and parameters of the rectifier that follows it."""
    untraced: str | None
    """Why the model could not be traced, so that the order of its modules stands in; None where it could."""


def followers(model: nn.Module) -> Followers:
    """The rectifier that follows each Linear and Conv layer of ``model``, ours or PyTorch's."""
    untraced = None
    try:
        copied = twin(model)
        with torch.random.fork_rng(devices=[]):  # a forward that draws numbers draws them now
            graph = _Tracer().trace(copied)
        found = _by_graph(copied, graph)
    except Exception as error:  # the user's forward meets proxies: anything may come
        untraced = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        found = _by_order(model)
    known = _in_transformers(model)
    found = {name: site for name, site in found.items() if name not in known}
    found |= {name: site for name, site in known.items() if site is not None}
    layers = {name for name, module in model.named_modules() if isinstance(module, LAYERS)}
    return Followers(found, None if layers <= known.keys() else untraced)


def twin(model: nn.Module) -> nn.Module:
    """A copy that shares the parameters: tracing runs the user's forward, which may write to its module."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # a kept activation, which cannot be copied
                memo[id(value)] = value.detach()
    copied = copy.deepcopy(model, memo)
    for module in copied.modules():  # hooks are the user's functions, which a copy does not copy
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return copied


def _in_transformers(model: nn.Module) -> dict[str, Site | None]:
    """The layers in PyTorch's transformer layers: leaves of a traced graph, with modules not in the order of calls."""
    known: dict[str, Site | None] = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            prefix = f"{name}." if name else ""
            known |= {prefix + inner: None for inner, layer in module.named_modules() if isinstance(layer, LAYERS)}
            act: Any = module.activation
            site = identify(act) if isinstance(act, nn.Module) else identify_call(act, (None,), {})
            known[f"{prefix}linear1"] = site
    return known


class _Tracer(Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LAYERS) or identify(m) is not None or super().is_leaf_module(m, module_qualified_name)


def _by_graph(model: nn.Module, graph: fx.Graph) -> dict[str, Site]:
    modules = dict(model.named_modules(remove_duplicate=False))
    names = {id(module): name for name, module in model.named_modules()}
    found: dict[str, Site] = {}
    for node in graph.nodes:
        layer = modules.get(node.target) if node.op == "call_module" else None
        # A module used twice keeps the first rectifier that follows it.
        if isinstance(layer, LAYERS) and names[id(layer)] not in found:
            site = _following(node, model, modules)
            if site is not None:
                found[names[id(layer)]] = site
    return found


def _following(start: fx.Node, model: nn.Module, modules: dict[str, nn.Module]) -> Site | None:
    """The first rectifier downstream that is reached through passing nodes alone."""
    reached = {start}
    node = start
    while (node := node.next).op != "root":  # the nodes are in the order of the calls
        if reached.isdisjoint(node.all_input_nodes):
            continue
        site = _site(node, model, modules)
        if site is not None:
            return site
        if _passes(node, modules):
            reached.add(node)
    return None


def _site(node: fx.Node, model: nn.Module, modules: dict[str, nn.Module]) -> Site | None:
    if node.op == "call_module":
        return identify(modules[str(node.target)])
    target: Any = node.target
    if node.op == "call_method":
        target = getattr(torch.Tensor, str(node.target), None)
    elif node.op != "call_function":
        return None
    site = identify_call(target, node.args, node.kwargs)
    return None if site is None else (site[0], {name: _value(model, value) for name, value in site[1].items()})


def _value(model: nn.Module, value: Any) -> Any:
    """A parameter of a traced call: a weight of the model is looked up, anything computed is taken at PReLU's start."""
    if not isinstance(value, fx.Node):
        return value
    if value.op != "get_attr":
        return 0.25
    return operator.attrgetter(str(value.target))(model)


def _passes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    match node.op:
        case "call_module":
            return isinstance(modules[str(node.target)], _PASSING_MODULES)
        case "call_function":
            return node.target in _PASSING_CALLS
        case "call_method":
            return node.target in _PASSING_METHODS
    return False


def _by_order(model: nn.Module) -> dict[str, Site]:
    found: dict[str, Site] = {}
    layer: str | None = None
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):
            layer = name
        elif layer is not None and (site := identify(module)) is not None:
            found[layer] = site
            layer = None
    return found
