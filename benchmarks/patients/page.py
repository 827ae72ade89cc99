"""The scores as tables: on the terminal, and as the page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.patients.case import Patient
from benchmarks.patients.score import Score

__all__ = ["markdown", "terminal"]

Scores = Sequence[Score]


def terminal(found: dict[str, Any]) -> str:
    """One line a pair of patient and tool."""
    rows = [("patient", "tool", "dead units", "proved", "alarms", "scales", "causes")]
    for one in found["scores"]:
        causes = f"{one.causes_right} of {one.causes}" if one.causes else ""
        proved = str(one.proved) if one.planted else ""
        rows.append(
            (one.patient, one.tool, one.error or _told(one), proved, str(len(one.alarms)), _scales(one), causes)
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    absent = [f"{name}: not installed" for name, version in found["tools"].items() if version is None]
    return "\n".join([*lines, *absent])


def _told(one: Score) -> str:
    if not one.planted:
        return f"{one.false} false" if one.false else ""
    return f"{one.found} of {one.planted}{f', {one.false} false' if one.false else ''} ({one.outcome})"


def _scales(one: Score) -> str:
    return ", ".join(one.scales_said) or ("none" if one.scales else "")


# The page ------------------------------------------------------------------------------------------------------------


def markdown(found: dict[str, Any], patients: Sequence[Patient]) -> str:
    """docs/checkup-benchmark.md."""
    scores: list[Score] = found["scores"]
    absent = [name for name, version in found["tools"].items() if version is None]
    tools = [name for name in found["tools"] if name not in absent]
    by = {(one.tool, one.patient): one for one in scores}
    names = {patient.name for patient in patients}

    def of(kind: str) -> list[Patient]:
        return [patient for patient in patients if _kind(patient) == kind and patient.name in names]

    def rows(chosen: Sequence[Patient], cell: Any) -> list[list[str]]:
        return [[_tool(tool, found), *(cell(by[tool, patient.name]) for patient in chosen)] for tool in tools]

    planted = of("planted")
    heads = [f"{patient.name} ({by[tools[0], patient.name].planted})" for patient in planted]
    causes = of("cause")
    live = [tool for tool in tools if any(by[tool, patient.name].causes_right for patient in causes)]
    parts = [
        HEAD,
        _machine(found),
        "## Against the bars\n",
        _bars(by, tools, patients),
        "## Planted dead units\n",
        DEAD_UNITS,
        _table(["tool", *heads], rows(planted, _dead)),
        "## Proofs\n",
        PROOFS,
        _table(["tool", *heads], [row for row in rows(planted, _proved) if set(row[1:]) - {"0"}]),
        "## Nothing wrong\n",
        HEALTHY,
        _table(["tool", *(patient.name for patient in of("healthy"))], rows(of("healthy"), _alarmed)),
        "## Scales\n",
        "What a tool says of gradients and activations.\n",
        _table(["tool", *(patient.name for patient in of("scale"))], rows(of("scale"), _scale)),
        "## Causes\n",
        CAUSES,
        _table(
            ["tool", *(patient.name.removeprefix("cause-") for patient in causes)],
            [[_tool(tool, found), *(_cause(by[tool, patient.name]) for patient in causes)] for tool in live],
        ),
        "## Other labels\n",
        OTHERS,
        _table(["tool", "rare", "dormant", "always open", "always closed"], _others(scores, tools, found)),
        _errors(scores),
        "## The patients\n",
        PATIENTS,
        _table(["patient", "what it is"], [[f"`{patient.name}`", patient.about] for patient in patients]),
        "## Tools\n",
        TOOLS,
        _table(["tool", "version"], [[name, found["tools"][name] or "not installed"] for name in found["tools"]]),
        ADAPTER,
    ]
    return "\n".join(part for part in parts if part)


def _kind(patient: Patient) -> str:
    if patient.healthy or patient.name == "leaky":
        return "healthy"
    if patient.name.startswith("cause-"):
        return "cause"
    return "scale" if patient.name in ("vanishing", "exploding") else "planted"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _tool(name: str, found: dict[str, Any]) -> str:
    return f"**{name}**" if name.startswith("rectifier") else name


def _dead(one: Score) -> str:
    if one.error is not None:
        return "error"
    false = f" + {one.false} false" if one.false else ""
    if not one.found and one.unseen == one.planted and not one.false:
        return "not observed"
    rest = ", rest not observed" if one.unseen and one.found + one.unseen == one.planted else ""
    return f"{one.found}{false}{rest}"


def _proved(one: Score) -> str:
    return f"{one.proved}{f' + {one.proved_false} false' if one.proved_false else ''}"


def _alarmed(one: Score) -> str:
    if one.error is not None:
        return "error"
    return f"{len(one.alarms)}{f', {one.false} false' if one.false else ''}"


def _scale(one: Score) -> str:
    return "error" if one.error is not None else ", ".join(one.scales_said) or "–"


def _cause(one: Score) -> str:
    return "error" if one.error is not None else f"{one.causes_right} of {one.causes}"


def _others(scores: Scores, tools: Sequence[str], found: dict[str, Any]) -> list[list[str]]:
    rows = []
    for tool in tools:
        row = [_tool(tool, found)]
        for label in ("rare", "dormant", "open", "closed"):
            # Where every process looks at its own part, a rare unit of all is not one of the part: see ddp above.
            each = [one.others[label] for one in scores if one.tool == tool and label in one.others]
            planted, named, false = (sum(column) for column in zip(*each, strict=True)) if each else (0, 0, 0)
            row.append(f"{named} of {planted}{f' + {false} false' if false else ''}" if each else "–")
        if set(row[1:]) != {"–"}:
            rows.append(row)
    return rows


def _errors(scores: Scores) -> str:
    lines = [f"- {one.tool}, {one.patient}: {one.error}" for one in scores if one.error is not None]
    return "\n".join(["## Errors\n", *lines, ""]) if lines else ""


def _bars(by: dict[tuple[str, str], Score], tools: Sequence[str], patients: Sequence[Patient]) -> str:
    """What the project is held to, for its own tools."""
    ours = [tool for tool in tools if tool.startswith("rectifier")]
    rows: list[list[str]] = [
        ["planted dead units found / others called dead, over all patients", "all / 0"],
        ["of those of `mlp` and `cnn`, proved", "all"],
        ["findings on healthy controls", "0"],
        ["`functional`, `compiled`", "found, or not observed"],
        ["`ddp`, two processes: firing counts", "exact"],
    ]
    for tool in ours:
        every = [by[tool, patient.name] for patient in patients]
        proofs = [by[tool, name] for name in ("mlp", "cnn")]
        rows[0].append(f"{_sum(every, 'found')} of {_sum(every, 'planted')} / {_sum(every, 'false')}")
        rows[1].append(f"{_sum(proofs, 'proved')} of {_sum(proofs, 'planted')}")
        rows[2].append(str(sum(len(one.alarms) for one in every if one.healthy)))
        rows[3].append(", ".join(by[tool, name].outcome for name in ("functional", "compiled")))
        exact = by[tool, "ddp"].counts_exact
        rows[4].append("exact" if exact else "not told" if exact is None else "not exact")
    return _table(["", "bar", *(f"**{tool}**" for tool in ours)], rows)


def _sum(scores: Scores, name: str) -> int:
    return sum(getattr(one, name) for one in scores)


def _machine(found: dict[str, Any]) -> str:
    wanted = ("processor", "cores", "system", "python", "numpy", "torch", "commit")
    told = ", ".join(f"{key} {found['machine'][key]}" for key in wanted if key in found["machine"])
    return f"Measured with seed {found['seed']} on: {told}.\n"


HEAD = """\
# The check-up against planted faults

What tools say about networks whose every unit is known. A patient is a model with its data, and a truth about each
unit that holds by construction or was counted over a sample twenty times larger than what the tools are given; it is
checked anew in every run. Written by `python -m benchmarks.patients --page docs/checkup-benchmark.md`.
"""

DEAD_UNITS = """\
How many of the planted dead units (their number in the heading) a tool calls dead, silent or inactive, and
how many units that fire it calls so too ("false"). "Not observed": it finds none and says that it could not look there,
which is no error; "0" without it is one. Tools that only count are given the benefit of the doubt: their numbers are
taken to mean dead units first, so what is shown is the most that they can have found and the fewest that they can have
got wrong.
"""

PROOFS = """\
Planted dead units for which a proof is given, that no input of a stated set, or none at all, can open them.
Tools without a row prove nothing.
"""

HEALTHY = """\
Nothing is wrong with these: lines that a tool raises as a fault, and units called dead that fire at more than
1 % of the examples. `leaky` has units that never fire and learn all the same. In `healthy-deep` and `healthy-digits`
some units fire at no example there is, as happens in sound training: a tool may name them, and should not call it a
fault.
"""

CAUSES = """\
Units that died in training, and of how many the planted cause is named. A tool that looks at the trained
model cannot tell when it happened, so that `step`, `bias` and `initialisation` may be out of its reach. Tools without a
row name no cause. (One seed; the check-up's own causes are scored over many by `benchmarks/causes.py`.)
"""

OTHERS = """\
Units planted to be no fault: named as what they are, over all patients. Where a tool looks at one process of
`ddp` alone, what is rare there differs.
"""

PATIENTS = """\
All of them are small, and built from a seed in a second or less. Unless a patient is about training, the
training loop that live tools run has a step size of 0, so that what was planted stays planted.
"""

TOOLS = """\
`ormas-monitor` reads every step; its patience (checks in a row without an output, by default 4) is set to the
number of batches, and shown with its default as well. `torchdiag` gets all batches as one. `dead-relu-viz` counts
positions of maps and tokens, which is no number of units: left out. ReDo's rule ([Sokar et al.
2023](https://arxiv.org/abs/2302.12902)) picks units to recycle, and does not call them dead. The rules hook the
activation modules, as is usual.

Peers are installed by hand, without their dependencies, and never needed:

```text
pip install --no-deps ormas-monitor==0.2.3 torchdiag==0.1.0 dead-relu-viz==0.1.0 torchview==0.2.7 graphviz==0.21
```
"""

ADAPTER = """## Adding a tool

An adapter has a name, tells whether it watches training, tells its version (None: not installed), and turns what the
tool says into an `Answer`; it goes into `benchmarks/patients/tools/`, and its instance into `TOOLS` there. It is never
given the truth. What it raises is recorded as its error.

```python
from benchmarks.patients.case import Answer, Visit
from benchmarks.patients.cases import PATIENTS
from benchmarks.patients.run import examine


class Optimist:
    name, live = "optimist", False

    def version(self) -> str | None:
        return "1.0"

    def diagnose(self, visit: Visit) -> Answer:
        visit.model.eval()(visit.batches[0][0])  # look at visit.model, over visit.batches
        return Answer(dead={place.name: set() for place in visit.places})


score = examine(Optimist(), PATIENTS["mlp"], seed=0)
assert (score.planted, score.found, score.outcome) == (40, 0, "0 dead")
```
"""
