"""``rectifier report`` from a record alone, and the files that it and ``check`` write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rectifier.checkup.records import Record

Run = Callable[..., Any]


@pytest.fixture
def saved(folder: Path, record: Record) -> Record:
    """A record as run.json and run.parquet."""
    ill = replace(record.findings[0], severity="ill", severity_reason="it is")
    record = record.with_findings((ill, *record.findings[1:]))
    (folder / "run.json").write_text(record.to_json(), encoding="utf-8")
    record.to_parquet(folder / "run.parquet")
    return record


def test_both_forms_give_the_same_reports_and_each_other(rectifier: Run, saved: Record, folder: Path) -> None:
    results = []
    for form, other in (("json", "parquet"), ("parquet", "json")):
        files = ("--html", f"{form}.html", "--junit", f"{form}.xml", f"--{other}", f"from_{form}")
        results.append(rectifier("report", f"run.{form}", *files))
        assert (results[-1].exit_code, len(results[-1].stderr.splitlines())) == (1, 3)
        assert Record.read(folder / f"from_{form}").to_json() == saved.to_json()
    assert results[0].stdout == results[1].stdout
    for end in ("html", "xml"):
        assert (folder / f"json.{end}").read_bytes() == (folder / f"parquet.{end}").read_bytes()
    assert (folder / "from_parquet").read_text(encoding="utf-8") == saved.to_json() + "\n"


def test_the_record_can_go_to_standard_output(rectifier: Run, saved: Record) -> None:
    result = rectifier("report", "run.parquet", "--json", "-", "--max-silent", "100%")
    assert (result.exit_code, result.stdout) == (0, saved.to_json() + "\n")
    assert "2 of 10 units never fire" in result.stderr


def test_a_record_needs_neither_its_model_nor_its_framework(saved: Record, folder: Path) -> None:
    code = (
        "import sys; sys.argv = ['rectifier', 'report', 'run.parquet', '--html', 'a.html']\n"
        "from rectifier.cli import main\n"
        "try: main()\n"
        "finally: print([name for name in ('torch', 'jax', 'plotly', 'matplotlib') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, "[]"), ran.stderr


def outcomes(path: Path) -> dict[str, str]:
    cases = ElementTree.parse(path).iter("testcase")
    return {case.attrib["name"]: next((child.tag for child in case), "") for case in cases}


@pytest.mark.parametrize(
    ("limits", "status", "failed"),
    [
        ([], 1, {"Proved dead at act": "failure", "Silent at act": "failure", "Vanishing gradient at act": "failure"}),
        (["--max-silent", "5%"], 1, {"--max-silent 5.00%": "failure"}),
        (["--max-silent", "20%", "--max-rare", "1"], 0, {"--max-silent 20.00%": "", "--max-rare 100.00%": ""}),
        (
            ["--max-silent", "20%", "--fail-on", "nan,dead"],
            1,
            {"--max-silent 20.00%": "", "--fail-on nan": "", "--fail-on dead": "failure"},
        ),
    ],
)
def test_the_pipelines_report_fails_where_the_status_is_1(
    rectifier: Run, saved: Record, folder: Path, limits: list[str], status: int, failed: dict[str, str]
) -> None:
    assert rectifier("report", "run.json", "--junit", "a.xml", *limits).exit_code == status
    told = outcomes(folder / "a.xml")
    assert told.pop("The check-up ran to its end") == ""
    assert {name: tag.replace("system-out", "") for name, tag in told.items()} == failed
    assert ("failure" in failed.values()) == (status == 1)


def test_a_limits_failure_says_what_is_beyond_it_and_what_helps(rectifier: Run, saved: Record, folder: Path) -> None:
    result = rectifier("report", "run.json", "--junit", "a.xml", "--max-silent", "5%")
    reason = "20.00% of the units are silent or dead; --max-silent is 5.00%"
    assert result.stderr == f"Wrote a.xml\nLimit exceeded: {reason}\n"
    failure = next(ElementTree.parse(folder / "a.xml").iter("failure"))
    assert failure.attrib == {"message": reason, "type": "dead"}
    assert failure.text == (
        "Proved dead at act, unit 0 (1 of 10)\nevidence: seen\nseverity: ill: it is\ncause: known\n"
        "what helps: this\n\n"
        "Silent at act, unit 1 (1 of 10)\nevidence: seen\ncause: known\nwhat helps: this"
    )


def test_a_stopped_run_is_an_error_in_both(rectifier: Run, saved: Record, folder: Path) -> None:
    replace(saved, stopped="ValueError: no more.").to_parquet(folder / "stopped")
    result = rectifier("report", "stopped", "--junit", "a.xml", "--max-silent", "5%")
    assert result.exit_code == 2
    assert result.stderr == (
        "Wrote a.xml\n"
        "Error: report: the check-up was stopped: ValueError: no more. The record holds what was seen until then.\n"
    )
    assert outcomes(folder / "a.xml") == {"The check-up ran to its end": "error", "--max-silent 5.00%": "skipped"}


TARGET = """
import torch

def build():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    with torch.no_grad():
        model[0].bias[:6] = -100.0
    return model, [torch.rand(32, 4)]

def stops():
    def batches():
        yield torch.rand(32, 4)
        raise OSError("gone")
    return build()[0], batches()
"""


def test_check_writes_all_forms(rectifier: Run, write: Run, folder: Path) -> None:
    write("net.py", TARGET)
    files = ("--json", "a.json", "--parquet", "a.parquet", "--junit", "a.xml")
    result = rectifier("check", "net.py:build", *files)
    assert result.exit_code == 1
    assert result.stderr.endswith("Wrote a.json\nWrote a.parquet\nWrote a.xml\n")
    assert Record.read(folder / "a.json").to_json() == Record.read(folder / "a.parquet").to_json()
    told = outcomes(folder / "a.xml")
    assert [tag for name, tag in told.items() if name.startswith("Proved dead at site 1")] == ["failure"]
    stopped = rectifier("check", "net.py:stops", *files, "--force")
    assert stopped.exit_code == 2
    assert next(ElementTree.parse(folder / "a.xml").iter("error")).attrib["message"] == Record.read("a.parquet").stopped


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--json", "run.json", "--force"], "`--json` must not name the record that is read; got 'run.json'. "
         "Name another."),
        (["--html", "./run.json"], "`--html` must not name the record that is read; got './run.json'. Name another."),
        (["--parquet", "run.parquet"], "`--parquet` must not exist yet; got 'run.parquet', which does. "
         "Pass --force to replace it, or another name."),
        (["--junit", "no/a.xml"], "`--junit` must lie in a folder that exists; got 'no/a.xml'. Create 'no' first."),
        (["--parquet", "."], "`--parquet` must be a file; got the folder '.'. Add a file name."),
        (["--parquet", "-"], "`--parquet` must name a file; got '-'. Name one, as in --parquet report.parquet."),
        (["--junit", ""], "`--junit` must name a file; got ''. Name one, or leave --junit out."),
        (["--parquet", "a", "--junit", "./a"], "`--parquet` and `--junit` must name two files; got 'a' twice. "
         "Name another."),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_first(
    rectifier: Run, saved: Record, folder: Path, options: list[str], text: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = rectifier("report", "run.json", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: report: {text}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def refusal(rectifier: Run, folder: Path, content: bytes) -> str:
    (folder / "bad").write_bytes(content)
    result = rectifier("report", "bad")
    assert (result.exit_code, result.stdout) == (2, "")
    start = "Error: report: `RECORD` must be a file written with check --json or --parquet; got 'bad': "
    end = ". Make one with: rectifier check TARGET --json FILE\n"
    assert result.stderr.startswith(start) and result.stderr.endswith(end)
    return str(result.stderr[len(start) : -len(end)])


def test_what_is_no_record(rectifier: Run, saved: Record, folder: Path) -> None:
    whole = (folder / "run.parquet").read_bytes()
    assert refusal(rectifier, folder, whole[: len(whole) // 2]) == (
        "it is Parquet, but not a whole record (Parquet magic bytes not found in footer. Either the file is corrupted "
        "or this is not a parquet file)"
    )
    pq.write_table(pa.table({"x": [1]}), folder / "other")
    assert refusal(rectifier, folder, (folder / "other").read_bytes()) == "it is another table"
    later = saved.to_json().replace("rectifier-record/1", "rectifier-record/2", 1)
    assert refusal(rectifier, folder, later.encode()) == "it is a record of another version ('rectifier-record/2')"


@pytest.mark.parametrize("arguments", [["run.parquet"], ["run.json", "--parquet", "a"]])
def test_without_pyarrow_its_extra_is_named(saved: Record, folder: Path, arguments: list[str]) -> None:
    code = (
        f"import sys; sys.modules['pyarrow'] = None; sys.argv = ['rectifier', 'report', *{arguments}]\n"
        "from rectifier.cli import main; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == (
        'Error: report: needs pyarrow, which is not installed. Run: pip install "rectifier[checkup]"\n'
    )
    assert not (folder / "a").exists()
