"""Writes the tables of performance.md from records: python docs/write_performance.py FILE... (of bench --json)."""

import sys
from pathlib import Path

from rectifier.bench import Benchmark
from rectifier.bench.plan import size_text
from rectifier.bench.table import absences, header, markdown, tables

PAGE = Path(__file__).with_name("performance.md")
START, END = "<!-- peers: written by docs/write_performance.py -->", "<!-- end of peers -->"


def section(benchmark: Benchmark) -> str:
    parts = [header(benchmark) + ".", ""]
    groups: dict[tuple[str, int], list] = {}
    for table in tables(benchmark):
        groups.setdefault((table.dtype, table.threads), []).append(table)
    for (dtype, threads), chosen in groups.items():
        parts += [f"### {dtype}, {threads} thread{'s' * (threads != 1)}", ""]
        for size in sorted({size for table in chosen for size in table.sizes}):
            parts += [f"{size_text(size)} values:", "", markdown(chosen, size), ""]
    parts += ["### Not timed", "", *(f"- {line}" for line in absences(benchmark)), ""]
    return "\n".join(parts)


def main(paths: list[str]) -> None:
    benchmark = Benchmark.joined(Benchmark.read(Path(path)) for path in paths)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{section(benchmark)}\n{END}{after}", encoding="utf-8")
    print(f"Wrote {PAGE}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
