"""Sphinx configuration. The pages of the functions are generated from their rows, so they cannot fall behind."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import rectifier

# The backend of the Keras that autodoc imports; any will do.
os.environ.setdefault("KERAS_BACKEND", "torch")

project = "rectifier"
author = "the rectifier authors"
copyright = "2026, the rectifier authors"
version = release = rectifier.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"rectifier {release}"
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
nitpicky = False


def function_page(name: str) -> str:
    """The page of one function, in Markdown, from its row."""
    row = rectifier.family[name]
    sections = [
        f"# {row.title}",
        f"**f(z) = {row.formula}**",
        f"f′(z): {row.derivative}. Range: {row.range}.",
    ]
    if row.kinks:
        sections.append(
            "\n".join(f"- at the kink z = {kink.at} the derivative is {kink.derivative}" for kink in row.kinks)
        )
    if row.parameters:
        sections.append("## Parameters")
        sections.append(
            "\n".join(
                f"- `{p.name}` ({'no default' if p.default is None else p.default}): {p.meaning}; {p.domain.rule}"
                + ("; of the derivative only" if p.of == "derivative" else "")
                for p in row.parameters
            )
        )
    sections.append("## Strengths and faults")
    sections.append("\n".join(f"- {text}" for text in row.strengths))
    sections.append("\n".join(f"- {text}" for text in row.faults))
    if row.conventions:
        sections.append("## What frameworks do")
        sections.append(
            "\n".join(
                ["| framework | convention |", "|---|---|", *(f"| {k} | {v} |" for k, v in row.conventions.items())]
            )
        )
    sections.append("## Here")
    layer = f"layer `rectifier.torch.{row.layer}`, " if row.layer else ""
    sections.append(
        f"`rectifier.{name}`, {layer}gain {rectifier.gain(name):.6g} (weights of standard deviation gain/√fan-in keep "
        "the scale of activations)."
    )
    sections.append("## Source")
    sections.append(row.citation + ".")
    return "\n\n".join(sections) + "\n"


def generate() -> None:
    """Write one page a function, and only where its text changed, so that a rebuild stays incremental."""
    folder = Path(__file__).parent / "_generated"
    folder.mkdir(exist_ok=True)
    for name in rectifier.family:
        page = folder / f"{name}.md"
        text = function_page(name)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def as_rst(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings here are plain text: a parameter is a line ``name: …``, |z| is an absolute value.

    For reStructuredText each parameter becomes an item of a list, and bars and trailing underscores are escaped.
    """
    told: list[str] = []
    example = item = False
    for line in lines:
        text = line.strip()
        example = text.startswith(">>>") or (example and bool(text))
        if example:
            told.append(line)
            item = False
            continue
        text = re.sub(r"(?<=\w)_(?!\w)", r"\\_", text.replace("|", r"\|").replace("*", r"\*"))
        parameter = re.match(r"(\w+(?:\\_)?(?:, \w+)*): (.*)", text)
        if parameter:
            told += [] if item else [""]
            told.append(f"- **{parameter[1]}**: {parameter[2]}")
            item = True
        else:
            told.append(f"  {text}" if item and text else text)
            item = item and bool(text)
    lines[:] = told


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", as_rst)


generate()
