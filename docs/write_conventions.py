"""Writes the tables of conventions.md from the record of ``rectifier compare --json`` that the package carries."""

import sys
from pathlib import Path

from rectifier._conventions import PATH
from rectifier.compare import Comparison
from rectifier.compare.table import header, markdown, sheets

PAGE = Path(__file__).with_name("conventions.md")
START, END = "<!-- tables: written by docs/write_conventions.py -->", "<!-- end of tables -->"


def tables(comparison: Comparison) -> str:
    return "\n".join([f"{header(comparison)}.", "", *(markdown(sheet) for sheet in sheets(comparison))])


def written(page: str, comparison: Comparison) -> str:
    """The page with its tables anew."""
    before, after = page.split(START)[0], page.split(END)[1]
    return f"{before}{START}\n\n{tables(comparison)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), Comparison.read(PATH)), encoding="utf-8")
    print(f"Wrote {PAGE}", file=sys.stderr)
