"""All claims of which something is on record, judged."""

from __future__ import annotations

from .. import claims
from . import plan as plans
from .records import Records
from .sweep import Told, asked, tell

__all__ = ["told_of", "unreadable"]


def told_of(records: Records) -> tuple[list[Told], list[str]]:
    """Each claim that was run, with what is on record of it; and what must be said of the record."""
    kept = plans.read(records.folder)
    found = [(claim, kept[name]) for name, claim in claims().items() if name in kept]
    notes = unreadable(records)
    runs = [run for claim, plan in found for run in asked(claim, plan, records)]
    notes += [
        f"{many} runs of {name} on record are of another version of it, and left out. Run its claims again."
        for name, many in records.other_versions(runs).items()
    ]
    return [tell(claim, plan, records) for claim, plan in found], notes


def unreadable(records: Records) -> list[str]:
    """What to say of lines that are no record of a run."""
    return [
        f"{file}: {'one line is' if many == 1 else f'{many} lines are'} no record of a run, as after a kill; left out, "
        "and made again where asked for."
        for file, many in records.unreadable.items()
    ]
