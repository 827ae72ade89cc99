"""The command as a process: entry points, statuses of every kind of end, and what it does without its libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rectifier as library
from rectifier import _native
from rectifier.checkup.records import Record

NAMES = ["demo", "check", "certificate", "heal", "prune", "report", "show", "compare", "verify", "bench", "claims"]
Run = Callable[..., Any]

#: Runs the command in a process in which some modules cannot be imported.
WITHOUT = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Finder())
sys.argv[0] = "rectifier"
from rectifier.cli import main
main()
"""


def without(names: set[str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(names=names)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_version_is_the_packages(process: Run) -> None:
    result = process("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"rectifier {library.__version__}\n", "")


def test_help_lists_the_verbs_that_exist(process: Run) -> None:
    result = process("--help")
    assert (result.returncode, result.stderr) == (0, "")
    verbs = [line.split()[0] for line in result.stdout.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert verbs == NAMES


@pytest.mark.parametrize("verb", NAMES)
def test_the_help_of_a_verb_documents_its_statuses(rectifier: Run, verb: str) -> None:
    result = rectifier(verb, "--help")
    assert result.exit_code == 0
    assert "Exit status:\n    0  " in result.stdout
    assert "\n    2  usage" in result.stdout
    assert "\n    3  a fault of rectifier's" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nosuch"], "No such command 'nosuch'."),
        (["show"], "Missing argument 'NAME...'."),
        (["check", "a:b", "--bogus"], "No such option: --bogus"),
    ],
)
def test_usage_is_a_two(process: Run, arguments: list[str], error: str) -> None:
    result = process(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"Error: {error}")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (
            "RECTIFIER_NUM_THREADS",
            "must be a whole number from 1 to 1024; got 'two'. Unset it to have every processor used.",
        ),
        (
            "RECTIFIER_ISA",
            f"must be one of {', '.join(_native.supported_isas())} on this machine; got 'two'. "
            "Unset it to have the best one chosen.",
        ),
    ],
)
def test_a_bad_variable_is_a_two_of_the_command_and_an_error_of_the_import(
    process: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: str
) -> None:
    monkeypatch.setenv(name, "two")
    for result in (process("--version"), without(set(), folder, "--version")):
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == f"Error: rectifier: the environment variable {name} {error}\n"
    program = "try:\n import rectifier\nexcept ImportError as error: print(error)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout == f"rectifier: the environment variable {name} {error}\n"


def test_without_typer_one_message_names_the_extra(folder: Path) -> None:
    result = without({"typer"}, folder, "show", "relu")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        'rectifier: the command line needs typer, which is not installed. Run: pip install "rectifier[checkup]"\n'
    )


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("plotext", "checkup", ["show", "relu"]),
        ("matplotlib", "checkup", ["show", "relu", "-o", "a.png"]),
        ("sklearn", "demo", ["demo"]),
    ],
)
def test_without_a_library_of_a_verb_its_extra_is_named(
    folder: Path, missing: str, extra: str, arguments: list[str]
) -> None:
    result = without({missing}, folder, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        f'Error: {arguments[0]}: needs {missing}, which is not installed. Run: pip install "rectifier[{extra}]"'
    )


def test_show_loads_no_framework_and_no_page(folder: Path) -> None:
    assert without({"torch", "plotly", "jinja2", "matplotlib", "sklearn"}, folder, "show", "relu").returncode == 0


def test_a_fault_of_ours_is_a_three(rectifier: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("rectifier.show.text.card", broken)
    result = rectifier("show", "relu")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "Error: a fault of rectifier's, not yours: ZeroDivisionError: on purpose\n"
        "Run again with --debug and report it, with the command you ran and the output of: rectifier --version\n"
    )
    result = rectifier("show", "relu", "--debug")
    assert result.exit_code == 3
    assert result.stderr.startswith("Traceback (most recent call last):\n")
    assert "Please report it with the traceback above, with the command you ran" in result.stderr


OK = """
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
def build():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU()), [torch.randn(64, 4)]
"""
VERBS: list[list[str]] = [
    ["show", "relu"],
    ["--version"],
    ["check", "--help"],
    ["check", "ok.py:build"],
    ["check", "ok.py:build", "--json", "-"],
    ["report", "a.json"],
]


@pytest.fixture
def prepared(folder: Path, record: Record) -> Path:
    (folder / "ok.py").write_text(OK, encoding="utf-8")
    (folder / "a.json").write_text(record.to_json(), encoding="utf-8")
    return folder


def with_stdout(stdout: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rectifier", *arguments]
    return subprocess.run(command, cwd=folder, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def errors(stderr: str) -> list[str]:
    """What a check says besides its report."""
    return [line for line in stderr.splitlines() if "Error" in line or "Traceback" in line or "your code" in line]


@pytest.mark.parametrize("arguments", VERBS)
def test_a_closed_pipe_is_no_error(prepared: Path, arguments: list[str]) -> None:
    if arguments[0] == "check":
        pytest.importorskip("torch")
    reader, writer = os.pipe()
    os.close(reader)
    result = with_stdout(writer, prepared, *arguments)
    os.close(writer)
    assert (result.returncode, errors(result.stderr)) == (141, [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", VERBS)
def test_a_full_disk_is_said(prepared: Path, arguments: list[str]) -> None:
    if arguments[0] == "check":
        pytest.importorskip("torch")
    with Path("/dev/full").open("w") as full:
        result = with_stdout(full.fileno(), prepared, *arguments)
    assert result.returncode == 2
    told = "the output could not be written: No space left on device. Make room, or write elsewhere."
    (line,) = errors(result.stderr)
    assert line in (f"Error: {told}", f"Error: {arguments[0]}: {told}")


def test_a_closed_standard_output_is_borne(prepared: Path) -> None:
    command = f'"{sys.executable}" -m rectifier show relu >&-'
    result = subprocess.run(command, shell=True, cwd=prepared, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_terminal_without_unicode_gets_question_marks(folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "rectifier", "show", "relu"],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"f(z) = max(0, z)" in result.stdout
