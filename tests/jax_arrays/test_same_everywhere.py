"""The same names, signatures, defaults and docstrings in NumPy, PyTorch and JAX."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import rectifier
import rectifier.jax as rj
import rectifier.torch as rt
from tests.jax_arrays.shared import NAMES


def test_the_family_is_there_and_nothing_else() -> None:
    assert (
        set(rj.__all__) - {"leaky_average"}
        == set(NAMES)
        == {name for name, row in rectifier.family.items() if not row.comparison}
    )
    assert {"nnx", "equinox"} <= set(dir(rj))
    with pytest.raises(AttributeError, match=r"^module 'rectifier.jax' has no attribute 'linen'$"):
        _ = rj.linen


def signature(function: Any, without: set[str]) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters if p.name not in without]


@pytest.mark.parametrize("name", NAMES)
def test_signatures_and_defaults(name: str) -> None:
    # JAX's arrays cannot be written to.
    assert signature(getattr(rj, name), set()) == signature(getattr(rt, name), {"inplace"})
    # NumPy's has the derivative's parameter in its derivative, and what is NumPy's.
    of_value = signature(getattr(rj, name), {"save", "at_zero"})
    assert of_value == signature(getattr(rectifier, name), {"out", "where"})
    row = rectifier.family[name]
    defaults = {p.name: inspect.Parameter.empty if p.default is None else p.default for p in row.parameters}
    assert {n: default for n, _, default in signature(getattr(rj, name), {"x", "save"})} == defaults


def words(function: Any) -> dict[str, str]:
    """A docstring by its parts: what the function is, its derivative, each argument, what it returns, its source."""
    text = inspect.getdoc(function) or ""
    text, _, _ = text.partition("\n>>>")
    text = re.sub(r"\n +", " ", text)
    text = text.replace("a tensor", "an array").replace("of any shape and device", "of any shape")
    lines = [line for line in text.splitlines() if line]
    found = {"what": lines[0], "derivative": lines[1]}
    for line in lines[2:]:
        key, _, rest = line.partition(":" if line.split()[0] not in ("Returns",) else " ")
        found[key] = rest
    found.pop("inplace", None)
    # Where the gradient is asked of the array, and where layers have their channels, the frameworks differ.
    if "negative_slope" in found:
        found["negative_slope"] = found["negative_slope"].partition(" by the usual rule")[0].partition(";")[0]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_docstrings(name: str) -> None:
    ours = words(getattr(rj, name))
    assert ours == words(getattr(rt, name))
    assert {"what", "derivative", "x", "Source"} <= ours.keys()
    assert rectifier.family[name].title in ours["what"]
