"""Certificates: accepted for the weights they were made for, refused with the reason where anything was changed."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import Certificate, Rejected, accept
from rectifier.checkup.proofs import checker as checker_module


class Deep(nn.Module):
    """A residual convolution net with planted dead channels and units at three depths."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bn, self.two = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.pool, self.mid, self.end = nn.AvgPool2d(2), nn.Linear(16, 6), nn.Linear(6, 2)
        with torch.no_grad():
            self.bn.bias[1], self.two.bias[2], self.mid.bias[3] = -40.0, -200.0, -300.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.one(x)))
        x = torch.relu(self.two(x) + x)
        return self.end(torch.relu(self.mid(self.pool(x).flatten(1))))


@pytest.fixture(scope="module")
def made() -> tuple[rectifier.checkup.Record, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    model = Deep().eval()
    record = rectifier.check(model, [torch.randn(32, 1, 4, 4)])
    return record, {name: value.numpy().copy() for name, value in model.state_dict().items()}


def test_it_states_what_was_proved_and_is_accepted(made: Any, tmp_path: Path) -> None:
    record, weights = made
    dead = {f.site: f.units for f in record.of("dead")}
    assert dead == {"relu#0": (1,), "relu#1": (2,), "relu#2": (3,)}
    certificate = record.certificate
    assert isinstance(certificate, Certificate) and certificate.units == dead
    path = certificate.write(tmp_path / "proof.json")
    assert accept(path.read_text(), weights) == dead
    with pytest.raises(rectifier.RectifierValueError, match="must not exist yet"):
        certificate.write(path)
    # tensors that the proofs do not need are not asked for
    assert accept(certificate.document, {k: v for k, v in weights.items() if not k.startswith("end")}) == dead


def test_nothing_proved_leaves_none(made: Any) -> None:
    torch.manual_seed(0)
    record = rectifier.check(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), [torch.randn(500, 3)])
    assert record.of("dead") == () and record.certificate is None
    assert rectifier.checkup.Record.from_json(made[0].to_json()).certificate is None


def network(document: Any) -> Any:
    return document["networks"][0]


def step(document: Any, layer: str) -> Any:
    return next(s for s in network(document)["steps"] if s["layer"] == layer)


def lower_the_bound(document: Any) -> None:
    step(document, "two")["high"]["values"][3] -= 0.5


def raise_the_low_end(document: Any) -> None:
    step(document, "two")["low"]["values"][0] += 0.5


def widen_the_box(document: Any) -> None:
    step(document, "the input")["high"]["values"] = [50.0]


def unbounded_box(document: Any) -> None:
    step(document, "the input")["high"]["values"] = ["inf"]


def unbounded_step(document: Any) -> None:
    step(document, "bn")["op"] = "unknown"


def name_another_unit(document: Any) -> None:
    network(document)["dead"][0]["units"].append(0)


def name_a_unit_that_is_not_there(document: Any) -> None:
    network(document)["dead"][0]["units"].append(17)


def name_another_rectifier(document: Any) -> None:
    network(document)["dead"][1]["rectifier"] = "leaky_relu"


def name_another_step(document: Any) -> None:
    site = network(document)["dead"]
    site[2]["step"] = site[0]["step"]


def drop_an_addend(document: Any) -> None:
    added = step(document, "add")
    added["inputs"], added["settings"]["coefficients"] = added["inputs"][:1], [1.0]
    added["high"] = copy.deepcopy(step(document, "two")["high"])


def read_a_later_step(document: Any) -> None:
    step(document, "one")["inputs"] = [5]


def better_arithmetic(document: Any) -> None:
    network(document)["arithmetic"]["roundoff"] = 0.0


def an_unknown_operation(document: Any) -> None:
    step(document, "two")["op"] = "__init__"


def not_a_number(document: Any) -> None:
    step(document, "two")["high"]["values"][0] = "nan"


def another_schema(document: Any) -> None:
    document["schema"] = "rectifier-record/1"


def no_padding(document: Any) -> None:
    step(document, "two")["settings"]["padding"] = [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lower_the_bound, r"the bound of step \d+ \(conv two\) does not follow from the steps before it"),
        (raise_the_low_end, r"the bound of step \d+ \(conv two\) does not follow from the steps before it"),
        (widen_the_box, r"the bound of step 1 \(conv one\) does not follow from the steps before it"),
        (unbounded_box, r"the bound of step 1 \(conv one\) does not follow from the steps before it"),
        (unbounded_step, r"the bound of step 2 \(unknown bn\) does not follow from the steps before it"),
        (name_another_unit, "the bounds of relu#0 do not shut each unit that it names"),
        (name_a_unit_that_is_not_there, "the bounds of relu#0 do not shut each unit that it names"),
        (name_another_rectifier, "'relu#1' is no name of a site of a leaky_relu"),
        (name_another_step, "the bounds of relu#2 do not shut each unit that it names"),
        (read_a_later_step, r"step 1 \(conv one\) reads a step that does not come before it"),
        (better_arithmetic, "its arithmetic or its mode is none"),
        (an_unknown_operation, "it has an operation '__init__', which is not known"),
        (not_a_number, "a bound is no number, or has another shape than its step"),
        (another_schema, "it is of another schema"),
        (no_padding, "a convolution has another shape than its settings give"),
    ],
)
def test_forged_ones_are_refused(made: Any, forge: Callable[[Any], None], reason: str) -> None:
    record, weights = made
    document = json.loads(record.certificate.document)
    forge(document)
    with pytest.raises(Rejected, match=f"^accept: .* refused: {reason}\\. Make another") as caught:
        accept(json.dumps(document), weights)
    assert re.fullmatch(reason, caught.value.reason)


def test_each_bound_of_each_step_is_checked(made: Any) -> None:
    """Every number that the proofs rest on, moved inwards by a little more than the rounding: refused each time."""
    record, weights = made
    steps = network(json.loads(record.certificate.document))["steps"]
    generator, refused = np.random.default_rng(0), 0
    for index, one in enumerate(steps):
        for end, sign in (("high", -1), ("low", 1)):
            if one["op"] == "input":
                continue
            document = json.loads(record.certificate.document)
            values = network(document)["steps"][index][end]["values"]
            place = int(generator.integers(len(values)))
            values[place] += sign * (1e-3 + 1e-3 * abs(values[place]))
            with pytest.raises(Rejected):
                accept(json.dumps(document), weights)
            refused += 1
    assert refused >= 2 * 8


def test_a_file_cut_off_anywhere_is_refused(made: Any) -> None:
    record, weights = made
    whole = record.certificate.document
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        with pytest.raises(Rejected, match="it is malformed \\(JSONDecodeError"):
            accept(whole[: int(share * len(whole))], weights)


@pytest.mark.parametrize("name", ["one.weight", "bn.running_var", "two.bias", "mid.weight"])
def test_other_weights_are_refused(made: Any, name: str) -> None:
    record, weights = made
    other = dict(weights)
    other[name] = weights[name].copy()
    other[name].flat[0] = np.nextafter(other[name].flat[0], np.float32(np.inf))
    with pytest.raises(Rejected, match=f"refused: '{name}' is another tensor than the one it was made for"):
        accept(record.certificate.document, other)
    other[name] = weights[name].astype(np.float64)  # the same numbers, another dtype
    with pytest.raises(Rejected, match="is another tensor"):
        accept(record.certificate.document, other)
    del other[name]
    with pytest.raises(Rejected, match=f"the weights have no '{name}'"):
        accept(record.certificate.document, other)


def test_the_whole_message() -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        accept("{}", {})
    assert str(caught.value) == (
        "accept: `document` must be a certificate that holds for these weights; got one that is refused: it is "
        "malformed (KeyError: 'schema'). Make another with: rectifier check TARGET --certificate FILE"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)).to(dtype)
    with torch.no_grad():
        model[0].bias[2] = model[2].bias[1] = -30.0
    record = rectifier.check(model, [torch.rand(16, 4, dtype=dtype)])
    assert {f.site: f.units for f in record.of("dead")} == {"1": (2,), "3": (1,)}
    state = {k: (v.float() if dtype == torch.bfloat16 else v).numpy() for k, v in model.state_dict().items()}
    assert accept(record.certificate.document, state) == {"1": (2,), "3": (1,)}


def test_the_checker_shares_no_code_with_the_prover() -> None:
    folder = Path(str(checker_module.__file__)).parent
    for name in ("checker.py", "checker_rules.py"):
        tree = ast.parse((folder / name).read_text())
        inner = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
        assert inner <= {"errors", "checker_rules"}
