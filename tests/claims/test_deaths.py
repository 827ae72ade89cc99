"""Claims of death and of the default: what is counted is the truth, and each claim has what must make it fail."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rectifier.claims import claims
from rectifier.claims.experiments import deaths as experiment
from rectifier.claims.experiments.deaths import ARMS, units
from rectifier.claims.lab.activations import ACTIVATIONS
from rectifier.claims.lab.results import Results, Row
from rectifier.claims.tasks import TASKS

from .test_planted import FALSE, fifth, verdict

Patch = pytest.MonkeyPatch


def module(name: str) -> Any:
    return importlib.import_module(f"rectifier.claims.{name}")


@pytest.fixture
def short(monkeypatch: Patch) -> None:
    """A third of the quick budget, and the few settings that the verdict rests on."""
    monkeypatch.setitem(experiment.BUDGET, True, 60)
    dying = module("dying_units")
    monkeypatch.setattr(dying, "_STEPS", {True: (0.03, 0.3)})
    monkeypatch.setattr(dying, "_INITS", {True: ("gain",)})


def network(activation: str, closed: float) -> Any:
    """The plain network; the bias of the first quarter of each layer is ``closed``."""
    import torch

    from rectifier.claims.tasks import images
    from rectifier.claims.tasks.setup import Setup

    model = images.feed_forward(activation, 64, 3, 64, 10, "none")
    Setup(activation=activation, seed=0, step=1.0, budget=1, init_bias=1.0, init_scale=0.01).initialise(model)
    with torch.no_grad():
        for place in (1, 2, 3):
            model.get_parameter(f"linear{place}.bias")[:16] = closed
    return model


class TestUnits:
    """The weights are small: but for the quarter every unit has z near 1."""

    @pytest.mark.parametrize(
        ("activation", "silent", "closed", "stuck"),
        [
            ("relu", 0.25, 0.0, 0.25),
            ("leaky_relu", 0.0, 0.25, 0.0),
            ("elu", 0.0, 0.25, 0.25),
            ("softplus", 0.0, 0.25, 0.25),
            ("sigmoid", 0.0, 0.0, 0.25),
        ],
    )
    def test_what_a_closed_unit_is_called(self, activation: str, silent: float, closed: float, stuck: float) -> None:
        found = units(network(activation, -100.0))
        assert (found["silent"], found["closed"], found["stuck"]) == (silent, closed, stuck)

    def test_dead_is_what_is_proved(self) -> None:
        far = units(network("relu", -100.0))
        assert far["dead"] == far["silent"] == 0.25
        # Silent on these images, and yet there are inputs within their range that would wake some of them.
        import torch

        near = network("relu", 1.0)
        x = torch.cat([each for each, _ in importlib.import_module("rectifier.claims.tasks.images").parts().values()])
        with torch.no_grad():
            first = near.get_submodule("linear1")
            first.bias[:16] -= first(x)[:, :16].amax(dim=0) + 1e-4
        found = units(near)
        assert found["silent"] == 16 / 192 and found["dead"] == 0.0

    def test_a_layer_that_the_check_up_does_not_know_is_counted_by_hand(self, monkeypatch: Patch) -> None:
        true = units(network("relu", -100.0))
        monkeypatch.setitem(ACTIVATIONS, "relu", replace(ACTIVATIONS["relu"], module=fifth))
        false = units(network("relu", -100.0))
        assert (false["silent"], false["stuck"]) == (true["silent"], true["stuck"])


#: Claim → its verdict with the true ReLU, one of derivative 0.2, and a sigmoid in its place. The second passes
#: so little on that ten times the usual step size is not too large: the low bias and Adam are left.
OF_RELU = {
    "dying-units": ("holds", "does not hold", "does not hold"),
    "batch-norm-and-death": ("holds", "depends", "does not hold"),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("place", range(len(FALSE)), ids=list(FALSE))
@pytest.mark.parametrize("name", OF_RELU)
def test_of_relu(name: str, place: int, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setitem(ACTIVATIONS, "relu", list(FALSE.values())[place])
    assert verdict(name, tmp_path).answer == OF_RELU[name][place]


@pytest.mark.usefixtures("short")
def test_batch_norm_that_is_none(tmp_path: Path, monkeypatch: Patch) -> None:
    from rectifier.claims.tasks import images

    true: Any = images.feed_forward
    monkeypatch.setattr(images, "feed_forward", lambda *given: true(*given[:5], "none"))
    assert verdict("batch-norm-and-death", tmp_path).answer == "does not hold"


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("variant", "false", "answer"),
    [
        ("leaky_relu", "leaky_relu", "holds"),
        ("leaky_relu", "relu", "does not hold"),
        # Flat far below 0, where too large a step has put its units.
        ("elu", "elu", "does not hold"),
        # Nothing to prevent.
        ("relu", "sigmoid", "does not hold"),
    ],
)
def test_variants(
    variant: str, false: str, answer: str, tmp_path: Path, put: Callable[..., None], monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module("variants_that_live"), "_VARIANTS", ("leaky_relu" if variant == "relu" else variant,))
    put(variant, function=false)
    found = verdict("variants-that-live", tmp_path, seeds=5)
    assert found.answer == answer, found


def _variants(monkeypatch: Patch, relu: tuple[float, float, float], leaky: tuple[float, float, float]) -> Any:
    """Judged by shares of stuck units after each of the three damages; NaN where the training broke off."""
    monkeypatch.setattr(module("variants_that_live"), "_VARIANTS", ("leaky_relu",))
    rows = []
    for label, shares in (("relu", relu), ("leaky_relu", leaky)):
        for changed, share in zip(experiment.DAMAGES.values(), shares, strict=True):
            rows += made("deaths", experiment.setting(label, **changed), stuck=share, closed=share, test=0.9)
    return claims()["variants-that-live"].judge(Results(rows))


def test_what_broke_off_is_left_out_for_relu_too(monkeypatch: Patch) -> None:
    """Leaky ReLU broke off where ReLU lost its units: by what is left there was nothing to prevent."""
    nan = float("nan")
    assert _variants(monkeypatch, (0.9, 0.9, 0.1), (0.0, 0.0, 0.0)).answer == "holds"
    assert _variants(monkeypatch, (0.9, 0.9, 0.1), (0.0, 0.0, nan)).answer == "holds"
    found = _variants(monkeypatch, (0.9, 0.9, 0.1), (nan, nan, 0.0))
    assert found.answer == "not enough"
    assert "broke off: Leaky ReLU 6. By the others ReLU has 10 % beside Leaky ReLU." in found.told
    # And of the variant, where ReLU broke off.
    assert _variants(monkeypatch, (0.9, 0.9, nan), (0.0, 0.0, 0.9)).answer == "holds"


@pytest.mark.usefixtures("short")
def test_recycling_that_does_nothing(tmp_path: Path, monkeypatch: Patch) -> None:
    import rectifier

    monkeypatch.setattr(module("recycled_units"), "_DAMAGES", ("Adam, step size 0.1",))
    monkeypatch.setattr(rectifier, "heal", lambda *given, **options: ())
    found = verdict("recycled-units", tmp_path)
    assert found.answer == "does not hold"
    assert (found.effects[0].value, found.effects[0].high) == (0.0, 0.0)


def made(experiment_name: str, config: Mapping[str, Any], **outcome: float) -> list[Row]:
    """Three seeds of one configuration, that differ a little."""
    return [
        Row(experiment_name, {**config, "seed": seed}, {k: v + 0.001 * seed for k, v in outcome.items()})
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    ("recycled", "recycled_smaller", "answer"),
    [
        (0.5, 0.95, "depends"),  # it works where the step size is smaller
        (0.95, 0.95, "holds"),
        (0.5, 0.81, "does not hold"),  # no better than the smaller step size alone
        (0.5, 0.9, "depends"),  # better, and yet 6 points are missing
    ],
)
def test_recycled(recycled: float, recycled_smaller: float, answer: str) -> None:
    claim = module("recycled_units")
    tests = {
        "nothing": 0.5,
        "smaller": 0.8,
        "recycled": recycled,
        "scheduled": 0.5,
        "recycled_smaller": recycled_smaller,
    }
    outcome = {f"{arm}_test": tests[arm] for arm in ARMS} | {f"{arm}_silent": 0.4 for arm in (*ARMS, "first")}
    rows = []
    for config in (run.config for run in claim.CLAIM.runs(claim.CLAIM.plan(quick=True, seeds=1), Results())):
        fixed = {name: value for name, value in config.items() if name != "seed"}
        rows += made("remedies", fixed, **outcome) if "smaller" in fixed else made("deaths", fixed, test=0.96)
    assert claim.CLAIM.judge(Results(rows)).answer == answer


def test_recycled_is_open_where_the_same_step_size_leaves_it_open() -> None:
    claim = module("recycled_units")
    rows = []
    for config in (run.config for run in claim.CLAIM.runs(claim.CLAIM.plan(quick=True, seeds=3), Results())):
        outcome = {f"{arm}_test": 0.5 for arm in ARMS} | {f"{arm}_silent": 0.4 for arm in (*ARMS, "first")}
        tests = {"recycled_test": (0.5, 0.7, 0.95)[config["seed"]], "recycled_smaller_test": 0.95}
        name = "remedies" if "smaller" in config else "deaths"
        rows.append(Row(name, config, {**outcome, **tests} if name == "remedies" else {"test": 0.96}))
    assert claim.CLAIM.judge(Results(rows)).answer == "not enough"


@pytest.mark.parametrize(
    ("adam", "sgd", "answer"),
    [(0.02, 0.1, "holds"), (0.07, 0.05, "depends"), (0.2, 0.05, "does not hold")],
)
def test_adam(adam: float, sgd: float, answer: str) -> None:
    """Silent at the best step sizes; 0.1 with momentum. At ten times these SGD breaks off."""
    rows = []
    for optimizer, silent in {"adam": adam, "momentum": 0.1, "sgd": sgd}.items():
        for step, share in ((0.01, silent), (0.1, 0.7)):
            off = optimizer == "sgd" and step == 0.1
            config = {"optimizer": optimizer, "step": step}
            rows += [
                Row(each.experiment, each.config, {**each.outcome, "diverged": off})
                for each in made("deaths", config, silent=float("nan") if off else share, test=0.95)
            ]
    found = claims()["adam-and-death"].judge(Results(rows))
    assert found.answer == answer
    assert "plain SGD breaks off" in found.told


def _policies(curves: Mapping[str, tuple[float, float]], broken: tuple[str, ...] = ()) -> Results:
    """Three seeds of each activation, whose dormant share goes from one number to another in five looks."""
    rows = []
    for label, (first, last) in curves.items():
        for seed in range(3):
            off = label in broken and seed == 2
            line = [float("nan")] if off else [first + (last - first) * k / 4 + 0.005 * seed * k for k in range(5)]
            outcome = {"at": [80, 160, 240, 320, 400], "dormant_curve": line, "silent": line[-1] / 2}
            outcome |= {"test": 0.9, "diverged": off}
            rows.append(Row("trained", {"task": "cartpole", "activation": label, "budget": 400, "seed": seed}, outcome))
    return Results(rows)


@pytest.mark.parametrize(
    ("relu", "answer"),
    [
        ((0.1, 0.5), "holds"),
        ((0.5, 0.5), "does not hold"),  # dormant from the start
        ((0.5, 0.1), "does not hold"),  # they wake
        ((0.1, 0.16), "not enough"),
    ],
)
def test_dormant(relu: tuple[float, float], answer: str) -> None:
    claim = claims()["dormant-units"]
    results = _policies({"relu": relu, "tanh": (0.0, 0.0)}, broken=("tanh",))
    found = claim.judge(results)
    assert found.answer == answer, found
    assert "tanh 0 → 1 %. Trainings that broke off, and are left out: tanh 1." in found.told
    assert "tanh 0 → 1 %" in claim.figure(results).alt and "nan" not in claim.figure(results).svg


def test_dormant_of_trainings_that_all_broke_off() -> None:
    rows = [replace(row, outcome={**row.outcome, "diverged": True}) for row in _policies({"relu": (0.1, 0.5)})]
    assert claims()["dormant-units"].judge(Results(rows)).answer == "not enough"
    claims()["dormant-units"].figure(Results(rows))


def test_dormant_units_are_counted_in_the_runs_of_the_default() -> None:
    """In full nothing is run for it alone."""
    dormant, default = (claims()[name] for name in ("dormant-units", "default-activation"))
    asked, shared = ({run.key for run in claim.runs(claim.plan(), Results())} for claim in (dormant, default))
    assert asked and asked <= shared
    assert dormant.plan().seeds == default.plan().seeds


@pytest.mark.parametrize(
    ("others", "one", "answer"),
    [
        (0.88, 0.88, "holds"),
        (0.88, 0.95, "depends"),  # better on one task
        (0.95, 0.95, "does not hold"),  # better by 5 points on all
        (0.92, 0.92, "not enough"),  # perhaps 2 points better
    ],
)
def test_default(others: float, one: float, answer: str) -> None:
    """ReLU scores 0.9 on every task; Leaky ReLU ``others``, and ``one`` on the last."""
    rows = []
    for task in ("rows", "speech", "text", "tabular"):
        scores = {"relu": 0.9, "leaky_relu": one if task == "tabular" else others, "sigmoid": 0.5}
        for label, score in scores.items():
            rows += made("trained", {"task": task, "activation": label}, test=score, validation=score)
    # Seed by seed not the same, so that there is an interval.
    rows = [
        Row(row.experiment, row.config, {k: v + 0.002 * (row.seed == 1) for k, v in row.outcome.items()})
        if row.config["activation"] == "leaky_relu"
        else row
        for row in rows
    ]
    found = claims()["default-activation"].judge(Results(rows))
    assert found.answer == answer
    assert ("It is for the others to be 2 points better; ReLU need not be the best." in found.told) == (
        answer == "holds"
    )


@pytest.mark.parametrize("place", range(len(FALSE)), ids=list(FALSE))
def test_default_of_relu(place: int, tmp_path: Path, monkeypatch: Patch) -> None:
    claim = module("default_activation")
    small = {
        name: replace(TASKS[name], quick=budget, few_steps=(0.03,))
        for name, budget in {"digits-mlp": 60, "digits-cnn": 80}.items()
    }
    monkeypatch.setattr(claim, "TASKS", small)
    monkeypatch.setattr(claim, "LABELS", {True: ("relu", "leaky_relu", "sigmoid")})
    monkeypatch.setitem(ACTIVATIONS, "relu", list(FALSE.values())[place])
    answer = verdict("default-activation", tmp_path).answer
    assert answer == ("holds", "does not hold", "does not hold")[place]
