"""``rectifier verify``: the proof of the digits, on the user's own machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from .. import _files
from ..errors import RectifierValueError
from ..verify.plan import Case
from ..verify.records import Proof
from ..verify.subjects import Subject
from .frame import Debug, Force, Json, Outputs, guarded, listed, note
from .results import write
from .status import FINDINGS, INTERRUPTED, NOTHING

__all__ = ["verify"]


@guarded
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Functions; all without.")] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="NAMES", help="float32,float16,bfloat16,float64, or some of them.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="NAMES", help="value,derivative,slope_derivative,inverse, or some of them.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Inputs of a case that is not visited whole.")
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Visit every float32 bit pattern: about a minute a case and core.")
    ] = False,
    isa: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Instruction sets, such as avx2,baseline; all: every one here.")
    ] = None,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Judge the gradients that PyTorch users get instead.")
    ] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Judge the other frameworks installed, too.")] = False,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; one a core without.")] = None,
    json: Json = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --json FILE where an earlier run of the same was cut short.")
    ] = False,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Hold every function to the exact result, and print how far it is off.

    The reference shares no code with the kernels: double precision with an error bound, long double where that cannot
    tell, arithmetic of any precision next to a tie. All 65,536 values of the 16-bit dtypes are visited, a sample of the
    others. --json FILE is written anew whenever a case is done, so what was done outlives whatever stops the run.

    Example: rectifier verify elu softplus --dtype float32 --exhaustive
    """
    from .. import peers as peer_modules
    from ..verify import make_plan, plan, subjects
    from ..verify import verify as judge

    if exhaustive and sample is not None:
        raise RectifierValueError(
            "verify: `--sample` must come without --exhaustive, which visits every input; got both. Leave one out."
        )
    if isa is not None and gradients:
        raise RectifierValueError(
            "verify: `--isa` must come without --gradients, which are of the one in use; got both. Leave one out."
        )
    if resume and json in (None, "-"):
        raise RectifierValueError(
            "verify: `--resume` must come with the record to go on with; got none. Add --json FILE, or leave it out."
        )
    outputs = Outputs("verify", html=None, json=json, force=force or resume)
    isas = plan.known_isas(listed("verify", "--isa", isa))
    if kind is not None and gradients:
        raise RectifierValueError(
            "verify: `--kind` must come without --gradients, which are derivatives; got both. Leave one out."
        )
    kinds = ["derivative"] if gradients else listed("verify", "--kind", kind)
    cases = make_plan(
        names or (), listed("verify", "--dtype", dtype), exhaustive=exhaustive, sample=sample, kinds=kinds
    )
    who: list[subjects.Subject] = [subjects.Gradient()] if gradients else [subjects.Kernel(name) for name in isas]
    if peers:
        who += [subjects.Peer(name) for name in peer_modules.MODULES]
    earlier = _earlier(outputs, cases, who, force=force) if resume else None
    so_far = earlier

    def keep(proof: Proof) -> None:
        nonlocal so_far
        so_far = proof
        if outputs.json is not None:
            _files.write(outputs.json, proof.to_json() + "\n", force=outputs.force)
            outputs.force = True  # from now on the file is ours

    try:
        proof = _with_bar(lambda progress: judge(cases, who, jobs=jobs, progress=progress, earlier=earlier, keep=keep))
    except KeyboardInterrupt:
        if so_far is None:
            raise
        _publish(so_far, outputs)
        done = f"{len(cases) - len(so_far.pending)} of {len(cases)} cases were done"
        cure = "Add --json FILE to keep them." if outputs.json is None else "Go on with the same command and --resume."
        note(f"Interrupted: {done}. {cure}")
        raise typer.Exit(INTERRUPTED) from None
    _publish(proof, outputs)
    raise typer.Exit(FINDINGS if proof.broken else NOTHING)


def _earlier(outputs: Outputs, cases: Sequence[Case], who: Sequence[Subject], *, force: bool) -> Proof | None:
    """The record to go on with; None where there is none, or with ``force`` none that fits."""
    from ..verify import origin

    path = Path(outputs.json or "")
    if not path.exists():
        return None
    try:
        proof = Proof.read(path)
        origin.refuse_another(proof, str(path), cases, who)
    except RectifierValueError:
        if not force:
            raise
        note(f"{path} is of another run: beginning anew.")
        return None
    note(f"{len(cases) - len(proof.pending)} of {len(cases)} cases were done: taken from {path}.")
    return proof


def _publish(proof: Proof, outputs: Outputs) -> None:
    _print(proof, to_stderr=outputs.json_to_stdout)
    if outputs.json_to_stdout:
        print(proof.to_json())
    if outputs.json is not None:
        write(outputs, outputs.json, proof.to_json() + "\n")


def _with_bar(run: Callable[[Callable[[str, int, int], None]], Proof]) -> Proof:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from ..reporters import terminal

    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=terminal.console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        return run(lambda label, done, total: bar.update(task, description=label, completed=done, total=total))


def _print(proof: Proof, *, to_stderr: bool) -> None:
    from rich.table import Table

    from ..reporters import terminal
    from ..verify.table import COLUMNS, cells, summary

    table = Table(box=None, pad_edge=False, header_style="")
    for column in COLUMNS:
        number = column in ("inputs", "misrounded", "max. error")
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for result in proof.results:
        *row, last = cells(result)
        table.add_row(*row, last if result.kept else f"{last}  PROMISE BROKEN")
    # A table cut off at a terminal's edge would hide the input that matters: it wraps there instead.
    console = terminal.console(stderr=to_stderr)
    console.width = 160
    console.print(table, crop=False, overflow="ignore")
    for reason in proof.absent:
        console.print(f"Not judged: {reason}.")
    sys.stdout.flush()
    note(summary(proof))
