"""What every claim must be: found by this file, so that a new claim is tested by being there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rectifier.claims
from rectifier.claims import claims
from rectifier.claims.lab.claim import GROUPS, Claim
from rectifier.claims.lab.experiment import Run
from rectifier.claims.lab.results import Results

FOLDER = Path(rectifier.claims.__file__).parent


@pytest.fixture(params=list(claims()))
def claim(request: pytest.FixtureRequest) -> Claim:
    return claims()[request.param]


def test_one_file_a_claim() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("*.py")} - {"--init--"}
    assert files == set(claims())
    places = [(claim.group, claim.place) for claim in claims().values()]
    assert len(set(places)) == len(places), "two claims at one place"


def test_listing_loads_no_framework() -> None:
    code = (
        "import sys, rectifier.claims as c; c.claims(); "
        "print([name for name in ('torch', 'sklearn', 'scipy', 'joblib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_it_says_what_a_claim_must_say(claim: Claim) -> None:
    assert claim.group in GROUPS
    assert claim.statement.endswith(".") and claim.refuted_by.endswith(".") and claim.method.endswith(".")
    assert len(claim.statement) < 140 and "\n" not in claim.statement
    assert claim.source and min(claim.seeds) >= 3


def test_its_first_runs_can_be_kept_and_paired(claim: Claim) -> None:
    """Configurations that JSON gives back as they were, the same for every seed, and none that is asked for twice."""
    for quick in (True, False):
        plan = claim.plan(quick=quick)
        runs: list[Run] = list(claim.runs(plan, Results()))
        assert runs and len({run.key for run in runs}) == len(runs)
        by_seed: dict[int, set[str]] = {}
        for run in runs:
            assert json.loads(json.dumps(run.config)) == run.config
            assert run.config["seed"] in (*plan.seeds, *plan.tuning)
            rest = {name: value for name, value in run.config.items() if name != "seed"}
            by_seed.setdefault(run.config["seed"], set()).add(Run(run.experiment, rest).key)
        for seeds in (plan.seeds, plan.tuning):
            asked = [by_seed[seed] for seed in seeds if seed in by_seed]
            assert all(each == asked[0] for each in asked) and len(asked) in (0, len(seeds))


def test_another_set_of_seeds_shares_none(claim: Claim) -> None:
    one, other = (claim.plan(quick=True, set_of_seeds=number) for number in (0, 1))
    assert not {*one.seeds, *one.tuning} & {*other.seeds, *other.tuning}
