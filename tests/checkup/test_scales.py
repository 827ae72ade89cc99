"""Scales against the depth, the number format and the run's own history."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rectifier.checkup import LayerVitals, Snapshot, Thresholds, judge

from .records_of import layer, site


def deep(ratio: float, layers: int, **changes: Any) -> tuple[LayerVitals, ...]:
    """Gradients that fall (or grow) evenly from the last layer to the first."""
    return tuple(
        layer(str(i), gradient_rms=ratio ** (1 - i / (layers - 1)), **changes) for i in range(layers)
    )  # fmt: skip


def kinds(findings: Any) -> list[tuple[str, str | None]]:
    return [(f.kind, f.severity) for f in findings]


def test_the_limit_is_spread_over_the_depth_and_told() -> None:
    (found,) = judge([Snapshot(0, (), deep(1e-4, 5))])
    assert found.evidence == (
        "the gradient goes from 2 at 4 to 0.0002 at 0: a ratio of 0.0001 over 5 places, a factor 0.1 at each (limits "
        "0.001 and 1000, 0.178 and 5.62 at each)"
    )
    assert (found.severity, found.cause_kind) == ("ill", "depth")
    assert judge([Snapshot(0, (), deep(1.1e-3, 5))]) == ()


@pytest.mark.parametrize(("name", "ratio", "found"), [
    ("bfloat16", 0.03, True),  # ε/(2 · 0.1) = 0.039
    ("bfloat16", 0.05, False),
    ("float16", 0.004, True),  # 0.0049
    ("float16", 0.006, False),
    ("float32", 0.002, False),
])  # fmt: skip
def test_weights_of_few_digits_bear_less(name: str, ratio: float, found: bool) -> None:
    told = judge([Snapshot(0, (), deep(ratio, 6, weight_format=name))])
    assert [f.kind for f in told] == (["vanishing_gradient"] if found else [])
    if found:
        assert f"weights in {name} lose an update below ε/2" in told[0].evidence


def test_from_the_first_look_on_it_is_the_initialisation() -> None:
    first, last = Snapshot(1, (), deep(1e-5, 4)), Snapshot(50, (), deep(1e-4, 4))
    (found,) = judge([first, last], history=True)
    assert found.cause_kind == "initialisation" and "at the first look (step 1) the ratio was 1e-05" in found.evidence
    sound = Snapshot(1, (), deep(0.5, 4))
    (found,) = judge([sound, last], history=True)
    assert found.cause_kind == "depth" and found.measures["ratio_at_first"] == pytest.approx(0.5)


def test_a_scale_against_its_own_history() -> None:
    def at(step: int, rms: float) -> Snapshot:
        return Snapshot(step, (site([500, 500], rms_h=rms),), ())

    assert judge([at(1, 1.0), at(9, 999.0)], history=True) == ()
    (grown,) = judge([at(1, 1.0), at(9, 2000.0)], history=True)
    assert (grown.kind, grown.severity, grown.cause_kind) == ("exploding_activation", "ill", "step")
    assert grown.evidence == (
        "the activation at act went from 1 at step 1 to 2e+03: a factor 2e+03 (limits 0.001 and 1000, history_ratio)"
    )
    (fallen,) = judge([at(1, 1.0), at(9, 1e-4)], history=True)
    assert fallen.kind == "vanishing_activation"
    assert judge([at(1, 1.0), at(9, 2000.0)]) == ()  # no history: two looks that have nothing to do with each other


def test_a_gradient_that_jumps_explodes_and_one_that_falls_with_the_loss_is_healthy() -> None:
    def run(last: float) -> Any:
        values = [1.0, 0.9, 1.1, last]
        looks = [Snapshot(10 * i, (), (layer("a", gradient_rms=v),)) for i, v in enumerate(values)]
        return judge(looks, history=True)

    assert kinds(run(1500.0)) == [("exploding_gradient", "ill")]
    assert run(1e-6) == () and run(900.0) == ()


def test_what_half_precision_cannot_carry() -> None:
    big = site([500, 500], max_z=np.array([3.0, 2e4]))
    (near,) = judge([Snapshot(0, (big,), (layer(format="float16"),))])
    assert (near.kind, near.severity, near.cause_kind) == ("exploding_activation", "warning", "format")
    assert near.evidence == "|z| reaches 2e+04 at act; the largest number of float16 is 65504"
    assert judge([Snapshot(0, (big,), (layer(format="float32"),))]) == ()
    for gradient, severity in ((1e-5, "warning"), (1e-8, "ill")):
        (lost,) = judge([Snapshot(0, (), (layer(gradient_rms=gradient, format="float16"),))])
        assert (lost.kind, lost.severity) == ("vanishing_gradient", severity)
        assert "GradScaler" in lost.remedy
        assert judge([Snapshot(0, (), (layer(gradient_rms=gradient, format="bfloat16"),))]) == ()


def updates(ratios: list[float], **changes: Any) -> list[Snapshot]:
    other = layer("other", update_ratio=0.01)
    return [Snapshot(i, (), (layer("a", update_ratio=r, **changes), other)) for i, r in enumerate(ratios)]


def test_steps_that_overwrite_the_weights() -> None:
    (found,) = judge(updates([0.2, 0.15, 0.3]), history=True)
    assert (found.kind, found.severity, found.cause_kind) == ("exploding_update", "warning", "step")
    assert judge(updates([2.0, 1.5, 3.0]), history=True)[0].severity == "ill"
    assert judge(updates([0.2, 0.05, 0.3]), history=True) == ()  # one large step is told with the units that it closed
    assert judge(updates([float("inf"), 0.01, 0.01]), history=True) == ()  # weights that start at 0


def test_updates_that_are_rounded_away() -> None:
    tiny = {"weight_format": "float32", "weight_gradient_rms": 1e-9}
    (found,) = judge(updates([1e-9] * 3, **tiny), history=True)
    assert (found.kind, found.severity, found.cause_kind) == ("vanishing_update", "warning", "format")
    assert judge(updates([1e-9] * 3, weight_format="float32"), history=True) == ()  # frozen: no gradient
    half = {"weight_format": "bfloat16", "weight_gradient_rms": 1e-3}
    assert kinds(judge(updates([1e-3] * 3, **half), history=True)) == [("vanishing_update", "warning")]
    assert judge(updates([5e-3] * 3, **half), history=True) == ()


def test_without_a_ratio_the_ends_are_not_judged() -> None:
    assert judge([Snapshot(0, (), deep(1e-9, 5))], Thresholds(scale_ratio=0.0)) == ()


def test_queries_and_keys_are_no_measure_of_what_reaches_their_depth() -> None:
    """Their gradients are small while attention is near uniform, in a sound model too."""
    sound = tuple(layer(name, gradient_rms=1.0) for name in ("block.v_proj", "block.out_proj", "block.fc1", "head"))
    near_uniform = tuple(layer(f"block.{name}", gradient_rms=1e-4) for name in ("q_proj", "k_proj"))
    assert judge([Snapshot(0, (), near_uniform + sound)]) == ()
    gone = (layer("block.v_proj", gradient_rms=1e-4), *sound[1:])
    (found,) = judge([Snapshot(0, (), near_uniform + gone)])
    assert (found.kind, found.site) == ("vanishing_gradient", "block.v_proj")
