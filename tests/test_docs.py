"""Every code block of the README and the docs runs, the docs build without a warning, and links lead somewhere."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "claims").glob("*.md")),
]
BLOCK = re.compile(r"^```(?P<language>[\w{}-]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: Languages of blocks that are not code: a program's output, a table of contents, a tree of folders.
PROSE = {"text", "{toctree}", "{eval-rst}"}
#: Pages run in a process of their own: TensorFlow, which Keras loads to save a model, makes PyTorch's compiler crash
#: where it was loaded first, and Keras keeps the backend that it is imported with.
APART = {"frameworks.md"}


def blocks(page: Path) -> list[tuple[str, str, int]]:
    text = page.read_text(encoding="utf-8")
    return [(m["language"], m["body"], text[: m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_language_that_is_tested(page: Path) -> None:
    unknown = {language for language, _, _ in blocks(page)} - PROSE - {"python", "console"}
    assert not unknown, f"{page.name}: blocks of {unknown} are run by no test"


def problems_of(page: Path) -> str:
    """Runs the page's Python, block after block, here and now; returns what came out otherwise than shown."""
    names: dict[str, object] = {"__name__": page.stem}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    problems: list[str] = []
    for language, body, line in blocks(page):
        if language != "python":
            continue
        if ">>>" not in body:
            exec(compile(body, f"{page.name}:{line}", "exec"), names)
            continue
        test = doctest.DocTestParser().get_doctest(body, names, f"{page.name}:{line}", str(page), line)
        runner.run(test, out=problems.append, clear_globs=False)
        names.update(test.globs)
    return "".join(problems)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if page.name not in APART:
        problems = problems_of(page)
        assert not problems, problems
        return
    code = "import sys, pathlib, tests.test_docs as t; sys.exit(t.problems_of(pathlib.Path(sys.argv[1])) or 0)"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    quiet = {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", code, str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | quiet)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path) -> None:
    for language, body, _ in blocks(page):
        if language == "python" and (named := re.match(r"# (\w+\.py)\n", body)):
            (tmp_path / named[1]).write_text(body, encoding="utf-8")
        if language != "console":
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
            words = shlex.split(command)
            assert words[0] == "rectifier", f"{page.name}: {command!r} is run by no test"
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "COLUMNS": "110", "TERM": "dumb"},
            )
            printed = done.stdout + done.stderr
            assert done.returncode in (0, 1), f"{command}: {printed}"
            if shown:
                assert doctest.OutputChecker().check_output(shown, printed, FLAGS), f"{command} printed:\n{printed}"


def test_local_links_and_pictures_exist() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_docs_build_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "_generated" / "leaky_relu.html").exists()


def test_the_checks_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "wrong.md"
    page.write_text("```python\n>>> 1 + 1\n3\n\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="Expected"):
        test_python_blocks_run(page, tmp_path, monkeypatch)
    page.write_text("```console\n$ rectifier --version\nnever printed\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="printed"):
        test_console_blocks_print_what_they_show(page, tmp_path)
    page.write_text("```ruby\nputs 1\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="ruby"):
        test_every_block_is_of_a_language_that_is_tested(page)
