"""``prune``: cut out units that can never fire. It acts, returns a receipt, and can be undone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..errors import RectifierTypeError, RectifierValueError
from ._proved import proved as check_proved
from .adapters import adapter_for
from .plan import Wanted, chosen, wanted_of
from .proofs.certificate import Certificate
from .proofs.checker import Proved, Rejected
from .records import Finding, Receipt, Record

__all__ = ["prune"]


def prune(
    model: Any,
    findings: Certificate | Record | Finding | Iterable[Finding],
    *,
    silent: bool = False,
    probe: Any = None,
    optimizer: Any = None,
    fold: bool = False,
) -> Receipt:
    """Remove dead units from the layers that make them and from those that read them.

    A unit whose output is 0 for every input adds nothing to what reads it, so its row and its columns can go: the
    outputs stay the same but for the rounding of shorter sums. Linear, convolution (in groups and depthwise too),
    transposed convolution and batch normalisation get smaller; pooling, flattening, dropout, concatenation and
    functional calls are followed. What is added up, as in a residual stream, goes where all that is added is 0 there. A
    unit that another constant comes of (through a batch normalisation, say) is put into the next bias, where that is
    exact. What cannot go stays, and is told in ``skipped``.

    model: a PyTorch model; its layers get smaller parameters, which are new objects.
    findings: a Certificate, a Record or findings of one. A certificate is held against the model, as
        :func:`rectifier.checkup.proved` does. Of a Record the dead units are taken (with ``silent=True`` the silent
        ones too), and it must be one of the weights as they are, so that its proofs hold. Findings are done as asked
        or refused, and need a probe.
    silent: cut units that were only seen silent as well; the outputs change where one would have fired.
    probe: a batch of inputs, on which the change of the outputs, the operations and the time are measured; a unit that
        fires on it is not cut.
    optimizer: the one that trains the model: it goes on with the smaller parameters and the state of what stays.
        Without it, make a new one.

    fold: of a Record, make one layer of two Linear ones where each unit of the rectifier between them is always open,
        and that saves weights. The evidence tells whether that is proved or was only seen.

    Returns one receipt; ``receipt.undo()`` puts the very same parameters back. ``receipt.evidence`` tells what shows
    that the outputs stay.

    Raises RectifierTypeError or RectifierValueError, and leaves the model as it was: for findings of another kind, a
    record or certificate of other weights or of another mode than the model is in, a record without units to cut but
    with silent ones, a model that cannot be followed, and where nothing can be cut; by ``undo`` where the parameters
    were changed since.

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
    adapter.check_optimizer(optimizer, "prune")
    adapter.pruning.check_model(model)
    if fold and not isinstance(findings, Record):
        raise RectifierTypeError(
            f"prune: `fold` must be left out without a record; got fold={fold!r} with {type(findings).__name__}. Pass "
            "what rectifier.check returned."
        )
    shape, opened = None, _always_open(findings) if fold else ()
    if isinstance(findings, Certificate):
        sites = _certified(adapter, model, findings)
        units = {one.site: one.units for one in sites}
        wanted = Wanted(units, {site: frozenset() for site in units}, True, {})
        proofs = "; ".join(dict.fromkeys(one.conditions for one in sites))
        shape, proved = _shape(findings), True
    else:
        items = _items(findings, silent, bool(opened))
        wanted = wanted_of(findings, items, "prune")
        proved = isinstance(findings, Record) and all(item.kind == "dead" and item.proof for item in items)
        proofs = "; ".join(dict.fromkeys(item.proof for item in items if item.proof))
        if isinstance(findings, Record) and (items or opened):
            adapter.pruning.check_fresh(model, wanted, "prune")
        if isinstance(findings, Record) and findings.certificate is not None:
            shape = _shape(findings.certificate)
            _check_hashes(adapter, model, findings.certificate)
    _check_modes(adapter, model, proofs)
    shown = (
        adapter.pruning.proved_open(model, opened, getattr(findings, "certificate", None)) if opened else frozenset()
    )
    done = adapter.pruning.prune(
        model,
        wanted,
        probe=probe,
        optimizer=optimizer,
        shape=shape,
        constants="in training mode" not in proofs,
        open_sites=opened,
    )
    before, after = done.parameters
    told = (
        _of_cut(proved, isinstance(findings, Record), _inputs(findings) or proofs) if done.units else "",
        _of_folding(done.folded, shown, _inputs(findings)),
        f"Measured on the probe: max |Δ output| = {done.output_change:.4g}." if done.output_change is not None else "",
    )
    return Receipt(
        act="prune",
        site=done.site,
        units=tuple(unit for units in done.units.values() for unit in units),
        change=done.change,
        output_change=done.output_change,
        parameters_before=before,
        parameters_after=after,
        undo=done.undo,
        skipped=done.skipped,
        sites=done.units,
        evidence=" ".join(line for line in told if line),
        proved=(proved or not done.units) and shown.issuperset(done.folded) if done.units or done.folded else None,
        flops=done.flops,
        seconds=done.seconds,
    )


def _items(findings: Any, silent: bool, also: bool) -> tuple[Finding, ...]:
    kinds = frozenset({"dead", "silent"}) if silent else frozenset({"dead"})
    items = chosen(findings, "prune", kinds)
    wrong = next((finding for finding in items if finding.kind not in kinds), None)
    if wrong is not None:
        cure = "pass silent=True to cut it all the same" if wrong.kind == "silent" else "leave it out"
        raise RectifierValueError(
            f"prune: `findings` must be dead{' or silent' if silent else ''}; got {wrong.kind!r} at {wrong.site!r}. "
            f"{cure[0].upper()}{cure[1:]}."
        )
    if isinstance(findings, Record) and not items and not also:
        _refuse_unproved(findings)
    return items


def _refuse_unproved(record: Record) -> None:
    """A receipt that says "nothing to cut" would hide that there is something, of a lesser certainty."""
    silent = sum(len(finding.units) for finding in record.of("silent"))
    if silent:
        raise RectifierValueError(
            f"prune: `findings` must hold units that are proved dead; got a record with none, and {silent} that are "
            "only seen silent. Pass silent=True to cut those: the outputs change where one would have fired."
        )


def _of_cut(proved: bool, record: bool, proofs: str) -> str:
    if proved:
        held = f" ({proofs})" if proofs else ""
        return f"Proved: each unit that was cut gives 0{held}; what is left is the rounding of shorter sums."
    what = "units that were only seen silent" if record else "units of findings that came without their record"
    return f"Not proved: {what} were cut, and the outputs change where one would have fired."


def _of_folding(folded: tuple[str, ...], shown: frozenset[str], proofs: str) -> str:
    seen = ", ".join(site for site in folded if site not in shown)
    if not folded:
        return ""
    if seen:
        return f"Not proved: units of {seen} were only seen open, and the outputs change where one would have shut."
    return f"Proved: each unit of {', '.join(folded)} is open ({proofs}); what is left is the rounding of other sums."


def _always_open(record: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f.site for f in record.of("always_open") if len(f.units) == f.total))


def _inputs(findings: Any) -> str:
    """The inputs that the proofs of a record are about."""
    return f"for {findings.box}" if isinstance(findings, Record) and findings.box is not None else ""


# Certificates


def _certified(adapter: Any, model: Any, certificate: Certificate) -> tuple[Proved, ...]:
    """What it proves of this very model: checked against the tensors, the mode and the graph."""
    try:
        found = check_proved(model, certificate)
    except Rejected as error:
        raise Rejected(error.reason, "prune: `findings`") from error
    adapter.pruning.check_mode(model, json.loads(certificate.document))
    return found


def _shape(certificate: Certificate) -> tuple[int, ...] | None:
    """Shape of one example of the model's input, where its proofs agree on one."""
    shapes = {tuple(network["example"]) for network in json.loads(certificate.document)["networks"]}
    return next(iter(shapes)) or None if len(shapes) == 1 else None


def _check_hashes(adapter: Any, model: Any, certificate: Certificate) -> None:
    """A record says little of running statistics: its certificate names each tensor that its proofs rest on."""
    steps = (step for network in json.loads(certificate.document)["networks"] for step in network["steps"])
    hashes = {array["name"]: array["sha256"] for step in steps for array in step["arrays"].values()}
    now = adapter.pruning.digests(model, hashes)
    other = next((name for name, digest in hashes.items() if now.get(name, digest) != digest), None)
    if other is not None:
        raise RectifierValueError(
            f"prune: `findings` must be a record of the model as it is; got one where {other!r} was "
            "another tensor. Run rectifier.check again."
        )


def _check_modes(adapter: Any, model: Any, proofs: str) -> None:
    training, evaluation = adapter.pruning.running_statistics(model)
    if training and "in evaluation mode" in proofs:
        raise RectifierValueError(
            "prune: `findings` must hold in the mode that the model is in; got proofs with batch normalisation in "
            "evaluation mode, and a model in training mode. Call model.eval() first."
        )
    if evaluation and "in training mode" in proofs:
        raise RectifierValueError(
            "prune: `findings` must hold in the mode that the model is in; got proofs for training mode, and a model "
            "in evaluation mode. Check the model in the mode that it is used in."
        )
