"""Act 3: fair, paired, and its words follow from its numbers."""

import dataclasses
import math

import numpy as np
import pytest

from rectifier.demo import DemoResult
from rectifier.demo.cure import REMEDIES, CureResult, one_seed
from rectifier.demo.summary import headline, paragraphs


def words(result: DemoResult, cure: CureResult) -> str:
    return dict(paragraphs(dataclasses.replace(result, cure=cure)))["Cure"]


def with_gain(cure: CureResult, remedy: str, gain: float, error: float) -> CureResult:
    """The result as if this remedy had this gain at the same step, and no other any."""

    def change(arm):  # type: ignore[no-untyped-def]
        if arm.step != cure.step or arm.remedy == "nothing":
            return arm
        mine = arm.remedy == remedy
        return dataclasses.replace(arm, gain=gain if mine else -0.5, gain_error=error)

    return dataclasses.replace(cure, arms=tuple(change(arm) for arm in cure.arms))


def test_every_remedy_at_both_steps_on_every_seed(result: DemoResult) -> None:
    cure = result.cure
    assert [(arm.step, arm.remedy) for arm in cure.arms] == [
        (step, remedy) for step in (cure.step, cure.small_step) for remedy in REMEDIES
    ]
    assert all(len(arm.accuracies) == len(cure.seeds) == 2 for arm in cure.arms)
    assert cure.step == result.death.step and cure.seeds[0] == result.seed


def test_the_first_patient_is_the_network_of_act_2(result: DemoResult) -> None:
    assert result.cure.silent_before[0] == result.death.silent_units


def test_outputs_stay_at_the_moment_of_recycling(result: DemoResult) -> None:
    for step in (result.cure.step, result.cure.small_step):
        assert result.cure.of("recycle", step).output_change == 0.0
        assert result.cure.of("nothing", step).output_change == 0.0
        assert result.cure.of("He initialisation", step).output_change > 0.1


def test_gains_are_paired_differences(result: DemoResult) -> None:
    cure = result.cure
    for arm in cure.arms:
        differences = np.subtract(arm.accuracies, cure.of("nothing", arm.step).accuracies)
        assert arm.gain == pytest.approx(differences.mean())
        assert arm.gain_error == pytest.approx(abs(differences[0] - differences[1]) / 2)
        assert arm.sure == (arm.gain > 2 * arm.gain_error)
    lower = np.subtract(cure.of("nothing", cure.small_step).accuracies, cure.of("nothing", cure.step).accuracies)
    assert cure.smaller_step_gain == pytest.approx(lower.mean())


def test_the_summary_names_a_sure_remedy(result: DemoResult) -> None:
    cure = with_gain(result.cure, "Leaky ReLU 0.1", 0.05, 0.02)
    assert "At the same step size Leaky ReLU 0.1 +5.0 ± 2.0 points of test accuracy helps most" in words(result, cure)
    assert "Leaky ReLU 0.1 helps at the same step size" in headline(dataclasses.replace(result, cure=cure))


def test_the_summary_says_that_none_was_sure(result: DemoResult) -> None:
    cure = with_gain(result.cure, "recycle", 0.05, 0.025)
    none = "At the same step size no remedy gained more than twice its standard error"
    assert f"{none}; the best: recycle +5.0 ± 2.5 points." in words(result, cure)
    assert "no remedy surely helps at the same step size" in headline(dataclasses.replace(result, cure=cure))


def test_the_summary_names_losses(result: DemoResult) -> None:
    cure = with_gain(result.cure, "recycle", 0.05, 0.02)
    assert "Worse than nothing: Leaky ReLU 0.01 −50.0 ± 2.0 points" in words(result, cure)


def test_the_summary_says_why_a_remedy_harms(result: DemoResult) -> None:
    cure = with_gain(result.cure, "He initialisation", 0.05, 0.02)
    again = [
        dataclasses.replace(arm, silent=cure.silent_before) if arm.remedy == "recycle" else arm for arm in cure.arms
    ]
    cure = dataclasses.replace(cure, arms=tuple(again))
    text, step = words(result, cure), cure.step
    moved = round(cure.of("ELU", step).output_change)
    assert f"ELU −50.0 ± 2.0 points (swapping it in moved the outputs by up to {moved:,} at once)" in text
    silent, before = np.mean(cure.of("recycle", step).silent), np.mean(cure.silent_before)
    told = f"(at this step size the units die again: {silent:.0f} silent at the end, {before:.0f} before)"
    assert f"recycle −50.0 ± 2.0 points {told}" in text
    back = dataclasses.replace(cure.of("recycle", step), silent=(1, 2))
    arms = tuple(back if arm.remedy == "recycle" and arm.step == step else arm for arm in cure.arms)
    assert "die again" not in words(result, dataclasses.replace(cure, arms=arms))


def test_one_seed_shows_no_spread(result: DemoResult) -> None:
    from rectifier.demo import cure

    single = cure.run(5, seeds=1, steps=3, processes=1)
    assert all(math.isinf(arm.gain_error) and not arm.sure for arm in single.arms)


def test_a_seed_gives_the_same_numbers_again() -> None:
    assert one_seed(3, 10) == one_seed(3, 10)
