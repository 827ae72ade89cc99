"""``prune``: cut out units that can never fire. It acts, returns a receipt, and can be undone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import RectifierValueError
from .adapters import adapter_for
from .plan import chosen, receipt, wanted_of
from .records import Finding, Receipt, Record

__all__ = ["prune"]


def prune(
    model: Any,
    findings: Record | Finding | Iterable[Finding],
    *,
    silent: bool = False,
    probe: Any = None,
) -> Receipt:
    """Remove dead units from chains Linear → rectifier → Linear (dropout in between is fine).

    A unit whose output is 0 adds nothing to the next layer, so its row and its columns can go: the outputs stay the
    same but for the rounding of shorter sums. That is proved over the box of the finding for dead units; with
    ``silent=True`` units that were only seen silent go too, and the outputs can change where one would have fired.

    model: a PyTorch model; its layers get smaller parameters (new objects: make a new optimizer).
    findings: a Record or findings of one. Of a Record the dead units are taken (with ``silent=True`` the silent ones
        too), it must be one of the weights as they are, so that its proofs hold, and what cannot be cut is left as it
        is and told in ``skipped``. Findings are done as asked or refused, and need a probe.
    probe: a batch of inputs, on which the change of the outputs is measured; a unit that fires on it is not cut.

    Returns one receipt; ``receipt.undo()`` puts the very same parameters back.

    Raises RectifierTypeError or RectifierValueError, before anything is changed: for findings of another kind, a
    record of other weights or one without units to cut but with silent ones, and for places that are no such chain
    (of a Record: where nothing else is left to do); by ``undo`` where the parameters were changed since.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].bias.copy_(torch.tensor([9.0, -9.0, 9.0]))
    >>> x = torch.rand(8, 2)
    >>> receipt = rectifier.prune(net, rectifier.check(net, [x]), probe=x)
    >>> net[0].out_features, receipt.units, receipt.parameters_before, receipt.parameters_after
    (2, (1,), 13, 9)
    """
    adapter = adapter_for(model, "prune")
    kinds = frozenset({"dead", "silent"}) if silent else frozenset({"dead"})
    items = chosen(findings, "prune", kinds)
    wrong = next((finding for finding in items if finding.kind not in kinds), None)
    if wrong is not None:
        cure = "pass silent=True to cut it all the same" if wrong.kind == "silent" else "leave it out"
        raise RectifierValueError(
            f"prune: `findings` must be dead{' or silent' if silent else ''}; got {wrong.kind!r} at {wrong.site!r}. "
            f"{cure[0].upper()}{cure[1:]}."
        )
    if isinstance(findings, Record) and not items:
        _refuse_unproved(findings)
    act, skipped = adapter.pruning.prune(model, wanted_of(findings, items, "prune"), probe=probe)
    return receipt("prune", act, act.undo, skipped)


def _refuse_unproved(record: Record) -> None:
    """A receipt that says "nothing to cut" would hide that there is something, of a lesser certainty."""
    silent = sum(len(finding.units) for finding in record.of("silent"))
    if silent:
        raise RectifierValueError(
            f"prune: `findings` must hold units that are proved dead; got a record with none, and {silent} that are "
            "only seen silent. Pass silent=True to cut those: the outputs change where one would have fired."
        )
