"""Proofs as tables: in the terminal, and in the documentation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .records import Proof, Result

__all__ = ["COLUMNS", "cells", "markdown", "summary"]

COLUMNS = ("function", "kind", "dtype", "computed by", "inputs", "misrounded", "max. error", "at")


def cells(result: Result) -> tuple[str, ...]:
    """One row of the table."""
    function = result.function
    if not result.default:
        function = f"{function} {result.parameter:g}"
    visited = f"{result.visited:,}" + (" (all)" if result.exhaustive else "")
    return (
        function,
        result.kind.replace("_", " "),
        result.dtype,
        result.subject,
        visited,
        f"{result.misrounded:,}",
        error(result.max_error),
        number(result),
    )


def error(ulp: float) -> str:
    if math.isinf(ulp):
        return "wrong kind"
    # Rounded up where it is not exact: 0.5000 must not hide a 0.50004.
    return "0" if ulp == 0 else f"{math.ceil(ulp * 1e4 - 1e-3) / 1e4:.4f}" if ulp < 1e4 else f"{ulp:.3g}"


def number(result: Result) -> str:
    """The worst input: as short as tells it apart, to the bit."""
    return "" if result.max_error == 0 else float(result.worst_input).hex()


def summary(proof: Proof) -> str:
    """The closing line."""
    broken = proof.broken
    visited = sum(result.visited for result in proof.results)
    told = "every promise kept" if not broken else f"{len(broken)} promises broken"
    return f"{len(proof.results)} cases, {visited:,} inputs, {told}; {proof.seconds:.0f} s"


def markdown(results: Sequence[Result]) -> str:
    """A table of the documentation; instruction sets with equal findings share a row."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for result in results:
        row = cells(result)
        merged.setdefault((*row[:3], *row[4:]), []).append(row[3])
    lines = [
        "| function | of | instruction sets | inputs | misrounded | largest error (ulp) | at |",
        "|---|---|---|---|---|---|---|",
    ]
    for (function, kind, _, inputs, misrounded, worst, at), who in merged.items():
        lines.append(f"| `{function}` | {kind} | {', '.join(who)} | {inputs} | {misrounded} | {worst} | {at} |")
    return "\n".join(lines)
