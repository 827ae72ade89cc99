"""A sweep: the runs that claims ask for and that are not on record yet, made and kept one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .claim import Claim, Verdict
from .engines import Engine
from .experiment import Run
from .plan import Plan
from .records import Records
from .results import Results

__all__ = ["Progress", "Told", "asked", "sweep", "tell"]

#: Called with the runs done, all that are known of, and what was just finished.
Progress = Callable[[int, int, str], None]
_LEAST = 3


def asked(claim: Claim, plan: Plan, records: Records) -> list[Run]:
    """All runs that the claim can name by what is on record, each once."""
    done, runs = Results(), dict[str, Run]()
    while True:
        # A claim names more runs as it sees the results of those that it asked for before.
        runs = {run.key: run for run in claim.runs(plan, done)}
        found = records.results(runs.values())
        if len(found) == len(done):
            return list(runs.values())
        done = found


def sweep(
    plans: Mapping[str, tuple[Claim, Plan]],
    records: Records,
    engine: Engine,
    progress: Progress = lambda done, total, label: None,
) -> None:
    """Make the runs that are missing, until no claim asks for more.

    plans: name → claim and plan. What is interrupted goes on where it was: a finished run is not made again.
    Raises RectifierError where an experiment fails or the engine does, OSError where a run cannot be written.
    """
    made = 0
    with records.adding():
        while True:
            wanted = {run.key: run for claim, plan in plans.values() for run in asked(claim, plan, records)}
            missing = [run for run in wanted.values() if run not in records]
            if not missing:
                return
            together = [run for run in missing if not run.experiment.alone]
            alone = [run for run in missing if run.experiment.alone]
            for runs, workers in ((together, engine.workers), (alone, 1)):
                for run, finished in engine.run(runs, workers):
                    records.add(run, finished.outcome, finished.seconds, finished.machine)
                    made += 1
                    progress(made, made + sum(run not in records for run in missing), run.experiment.name)


@dataclass(frozen=True)
class Told:
    """A claim with what is on record of it."""

    claim: Claim
    plan: Plan
    results: Results
    """The runs of the seeds whose runs are all there."""
    verdict: Verdict


def tell(claim: Claim, plan: Plan, records: Records) -> Told:
    """Judge a claim by what is on record. A seed counts where all its runs are there; three are needed."""
    runs = asked(claim, plan, records)
    missing = {run.config["seed"] for run in runs if run not in records}
    asked_for = {run.config["seed"] for run in runs}
    # Where a tuning run is missing, those that it would choose are not known.
    seeds = [] if missing & set(plan.tuning) else [s for s in plan.seeds if s in asked_for and s not in missing]
    results = records.results(runs).of_seeds(seeds)
    if len(seeds) < _LEAST:
        there = f"{len(seeds)} seed{'s' * (len(seeds) != 1)} of the {_LEAST} that a verdict needs"
        return Told(
            claim, plan, results, Verdict("not enough", f"Only {there} {'is' if len(seeds) == 1 else 'are'} there.")
        )
    return Told(claim, plan, results, claim.judge(results))
