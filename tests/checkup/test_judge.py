"""The judge is a pure function of records: verdicts and causes from numbers alone, no framework."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import rectifier
from rectifier.checkup import LayerVitals, Record, Snapshot, Thresholds, judge
from rectifier.checkup._judge import upper_rate

from .records_of import layer, site


def kinds(findings: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(finding.kind, finding.site, finding.units) for finding in findings]


def test_every_unit_gets_the_strongest_verdict_that_holds() -> None:
    found = judge([Snapshot(0, (site([0, 0, 10, 11, 1000, 500]),), ())], proved={"act": {0: -0.5}}, box="a box")
    assert kinds(found) == [
        ("dead", "act", (0,)),
        ("silent", "act", (1,)),
        ("rare", "act", (2,)),
        ("always_open", "act", (4,)),
    ]
    dead, silent, rare, opened = found
    assert dead.proof == "z ≤ -0.5 by interval arithmetic with rounding error included, for a box"
    assert silent.evidence == (
        "fired at 0 of 1000 examples; largest z seen -1; with 95 % confidence the true rate of each is below "
        "0.003 (3/N)"
    )
    assert rare.evidence == (
        "fired at 10 to 10 of 1000 examples; with 95 % confidence the true rate of each is below 0.0198"
    )
    assert opened.evidence == (
        "fired at all of 1000 examples; smallest z seen 0.5; with 95 % confidence the share that closes each is below "
        "0.003 (3/N)"
    )
    assert [finding.fault for finding in found] == [True, True, False, False]


def test_a_proof_against_the_evidence_is_not_believed() -> None:
    found = judge([Snapshot(0, (site([5, 500]),), ())], proved={"act": {0: -0.5}})
    assert [f.kind for f in found if 0 in f.units] == ["rare"]


@pytest.mark.parametrize("name", ["leaky_relu", "prelu", "abs", "elu", "celu", "selu", "softplus"])
def test_a_living_negative_part_is_never_silent(name: str) -> None:
    found = judge([Snapshot(0, (site([0, 3, 1000], rectifier=name),), ())])
    expected = [("always_closed", "act", (0,))]
    if name != "softplus":
        expected.append(("always_open", "act", (2,)))
    assert kinds(found) == expected
    assert not any(finding.fault for finding in found)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "threshold"])
def test_functions_for_comparison_have_no_gate_verdicts(name: str) -> None:
    assert judge([Snapshot(0, (site([0, 3, 1000], rectifier=name),), ())]) == ()


def test_relu6_above_its_ceiling_and_squared_relu_are_not_linear() -> None:
    high = np.array([7.0])
    assert judge([Snapshot(0, (site([1000], rectifier="relu6", max_z=high),), ())]) == ()
    assert judge([Snapshot(0, (site([1000], rectifier="squared_relu"),), ())]) == ()


def test_nan_does_not_hide_the_verdict_on_the_rest() -> None:
    found = judge([Snapshot(0, (site([0, 999, 9, 0], nan=np.array([1, 1, 1, 1000])),), ())])
    assert kinds(found) == [
        ("nan", "act", (0, 1, 2, 3)),
        ("silent", "act", (0,)),
        ("rare", "act", (2,)),
        ("always_open", "act", (1,)),
    ]
    assert found[1].evidence.startswith("fired at 0 of 999 examples that are not NaN; ")
    assert found[1].measures["examples"] == 999 and "below 0.003 (3/N)" in found[1].evidence


def test_positions_of_one_input_are_not_independent() -> None:
    one = site([0, 900, 115008], examples=115008, inputs=1797)
    silent, rare, opened = judge([Snapshot(0, (one,), ())])
    assert silent.evidence == (
        "fired at 0 of 115008 values from 1797 inputs; largest z seen -1; with 95 % confidence the true rate of each "
        "is below 0.00167 (3/N, N inputs)"
    )
    assert silent.measures["inputs"] == 1797 and silent.measures["rate_bound"] == upper_rate(0, 1797)
    # k/N over the values, with as many draws as inputs: twenty times what independent positions would give
    assert rare.measures["rate_bound"] == upper_rate(900, 115008, inputs=1797) > 1.5 * upper_rate(900, 115008)
    assert rare.evidence.endswith(" (N inputs)")
    assert "at all of 115008 values from 1797 inputs; " in opened.evidence
    same = site([0], examples=1000, inputs=1000)
    assert "examples" in judge([Snapshot(0, (same,), ())])[0].evidence


def test_infinite_values_are_no_dormancy_and_name_the_data() -> None:
    h = np.array([np.inf, 1.0, 1.0])
    one = site([500, 500, 500], sum_abs_h=h, sum_h=h, rms_h=math.inf, infinite=np.array([1, 0, 0]))
    (found,) = judge([Snapshot(0, (one,), (layer("linear", first=True, input_infinite=3, input_rms=math.inf),))])
    assert (found.kind, found.site, found.units) == ("exploding_activation", "act", ())
    assert found.evidence == "1 of 3000 pre-activations at act are infinite, in 1 of 3 units"
    assert found.cause == "the model's input holds infinite values (3 seen at layer linear)"
    assert found.remedy == "clean the data: replace or drop infinite values before the model"
    (found,) = judge([Snapshot(0, (one,), (layer("linear", first=True, input_infinite=0),))])
    assert found.cause == (
        "overflow: values beyond the largest number of the format; no infinite value was seen among the model's inputs"
    )
    both = site([500, 500, 500], nan=np.array([0, 1, 0]), infinite=np.array([1, 0, 0]))
    (found,) = judge([Snapshot(0, (both,), (layer("linear", first=True, input_infinite=3),))])
    assert found.kind == "nan"
    assert found.cause == "the model's input holds infinite values (3 seen at layer linear): ∞ − ∞ and 0·∞ are NaN"


def died(moves: list[float], *, every: int) -> tuple[Snapshot, ...]:
    """Unit 0 fires until the last snapshot; its weights moved by so much between each two. Its bias is below 0."""
    bias = np.array([-5.0, 0.0])
    made = [Snapshot(1, (site([400, 500], bias=bias),), ())]
    for i, moved in enumerate(moves):
        last = i == len(moves) - 1
        one = site([0 if last else 400, 500], bias=bias, moved=np.array([moved, 0.0]))
        made.append(Snapshot(1 + every * (i + 1), (one,), ()))
    return tuple(made)


def test_steps_that_together_moved_it_too_far_are_the_cause() -> None:
    """Looks are far between, so that no single step was measured; the weights as they are would say "bias drift"."""
    (found,) = judge(died([0.3, 0.4, 0.4], every=5), history=True)
    assert found.cause == (
        "too large a step: they last fired before step 16, after their own weights had moved by 1.1 times their norm "
        "within 15 steps, 0.0733 a step on average (0.001 a step is usual)"
    )
    assert found.measures["moved"] == pytest.approx(1.1) and found.measures["steps"] == 15
    (at_once,) = judge(died([0.0, 0.5], every=5), history=True)
    assert "moved by 0.5 times their norm within 5 steps" in at_once.cause


@pytest.mark.parametrize(
    ("moves", "every"),
    [
        ([0.3, 0.3, 0.3], 5),  # not by its whole norm
        ([0.5, 0.5, 0.5], 100),  # by more than that, but at a pace that is nothing unusual
        ([9.0] + [0.001] * 100, 10),  # far at the start, and long before it died
        ([math.inf, 0.1], 5),  # from weights that were 0: no share of a norm
        ([math.nan, 0.1], 5),
    ],
)
def test_healthy_movement_is_no_cause(moves: list[float], every: int) -> None:
    (found,) = judge(died(moves, every=every), history=True)
    assert found.cause.startswith("bias drift: ")


def test_running_statistics_that_do_not_match() -> None:
    gamma, beta = np.array([1.0, 1.0, -2.0]), np.array([-0.5, -0.5, 0.5])
    one = site(
        [0, 0, 0], scale=gamma, shift=beta, min_z=np.array([-9.0, -2.0, -7.0]), max_z=np.array([-4.0, -1.0, -1.0])
    )
    found = judge([Snapshot(0, (one,), ())])
    # x̂: −8.5 to −3.5; −1.5 to −0.5, which has values within a deviation; 0.75 to 3.75 likewise
    assert [f.units for f in found if f.cause.startswith("running statistics that do not match the data: ")] == [(0,)]
    assert "values lie between -8.5 and -3.5 deviations" in found[0].cause


def test_dormant_by_definition() -> None:
    h = 500 * np.array([1.0, 1.0, 0.02, 0.0])
    found = judge([Snapshot(0, (site([500, 500, 500, 0], sum_abs_h=h),), ())], Thresholds(dormant=0.04))
    (dormant,) = (f for f in found if f.kind == "dormant")
    assert dormant.units == (2,)
    assert dormant.measures["score"] == pytest.approx(10 / h.mean())


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000, 10**7])
def test_upper_rate_after_none_is_exact_and_below_three_over_n(n: int) -> None:
    exact = -math.expm1(math.log(0.05) / n)
    assert upper_rate(0, n) == pytest.approx(exact, rel=1e-9)
    assert upper_rate(0, n) < 3 / n


@pytest.mark.parametrize(("k", "n"), [(1, 20), (3, 300), (10, 1000), (40, 5000)])
def test_upper_rate_holds(k: int, n: int) -> None:
    """At the bound, k or fewer firings have a probability of at most 5 % (the definition of Clopper & Pearson)."""
    p = upper_rate(k, n)
    tail = math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
    assert k / n < p < 1 and tail <= 0.05


def test_causes_from_one_look() -> None:
    bias = np.array([-5.0, 0.1, 0.1, 0.1])
    dead = [0, 0, 500, 500]
    one = site(dead, bias=bias, max_z=np.array([-1.0, -1.0, 2.0, 2.0]))
    silent = judge([Snapshot(0, (one,), (layer("linear"),))])
    when = "; one look cannot tell when it came about (rectifier.watch can)"
    assert silent[0].cause == "bias drift: bias -5, while its weights reach at most 4 on what was seen" + when
    assert silent[1].cause.startswith("not known: ")
    shifted = layer("linear", first=True, input_mean=9.0, input_rms=9.5)
    assert judge([Snapshot(0, (one,), (shifted,))])[1].cause.startswith("input scale or shift: the inputs have mean 9 ")
    norm = site([0, 500], scale=np.array([0.1, 1.0]), shift=np.array([-2.0, 0.0]))
    assert judge([Snapshot(0, (norm,), ())])[0].cause.startswith("collapsed normalisation: γ = 0.1 against β = -2,")
    up = site([0, 0], site="up")
    down = site([0, 500], upstream="up")
    (cause,) = {f.cause for f in judge([Snapshot(0, (up, down), ())]) if f.site == "act" and f.kind == "silent"}
    assert cause == "upstream silence: no unit of up, which feeds this layer, fired either"
    turned = site([0, 500], upstream="in", bias=np.zeros(2))
    feeding = site([400, 500], site="in")
    found = judge([Snapshot(0, (feeding, turned), ())])
    assert found[0].cause.startswith("weights turned against inputs that are never negative: without the bias, z still")


def test_numbers_told_span_all_units() -> None:
    one = site([0, 0], bias=np.array([-5.0, -2.0]), max_z=np.array([-1.0, -1.0]))
    (finding,) = judge([Snapshot(0, (one,), ())])
    assert finding.cause.startswith(
        "bias drift: bias -5 to -2, while its weights reach at most 1 to 4 on what was seen"
    )


def scales(values: list[float], **changes: Any) -> tuple[LayerVitals, ...]:
    return tuple(layer(str(i), gradient_rms=value, **changes) for i, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-5, 1e-4, 1e-3, 1e-2], []),  # ratio exactly at the limit
        ([0.99e-5, 1e-4, 1e-3, 1e-2], [("vanishing_gradient", "0", ())]),
        ([1e3, 1.0, 1e-1], [("exploding_gradient", "0", ())]),
        ([1e-9, 1.0], []),  # two layers are no depth
        ([0.0, 0.0, 1.0], [("vanishing_gradient", "1", ())]),
        ([math.nan, 1.0, 1.0], [("exploding_gradient", "0", ())]),
        ([0.0, 0.0, 0.0], []),
    ],
)
def test_gradient_scales(values: list[float], expected: list[Any]) -> None:
    limits = Thresholds(scale_ratio=0.001)
    assert kinds(judge([Snapshot(0, (), scales(values))], limits)) == expected


def test_positions_do_not_count_as_lost_signal() -> None:
    # a map of 4096 × 4096 positions shares the gradient of one value: 1/4096 of its root mean square, the same norm
    deep = (
        layer("conv1", gradient_rms=1e-4 / 4096, values=4 * 4096**2),
        layer("conv2", gradient_rms=1e-4 / 4096, values=4 * 4096**2),
        layer("head", gradient_rms=1e-4, values=4),
    )
    assert judge([Snapshot(0, (), deep)]) == ()


def test_activation_scales() -> None:
    sites = tuple(site([500, 500], site=str(i), rms_h=rms) for i, rms in enumerate([1.0, 0.01, 1e-4]))
    assert kinds(judge([Snapshot(0, sites, ())])) == [("vanishing_activation", "2", ())]


def test_judging_is_pure_and_repeats_from_json() -> None:
    snapshots = (Snapshot(0, (site([0, 3, 1000]),), scales([1e-9, 1e-3, 1.0])),)
    record = Record("Net", "check", snapshots, judge(snapshots))
    again = Record.from_json(record.to_json())
    assert again.findings == record.findings == judge(again.snapshots)


def test_no_snapshot_no_finding() -> None:
    assert judge([]) == ()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"dormant": math.nan},
            "Thresholds: `dormant` must be a finite number, 0 or more; got nan. Pass a number such as 0.025.",
        ),
        *(
            (
                {"confidence": value},
                f"Thresholds: `confidence` must lie strictly between 0 and 1; got {value!r}. 95 % is written 0.95.",
            )
            for value in (0, 1, 1.0)
        ),
        ({"rare": 5}, "Thresholds: `rare` must be a share in [0, 1]; got 5. 5 % is written 0.05."),
    ],
)
def test_thresholds_errors(values: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        Thresholds(**values)
    assert str(caught.value) == text


def test_the_checkup_loads_no_framework() -> None:
    code = "import sys, rectifier.checkup; print([m for m in ('torch', 'jax', 'tensorflow') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
