"""Looking inside a compiled module: its graph is compiled once more with the counting in it, and without a break.

``torch.compile`` hands the graph that Dynamo traced to its backend. While a model is watched another backend stands
before it: it finds the rectifiers in the graph, puts after each a call that adds to tensors of this process, which the
graph gets as further inputs, and hands the result to the model's own backend. The original is put back afterwards, and
what it had compiled is used again.
"""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from ....checkup.flat import levels
from ..sites import identify, identify_call
from .flat import identify_flat, identify_flat_call
from .kinds import has_weights, is_norm, unit_axis
from .provenance import Origin, Origins, name_of
from .spellings import spelled
from .tally import SiteTally

if TYPE_CHECKING:
    from .observe import Observer

__all__ = ["Inside", "look_inside"]


def look_inside(observer: Observer, name: str, module: nn.Module) -> Inside | None:
    """Count inside of what ``torch.compile(module)`` made; None where this PyTorch does not let it."""
    try:
        from torch._dynamo.eval_frame import innermost_backend

        context: Any = module.dynamo_ctx
        backend = innermost_backend(context.callback)
        given = {"fullgraph": bool(context.fullgraph), "dynamic": context._dynamic}
        return Inside(observer, name, module, backend, given)
    except (ImportError, AttributeError):
        return None


@dataclass
class _Counts:
    """What one site adds to: O(units) numbers on its device."""

    counts: torch.Tensor
    """fired, NaN, infinite, on the lower and on the upper flat part; (5, units)."""
    few: torch.Tensor
    """examples, inputs, values of h that are not finite; (3,)."""
    sums: torch.Tensor
    """Σh, Σ|h|, smallest z, −(largest z); (4, units)."""
    square: torch.Tensor

    @classmethod
    def make(cls, units: int, device: torch.device) -> _Counts:
        made = cls(
            torch.zeros(5, units, dtype=torch.int64, device=device),
            torch.zeros(3, dtype=torch.int64, device=device),
            torch.zeros(4, units, dtype=torch.float64, device=device),
            torch.zeros(1, dtype=torch.float64, device=device),
        )
        made.clear()
        return made

    def clear(self) -> None:
        self.counts.zero_()
        self.few.zero_()
        self.sums.zero_()
        self.sums[2:].fill_(torch.inf)
        self.square.zero_()

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return self.counts, self.few, self.sums, self.square


def _see_input(counts: Any, few: Any, sums: Any, z: Any, axis: int, low: float | None, high: float | None) -> None:
    """Runs in the graph."""
    z = z.detach().movedim(axis, -1)
    rows = z.shape[0] if z.ndim > 1 else 1
    z = z.reshape(-1, z.shape[-1])
    nan = torch.isnan(z)
    never = torch.zeros_like(nan)
    below = never if low is None else z <= low
    above = never if high is None else z >= high
    counts.add_(torch.stack([mask.sum(dim=0) for mask in (z > 0, nan, torch.isinf(z), below, above)]))
    few[0].add_(z.shape[0])
    few[1].add_(rows)
    smallest = z.masked_fill(nan, torch.inf).amin(dim=0).to(torch.float64)
    largest = z.masked_fill(nan, -torch.inf).amax(dim=0).to(torch.float64)
    sums[2].copy_(torch.minimum(sums[2], smallest))
    sums[3].copy_(torch.minimum(sums[3], -largest))


def _see_output(few: Any, sums: Any, square: Any, h: Any, axis: int) -> None:
    """Runs in the graph."""
    h = h.detach().movedim(axis, -1)
    h = h.reshape(-1, h.shape[-1])
    unbounded = ~torch.isfinite(h)
    h = h.masked_fill(unbounded, 0).to(torch.float64)
    few[2].add_(unbounded.sum())
    sums[0].add_(h.sum(dim=0))
    sums[1].add_(h.abs().sum(dim=0))
    square.add_(h.square().sum())


@dataclass(frozen=True)
class _Found:
    """A rectifier in a graph."""

    node: fx.Node
    z: fx.Node
    site: str
    row: str
    parameters: dict[str, Any]
    origin: Origin
    axis: int
    units: int
    device: torch.device


class Inside:
    """One compiled module, with its graphs counted while it is watched."""

    def __init__(
        self, observer: Observer, name: str, module: nn.Module, backend: Callable[..., Any], given: dict[str, Any]
    ) -> None:
        self.observer, self.name, self.module, self._backend = observer, name, module, backend
        self._plain: Any = module.forward
        self._counts: dict[str, tuple[_Found, _Counts]] = {}
        self._labels: Counter[str] = Counter()
        self._names: dict[tuple[str, str, int], str] = {}
        inner: nn.Module = module._orig_mod  # type: ignore[assignment]
        self.inner = {f"{name}.{part}" if name and part else name or part: m for part, m in inner.named_modules()}
        self._by_id = {str(id(m)): part for part, m in self.inner.items()}
        # PyTorch's own: Lightning puts one in its place that copies all arguments, a backend's observer too.
        compiled: Any = inspect.unwrap(torch.compile)(inner, backend=self._compile, **given)
        self._counted: Any = compiled.forward

    def install(self) -> None:
        self.module.forward = self._forward

    def remove(self) -> None:
        self.module.forward = self._plain

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        return (self._counted if self.observer._looking else self._plain)(*args, **kwargs)

    # Compiling

    def _compile(self, graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
        """The backend that stands before the model's own."""
        try:
            found = _Reader(self, graph).found(inputs)
            changed, extra = self._with_counts(graph, found)
        except Exception as error:  # anything may be in a graph; the model must run all the same
            self._refuse(error)
            return self._backend(graph, inputs)
        if not extra:
            return self._backend(graph, inputs)
        mode = torch._guards.detect_fake_mode(inputs)
        shown = extra if mode is None else [mode.from_tensor(tensor, static_shapes=True) for tensor in extra]
        try:
            compiled = self._backend(changed, [*inputs, *shown])
        except Exception as error:
            for one in found:
                self._counts.pop(one.site, None)
                self.observer.sites.pop(one.site, None)
            self._refuse(error)
            return self._backend(graph, inputs)
        return lambda *args: compiled(*args, *extra)

    def _refuse(self, error: Exception) -> None:
        what = self.name or type(self.module._orig_mod).__name__
        line = str(error).strip().partition("\n")[0]
        self.observer._note(f"{what}: compiled, its inside cannot be seen ({type(error).__name__}: {line})")

    def _with_counts(self, graph: fx.GraphModule, found: Sequence[_Found]) -> tuple[fx.GraphModule, list[torch.Tensor]]:
        """A copy of the graph that counts, and the tensors that it takes besides its inputs."""
        changed = copy.copy(graph)
        changed.graph = fx.Graph()
        copied: dict[fx.Node, fx.Node] = {}
        changed.graph.output(changed.graph.graph_copy(graph.graph, copied))
        for node, twin in copied.items():
            if hasattr(node, "_dynamo_source"):
                twin._dynamo_source = node._dynamo_source
        extra: list[torch.Tensor] = []
        last = [node for node in changed.graph.nodes if node.op == "placeholder"][-1]
        for one in found:
            counts = self._of(one)
            nodes = []
            for tensor in counts.tensors:
                with changed.graph.inserting_after(last):
                    last = changed.graph.placeholder(f"rectifier_{len(extra)}")
                last._dynamo_source = None
                last.meta["tensor_dict"] = {"_dynamo_static_input_type": "unguarded"}
                last.meta["example_value"] = tensor
                nodes.append(last)
                extra.append(tensor)
            low, high = levels(one.row, _numbers(one.parameters))
            z, h = copied[one.z], copied[one.node]
            with changed.graph.inserting_before(h):  # it may write into its input
                changed.graph.call_function(_see_input, (*nodes[:3], z, one.axis, low, high))
            with changed.graph.inserting_after(h):
                changed.graph.call_function(_see_output, (*nodes[1:], h, one.axis))
        changed.recompile()
        return changed, extra

    def _of(self, one: _Found) -> _Counts:
        known = self._counts.get(one.site)
        if known is None:
            known = one, _Counts.make(one.units, one.device)
            self._counts[one.site] = known
            self._tally(one)
        return known[1]

    def _tally(self, one: _Found) -> SiteTally:
        past = one.origin
        made = SiteTally(one.row, one.parameters, past.layer, past.norm, None, one.axis, one.units, one.device)
        made.on_input = False
        return self.observer.sites.setdefault(one.site, made)

    def name_for(self, label: str, where: str, turn: int, *, call: bool) -> str:
        """The same call has the same name, however often its code is compiled."""
        key = (label, where, turn)
        if key not in self._names:
            n = self._labels[label]
            self._labels[label] += 1
            self._names[key] = f"{label}#{n}" if call else label if n == 0 else f"{label}@{n}"
        return self._names[key]

    # Reading

    def collect(self) -> None:
        """Put what was counted into the observer's tallies, and start anew. One wait for the device."""
        if not self._counts:
            return
        few = torch.stack([counts.few.to("cpu", non_blocking=True) for _, counts in self._counts.values()]).tolist()
        for (one, counts), (examples, inputs, unbounded) in zip(self._counts.values(), few, strict=True):
            if not examples:
                continue
            tally = self._tally(one)
            tally.examples += examples
            tally.looked += examples
            tally.inputs += inputs
            sums = tally.sums
            sums["unbounded_h"] += unbounded
            for key, row in (("fired", 0), ("nan", 1), ("infinite", 2)):
                sums[key] += counts.counts[row]
            for key, row, end in zip(("flat_low", "flat_high"), (3, 4), levels(one.row, {}), strict=True):
                if end is not None:
                    sums[key] = counts.counts[row] + sums.get(key, 0)
            for key, row in (("sum_h", 0), ("sum_abs_h", 1)):
                sums[key] += counts.sums[row]
            sums["min_z"] = torch.minimum(sums["min_z"], counts.sums[2])
            sums["max_z"] = torch.maximum(sums["max_z"], -counts.sums[3])
            sums["square_h"] += counts.square
            counts.clear()


def _numbers(parameters: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in parameters.items() if isinstance(value, (int, float))}


class _Reader(fx.Interpreter):
    """Runs a graph on shapes alone, and follows where its values come from, as the observer does in an eager run."""

    def __init__(self, inside: Inside, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self._inside, self._origins = inside, Origins()
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[torch.Tensor] = []
        self._turns: Counter[tuple[str, str]] = Counter()
        self._found: list[_Found] = []
        self._current: fx.Node | None = None

    def found(self, inputs: Sequence[Any]) -> list[_Found]:
        mode = torch._guards.detect_fake_mode(inputs)
        if mode is None:
            return []
        shown = [mode.from_tensor(value) if isinstance(value, torch.Tensor) else value for value in inputs]
        with mode, torch.no_grad(), torch.random.fork_rng(devices=[]):
            # copies: a graph may write into its inputs
            self.run(*(value.clone() if isinstance(value, torch.Tensor) else value for value in shown))
        return self._found

    def run_node(self, n: fx.Node) -> Any:
        self._current = n
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self._nodes.setdefault(id(result), n)
            self._kept.append(result)  # or another would get its id
        if n.op == "get_attr" and isinstance(result, fx.GraphModule):
            self._inside.observer._note(
                f"{self._inside.name or 'the model'}: a part of its compiled graph is computed again or chosen as it "
                "runs (checkpoint, cond); not observed"
            )
        return result

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.call_function(getattr(torch.Tensor, target), args, kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        node = self._current
        assert node is not None
        z = args[0] if args else kwargs.get("input")
        past = self._origins[z] if isinstance(z, torch.Tensor) else Origin()
        found = identify_call(target, args, kwargs) or identify_flat_call(target, args, kwargs)
        place = self._module(node)
        module = self._inside.inner.get(place)
        if found is None and module is not None and (own := identify(module) or identify_flat(module)):
            found = own if name_of(target).startswith(own[0][:4]) else None
        if found is None:
            other = spelled(target, name_of(target), args, kwargs, self._origins)
            if isinstance(other, tuple) and other[3] is None:
                found, z = other[:2], other[2]
            elif other:
                self._inside.observer._spelled(name_of(target))
        if found is not None and isinstance(z, torch.Tensor):
            self._site(node, place, module, found, z, past)
        result = self._origins.call(target, args, kwargs)
        if isinstance(result, torch.Tensor) and module is not None and self._origins[result].made:
            self._made(place, module, past, result)
        return result

    def _made(self, place: str, module: nn.Module, past: Origin, result: torch.Tensor) -> None:
        now = self._origins[result]
        if has_weights(module):
            self._origins[result] = Origin(layer=place, axis=now.axis)
        elif is_norm(module) and past.norm is None and past.axis == now.axis:
            self._origins[result] = Origin(layer=past.layer, norm=place, axis=now.axis)

    def _module(self, node: fx.Node) -> str:
        """Name of the innermost module that the call is in."""
        stack = node.meta.get("nn_module_stack") or {}
        last = next(reversed(stack), "").partition("@")[0] if stack else ""
        return self._inside._by_id.get(last, self._inside.name)

    def _site(
        self, node: fx.Node, place: str, module: nn.Module | None, found: Any, z: torch.Tensor, past: Origin
    ) -> None:
        row, parameters = found
        at = self._nodes.get(id(z))
        own = module is not None and (identify(module) or identify_flat(module)) is not None
        label = (place or type(module).__name__) if own else f"{place}.{row}" if place else row
        where = node.stack_trace or ""
        turn = self._turns[label, where]
        self._turns[label, where] += 1
        if at is None or z.ndim == 0 or not z.is_floating_point():
            return
        axis, guessed = unit_axis(z, past.axis)
        site = self._inside.name_for(label, where, turn, call=not own)
        units = z.shape[axis]
        if not isinstance(units, int):
            self._inside.observer._note(f"{site}: the number of its units changes from call to call; not observed")
            return
        if guessed:
            self._inside.observer._note(f"the unit axis of {site} was guessed: axis {axis} of a {z.ndim}-D tensor")
        numbers = _numbers(parameters)
        self._found.append(_Found(node, at, site, row, numbers, past, axis, units, z.device))
