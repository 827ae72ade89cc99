"""Sweeps: nothing is made twice, step sizes are chosen on other seeds, and a verdict needs three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rectifier.claims.lab import report
from rectifier.claims.lab.claim import Claim, Verdict
from rectifier.claims.lab.engines import Engine
from rectifier.claims.lab.experiment import Experiment, Run
from rectifier.claims.lab.fair import best_step, edges, tuned
from rectifier.claims.lab.page import by_halves
from rectifier.claims.lab.plan import Plan, read
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.report import told_of
from rectifier.claims.lab.results import Results
from rectifier.claims.lab.statistics import mean
from rectifier.claims.lab.sweep import sweep, tell
from rectifier.errors import RectifierValueError
from rectifier.reporters.page import Chart

from .planted import bowls, failing

HERE = Engine(1)
STEPS = (0.1, 0.3, 1.0)
Runs = Callable[[Plan, Results], Iterator[Run]]


def claim(experiment: Experiment = bowls, runs: Runs | None = None) -> Claim:
    def usual(plan: Plan, done: Results) -> Iterator[Run]:
        if experiment is bowls:
            candidates = [{"activation": name} for name in ("relu", "tanh")]
            yield from tuned(bowls, candidates, plan, done, steps=STEPS, best="lowest")
        else:
            yield from (Run(experiment, {"seed": seed}) for seed in plan.seeds)

    def judge(results: Results) -> Verdict:
        return Verdict("holds", "Seen.", (mean(results.values("test"), "test"),))

    return Claim(
        name="planted",
        group="training",
        place=1,
        statement="Planted.",
        source="A test.",
        refuted_by="Nothing.",
        method="None.",
        runs=runs or usual,
        judge=judge,
        figure=lambda results: Chart("<svg></svg>", "", ""),
    )


def swept(folder: Path, plan: Plan, chosen: Claim | None = None) -> list[str]:
    told: list[str] = []
    chosen = chosen or claim()
    sweep({"planted": (chosen, plan)}, Records(folder), HERE, lambda done, total, label: told.append(f"{done}/{total}"))
    return told


def test_each_candidate_at_its_own_best_step_on_seeds_it_was_not_chosen_on(tmp_path: Path) -> None:
    plan = Plan(quick=True, many=3)
    told = swept(tmp_path, plan)
    # 2 activations × 3 steps × 2 tuning seeds, and then 2 × 3 seeds.
    assert len(told) == 18 and told[0] == "1/12" and told[-1] == "18/18"
    records = Records(tmp_path)
    results = tell(claim(), plan, records).results
    assert set(results.seeds).isdisjoint(plan.tuning) and len(results) == 6
    assert {(row["activation"], row["step"]) for row in results} == {("relu", 0.3), ("tanh", 0.1)}
    everything = tell(claim(), plan, records).made
    assert best_step(bowls, {"activation": "relu"}, plan, everything, steps=STEPS, best="lowest") == 0.3
    # What diverged is worst, whichever is sought.
    assert best_step(bowls, {"activation": "relu"}, plan, everything, steps=STEPS, best="highest") == 0.1


def test_a_best_step_at_the_end_of_its_grid_is_told(tmp_path: Path) -> None:
    plan = Plan(quick=True, many=3)
    swept(tmp_path, plan)
    # tanh's best is the first of the grid.
    found = edges(tell(claim(), plan, Records(tmp_path)).made, plan)
    assert found == {"activation relu": False, "activation tanh": True}


def test_a_finished_run_is_not_repeated_and_more_seeds_only_add(tmp_path: Path) -> None:
    swept(tmp_path, Plan(quick=True, many=3))
    assert swept(tmp_path, Plan(quick=True, many=3)) == []
    assert len(swept(tmp_path, Plan(quick=True, many=4))) == 2
    assert len(swept(tmp_path, Plan(quick=True, many=3, set_of_seeds=1))) == 18


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    plan, seen = Plan(quick=True, many=3), []

    def stop(done: int, total: int, label: str) -> None:
        seen.append(done)
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep({"planted": (claim(), plan)}, Records(tmp_path), HERE, stop)
    assert len(Records(tmp_path)) == 7
    assert tell(claim(), plan, Records(tmp_path)).verdict.told == "No seed has all the runs; a verdict needs 3."
    assert len(swept(tmp_path, plan)) == 11


@pytest.mark.parametrize(
    ("many", "told"),
    [
        (1, "1 seed was asked for; a verdict needs 3."),
        (2, "2 seeds were asked for; a verdict needs 3."),
    ],
)
def test_fewer_than_three_seeds_are_not_enough(tmp_path: Path, many: int, told: str) -> None:
    plan = Plan(quick=True, many=many)
    swept(tmp_path, plan)
    assert tell(claim(), plan, Records(tmp_path)).verdict == Verdict("not enough", told)


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (0, "No seed has all the runs; a verdict needs 3."),
        (1, "1 of the 4 seeds has all the runs; a verdict needs 3."),
        (2, "2 of the 4 seeds have all the runs; a verdict needs 3."),
    ],
)
def test_seeds_that_are_missing_are_told(tmp_path: Path, there: int, told: str) -> None:
    swept(tmp_path, Plan(quick=True, many=there))
    assert tell(claim(), Plan(quick=True, many=4), Records(tmp_path)).verdict == Verdict("not enough", told)


def test_a_sweep_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    swept(tmp_path, Plan(quick=True, many=3))
    with Records(tmp_path).adding(), pytest.raises(RectifierValueError, match="another sweep is writing"):
        swept(tmp_path, Plan(quick=False, many=6))
    assert read(tmp_path) == {"planted": (Plan(quick=True, many=3),)}


def test_every_kind_of_plan_is_kept_with_its_most_seeds(tmp_path: Path) -> None:
    full, quick, other = Plan(False, 4), Plan(True, 3), Plan(False, 3, set_of_seeds=1)
    for each in (quick, other, full, Plan(False, 2), Plan(True, 1)):
        swept(tmp_path, each)
    assert read(tmp_path) == {"planted": (full, other, quick)}


def test_the_first_plan_with_a_verdict_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "claims", lambda: {"planted": claim()})
    told = []
    for each in (Plan(False, 2), Plan(True, 2), Plan(True, 3), Plan(False, 3, set_of_seeds=1), Plan(False, 3)):
        swept(tmp_path, each)
        (one,), notes = told_of(Records(tmp_path))
        told.append((one.plan, one.verdict.answer))
        assert notes == []
    assert told == [
        (Plan(False, 2), "not enough"),
        (Plan(False, 2), "not enough"),
        (Plan(True, 3), "holds"),
        (Plan(False, 3, set_of_seeds=1), "holds"),
        (Plan(False, 3), "holds"),
    ]


def test_each_half_of_the_seeds_is_judged_alone(tmp_path: Path) -> None:
    def judge(results: Results) -> Verdict:
        # Which seeds it was given, in what it says.
        return Verdict("holds" if 0 in results.seeds else "depends", str(results.seeds))

    halved = replace(claim(), judge=judge)
    for many, halves in ((5, ()), (6, ("holds", "depends")), (7, ("holds", "depends"))):
        plan = Plan(quick=True, many=many)
        swept(tmp_path, plan, halved)
        told = tell(halved, plan, Records(tmp_path))
        assert told.halves == halves and told.verdict.told == str(tuple(range(many)))
    assert by_halves(told) == "holds by the first alone, depends by the others."
    assert by_halves(tell(claim(), plan, Records(tmp_path))) == "holds, by either alone."


def test_one_run_that_fails_does_not_take_the_others(tmp_path: Path) -> None:
    plan = Plan(quick=True, many=4)
    with pytest.raises(RuntimeError, match=r'the run failing/1 \{"seed":1\} failed:\n(?s:.*)ArithmeticError: planted'):
        swept(tmp_path, plan, claim(failing))
    assert len(Records(tmp_path)) == 3
    assert tell(claim(failing), plan, Records(tmp_path)).results.seeds == (0, 2, 3)
