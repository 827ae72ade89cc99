"""``rectifier check`` on saved weights: statuses, limits, files, and no framework loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rectifier.checkup.records import Record

pytest.importorskip("safetensors")
from safetensors.numpy import save_file

Run = Callable[..., Any]


@pytest.fixture
def files(folder: Path) -> Path:
    """A layer of ten units, two of them closed; the same a little earlier, one of them closed; one with a NaN."""
    random = np.random.default_rng(0)
    arrays = {"fc.weight": random.standard_normal((10, 4)), "fc.bias": random.standard_normal(10)}
    arrays["fc.weight"][3], arrays["fc.bias"][3] = 0.0, -1.0
    save_file(arrays, folder / "before.safetensors")
    arrays["fc.weight"][4], arrays["fc.bias"][4] = 0.0, -1.0
    arrays["fc.weight"][5:] += 0.01
    save_file(arrays, folder / "model.safetensors")
    arrays["fc.bias"][0] = np.nan
    save_file(arrays, folder / "nan.safetensors")
    return folder


def test_closed_units_are_told_and_are_no_failure_by_themselves(rectifier: Run, files: Path) -> None:
    result = rectifier("check", "model.safetensors", "--json", "record.json", "--html", "page.html")
    assert result.exit_code == 0
    assert result.stdout.startswith("Saved weights alone, nothing was run: of 10 units that a rectifier could read, 2")
    assert "Wrote record.json" in result.stderr and "Wrote page.html" in result.stderr
    record = Record.read(files / "record.json")
    assert (record.source, record.name, [f.units for f in record.of("closed")]) == (
        "weights",
        "model.safetensors",
        [(3, 4)],
    )
    again = rectifier("report", "record.json", "--html", "again.html")
    assert again.stdout == result.stdout
    assert (files / "again.html").read_bytes() == (files / "page.html").read_bytes()


def test_a_nan_fails_and_so_do_limits(rectifier: Run, files: Path) -> None:
    assert rectifier("check", "nan.safetensors").exit_code == 1
    assert rectifier("check", "model.safetensors", "--max-silent", "20%").exit_code == 0
    over = rectifier("check", "model.safetensors", "--max-silent", "10%")
    assert over.exit_code == 1
    assert "Limit exceeded: 20.00% of the units are silent, dead or closed; --max-silent is 10.00%" in over.stderr
    found = rectifier("check", "model.safetensors", "--fail-on", "closed,nan")
    assert found.exit_code == 1 and "Limit exceeded: closed in fc" in found.stderr


def test_against_an_earlier_file(rectifier: Run, files: Path) -> None:
    result = rectifier("check", "model.safetensors", "--against", "before.safetensors", "--json", "-")
    record = Record.from_json(result.stdout)
    assert record.of("closed")[0].measures["new"] == 1
    assert set(record.of("unmoved")[0].units) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("absent.safetensors",),
            "check: `TARGET` must be a file of weights; got 'absent.safetensors': there is no such file. "
            "Check the path.",
        ),
        (
            ("model.safetensors", "--against", "absent.pt"),
            "check: `--against` must be a file of weights; got 'absent.pt': there is no such file. Check the path.",
        ),
        (
            ("model.safetensors", "--seed", "1"),
            "check: `--seed` must come with a function as TARGET; got saved weights, for which it does nothing. "
            "Leave it out.",
        ),
        (
            ("model.safetensors", "--certificate", "c.json"),
            "check: `--certificate` must come with a function as TARGET; got saved weights, for which it does nothing. "
            "Leave it out.",
        ),
        (
            ("train.py:build", "--against", "model.safetensors"),
            "check: `--against` must come with saved weights as TARGET; got a function, for which it does nothing. "
            "Leave it out.",
        ),
        (
            ("train.py:build", "--values", "100"),
            "check: `--values` must come with saved weights as TARGET; got a function, for which it does nothing. "
            "Leave it out.",
        ),
        (
            ("model.keras",),
            "check: `TARGET` must be a file of weights; got 'model.keras': there is no such file. Check the path.",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(rectifier: Run, files: Path, arguments: tuple[str, ...], message: str) -> None:
    result = rectifier("check", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("model.safetensors", "--json", "model.safetensors"),
        ("model.safetensors", "--against", "before.safetensors", "--html", "./before.safetensors"),
        ("hub", "--parquet", "hub/model.safetensors"),
        ("hub", "--junit", "hub/config.json"),
    ],
)
def test_weights_that_are_read_are_never_written_over(rectifier: Run, files: Path, arguments: tuple[str, ...]) -> None:
    (files / "hub").mkdir()
    (files / "hub/model.safetensors").write_bytes((files / "model.safetensors").read_bytes())
    (files / "hub/config.json").write_text("{}", encoding="utf-8")
    before = {path: path.read_bytes() for path in files.rglob("*.*") if path.is_file()}
    result = rectifier("check", *arguments, "--force")
    option, path = arguments[-2:]
    told = f"Error: check: `{option}` must not name weights that are read; got {path!r}. Name another.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
    assert {path: path.read_bytes() for path in before} == before


def test_a_safetensors_file_is_checked_without_any_framework(files: Path) -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['rectifier', 'check', 'model.safetensors', '--html', 'page.html']\n"
        "try:\n    runpy.run_module('rectifier', run_name='__main__')\n"
        "finally:\n    print(sorted({'torch', 'jax', 'tensorflow', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=files, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_names_of_a_stranger_reach_no_terminal(rectifier: Run, files: Path) -> None:
    name = "\x1b]0;owned\x07\x1b[2J\u202e[red]x[/red]\r\n"
    save_file({f"{name}.weight": np.zeros((3, 3))}, files / "names.safetensors")
    for arguments in (("names.safetensors",), ("names.safetensors", "--json", "-")):
        result = rectifier("check", *arguments, "--fail-on", "closed")
        printed = (result.stdout + result.stderr).replace("\n", "")
        assert result.exit_code == 1 and printed.isprintable(), ascii(printed)
    assert "[red]x[/red]" in result.stderr
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["site"].isprintable()


def test_names_in_a_record_of_a_stranger_reach_no_terminal(rectifier: Run, files: Path) -> None:
    rectifier("check", "nan.safetensors", "--json", "record.json")
    text = (files / "record.json").read_text(encoding="utf-8")
    (files / "record.json").write_text(text.replace('"fc', '"\\u001b[2J\\u009b1m\\u202efc'), encoding="utf-8")
    result = rectifier("report", "record.json", "--fail-on", "nan,closed")
    printed = (result.stdout + result.stderr).replace("\n", "")
    assert result.exit_code == 1 and printed.isprintable(), ascii(printed)
    assert r"\x1b[2J" in result.stdout and r"\x1b[2J" in result.stderr
