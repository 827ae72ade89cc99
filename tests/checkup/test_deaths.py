"""Each branch of a cause on records made by hand, at uneven steps; and one planted training a cause."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rectifier.checkup import Finding, SiteVitals, Snapshot, judge

from .records_of import layer, shots, site

#: Looks at uneven steps, as a history that was halved has them.
STEPS = (1, 4, 10, 26, 58, 64)


def looks(fired: list[int], **changes: list[Any]) -> list[SiteVitals]:
    """Unit 0 fires so often look by look, unit 1 always at half; each change is a list of values for unit 0."""
    made = []
    for i, count in enumerate(fired):
        arrays = {name: np.array([float(values[i]), 0.01]) for name, values in changes.items()}
        if "moved" in arrays and i == 0:
            arrays.pop("moved")
        made.append(site([count, 500], max_z=np.array([1.0 if count else -1.0, 2.0]), **{**arrays}))
    return made


def silent(snapshots: list[Snapshot]) -> Finding:
    (found,) = (f for f in judge(snapshots, history=True) if f.kind in ("dead", "silent") and 0 in f.units)
    return found


def test_a_rare_unit_is_not_silent_after_a_short_look() -> None:
    """4 of 1000 before: 0 of the 128 of one look is what a living unit would show six times out of ten."""

    def kinds(fired: list[int], examples: list[int]) -> list[tuple[str, bool]]:
        made = [site([count, n // 2], examples=n) for count, n in zip(fired, examples, strict=True)]
        found = judge(shots(*made, steps=STEPS[: len(made)]), history=True)
        return [(f.kind, "no sign of silence yet" in f.evidence) for f in found if 0 in f.units]

    assert ("rare", True) in kinds([4, 0], [1000, 128])
    assert kinds([4, 0], [1000, 751])[0][0] == "silent"  # 751 · 0.004 > 3
    assert ("rare", True) in kinds([500, 4, 0], [1000, 1000, 128])  # the rate of late is what counts
    assert kinds([500, 500, 0], [1000, 1000, 128])[0][0] == "silent"
    assert ("rare", True) in kinds([4, 0, 0, 0], [1000, 128, 128, 128])
    assert kinds([0, 0], [1000, 128])[0][0] == "silent"  # it never fired


def test_one_interval_that_stands_out_is_a_step_however_long_it_is() -> None:
    """0.5 of the norm in 32 steps is nothing at that pace, and much beyond the pace of 0.001 a step before."""
    fired = [400, 400, 400, 400, 0, 0]
    found = silent(shots(*looks(fired, moved=[0, 0.003, 0.006, 0.016, 0.5, 0.0]), steps=STEPS))
    assert found.cause_kind == "step"
    assert found.cause == (
        "too large a step: they last fired before step 58, and after step 26: there their own weights moved by 0.5 "
        "times their norm within 32 steps, far beyond the pace before (0.1 more than three times that pace explains is "
        "too much)"
    )
    assert (found.measures["step_before"], found.measures["step"]) == (26, 58)
    even = silent(shots(*looks(fired, moved=[0, 0.05, 0.1, 0.25, 0.5, 0.0]), steps=STEPS))
    assert even.cause_kind != "step"


def test_the_first_interval_has_no_pace_to_be_compared_with() -> None:
    fired = [400, 0, 0, 0, 0, 0]
    assert silent(shots(*looks(fired, moved=[0, 0.3, 0, 0, 0, 0]), steps=(1, 50, 60, 70, 80, 90))).cause_kind != "step"


def test_a_step_that_moved_the_layer_but_not_the_unit_is_not_its_cause() -> None:
    fired = [400, 400, 0]
    large = (layer("linear", update_ratio=0.4),)
    moved = looks(fired, moved=[0, 0.01, 0.3])
    still = looks(fired, moved=[0, 0.01, 0.01])
    assert silent(shots(*moved, layers=large)).cause_kind == "step"
    assert silent(shots(*still, layers=large)).cause_kind == "unknown"


def test_a_bias_that_sinks_little_by_little_is_drift_though_it_moves_far() -> None:
    fired = [400, 400, 400, 0]
    bias = [0.0, -0.5, -1.0, -1.5]
    drift = looks(fired, bias=bias, moved=[0, 0.5, 0.45, 0.35], weight_norm=[1.0] * 4)
    found = silent(shots(*drift))
    assert found.cause_kind == "bias"
    assert found.cause == (
        "bias drift: the bias went from 0 to -1.5 by step 31; with the one of step 1 they would still fire, as their "
        "weights reach 0.5"
    )
    both = looks(fired, bias=[0.0, -0.1, -0.2, -0.3], moved=[0, 0.5, 0.45, 0.35], weight_norm=[1.0] * 4)
    assert silent(shots(*both)).cause_kind == "step"  # the weights moved, the bias hardly


def test_born_silent_is_initialisation_unless_the_bias_sank_later() -> None:
    never = looks([0, 0, 0], bias=[-3.0, -3.0, -3.0])
    assert silent(shots(*never)).cause_kind == "initialisation"
    # silent at the first looks by chance; with its first bias it would fire at the last
    sank = looks([0, 0, 0], bias=[0.5, -1.0, -2.0])
    assert silent(shots(*sank)).cause_kind == "bias"


def test_a_layer_that_is_fed_zeros_and_what_lies_behind_it() -> None:
    fed = layer("linear", input_rms=0.0, input_mean=0.0, first=True)
    found = silent(shots(*looks([400, 0, 0]), layers=(fed,)))
    assert found.cause_kind == "zeros"
    assert found.cause == (
        "a data path of zeros: the model's input there is 0 at every example (layer linear), so z is the bias alone"
    )
    up = site([0, 1000], site="up", layer="first")
    down = site([0, 1000], upstream="up")
    layers = (layer("first", input_rms=0.0, first=True), layer("linear", input_rms=1.0))
    behind = [f for f in judge([Snapshot(0, (up, down), layers)]) if f.kind == "silent"]
    assert {f.site: f.cause_kind for f in behind} == {"up": "zeros", "act": "zeros"}


def test_a_silent_site_shuts_the_next_and_a_leaky_one_does_not() -> None:
    down = site([0, 500], upstream="up")
    shut = judge([Snapshot(0, (site([0, 0], site="up", layer="first"), down), (layer(input_rms=0.0),))])
    assert {f.cause_kind for f in shut if f.site == "act" and f.kind == "silent"} == {"upstream"}
    leaky = site([0, 0], site="up", rectifier="leaky_relu", sum_abs_h=np.array([3.0, 2.0]))
    open_ = judge([Snapshot(0, (leaky, down), ())])
    assert {f.cause_kind for f in open_ if f.site == "act" and f.kind == "silent"} == {"unknown"}


def test_a_unit_that_died_before_its_site_was_shut_keeps_its_own_cause() -> None:
    shots_ = []
    for i, step in enumerate(range(1, 80, 10)):
        up = site([0, 0] if i > 5 else [500, 500], site="up")
        down = site(
            [0 if i > 1 else 500, 0 if i > 5 else 500], upstream="up", moved=np.array([3.0 if i == 2 else 0.0, 0.0])
        )
        shots_.append(Snapshot(step, (up, down), ()))
    found = {u: f.cause_kind for f in judge(shots_, history=True) if f.site == "act" for u in f.units}
    assert found == {0: "step", 1: "upstream"}


def test_a_rare_unit_is_not_taken_for_one_that_died_before() -> None:
    """It fires at 1 of 1000: silent at one look of 1000 says nothing, so the silence upstream one look later did it."""
    shots_ = []
    for i, step in enumerate(range(1, 80, 10)):
        up = site([0, 0] if i > 5 else [500, 500], site="up")
        down = site([0 if i > 4 else 1, 0 if i > 5 else 500], upstream="up")
        shots_.append(Snapshot(step, (up, down), ()))
    found = {u: f.cause_kind for f in judge(shots_, history=True) if f.site == "act" for u in f.units}
    assert found == {0: "upstream", 1: "upstream"}


def test_inputs_that_change_or_that_never_were_scaled() -> None:
    def fed(rms: float, mean: float = 0.0) -> tuple[Any, ...]:
        return (layer("linear", first=True, input_rms=rms, input_mean=mean),)

    sites = looks([400, 400, 0, 0], moved=[0, 0.001, 3.0, 0])
    changed = [
        Snapshot(1 + 10 * i, (one,), fed(r)) for i, (one, r) in enumerate(zip(sites, (1, 1, 40, 40), strict=True))
    ]
    found = silent(changed)
    assert found.cause_kind == "input"
    assert found.cause == (
        "input scale or shift: they last fired before step 21, when the root mean square of the inputs of layer linear "
        "went from 1 to 40"
    )
    moved = [
        Snapshot(1 + 10 * i, (one,), fed(1.0, m))
        for i, (one, m) in enumerate(zip(sites, (0, 0, 0.6, 0.6), strict=True))
    ]
    assert "when the mean of the inputs of layer linear went from 0 to 0.6" in silent(moved).cause
    raw = silent([Snapshot(1 + 10 * i, (one,), fed(120.0, 60.0)) for i, one in enumerate(sites)])
    assert raw.cause_kind == "input" and "mean 60 and root mean square 120 (limits: a mean of 0.8" in raw.cause
    normal = [site([o.fired[0], 500], scale=np.ones(2), shift=np.array([-2.0, 0]), normalised=True,
                   moved=o.moved) for o in sites]  # fmt: skip
    behind_norm = silent([Snapshot(1 + 10 * i, (one,), fed(120.0, 60.0)) for i, one in enumerate(normal)])
    assert behind_norm.cause_kind == "step"


def test_a_step_that_moved_the_site_before_it_is_named_with_that_site() -> None:
    shots_ = []
    for i, step in enumerate((1, 9, 17, 33)):
        up = site(
            [500, 500],
            site="up",
            layer="first",
            moved=None if i == 0 else np.array([2.0, 2.0] if i == 2 else [0.01] * 2),
        )
        down = site([0 if i > 1 else 500, 500], upstream="up", moved=None if i == 0 else np.array([0.001, 0.001]))
        shots_.append(Snapshot(step, (up, down), ()))
    found = silent(shots_)
    assert found.cause_kind == "step" and "there the weights of up, which feeds them, moved by 2 times" in found.cause


def test_collapsed_by_gamma_and_beta_alone() -> None:
    at = {"min_z": np.array([-4.0, -1.0]), "max_z": np.array([-0.5, 2.0])}  # normalised: −2 to 1.5
    one = site([0, 500], scale=np.array([1.0, 1.0]), shift=np.array([-2.0, 0.0]), **at)
    (found,) = (f for f in judge([Snapshot(0, (one,), ())]) if f.kind == "silent")
    assert found.cause_kind == "normalisation"


# One real training a cause


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "causes.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_causes", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "cause", ["step", "bias", "initialisation", "upstream", "normalisation", "input", "zeros"]
)  # fmt: skip
def test_a_planted_cause_is_named(benchmark: ModuleType, cause: str) -> None:
    pytest.importorskip("sklearn")
    scored = benchmark.score(cause, 2)
    victims = sum(scored.named.values())
    assert victims >= 5 and scored.ran == cause
    assert scored.named[cause] >= 0.9 * victims


def test_sparse_firing_and_sound_training_are_not_ill(benchmark: ModuleType) -> None:
    pytest.importorskip("sklearn")
    rows = list(benchmark.controls(1))
    assert {row.training for row in rows if row.ill} == {benchmark.RUINED}
    silence = {row.training: row.silent for row in rows}
    assert silence["Adam 0.003"] > 0.1 and silence[benchmark.RUINED] > 0.5 and silence["sparse firing, 2%"] == 0
