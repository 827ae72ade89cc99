"""A sweep: the runs that claims ask for and that are not on record yet, made and kept one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NoReturn

from .claim import Answer, Claim, Verdict
from .engines import Engine
from .experiment import Run
from .plan import Plan, keep
from .records import Records
from .results import Results
from .worker import Made

if TYPE_CHECKING:
    from ...reporters.page import Chart

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

    plans: name → claim and plan, which are kept beside the runs. What is interrupted goes on where it was: a finished
        run is not made again.
    Raises EngineError where the engine fails, RuntimeError where runs did (after all others are made), OSError where
    one cannot be written.
    """
    made = 0
    with records.adding():
        keep(records.folder, {name: plan for name, (_, plan) in plans.items()})
        while missing := _missing(plans, records):
            failed: list[tuple[Run, Made]] = []
            left = len(missing)
            together = [run for run in missing if not run.experiment.alone]
            alone = [run for run in missing if run.experiment.alone]
            # What is timed runs here, after all others: nothing is beside it.
            for where, runs in ((engine, together), (Engine(1), alone)):
                for run, found in where.run(runs):
                    if found.outcome is None:
                        failed.append((run, found))
                        continue
                    records.add(run, found.outcome, found.seconds, found.machine)
                    made += 1
                    left -= 1
                    progress(made, made + left, run.experiment.name)
            if failed:
                _refuse(failed)


def _missing(plans: Mapping[str, tuple[Claim, Plan]], records: Records) -> list[Run]:
    wanted = {run.key: run for claim, plan in plans.values() for run in asked(claim, plan, records)}
    return [run for run in wanted.values() if run not in records]


def _refuse(failed: Sequence[tuple[Run, Made]]) -> NoReturn:
    run, first = failed[0]
    if first.absent:
        raise ModuleNotFoundError(f"No module named {first.absent!r}", name=first.absent)
    others = f" (and {len(failed) - 1} others; all that went well is kept)" if len(failed) > 1 else ""
    raise RuntimeError(f"the run {run.key} failed{others}:\n{first.error}")


@dataclass(frozen=True)
class Told:
    """A claim with what is on record of it."""

    claim: Claim
    plan: Plan
    results: Results
    """The runs of the seeds whose runs are all there."""
    made: Results
    """All its runs, those that chose a step size among them."""
    missing: Sequence[Run]
    """Those that are asked for and not on record."""
    verdict: Verdict

    @cached_property
    def halves(self) -> tuple[Answer, ...]:
        """The answers by the first half of the seeds and by the others, alone; empty of too few for two verdicts.

        The halves share no seed but those that chose the step sizes.
        """
        seeds = self.results.seeds
        middle = len(seeds) // 2
        if middle < _LEAST:
            return ()
        return tuple(self.claim.judge(self.results.of_seeds(half)).answer for half in (seeds[:middle], seeds[middle:]))

    @cached_property
    def figure(self) -> Chart | None:
        """The claim's figure; None of fewer seeds than a verdict needs, which show no spread."""
        return self.claim.figure(self.results) if len(self.results.seeds) >= _LEAST else None


def tell(claim: Claim, plan: Plan, records: Records) -> Told:
    """Judge a claim by what is on record. A seed counts where all its runs are there; three are needed."""
    runs = asked(claim, plan, records)
    missing = [run for run in runs if run not in records]
    lacking = {run.config["seed"] for run in missing}
    asked_for = {run.config["seed"] for run in runs}
    # Where a tuning run is missing, those that it would choose are not known.
    seeds = [] if lacking & set(plan.tuning) else [s for s in plan.seeds if s in asked_for and s not in lacking]
    made = records.results(runs)
    results = made.of_seeds(seeds)
    if len(seeds) >= _LEAST:
        return Told(claim, plan, results, made, missing, claim.judge(results))
    return Told(
        claim, plan, results, made, missing, Verdict("not enough", f"{_too_few(len(seeds), plan.many)} needs {_LEAST}.")
    )


def _too_few(there: int, many: int) -> str:
    if there == many:
        return f"{many} seed{'s were' if many > 1 else ' was'} asked for; a verdict"
    told = f"{there} of the {many} seeds" if there else "No seed"
    return f"{told} ha{'ve' if there > 1 else 's'} all the runs; a verdict"
