"""A traced graph turned into steps: which values each node reads, where they lie, and what was changed in place."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.dropout import _DropoutNd

from ....checkup.proofs.network import Network, Site, Step
from .aliases import Memory, changed
from .blocks import attention, recurrent, weighted
from .graph import Graph
from .lowering import VIEWS, Lowered, array_of, as_steps, of_call, of_module, of_rectifier
from .nodes import bare, example_of, is_softmax, say, tells

__all__ = ["Builder"]

Shape = tuple[int, ...]

_ADDITIONS = {"add": (1.0, 1.0), "iadd": (1.0, 1.0), "sub": (1.0, -1.0), "isub": (1.0, -1.0)}
_PRODUCTS = frozenset({"mul", "imul", "multiply", "truediv", "div", "itruediv"})
#: What gives the very memory that it was given, or may.
_SHARING = frozenset({"reshape", "permute", "slice", "unknown", "hull"})


#: Layer of a step that holds weights which are not negative and add up to 1 over the last axis.
SOFTMAX = "softmax over the last axis"


class Builder:
    """Goes through the graph once. A value is the index of its step; a list of them for what was split."""

    def __init__(self, model: nn.Module, graph: Graph, shapes: Mapping[str, Any], rows: int, roundoff: float) -> None:
        self.model, self.graph, self.shapes, self.rows = model, graph.graph, shapes, rows
        self.steps: list[Step] = []
        self.of: dict[fx.Node, int | list[int]] = {}
        self.memory = Memory()
        self.tensors: dict[fx.Node, tuple[str, torch.Tensor]] = {}
        self.labels = {node: (label, row, given) for label, (node, row, given) in graph.sites.items()}
        self.reads: dict[str, tuple[str, int]] = {}
        dtypes = {v.dtype for v in shapes.values() if isinstance(v, torch.Tensor) and v.dtype.is_floating_point}
        infos = [torch.finfo(dtype) for dtype in dtypes]
        self.roundoff = max([roundoff, *(info.eps / 2 for info in infos)])
        self.smallest, self.largest = max(i.tiny for i in infos), min(i.max for i in infos)

    def network(self, input_shape: Shape, axes: Mapping[str, int], *, training: bool) -> Network:
        for node in self.graph.nodes:
            if node.op == "placeholder":
                op = "input" if not self.steps else "unknown"
                self.of[node] = self._add(Step(op, (), input_shape, layer="the input"))
            elif node.op == "get_attr":
                value = operator.attrgetter(str(node.target))(self.model)
                if isinstance(value, torch.Tensor):
                    self.tensors[node] = str(node.target), value
            elif node.op != "output":
                self._node(node)
        sites = tuple(Site(label, row, step, axes[label]) for label, (row, step) in self.reads.items() if label in axes)
        condition = ", in evaluation mode" if any(map(self._random, self.graph.nodes)) else ""
        if any(step.op == "scale" for step in self.steps):
            condition = ", with batch normalisation in evaluation mode"
        if not training and any(self._of_batch(step) for step in self.steps):
            condition += self._in_batches(input_shape)
        if training:
            condition = f", in training mode{self._in_batches(input_shape)}"
        return Network(
            tuple(self.steps), sites, self.roundoff, self.smallest, self.largest, condition, training, input_shape
        )

    def _in_batches(self, shape: Shape) -> str:
        """The bound of a normalisation is of M values, examples times positions: larger maps would break it."""
        most = max((int(s.settings["count"]) for s in self.steps if s.op == "normalise"), default=0)
        values = f" of shape {shape}, M ≤ {most} values to a normalisation" if most else ""
        return f", in batches of at most {self.rows} examples{values}"

    @staticmethod
    def _of_batch(step: Step) -> bool:
        """Whether it is normalised by moments of the batch, without running ones."""
        return step.settings.get("rows") is not None

    def _random(self, node: fx.Node) -> bool:
        """Whether it computes something else in training: what is dropped there, and the rest made larger."""
        module = self._module(node) if node.op == "call_module" else None
        # Attention and recurrent layers have one of their own.
        share = getattr(module, "p" if isinstance(module, _DropoutNd) else "dropout", 0.0)
        return isinstance(module, nn.RReLU) or (isinstance(share, float) and share > 0) or "dropout" in bare(node)

    def _add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _node(self, node: fx.Node) -> None:
        out = self.shapes.get(node.name)
        shape = example_of(out)
        if node in self.labels:
            self._read(node)
        found: int | list[int] | None = None
        if shape is not None:
            found = self._lowered(node, shape)
        elif node.op == "call_module" and isinstance(self._module(node), nn.MultiheadAttention):
            found = self._attention(node, out)
        elif node.op == "call_module" and isinstance(self._module(node), nn.RNN):
            found = self._recurrent(node, out)
        elif isinstance(out, (tuple, list)):
            found = self._split(node, out)
        known = found is not None
        if found is None:
            found = self._add(Step("unknown", (), shape or (), layer=SOFTMAX if is_softmax(node, shape) else say(node)))
        given = [arg for arg in node.all_input_nodes if arg in self.of]
        self.of[node] = found
        last = [self.of[arg] for arg in given]
        made = isinstance(found, list) and node.op == "call_module"
        shares = not made and (isinstance(found, list) or found in last or self.steps[found].op in _SHARING)
        if shares or bare(node) in ("to", "float", "type_as"):
            for arg in given:
                self.memory.join(node, arg)
        target, surely = changed(node, self.model)
        if target is not None:
            self._spoil(node, target, given, surely=surely)
        elif not known and not tells(node):
            for arg in given:
                self._spoil(node, arg, given, surely=False)

    def _module(self, node: fx.Node) -> nn.Module:
        return self.model.get_submodule(str(node.target))

    def _spoil(self, node: fx.Node, target: fx.Node, given: list[fx.Node], *, surely: bool) -> None:
        """After a change in place only the result is known, and so the tensor itself where it is that for sure."""
        self.memory.join(node, target)
        for other in self.memory.mates(target):
            if other in self.of and other is not node and not (surely and other is target):
                self.of[other] = self._unknown(self.of[other])
        if surely:
            self.of[target] = self.of[node]

    def _unknown(self, value: int | list[int]) -> int | list[int]:
        if isinstance(value, list):
            return [self._add(Step("unknown", (), self.steps[i].shape, layer="changed in place")) for i in value]
        return self._add(Step("unknown", (), self.steps[value].shape, layer="changed in place"))

    def _read(self, node: fx.Node) -> None:
        label, row, _ = self.labels[node]
        source = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("x"))
        step = self.of.get(source) if isinstance(source, fx.Node) else None
        if isinstance(step, int):
            self.reads[label] = row, step

    def _lowered(self, node: fx.Node, shape: Shape) -> int | None:
        source = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("x"))
        name = bare(node)
        if name in ("cat", "concat", "concatenate"):
            return self._cat(node, shape)
        if name in _ADDITIONS or name in _PRODUCTS or name in ("neg", "rsub"):
            return self._arithmetic(node, name, shape)
        if name in ("scaled_dot_product_attention", "matmul", "bmm"):
            return self._weighted(node, name, shape)
        if not isinstance(source, fx.Node) or source not in self.of:
            return None
        before = self.of[source]
        if isinstance(before, list):
            index = node.args[1] if name == "getitem" else None
            return before[index] if isinstance(index, int) else None
        x = self.steps[before].shape
        if name == "getitem":
            return self._getitem(before, node.args[1], x, shape)
        if name in ("permute", "transpose"):
            return self._permute(node, name, before, x, shape)
        if name == "mean":
            return self._mean(node, before, x, shape)
        if name in ("to", "float", "type_as"):
            if not self.shapes[source.name].dtype.is_floating_point:
                return None
            return self._add(Step("combine", (before,), shape, {"coefficients": [1.0], "constant": 0.0}, layer=name))
        return self._place(self._what(node, name, x, shape), node, before, shape)

    def _what(self, node: fx.Node, name: str, x: Shape, shape: Shape) -> Lowered | None:
        if node.op == "call_module":
            module = self._module(node)
            return of_module(module, x, shape, self.rows, training=module.training)
        if node in self.labels:
            _, row, given = self.labels[node]
            return of_rectifier(row, {key: self._resolve(value) for key, value in given.items()})
        rest = [self._resolve(value) for value in node.args[1:]]
        if any(isinstance(value, fx.Node) for value in rest) and name not in VIEWS:
            return None
        kwargs = {key: self._resolve(value) for key, value in node.kwargs.items()}
        return of_call(name, rest, kwargs, x, shape, self.rows)

    def _resolve(self, value: Any) -> Any:
        return self.tensors[value][1] if isinstance(value, fx.Node) and value in self.tensors else value

    def _place(self, lowered: Lowered | None, node: fx.Node, before: int, shape: Shape) -> int | None:
        if lowered is None:
            return None
        if lowered.op == "same":
            return before
        if lowered.op == "reshape" and math.prod(shape) != math.prod(self.steps[before].shape):
            return None
        names = {id(value): name for name, value in self.tensors.values()}
        source = self.steps[before]
        last = lowered if lowered.then is None else lowered.then
        if last.op == "linear" and source.op == "normalise" and source.settings.get("axes") == 1:
            return self._add(self._behind_norm(as_steps(last, before, source.shape, shape, say(node), names, 0)[0]))
        for step in as_steps(lowered, before, source.shape, shape, say(node), names, len(self.steps)):
            self._add(step)
        return len(self.steps) - 1

    def _behind_norm(self, linear: Step) -> Step:
        """The two as one step: the length of a normalised vector tells more than the range of each of its values."""
        norm = self.steps[linear.inputs[0]]
        roles = {"weight": "scale", "bias": "shift"}
        arrays = {**linear.arrays, **{roles[role]: array for role, array in norm.arrays.items()}}
        settings = {key: norm.settings[key] for key in ("centred", "epsilon", "passes")}
        return Step("ellipsoid", norm.inputs, linear.shape, settings, arrays, linear.layer)

    # Calls of several tensors, and those that move values

    def _attention(self, node: fx.Node, out: Any) -> list[int] | None:
        value, rest = node.args[2] if len(node.args) > 2 else node.kwargs.get("value"), node.args[3:]
        before = self.of.get(value) if isinstance(value, fx.Node) else None
        shape = example_of(out[0])
        if not isinstance(before, int) or shape is None:
            return None
        masked = bool(rest) or any(node.kwargs.get(key) is not None for key in ("key_padding_mask", "attn_mask"))
        x, module = self.steps[before].shape, self._module(node)
        found = attention(module, str(node.target), before, x, shape, self._add, masked=masked)
        weights = self._add(Step("unknown", (), layer=str(node.target)))
        return None if found is None else [found, weights]

    def _recurrent(self, node: fx.Node, out: Any) -> list[int] | None:
        """Its site is what comes out, 0 where its units are shut."""
        source, shape = node.args[0] if len(node.args) == 1 and not node.kwargs else None, example_of(out[0])
        before = self.of.get(source) if isinstance(source, fx.Node) else None
        if not isinstance(before, int) or shape is None:
            return None
        found = recurrent(self._module(node), str(node.target), before, self.steps[before].shape, shape, self._add)
        if found is None:
            return None
        calls = sum(label.partition("@")[0] == node.target for label in self.reads)
        self.reads[f"{node.target}@{calls}" if calls else str(node.target)] = "relu", found
        return [found, self._add(Step("unknown", (), layer=str(node.target)))]

    def _weighted(self, node: fx.Node, name: str, shape: Shape) -> int | None:
        """Attention written out: a product of softmax and values, or the call that does both."""
        called = name == "scaled_dot_product_attention"
        given = dict(zip(("query", "key", "value", "attn_mask", "dropout_p"), node.args, strict=False)) | node.kwargs
        value = given.get("value") if called else (node.args[1] if len(node.args) == 2 else None)
        before = self.of.get(value) if isinstance(value, fx.Node) else None
        if not isinstance(before, int) or not called and not self._sums_to_one(node.args[0]):
            return None
        x, p = self.steps[before].shape, given.get("dropout_p", 0.0) if called else 0.0
        fits = len(x) == len(shape) >= 2 and x[:-2] == shape[:-2] and x[-1] == shape[-1]
        if not fits or not isinstance(p, (int, float)) or not 0 <= p < 1:
            return None
        return weighted(before, x, shape, self._add, masked=called and given.get("attn_mask") is not None, p=float(p))

    def _sums_to_one(self, value: Any) -> bool:
        step = self.of.get(value) if isinstance(value, fx.Node) else None
        return isinstance(step, int) and self.steps[step].layer == SOFTMAX

    def _operand(self, value: Any) -> int | float | None:
        """A step, or a number."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, fx.Node):
            return None
        if value in self.tensors:
            name, tensor = self.tensors[value]
            if tensor.ndim == 0 or tensor.shape[0] != 1 or not tensor.dtype.is_floating_point:
                return None
            return self._add(Step("constant", (), tuple(tensor.shape[1:]), {}, {"value": array_of(name, tensor)}, name))
        found = self.of.get(value)
        return found if isinstance(found, int) and example_of(self.shapes.get(value.name)) is not None else None

    def _arithmetic(self, node: fx.Node, name: str, shape: Shape) -> int | None:
        if node.kwargs or name == "rsub":
            return None
        operands = [self._operand(value) for value in node.args]
        if any(o is None for o in operands) or len(operands) > 2:
            return None
        steps = [o for o in operands if isinstance(o, int)]
        numbers = [o for o in operands if isinstance(o, float)]
        # Without the batch axis, shapes of unequal length would be laid side by side wrongly.
        if not steps or any(len(self.steps[i].shape) != len(shape) for i in steps):
            return None
        settings: dict[str, Any] = {"coefficients": [1.0] * len(steps), "constant": 0.0}
        if name == "neg":
            settings["coefficients"] = [-1.0]
        elif name in _ADDITIONS:
            sign = _ADDITIONS[name]
            settings["coefficients"] = [s for s, o in zip(sign, operands, strict=True) if isinstance(o, int)]
            settings["constant"] = sum(s * o for s, o in zip(sign, operands, strict=True) if isinstance(o, float))
        elif len(steps) == 2:
            return None if "div" in name else self._add(Step("product", tuple(steps), shape, layer=name))
        elif "div" in name:
            if not isinstance(operands[1], float) or operands[1] == 0:
                return None
            settings["coefficients"] = [1.0 / numbers[0]]
        else:
            settings["coefficients"] = [numbers[0]]
        return self._add(Step("combine", tuple(steps), shape, settings, layer=name))

    def _cat(self, node: fx.Node, shape: Shape) -> int | None:
        parts = node.args[0] if node.args else node.kwargs.get("tensors")
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if not isinstance(parts, (tuple, list)) or not isinstance(axis, int):
            return None
        axis = axis % (len(shape) + 1) - 1
        found = [self.of.get(part) for part in parts if isinstance(part, fx.Node)]
        if axis < 0 or len(found) != len(parts) or not all(isinstance(i, int) for i in found):
            return None
        return self._add(Step("cat", tuple(found), shape, {"axis": axis}, layer="cat"))  # type: ignore[arg-type]

    def _permute(self, node: fx.Node, name: str, before: int, x: Shape, shape: Shape) -> int | None:
        rest: Any = node.args[1:]
        order = list(range(len(x) + 1))
        if name == "transpose" and len(rest) == 2 and all(isinstance(i, int) for i in rest):
            a, b = (int(i) % len(order) for i in rest)
            order[a], order[b] = order[b], order[a]
        elif name == "permute":
            dims = rest[0] if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest
            if len(dims) != len(order) or not all(isinstance(i, int) for i in dims):
                return None
            order = [int(i) % len(order) for i in dims]
        if order[0] != 0 or (name == "transpose" and order == sorted(order)):
            return None
        return self._add(Step("permute", (before,), shape, {"axes": [i - 1 for i in order[1:]]}, layer=name))

    def _mean(self, node: fx.Node, before: int, x: Shape, shape: Shape) -> int | None:
        """Over all positions of each channel: global average pooling."""
        dims: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        axes = [dims] if isinstance(dims, int) else dims
        if not isinstance(axes, (tuple, list)) or not all(isinstance(i, int) for i in axes):
            return None
        if sorted(int(i) % (len(x) + 1) for i in axes) != list(range(2, len(x) + 1)):
            return None
        kernel = list(x[1:])
        settings = {"kind": "mean", "kernel": kernel, "stride": kernel, "padding": [[0, 0]] * len(kernel)}
        pooled = self._add(Step("pool", (before,), (x[0], *(1,) * len(kernel)), settings, layer="mean"))
        return self._add(Step("reshape", (pooled,), shape, layer="mean"))

    def _getitem(self, before: int, index: Any, x: Shape, shape: Shape) -> int | None:
        parts = index if isinstance(index, tuple) else (index,)
        if not parts or parts[0] != slice(None) or len(parts) > len(x) + 1:
            return None
        for axis, part in enumerate(parts[1:]):
            size = x[axis]
            if isinstance(part, int):
                start = part % size
                stop, step = start + 1, 1
            elif isinstance(part, slice) and all(isinstance(v, (int, type(None))) for v in (part.start, part.stop)):
                start, stop, step = part.indices(size)
            else:
                return None
            if step != 1 or stop <= start:
                return None
            if (start, stop) != (0, size):
                inner = self.steps[before].shape
                cut = (*inner[:axis], stop - start, *inner[axis + 1 :])
                settings = {"axis": axis, "start": start, "stop": stop}
                before = self._add(Step("slice", (before,), cut, settings, layer="getitem"))
        return before if shape == x else self._add(Step("reshape", (before,), shape, layer="getitem"))

    def _split(self, node: fx.Node, out: Any) -> list[int] | None:
        source = node.args[0] if node.args else None
        before = self.of.get(source) if isinstance(source, fx.Node) else None
        shapes = [example_of(part) for part in out]
        if bare(node) not in ("chunk", "split") or not isinstance(before, int) or None in shapes:
            return None
        x = self.steps[before].shape
        axes = [d for d in range(len(x)) if any(s is None or s[d] != x[d] for s in shapes)]
        if len(axes) != 1 or sum(s[axes[0]] for s in shapes if s) != x[axes[0]]:
            return None
        found, start = [], 0
        for shape in shapes:
            assert shape is not None
            settings = {"axis": axes[0], "start": start, "stop": start + shape[axes[0]]}
            found.append(self._add(Step("slice", (before,), shape, settings, layer=say(node))))
            start += shape[axes[0]]
        return found
