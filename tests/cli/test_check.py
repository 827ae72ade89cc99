"""``rectifier check`` and ``rectifier report`` on real networks: statuses, streams, files, and every failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.checkup.records import Record

torch = pytest.importorskip("torch")

Run = Callable[..., Any]

PATIENTS = """
import random
import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)

def net():
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        model[0].bias[3] = -100.0
        model[2].bias[5] = -7.0  # silent; over the range of the inputs it might fire
    return model

def data(batches=4):
    generator = torch.Generator().manual_seed(0)
    inputs = lambda: torch.randn(64, 8, generator=generator)
    return [(inputs(), torch.randint(3, (64,), generator=generator)) for _ in range(batches)]

def sick():
    print("making the sick one")
    return net(), data(), cross_entropy

def ill():
    model, batches, loss = sick()
    with torch.no_grad():
        model[2].bias[:10] = -1000.0
    return model, batches, loss

def healthy():
    model = net()
    with torch.no_grad():
        model[0].bias[3] = model[2].bias[5] = 0.1
    return model, [inputs for inputs, _ in data()]

def stops():
    def batches():
        yield from data(2)
        raise OSError("the disk is gone")
    return net(), batches()

def leaves():
    def batches():
        yield from data(1)
        raise SystemExit(0)
    return net(), batches()

def interrupted():
    raise KeyboardInterrupt

def interrupted_later():
    def batches():
        yield from data(2)
        raise KeyboardInterrupt
    return net(), batches()

def interrupted_at_once():
    def batches():
        raise KeyboardInterrupt
        yield
    return net(), batches()

def wrong_form():
    return net(), [*data(2), torch.ones(3, 8)], cross_entropy

def wrong_shape():
    return net(), [torch.ones(3, 8), torch.ones(3, 5)]

def no_rectifier():
    return nn.Linear(2, 2), [torch.ones(3, 2)]

def empty():
    return net(), []

def no_model():
    return "model", data()

def draws():
    print(random.random(), np.random.rand(), torch.rand(1).item())
    return net(), data(1)
"""


@pytest.fixture
def patients(folder: Path) -> Path:
    path = folder / "patients.py"
    path.write_text(PATIENTS, encoding="utf-8")
    return path


def test_two_silent_units_are_no_illness_unless_asked_and_the_report_is_on_standard_output(
    rectifier: Run, patients: Path
) -> None:
    assert rectifier("check", "patients.py:sick", "--fail-on", "dead").exit_code == 1
    result = rectifier("check", "patients.py:sick")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 of 40 units never fire")
    assert result.stderr == "making the sick one\nExamining the model of patients.py:sick ...\n"


def test_half_a_site_silent_is_a_one(rectifier: Run, patients: Path) -> None:
    result = rectifier("check", "patients.py:ill")
    assert result.exit_code == 1
    assert "10 of the site's 20 units never fire (50 %): 50 % or more" in " ".join(result.stdout.split())


def test_a_healthy_network_is_a_zero(rectifier: Run, patients: Path) -> None:
    result = rectifier("check", "patients:healthy")
    assert result.exit_code == 0
    assert result.stdout.startswith("All 40 units fired at least once")


@pytest.mark.parametrize(
    ("limits", "status", "reason"),
    [
        (["--max-silent", "5%"], 0, ""),
        (["--max-silent", "4%"], 1, "5.00% of the units are silent or dead; --max-silent is 4.00%"),
        (["--fail-on", "exploding"], 0, ""),
        (["--fail-on", "silent,nan"], 1, "silent in 3"),
        (["--max-silent", "5%", "--max-dormant", "0.01"], 1, None),
    ],
)
def test_limits_decide(rectifier: Run, patients: Path, limits: list[str], status: int, reason: str | None) -> None:
    result = rectifier("check", "patients.py:sick", *limits)
    assert result.exit_code == status
    told = [line for line in result.stderr.splitlines() if line.startswith("Limit exceeded: ")]
    if reason is None:
        assert len(told) == 1 and "--max-dormant is 1.00%" in told[0]
    else:
        assert told == ([f"Limit exceeded: {reason}"] if reason else [])


def test_files_are_written_and_report_reads_them(process: Run, patients: Path, folder: Path) -> None:
    result = process("check", "patients.py:sick", "--html", "a.html", "--json", "a.json", "--seed", "3")
    assert result.returncode == 0
    assert result.stderr.endswith("Wrote a.html\nWrote a.json\n")
    record = Record.read(folder / "a.json")
    assert (record.name, record.seed, record.model) == ("patients.py:sick", 3, "Sequential")
    assert {(f.site, f.units) for f in record.of("dead", "silent")} == {("1", (3,)), ("3", (5,))}
    assert (folder / "a.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    again = process("report", "a.json", "--html", "b.html", "--max-silent", "5%")
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert again.stderr == "Wrote b.html\n"
    assert (folder / "b.html").read_bytes() == (folder / "a.html").read_bytes()
    assert process("report", "a.json", "--fail-on", "dead").returncode == 1


def test_json_to_standard_output_is_all_that_is_there(process: Run, patients: Path) -> None:
    result = process("check", "patients.py:sick", "--json", "-")
    assert result.returncode == 0
    record = Record.from_json(result.stdout)
    assert record.share("silent", "dead") == 2 / 40
    assert "2 of 40 units never fire" in result.stderr


def test_an_error_in_the_middle_keeps_the_record(rectifier: Run, patients: Path, folder: Path) -> None:
    result = rectifier("check", "patients.py:stops", "--json", "a.json", "--html", "a.html", "--max-silent", "100%")
    assert result.exit_code == 2
    stopped = "the iterable `batches` raised OSError at batch 2: the disk is gone"
    line = PATIENTS.splitlines().index('        raise OSError("the disk is gone")') + 1
    assert result.stderr == (
        "Examining the model of patients.py:stops ...\nWrote a.html\nWrote a.json\n"
        f"Error: check: {stopped}. The report holds what was seen until then.\n"
        "Traceback (your frames only; --debug prints all):\n"
        f'  File "{patients}", line {line}, in batches\n    raise OSError("the disk is gone")\n'
        "OSError: the disk is gone\n"
    )
    record = Record.read(folder / "a.json")
    assert record.stopped == stopped
    assert record.last.sites[0].examples == 128
    again = rectifier("report", "a.json", "--max-silent", "100%")
    assert again.exit_code == 2
    assert again.stderr == (
        f"Error: report: the check-up was stopped: {stopped}. The record holds what was seen until then.\n"
    )


def test_debug_shows_the_whole_traceback(rectifier: Run, patients: Path) -> None:
    assert "The above exception was the direct cause" in rectifier("check", "patients.py:stops", "--debug").stderr
    assert "TargetError" in rectifier("check", "patients.py:nothing", "--debug").stderr


def test_the_users_exit_is_no_verdict(rectifier: Run, patients: Path, folder: Path) -> None:
    result = rectifier("check", "patients.py:leaves", "--json", "a.json")
    assert result.exit_code == 2
    line = PATIENTS.splitlines().index("        raise SystemExit(0)") + 1
    assert result.stderr == (
        "Examining the model of patients.py:leaves ...\nWrote a.json\n"
        "Error: check: the iterable `batches` ended the process with SystemExit(0) at batch 1. "
        "The report holds what was seen until then.\n"
        "Traceback (your frames only; --debug prints all):\n"
        f'  File "{patients}", line {line}, in batches\n    raise SystemExit(0)\nSystemExit: 0\n'
    )
    assert Record.read(folder / "a.json").last.sites[0].examples == 64


def test_an_interrupt_is_no_verdict(rectifier: Run, patients: Path) -> None:
    result = rectifier("check", "patients.py:interrupted")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Interrupted.\n")


def test_an_interrupt_in_the_middle_keeps_the_record(rectifier: Run, patients: Path, folder: Path) -> None:
    result = rectifier("check", "patients.py:interrupted_later", "--json", "a.json")
    assert result.exit_code == 130
    assert result.stderr == (
        "Examining the model of patients.py:interrupted_later ...\nWrote a.json\n"
        "check: interrupted at batch 2. The report holds what was seen until then.\n"
    )
    assert Record.read(folder / "a.json").last.sites[0].examples == 128
    assert "interrupted at batch 2" in result.stdout


def test_an_interrupt_before_the_first_batch_leaves_nothing(rectifier: Run, patients: Path, folder: Path) -> None:
    result = rectifier("check", "patients.py:interrupted_at_once", "--json", "a.json")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "Examining the model of patients.py:interrupted_at_once ...\nInterrupted.\n"
    assert not (folder / "a.json").exists()


def test_a_bad_batch_in_the_middle_keeps_the_record(rectifier: Run, patients: Path, folder: Path) -> None:
    result = rectifier("check", "patients.py:wrong_form", "--json", "a.json")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "Error: check: batch 2 could not be used: `batches` must yield pairs (inputs, targets) where a loss is given; "
        "got Tensor at batch 2. Yield (inputs, targets), or leave `loss` out. "
        "The report holds what was seen until then."
    )
    assert Record.read(folder / "a.json").last.sites[0].examples == 128


def test_without_a_frame_of_the_users_only_the_error_is_told(rectifier: Run, patients: Path) -> None:
    result = rectifier("check", "patients.py:wrong_shape")
    assert result.exit_code == 2
    told = "mat1 and mat2 shapes cannot be multiplied (3x5 and 8x20)"
    assert result.stderr.splitlines()[1:] == [
        f"Error: check: the model or the loss raised RuntimeError at batch 1: {told}. "
        "The report holds what was seen until then.",
        f"RuntimeError: {told}",
    ]


def test_the_help_names_the_faults(rectifier: Run) -> None:
    text = " ".join(rectifier("check", "--help").stdout.split())
    faults = "a unit proved dead, a unit silent on all examples, a vanishing or exploding scale, or a NaN."
    assert f"A fault is {faults}" in text


@pytest.mark.parametrize(
    ("name", "start"),
    [
        (
            "no_rectifier",
            "check: `model` must apply a rectifier of the family to a batch that is not empty; got Linear",
        ),
        ("empty", "check: `batches` must hold at least one batch; got an empty iterable."),
        ("no_model", "check: `model` must be a PyTorch model (torch.nn.Module) or a Keras model; got str."),
        ("nothing", "check: `TARGET` must name a function of patients.py; it has no 'nothing'."),
    ],
)
def test_what_cannot_be_checked(rectifier: Run, patients: Path, folder: Path, name: str, start: str) -> None:
    result = rectifier("check", f"patients.py:{name}", "--html", "a.html")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"Error: {start}")
    assert not (folder / "a.html").exists()


def test_the_seed_is_set_before_the_target_is_called(rectifier: Run, patients: Path) -> None:
    first, second, other = (rectifier("check", "patients.py:draws", "--seed", seed).stderr for seed in "778")
    assert first == second != other
    numbers = zip(first.splitlines()[0].split(), other.splitlines()[0].split(), strict=True)
    assert all(one != two for one, two in numbers)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--html", "there.html"], "`--html` must not exist yet; got 'there.html', which does. "
         "Pass --force to replace it, or another name."),
        (["--json", "there.html"], "`--json` must not exist yet; got 'there.html', which does. "
         "Pass --force to replace it, or another name."),
        (["--html", "no/a.html"], "`--html` must lie in a folder that exists; got 'no/a.html'. Create 'no' first."),
        (["--html", "."], "`--html` must be a file; got the folder '.'. Add a file name."),
        (["--html", ""], "`--html` must name a file; got ''. Name one, or leave --html out."),
        (["--html", "-"], "`--html` must name a file; got '-'. Name one, as in --html check.html."),
        (["--html", "a", "--json", "./a"], "`--html` and `--json` must name two files; got 'a' twice. Name another."),
        (["--force"], "`--force` must come with an output file; got none to overwrite. "
         "Add --html FILE or --json FILE, or leave --force out."),
        (["--force", "--json", "-"], "`--force` must come with an output file; got none to overwrite. "
         "Add --html FILE or --json FILE, or leave --force out."),
        (["--max-silent", "5"], "`--max-silent` must be a share between 0% and 100%; got '5'. Did you mean 5%?"),
        (["--max-rare", "x"], "`--max-rare` must be a share between 0% and 100%; got 'x'. Write it as 5% or 0.05."),
        (["--max-dormant", "2"], "`--max-dormant` must be a share between 0% and 100%; got '2'. Did you mean 2%?"),
        (["--fail-on", "deat"], "`--fail-on` must name kinds of findings, separated by commas; got 'deat'. "
         "Did you mean 'dead'?"),
    ],
)  # fmt: skip
def test_options_are_refused_before_the_target_is_looked_for(
    rectifier: Run, folder: Path, options: list[str], text: str
) -> None:
    (folder / "there.html").write_text("mine")
    result = rectifier("check", "nothing.py:nothing", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: check: {text}\n")
    assert (folder / "there.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such file"),
        (b"", "it is not JSON (Expecting value: line 1 column 1 (char 0))"),
        (b"\xff\xfe", "it is not text"),
        (b"[]", "it is no record of a check-up"),
        (b'{"schema": "rectifier-demo/1"}', "it is no record of a check-up"),
        (b'{"schema": "rectifier-record/1"}', "it is no record of a check-up"),
    ],
)
def test_what_is_no_record_is_not_reported(rectifier: Run, folder: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (folder / "a.json").write_bytes(content)
    result = rectifier("report", "a.json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: report: `RECORD` must be a file written with check --json or --parquet; got 'a.json': {reason}. "
        "Make one with: rectifier check TARGET --json FILE\n"
    )


def test_a_folder_is_no_record(rectifier: Run) -> None:
    assert "got '.': it is a folder. Make one" in rectifier("report", ".").stderr


def test_a_record_made_by_hand_is_reported_without_a_model(rectifier: Run, record: Record, folder: Path) -> None:
    (folder / "a.json").write_text(record.to_json(), encoding="utf-8")
    result = rectifier("report", "a.json", "--fail-on", "rare")
    assert (result.exit_code, result.stderr) == (1, "Limit exceeded: rare in act\n")
    assert json.loads((folder / "a.json").read_text())["model"] == "MLP"
