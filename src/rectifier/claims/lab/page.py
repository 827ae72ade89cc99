"""What is on record of the claims, as a page: claim, verdict, figure, how to run it oneself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...reporters.page import Card, Cell, Fact, Section, Table, Tone, render
from ...reporters.words import number
from .claim import ANSWERS, Answer
from .records import Records, written_number
from .statistics import Effect
from .sweep import Told

__all__ = ["by_halves", "command", "document", "machines", "page", "title"]

_TONES: dict[Answer, Tone] = {"holds": "good", "does not hold": "bad", "depends": "warn", "not enough": "plain"}


def page(told: Sequence[Told], records: Records, notes: Sequence[str] = ()) -> str:
    """The page of these claims as the text of one HTML file; notes are what the reader must know of the record."""
    counts = {answer: sum(each.verdict.answer == answer for each in told) for answer in ANSWERS}
    counted = ", ".join(f"{many} {_SAID[answer][many != 1]}" for answer, many in counts.items() if many)
    return render(
        "The laboratory: claims made about rectified units, measured",
        f"Of {len(told)} claim{'s' * (len(told) != 1)}, {counted}.",
        [_overview(told, notes), *map(_section, told)],
        facts=[Fact(str(many), answer, _TONES[answer]) for answer, many in counts.items() if many],
        footer="; ".join(machines(told, records)),
    )


_SAID: dict[Answer, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "does not hold": ("does not hold", "do not hold"),
    "depends": ("depends on more than it says", "depend on more than they say"),
    "not enough": ("has not enough runs for a verdict", "have not enough runs for a verdict"),
}


def _overview(told: Sequence[Told], notes: Sequence[str]) -> Section:
    rows = tuple(
        (
            each.claim.group,
            Cell(each.claim.statement, section=place),
            Cell(_quick(each.verdict.answer, each), tone=_TONES[each.verdict.answer]),
            each.verdict.effects[0].told if each.verdict.effects else "–",
        )
        for place, each in enumerate(told, 2)  # this section is the first
    )
    caption = "Quick: shorter training and fewer seeds." if any(each.plan.quick for each in told) else ""
    return Section(
        "All claims", tables=(Table(("Group", "Claim", "Verdict", "Effect"), rows, caption),), notes=tuple(notes)
    )


def _quick(text: str, each: Told) -> str:
    return f"{text} (quick)" if each.plan.quick else text


def _section(each: Told) -> Section:
    claim, verdict, figure = each.claim, each.verdict, each.figure
    parts = (
        ("Measured", verdict.told),
        *([("By halves of the seeds", by_halves(each))] if each.halves else []),
        ("Refuted by", claim.refuted_by),
        ("Who says so", claim.source),
        ("How", claim.method),
        ("Run it", command(each)),
    )
    return Section(
        title(claim.name),
        (claim.statement,),
        figures=(figure,) if figure else (),
        tables=(effects(verdict.effects),) if verdict.effects else (),
        cards=(Card(_headline(verdict.answer), parts, _TONES[verdict.answer], _quick(claim.group, each)),),
    )


def _headline(answer: Answer) -> str:
    return {"holds": "It holds", "does not hold": "It does not hold", "depends": "It depends"}.get(
        answer, "Not enough runs"
    )


def by_halves(each: Told) -> str:
    """What half of the seeds says alone, and what the others do."""
    one, other = each.halves
    return f"{one}, by either alone." if one == other else f"{one} by the first alone, {other} by the others."


def effects(found: Sequence[Effect]) -> Table:
    """The figures that a verdict rests on."""
    rows = tuple(
        (each.what, number(each.value), number(each.low), number(each.high), each.unit or "–", str(each.seeds))
        for each in found
    )
    return Table(("Effect", "Value", "From", "To", "Unit", "Seeds"), rows, "From, to: 95 % interval over the seeds.")


_SPELLED = {"relu": "ReLU", "prelu": "PReLU", "elu": "ELU", "selu": "SELU", "rnn": "RNN", "xor": "XOR", "adam": "Adam"}


def title(name: str) -> str:
    """A claim's name as a heading.

    >>> title("absolute-value")
    'Absolute value'
    """
    words = " ".join(_SPELLED.get(word, word) for word in name.split("-"))
    return words[0].upper() + words[1:]


def command(each: Told) -> str:
    """What repeats the runs of a verdict."""
    plan, claim = each.plan, each.claim
    words = ["rectifier claims run", claim.name, *(["--quick"] if plan.quick else [])]
    if plan.many != claim.plan(quick=plan.quick).many:
        words.append(f"--seeds {plan.many}")
    if plan.set_of_seeds:
        words.append(f"--set-of-seeds {plan.set_of_seeds}")
    return " ".join(words)


def machines(told: Sequence[Told], records: Records) -> list[str]:
    """Each machine that the runs were made on, with its versions and how many runs it made."""
    rows = {id(row): row for each in told for row in each.made}.values()  # claims share runs
    lines = []
    for machine, versions in records.machines.items():
        seconds = [row.seconds for row in rows if row.machine == machine]
        if seconds:
            named = ", ".join(value if key == "processor" else f"{key} {value}" for key, value in versions.items())
            lines.append(f"{len(seconds)} runs, {sum(seconds) / 60:.1f} minutes of one core: {named}")
    return lines


def document(each: Told) -> dict[str, Any]:
    """A claim with its verdict, for JSON."""
    claim, verdict = each.claim, each.verdict
    return {
        "claim": claim.name,
        "group": claim.group,
        "statement": claim.statement,
        "verdict": verdict.answer,
        "told": verdict.told,
        "effects": [
            {name: written_number(value) for name, value in vars(effect).items()} for effect in verdict.effects
        ],
        "halves": list(each.halves),
        "seeds": list(each.results.seeds),
        "quick": each.plan.quick,
        "command": command(each),
    }
