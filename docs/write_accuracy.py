"""Writes the tables of accuracy.md from records: python docs/write_accuracy.py FILE... (of verify --json)."""

import sys
from pathlib import Path

from rectifier.verify import Proof
from rectifier.verify.table import markdown

PAGE = Path(__file__).with_name("accuracy.md")
START, END = "<!-- tables: written by docs/write_accuracy.py -->", "<!-- end of tables -->"
DTYPES = ("float32", "float16", "bfloat16", "float64")


def tables(proof: Proof) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in proof.versions.items() if name != "torch")
    minutes = proof.seconds / 60
    parts = [f"{proof.machine}; {versions}; {minutes:.0f} minutes.", ""]
    for default, title in ((True, "Default parameters"), (False, "Other parameters")):
        for dtype in DTYPES:
            rows = [r for r in proof.results if r.dtype == dtype and r.default == default]
            if rows:
                parts += [f"### {title}: {dtype}", "", markdown(rows), ""]
    return "\n".join(parts)


def main(paths: list[str]) -> None:
    proof = Proof.joined(Proof.read(Path(path)) for path in paths)
    if proof.pending:
        sys.exit(f"{', '.join(paths)}: cut short, {len(proof.pending)} cases not judged yet. Run make verify again.")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{tables(proof)}\n{END}{after}", encoding="utf-8")
    print(f"Wrote {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
