"""Which units an act is about: chosen from a record or from findings, and refused where they are alive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import RectifierTypeError, RectifierValueError
from .records import Finding, Record

__all__ = ["NOTHING_BELOW", "chosen", "units_of"]

#: Rectifiers that are exactly 0 on the whole of z ≤ 0.
NOTHING_BELOW = frozenset({"relu", "relu6", "squared_relu"})


def chosen(findings: Any, verb: str, kinds: frozenset[str]) -> tuple[Finding, ...]:
    """The findings to act on: of a record those of these kinds, else the ones given.

    Raises RectifierTypeError where ``findings`` are none.
    """
    if isinstance(findings, Record):
        return tuple(finding for finding in findings.findings if finding.kind in kinds)
    given = (findings,) if isinstance(findings, Finding) else findings
    items = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    wrong = next((item for item in items if not isinstance(item, Finding)), None)
    if wrong is not None:
        raise RectifierTypeError(
            f"{verb}: `findings` must be a Record or findings of one; got {type(wrong).__name__}. "
            "Pass what rectifier.check returned, or some of its `.findings`."
        )
    return items


def units_of(findings: Iterable[Finding], verb: str) -> dict[str, tuple[int, ...]]:
    """site → its units, each once, in order."""
    found: dict[str, set[int]] = {}
    for finding in findings:
        if not finding.units:
            raise RectifierValueError(
                f"{verb}: `findings` must be about units; got {finding.kind!r} at {finding.site!r}, which is about a "
                "scale. Leave it out."
            )
        found.setdefault(finding.site, set()).update(finding.units)
    return {site: tuple(sorted(units)) for site, units in found.items()}
