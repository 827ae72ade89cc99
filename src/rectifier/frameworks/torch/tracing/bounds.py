"""A PyTorch model as a network of plain arrays, from the graph that ``torch.fx`` traces; what is unknown stays so."""

from __future__ import annotations

import copy
import inspect
import random
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.modules import module as every_module

from ....checkup.proofs.network import Network
from ..observer.kinds import is_norm
from .blocks import is_block, write_plainly
from .graph import Graph, Tracer
from .nodes import BATCH
from .steps import Builder

__all__ = ["hooked", "traced"]

Shape = tuple[int, ...]

#: Models with more weights than this are not traced: tracing needs a copy of them.
_MOST_WEIGHTS = 200_000_000

#: How torch.fx names a tensor that the forward pass makes of nothing.
_MADE = r"_tensor_constant\d+"


class _Defaults(Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not is_block(m) and super().is_leaf_module(m, module_qualified_name)

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        # A check calls the model with its inputs alone; what else it takes has its default.
        parameters = inspect.signature(root.forward).parameters.values()
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        return super().trace(root, given or concrete_args)


class _Traced(Graph):
    tracer = _Defaults


def traced(
    model: nn.Module, input_shape: Shape, axes: Mapping[str, int], *, training: bool, rows: int, roundoff: float
) -> Network | str:
    """The network that ``model`` computes for one example, or why it could not be followed.

    axes: site → axis of its units in one example; of the others no bound is asked. training: as in training mode,
    normalised by the batch's own moments, of at most ``rows`` examples. roundoff: unit roundoff of the coarsest product
    seen. The model is not touched: a copy is traced.
    """
    hook = hooked(model)
    if hook is not None:
        return hook
    if sum(p.numel() for p in model.parameters()) > _MOST_WEIGHTS:
        return "it has too many weights for a copy"
    states = _random_states()
    try:
        copied = _copy(model)
        if training and not model.training:
            copied.train()
        graphs = [_Traced(copied, "check") for _ in range(2)]
        if not _alike(copied, *graphs):
            return "its forward pass is not the same each time"
        if not _same_states(states, _random_states()):  # two traces that agree may both have missed a rare path
            return "its forward pass draws random numbers of its own"
        shapes = _shapes(copied, graphs[1], input_shape)
        return Builder(copied, graphs[1], shapes, rows, roundoff).network(input_shape, axes, training=training)
    except Exception as error:  # the user's forward meets proxies: anything may come
        cause = error.__cause__ or error
        return f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
    finally:  # a forward that draws numbers draws them while it is traced
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _alike(model: nn.Module, one: _Traced, other: _Traced) -> bool:
    """Whether two traces are the same, with the same tensors made on the way, which each names anew."""
    texts = [str(traced.graph) for traced in (one, other)]
    if len({re.sub(_MADE, "", text) for text in texts}) > 1:
        return False
    pairs = set(zip(*(re.findall(_MADE, text) for text in texts), strict=True))
    return all(torch.equal(getattr(model, a), getattr(model, b)) for a, b in pairs)


def hooked(model: nn.Module) -> str | None:
    """Which hook of others may change what the model computes, so that no trace tells; or None."""
    foreign = next((name for name, module in model.named_modules() if _hooked(module)), None)
    if foreign is not None:
        return f"a hook on {foreign or 'the model'} may change what it computes"
    if _foreign(every_module._global_forward_hooks) or _foreign(every_module._global_forward_pre_hooks):
        return "a hook on all modules may change what it computes"
    return None


def _random_states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _same_states(a: tuple[Any, Any, torch.Tensor], b: tuple[Any, Any, torch.Tensor]) -> bool:
    same = all(np.array_equal(one, other) for one, other in zip(a[1], b[1], strict=True))
    return a[0] == b[0] and same and torch.equal(a[2], b[2])


def _hooked(module: nn.Module) -> bool:
    return _foreign(module._forward_hooks) or _foreign(module._forward_pre_hooks)


def _foreign(hooks: Mapping[int, Any]) -> bool:
    return any(not (getattr(hook, "__module__", None) or "").startswith("rectifier.") for hook in hooks.values())


def _copy(model: nn.Module) -> nn.Module:
    """A copy with weights of its own: tracing runs the user's forward, which may write to them."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:  # a kept activation, which cannot be copied
                memo[id(value)] = value.detach()
        for hooks in (module._forward_hooks, module._forward_pre_hooks):  # an observer, which sees the real model only
            memo[id(hooks)] = type(hooks)()
    copied = copy.deepcopy(model, memo)
    for module in list(copied.modules()):  # a compiled part is traced as what it was compiled from
        for name, child in module._modules.items():
            inner = getattr(child, "_orig_mod", None)
            if isinstance(inner, nn.Module):
                module._modules[name] = inner
    copied.requires_grad_(False)
    write_plainly(copied)
    return copied


class _Shapes(fx.Interpreter):
    """Runs the graph on tensors without values (of the device "meta")."""

    def __init__(self, module: fx.GraphModule, elementwise: set[str]) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.elementwise = elementwise

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self.elementwise:
            first = n.args[0] if n.args else next(iter(n.kwargs.values()))
            return torch.empty_like(self.env[first])  # type: ignore[index]
        found = super().run_node(n)
        return found.to("meta") if n.op == "get_attr" and isinstance(found, torch.Tensor) else found


def _shapes(model: nn.Module, graph: _Traced, input_shape: Shape) -> dict[str, Any]:
    """Node → its tensor without values (or what else it is)."""
    own = next(model.parameters(), torch.zeros(()))
    # Rectifiers of ours would look for the values, and a batch normalisation for how many batches it has counted.
    elementwise = {node.name for node, _, _ in graph.sites.values()}
    for node in graph.graph.nodes:
        if node.op == "call_module" and is_norm(model.get_submodule(str(node.target))):
            elementwise.add(node.name)
    memo: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in model.buffers()}
    memo |= {id(weight): nn.Parameter(weight.to("meta"), False) for weight in model.parameters()}
    run = _Shapes(fx.GraphModule(copy.deepcopy(model, memo), graph.graph), elementwise)
    with torch.device("meta"), torch.no_grad():
        run.run(torch.empty((BATCH, *input_shape), dtype=own.dtype))
    return {node.name: value for node, value in run.env.items()}
