"""The table of a trial, as text."""

from __future__ import annotations

import math

from ._trial import Arm, Trial

__all__ = ["table"]


def table(trial: Trial) -> str:
    """One line a remedy and step size: what it came to, its difference from doing nothing, units silent at the end."""
    repeats = len(trial.seeds)
    head = (
        f"{trial.measure} after {trial.steps} steps, {repeats} repeat{'s' if repeats != 1 else ''} "
        f"({'higher' if trial.higher else 'lower'} is better); "
        f"{_range(trial.silent_before)} of {trial.units} units silent before"
    )
    rows: list[tuple[str, ...]] = [("remedy", "step", "mean ± spread", "better than nothing by", "", "silent")]
    rows += [_row(arm, trial) for arm in trial.arms]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, "", *lines, "", *_notes(trial)])


def _row(arm: Arm, trial: Trial) -> tuple[str, ...]:
    name = "smaller step alone" if arm.remedy == "nothing" and arm.step != 1 else arm.remedy
    if not arm.scores:
        return (name, f"× {arm.step:g}", "–", "–", "", "–")
    diverged = sum(not math.isfinite(score) for score in arm.scores)
    value = f"diverged in {diverged} of {len(arm.scores)}" if diverged else f"{arm.mean:.4g} ± {arm.spread:.2g}"
    difference, mark = "", ""
    if not (arm.remedy == "nothing" and arm.step == 1):
        difference = "–" if diverged or math.isnan(arm.gain) else f"{arm.gain:+.3g} ± {arm.gain_error:.2g}"
        mark = "*" if arm.sure else ""
    return (name, f"× {arm.step:g}", value, difference, mark, _range(arm.silent))


def _range(values: tuple[int, ...]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low}–{high}"


def _notes(trial: Trial) -> list[str]:
    notes = [
        "Spread: standard deviation over the repeats. Better by: repeat by repeat, at the same step size (the smaller "
        "step alone: than nothing at × 1), with its standard error.",
        "* larger than noise: outside the 95 % interval of Student's t over the repeats."
        if any(arm.sure for arm in trial.arms)
        else "No difference is larger than noise (the 95 % interval of Student's t over the repeats).",
    ]
    seen = dict.fromkeys((arm.remedy, arm.note) for arm in trial.arms if arm.note)
    return notes + [f"{remedy}: {note}" for remedy, note in seen]
