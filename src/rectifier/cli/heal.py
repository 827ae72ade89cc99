"""``rectifier heal``: a new start for units that never fire, in a new file of weights."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import typer

from ..checkup.records import Finding, Receipt, Record
from ..errors import RectifierValueError
from .acting import ActForce, ActJson, ActOut, Destination, Target, act
from .frame import Debug, Seed, code_read, guarded, listed

__all__ = ["heal"]

HOW = ("recycle", "swap", "rescale")
#: Kinds of findings about units that are alive, which can be acted on as well.
ALIVE = ("rare", "dormant", "always_open", "always_closed")


@guarded
def heal(
    target: Target,
    out: ActOut,
    how: Annotated[str, typer.Option(metavar="HOW", help="recycle, swap or rescale.")] = "recycle",
    with_: Annotated[
        str | None, typer.Option("--with", metavar="NAME", help="For a swap: a rectifier such as leaky_relu.")
    ] = None,
    also: Annotated[
        str | None, typer.Option(metavar="KINDS", help=f"Act on units that are alive, too: of {','.join(ALIVE)}.")
    ] = None,
    seed: Seed = None,
    json: ActJson = None,
    force: ActForce = False,
    debug: Debug = False,
) -> None:
    """Give dead and silent units a new start, and write the weights to a new file.

    The model and the batches come from TARGET, as for check; all batches are looked at, and the first one is the probe
    on which the change of the outputs is measured. recycle draws incoming weights anew and sets outgoing ones to 0, so
    that the outputs stay as they were; swap puts another rectifier in the place of theirs; rescale repairs the scale of
    the layers where that was found, and changes the outputs.

    The file keeps what was done; rectifier.torch.load_weights reads it back. Without anything to heal no file is
    written.

    Example: rectifier heal train.py:build --out healed.safetensors --seed 0
    """
    to = Destination("heal", out, json, force, code_read(target))
    if how not in HOW:
        raise RectifierValueError(
            f"heal: `--how` must be recycle, swap or rescale; got {how!r}. Leave it out to recycle."
        )
    if (how == "swap") != (with_ is not None):
        cure = "Add --with leaky_relu" if with_ is None else "Leave it out, or add --how swap"
        got = "no rectifier" if with_ is None else f"{with_!r} with --how {how}"
        raise RectifierValueError(f"heal: `--with` must name a rectifier where --how is swap; got {got}. {cure}.")
    kinds = listed("heal", "--also", also)
    wrong = next((kind for kind in kinds if kind.replace("-", "_") not in ALIVE), None)
    if wrong is not None:
        raise RectifierValueError(f"heal: `--also` must be of {', '.join(ALIVE)}; got {wrong!r}. Leave it out.")
    if how == "rescale" and kinds:
        raise RectifierValueError(
            f"heal: `--also` must be left out with --how rescale, which is about layers; got {also!r}. Leave it out."
        )

    def do(model: Any, record: Record | None, probe: Any) -> tuple[Receipt, ...]:
        from ..checkup import heal as bring_back

        assert record is not None
        findings: Record | tuple[Finding, ...] = record
        if kinds:
            findings = record.of("dead", "silent", *(kind.replace("-", "_") for kind in kinds))
        way = cast(Literal["recycle", "swap", "rescale"], how)
        return bring_back(model, findings, how=way, with_=with_, probe=probe, seed=seed, force=bool(kinds))

    act(target, to, do, seed=seed)
