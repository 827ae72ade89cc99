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
from rectifier.checkup import Certificate, Rejected, accept, examine, proved
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


def state_something(document: Any) -> None:
    network(document)["statement"] = "for every input"


def add_a_key_to(part: str) -> Callable[[Any], None]:
    def forge(document: Any) -> None:
        {"document": document, "step": network(document)["steps"][0], "site": network(document)["dead"][0]}[part][
            "x"
        ] = 1

    return forge


def name_a_site_twice(document: Any) -> None:
    document["networks"].append(copy.deepcopy(network(document)))


def swap_names(document: Any) -> None:
    sites = network(document)["dead"]
    sites[0]["site"], sites[1]["site"] = "relu6#1", sites[0]["site"]


def name_with_control_characters(document: Any) -> None:
    network(document)["dead"][0]["site"] = "\x1b[2Kall"


def take_positions_for_units(document: Any) -> None:
    network(document)["dead"][0]["axis"] = 1


def no_mode(document: Any) -> None:
    network(document)["training"] = "no"


def unit_of_another_kind(document: Any) -> None:
    network(document)["dead"][0]["units"] = [1.0]


def unit_twice(document: Any) -> None:
    network(document)["dead"][0]["units"] = [1, 1]


def unit_from_the_end(document: Any) -> None:
    network(document)["dead"][0]["units"] = [-3]


def another_hash(document: Any) -> None:
    array = step(document, "two")["arrays"]["weight"]
    array["sha256"] = array["sha256"][::-1]


def no_step(document: Any) -> None:
    network(document)["steps"].pop(2)


def swap_steps(document: Any) -> None:
    steps = network(document)["steps"]
    steps[1], steps[2] = steps[2], steps[1]


def no_bias(document: Any) -> None:
    del step(document, "two")["arrays"]["bias"]


def no_scale(document: Any) -> None:
    del step(document, "bn")["arrays"]["weight"]


def no_running_mean(document: Any) -> None:
    del step(document, "bn")["arrays"]["mean"]


def another_tensor_for_one(document: Any) -> None:
    step(document, "two")["arrays"]["weight"] = copy.deepcopy(step(document, "one")["arrays"]["weight"])


def an_input_in_between(document: Any) -> None:
    found = step(document, "two")
    found.update(op="input", inputs=[], arrays={})


def ends_crossed(document: Any) -> None:
    found = step(document, "two")
    found["low"], found["high"] = found["high"], found["low"]


def infinite_box(document: Any) -> None:
    step(document, "the input")["high"]["values"] = ["nan"]


def pool_of_less(document: Any) -> None:
    step(document, "pool")["settings"].update(kernel=[1, 1], stride=[1, 1])


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (state_something, "a network in it holds something else than arithmetic, dead, example, steps, training"),
        (add_a_key_to("document"), "a document in it holds something else than networks, schema"),
        (add_a_key_to("step"), "a step in it holds something else than arrays, high, inputs, layer, low, op, .*"),
        (add_a_key_to("site"), "a site in it holds something else than axis, rectifier, site, step, units"),
        (name_a_site_twice, "it names a site twice"),
        (swap_names, "'relu6#1' is no name of a site of a relu"),
        (name_with_control_characters, r"'\\x1b\[2Kall' is no name of a site of a relu"),
        (take_positions_for_units, "the units of relu#0 do not lie on axis 1"),
        (no_mode, "its arithmetic or its mode is none"),
        (unit_of_another_kind, "the bounds of relu#0 do not shut each unit that it names"),
        (unit_twice, "the bounds of relu#0 do not shut each unit that it names"),
        (unit_from_the_end, "the bounds of relu#0 do not shut each unit that it names"),
        (another_hash, "'two.weight' is another tensor than the one it was made for"),
        (no_step, r"the bound of step 2 \(rectifier relu\) does not follow from the steps before it|.*come before it"),
        (swap_steps, r"step 1 \(scale bn\) reads a step that does not come before it"),
        (no_bias, r"step \d+ \(conv two\) leaves out 'two.bias'"),
        (no_scale, r"step \d+ \(scale bn\) leaves out 'bn.weight'"),
        (no_running_mean, "a batch normalisation has no running statistics"),
        (another_tensor_for_one, r"step \d+ \(conv two\) leaves out 'one.bias'"),
        (an_input_in_between, r"step \d+ \(input two\) is taken for the model's input, which is the first step alone"),
        (ends_crossed, r"step \d+ \(conv two\) has a low end above its high end"),
        (infinite_box, "a bound is no number, or has another shape than its step"),
        (pool_of_less, "a pooling has another shape than its settings give"),
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


class Normed(nn.Module):
    """Every normalisation by the values themselves, with a unit behind each that they prove dead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.group = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4)
        self.norm, self.rms, self.drop = nn.LayerNorm(16), nn.RMSNorm(8), nn.Dropout(0.25)
        self.one, self.two, self.end = nn.Linear(16, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        with torch.no_grad():
            self.bn.bias[1] = self.group.bias[2] = -40.0
            self.one.bias[3] = self.two.bias[4] = -30.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.group(torch.relu(self.bn(self.conv(x)))))
        x = torch.relu(self.one(self.norm(x.flatten(1))))
        return self.end(torch.relu(self.two(self.drop(self.rms(x)))))


DEAD = {"relu#0": (1,), "relu#1": (2,), "relu#2": (3,), "relu#3": (4,)}


@pytest.fixture(scope="module")
def normed() -> tuple[nn.Module, rectifier.checkup.Record]:
    """As it is in training, in batches of at most 16."""
    torch.manual_seed(0)
    model = Normed().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model, optimizer) as watching:
        for rows in (16, 8):
            model(torch.rand(rows, 2, 4, 4)).sum().backward()
            optimizer.step()
    return model, watching.record


def test_the_conditions_are_told(normed: Any, made: Any) -> None:
    model, record = normed
    found = proved(model, record)
    assert {site.site: site.units for site in found} == DEAD
    assert {(site.training, site.batch) for site in found} == {(True, 16)}
    text = (
        r"for every input within its own range, all of them within \[.*\], in training mode, in batches of at most 16 "
    )
    assert all(re.fullmatch(text + "examples", site.conditions) for site in found)
    assert found[0].low.shape == (2, 1, 1) and (found[0].low < 0.1).all() and (found[0].high > 0.9).all()
    assert found[0].tensors == ("conv.bias", "conv.weight", "bn.bias", "bn.weight")
    assert model.training
    record, _ = made
    assert {(site.training, site.batch) for site in examine(record.certificate.document, made[1])} == {(False, None)}


def test_the_smallest_of_several_batches_is_the_condition() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU())
    model.append(nn.Linear(4, 2))
    with torch.no_grad():
        model[4].bias[1] = -40.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model, optimizer) as watching:
        for _ in range(2):
            model(torch.rand(16, 3)).sum().backward()
            optimizer.step()
    document = json.loads(watching.record.certificate.document)
    step(document, "1")["settings"].update(rows=8, count=8)  # its bounds bear fewer rows, too
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    (site,) = examine(json.dumps(document), state)
    assert (site.site, site.units, site.batch) == ("5", (1,), 8)
    assert proved(model, watching.record)[0].batch == 16


def test_a_certificate_is_read_from_all_that_holds_one(normed: Any, tmp_path: Path) -> None:
    model, record = normed
    path = record.certificate.write(tmp_path / "proof.json")
    for given in (record, record.certificate, path, str(path)):
        assert [site.units for site in proved(model, given)] == list(DEAD.values())
    sound = rectifier.check(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), [torch.randn(500, 3)])
    assert proved(model, sound) == ()


def settings(layer: str, **values: Any) -> Callable[[Any], None]:
    def forge(document: Any) -> None:
        step(document, layer)["settings"].update(values)

    return forge


def rename_sites(document: Any) -> None:
    sites = network(document)["dead"]
    sites[0]["site"], sites[1]["site"] = sites[1]["site"], sites[0]["site"]


def rename_a_layer(document: Any) -> None:
    step(document, "two")["layer"] = "one"


def other_mode(document: Any) -> None:
    network(document)["training"] = False


def other_example(document: Any) -> None:
    network(document)["example"] = [2, 5, 5]


def a_site_of_none(document: Any) -> None:
    network(document)["dead"][3]["site"] = "relu#7"


#: What no one can tell without the model, and whether the checker alone does.
OF_ANOTHER_MODEL: list[tuple[Callable[[Any], None], bool]] = [
    (rename_sites, False),
    (rename_a_layer, False),
    (other_mode, False),
    (other_example, False),
    (a_site_of_none, False),
    (settings("bn", rows=8), True),
    (settings("bn", rows=32, count=32 * 4), True),
    (settings("bn", rows=-16), True),
    (settings("bn", count=17), True),
    (settings("bn", epsilon=10.0), False),
    (settings("bn", passes=1), True),
    (settings("group", groups=1), True),
    (settings("one", epsilon=1.0), False),
    (settings("two", centred=True), False),
    (settings("conv", padding=[[1, 1], [1, 1]]), True),
]


@pytest.mark.parametrize(("forge", "told"), OF_ANOTHER_MODEL)
def test_steps_that_are_not_the_models_are_refused(normed: Any, forge: Callable[[Any], None], told: bool) -> None:
    model, record = normed
    document = json.loads(record.certificate.document)
    forge(document)
    text = json.dumps(document)
    with pytest.raises(Rejected) as caught:
        proved(model, Certificate({}, text))
    assert str(caught.value).startswith(
        "proved: `certificate` must be a certificate that holds for these weights; got "
    )
    if told:
        with pytest.raises(Rejected):
            accept(text, {name: value.detach().numpy() for name, value in model.state_dict().items()})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"axes": 2}, "a normalisation is not of as many values as its shape gives"),
        ({"count": 15}, "a normalisation is not of as many values as its shape gives"),
        (
            {"axes": 2, "count": 80},
            r"the bound of step \d+ \(normalise norm\) does not follow from the steps before it",
        ),
    ],
)
def test_a_layer_norm_of_other_size_is_refused(values: dict[str, Any], reason: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("norm", nn.LayerNorm(16))
    model.add_module("act", nn.ReLU())
    with torch.no_grad():
        model.norm.bias[3] = -4.0
    record = rectifier.check(model, [torch.randn(40, 5, 16)], box=(-3.0, 3.0))
    assert proved(model, record)[0].units == (3,)
    document = json.loads(record.certificate.document)
    step(document, "norm")["settings"].update(values)
    with pytest.raises(Rejected) as caught:
        proved(model, Certificate({}, json.dumps(document)))
    assert re.fullmatch(reason, caught.value.reason)


def test_a_first_layer_of_a_model_that_is_called_on_several_shapes() -> None:
    """It is bounded as it was seen to be called; its certificate holds for windows of any place."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(5, 2)).eval()
    with torch.no_grad():
        model[0].bias[1] = -60.0
    record = rectifier.check(model, [torch.rand(8, 2, n, n) for n in (6, 7)])
    (site,) = proved(model, record)
    assert (site.site, site.units, site.tensors[:2]) == ("2", (1,), ("0.bias", "0.weight"))
    for name in ("1", "4", "nothing"):
        document = json.loads(record.certificate.document)
        network(document)["dead"][0]["site"] = name
        with pytest.raises(Rejected, match="cannot be compared with the model's|the model has no|not those of"):
            proved(model, Certificate({}, json.dumps(document)))
    model[1] = nn.Identity()
    with pytest.raises(Rejected):
        proved(model, record)


def test_it_names_what_the_findings_name() -> None:
    """A unit that no input of the box opens may have fired on one outside of it: that is no dead unit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].bias.fill_(2.0)
        model[0].weight[1], model[0].bias[1] = 1.0, -4.5
        model[0].weight[2], model[0].bias[2] = -1.0, -1.0
    record = rectifier.check(model, [2 * torch.rand(200, 4)], box=(0.0, 1.0))
    assert record.certificate.units == {"1": (2,)} and [f.units for f in record.of("dead")] == [(2,)]
    inside = rectifier.check(model, [torch.rand(200, 4)], box=(0.0, 1.0))
    assert inside.certificate.units == {"1": (1, 2)}
    assert {unit for finding in inside.of("dead") for unit in finding.units} == {1, 2}


@pytest.mark.parametrize(
    ("certificate", "kind", "text"),
    [
        (
            3,
            rectifier.RectifierTypeError,
            "proved: `certificate` must be a Record, a Certificate or the path of a file; "
            "got int. Pass what rectifier.check returned.",
        ),
        (
            "none.json",
            rectifier.RectifierValueError,
            "proved: `certificate` must be a file written with check "
            "--certificate; got 'none.json': reading it failed with FileNotFoundError. Make one with: rectifier check "
            "TARGET --certificate FILE",
        ),
    ],
)
def test_what_is_no_certificate(normed: Any, certificate: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        proved(normed[0], certificate)
    assert str(caught.value) == text


def test_a_parametrized_weight_is_taken_as_it_is_now() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([2.0, 2.0, -50.0, 2.0, 2.0, 2.0]))
    record = rectifier.check(model, [torch.rand(64, 4)])
    assert [site.units for site in proved(model, record)] == [(2,)]


class Unbounded(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


def test_a_convolution_of_what_all_channels_share_is_checked() -> None:
    """Nothing is known of a call of another kind, for all channels and positions alike."""
    torch.manual_seed(0)
    model = nn.Sequential(Unbounded(), nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()
    with torch.no_grad():
        model[1].weight[1] = 0.0
        model[1].bias[1] = -1.0
    record = rectifier.check(model, [torch.rand(8, 2, 4, 4)], box=(0.0, 1.0))
    (site,) = rectifier.checkup.proved(model, record)
    assert (site.site, site.units) == ("2", (1,))
