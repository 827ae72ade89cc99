"""``rectifier prune``: a network without the units that can never fire, in a new file of weights."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..checkup.records import Receipt, Record
from .acting import ActForce, ActJson, ActOut, Destination, Target, act
from .frame import Debug, Seed, guarded

__all__ = ["prune"]


@guarded
def prune(
    target: Target,
    out: ActOut,
    silent: Annotated[
        bool, typer.Option("--silent", help="Cut units that were only seen silent, too: the outputs may change.")
    ] = False,
    seed: Seed = None,
    json: ActJson = None,
    force: ActForce = False,
    debug: Debug = False,
) -> None:
    """Cut units that are proved dead, and write the smaller weights to a new file.

    The model and the batches come from TARGET, as for check; the first batch is the probe on which the change of the
    outputs is measured.

    The file keeps what was done and which shapes changed; rectifier.torch.load_weights makes the model as small and
    loads it. Without anything to cut no file is written.

    Example: rectifier prune train.py:build --out pruned.safetensors --json receipt.json
    """
    to = Destination("prune", out, json, force)

    def do(model: Any, record: Record | None, probe: Any) -> tuple[Receipt, ...]:
        from ..checkup import prune as cut

        assert record is not None
        return (cut(model, record, silent=silent, probe=probe),)

    act(target, to, do, seed=seed)
