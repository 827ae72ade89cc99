from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rectifier.checkup.records import FAULTS, Finding, Record
from rectifier.reporters import words


@pytest.mark.parametrize(
    ("indices", "total", "text"),
    [
        ([], 0, ""),
        ([5], 64, "5 (1 of 64)"),
        ([1, 2], 64, "1, 2 (2 of 64)"),
        ([12, 3, 7, 8, 9, 10, 11, 3], 64, "3, 7–12 (7 of 64)"),
        (range(64), 64, "all 64"),
        (range(0, 2000, 2), 2048, ", ".join(str(unit) for unit in range(0, 48, 2)) + ", … (1,000 of 2,048)"),
    ],
)
def test_units(indices: list[int], total: int, text: str) -> None:
    assert words.units(indices, total) == text


def test_units_say_where_the_others_are() -> None:
    assert words.units([1, 3, 5], 8, limit=2, more="see below") == "1, 3, … (3 of 8; see below)"
    assert words.units([1, 3], 8, limit=2, more="see below") == "1, 3 (2 of 8)"
    assert words.units([1, 3, 5], 8, limit=None) == "1, 3, 5 (3 of 8)"


@pytest.mark.parametrize("examples", [1, 2, 3, 4, 10, 30, 300, 1437, 60_000, 10**7])
def test_the_bound_is_never_printed_below_itself(examples: int) -> None:
    printed = float(words.bound(examples).removesuffix(" %").replace("−", "-")) / 100
    exact = min(1.0, 3 / examples)
    assert exact * (1 - 1e-9) <= printed <= exact * 1.1


def test_percent_keeps_what_is_rare_apart_from_never() -> None:
    assert words.percent(1 / 10**6) == "0.0001 %"
    assert words.percent(0.0) == "0 %"
    assert words.percent(1 - 1e-9) == "just under 100 %"
    assert words.percent(math.nan) == "NaN"


def test_since_when() -> None:
    assert words.first_silence({}) == ""
    assert words.first_silence({4: 1200}) == "step 1,200"
    assert words.first_silence({4: 20, 9: 20}) == "step 20, all of them"
    assert words.first_silence({4: 30, 9: 20, 5: 30}) == "9 from step 20; 4, 5 from step 30"
    assert words.first_silence({unit: unit for unit in range(10)}).endswith("7 from step 7; and at 2 later steps")


def test_every_kind_has_a_title() -> None:
    assert set(words.TITLES) >= FAULTS | {"rare", "always_open", "always_closed"}


def test_summary_of_dead_and_silent_units(watched: Record) -> None:
    assert words.summary(watched) == (
        "31 of 160 units never fire (23 at layers.3, 8 at layers.1): 2 are proved dead, 29 fired on none of the 1,437 "
        "examples seen (the true rate is below 0.21 %, with 95 % confidence). "
        "Likely cause: too large a step: one step moved the weights by 31 % of their norm. "
        "What helps: recycle them (rectifier.heal) and train with a smaller step, or swap in leaky_relu. "
        "Also found: vanishing gradient at layers.0."
    )


def test_a_silent_unit_is_not_called_dead(watched: Record) -> None:
    text = words.summary(watched.with_findings(watched.of("silent")))
    assert text.startswith(
        "31 of 160 units are silent (23 at layers.3, 8 at layers.1): fired on none of the 1,437 examples seen "
        "(the true rate is below 0.21 %, with 95 % confidence)."
    )
    assert "dead" not in text


def test_only_proved_units_are_called_dead(watched: Record) -> None:
    text = words.summary(watched.with_findings(watched.of("dead")))
    assert text.startswith(
        "2 of 160 units are proved dead at layers.1: for every input of the stated box they output the same value and "
        "learn nothing."
    )


def test_one_unit_is_told_of_as_one(watched: Record) -> None:
    dead = replace(watched.of("dead")[0], units=(3,))
    text = words.summary(watched.with_findings((dead,)))
    assert text.startswith(
        "1 of 160 units is proved dead at layers.1: for every input of the stated box it outputs the same value and "
        "learns nothing."
    )


def test_a_proof_in_evaluation_mode_promises_nothing_of_training(watched: Record) -> None:
    (dead,) = watched.of("dead")
    limited = replace(dead, proof=f"{dead.proof}, with batch normalisation in evaluation mode")
    text = words.summary(watched.with_findings((limited,)))
    assert "for every input of the stated box they output the same value, in evaluation mode." in text
    assert "learn" not in text


def test_summary_without_a_fault(healthy: Record) -> None:
    assert words.summary(healthy) == "All 160 units fired at least once in the 1,437 examples seen."


def test_silence_that_no_finding_names_is_not_praised(checked: Record) -> None:
    text = words.summary(checked.with_findings(()))
    assert text == (
        "No unit was judged dead or silent; 129 of 160 units fired at least once in the 1,437 examples seen."
    )


def test_summary_of_a_run_that_stopped(stopped: Record, healthy: Record) -> None:
    assert words.summary(stopped) == (
        "The run stopped early: ValueError: the loader broke. "
        "Nothing was observed, so nothing can be said about any unit."
    )
    assert words.summary(replace(healthy, stopped="ValueError: no!")) == (
        "The run stopped early: ValueError: no! What follows was seen until then. "
        "All 160 units fired at least once in the 1,437 examples seen."
    )


def test_summary_of_a_model_without_rectifiers(healthy: Record) -> None:
    empty = replace(healthy, snapshots=(replace(healthy.last, sites=()),))
    assert words.summary(empty).startswith("No unit of a rectifier was observed")


def test_one_cause_with_many_details_is_told_by_its_name(healthy: Record) -> None:
    findings = (
        Finding(
            "silent",
            "1",
            (1, 2),
            64,
            "e",
            "too large a step: at step 40",
            "lower it",
            measures={"examples": 600},
        ),
        Finding(
            "silent",
            "1",
            (3,),
            64,
            "e",
            "too large a step: at step 80",
            "lower it",
            measures={"examples": 500},
        ),
        Finding("vanishing_gradient", "0", (), 0, "e", "depth", "init_"),
    )
    assert words.summary(healthy.with_findings(findings)) == (
        "3 of 160 units are silent: fired on none of the 500 to 600 examples seen (the true rate is below 0.6 %, with "
        "95 % confidence). Likely cause: too large a step. What helps: lower it. "
        "Also found: vanishing gradient at layer 0."
    )


def test_a_cause_that_is_not_known_is_not_likely(healthy: Record) -> None:
    finding = Finding("silent", "layers.1", (1,), 64, "e", "not known: bias and step were looked at", "watch it")
    assert "Cause: not known. What helps: watch it." in words.summary(healthy.with_findings((finding,)))
    assert "Likely" not in words.summary(healthy.with_findings((finding,)))


def test_summary_counts_other_causes_and_other_faults(healthy: Record) -> None:
    findings = (
        Finding("silent", "layers.1", (1, 2), 64, "e", "Drift of the bias.", "Recycle."),
        Finding("silent", "layers.3", (1,), 64, "e", "upstream silence", "recycle"),
        Finding("nan", "layers.5", (1,), 32, "e", "data", "clean the data"),
        Finding("dormant", "layers.5", (1, 2, 3), 32, "e", "c", "r"),
    )
    assert words.summary(healthy.with_findings(findings)) == (
        "3 of 160 units are silent (2 at layers.1, 1 at layers.3): fired on none of the 1,437 examples seen "
        "(the true rate is below 0.21 %, with 95 % confidence). "
        "Likely cause: drift of the bias (2 of 3 units; the others: upstream silence). "
        "What helps: recycle. "
        "Also found: NaN in 1 unit at layers.5."
    )
