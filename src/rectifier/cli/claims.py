"""``rectifier claims``: the laboratory."""

from __future__ import annotations

import difflib
import json as jsons
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import RectifierValueError
from .frame import Debug, Force, Json, Outputs, fail, guarded, note
from .results import write
from .status import CLAIMS_HELP, PLAIN_HELP

if TYPE_CHECKING:
    from ..claims.lab.claim import Claim
    from ..claims.lab.sweep import Progress, Told

__all__ = ["claims"]

FOLDER = "rectifier-claims"
PAGE = "rectifier-claims.html"


class _Verbs(TyperGroup):
    """The commands below; the name of a claim in the place of one is told what it lacks."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            from ..claims import claims as known

            if args[0] in known():
                fail(
                    f"claims: `COMMAND` must be {' or '.join(self.commands)}; got {args[0]!r}, which is a claim. "
                    f"Did you mean: rectifier claims run {args[0]}"
                )
        return super().resolve_command(ctx, args)


claims = typer.Typer(name="claims", cls=_Verbs, rich_markup_mode=None, epilog=PLAIN_HELP)

Results = Annotated[str, typer.Option(metavar="FOLDER", help="Where the results of runs are kept.")]


@claims.callback(invoke_without_command=True)
def _claims(
    context: typer.Context, results: Results = FOLDER, json: Json = None, force: Force = False, debug: Debug = False
) -> None:
    """The laboratory: claims made about rectified units, each measured. Without a command, list them.

    Example: rectifier claims
    """
    if context.invoked_subcommand is None:
        claims_list(results=results, json=json, force=force, debug=debug)
        return
    if results != FOLDER or json is not None or force or debug:
        raise typer.BadParameter(
            f"options belong after the command, as in: rectifier claims {context.invoked_subcommand}"
        )


@guarded
def claims_list(*, results: str, json: str | None, force: bool, debug: bool) -> None:
    """Name, statement and last verdict of every claim."""
    from rich.table import Table
    from rich.text import Text

    from ..claims import claims as known
    from ..claims.lab.page import document
    from ..claims.lab.records import Records
    from ..claims.lab.report import told_of
    from ..reporters import terminal

    outputs = Outputs("claims", html=None, json=json, force=force)
    found, notes = told_of(Records(results))
    for line in notes:
        note(line)
    told = {each.claim.name: each for each in found}
    grid = Table(box=None, pad_edge=False, header_style="")
    for column in ("Claim", "Statement", "Verdict"):
        grid.add_column(column, no_wrap=column == "Claim")
    group = ""
    for name, claim in known().items():
        if claim.group != group:
            group = claim.group
            grid.add_row(Text(group.capitalize(), style="bold"), "", "")
        grid.add_row(f"  {name}", Text(claim.statement), told[name].verdict.answer if name in told else "–")
    terminal.console(stderr=outputs.json_to_stdout).print(grid)
    _write_json(
        outputs,
        [
            document(told[name]) if name in told else {"claim": name, "group": c.group, "statement": c.statement}
            for name, c in known().items()
        ],
    )


@claims.command("run", epilog=CLAIMS_HELP)
@guarded
def claims_run(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Claims.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All claims.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Shorter training, fewer seeds.")] = False,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=900, help="Seeds of each; three at least for a verdict.")
    ] = None,
    set_of_seeds: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Sets of another number share no seed.")
    ] = 0,
    engine: Annotated[str, typer.Option(metavar="NAME", help="local processes, dask or ray.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Runs at a time on this machine; as many as there are cores without."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Of a running Dask scheduler or Ray cluster; auto for Ray's on this machine."
        ),
    ] = None,
    results: Results = FOLDER,
    debug: Debug = False,
) -> None:
    """Measure claims, and say of each whether it holds.

    Every finished run is kept in the folder and never repeated: what is interrupted goes on where it was.

    Example: rectifier claims run absolute-value --quick
    """
    from ..claims import claims as known
    from ..claims.lab.engines import engine as started
    from ..claims.lab.records import Records
    from ..claims.lab.report import notes
    from ..claims.lab.sweep import asked, sweep, tell

    chosen = _chosen(names or [], every, known())
    plans = {
        name: (claim, claim.plan(quick=quick, seeds=seeds, set_of_seeds=set_of_seeds)) for name, claim in chosen.items()
    }
    records = Records(results)
    for line in notes(records, [run for claim, plan in plans.values() for run in asked(claim, plan, records)]):
        note(line)
    with started(engine, workers, address) as running, _bar() as progress:
        sweep(plans, records, running, progress)
    for claim, plan in plans.values():
        _print(tell(claim, plan, records))
    sys.stdout.flush()
    note(f"Wrote {records.folder}. For the page: rectifier claims report")


@claims.command("report", epilog=CLAIMS_HELP)
@guarded
def claims_report(
    results: Results = FOLDER,
    html: Annotated[str, typer.Option(metavar="FILE", help="The page to write (one file, opens offline).")] = PAGE,
    json: Json = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Make the page of what was measured: claim, verdict, figure, how to run it oneself.

    Example: rectifier claims report --html claims.html
    """
    from ..claims.lab.page import document, page
    from ..claims.lab.records import Records
    from ..claims.lab.report import told_of

    outputs = Outputs("claims report", html=html, json=json, force=force)
    records = Records(results)
    told, notes = told_of(records)
    if not told:
        raise RectifierValueError(
            f"claims report: `--results` must hold runs of claims; {results!r} holds none. "
            "Make some: rectifier claims run --all --quick"
        )
    for line in notes:
        note(line)
    _write_json(outputs, [document(each) for each in told])
    write(outputs, html, page(told, records, notes))


def _chosen(names: Sequence[str], every: bool, known: Mapping[str, Claim]) -> dict[str, Claim]:
    if every and names:
        raise RectifierValueError(
            f"claims run: `--all` must come without names; got {', '.join(names)}. Leave out one of the two."
        )
    if not every and not names:
        raise RectifierValueError("claims run: `NAME` must be given; got none. Name a claim, or add --all for all.")
    for name in names:
        if name not in known:
            near = _nearest(name, known)
            meant = f"Nearest: {', '.join(near)}." if near else "List them: rectifier claims"
            raise RectifierValueError(f"claims run: `NAME` must be a claim; got {name!r}. {meant}")
    return dict(known) if every else {name: known[name] for name in names}


def _nearest(name: str, known: Mapping[str, Claim]) -> list[str]:
    """Claims that are spelt alike; else that hold the text, in their name before all; else a word that is like it."""
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return near
    holding: dict[str, None] = {}
    for told in ("name", "statement", "group", "method"):
        holding |= dict.fromkeys(each for each in known if name.lower() in getattr(known[each], told).lower())
    words = {each: f"{each.replace('-', ' ')} {claim.statement.lower()}".split() for each, claim in known.items()}
    alike = [each for each in known if difflib.get_close_matches(name.lower(), words[each])]
    return [*(holding or alike)][:5]


def _print(told: Told) -> None:
    verdict = told.verdict
    print(f"{told.claim.name}: {verdict.answer}. {verdict.told}")
    for effect in verdict.effects:
        print(f"  {effect.told}")


def _write_json(outputs: Outputs, found: object) -> None:
    text = jsons.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    if outputs.json_to_stdout:
        print(text)
    elif outputs.json is not None:
        sys.stdout.flush()
        write(outputs, outputs.json, text + "\n")


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar with the time left, on standard error, as the callback that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ..reporters import terminal

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=terminal.console(stderr=True), transient=True, refresh_per_second=2) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, label: bar.update(task, description=label, completed=done, total=total)
