"""Writes docs/claims/ and the README's summary from docs/claims/results: python docs/write_claims.py.

To make those anew: rectifier claims run --all --results docs/claims/results
"""

import shutil
import sys
import textwrap
from itertools import groupby
from pathlib import Path

from rectifier.claims.lab import figures
from rectifier.claims.lab.claim import ANSWERS
from rectifier.claims.lab.fair import edges
from rectifier.claims.lab.page import by_halves, command, effects, machines, title
from rectifier.claims.lab.records import Records
from rectifier.claims.lab.report import told_of
from rectifier.claims.lab.sweep import Told

FOLDER = Path(__file__).with_name("claims")
README = Path(__file__).parents[1] / "README.md"
MARK = "<!-- written by docs/write_claims.py -->"
BEGIN, END = "<!-- claims: written by docs/write_claims.py -->\n", "<!-- end of claims -->\n"


def main(folder: Path = FOLDER, readme: Path = README) -> None:
    records = Records(folder / "results")
    told, notes = told_of(records)
    for line in notes:
        print(line, file=sys.stderr)
    if short := [each for each in told if each.plan.quick or len(each.results.seeds) < each.plan.many]:
        commands = [f"rectifier claims run {each.claim.name} --results docs/claims/results" for each in short]
        sys.exit("\n".join(["Not all runs of these claims are on record in full. Make them:", *commands]))
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "figures").mkdir()
    groups = [(group, list(each)) for group, each in groupby(told, lambda each: each.claim.group)]
    for group, each in groups:
        _write(folder / f"{_file(group)}.md", _page(group, each))
        for one in each:
            if one.figure:
                _write(folder / "figures" / f"{one.claim.name}.svg", figures.alone(one.figure))
    _write(folder / "index.md", _index(groups, told, records))
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _write(readme, before + BEGIN + _summary(told) + END + rest.partition(END)[2])


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    print(f"Wrote {path}", file=sys.stderr)


def _file(group: str) -> str:
    return group.replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _index(groups: list[tuple[str, list[Told]]], told: list[Told], records: Records) -> str:
    lines = [
        MARK,
        "# The laboratory",
        "",
        "Claims made about ReLU, each measured: what was said, what came out, and by how much. Every one can be run, "
        "varied and seen to fail: `rectifier claims` lists them, `rectifier claims run NAME --quick` takes seconds to "
        "minutes, and `rectifier claims report` makes a page of what was run.",
        "",
        "Activations that are compared get the same data order, budget and seeds, and each its own best step size, "
        "chosen on validation data with other seeds. An effect is told with its 95 % interval over "
        "the seeds, each by itself: where a verdict rests on a dozen, one of them may lie beside the truth by chance. "
        "Accuracies that agree in all seeds are told with one example of the test part to either side.",
        "",
        "| | Claim | Verdict | Effect |",
        "|---|---|---|---|",
    ]
    for group, each in groups:
        for place, one in enumerate(each):
            name = "" if place else group
            effect = one.verdict.effects[0].told if one.verdict.effects else "–"
            link = f"[{_cell(one.claim.statement)}]({_file(group)}.md#{one.claim.name})"
            lines.append(f"| {name} | {link} | **{one.verdict.answer}** | {_cell(effect)} |")
    lines += ["", *_by_halves(told), "", *_edges(told)]
    lines += ["", "## Measured on", "", *(f"- {_cell(line)}." for line in machines(told, records)), ""]
    lines += ["```{toctree}", ":hidden:", "", *(_file(group) for group, _ in groups), "```", ""]
    return "\n".join(lines)


def _summary(told: list[Told]) -> str:
    """Which of the claims hold, for the README."""
    lines = [f"Of {len(told)} claims, measured in full:", ""]
    for answer in ANSWERS:
        names = [
            f"[{title(each.claim.name)}](docs/claims/{_file(each.claim.group)}.md#{each.claim.name})"
            for each in told
            if each.verdict.answer == answer
        ]
        if names:
            text = f"- {len(names)} *{answer}*: {', '.join(names)}."
            lines += textwrap.wrap(text, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _by_halves(told: list[Told]) -> list[str]:
    """Whether other seeds would have said the same."""
    halved = [each for each in told if each.halves]
    unlike = [each for each in halved if set(each.halves) != {each.verdict.answer}]
    lines = [
        f"By either half of their seeds alone, {len(halved) - len(unlike)} of {len(halved)} claims get the same "
        "verdict; the halves share no seed but those that chose the step sizes."
    ]
    if unlike:
        lines += ["The others:", ""]
        lines += [
            f"- {title(each.claim.name)}, which is judged *{each.verdict.answer}*: {by_halves(each)}" for each in unlike
        ]
    return lines


def _edges(told: list[Told]) -> list[str]:
    """Whether the grids of step sizes were wide enough."""
    ends: dict[str, list[str]] = {}
    for each in told:
        for candidate, at_end in edges(each.made, each.plan).items():
            named = ends.setdefault(candidate, [])
            if at_end:
                named.append(title(each.claim.name))
    beyond = {candidate: names for candidate, names in ends.items() if names}
    lines = [
        f"Of {len(ends)} networks that took their best step size from a grid, {len(beyond)} took an end of it, where a "
        f"wider one might have shown a better{':' if beyond else '.'}"
    ]
    return lines + [""] * bool(beyond) + [f"- {', '.join(names)}: {candidate}." for candidate, names in beyond.items()]


def _page(group: str, told: list[Told]) -> str:
    lines = [MARK, f"# Claims: {group}", ""]
    for each in told:
        claim, verdict = each.claim, each.verdict
        figure = each.figure
        table = effects(verdict.effects)
        lines += [
            f"({claim.name})=",
            f"## {title(claim.name)}",
            "",
            f"> {claim.statement}",
            "",
            f"**{verdict.answer[0].upper()}{verdict.answer[1:]}.** {verdict.told}",
            "",
            *([f"![{figure.alt}](figures/{claim.name}.svg)", "", figure.caption, ""] if figure else []),
            f"| {' | '.join(table.columns)} |",
            f"|---|{'---:|' * 3}---|---:|",
            *(f"| {' | '.join(map(_cell, row))} |" for row in table.rows),
            "",
            *([f"- By halves of the seeds: {by_halves(each)}"] if each.halves else []),
            f"- Who says so: {claim.source}",
            f"- Refuted by: {claim.refuted_by}",
            f"- How: {claim.method}",
            f"- Run it: `{command(each)}`",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
