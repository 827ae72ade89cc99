"""Receipts of ``heal`` and ``prune`` in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..checkup.records import Receipt
from ..checkup.weights.names import printable
from .words import count, spot, units

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_receipts"]


def print_receipts(
    receipts: Sequence[Receipt], shapes: Mapping[str, Mapping[str, Sequence[int]]], console: Console
) -> None:
    """Print what was done, what it did to the outputs, which shapes changed, and what was left as it was."""
    from rich.text import Text

    def say(text: str, style: str = "") -> None:
        console.print(Text(printable(text), style=style), soft_wrap=True)

    for receipt in receipts:
        if len(receipt.sites) > 1:  # numbers count within a site
            those = (f"{_units(numbers)} of {spot(site)}" for site, numbers in receipt.sites.items())
            say(f"{_DONE[receipt.act]}: {'; '.join(those)}", "bold")
        else:
            which = f", {_units(receipt.units)}" if receipt.units else ""
            say(f"{_DONE[receipt.act]} at {spot(receipt.site)}{which}", "bold")
        say(f"  {receipt.change}")
        if receipt.evidence:
            say(f"  {receipt.evidence}")
        elif receipt.output_change is not None:
            say(f"  outputs on the probe moved by {receipt.output_change:.3g} at most")
        if receipt.parameters_after != receipt.parameters_before:
            say(f"  parameters {count(receipt.parameters_before)} → {count(receipt.parameters_after)}")
        if receipt.flops is not None:
            say(f"  operations of a pass {count(receipt.flops[0])} → {count(receipt.flops[1])}")
        if receipt.seconds is not None:
            before, after = (1e3 * seconds for seconds in receipt.seconds)
            say(f"  time of a pass {before:.3g} ms → {after:.3g} ms")
    for name, shape in shapes.items():
        say(f"  {name} {_size(shape['before'])} → {_size(shape['after'])}")
    for line in dict.fromkeys(line for receipt in receipts for line in receipt.skipped):
        say(f"Left as it was: {line}")


_DONE: Mapping[str, str] = {"recycle": "Recycled", "swap": "Swapped", "rescale": "Rescaled", "prune": "Cut"}


def _size(shape: Any) -> str:
    return " × ".join(map(str, shape)) or "1"


def _units(numbers: Sequence[int]) -> str:
    return f"{'unit' if len(numbers) == 1 else 'units'} {units(numbers)}"
