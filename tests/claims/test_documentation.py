"""docs/claims/ is what its results say: written anew, not a letter differs."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

from rectifier.claims import claims
from rectifier.claims.lab.plan import read

FOLDER = Path(__file__).parents[2] / "docs" / "claims"


def test_every_claim_was_run_in_full() -> None:
    plans = read(FOLDER / "results")
    assert set(plans) == set(claims())
    for name, plan in plans.items():
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
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 3_000_000
