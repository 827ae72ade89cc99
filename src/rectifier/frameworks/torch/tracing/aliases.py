"""What is changed in place in a traced graph, and which other tensors change with it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from torch import fx, nn

from ....errors import RectifierValueError

__all__ = ["Memory", "Strict", "changed"]

#: Operators that change their first argument.
IN_PLACE = frozenset(
    f"i{name}" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
)


class Strict(fx.Proxy):
    """A traced tensor that loses nothing of what is done to it in place.

    Of itself ``torch.fx`` takes ``z += y`` for ``z = z + y``, and loses that every view of z changes with it; what is
    set on a tensor (``z.data = …``) it loses without a trace.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("node", "tracer"):
            raise RectifierValueError(f"`{name}` is set on a tensor")
        super().__setattr__(name, value)


def _in_place(name: str) -> Callable[[Strict, Any], fx.Proxy]:
    def method(self: Strict, other: Any) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", getattr(operator, name), (self, other), {})

    return method


for _name in IN_PLACE:
    setattr(Strict, f"__{_name}__", _in_place(_name))


class Memory:
    """Which nodes may lie in the same memory: a change of one in place is a change of all of them."""

    def __init__(self) -> None:
        self._of: dict[fx.Node, set[fx.Node]] = {}

    def join(self, one: fx.Node, other: fx.Node) -> None:
        both = self.mates(one) | self.mates(other)
        self._of.update(dict.fromkeys(both, both))

    def mates(self, node: fx.Node) -> set[fx.Node]:
        """All of them, and the node itself."""
        return self._of.get(node, {node})


def changed(node: fx.Node, model: nn.Module) -> tuple[fx.Node | None, bool]:
    """The tensor that a node changes in place, as its name and arguments tell, and whether it does for sure."""
    first = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
    if node.op == "call_module":
        return (first if getattr(model.get_submodule(str(node.target)), "inplace", False) else None), True
    if node.op not in ("call_function", "call_method"):
        return None, False
    name = str(node.target) if node.op == "call_method" else str(getattr(node.target, "__name__", node.target))
    target = node.kwargs.get("out")
    if isinstance(target, fx.Node):
        return target, True
    in_place = name in IN_PLACE or (name.endswith("_") and not name.startswith("_"))
    if in_place or name == "setitem" or node.kwargs.get("inplace", False):
        return first, name != "setitem"
    # F.relu(x, True), F.dropout(x, p, training, True): which flag it is depends on the call
    return (first if any(arg is True for arg in node.args[1:]) else None), False
