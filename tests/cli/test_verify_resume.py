"""``rectifier verify`` cut short: what is done is kept, and gone on with only by a run of the same."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rectifier.verify import Proof

Run = Callable[..., Any]

#: Eight cases, the first four quick.
ASKED = ("verify", "elu", "--kind", "value", "--dtype", "float16,float64", "--sample", "30000", "--jobs", "2")
ONE = ("verify", "relu", "--kind", "value", "--dtype", "float16", "--jobs", "1")


def findings(path: Path) -> list[dict[str, Any]]:
    return [{**vars(result), "seconds": 0} for result in Proof.read(path).results]


def stopped_after_a_case(folder: Path, how: signal.Signals) -> tuple[int, str, str]:
    """Run it, and send the signal to all its processes, as a terminal does, once the record is there."""
    record = folder / "proof.json"
    command = [sys.executable, "-m", "rectifier", *ASKED, "--json", record.name]
    with subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as run:
        end = time.monotonic() + 120
        while not record.exists() and run.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        os.killpg(run.pid, how)
        out, err = run.communicate(timeout=60)
    return run.returncode, out, err


def test_ctrl_c_keeps_and_tells_what_was_done_and_the_same_command_goes_on(rectifier: Run, folder: Path) -> None:
    status, out, err = stopped_after_a_case(folder, signal.SIGINT)
    assert status == 130
    proof = Proof.read(folder / "proof.json")
    done = 8 - len(proof.pending)
    assert 1 <= done <= 7 and len(proof.results) == done
    first = proof.results[0]
    name = ["elu"] if first.default else ["elu", f"{first.parameter:g}"]
    assert out.splitlines()[1].split()[: len(name) + 3] == [*name, "value", first.dtype, first.subject]
    assert (
        f"Wrote proof.json\nInterrupted: {done} of 8 cases were done. Go on with the same command and --resume." in err
    )
    assert "Traceback" not in err

    refused = rectifier(*ASKED, "--json", "proof.json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "verify: `--json` must not exist yet; got 'proof.json', which does." in refused.stderr

    went_on = rectifier(*ASKED, "--json", "proof.json", "--resume")
    assert went_on.exit_code == 0
    assert went_on.stderr.startswith(f"{done} of 8 cases were done: taken from proof.json.\n")
    whole = rectifier(*ASKED, "--json", "whole.json")
    assert findings(folder / "proof.json") == findings(folder / "whole.json")
    assert Proof.read(folder / "proof.json").pending == ()
    assert [line.split()[:8] for line in went_on.stdout.splitlines()] == [
        line.split()[:8] for line in whole.stdout.splitlines()
    ]


def test_a_run_that_is_killed_leaves_a_record_that_reads(rectifier: Run, folder: Path) -> None:
    status, _, _ = stopped_after_a_case(folder, signal.SIGKILL)
    assert status == -signal.SIGKILL
    proof = Proof.read(folder / "proof.json")
    assert proof.results and proof.pending
    assert rectifier(*ASKED, "--json", "proof.json", "--resume").exit_code == 0
    assert len(Proof.read(folder / "proof.json").results) == 8


def test_what_is_done_is_not_judged_again(rectifier: Run, folder: Path) -> None:
    path = folder / "proof.json"
    assert rectifier(*ONE, "--json", "proof.json", "--resume").exit_code == 0  # nothing to go on with: begun
    proof = Proof.read(path)
    marked = dataclasses.replace(proof, results=(dataclasses.replace(proof.results[0], visited=5),), seconds=1e6)
    path.write_text(marked.to_json())
    again = rectifier(*ONE, "--json", "proof.json", "--resume")
    assert "1 of 1 cases were done: taken from proof.json." in again.stderr
    assert Proof.read(path).results[0].visited == 5
    assert Proof.read(path).seconds >= 1e6


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"code": "0" * 64}, "code"),
        ({"versions": {"numpy": "1.0"}}, "versions"),
        ({"machine": "an abacus"}, "machine"),
        ({"question": "0" * 64}, "options"),
        ({"code": None}, "code"),
    ],
)
def test_a_record_of_another_run_is_refused(rectifier: Run, folder: Path, changed: dict[str, Any], what: str) -> None:
    path = folder / "proof.json"
    rectifier(*ONE, "--json", "proof.json")
    plain = {**json.loads(path.read_text()), **changed, "pending": ["relu value float16"], "results": []}
    if changed.get("code", "") is None:  # as records of before were
        plain = {name: value for name, value in plain.items() if name not in ("code", "question", "pending")}
    path.write_text(json.dumps(plain))
    before = path.read_text()
    refused = rectifier(*ONE, "--json", "proof.json", "--resume")
    assert (refused.exit_code, refused.stdout, refused.stderr) == (
        2,
        "",
        "Error: verify: `--resume` must go on with a record of the same code, versions, machine and options; "
        f"got 'proof.json', which differs in its {what}. Add --force to begin anew.\n",
    )
    assert path.read_text() == before
    anew = rectifier(*ONE, "--json", "proof.json", "--resume", "--force")
    assert anew.exit_code == 0
    assert anew.stderr.startswith("proof.json is of another run: beginning anew.\n")
    assert Proof.read(path).results[0].visited == 65_536


def test_other_options_are_another_run(rectifier: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rectifier(*ONE, "--json", "proof.json")
    for more in (["--isa", "baseline"], ["--dtype", "bfloat16"], ["elu"]):
        refused = rectifier(*ONE, *more, "--json", "proof.json", "--resume")
        assert refused.exit_code == 2
        assert "which differs in its options" in refused.stderr


@pytest.mark.parametrize("json_option", [[], ["--json", "-"]])
def test_resume_needs_a_file(rectifier: Run, json_option: list[str]) -> None:
    result = rectifier(*ONE, *json_option, "--resume")
    assert (result.exit_code, result.stdout, result.stderr) == (
        2,
        "",
        "Error: verify: `--resume` must come with the record to go on with; got none. "
        "Add --json FILE, or leave it out.\n",
    )


def test_a_file_that_is_no_record_is_refused(rectifier: Run, folder: Path) -> None:
    (folder / "proof.json").write_text("[]")
    refused = rectifier(*ONE, "--json", "proof.json", "--resume")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "Error: verify: `path` must be a file written with verify --json; got 'proof.json'. "
        "Make one with: rectifier verify --json FILE\n"
    )
