"""Elu, Selu and Celu of standard operators: right near 0, and NaN, ±∞ and ±0 as they should be.

For z ≤ 0 the operators have to come to eᶻ − 1, whose digits cancel near 0. There is no such operator, so:

- In float64, for a result of float32 or fewer digits: Exp(z) − 1, and z itself from −2⁻²⁵ on. Where they meet, z is off
  by a quarter of a unit in float32's last place at most, and the difference by an eighth.
- For a result of as many digits as are computed in: 2t/(1 − t) with t = Tanh(z/2), which cancels nowhere, and z itself
  where it differs by half its last place at most, as Tanh may lose the digits of subnormal numbers.

Both are Where(z < cut, …, x): a NaN and a −0 compare false, and so come through as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, helper

from .._family import SELU_ALPHA, SELU_SCALE

__all__ = ["LIKE_OPSET", "MINIMAL_OPSET", "OPERATORS", "composition"]

OPERATORS = frozenset({"Elu", "Selu", "Celu"})
#: The first opset with Where, and with CastLike, which a type that is not known needs.
MINIMAL_OPSET, LIKE_OPSET = 9, 15

_DEFAULTS = {
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
}

Factors = tuple["float | str", ...]
"""What is multiplied: numbers, and names of attributes of the function that the node is in."""


def composition(node: NodeProto, kind: int | None, wide: int, fresh: Callable[[str], str]) -> list[NodeProto]:
    """The nodes that take the place of an Elu, Selu or Celu, from its input to its output.

    kind: the type of its input as ``TensorProto`` numbers it, None where that is not known. wide: the type to compute
    in, FLOAT or DOUBLE. fresh: makes a name that nothing else in the model has.
    """
    build = _Builder(node, wide, fresh)
    inner, outer, below, above = _scales(node)
    x = node.input[0]
    v = x if kind == wide else build.add("Cast", x, to=wide)
    z = v if inner == (1.0,) else build.add("Div", v, build.product(inner))
    if wide == TensorProto.DOUBLE and kind not in (None, wide):
        cut = -(2.0**-25)
        curve = build.add("Sub", build.add("Exp", z), build.constant(1.0))
    else:
        cut = -(2.0**-24) if wide == TensorProto.FLOAT else -(2.0**-53)
        t = build.add("Tanh", build.add("Mul", z, build.constant(0.5)))
        curve = build.add("Div", build.add("Add", t, t), build.add("Sub", build.constant(1.0), t))
    if outer != (1.0,):
        curve = build.add("Mul", curve, build.product(outer))
    line = v
    if below != above:
        negative = build.add("Less", v, build.constant(0.0))
        line = build.add("Mul", v, build.add("Where", negative, build.product(below), build.product(above)))
    chosen = build.add("Where", build.add("Less", z, build.constant(cut)), curve, line)
    if kind is None:
        build.add("CastLike", chosen, x)
    elif kind != wide:
        build.add("Cast", chosen, to=kind)
    build.nodes[-1].output[0] = node.output[0]
    return build.nodes


def _scales(node: NodeProto) -> tuple[Factors, Factors, Factors, Factors]:
    """What z is divided by, and what eᶻ − 1, a negative and a positive z are multiplied by."""
    given = {a.name: a.ref_attr_name or a.f for a in node.attribute}
    alpha: float | str = given.get("alpha", _DEFAULTS[node.op_type]["alpha"])
    if node.op_type == "Celu":
        return (alpha,), (alpha,), (1.0,), (1.0,)
    if node.op_type == "Elu":
        return (1.0,), (alpha,), (alpha,), (1.0,)
    gamma: float | str = given.get("gamma", _DEFAULTS["Selu"]["gamma"])
    # The definition's constants, where the attributes are what is left of them in float32.
    if (alpha, gamma) == tuple(_DEFAULTS["Selu"].values()):
        alpha, gamma = SELU_ALPHA, SELU_SCALE
    return (1.0,), (gamma, alpha), (gamma, alpha), (gamma,)


class _Builder:
    """Makes nodes, each with one output of a fresh name."""

    def __init__(self, node: NodeProto, wide: int, fresh: Callable[[str], str]) -> None:
        self.nodes: list[NodeProto] = []
        self._stem = f"{node.output[0]}/{node.op_type}"
        self._wide = wide
        self._fresh = fresh

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = self._fresh(f"{self._stem}/{operator}")
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, number: float) -> str:
        tensor = helper.make_tensor("", self._wide, [], [number])
        return self.add("Constant", value=tensor)

    def product(self, factors: Factors) -> str:
        """A number of the type that is computed in."""
        number = math.prod(f for f in factors if not isinstance(f, str))
        names = [f for f in factors if isinstance(f, str)]
        product = self.constant(number) if number != 1.0 or not names else None
        for name in names:
            single = self.add("Constant")
            attribute = AttributeProto(name="value_float", type=AttributeProto.FLOAT, ref_attr_name=name)
            self.nodes[-1].attribute.append(attribute)
            factor = self.add("Cast", single, to=self._wide)
            product = factor if product is None else self.add("Mul", product, factor)
        assert product is not None
        return product
