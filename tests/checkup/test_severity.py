"""Severity: what is left of a site, when its units died, and whether what closed them goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rectifier
from rectifier.checkup import Record, Snapshot, Thresholds, judge

from .records_of import layer, shots, site


def weighed(silent: int, total: int, limits: Thresholds | None = None, outputs: int = 2, **changes: Any) -> Any:
    fired = [0] * silent + [500] * (total - silent)
    layers = (layer(), layer("out", units=outputs))
    (finding,) = (
        f for f in judge([Snapshot(0, (site(fired, **changes),), layers)], limits) if f.kind in ("dead", "silent")
    )
    return finding


@pytest.mark.parametrize(
    ("silent", "total", "severity", "reason"),
    [
        (1, 10, "note", "1 of the site's 10 units never fire (10 %): no more than sound training leaves (35 %, "
         "usual_silence)"),
        (35, 100, "note", "35 of the site's 100 units never fire (35 %): no more than sound training leaves (35 %, "
         "usual_silence)"),
        (36, 100, "warning", "36 of the site's 100 units never fire (36 %): more than sound training leaves (35 %, "
         "usual_silence)"),
        (50, 100, "ill", "50 of the site's 100 units never fire (50 %): 50 % or more (ill_silence)"),
        (3, 3, "ill", "no unit of the site fires: nothing passes (3 of 3)"),
    ],
)  # fmt: skip
def test_the_share_that_is_left_decides(silent: int, total: int, severity: str, reason: str) -> None:
    found = weighed(silent, total)
    assert (found.severity, found.severity_reason) == (severity, reason)
    assert found.ill == (severity == "ill") and found.fault


def test_thresholds_move_the_severity() -> None:
    assert weighed(1, 10, Thresholds(ill_silence=0.1, usual_silence=0.05)).severity == "ill"
    assert weighed(4, 10, Thresholds(ill_silence=0.9, usual_silence=0.9)).severity == "note"


def test_fewer_living_units_than_outputs_are_ill() -> None:
    found = weighed(8, 20, outputs=13)
    assert found.severity == "ill"
    assert found.severity_reason.endswith(", and the 12 that are left are fewer than the model's 13 outputs")
    assert weighed(8, 20, outputs=12).severity == "warning"
    # a map carries many values a channel
    assert weighed(8, 20, outputs=13, inputs=10).severity == "warning"


def died_at(steps: list[int], *, total: int = 20, last: int = 301, moved: float = 0.0) -> Any:
    """Units 0, 1, … fall silent at these steps; looks every 10 steps."""
    sites = []
    at = range(1, last + 1, 10)
    for step in at:
        fired = [0 if unit < len(steps) and step >= steps[unit] else 500 for unit in range(total)]
        move = np.array([moved if unit < len(steps) and step == steps[unit] else 0.001 for unit in range(total)])
        sites.append(site(fired, moved=None if step == 1 else move))
    found = judge(shots(*sites, steps=tuple(at)), history=True)
    return next(f for f in found if f.kind == "silent")


def test_units_that_die_early_are_usual_and_those_that_die_late_a_warning() -> None:
    assert died_at([21, 31, 41]).severity == "note"
    late = died_at([221, 231, 241])
    assert late.severity == "warning"
    assert late.severity_reason == (
        "3 of the site's 20 units never fire (15 %), 15 % of them all since the last third of the training (10 %, "
        "late_silence, or more)"
    )
    dying = died_at([221, 231, 241, 241, 251, 251])
    assert dying.severity == "ill" and "at that pace 50 % (ill_silence) are near" in dying.severity_reason


def test_a_unit_that_was_silent_in_the_last_look_only_is_no_late_death() -> None:
    rare = [site([500, 500, 500, 500] if i < 30 else [0, 500, 500, 500], examples=200) for i in range(31)]
    (found,) = (f for f in judge(shots(*rare), history=True) if f.kind == "silent")
    assert found.severity == "note"


def test_many_closed_by_one_step_are_ill_and_one_is_a_warning() -> None:
    sudden = died_at([51] * 5, moved=0.8)
    assert sudden.cause_kind == "step" and sudden.severity == "ill"
    assert sudden.severity_reason == (
        "25 % of the site's units were closed within one interval by too large a step (25 %, sudden_silence, or more)"
    )
    single = died_at([51], moved=0.8)
    assert (single.cause_kind, single.severity) == ("step", "warning")
    assert single.severity_reason.endswith("; but a step this large closes more")


def test_no_signal_is_ill_however_many_units_it_shuts() -> None:
    up, down = site([0, 0], site="up"), site([0] + [1000] * 9, upstream="up")
    found = {f.site: f for f in judge([Snapshot(0, (up, down), ())]) if f.kind == "silent"}
    assert found["act"].cause_kind == "upstream" and found["act"].severity == "ill"


def test_observations_are_notes_and_old_records_are_as_grave_as_they_were() -> None:
    found = judge([Snapshot(0, (site([5, 1000, 500]),), ())])
    assert {f.kind: f.severity for f in found} == {"rare": "note", "always_open": "note"}
    record = Record("Net", "check", (Snapshot(0, (site([0, 500]),), ()),), judge([Snapshot(0, (site([0, 500]),), ())]))
    text = record.to_json()
    assert Record.from_json(text).findings == record.findings
    import json

    document = json.loads(text)
    for finding in document["findings"]:
        for name in ("severity", "severity_reason", "cause_kind"):
            del finding[name]
    (old,) = Record.from_json(json.dumps(document)).findings
    assert old.severity is None and old.cause_kind is None and old.ill


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"usual_silence": 0.6},
            "Thresholds: `usual_silence` must be at most `ill_silence`; got 0.6 and 0.5. Raise ill_silence as well.",
        ),
        (
            {"history_ratio": 1.0},
            "Thresholds: `history_ratio` must be a factor above 1; got 1.0. Three times as much is written 3.",
        ),
        (
            {"ill_silence": 50},
            "Thresholds: `ill_silence` must be a share in [0, 1]; got 50. 5 % is written 0.05.",
        ),
    ],
)
def test_thresholds_errors(values: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        Thresholds(**values)
    assert str(caught.value) == text
