"""``heal``: the function is preserved, receipts are measured, undo is bit for bit, the living are refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Finding, Record


def finding(site: str, *units: int, kind: Any = "silent", total: int = 8) -> Finding:
    return Finding(kind, site, units, total, "", "", "")


def bits(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Any:
    state = {} if optimizer is None else optimizer.state_dict()["state"]
    return copy.deepcopy((dict(model.state_dict()), state))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def stepped(model: nn.Module, x: torch.Tensor, kind: Any, **options: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = kind(model.parameters(), **options)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", ["mlp", "convnet", "functional"])
def test_recycle_preserves_the_function_and_undo_is_exact(name: str, request: pytest.FixtureRequest) -> None:
    patient = request.getfixturevalue(name)
    model, x = patient.model, patient.inputs
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, amsgrad=True)
    model.eval()
    model(x).square().mean().backward()
    optimizer.step()
    record = rectifier.check(model, [x])
    before, outputs = bits(model, optimizer), model(x)
    receipts = rectifier.heal(model, record, optimizer, probe=x, seed=0)
    assert {r.site: set(r.units) for r in receipts} == {
        site: {u for f in record.of("dead", "silent") if f.site == site for u in f.units}
        for site in {f.site for f in record.of("dead", "silent")}
    }
    assert all(r.output_change == 0.0 and r.act == "recycle" for r in receipts)
    assert torch.equal(model(x), outputs)
    assert rectifier.check(model, [x]).of("dead", "silent") == ()  # they fire again
    assert not same(before, bits(model, optimizer))
    for receipt in reversed(receipts):
        receipt.undo()
        receipt.undo()  # a second time does nothing
    assert same(before, bits(model, optimizer))


def test_recycled_slices_by_hand() -> None:
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    model = nn.Sequential(nn.Linear(16, 400), nn.BatchNorm1d(400), nn.ReLU(), nn.Linear(400, 2))
    optimizer = stepped(model, x, torch.optim.Adam, lr=1e-4)
    units, still = list(range(200)), torch.zeros(2, 16)
    with torch.no_grad():
        model[1].bias[units] = -99.0
    old = bits(model, optimizer)
    (receipt,) = rectifier.heal(model, [finding("2", *units, total=400)], optimizer, probe=still, seed=3)
    weight = model[0].weight[units]
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 16), rel=0.05)
    assert torch.equal(model[0].weight[200:], old[0]["0.weight"][200:])
    assert not model[0].bias[units].any() and not model[3].weight[:, units].any()
    assert (model[1].weight[units] == 1).all() and not model[1].bias[units].any()
    assert not model[1].running_mean[units].any() and (model[1].running_var[units] == 1).all()
    assert torch.equal(model[1].running_var[200:], old[0]["1.running_var"][200:])
    moments = optimizer.state[model[0].weight]
    assert not moments["exp_avg"][units].any() and moments["exp_avg"][200:].any()
    assert not optimizer.state[model[3].weight]["exp_avg"][:, units].any()
    assert float(moments["step"]) == 2.0
    assert receipt.output_change == 0.0
    assert receipt.change == (
        "200 units of layer 0 drawn anew (normal, deviation 0.3536), bias 0, layer 1 reset for them; their weights in "
        "layer 3 set to 0 (they gave 0 on the probe); 10 slices of optimizer state reset"
    )
    again = copy.deepcopy(model)
    receipt.undo()
    rectifier.heal(model, [finding("2", *units, total=400)], probe=still, seed=3)
    assert torch.equal(again[0].weight, model[0].weight)


def test_the_global_random_state_is_left_alone(mlp: Any) -> None:
    state = torch.get_rng_state()
    for seed in (None, 1):
        (receipt,) = rectifier.heal(mlp.model, [finding("1", 0, total=12)], probe=mlp.inputs, seed=seed)
        receipt.undo()
    assert torch.equal(state, torch.get_rng_state())


def test_unknown_optimizer_state_is_refused_before_anything_changes(mlp: Any) -> None:
    optimizer = torch.optim.SGD(mlp.model.parameters(), lr=0.1)
    optimizer.state[mlp.model[3].weight]["row"] = torch.zeros(10)
    before = bits(mlp.model)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(mlp.model, [finding("1", 0, total=12)], optimizer, probe=mlp.inputs)
    assert str(caught.value) == (
        "heal: `optimizer` must keep state of the shape of its parameter, (10, 12); got 'row' of shape (10,) in SGD. "
        "Leave `optimizer` out and make a new one afterwards."
    )
    assert same(before, bits(mlp.model))


def test_forced_on_living_units_the_mean_goes_into_the_next_bias(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    h = F.relu(model[0](x))[:, 3].double()
    expected = model[3].bias.double() + model[3].weight[:, 3].double() * h.mean()
    (receipt,) = rectifier.heal(model, [finding("1", 3, kind="always_open", total=12)], probe=x, seed=0, force=True)
    torch.testing.assert_close(model[3].bias.double(), expected, rtol=1e-6, atol=1e-6)
    assert receipt.output_change is not None and receipt.output_change > 0
    assert "their mean on the probe (at most " in receipt.change


def test_flattened_maps_and_tokens_find_their_columns() -> None:
    torch.manual_seed(0)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(3, 4), nn.ReLU(), nn.Linear(20, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.act(self.a(x)).reshape(x.shape[0], -1))

    model, x = Tokens(), torch.randn(64, 5, 3)
    with torch.no_grad():
        model.a.bias[2] = -50.0
    (receipt,) = rectifier.heal(model, rectifier.check(model, [x]), probe=x, seed=0)
    assert receipt.output_change == 0.0
    zeroed = (model.b.weight == 0).all(dim=0).nonzero().flatten().tolist()
    assert zeroed == [2, 6, 10, 14, 18]


def test_acts_are_undone_in_reverse() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].bias[0] = model[2].bias[1] = -50.0
    first, second = rectifier.heal(model, rectifier.check(model, [torch.randn(99, 3)]), seed=0)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        first.undo()
    assert str(caught.value) == (
        "undo: the last act must be taken back first; got the one at '1', after which there was another. "
        "Undo the receipts in reverse order."
    )
    second.undo()
    first.undo()


@pytest.mark.parametrize("with_", ["leaky_relu", nn.ELU(0.5)])
def test_swap_and_undo(convnet: Any, with_: Any) -> None:
    model, x = convnet.model.eval(), convnet.inputs
    old, outputs = model.act, model(x)
    record = rectifier.check(model, [x])
    only = [f for f in record.of("dead", "silent") if f.site == "act"]
    (receipt,) = rectifier.heal(model, only, how="swap", with_=with_, probe=x)
    assert model.act is not old and model.act is not with_ and not model.act.training
    assert receipt.output_change == (model(x) - outputs).abs().max().item() > 0
    assert "always_closed" in {f.kind for f in rectifier.check(model, [x]).findings if f.site == "act"}
    receipt.undo()
    assert model.act is old and torch.equal(model(x), outputs)


def test_swap_of_a_call_and_of_a_function_kept_as_an_attribute() -> None:
    torch.manual_seed(0)
    model, x = Mixed(), torch.randn(64, 3, 8)
    with torch.no_grad():
        model.branch.bias[1] = model.encoder.linear1.bias[2] = -50.0
    model.eval()
    outputs = model(x)
    record = rectifier.check(model, [x])
    only = [f for f in record.of("dead", "silent") if f.site in ("relu#0", "encoder.relu#0")]
    first, second = rectifier.heal(model, only, how="swap", with_="leaky_relu", probe=x)
    assert (first.site, second.site) == ("relu#0", "encoder.relu#0")
    assert first.change == "ReLU replaced by LeakyReLU(negative_slope=0.01) at 1 place(s)"
    assert first.output_change > 0 and second.output_change > 0
    rectifiers = {site.site: site.rectifier for site in rectifier.check(model, [x]).snapshots[-1].sites}
    assert rectifiers == {"chain.1": "relu", "relu#0": "leaky_relu", "encoder.activation": "leaky_relu"}
    second.undo()
    first.undo()
    assert torch.equal(model(x), outputs) and type(model) is Mixed and model.encoder.activation is F.relu


def test_a_swap_that_does_not_run_leaves_the_model_as_it_was() -> None:
    class Raises(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] == 5:
                raise KeyError("not here")
            return x.relu()

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
    layers = list(model)
    findings = [finding("1", 0, total=4), finding("3", 0, total=5)]
    with pytest.raises(KeyError, match="not here"):
        rectifier.heal(model, findings, how="swap", with_=Raises(), probe=torch.rand(2, 3))
    assert all(a is b for a, b in zip(model, layers, strict=True))


def test_nothing_to_do() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    assert rectifier.heal(model, Record("Sequential", "check", ())) == ()


def test_a_record_of_other_weights_is_refused(mlp: Any) -> None:
    """Units of a deeper layer can come back while their own weights stand still: all that was recorded must match."""
    model, x = mlp.model.eval(), mlp.inputs
    record = rectifier.check(model, [x])
    with torch.no_grad():
        model[0].weight[5] += 1e-4
    for probe in (None, x):
        with pytest.raises(rectifier.RectifierValueError) as caught:
            rectifier.heal(model, record, probe=probe)
        assert str(caught.value) == (
            "heal: `findings` must be a record of the model as it is; got one where the weights of layer '0' were "
            "others, in 1 of 12 units. Run rectifier.check again."
        )


def test_a_record_of_other_layers_is_refused(convnet: Any) -> None:
    """γ and β, and layers whose units no site shows, belong to the weights as well."""
    model, x = convnet.model.eval(), convnet.inputs
    record = rectifier.check(model, [x])
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed.norm.bias[5] += 0.5
        model.out.weight[0, 0] += 0.5
    only = Record(record.model, record.source, record.snapshots, tuple(f for f in record.findings if f.site == "act"))
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(changed, only)
    assert str(caught.value) == (
        "heal: `findings` must be a record of the model as it is; got one where γ or β of layer 'norm', before 'act', "
        "were others. Run rectifier.check again."
    )
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, record)
    assert str(caught.value) == (
        "heal: `findings` must be a record of the model as it is; got one where the weights of layer 'out' were others."
        " Run rectifier.check again."
    )


def test_without_a_probe_the_record_is_what_was_measured(mlp: Any) -> None:
    receipts = rectifier.heal(mlp.model, rectifier.check(mlp.model, [mlp.inputs]), seed=0)
    assert all("(they gave 0 on what the record saw)" in receipt.change for receipt in receipts)
    assert all(receipt.skipped == () and receipt.output_change is None for receipt in receipts)


def test_record_survives_the_file_and_the_copy(mlp: Any) -> None:
    record = Record.from_json(rectifier.check(mlp.model, [mlp.inputs]).to_json())
    assert rectifier.heal(copy.deepcopy(mlp.model), record, probe=mlp.inputs)


class Mixed(nn.Module):
    """One place in a chain, one in a residual branch, one inside a layer that torch.fx keeps whole."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        self.branch = nn.Linear(8, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.chain(x)
        return self.encoder(x + F.relu(self.branch(x)))


def test_of_a_record_the_rest_is_healed_and_what_was_not_is_told() -> None:
    torch.manual_seed(0)
    model, x = Mixed(), torch.randn(64, 3, 8)
    with torch.no_grad():
        model.chain[0].bias[0] = model.branch.bias[1] = model.encoder.linear1.bias[2] = -50.0
    record = rectifier.check(model, [x])
    assert {f.site for f in record.of("dead", "silent")} >= {"chain.1", "relu#0", "encoder.relu#0"}
    receipts = rectifier.heal(model, record, probe=x, seed=0)
    assert [receipt.site for receipt in receipts] == ["chain.1", "encoder.relu#0"]
    assert receipts[0].skipped == (f"'relu#0' {RULE} its units go into add. Leave this site out.",)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, rectifier.check(model, [x]), probe=x)
    assert str(caught.value) == f"heal: 'relu#0' {RULE} its units go into add. Leave this site out."


def test_units_that_fire_on_the_probe_are_left_out_of_a_record(mlp: Any) -> None:
    model, x = mlp.model.eval(), mlp.inputs
    record = rectifier.check(model, [x])
    far = x + 100 * model[0].weight[1]
    living = model(far).detach()
    first = rectifier.heal(model, record, probe=far, seed=0)[0]
    assert 1 not in first.units and 0 in first.units
    assert "of '1', which fire on the probe" in first.skipped[0]
    torch.testing.assert_close(model(far), living)


def residual() -> nn.Module:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + F.relu(self.a(x)) + self.b(x)

    return Residual()


def branching() -> nn.Module:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(x) if x.sum() > 0 else x

    return Branching()


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


PLAIN = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
with torch.no_grad():
    PLAIN[0].weight.fill_(1.0)
LEAKY = nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(), nn.Linear(8, 2))
RULE = (
    "must stand between layers that can be followed (Linear or Conv, through batch normalisation, dropout, pooling and "
    "flattening); got a place where"
)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rectifier.heal(residual(), [finding("relu#0", 0, total=3)]),
            f"heal: 'relu#0' {RULE} its units go into add. Leave this site out.",
        ),
        (
            lambda: rectifier.heal(nn.Sequential(nn.ReLU(), nn.Linear(8, 2)), [finding("0", 0)]),
            f"heal: '0' {RULE} its input comes from the model's input. Leave this site out.",
        ),
        (
            lambda: rectifier.heal(tied(), [finding("1", 0)]),
            f"heal: '1' {RULE} 0 shares its weight with 2. Leave this site out.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("7", 0)]),
            "heal: `findings` must name sites of this model; got '7'. Its sites are 1.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 9)]),
            "heal: `findings` must name units of this model; got units [9] of '1', which has 8. "
            "Check the model as it is now.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0, total=9)], probe=torch.zeros(2, 3)),
            "heal: `findings` must be about this model; got 9 units at '1', which has 8. Check the model as it is now.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0, kind="rare")]),
            "heal: `findings` must be dead or silent; got 'rare' at '1', units that are alive. "
            "Leave it out, or pass force=True.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0, 1)], probe=50 * torch.eye(3)),
            "heal: `findings` must name units that do not fire; got units [0, 1] of '1', which fire on the probe. "
            "Leave them out, or pass force=True.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", kind="vanishing_gradient")]),
            "heal: `findings` must be about units; got 'vanishing_gradient' at '1', which is about a scale. "
            "Leave it out.",
        ),
        (
            lambda: rectifier.heal(PLAIN, ["1"]),
            "heal: `findings` must be a Record or findings of one; got str. "
            "Pass what rectifier.check returned, or some of its `.findings`.",
        ),
        (
            lambda: rectifier.heal(LEAKY, [finding("1", 0, kind="always_closed")], force=True),
            "heal: `probe` must be given with findings that come without their record; got None, so nothing shows "
            "that they still hold. Pass a batch of inputs, or the record itself.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], how="reset"),
            'heal: `how` must be "recycle", "swap" or "rescale"; got \'reset\'. Pass how="recycle".',
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], how="rescale"),
            "heal: `findings` must be about a scale with how=\"rescale\"; got 'silent' at '1'. "
            'Pass the record, or how="recycle".',
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], how="swap"),
            'heal: `with_` must be given with how="swap"; got None. Pass for instance with_="leaky_relu".',
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], with_="elu"),
            'heal: `with_` must be left out with how="recycle"; got \'elu\'. Pass how="swap".',
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], how="swap", with_="gelu"),
            "heal: `with_` must be one of relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, "
            "softplus, or a module; got 'gelu'. Pass for instance with_=\"leaky_relu\".",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], how="swap", with_=3),
            'heal: `with_` must be the name of a rectifier or a module; got int. Pass for instance with_="leaky_relu".',
        ),
        (
            lambda: rectifier.heal(branching(), [finding("relu#0", 0)], how="swap", with_="elu"),
            "heal: `findings` must name sites of this model that can be swapped; got 'relu#0', a call in a forward "
            "that torch.fx cannot follow (TraceError: symbolically traced variables cannot be used as inputs to "
            "control flow). Check the model as it is now, or change its code.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("0", 0)], how="swap", with_="elu"),
            "heal: `findings` must name sites of this model that can be swapped; got '0', which is no rectifier there. "
            "Check the model as it is now, or change its code.",
        ),
        (
            lambda: rectifier.heal(PLAIN, [finding("1", 0)], probe=[1.0]),
            "heal: `probe` must be a tensor, or a tuple or dict of them; got list. "
            "Convert arrays with torch.as_tensor.",
        ),
        (
            lambda: rectifier.heal(PLAIN, None),
            "heal: `findings` must be a Record or findings of one; got NoneType. Pass what rectifier.check returned, "
            "or some of its `.findings`.",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text


def test_untraceable_model_is_refused() -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(branching(), [finding("relu#0", 0)])
    assert str(caught.value).startswith(
        "heal: `model` must be one whose graph torch.fx can follow; got Branching, where tracing raised TraceError: "
    )


def shut_and_stepped() -> tuple[nn.Module, torch.Tensor, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[3] = -50.0
    x = torch.rand(64, 4)
    return model, x, stepped(model, x, torch.optim.Adam, lr=1e-3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"starts": {"nope": 0.0}},
            "heal: `starts` must name what the optimizer keeps, exp_avg, exp_avg_sq, step; got 'nope'. "
            "Leave it out, or name one of these.",
        ),
        (
            {"starts": {"exp_avg": 0.0}, "how": "swap", "with_": "elu"},
            "heal: `starts` must be left out where no optimizer's state starts anew; got {'exp_avg': 0.0}. "
            'Pass it with optimizer=, and how="recycle" or "rescale".',
        ),
        (
            {"how": "swap", "with_": nn.Linear(8, 8)},
            "heal: `with_` must be a rectifier, or a module that can stand in for one; got Linear(in_features=8, "
            'out_features=8, bias=True), a layer with weights. Pass for instance with_="leaky_relu".',
        ),
    ],
)
def test_options_that_would_do_nothing_or_harm_are_refused(options: Any, text: str) -> None:
    model, x, optimizer = shut_and_stepped()
    before = bits(model, optimizer)
    with pytest.raises(rectifier.RectifierError) as caught:
        rectifier.heal(model, rectifier.check(model, [x]), optimizer, **options)
    assert str(caught.value) == text
    assert same(before, bits(model, optimizer))


@pytest.mark.parametrize("act", [rectifier.heal, rectifier.prune])
def test_what_the_model_raises_on_the_probe_says_where_it_came_from(act: Any) -> None:
    model, x, _ = shut_and_stepped()
    record = rectifier.check(model, [x], box=(0.0, 1.0))
    with pytest.raises(RuntimeError) as caught:
        act(model, record, probe=torch.rand(3, 5))
    name = act.__name__
    note = f"{name}: the model raised this on `probe`. Pass a batch of inputs, without targets."
    assert caught.value.__notes__ == [note]


def test_a_receipt_tells_units_by_their_sites() -> None:
    model, x, _ = shut_and_stepped()
    record = rectifier.check(model, [x])
    units = record.of("dead")[0].units
    (receipt,) = rectifier.heal(model, record.of("dead"), probe=x, seed=0)
    assert 3 in units and receipt.sites == {"1": units} and receipt.to_dict()["sites"] == {"1": list(units)}
    receipt.undo()
    assert rectifier.prune(model, record).sites == {"1": units}
