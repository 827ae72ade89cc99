"""``rectifier check``: one examination of a model."""

from __future__ import annotations

import sys
import traceback
from contextlib import redirect_stdout
from typing import Annotated, NoReturn

import typer

from ..checkup import Interrupted, ObservationError
from ..errors import RectifierError
from .frame import (
    CertificateFile,
    Debug,
    Force,
    Html,
    Json,
    Junit,
    Outputs,
    Parquet,
    Seed,
    code_read,
    guarded,
    note,
    set_seed,
)
from .limits import FailOn, Limits, MaxDormant, MaxRare, MaxSilent
from .results import publish
from .saved import examined, refuse_unused, saved_weights, weights_read
from .status import INTERRUPTED, USAGE

__all__ = ["check"]


@guarded
def check(
    target: Annotated[
        str,
        typer.Argument(metavar="TARGET", help="package.module:function or path/to/file.py:function; or saved weights."),
    ],
    against: Annotated[
        str | None, typer.Option(metavar="FILE", help="Of saved weights: an earlier file of the same model.")
    ] = None,
    values: Annotated[
        int | None,
        typer.Option(metavar="M", min=2, help="Of saved weights: most values of a channel in a training batch."),
    ] = None,
    html: Html = None,
    json: Json = None,
    parquet: Parquet = None,
    junit: Junit = None,
    certificate: CertificateFile = None,
    force: Force = False,
    max_silent: MaxSilent = None,
    max_rare: MaxRare = None,
    max_dormant: MaxDormant = None,
    fail_on: FailOn = None,
    seed: Seed = None,
    debug: Debug = False,
) -> None:
    """Examine a model: its silent and dead units, its scales.

    A fault is a unit proved dead, a unit silent on all examples, a vanishing or exploding scale, or a NaN. Some silent
    units are common after sound training, so each fault has a severity: note, warning or ill, with the reason.

    TARGET is your own function. It needs no arguments and returns (model, batches) or (model, batches, loss): batches
    is an iterable of inputs, or of (inputs, targets) where loss(outputs, targets) is given. The model stays as it was.

    Or TARGET is a file of weights (.safetensors, .pt, .npz) or a folder of Hugging Face's: then what they prove is told
    without running anything, and what became of each unit since the file --against.

    Without limits, a fault that is ill makes the exit status 1 (half of a site silent, say); to be told of every silent
    unit, add --fail-on dead,silent. With limits, only what is beyond them does.

    Example: rectifier check train.py:build --html check.html --max-silent 5% --fail-on vanishing,exploding
    """
    saved = saved_weights(target)
    refuse_unused(saved, against=against, values=values, certificate=certificate, seed=seed)
    limits = Limits.read("check", silent=max_silent, rare=max_rare, dormant=max_dormant, fail_on=fail_on)
    outputs = Outputs(
        "check",
        html=html,
        json=json,
        parquet=parquet,
        junit=junit,
        certificate=certificate,
        force=force,
        reads=weights_read(target, against) if saved else code_read(target),
    )
    if saved:
        record = examined(target, against, values)
        publish(record, outputs, limits)
        raise typer.Exit(limits.status(record))
    # Imported after the options are read: a slip in one is told at once, before a framework is loaded.
    from ..checkup import check as examine
    from . import target as targets

    function = targets.find(target)
    set_seed(seed)
    subject = targets.call(function, target)
    note(f"Examining the model of {target} ...")
    try:
        with redirect_stdout(sys.stderr):  # what the model prints is not the report
            record = examine(subject.model, subject.batches, subject.loss, name=target, seed=seed)
    except (ObservationError, Interrupted) as error:
        _stopped(error, outputs, limits, debug=debug)
    publish(record, outputs, limits)
    raise typer.Exit(limits.status(record))


def _stopped(error: ObservationError | Interrupted, outputs: Outputs, limits: Limits, *, debug: bool) -> NoReturn:
    """The look was cut short in the middle: publish what was seen until then."""
    from .target import told

    interrupted = isinstance(error, Interrupted)
    if interrupted and not error.record.snapshots:
        raise KeyboardInterrupt  # nothing to publish
    publish(error.record, outputs, limits)
    if debug:
        traceback.print_exception(error)
    stopped = (error.record.stopped or "").rstrip(".")
    note(f"{'' if interrupted else 'Error: '}check: {stopped}. The report holds what was seen until then.")
    cause = error.__cause__ or error
    if not isinstance(cause, (KeyboardInterrupt, RectifierError)):  # these are told by their message alone
        note(told(cause))
    raise typer.Exit(INTERRUPTED if interrupted else USAGE)
