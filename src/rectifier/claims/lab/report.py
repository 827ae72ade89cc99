"""All claims of which something is on record, judged."""

from __future__ import annotations

from collections.abc import Sequence

from .. import claims
from . import plan as plans
from .experiment import Run
from .records import Records
from .sweep import Told, tell

__all__ = ["notes", "told_of"]


def told_of(records: Records) -> tuple[list[Told], list[str]]:
    """Each claim that was run, with what is on record of it; and what must be said of the record.

    Of several plans that a claim was run with, the first that has a verdict is told: full before quick.
    """
    kept = plans.read(records.folder)
    found: list[Told] = []
    missing: list[Run] = []
    for name, claim in claims().items():
        told: list[Told] = []
        for plan in kept.get(name, ()):
            told.append(tell(claim, plan, records))
            missing += told[-1].missing
            if told[-1].verdict.answer != "not enough":
                break
        if told:
            found.append(told[0] if told[-1].verdict.answer == "not enough" else told[-1])
    return found, notes(records, missing)


def notes(records: Records, runs: Sequence[Run]) -> list[str]:
    """What to say of lines that are no record of a run, and of other versions of runs that are missing."""
    lines = [
        f"{file}: {'one line is' if many == 1 else f'{many} lines are'} no record of a run, as after a kill; left out, "
        "and made again where asked for."
        for file, many in records.unreadable.items()
    ]
    return lines + [
        f"{name}: {'one run' if many == 1 else f'{many} runs'} on record {'is' if many == 1 else 'are'} of another "
        "version of it; left out, and made again where asked for."
        for name, many in records.other_versions(runs).items()
    ]
