"""Claims of training and sparsity: each with what must make it fail, on small budgets or on results made for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rectifier.claims import claims
from rectifier.claims.experiments import compared
from rectifier.claims.experiments.centres import passed_on
from rectifier.claims.experiments.sparsity import sparse
from rectifier.claims.lab.activations import ACTIVATIONS
from rectifier.claims.lab.results import Results, Row
from rectifier.claims.tasks import TASKS

from .test_planted import FALSE, verdict

Patch = pytest.MonkeyPatch
Put = Callable[..., None]


def module(name: str) -> Any:
    return importlib.import_module(f"rectifier.claims.{name}")


@pytest.fixture
def against_sigmoid(monkeypatch: Patch) -> None:
    """ReLU against the sigmoid alone, on the digits through six layers, with a small budget and one step size."""
    usual = compared.candidate
    monkeypatch.setattr(compared, "candidate", lambda *of: {**usual(*of), "depth": 6})
    monkeypatch.setitem(TASKS, "digits-mlp", replace(TASKS["digits-mlp"], quick=120, few_steps=(0.03,)))
    monkeypatch.setattr(compared, "TASKS_TAKEN", {"digits-mlp": "digits"})
    monkeypatch.setattr(compared, "RIVALS", ("sigmoid",))
    monkeypatch.setattr(compared, "LABELS", ("relu", "sigmoid"))


#: With the true ReLU, with one of derivative 0.2, and with a sigmoid in its place. Through six layers
#: the second one learns slowly; yet it ends above the sigmoid's network, which has learned nothing.
OF_RELU = {
    "fewer-steps": ("holds", "does not hold", "does not hold"),
    "final-accuracy": ("holds", "holds", "does not hold"),
}


@pytest.mark.usefixtures("against_sigmoid")
@pytest.mark.parametrize("name", OF_RELU)
@pytest.mark.parametrize("place", range(len(FALSE)), ids=list(FALSE))
def test_a_false_relu(name: str, place: int, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "relu", list(FALSE.values())[place])
    assert verdict(name, tmp_path).answer == OF_RELU[name][place]


def _outcome(better: bool) -> dict[str, Any]:
    """Of both experiments."""
    updates = {f"updates_to_{goal:g}": 100.0 if better else 200.0 for goal in (0.3, 0.8, 0.9)}
    return {**updates, "test": 0.9 if better else 0.8, "train": 0.95 if better else 0.9, "seconds": 1.0, "updates": 60}


def made(better: Callable[[str, str], bool]) -> Iterator[Row]:
    """Rows of both experiments; ``better`` says of task and label whether the outcome is the good one."""
    for seed in range(3):
        for task in compared.TASKS_TAKEN:
            for label in compared.LABELS:
                config = {"task": task, "activation": label, "budget": 300, "seed": seed}
                for experiment in ("trained", "timed"):
                    yield Row(experiment, config, _outcome(better(task, label)))


@pytest.mark.parametrize("name", ["fewer-steps", "less-time", "final-accuracy", "smaller-gap"])
def test_comparisons(name: str) -> None:
    judge = claims()[name].judge
    assert judge(Results(made(lambda task, label: label == "relu"))).answer == "holds"
    assert judge(Results(made(lambda task, label: True))).answer == "does not hold"
    assert judge(Results(made(lambda task, label: label != "relu"))).answer == "does not hold"
    of_sigmoid = judge(Results(made(lambda task, label: label != "sigmoid")))
    assert of_sigmoid.answer == "depends"
    assert "against sigmoid on 6 of 6 tasks; against tanh on 0 of 6" in of_sigmoid.told
    on_text = judge(Results(made(lambda task, label: label == "relu" or task != "text")))
    assert on_text.answer == "depends"
    assert "against sigmoid on 1 of 6 tasks (text)" in on_text.told
    assert "against tanh on 1 of 6 (text)" in on_text.told


@pytest.mark.parametrize("name", ["final-accuracy", "smaller-gap"])
def test_one_example_more_in_each_seed_is_no_certainty(name: str) -> None:
    """Of tabular's 114; on all other tasks ReLU is better by 10 points."""
    rows = list(made(lambda task, label: label == "relu"))
    for row in rows:
        if row.config["task"] == "tabular" and row.config["activation"] == "relu":
            row.outcome.update(test=0.8 + 1 / 114, train=0.9)
    found = claims()[name].judge(Results(rows))
    assert found.answer == "not enough", found.told
    (cell,) = (effect for effect in found.effects if effect.what.endswith("tabular") and "sigmoid" in effect.what)
    assert (cell.low, cell.high) == pytest.approx((0.0, 200 / 114))


def test_what_broke_down_is_told() -> None:
    rows = list(made(lambda task, label: True))
    assert "broke down" not in claims()["final-accuracy"].judge(Results(rows)).told
    for row in rows:
        if (row.config["task"], row.config["activation"]) == ("speech", "relu") and row.seed:
            row.outcome["test"] = 0.1
    told = claims()["final-accuracy"].judge(Results(rows)).told
    assert told.endswith("broke down, at the step size that two other seeds chose: ReLU 2 of 3 on speech.")


def test_what_was_never_reached_counts_with_the_whole_budget() -> None:
    rows = list(made(lambda task, label: label == "relu"))
    for row in rows:
        if row.config["activation"] != "relu":
            row.outcome.update({name: float("inf") for name in row.outcome if name.startswith("updates_to")})
    found = claims()["fewer-steps"].judge(Results(rows))
    assert found.answer == "holds"
    assert all(effect.value == pytest.approx(3.0) for effect in found.effects)  # 300 of the budget ÷ 100


@pytest.mark.parametrize(("false", "answer"), [("relu", "holds"), ("sigmoid", "does not hold")])
def test_initial_scale(false: str, answer: str, tmp_path: Path, put: Put, monkeypatch: Patch) -> None:
    scale = module("initial_scale")
    monkeypatch.setitem(TASKS, "digits-mlp", replace(TASKS["digits-mlp"], quick=200, few_steps=(0.1,)))
    monkeypatch.setattr(scale, "_TASKS", {"digits-mlp": "digits"})
    monkeypatch.setattr(scale, "_SCALES", {True: (0.25,)})
    monkeypatch.setattr(scale, "RIVALS", ("sigmoid",))
    monkeypatch.setattr(scale, "LABELS", ("relu", "sigmoid"))
    put("relu", function=false)
    assert verdict("initial-scale", tmp_path).answer == answer


@pytest.mark.parametrize(
    ("elu", "selu", "answer"),
    [("elu", "relu", "does not hold"), ("selu", "selu", "holds"), ("relu", "selu", "depends")],
)
def test_stay_centred(elu: str, selu: str, answer: str, tmp_path: Path, put: Put, monkeypatch: Patch) -> None:
    centred = module("stay_centred")
    monkeypatch.setitem(TASKS, "tabular", replace(TASKS["tabular"], quick=60, few_steps=(0.01,)))
    monkeypatch.setattr(centred, "_TASKS", {"tabular": "tabular"})
    monkeypatch.setattr(centred, "_LABELS", ("elu", "selu"))
    put("elu", function=elu)
    put("selu", function=selu)
    assert verdict("stay-centred", tmp_path).answer == answer


@pytest.mark.parametrize(("false", "answer"), [("selu", "holds"), ("elu", "does not hold"), ("relu", "does not hold")])
def test_selu_fixed_point(false: str, answer: str, tmp_path: Path, put: Put, monkeypatch: Patch) -> None:
    monkeypatch.setattr(module("selu_fixed_point"), "_LABELS", ("selu",))
    put("selu", function=false)
    assert verdict("selu-fixed-point", tmp_path).answer == answer


@pytest.mark.parametrize(
    ("broken", "false", "answer"),
    [
        (("He's weights", "residual chain"), "selu", "holds"),
        (("input × 10",), "selu", "does not hold"),
        (("He's weights", "input × 10"), "selu", "depends"),
        # Nothing brings ReLU back.
        (("input × 10",), "relu", "holds"),
    ],
)
def test_selu_conditions(
    broken: tuple[str, ...], false: str, answer: str, tmp_path: Path, put: Put, monkeypatch: Patch
) -> None:
    conditions = module("selu_conditions")
    monkeypatch.setattr(conditions, "_BROKEN", {name: conditions._BROKEN[name] for name in broken})
    put("selu", function=false)
    assert verdict("selu-conditions", tmp_path).answer == answer


def test_a_chain_without_activations_is_a_product_of_matrices() -> None:
    common = {"activation": "identity", "depth": 3, "width": 32, "data": "standardised", "chain": "plain", "seed": 5}
    lecun, he, large = (
        passed_on({**common, "init": init, "times": times})
        for init, times in (("lecun", 1.0), ("he", 1.0), ("lecun", 10.0))
    )
    assert he["variance"] == pytest.approx([v * 2**place for place, v in enumerate(lecun["variance"], 1)], rel=1e-3)
    assert large["variance"] == pytest.approx([100 * v for v in lecun["variance"]], rel=1e-3)
    assert large["of_units"] == pytest.approx(lecun["of_units"], rel=1e-3)


@pytest.mark.parametrize(
    ("false", "answer"), [("relu", "holds"), ("sigmoid", "does not hold"), ("abs", "does not hold")]
)
def test_half_zero(false: str, answer: str, tmp_path: Path, put: Put, monkeypatch: Patch) -> None:
    half = module("half_zero")
    monkeypatch.setitem(TASKS, "tabular", replace(TASKS["tabular"], quick=20, few_steps=(0.01,)))
    monkeypatch.setattr(half, "TASKS_TAKEN", {"tabular": "tabular"})
    # One task and three seeds leave wide intervals.
    monkeypatch.setattr(half, "_NEAR", 25.0)
    put("relu", function=false)
    assert verdict("half-zero", tmp_path).answer == answer


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ((), "digits 50 → 40 %"),
        ((1,), "text 50 → 40 %. By layer: see the figure. Trainings that broke off, and are left out: text 1."),
        ((0, 1, 2), "text 50 → –. By layer: see the figure. Trainings that broke off, and are left out: text 3."),
    ],
)
def test_half_zero_leaves_out_what_broke_off(broken: tuple[int, ...], told: str) -> None:
    rows = []
    for task in compared.TASKS_TAKEN:
        for seed in range(3):
            for budget, zeros in ((1, 0.5), (300, 0.4)):
                off = budget == 300 and task == "text" and seed in broken
                outcome = {"zeros": float("nan"), "zeros_by_layer": []} if off else {"zeros_by_layer": [zeros] * 2}
                config = {"task": task, "activation": "relu", "budget": budget, "seed": seed}
                rows.append(Row("trained", config, {"zeros": zeros, **outcome}))
    claim, results = claims()["half-zero"], Results(rows)
    found = claim.judge(results)
    assert found.answer == "holds"
    assert told in found.told and "nan" not in found.told
    alt = claim.figure(results).alt
    assert ("text, trained: none" if len(broken) == 3 else "text, trained: 40 %, 40 %") in alt


def _sparse(slopes: dict[str, float], seeds: int = 4) -> Results:
    """Networks whose accuracy changes with their zeros by a slope for each way."""
    rows = []
    claim = module("sparsity_generalises")
    for seed in range(seeds):
        for task in claim._TASKS:
            common = {"task": task, "seed": seed}
            for way, values in claim._WAYS.items():
                for place, value in enumerate(values):
                    zeros = 0.2 + 0.15 * place + 0.01 * (seed % 2)
                    test = 0.9 + slopes[way] * zeros + 0.001 * (seed // 2)
                    rows.append(Row("sparse", {**common, way: value}, {"zeros": zeros, "test": test}))
            rows.append(Row("sparse", common, {"zeros": 0.425, "test": 0.9}))
    return Results(rows)


def test_sparsity_generalises() -> None:
    judge, ways = claims()["sparsity-generalises"].judge, module("sparsity_generalises")._WAYS
    assert judge(_sparse(dict.fromkeys(ways, -0.5))).answer == "does not hold"
    rising = judge(_sparse(dict.fromkeys(ways, 0.5)))
    assert all(effect.low > 0.3 for effect in rising.effects)
    assert rising.answer == "holds"
    mixed = judge(_sparse({**dict.fromkeys(ways, -0.5), "width": 0.5}))
    assert mixed.answer == "depends"
    assert "better where what varies is: width on digits, width on tabular; worse: initial bias" in mixed.told
    assert "initial bias 45 and 45; penalty on |h| 45 and 45; weight decay 45 and 45; width 45 and 45." in mixed.told


def test_ranks_of_ties_are_shared() -> None:
    """Accuracies that are all but one the same tell nothing, in whatever order the networks stand."""
    rows = [
        Row(row.experiment, row.config, {"zeros": 0.5 + 0.01 * row.seed, "test": 0.9 + 0.1 * (row.seed == 4)})
        for row in _sparse(dict.fromkeys(module("sparsity_generalises")._WAYS, 0.0), 8)
    ]
    found = claims()["sparsity-generalises"].judge(Results(rows)).effects[0]
    from scipy.stats import spearmanr

    assert found.value == pytest.approx(spearmanr(range(8), [0, 0, 0, 0, 1, 0, 0, 0]).statistic)


def test_a_penalty_makes_sparser() -> None:
    config = {"task": "tabular", "activation": "relu", "step": 0.003, "seed": 0, "budget": 60}
    usual, penalised, biased = (sparse({**config, **more}) for more in ({}, {"penalty": 10.0}, {"init_bias": 2.0}))
    assert penalised["zeros"] > usual["zeros"] + 0.1
    assert biased["zeros"] < usual["zeros"] - 0.1
