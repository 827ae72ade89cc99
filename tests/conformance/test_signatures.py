"""Every public function has the same parameters, defaults and words in every framework.

The sources are read, not imported: TensorFlow and PyTorch's compiler do not bear each other in one process.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import rectifier

FRAMEWORKS = Path(rectifier.__file__).parent / "frameworks"
#: Where each framework's functions are, and the parameters that only it has.
OWN: dict[str, set[str]] = {"torch": {"inplace", "save"}, "jax": {"save"}, "tensorflow": {"save"}, "keras": {"save"}}
#: What is said of x where it is more than one framework's: Keras takes its backend's arrays and its own symbols.
PECULIAR = {"keras": {"x"}}
FAMILY = [name for name, row in rectifier.family.items() if not row.comparison]


def _functions(framework: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((FRAMEWORKS / framework / "ops.py").read_text(encoding="utf-8"))
    average = ast.parse((FRAMEWORKS / framework / "leaky.py").read_text(encoding="utf-8"))
    return {node.name: node for node in [*tree.body, *average.body] if isinstance(node, ast.FunctionDef)}


def _parameters(function: ast.FunctionDef, own: set[str]) -> list[tuple[str, str, str | None]]:
    """Kind, name and default of each parameter that is no framework's own."""
    arguments = function.args
    plain = [*[("positional", a) for a in arguments.posonlyargs], *[("either", a) for a in arguments.args]]
    without = len(plain) - len(arguments.defaults)
    found: list[tuple[str, str, str | None]] = []
    for place, (kind, argument) in enumerate(plain):
        default = ast.unparse(arguments.defaults[place - without]) if place >= without else None
        found.append((kind, argument.arg, default))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(("by name", argument.arg, None if value is None else ast.unparse(value)))
    return [parameter for parameter in found if parameter[1] not in own]


def _words(function: ast.FunctionDef, own: set[str]) -> list[str]:
    """The docstring without its example and what is said of a framework's own parameters, one string an entry."""
    text = (ast.get_docstring(function) or "").partition(">>>")[0]
    text = text.replace(" of any shape and device", " of any shape")
    text = re.sub(r"\ba tensor\b", "an array", text)
    text = re.sub(r"\n +", " ", text)  # an entry goes on
    return [entry for entry in text.split("\n") if entry and entry.partition(":")[0] not in own]


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("framework", [framework for framework in OWN if framework != "torch"])
def test_parameters_and_words_are_those_of_pytorch(framework: str, name: str) -> None:
    ours, theirs = _functions("torch")[name], _functions(framework)[name]
    assert _parameters(theirs, OWN[framework]) == _parameters(ours, OWN["torch"])
    peculiar = PECULIAR.get(framework, set())
    assert _words(theirs, OWN[framework] | peculiar) == _words(ours, OWN["torch"] | peculiar)


@pytest.mark.parametrize("framework", OWN)
def test_each_framework_has_every_function(framework: str) -> None:
    assert {*FAMILY, "leaky_average"} <= set(_functions(framework))


@pytest.mark.parametrize("framework", OWN)
def test_the_leaky_average_has_the_same_parameters(framework: str) -> None:
    of_numpy = [
        (name, None if parameter.default is inspect.Parameter.empty else parameter.default)
        for name, parameter in inspect.signature(rectifier.leaky_average).parameters.items()
        if name != "out"
    ]
    found = _parameters(_functions(framework)["leaky_average"], OWN[framework])
    assert [(name, None if default is None else ast.literal_eval(default)) for _, name, default in found] == of_numpy


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("framework", OWN)
def test_parameters_are_those_of_numpy(framework: str, name: str) -> None:
    """In NumPy those of the derivative alone are the derivative's, so the row is what both are held to."""
    row = rectifier.family[name]
    expected = [(p.name, p.default) for p in row.parameters]
    found = _parameters(_functions(framework)[name], OWN[framework])[1:]
    assert [(n, None if default is None else ast.literal_eval(default)) for _, n, default in found] == expected
    of_value = [p.name for p in row.parameters if p.of == "value"]
    function = getattr(rectifier, name)
    assert list(inspect.signature(function).parameters) == ["x", *of_value, "out", "where"]
    # The same paper is named, and what NumPy's text says of the defaults is what the row has.
    source = _words(_functions(framework)[name], set())[-1]
    assert source.startswith("Source: ")
    for year in re.findall(r"\b(?:19|20)\d\d\b", source):
        assert year in function.__doc__
    for identifier in re.findall(r"arXiv:[\d.]*\d", source):
        assert identifier in function.__doc__


def _layers(room: str) -> dict[str, dict[str, str | None]]:
    """Layer → the names and defaults of its parameters."""
    tree = ast.parse((FRAMEWORKS.parent / room / "_layers.py").read_text(encoding="utf-8"))
    constants = {ast.unparse(n.targets[0]): ast.unparse(n.value) for n in tree.body if isinstance(n, ast.Assign)}
    found = {}
    for layer in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for method in layer.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                # A default in Left(…) is the same number, told from one that was given.
                found[layer.name] = {
                    name: default and re.sub(r"^\w+\((.*)\)$", r"\1", constants.get(default, default))
                    for _, name, default in _parameters(method, {"self"})
                }
    return found


@pytest.mark.parametrize("name", [row.layer for row in rectifier.family.values() if row.layer])
def test_layers_have_the_parameters_of_their_row(name: str) -> None:
    """Beside what each takes over from the framework's own layer of that name."""
    row = next(row for row in rectifier.family.values() if row.layer == name)
    for room in ("torch", "keras"):
        given = _layers(room).get(name, {})
        for parameter in row.parameters:
            if name == "PReLU":  # learned: where it starts is "init" in PyTorch, an initializer in Keras
                continue
            assert parameter.name in given, room
            assert given[parameter.name] == str(parameter.default), room
