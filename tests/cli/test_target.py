"""TARGET: every way in which a target can be wrong, and the whole text that is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.cli import target
from rectifier.errors import TargetError

Write = Callable[[str, str], Path]
Run = Callable[..., Any]
FORM = "package.module:function or path/to/file.py:function"
RESULT = "(model, batches) or (model, batches, loss)"


def said(text: str) -> str:
    with pytest.raises(TargetError) as caught:
        target.call(target.find(text), text)
    assert len(caught.value.args) == 1
    return str(caught.value)


def test_a_function_of_a_file_and_of_a_module_is_found(write: Write) -> None:
    write("patient.py", "def build():\n    return 'model', [1, 2]\n")
    for text in ("patient.py:build", "./patient.py:build", "patient:build"):
        subject = target.call(target.find(text), text)
        assert (subject.model, subject.batches, subject.loss) == ("model", [1, 2], None)


def test_a_function_of_a_package_and_a_method_are_found(write: Write, folder: Path) -> None:
    (folder / "pack").mkdir()
    write("pack/__init__.py", "")
    write("pack/inner.py", "class Maker:\n    @staticmethod\n    def build(n=1):\n        return [1, [2], len]\n")
    subject = target.call(target.find("pack.inner:Maker.build"), "pack.inner:Maker.build")
    assert subject.loss is len


def test_a_file_may_import_its_neighbours(write: Write, folder: Path) -> None:
    (folder / "sub").mkdir()
    write("sub/neighbour_of_it.py", "VALUE = 7\n")
    write("sub/it.py", "from neighbour_of_it import VALUE\ndef build():\n    return VALUE, []\n")
    assert target.call(target.find("sub/it.py:build"), "").model == 7


def test_a_file_named_like_a_module_does_not_replace_it(write: Write) -> None:
    import json

    write("json.py", "def build():\n    return 1, []\n")
    assert target.call(target.find("json.py:build"), "").model == 1
    import json as again

    assert again is json


def test_what_the_target_prints_goes_to_standard_error(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("loud.py", "print('importing')\ndef build():\n    print('building')\n    return 1, []\n")
    target.call(target.find("loud.py:build"), "")
    assert capsys.readouterr() == ("", "importing\nbuilding\n")


@pytest.mark.parametrize(
    ("text", "example"),
    [
        ("patient.py", "patient.py:build"),
        ("patient:", "patient:build"),
        (":", "train.py:build"),
        ("", "train.py:build"),
    ],
)
def test_a_target_without_function(folder: Path, text: str, example: str) -> None:
    assert said(text) == (
        f"check: `TARGET` must be {FORM}; got {text!r}. Name the function after a colon, as in {example}."
    )


def test_a_target_that_is_weights(folder: Path) -> None:
    assert said("run:7/model.safetensors") == (
        f"check: `TARGET` must be {FORM}; got the weights 'run:7/model.safetensors'. "
        "Name a function that makes the model and loads them, as in train.py:build."
    )


def test_a_file_that_is_not_there(write: Write, folder: Path) -> None:
    start = "check: `TARGET` must name a Python file that exists; got "
    assert said("patient.py:build") == f"{start}'patient.py': there is none. Check the path."
    write("patients.py", "")
    assert said("patient.py:build") == f"{start}'patient.py': there is none. Did you mean 'patients.py'?"
    (folder / "folder.py").mkdir()
    assert said("folder.py:build") == f"{start}'folder.py': it is a folder. Check the path."
    assert said("no/where.py:build") == f"{start}'no/where.py': there is none. Check the path."


def test_a_file_that_is_not_python(write: Write) -> None:
    write("a.txt", "")
    assert said("./a.txt:build") == (
        "check: `TARGET` must name a Python file; got 'a.txt'. Give it a name that ends in .py."
    )


def test_a_name_that_no_module_can_have(folder: Path) -> None:
    assert said("my-model:build") == (
        f"check: `TARGET` must be {FORM}; 'my-model' is neither a module's name nor a file that ends in .py. "
        "Check the spelling."
    )


def test_a_module_that_is_not_there(write: Write, folder: Path) -> None:
    start = "check: `TARGET` must name a module that can be imported; there is no module "
    where = "Modules are looked for in the current directory and where Python finds packages."
    assert said("wholly_unknown:build") == f"{start}'wholly_unknown'. {where}"
    write("patients_of_mine.py", "")
    assert said("patient_of_mine:build") == f"{start}'patient_of_mine'. Did you mean 'patients_of_mine'?"
    (folder / "pack").mkdir()
    write("pack/__init__.py", "")
    write("pack/trainer.py", "")
    assert said("pack.trainre:build") == f"{start}'pack.trainre'. Did you mean 'trainer'?"
    assert said("pakc.trainer:build") == f"{start}'pakc' (of 'pakc.trainer'). Did you mean 'pack'?"


def test_a_module_that_cannot_be_imported(write: Write, folder: Path) -> None:
    path = write("broken.py", "import wholly_unknown\n")
    trace = (
        "Traceback (your frames only; --debug prints all):\n"
        f'  File "{path}", line 1, in <module>\n'
        "    import wholly_unknown\n"
        "ModuleNotFoundError: No module named 'wholly_unknown'"
    )
    assert said("broken:build") == f"check: broken could not be imported.\n{trace}"
    write("leaves.py", "raise SystemExit(0)\n")
    assert said("leaves.py:build").endswith("raise SystemExit(0)\nSystemExit: 0")


def test_a_file_with_a_syntax_error(write: Write) -> None:
    path = write("syntax.py", "def build(:\n")
    assert said("syntax.py:build") == (
        "check: syntax.py could not be imported.\n"
        f'  File "{path}", line 1\n'
        "    def build(:\n"
        "              ^\n"
        "SyntaxError: invalid syntax"
    )


def test_a_function_that_is_not_there(write: Write) -> None:
    write("patient.py", "def build():\n    pass\nclass Maker:\n    pass\n")
    start = "check: `TARGET` must name a function of patient.py; it has no "
    assert said("patient.py:biuld") == f"{start}'biuld'. Did you mean 'build'?"
    assert said("patient.py:zzz") == f"{start}'zzz'. Check the function's name."
    assert said("patient.py:Maker.build") == f"{start}'build'. Check the function's name."


def test_what_is_not_a_function(write: Write) -> None:
    write("patient.py", "model = [1]\nnothing = None\n")
    start = "check: `TARGET` must name a function; "
    cure = f"Write a function that returns {RESULT}."
    assert said("patient.py:model") == f"{start}patient.py:model is a list. {cure}"
    assert said("patient.py:nothing") == f"{start}patient.py:nothing is None. {cure}"


def test_a_function_that_needs_arguments(write: Write) -> None:
    write("patient.py", "def one(width, *rest, depth=1, **more):\n    pass\ndef two(width, *, depth):\n    pass\n")
    start = "check: `TARGET` must name a function that needs no arguments; patient.py:"
    assert said("patient.py:one") == (
        f"{start}one needs width. Give it a default, or name a function that returns one(width=...)."
    )
    assert said("patient.py:two") == (
        f"{start}two needs width, depth. Give them defaults, or name a function that returns two(width=..., depth=...)."
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("None", "it returned None"),
        ("1", "it returned an int"),
        ("int", "it returned a class int"),
        ("(1,)", "it returned 1 values"),
        ("(1, [], len, 4)", "it returned 4 values"),
        ("(1, 2)", "its second value, the batches, is an int, not an iterable"),
        ("(1, 'text')", "its second value, the batches, is a str, not an iterable"),
        ("(1, [], 3)", "its third value, the loss, is an int, not a function of (outputs, targets)"),
    ],
)
def test_a_result_that_is_no_subject(write: Write, value: str, what: str) -> None:
    write("patient.py", f"def build():\n    return {value}\n")
    assert said("patient.py:build") == (
        f"check: patient.py:build must return {RESULT}; {what}. Change its return statement."
    )


@pytest.mark.parametrize(
    ("statement", "error"),
    [("raise ValueError('bad width')", "ValueError: bad width"), ("raise SystemExit(1)", "SystemExit: 1")],
)
def test_a_target_that_raises_shows_its_own_frames_only(write: Write, statement: str, error: str) -> None:
    path = write("patient.py", f"def inner():\n    {statement}\ndef build():\n    inner()\n")
    assert said("patient.py:build") == (
        "check: patient.py:build raised an error of its own.\n"
        "Traceback (your frames only; --debug prints all):\n"
        f'  File "{path}", line 4, in build\n    inner()\n'
        f'  File "{path}", line 2, in inner\n    {statement}\n'
        f"{error}"
    )


def test_an_error_inside_a_library_shows_the_users_line(write: Write) -> None:
    path = write("patient.py", "import json\ndef build():\n    return json.loads('{')\n")
    text = said("patient.py:build")
    assert f'File "{path}", line 3, in build' in text
    assert "decoder.py" not in text
    assert text.splitlines()[-1].startswith("json.decoder.JSONDecodeError: ")


def test_an_interrupt_is_not_the_targets_error(write: Write) -> None:
    write("patient.py", "def build():\n    raise KeyboardInterrupt\n")
    build: Callable[[], Any] = target.find("patient.py:build")
    with pytest.raises(KeyboardInterrupt):
        target.call(build, "patient.py:build")


@pytest.mark.parametrize("name", ["build", "wrapped"])
@pytest.mark.filterwarnings("error")
def test_an_asynchronous_target_is_refused(rectifier: Run, write: Write, name: str) -> None:
    write("t.py", "async def build():\n    return 1, []\n\ndef wrapped():\n    return build()\n")
    result = rectifier("check", f"t.py:{name}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: check: `TARGET` must name a plain function; t.py:{name} is asynchronous. "
        "Name one that returns asyncio.run of it.\n"
    )
