"""PyTorch's larger modules: transformer layers written plainly, to be traced; attention and recurrence as steps.

Attention gives each position a mean of the values with weights that are not negative and add up to 1, whatever the
queries and keys are: so it lies between the least and the largest value of its feature over all positions.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ....checkup.proofs.network import Array, Step
from ..calm import value_of
from ..observer.kinds import computes_plainly
from .lowering import FINE, Lowered, array_of, dropped, hull

__all__ = ["attention", "is_block", "recurrent", "weighted", "write_plainly"]

Shape = tuple[int, ...]
#: Adds a step and gives its index.
Add = Callable[[Step], int]


def opaque(x: torch.Tensor, *others: Any) -> torch.Tensor:
    """Stands in a graph for what is not followed."""
    return torch.empty_like(x)


def _not_followed(x: Any, *others: Any) -> Any:
    return x.tracer.create_proxy("call_function", opaque, (x, *others), {})


def _encoder_layer(
    self: Any, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False
) -> Any:
    masks, x = (src_mask, src_key_padding_mask), src
    if self.norm_first:
        x = x + self._sa_block(self.norm1(x), *masks, is_causal=is_causal)
        return x + self._ff_block(self.norm2(x))
    x = self.norm1(x + self._sa_block(x, *masks, is_causal=is_causal))
    return self.norm2(x + self._ff_block(x))


def _encoder(
    self: Any, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None
) -> Any:
    if src_key_padding_mask is not None:  # padding may come out as 0
        return _not_followed(src, mask, src_key_padding_mask)
    for layer in self.layers:
        src = layer(src, src_mask=mask, is_causal=bool(is_causal))
    return src if self.norm is None else self.norm(src)


#: What these compute, without the choice of a faster way to the same.
_PLAINLY: Mapping[type[nn.Module], Callable[..., Any]] = {
    nn.TransformerEncoderLayer: _encoder_layer,
    nn.TransformerEncoder: _encoder,
}


def is_block(module: nn.Module) -> bool:
    """Whether it is traced into."""
    return type(module) in _PLAINLY or (type(module) is nn.TransformerDecoderLayer and computes_plainly(module))


def write_plainly(model: nn.Module) -> None:
    """Give the blocks in this copy of a model forward passes that can be traced."""
    for module in model.modules():
        if type(module) in _PLAINLY and computes_plainly(module):
            module.forward = types.MethodType(_PLAINLY[type(module)], module)


def weighted(before: int, x: Shape, shape: Shape, add: Add, *, masked: bool = False, p: float = 0.0) -> int:
    """Means of values of shape ``x`` over their last but one axis, with weights of which a share ``p`` is dropped.

    masked: a position that may see no other gets 0.
    """
    steps: Lowered | None = hull((len(x) - 2,), zero=masked, computed=True)
    while steps is not None:
        before, steps = add(Step(steps.op, (before,), shape, steps.settings)), steps.then
        if steps is None and p:
            steps, p = dropped(p), 0.0
    return before


def attention(module: Any, name: str, value: int, x: Shape, shape: Shape, add: Add, *, masked: bool) -> int | None:
    """The steps of ``nn.MultiheadAttention``; None where it is not known.

    value: the step that the values are made from, of shape ``x``. masked: whether it is given a mask.
    """
    plain = module.batch_first and module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
    p, width = (float(module.dropout) if module.training else 0.0), int(module.embed_dim)
    if not (computes_plainly(module) and plain and len(x) == len(shape) == 2 and p < 1):
        return None
    if x[0] * module.in_proj_weight.numel() > FINE:
        value = add(Step("hull", (value,), x, hull((0,)).settings))
    made = _arrays(module, name, "in_proj_weight", "in_proj_bias")
    value = add(Step("linear", (value,), (x[0], 3 * width), {}, made, name))
    value = add(Step("slice", (value,), (x[0], width), {"axis": 1, "start": 2 * width, "stop": 3 * width}))
    mixed = weighted(value, (x[0], width), (shape[0], width), add, masked=masked, p=p)
    end = f"{name}.out_proj" if name else "out_proj"
    return add(Step("linear", (mixed,), shape, {}, _arrays(module.out_proj, end, "weight", "bias"), end))


#: More steps in time than this, over all layers and directions, and a recurrent layer is not followed.
_LONGEST = 256


def recurrent(module: Any, name: str, value: int, x: Shape, shape: Shape, add: Add) -> int | None:
    """The steps of ``nn.RNN`` with a ReLU from a state of zeros up to its output; None where it is not known.

    h(t) = relu(W·x(t) + b + U·h(t − 1) + c), each product and sum as PyTorch computes them on a CPU.
    """
    ways = 2 if module.bidirectional else 1
    plain = module.nonlinearity == "relu" and module.batch_first and len(x) == len(shape) == 2
    dropout = module.training and module.dropout > 0
    if not (computes_plainly(module) and plain and x[0] * module.num_layers * ways <= _LONGEST and not dropout):
        return None
    for layer in range(module.num_layers):
        found = []
        for end in ("", "_reverse")[:ways]:
            found.append(_through_time(module, name, value, x, f"_l{layer}{end}", add))
        x = (x[0], ways * module.hidden_size)
        value = add(Step("cat", tuple(found), x, {"axis": 1})) if ways > 1 else found[0]
    return value


def _through_time(module: nn.Module, name: str, value: int, x: Shape, end: str, add: Add) -> int:
    inward = _arrays(module, name, f"weight_ih{end}", f"bias_ih{end}")
    onward = _arrays(module, name, f"weight_hh{end}", f"bias_hh{end}")
    layer = f"{name}.{end[1:]}" if name else end[1:]
    one, states = (1, int(onward["weight"].values.shape[0])), {}
    times = range(x[0])[::-1] if end.endswith("_reverse") else range(x[0])
    made = add(Step("linear", (value,), (x[0], one[1]), {}, inward, layer))
    before = None
    for t in times:
        parts = [add(Step("slice", (made,), one, {"axis": 0, "start": t, "stop": t + 1}))]
        if before is not None:
            parts.append(add(Step("linear", (before,), one, {}, onward, layer)))
        elif "bias" in onward:  # of a state of zeros
            parts.append(add(Step("constant", (), one, {}, {"value": onward["bias"], "of": onward["weight"]}, layer)))
        z = add(Step("combine", tuple(parts), one, {"coefficients": [1.0] * len(parts), "constant": 0.0}))
        before = states[t] = add(Step("rectifier", (z,), one, {"function": "relu", "parameters": {}}))
    return add(Step("cat", tuple(states[t] for t in range(x[0])), (x[0], one[1]), {"axis": 0}))


def _arrays(module: nn.Module, name: str, weight: str, bias: str) -> dict[str, Array]:
    prefix = f"{name}." if name else ""
    found = {role: (own, value_of(module, own)) for role, own in (("weight", weight), ("bias", bias))}
    return {role: array_of(f"{prefix}{own}", value) for role, (own, value) in found.items() if value is not None}
