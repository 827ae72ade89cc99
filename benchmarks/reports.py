"""How large a record's page and files are and how long they take, from a small network to the largest.

Run with ``python benchmarks/reports.py [--size 200x4096x128 …] [--read] --json FILE``, and with ``--write FILE …`` to
put the table of such files into docs/reports.md. A size is sites × units × snapshots. The records are made up: rates,
sums and extremes are random, so that nothing about them can be compressed that could not be in a real one, and a tenth
of the units is silent. What is larger than memory is bounded by sharing arrays between snapshots, farther apart than a
compressor looks back. ``--read`` reads the Parquet file again; that takes as much memory as the record, 12 GB for the
largest. How long a page takes to open is measured in headless Chromium, from the start of the navigation until the last
map is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rectifier.checkup import Finding, Record, SiteVitals, Snapshot
from rectifier.reporters import html
from tests.reporters.chromium import CHROMIUM, chromium

PAGE = Path(__file__).parents[1] / "docs" / "reports.md"
BEGIN, END = "<!-- written by benchmarks/reports.py -->", "<!-- end -->"
SIZES = ("3x128x1", "3x128x128", "50x1024x128", "200x4096x128")
EXAMPLES = 60_000
#: Different sites; a repetition is 17 MB behind, where no compressor of columns looks.
POOL = 512
#: The most values a record may hold that is written as JSON too: some 20 bytes each, and as many seconds a gigabyte.
MOST_AS_JSON = 50_000 * 17


def vitals(units: int, random: np.random.Generator) -> SiteVitals:
    fired = random.integers(1, EXAMPLES, units)
    fired[random.random(units) < 0.1] = 0
    zeros = np.zeros(units, dtype=np.int64)

    def measured(scale: float = 1.0) -> Any:
        """As a network in float32 gives it."""
        return np.abs(random.standard_normal(units) * scale).astype(np.float32).astype(np.float64)

    def summed(scale: float) -> Any:
        return np.abs(random.standard_normal(units)) * scale

    return SiteVitals(
        site="",
        rectifier="relu",
        parameters={},
        layer="linear",
        examples=EXAMPLES,
        fired=fired,
        nan=zeros,
        sum_h=summed(EXAMPLES),
        sum_abs_h=summed(EXAMPLES),
        min_z=-measured(),
        max_z=measured(),
        rms_h=1.0,
        gradient_rms=1e-3,
        gradient_abs=summed(1e-5),
        bias=measured(),
        weight_norm=measured(),
        moved=measured(1e-3),
        infinite=zeros,
        inputs=EXAMPLES,
        graded=10,
        lived=np.where(fired > 0, 1000, 0),
        recent=500,
    )


def made_up(sites: int, units: int, snapshots: int) -> Record:
    random = np.random.default_rng(0)
    pool = [vitals(units, random) for _ in range(min(POOL, sites * snapshots))]
    names = [f"layers.{number}.mlp.act" for number in range(sites)]
    shots = tuple(
        Snapshot(
            10 * look,
            tuple(replace(pool[(look * sites + place) % len(pool)], site=name) for place, name in enumerate(names)),
            (),
            1.0,
        )
        for look in range(snapshots)
    )
    silent = {site.site: tuple(np.flatnonzero(site.fired == 0).tolist()) for site in shots[-1].sites}
    findings = tuple(
        Finding("silent", name, silent[name], units, "evidence", "cause", "remedy", severity="warning")
        for name in names
        if silent[name]
    )
    return Record("Made up", "check" if snapshots == 1 else "watch", shots, findings)


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = act()
    return result, time.perf_counter() - start


def measure(size: str, *, read: bool) -> dict[str, Any]:
    sites, units, snapshots = map(int, size.split("x"))
    record = made_up(sites, units, snapshots)
    told: dict[str, Any] = {"size": size, "rows": sites * units * snapshots}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        html.render(made_up(1, 4, 1))  # Jinja is loaded
        text, told["page_s"] = timed(lambda: html.render(record))
        told["page_bytes"] = len(text.encode())
        (folder / "page.html").write_text(text, encoding="utf-8")
        if CHROMIUM is not None:
            told["open_s"] = opened(folder)
        made_up(1, 4, 1).to_parquet(folder / "warm")  # Arrow is loaded
        path, told["write_s"] = timed(lambda: record.to_parquet(folder / "record"))
        told["parquet_bytes"] = path.stat().st_size
        told["write_peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if read:
            again, told["read_s"] = timed(lambda: Record.read(path))
            assert np.array_equal(again.last.sites[-1].max_z, record.last.sites[-1].max_z)
    if told["rows"] <= MOST_AS_JSON:
        text, told["json_s"] = timed(record.to_json)
        told["json_bytes"] = len(text.encode())
    return told


def opened(folder: Path) -> float:
    """Milliseconds that the page itself counts until it is drawn, of the second time, as seconds."""
    with chromium(folder) as browser:
        for _ in range(2):
            took = browser.open(folder / "page.html").run("performance.getEntriesByName('drawn')[0].startTime")
    return float(took) / 1000


def table(runs: list[dict[str, Any]]) -> str:
    head = "| sites × units × snapshots | page | made in | opens in | Parquet | written in | read in | JSON |"
    rows = [head, "|---|---|---|---|---|---|---|---|"]
    for run in runs:
        size = " × ".join(f"{int(part):,}" for part in run["size"].split("x"))
        cells = (
            bytes_in_words(run["page_bytes"]),
            seconds(run["page_s"]),
            seconds(run.get("open_s")),
            bytes_in_words(run["parquet_bytes"]),
            seconds(run["write_s"]),
            seconds(run.get("read_s")),
            bytes_in_words(run.get("json_bytes")),
        )
        rows.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join([*rows, "", f"Measured on {runs[0]['machine']}."])


def bytes_in_words(value: int | None) -> str:
    if value is None:
        return "–"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value} B"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", action="append", help="sites x units x snapshots; all of the table by default")
    parser.add_argument("--read", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, nargs="+", help="JSON files to make the table of")
    given = parser.parse_args()
    if given.write:
        runs = [run for path in given.write for run in json.loads(path.read_text(encoding="utf-8"))]
        runs.sort(key=lambda run: run["rows"])
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table(runs)}\n\n{END}{after}", encoding="utf-8")
        return
    machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
    runs = [measure(size, read=given.read) | {"machine": machine} for size in given.size or SIZES]
    print(table(runs))
    if given.json:
        given.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
