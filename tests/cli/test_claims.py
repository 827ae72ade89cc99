"""``rectifier claims``: list, run, report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.claims import claims
from rectifier.claims.tasks import images
from rectifier.demo import digits

Run = Callable[..., Any]
QUICK = ("--quick", "--workers", "1")


def test_run_report_and_list(rectifier: Run, folder: Path) -> None:
    done = rectifier("claims", "run", "absolute-value", *QUICK)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        0,
        "absolute-value: holds. Every number drawn gives the bits of |z|, but 0 itself, whose sign turns: "
        "−1 · 0 is −0, which equals 0.",
    )
    assert done.stderr.splitlines()[-1] == "Wrote rectifier-claims. For the page: rectifier claims report"
    before = (folder / "rectifier-claims" / "absolute_values.jsonl").read_bytes()
    assert rectifier("claims", "run", "absolute-value", *QUICK).stdout == done.stdout
    assert (folder / "rectifier-claims" / "absolute_values.jsonl").read_bytes() == before

    report = rectifier("claims", "report", "--json", "-")
    assert report.exit_code == 0 and report.stderr.splitlines() == ["Wrote rectifier-claims.html"]
    (found,) = json.loads(report.stdout)
    assert (found["claim"], found["verdict"], found["seeds"]) == ("absolute-value", "holds", [0, 1, 2])
    again = rectifier("claims", "report")
    assert again.exit_code == 2 and "which does. Pass --force to replace it" in again.stderr

    listed = rectifier("claims")
    assert listed.exit_code == 0
    for name in claims():
        assert name in listed.stdout
    row = next(line for line in listed.stdout.splitlines() if "absolute-value" in line)
    assert row.rstrip().endswith("holds")
    assert rectifier("claims", "--json", "list.json").exit_code == 0
    assert "Pass --force to replace it" in rectifier("claims", "--json", "list.json").stderr
    assert rectifier("claims", "--json", "list.json", "--force").exit_code == 0
    verdicts = {entry["claim"]: entry.get("verdict") for entry in json.loads(rectifier("claims", "--json", "-").stdout)}
    assert verdicts.pop("absolute-value") == "holds" and set(verdicts.values()) == {None}


def test_two_seeds_are_not_enough(rectifier: Run) -> None:
    done = rectifier("claims", "run", "absolute-value", *QUICK, "--seeds", "2", "--results", "few")
    told = "absolute-value: not enough. 2 seeds were asked for; a verdict needs 3.\n"
    assert (done.exit_code, done.stdout) == (0, told)


def test_fewer_seeds_only_add_to_what_is_on_record(rectifier: Run) -> None:
    rectifier("claims", "run", "absolute-value", *QUICK)
    before = rectifier("claims", "report", "--json", "-").stdout
    rectifier("claims", "run", "absolute-value", *QUICK, "--seeds", "2")
    rectifier("claims", "run", "absolute-value", *QUICK, "--seeds", "1", "--set-of-seeds", "1")
    assert rectifier("claims", "report", "--json", "-", "--html", "again.html").stdout == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["absolute-valeu"],
            "claims run: `NAME` must be a claim; got 'absolute-valeu'. Nearest: absolute-value.",
        ),
        (["Dead"], "claims run: `NAME` must be a claim; got 'Dead'. Nearest: dying-units."),
        (
            ["relu"],
            "claims run: `NAME` must be a claim; got 'relu'. Nearest: softplus-tends-to-relu, relu-factors, "
            "relu-vanishing, continuous-with-a-kink, derivative-at-zero.",
        ),
        (["XOR"], "claims run: `NAME` must be a claim; got 'XOR'. Nearest: linear-depth."),
        (["qqq"], "claims run: `NAME` must be a claim; got 'qqq'. List them: rectifier claims"),
        ([], "claims run: `NAME` must be given; got none. Name a claim, or add --all for all."),
        (
            ["--all", "absolute-value"],
            "claims run: `--all` must come without names; got absolute-value. Leave out one of the two.",
        ),
        (
            ["absolute-value", "--engine", "spark"],
            "claims: `--engine` must be one of local, dask, ray; got 'spark'. Take local.",
        ),
        (
            ["absolute-value", "--results", "file"],
            "claims: `--results` must be a folder whose files can be read and written; got 'file' (Not a directory). "
            "Name another.",
        ),
        (
            ["absolute-value", "--results", "torn"],
            "claims: `--results` must hold a plans.json that rectifier wrote; 'torn/plans.json' is none (Expecting "
            "property name enclosed in double quotes: line 1 column 2 (char 1)). Delete it and run the claims again: "
            "runs that are kept are not repeated.",
        ),
        *(
            (
                ["absolute-value", "--results", results],
                f"claims: `--results` must hold a plans.json that rectifier wrote; '{results}/plans.json' is none "
                f"({why}). Delete it and run the claims again: runs that are kept are not repeated.",
            )
            for results, why in (
                ("older", "'quick' is no plan"),
                ("many", "{'quick': True, 'set_of_seeds': 0, 'many': 'x'} is no plan"),
                ("none", "{'quick': True, 'set_of_seeds': 0, 'many': -1} is no plan"),
                ("half", "{'quick': True, 'set_of_seeds': 0, 'many': 3.5} is no plan"),
            )
        ),
    ],
)
def test_bad_input(rectifier: Run, folder: Path, arguments: list[str], message: str) -> None:
    (folder / "file").touch()
    (folder / "torn").mkdir()
    (folder / "torn" / "plans.json").write_text("{")
    told = {"quick": True, "set_of_seeds": 0}
    for name, many in (("many", "x"), ("none", -1), ("half", 3.5)):
        (folder / name).mkdir()
        (folder / name / "plans.json").write_text(json.dumps({"absolute-value": [{**told, "many": many}]}))
    (folder / "older").mkdir()
    (folder / "older" / "plans.json").write_text(json.dumps({"absolute-value": {**told, "many": 3}}))
    done = rectifier("claims", "run", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {message}\n" in done.stderr
    assert not (folder / "rectifier-claims").exists()


def test_a_claim_in_the_place_of_the_command(rectifier: Run) -> None:
    done = rectifier("claims", "absolute-value")
    assert (done.exit_code, done.stdout, done.stderr) == (
        2,
        "",
        "Error: claims: `COMMAND` must be run or report; got 'absolute-value', which is a claim. "
        "Did you mean: rectifier claims run absolute-value\n",
    )
    assert "No such command 'rnu'. Did you mean 'run'?" in rectifier("claims", "rnu").stderr


def test_a_page_on_standard_output(rectifier: Run) -> None:
    done = rectifier("claims", "report", "--html", "-")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: claims report: `--html` must name a file; got '-'. Name one, as in --html claims-report.html.\n",
    )


def test_options_before_the_command(rectifier: Run) -> None:
    done = rectifier("claims", "--results", "x", "run", "absolute-value")
    assert done.exit_code == 2 and "options belong after the command, as in: rectifier claims run" in done.stderr


def test_a_report_of_nothing(rectifier: Run, folder: Path) -> None:
    done = rectifier("claims", "report", "--results", "none")
    assert (done.exit_code, done.stderr) == (
        2,
        "Error: claims report: `--results` must hold runs of claims; 'none' holds none. "
        "Make some: rectifier claims run --all --quick\n",
    )
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("engine", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_that_is_not_installed(
    rectifier: Run, monkeypatch: pytest.MonkeyPatch, engine: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = rectifier("claims", "run", "absolute-value", "--quick", "--engine", engine)
    assert (done.exit_code, done.stderr) == (
        2,
        f'Error: claims run: needs {module}, which is not installed. Run: pip install "rectifier[claims-{engine}]"\n',
    )


@pytest.mark.parametrize(
    ("claim", "module"),
    [("threshold-gradient", "sklearn.datasets"), ("threshold-gradient", "torch"), ("absolute-value", "joblib")],
)
def test_what_a_run_needs_is_not_installed(
    rectifier: Run, monkeypatch: pytest.MonkeyPatch, claim: str, module: str
) -> None:
    # Filled by an earlier test, they would ask for nothing.
    images.parts.cache_clear()
    digits.load.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    done = rectifier("claims", "run", claim, *QUICK)
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (
        2,
        f'Error: claims run: needs {package}, which is not installed. Run: pip install "rectifier[claims]"',
    )


def test_what_must_be_said_of_the_record(rectifier: Run, folder: Path) -> None:
    rectifier("claims", "run", "absolute-value", *QUICK)
    path = folder / "rectifier-claims" / "absolute_values.jsonl"
    lines = path.read_text().splitlines()
    older = lines[-1].replace('"version": 1', '"version": 0')
    path.write_text("\n".join([*lines[:-1], older, '{"experiment": "absol']))
    torn = "absolute_values.jsonl: one line is no record of a run, as after a kill; left out, and made again where "
    torn += "asked for."
    other = "absolute_values: one run on record is of another version of it; left out, and made again where asked for."
    report = rectifier("claims", "report", "--json", "-")
    assert report.stderr.splitlines() == [torn, other, "Wrote rectifier-claims.html"]
    assert json.loads(report.stdout)[0]["verdict"] == "not enough"
    assert rectifier("claims").stderr.splitlines() == [torn, other]
    done = rectifier("claims", "run", "absolute-value", *QUICK)
    assert done.stdout.startswith("absolute-value: holds.")
    assert done.stderr.splitlines()[:2] == [torn, other]
    # Once they are made again, nothing is left to be said.
    assert rectifier("claims", "report", "--force").stderr.splitlines() == ["Wrote rectifier-claims.html"]
    assert rectifier("claims").stderr == ""


def test_a_full_disk(process: Run, folder: Path) -> None:
    """A process that may write 3,000 bytes a file finds the disk full in the middle of its runs."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)); "
        "sys.argv = ['rectifier', 'claims', 'run', 'absolute-value', '--quick', '--workers', '1']; "
        "from rectifier.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "Error: claims run: the output could not be written to 'rectifier-claims/absolute_values.jsonl': File too "
        "large. Make room, or write elsewhere."
    ) in done.stderr
    done = process("claims", "run", "absolute-value", *QUICK)
    assert done.returncode == 0 and "no record" not in done.stderr


def test_it_is_in_the_help(rectifier: Run) -> None:
    assert "claims" in rectifier("--help").stdout
    told = rectifier("claims", "run", "--help").stdout
    assert "a claim that does not hold is no error" in told and "--set-of-seeds" in told
