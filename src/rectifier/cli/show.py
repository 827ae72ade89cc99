"""``rectifier show``: functions as in a lecture."""

from __future__ import annotations

import json as json_module
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from .._family import Row, family
from ..errors import RectifierValueError
from .frame import Debug, guarded, note, refuse_unwritable

__all__ = ["show"]


@guarded
def show(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Functions of the family; all: every one.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Draw them as one figure: .png, .svg or .pdf."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Value of a parameter, such as negative_slope=0.3."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what is said of them as JSON, without graphs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file where it exists.")] = False,
    debug: Debug = False,
) -> None:
    """Draw functions and their derivatives, with all that is known.

    Formula, derivative, parameters, conventions of each framework, strengths, faults and source. With -o the graphs go
    to the file and the text stays in the terminal.

    Example: rectifier show relu leaky_relu elu -o three.png
    """
    chosen = _known(names)
    values = _settings(settings or [], chosen)
    if output is None and force:
        raise RectifierValueError(
            "show: `--force` must come with an output file; got none to overwrite. Add -o FILE, or leave --force out."
        )
    if json and settings and output is None:
        raise RectifierValueError(
            "show: `--set` must come with a graph; got --json alone, which prints the family's row. Leave --set out."
        )
    if output is None:
        _print(chosen, values, as_json=json, graphs=True)
        return
    _refuse_output(output, force=force)
    from ..show.figure import save

    save(output, chosen, values)
    _print(chosen, values, as_json=json, graphs=False)
    sys.stdout.flush()
    note(f"Wrote {Path(output)}")


def _known(names: Sequence[str]) -> list[str]:
    chosen: dict[str, None] = {}
    for name in names:
        key = _key(name)
        if key == "all":
            chosen.update(dict.fromkeys(family))
            continue
        if key not in family:
            close = get_close_matches(key, family, n=1, cutoff=0.5)
            cure = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(family)}."
            raise RectifierValueError(f"show: `NAME` must be a function of the family; got {name!r}. {cure}")
        chosen[key] = None
    return list(chosen)


def _key(name: str) -> str:
    """The row's name from what people call it: "LeakyReLU", "leaky-relu" and "Leaky ReLU" are leaky_relu."""
    flat = name.strip().lower().replace("-", "_").replace(" ", "_")
    for row in family.values():
        if flat in (row.name, row.title.lower().replace(" ", "_"), (row.layer or row.name).lower()):
            return row.name
    return flat


def _settings(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    parameters = {p.name: p for name in names for p in family[name].parameters}
    for text in texts:
        key, equals, number = text.partition("=")
        key = key.strip()
        try:
            value = float(number)
        except ValueError:
            equals = ""
            value = 0.0
        if not equals:
            raise RectifierValueError(
                f"show: `--set` must be NAME=VALUE with a number; got {text!r}. Write it as --set negative_slope=0.3."
            )
        if key not in parameters:
            cure = f"They have: {', '.join(parameters)}." if parameters else "They have none."
            raise RectifierValueError(
                f"show: `--set` must name a parameter of a function shown ({', '.join(names)}); got {key!r}. {cure}"
            )
        if key in values:
            raise RectifierValueError(f"show: `--set` must give each parameter once; got {key!r} twice. Keep one.")
        values[key] = value
    from ..show.curves import with_defaults

    for name in names:
        with_defaults(family[name], values)
    return values


def _refuse_output(output: str, *, force: bool) -> None:
    from ..show.figure import FORMATS

    if Path(output).suffix[1:].lower() not in FORMATS:
        allowed = ", ".join(f".{extension}" for extension in FORMATS)
        raise RectifierValueError(f"show: `--output` must end in one of {allowed}; got {output!r}. Change the ending.")
    refuse_unwritable("show", "--output", output, force=force)


def _print(names: Sequence[str], values: dict[str, float], *, as_json: bool, graphs: bool) -> None:
    if as_json:
        print(json_module.dumps({name: _plain(family[name]) for name in names}, indent=1, ensure_ascii=False))
        return
    from ..show.text import card

    width = shutil.get_terminal_size().columns
    print("\n".join(card(name, values, width=width, graphs=graphs) for name in names), end="")


def _plain(row: Row) -> dict[str, Any]:
    # A domain holds its test as a function: its rule is what can be said.
    parameters = [
        {"name": p.name, "default": p.default, "domain": p.domain.rule, "meaning": p.meaning, "of": p.of}
        for p in row.parameters
    ]
    mappings = {
        "conventions": dict(row.conventions),
        "presets": {framework: dict(preset) for framework, preset in row.presets.items()},
        "error_bound": dict(row.error_bound),
    }
    # The notes are in the conventions.
    fields = {key: getattr(row, key) for key in row.__dataclass_fields__ if key != "notes"}
    return {**fields, "kinks": [asdict(kink) for kink in row.kinks], "parameters": parameters, **mappings}
