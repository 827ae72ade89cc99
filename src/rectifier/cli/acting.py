"""What ``heal`` and ``prune`` share: the model of a TARGET is examined, acted on, and written to a new file."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ..checkup.records import Receipt, Record
from ..errors import RectifierError, RectifierValueError, TargetError
from .frame import note, refuse_read, refuse_unwritable, set_seed
from .target import load, told

__all__ = ["Act", "ActForce", "ActJson", "ActOut", "Destination", "Target", "act"]

Target = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="package.module:function or path/to/file.py:function."),
]
ActOut = Annotated[
    str, typer.Option("--out", metavar="FILE", help="The new file of weights: .safetensors, .pt or .pth.")
]
ActJson = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the receipts as JSON; - writes to standard output.")
]
ActForce = Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")]

#: What acts on (model, record, probe) and returns its receipts.
Act = Callable[[Any, Record | None, Any], tuple[Receipt, ...]]


@dataclass(frozen=True)
class Destination:
    """The files of a verb, refused before the run where they could not be written after it."""

    verb: str
    out: str
    json: str | None
    force: bool
    reads: Mapping[str, str] = field(default_factory=dict)
    """Files that are read → what they are; no output may name one, not even with --force."""

    def __post_init__(self) -> None:
        from ..checkup.weights.folder import WRITTEN

        for option, path in {"--out": self.out, "--json": self.json}.items():
            if path == "" or (path == "-" and option == "--out"):
                raise RectifierValueError(f"{self.verb}: `{option}` must name a file; got {path!r}. Name one.")
        if not self.out.lower().endswith(WRITTEN):
            raise RectifierValueError(
                f"{self.verb}: `--out` must end in {', '.join(WRITTEN)}; got {self.out!r}. Name it model.safetensors."
            )
        written = None if self.json in (None, "-") else self.json
        if written is not None and Path(written).resolve() == Path(self.out).resolve():
            raise RectifierValueError(
                f"{self.verb}: `--out` and `--json` must name two files; got {written!r} twice. Name another."
            )
        refuse_read(self.verb, "--out", self.out, self.reads)
        refuse_unwritable(self.verb, "--out", self.out, force=self.force)
        if written is not None:
            refuse_read(self.verb, "--json", written, self.reads)
            refuse_unwritable(self.verb, "--json", written, force=self.force)


def act(target: str, to: Destination, do: Act, *, seed: int | None, examine: bool = True) -> None:
    """Examine the target's model, act on it, print the receipts and write the files.

    examine: False where the act needs no record.
    """
    from ..checkup import check
    from ..checkup.adapters import adapter_for

    subject = load(target, to.verb, lambda: set_seed(seed))
    written = getattr(adapter_for(subject.model, to.verb), "written", None)
    if written is None:
        raise RectifierValueError(
            f"{to.verb}: `TARGET` must give a PyTorch model, whose weights can be written; got "
            f"{type(subject.model).__name__}. Call rectifier.{to.verb} in Python."
        )
    probe, batches = _first(subject.batches, to.verb, paired=subject.loss is not None)
    before = _shapes(subject.model)
    with redirect_stdout(sys.stderr):  # what the model prints is no receipt
        record = None
        if examine:
            note(f"Examining the model of {target} ...")
            record = check(subject.model, batches, subject.loss, name=target, seed=seed)
        receipts = _asked(do, subject.model, record, probe)
    receipts = tuple(receipt for receipt in receipts if receipt.units or receipt.site)
    after = _shapes(subject.model)
    shapes = {name: {"before": before[name], "after": after[name]} for name in after if after[name] != before[name]}
    document = {"target": target, "acts": [receipt.to_dict() for receipt in receipts], "shapes": shapes}
    _print(receipts, shapes, to)
    if receipts:
        written.save(subject.model, to.out, document, force=to.force)
        note(f"Wrote {to.out}")
        if any(receipt.act == "swap" for receipt in receipts):
            note("Weights do not hold their rectifiers: swap the model likewise before loading it.")
    else:
        note(f"Nothing to {to.verb}: {to.out} was not written.")
    _write_json({**document, "out": to.out if receipts else None}, to)


def _asked(do: Act, model: Any, record: Record | None, probe: Any) -> tuple[Receipt, ...]:
    try:
        return do(model, record, probe)
    except RectifierValueError as error:
        text = str(error).replace("silent=True", "--silent")
        by_file = "prune: `findings` must be a certificate"
        raise RectifierValueError(text.replace(by_file, by_file.replace("`findings`", "`--certificate`"))) from error


def _first(batches: Iterable[Any], verb: str, *, paired: bool) -> tuple[Any, Iterable[Any]]:
    """The inputs of the first batch, and all batches."""
    from ..checkup._check import split

    try:
        iterator = iter(batches)
        first = next(iterator)
    except StopIteration:
        raise RectifierValueError(
            f"{verb}: `TARGET` must give one batch at least; got none. Give it data (a generator used up is empty)."
        ) from None
    except (KeyboardInterrupt, RectifierError):
        raise
    except BaseException as error:  # a SystemExit would otherwise pass for a verdict
        raise TargetError(f"{verb}: the batches raised an error of their own.\n{told(error)}") from error
    everything = itertools.chain([first], iterator) if isinstance(batches, Iterator) else batches
    return split(first, 0, paired)[0], everything


def _shapes(model: Any) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in model.state_dict().items() if hasattr(value, "shape")}


def _print(receipts: tuple[Receipt, ...], shapes: dict[str, dict[str, list[int]]], to: Destination) -> None:
    from ..reporters import receipts as reports
    from ..reporters.terminal import console

    reports.print_receipts(receipts, shapes, console(stderr=to.json == "-"))
    sys.stdout.flush()


def _write_json(document: dict[str, Any], to: Destination) -> None:
    text = json.dumps(document, indent=1, allow_nan=False)
    if to.json == "-":
        print(text)
    elif to.json is not None:
        from .. import _files

        _files.write(to.json, text + "\n", force=to.force)
        note(f"Wrote {to.json}")
