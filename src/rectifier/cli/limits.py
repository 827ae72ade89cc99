"""Limits for continuous integration: which findings make the exit status 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, get_args

import typer

from ..checkup.records import Kind, Record
from ..errors import RectifierValueError
from ..reporters.junit import Case, by_finding
from .frame import note
from .status import FINDINGS, NOTHING

__all__ = ["FailOn", "Limits", "MaxDormant", "MaxRare", "MaxSilent"]

_SHARE = 'Largest share of the units that may be {}, such as "5%" or 0.05.'
MaxSilent = Annotated[str | None, typer.Option(metavar="SHARE", help=_SHARE.format("silent or dead"))]
MaxRare = Annotated[str | None, typer.Option(metavar="SHARE", help=_SHARE.format("rare"))]
MaxDormant = Annotated[str | None, typer.Option(metavar="SHARE", help=_SHARE.format("dormant, silent or dead"))]
FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="KINDS",
        help="Kinds of findings of which none may occur, such as vanishing,exploding,dead.",
    ),
]

KINDS: tuple[str, ...] = get_args(Kind)
#: Names accepted by --fail-on that stand for several kinds.
GROUPS = {
    "vanishing": ("vanishing_gradient", "vanishing_activation", "vanishing_update"),
    "exploding": ("exploding_gradient", "exploding_activation", "exploding_update"),
}
#: Findings name a unit once, by the strongest that holds: one proved dead is silent too, and both are dormant.
SHARES = {"silent": ("silent", "dead"), "rare": ("rare",), "dormant": ("dormant", "silent", "dead")}


@dataclass(frozen=True)
class Limits:
    """What was asked for: the largest shares, and kinds of which none may occur."""

    shares: dict[str, float]
    fail_on: tuple[str, ...]

    @classmethod
    def read(
        cls, verb: str, *, silent: str | None, rare: str | None, dormant: str | None, fail_on: str | None
    ) -> Limits:
        """From the text of the options; raises RectifierValueError where one is no share or no kind."""
        given = {"silent": silent, "rare": rare, "dormant": dormant}
        return cls(
            {name: parse_share(verb, f"--max-{name}", text) for name, text in given.items() if text is not None},
            () if fail_on is None else parse_kinds(verb, fail_on),
        )

    def cases(self, record: Record) -> tuple[Case, ...]:
        """What is asked of a record: the limits given, or else that no fault is ill."""
        if not self.shares and not self.fail_on:
            return by_finding(record)
        return (*self._shares(record), *self._kinds(record))

    def status(self, record: Record) -> int:
        """The exit status for a record, with the reason for a 1 on standard error."""
        failures = [case.failure for case in self.cases(record) if case.failure is not None]
        if self.shares or self.fail_on:
            for failure in failures:
                note(f"Limit exceeded: {failure}")
        return FINDINGS if failures else NOTHING

    def _shares(self, record: Record) -> Iterator[Case]:
        for name, limit in self.shares.items():
            # Of weights alone nobody can say what reads a closed unit: a gate counts it.
            kinds = (*SHARES[name], *(("closed",) if record.source == "weights" and name != "rare" else ()))
            share = record.share(*kinds)
            failure = None
            if math.isnan(share):
                failure = f"no unit was observed, so --max-{name} cannot be judged"
            elif share > limit:
                failure = f"{share:.2%} of the units are {_either(kinds)}; --max-{name} is {limit:.2%}"
            yield Case(f"--max-{name} {limit:.2%}", failure, record.of(*kinds))

    def _kinds(self, record: Record) -> Iterator[Case]:
        for kind in self.fail_on:
            found = record.of(kind)
            where = ", ".join(dict.fromkeys(finding.site for finding in found))
            yield Case(f"--fail-on {kind}", f"{kind.replace('_', ' ')} in {where}" if found else None, found)


def _either(words: tuple[str, ...]) -> str:
    """Words as a choice: "a", "a or b", "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def parse_share(verb: str, option: str, text: str) -> float:
    """A share in [0, 1] from "5%" or "0.05".

    >>> parse_share("check", "--max-silent", "5%")
    0.05
    """
    number = text.strip()
    percent = number.endswith("%")
    try:
        share = float(number.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if 0 <= share <= 1:
        return share
    cure = "Write it as 5% or 0.05."
    if not percent and 1 < share <= 100:
        cure = f"Did you mean {number}%?"
    raise RectifierValueError(f"{verb}: `{option}` must be a share between 0% and 100%; got {text!r}. {cure}")


def parse_kinds(verb: str, text: str) -> tuple[str, ...]:
    """Kinds of findings from their names separated by commas ("vanishing" and "exploding" stand for three each).

    >>> parse_kinds("check", "dead,vanishing")
    ('dead', 'vanishing_gradient', 'vanishing_activation', 'vanishing_update')
    """
    kinds: dict[str, None] = {}
    for part in text.split(","):
        name = part.strip().lower().replace("-", "_").replace(" ", "_")
        if name not in KINDS and name not in GROUPS:
            names = [*GROUPS, *KINDS]
            close = get_close_matches(name, names, n=1)
            cure = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
            raise RectifierValueError(
                f"{verb}: `--fail-on` must name kinds of findings, separated by commas; got {part.strip()!r}. {cure}"
            )
        kinds.update(dict.fromkeys(GROUPS.get(name, (name,))))
    return tuple(kinds)
