"""``rectifier certificate``: the proofs of a check, checked apart from what made them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..errors import RectifierValueError
from .frame import UNREADABLE, Debug, guarded, note, why_unreadable
from .status import FINDINGS

__all__ = ["certificate", "text_of"]


@guarded
def certificate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file written with check --certificate.")],
    weights: Annotated[
        str,
        typer.Option(metavar="FILE", help="The weights: a state dict written with torch.save, or an .npz of arrays."),
    ],
    debug: Debug = False,
) -> None:
    """Accept or refuse a certificate for these weights.

    Each bound is derived anew, in exact arithmetic, by code that shares nothing with what made the certificate. It is
    refused with the reason where a tensor is another than the one it was made for, or a bound does not follow. What it
    holds for (inputs, mode, size of a batch) is printed as it follows from what was checked.

    Example: rectifier certificate proof.json --weights model.pt
    """
    document = text_of(file, "certificate", "FILE")
    arrays = _arrays(weights)
    from ..checkup.proofs.checker import Rejected, examine

    try:
        found = [site for site in examine(document, arrays) if site.units]
    except Rejected as error:
        print(f"refused: {error.reason}")
        raise typer.Exit(FINDINGS) from error
    if not found:
        print("refused: it names no unit")
        raise typer.Exit(FINDINGS)
    for site in found:
        print(f"{site.site}: {', '.join(map(str, site.units))}")
    total = sum(len(site.units) for site in found)
    note(f"Accepted: {total} {'unit' if total == 1 else 'units'} cannot fire.")
    for site in found:
        note(f"{site.site}, made with {', '.join(site.tensors)}: {site.conditions}.")
    note("Steps and names of sites are as the file tells: rectifier.checkup.proved(model, FILE) compares them, too.")


def text_of(path: str, verb: str, argument: str) -> str:
    """What a file of a certificate holds; the verb and its argument are for the message where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UNREADABLE as error:
        reason = why_unreadable(error)
    raise RectifierValueError(
        f"{verb}: `{argument}` must be a file written with check --certificate; got {path!r}: {reason}. "
        "Make one with: rectifier check TARGET --certificate FILE"
    )


def _arrays(path: str) -> dict[str, Any]:
    """Name → array of a weights file."""
    reason = "it holds no mapping of names to tensors"
    try:
        if path.endswith(".npz"):
            with np.load(path) as stored:
                return dict(stored)
        import torch

        read = torch.load(path, map_location="cpu", weights_only=True)
        read = read.get("state_dict", read) if isinstance(read, Mapping) else read
        if isinstance(read, Mapping):
            tensors = {str(name): value for name, value in read.items() if isinstance(value, torch.Tensor)}
            # NumPy has no bfloat16; as float32 they are the same numbers.
            return {
                name: (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()
                for name, value in tensors.items()
            }
    except FileNotFoundError:
        reason = "there is no such file"
    except ModuleNotFoundError:
        raise
    except Exception as error:  # a file of another kind can go wrong in any way
        reason = f"reading it failed with {type(error).__name__}"
    raise RectifierValueError(
        f"certificate: `--weights` must be a state dict written with torch.save, or an .npz file; got {path!r}: "
        f"{reason}. Write one with: torch.save(model.state_dict(), FILE)"
    )
