"""The tools, by name. A new adapter has the members of :class:`benchmarks.patients.case.Tool`, and is named here."""

from __future__ import annotations

from benchmarks.patients.case import Tool
from benchmarks.patients.tools import dead_relu_viz, ormas, ours, rules, torchdiag

__all__ = ["TOOLS"]

TOOLS: dict[str, Tool] = {
    tool.name: tool for module in (ours, ormas, torchdiag, dead_relu_viz, rules) for tool in module.TOOLS
}
