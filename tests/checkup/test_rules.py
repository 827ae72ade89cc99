"""The edges of single rules, on records made by hand: each of these fails when its rule is turned round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rectifier.checkup import Finding, SiteVitals, Snapshot, Thresholds, judge
from rectifier.checkup.causes import Causes
from rectifier.checkup.history import lengthen, merge
from rectifier.errors import RectifierValueError

from .records_of import layer, shots, site


def kinds(one: SiteVitals, unit: int = 0) -> set[str]:
    return {finding.kind for finding in judge([Snapshot(0, (one,), ())]) if unit in finding.units}


def test_zero_weights_prove_nothing_against_what_was_seen() -> None:
    assert kinds(site([0, 500], scale=np.array([0.0, 1.0]), shift=np.array([1.0, 0.0]))) == {"silent"}
    varied = {"weight_norm": np.array([0.0, 1.0]), "bias": np.zeros(2)}
    assert kinds(site([0, 500], **varied, max_z=np.array([-1.0, 2.0]))) == {"silent"}  # something stands in between
    assert kinds(site([0, 500], **varied, max_z=np.array([-3.0, 2.0]))) == {"dead"}


def test_dormant_at_the_edge() -> None:
    sizes = np.array([1.0, 79.0])
    assert "dormant" in kinds(site([500, 500], sum_abs_h=sizes))  # 1/40 is τ
    assert "dormant" not in kinds(site([500, 500], sum_abs_h=sizes, max_z=np.array([np.inf, 2.0])))
    # 50 of unit 0 are no NaN; sums are of the 100 that were looked at
    few = {"nan": np.array([950, 0]), "looked": 100, "sum_abs_h": np.array([0.6, 100.0])}
    assert "dormant" in kinds(site([40, 500], **few))


@pytest.mark.parametrize(("death", "severity"), [(60, "note"), (61, "warning")])
def test_the_last_third_begins_after_two(death: int, severity: str) -> None:
    alive, dead = [500] * 10, [0, 0] + [500] * 8
    (finding,) = judge(shots(site(alive), site(dead), site(dead), steps=(0, death, 90)), history=True)
    assert (finding.kind, finding.severity) == ("silent", severity)


def test_a_site_narrower_than_the_output_is_not_ill_for_that() -> None:
    layers = (layer(), layer("out", units=10))
    (finding,) = judge([Snapshot(0, (site([0, 0, 500, 500, 500]),), layers)])
    assert finding.severity == "warning"


def test_nan_is_ill_and_says_why() -> None:
    (finding,) = judge([Snapshot(0, (site([500], nan=np.array([3])),), ())])
    assert (finding.severity, finding.severity_reason) == (
        "ill",
        "a NaN spreads to all that it touches; none is sound",
    )


def test_thresholds_are_not_negative() -> None:
    with pytest.raises(RectifierValueError) as error:
        Thresholds(dormant=-0.1)
    assert str(error.value) == (
        "Thresholds: `dormant` must be a finite number, 0 or more; got -0.1. Pass a number such as 0.025."
    )


def test_the_share_of_flat_examples_is_a_share() -> None:
    with pytest.raises(RectifierValueError) as error:
        Thresholds(saturated=95)
    assert str(error.value) == "Thresholds: `saturated` must be a share in [0, 1]; got 95. 5 % is written 0.05."


# Causes


def looks(fired: list[int], *, steps: tuple[int, ...] = (), layers: Any = (), **changes: list[Any]) -> list[Snapshot]:
    """Unit 0 as given, look by look; unit 1 lives, and does not move."""
    made = []
    for i, count in enumerate(fired):
        arrays = {name: np.array([values[i], 0.0]) for name, values in changes.items()}
        arrays.setdefault("max_z", np.array([1.0 if count else -1.0, 2.0]))
        if i == 0:
            arrays.pop("moved", None)
        made.append(site([count, 500], **arrays))
    found = shots(*made, steps=steps)
    return [replace(shot, layers=layers[i]) for i, shot in enumerate(found)] if layers else found


def cause(snapshots: list[Snapshot], unit: int = 0) -> Finding:
    found = judge(snapshots, history=True)
    (finding,) = (f for f in found if f.kind in ("dead", "silent") and unit in f.units and f.site == "act")
    return finding


def test_gradients_date_a_death_between_looks() -> None:
    made = [
        site([400, 500], graded=10, lived=np.array([10, 10]), lives=np.array([10, 10]), until=10, recent=5),
        site([0, 500], graded=10, lived=np.array([13, 20]), lives=np.array([3, 10]), until=20, recent=15),
    ]
    assert cause(shots(*made, steps=(10, 20))).since == {0: 14}


def test_a_jump_is_beyond_the_pace_of_three_intervals() -> None:
    still = [0.0, 0.01, 0.01, 0.01]
    assert cause(looks([400] * 4 + [0, 0], moved=[*still, 0.15, 0.0])).cause_kind == "step"
    assert cause(looks([400] * 4 + [0, 0], moved=[*still, 0.1, 0.0])).cause_kind != "step"
    early = [0.0, 0.3, 0.01, 0.01]  # as fast as it was two intervals before
    assert cause(looks([400] * 4 + [0, 0], moved=[*early, 0.35, 0.0])).cause_kind != "step"
    # the forward pass of a look comes before its step
    assert cause(looks([400] * 5 + [0, 0], moved=[*still, 0.15, 0.0, 0.0])).cause_kind == "step"


def test_the_pace_is_that_of_living_units() -> None:
    made = [
        site([count, 500, 0, 0], moved=np.array([own, 0.3, 0.0, 0.0]), max_z=np.array([-1.0, 2.0, -1.0, -1.0]))
        for count, own in [(400, 0.01)] * 4 + [(0, 0.35), (0, 0.0)]
    ]
    assert cause(shots(*made)).cause_kind != "step"


def test_a_long_way_in_a_few_steps_is_too_far_without_a_pace() -> None:
    assert cause(looks([400, 0, 0], steps=(1, 4, 14), moved=[0.0, 0.35, 0.0])).cause_kind == "step"
    assert cause(looks([400, 0, 0], steps=(1, 5, 14), moved=[0.0, 0.35, 0.0])).cause_kind != "step"


def test_a_measured_step_of_the_site_before() -> None:
    def shot(count: int, ratio: float) -> tuple[tuple[SiteVitals, SiteVitals], Any]:
        up = site([500, 500], site="up", layer="first")
        own = site([count, 500], upstream="up", moved=np.array([0.01, 0.01]))
        return (up, own), (layer("first", update_ratio=ratio), layer())

    ratios = [(400, 0.001), (400, 0.001), (0, 0.3), (0, 0.001)]
    snapshots = [Snapshot(1 + 10 * i, *shot(*pair)) for i, pair in enumerate(ratios)]
    assert "the weights of layer first" in cause(snapshots).cause


@pytest.mark.parametrize(("rms", "kind"), [([3.0, 3.0, 0.9, 0.9], True), ([3.0, 3.0, 3.0, 0.9], True)])
def test_inputs_that_shrink_or_that_change_at_the_look_after(rms: list[float], kind: bool) -> None:
    layers = [(layer(first=True, input_mean=0.0, input_rms=value),) for value in rms]
    assert (cause(looks([400, 400, 0, 0], layers=layers)).cause_kind == "input") is kind


def test_inputs_are_all_on_one_side_from_three_deviations() -> None:
    causes = Causes(shots(site([0])), Thresholds(), history=True)
    told = [causes._is_unscaled(layer(input_mean=mean, input_rms=1.0)) for mean in (0.92, 0.95)]
    assert told == [False, True]


def test_born_silent_under_inputs_that_are_off_is_the_inputs_fault() -> None:
    off = (layer(first=True, input_mean=9.0, input_rms=9.5),)
    assert cause(looks([0, 0, 0], layers=[off] * 3)).cause_kind == "input"


def test_born_silent_behind_a_normalisation_is_not_the_bias() -> None:
    sunk = {"bias": [2.0, -2.0, -2.0], "scale": [1.0] * 3, "shift": [-0.5] * 3}
    assert cause(looks([0, 0, 0], **sunk)).cause_kind == "initialisation"


def test_a_bias_that_outweighs_all_else_or_that_alone_did_not_close_it() -> None:
    one = site([0, 500], bias=np.array([-50.0, 0.0]), max_z=np.array([-51.0, 2.0]))
    (finding,) = (f for f in judge([Snapshot(0, (one,), ())]) if 0 in f.units)
    assert finding.cause_kind == "bias"
    # it sank from 0 to −1, and with 0 the unit would not fire either
    sunk = looks([400, 0, 0], bias=[0.0, -1.0, -1.0], max_z=[1.0, -3.0, -3.0])
    assert cause(sunk).cause_kind != "bias"


def test_a_layer_whose_finite_inputs_are_0_is_not_fed_zeros() -> None:
    odd = (layer(first=True, input_mean=0.0, input_rms=0.0, input_infinite=3),)
    assert cause(looks([400, 0, 0], layers=[odd] * 3)).cause_kind != "zeros"
    zeros = (layer(first=True, input_mean=0.0, input_rms=0.0, input_infinite=0),)
    assert cause(looks([400, 0, 0], layers=[zeros] * 3)).cause_kind == "zeros"


# Scales


def scaled(*gradients: float, **changes: Any) -> tuple[Any, ...]:
    return tuple(layer(str(i), gradient_rms=value, **changes) for i, value in enumerate(gradients))


def of(*layers: Any, one: SiteVitals | None = None) -> list[str]:
    sites = () if one is None else (one,)
    found = judge([Snapshot(i, sites, made) for i, made in enumerate(layers)], history=True)
    return [f.kind for f in found if not f.units]


def test_updates_are_judged_by_three_looks() -> None:
    large = (layer(update_ratio=0.1),)
    assert (of(large, large), of(large, large, large)) == ([], ["exploding_update"])


def test_small_updates_of_many_digits_are_small_beside_the_others() -> None:
    def step(other: float) -> tuple[Any, ...]:
        tiny = layer(update_ratio=1e-9, weight_format="float32", weight_gradient_rms=1.0)
        return tiny, layer("other", update_ratio=other, weight_format="float32", weight_gradient_rms=1.0)

    assert of(*[step(1e-7)] * 3) == []  # a step size that decays makes all of them small
    assert of(*[step(1e-3)] * 3) == ["vanishing_update"]


def test_the_format_widens_the_limit_and_never_narrows_it() -> None:
    falls = scaled(0.5e-3, 1e-2, 1.0, weight_format="float32")
    assert of(falls) == ["vanishing_gradient"]


def test_nan_is_no_explosion_and_a_kind_is_told_once() -> None:
    nan = site([500], nan=np.array([3]))
    assert of(scaled(float("nan"), float("nan"), float("nan")), one=nan) == []
    sound, wild = scaled(1.0, 1.0, 1.0), scaled(1e9, 1e5, 1.0)
    assert of(sound, sound, sound, wild) == ["exploding_gradient"]
    assert of(sound, sound, scaled(1e4, 1e4, 1e4)) == []  # two looks are no median
    assert of(sound, sound, sound, scaled(1e4, 1e4, 1e4)) == ["exploding_gradient"]


# History


def test_lives_are_summed_over_merged_looks_and_what_came_after() -> None:
    a, b = (
        Snapshot(step, (site([5, 5], graded=10, lived=np.array([3, step]), lives=np.array([lives, 10])),), ())
        for step, lives in ((10, 2), (20, 1))
    )
    assert merge(a, b).sites[0].lives.tolist() == [3, 20]  # type: ignore[union-attr]
    longer = lengthen(b, {"act": (4, np.array([0, 24]), np.array([0, 4]))}, 24).sites[0]
    assert longer.lives is not None and longer.lives.tolist() == [1, 14]
    assert (longer.graded, longer.until) == (14, 24)
