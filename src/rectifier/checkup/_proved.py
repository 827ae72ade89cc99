"""``proved``: a certificate held against a model, by the independent checker and by the model's own graph."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import RectifierTypeError, RectifierValueError
from .adapters import adapter_for
from .proofs.certificate import Certificate
from .proofs.checker import Proved, Rejected, examine
from .records import Record

__all__ = ["proved"]

_CALL = "proved: `certificate`"


def proved(model: Any, certificate: Record | Certificate | str | PathLike[str]) -> tuple[Proved, ...]:
    """The units that a certificate proves dead in this very model, and the conditions of each proof.

    The independent checker derives every bound anew for the model's tensors as they are; then the steps of the
    certificate are compared with those that tracing the model gives, so that its sites are those of this model.

    model: a PyTorch model. certificate: a record (its ``.certificate``), a certificate, or the path of a file written
        with ``check --certificate``.

    Returns one :class:`Proved` a site: ``site``, ``units``, ``rectifier``, ``low`` and ``high`` (the input box),
    ``training`` (the mode), ``batch`` (the largest batch that it holds for, or None) and ``conditions``, the same in
    words. A record without a certificate gives none.

    Raises RectifierTypeError for arguments of other kinds; RectifierValueError where the file cannot be read;
    :class:`Rejected`, a RectifierValueError that tells why, where the certificate does not hold for this model.

    >>> import torch, rectifier
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    >>> with torch.no_grad():
    ...     _ = net[0].weight.copy_(torch.eye(2)); _ = net[0].bias.copy_(torch.tensor([0.0, -9.0]))
    >>> (site,) = rectifier.checkup.proved(net, rectifier.check(net, [torch.rand(8, 2)], box=(0.0, 1.0)))
    >>> site.site, site.units, site.conditions
    ('1', (1,), 'for every input within [0, 1], in evaluation mode')
    """
    adapter = adapter_for(model, "proved")
    document = _document(certificate)
    if document is None:
        return ()
    target = adapter.observable(model, "check")
    try:
        found = examine(document, adapter.certified.Tensors(target))
    except Rejected as error:
        raise Rejected(error.reason, _CALL) from None
    reason = adapter.certified.of_another(target, document)
    if reason is not None:
        raise Rejected(reason, _CALL)
    return found


def _document(certificate: Any) -> str | None:
    if isinstance(certificate, Record):
        certificate = certificate.certificate
        if certificate is None:
            return None
    if isinstance(certificate, Certificate):
        return certificate.document
    if not isinstance(certificate, (str, PathLike)):
        raise RectifierTypeError(
            f"{_CALL} must be a Record, a Certificate or the path of a file; got {type(certificate).__name__}. "
            "Pass what rectifier.check returned."
        )
    try:
        return Path(certificate).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise RectifierValueError(
            f"{_CALL} must be a file written with check --certificate; got {str(certificate)!r}: reading it failed "
            f"with {type(error).__name__}. Make one with: rectifier check TARGET --certificate FILE"
        ) from error
