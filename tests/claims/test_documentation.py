"""docs/claims/ is what its results say: written anew, not a letter differs."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

from rectifier.claims import claims
from rectifier.claims.lab.engines import Engine
from rectifier.claims.lab.plan import read
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.sweep import sweep

FOLDER = Path(__file__).parents[2] / "docs" / "claims"


def test_every_claim_was_run_in_full() -> None:
    plans = read(FOLDER / "results")
    assert set(plans) == set(claims())
    for name, (plan, *_) in plans.items():
        assert not plan.quick and plan.many >= claims()[name].plan().many


def test_the_pages_are_those_of_the_results(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "results", tmp_path / "results")
    readme = FOLDER.parents[1] / "README.md"
    shutil.copy(readme, tmp_path / "README.text")
    runpy.run_path(str(FOLDER.parent / "write_claims.py"))["main"](tmp_path, tmp_path / "README.text")
    assert (tmp_path / "README.text").read_text(encoding="utf-8") == readme.read_text(encoding="utf-8")
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.suffix in (".md", ".svg")}
    kept = {path.relative_to(FOLDER) for path in FOLDER.rglob("*") if path.suffix in (".md", ".svg")}
    assert written == kept
    for path in written:
        assert (tmp_path / path).read_text(encoding="utf-8") == (FOLDER / path).read_text(encoding="utf-8"), path
    # Small enough to be kept.
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 8_000_000


def test_a_torn_line_is_no_obstacle_but_a_missing_seed_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write = runpy.run_path(str(FOLDER.parent / "write_claims.py"))["main"]
    readme = tmp_path / "README.text"
    readme.touch()
    claim = claims()["absolute-value"]
    sweep({claim.name: (claim, claim.plan())}, Records(tmp_path / "results"), Engine(1))
    path = tmp_path / "results" / "absolute_values.jsonl"
    with path.open("a") as file:
        file.write('{"experiment": "absol')
    write(tmp_path, readme)
    assert "absolute_values.jsonl: one line is no record of a run" in capsys.readouterr().err
    before = (tmp_path / "index.md").read_bytes()
    assert b"**holds**" in before

    path.write_text("\n".join(path.read_text().splitlines()[:-2]))
    # A quick run, whole, is no full one.
    sweep({claim.name: (claim, claim.plan(quick=True))}, Records(tmp_path / "results"), Engine(1))
    with pytest.raises(SystemExit) as left:
        write(tmp_path, readme)
    assert left.value.code == (
        "Not all runs of these claims are on record in full. Make them:\n"
        "rectifier claims run absolute-value --results docs/claims/results"
    )
    assert (tmp_path / "index.md").read_bytes() == before
