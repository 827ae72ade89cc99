"""``rectifier prune``: a network without the units that can never fire, in a new file of weights."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..checkup.proofs.certificate import Certificate
from ..checkup.records import Receipt, Record
from ..errors import RectifierValueError
from .acting import ActForce, ActJson, ActOut, Destination, Target, act
from .certificate import text_of
from .frame import Debug, Seed, code_read, guarded

__all__ = ["prune"]


@guarded
def prune(
    target: Target,
    out: ActOut,
    silent: Annotated[
        bool, typer.Option("--silent", help="Cut units that were only seen silent, too: the outputs may change.")
    ] = False,
    certificate: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Cut what this file of check --certificate proves; the model is not examined."
        ),
    ] = None,
    seed: Seed = None,
    json: ActJson = None,
    force: ActForce = False,
    debug: Debug = False,
) -> None:
    """Cut units that are proved dead, and write the smaller weights to a new file.

    The model and the batches come from TARGET, as for check; the first batch is the probe on which the change of the
    outputs, the operations and the time are measured. With --certificate the proofs of an earlier check are held to the
    model's weights and taken for it.

    The file keeps what was done and which shapes changed; rectifier.torch.load_weights makes the model as small and
    loads it. Without anything to cut no file is written.

    Example: rectifier prune train.py:build --out pruned.safetensors --json receipt.json
    """
    proof = {} if certificate is None else {certificate: "the certificate that is read"}
    to = Destination("prune", out, json, force, {**code_read(target), **proof})
    if certificate is not None and silent:
        raise RectifierValueError(
            "prune: `--silent` must be left out with --certificate, which holds proofs alone; got both. Leave one out."
        )
    proofs = None if certificate is None else read_certificate(certificate)

    def do(model: Any, record: Record | None, probe: Any) -> tuple[Receipt, ...]:
        from ..checkup import prune as cut

        if proofs is not None:
            return (cut(model, proofs, probe=probe),)
        assert record is not None
        return (cut(model, record, silent=silent, probe=probe),)

    act(target, to, do, seed=seed, examine=proofs is None)


def read_certificate(path: str) -> Certificate:
    """The certificate of a file; what it claims is for ``prune`` to check."""
    return Certificate({}, text_of(path, "prune", "--certificate"))
