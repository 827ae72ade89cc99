"""Where units can be recycled: inside residual blocks, before concatenations, in transformers, where torch.fx fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import Finding

RULE = (
    "must stand between layers that can be followed (Linear or Conv, through batch normalisation, dropout, pooling and "
    "flattening); got a place where"
)


def healed(model: nn.Module, x: Any, dead: list[tuple[torch.Tensor, int]]) -> tuple[rectifier.checkup.Receipt, ...]:
    """Shut some units, and recycle what the check finds; outputs stay bit for bit, and undo is exact."""
    model.eval()
    with torch.no_grad():
        for bias, unit in dead:
            bias[unit] = -60.0
    outputs = model(**x) if isinstance(x, dict) else model(x)
    record = rectifier.check(model, [x])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters())
    receipts = rectifier.heal(model, record, optimizer, probe=x, seed=0)
    assert all(receipt.output_change == 0.0 for receipt in receipts)
    now = model(**x) if isinstance(x, dict) else model(x)
    if isinstance(outputs, torch.Tensor):
        assert torch.equal(now, outputs)
    left = {(f.site, unit) for f in rectifier.check(model, [x]).of("dead", "silent") for unit in f.units}
    assert not left & {(receipt.site, unit) for receipt in receipts for unit in receipt.units}
    changed = model.state_dict()
    for receipt in reversed(receipts):
        receipt.undo()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert changed.keys() == before.keys()
    return receipts


class Joined(nn.Module):
    def __init__(self, dim: int = 1, by: Any = F.relu) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 4), nn.Linear(5, 6), nn.Linear(10, 3)
        self.dim, self.by = dim, by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.cat([F.relu(self.a(x)), self.by(self.b(x))], dim=self.dim))


class JoinedMaps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 6, 3, padding=1)
        self.norm, self.c, self.d = nn.BatchNorm2d(6), nn.Conv2d(10, 3, 1), nn.Linear(10 * 9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat((F.relu(self.a(x)), self.norm(self.b(x)).relu()), 1)
        return self.d(F.max_pool2d(joined, 2).flatten(1)) + self.c(joined).mean(dim=(1, 2, 3))[:, None]


class Read(nn.Module):
    """Reads the weights of a layer outside of it, as a penalty or a second use of them does."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.a, self.b, self.layer = nn.Linear(3, 4), nn.Linear(4, 2), layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.get_submodule(self.layer).weight
        return self.b(F.relu(self.a(x.to(self.a.weight.dtype)))) + weight.norm()


class Sharing(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        layer, self.key = name.split(".")
        self.a, self.norm, self.b = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)
        self.c, self.act = (
            nn.ModuleDict({"a": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4), "b": nn.Linear(4, 3)}),
            nn.ReLU(),
        )
        setattr(self.c[layer], self.key, getattr(getattr(self, layer), self.key))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        other = self.c["b"](torch.tanh(self.c["norm"](self.c["a"](x))))
        return self.b(self.act(self.norm(self.a(x)))) + other


@pytest.mark.parametrize("name", ["a.weight", "a.bias", "norm.weight", "norm.bias", "norm.running_var", "b.bias"])
def test_what_another_module_has_too_is_left_alone(name: str) -> None:
    torch.manual_seed(0)
    model, x = Sharing(name).eval(), torch.rand(8, 3)
    with torch.no_grad():
        model.norm.bias[1] = -99.0
    outputs = model(x)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, [Finding("dead", "act", (1,), 4, "", "", "")], probe=x)
    layer, key = name.split(".")
    assert str(caught.value) == (f"heal: 'act' {RULE} {layer} shares its {key} with c.{layer}. Leave this site out.")
    assert torch.equal(model(x), outputs)


@pytest.mark.parametrize("layer", ["a", "b"])
def test_weights_that_are_read_elsewhere_are_left_alone(layer: str) -> None:
    torch.manual_seed(0)
    model, x = Read(layer).eval(), torch.rand(8, 3)
    with torch.no_grad():
        model.a.bias[1] = -9.0
    outputs = model(x)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, [Finding("dead", "relu#0", (1,), 4, "", "", "")], probe=x)
    assert str(caught.value) == (
        f"heal: 'relu#0' {RULE} the forward pass reads the weights of {layer} beside the layer. Leave this site out."
    )
    assert torch.equal(model(x), outputs)


@pytest.mark.parametrize("dim", [1, -1])
def test_concatenated_features(dim: int) -> None:
    torch.manual_seed(0)
    model = Joined(dim)
    first, second = healed(model, torch.randn(64, 5), [(model.a.bias, 1), (model.b.bias, 2)])
    assert (first.site, first.units, second.site, second.units) == ("relu#0", (1,), "relu#1", (2,))


def test_the_columns_behind_a_concatenation_are_the_right_ones() -> None:
    torch.manual_seed(0)
    model = Joined().eval()
    found = Finding("always_open", "relu#1", (2,), 6, "", "", "")
    before = model.c.weight.detach().clone()
    rectifier.heal(model, [found], probe=torch.randn(64, 5), seed=0, force=True)
    assert (model.c.weight != before).any(dim=0).nonzero().flatten().tolist() == [4 + 2]


def test_concatenated_maps() -> None:
    torch.manual_seed(0)
    model = JoinedMaps()
    first, second = healed(model, torch.randn(8, 2, 6, 6), [(model.a.bias, 1), (model.norm.bias, 2)])
    assert (first.units, second.units) == ((1,), (2,))
    assert "their weights in layer d set to 0" in second.change and "in layer c set to 0" in second.change
    assert "layer norm reset for them" in second.change


def test_beside_what_has_no_known_size_a_concatenation_is_refused() -> None:
    torch.manual_seed(0)
    model = Joined(by=torch.sin)
    with torch.no_grad():
        model.a.bias[1] = -60.0
    x = torch.randn(64, 5)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, rectifier.check(model, [x]), probe=x)
    assert str(caught.value) == (
        f"heal: 'relu#0' {RULE} its units go into cat, beside sin, whose size cannot be told. Leave this site out."
    )
    model = Joined(dim=0)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, [Finding("silent", "relu#0", (1,), 4, "", "", "")], probe=x)
    assert str(caught.value) == f"heal: 'relu#0' {RULE} its units go into cat along axis 0. Leave this site out."


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(5, 8), nn.Linear(8, 2)
        blocks = [nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(2)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.start(x)
        for block in self.blocks:
            x = x + block(x)
        return self.end(F.relu(x))


def test_inside_a_residual_branch_and_not_on_the_sum() -> None:
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(64, 5)
    inner = model.blocks[0][1].bias
    receipts = healed(model, x, [(model.start.bias, 1), (inner, 2)])
    assert 2 in receipts[0].units and receipts[0].site == "blocks.0.2"
    assert receipts[0].skipped == (f"'relu#0' {RULE} its input comes from add. Leave this site out.",)


@pytest.mark.parametrize("activation", ["relu", nn.ReLU()])
def test_the_feed_forward_block_of_a_transformer(activation: Any) -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation=activation)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    model = nn.Sequential(encoder, nn.Linear(8, 2))
    first, second = healed(
        model, torch.randn(32, 3, 8), [(encoder.layers[0].linear1.bias, 1), (encoder.layers[1].linear1.bias, 2)]
    )
    assert (first.units, second.units) == ((1,), (2,)) and second.site.startswith("0.layers.1.")


class Branching(nn.Module):
    """torch.fx cannot trace the whole, but the block and the chain in it."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.chain = Block(), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        self.twice, self.spare = Block(), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.isfinite().all():
            x = self.block(x)
        return self.chain(self.twice(self.twice(x)))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(F.relu(self.one(x)))


def test_parts_of_a_model_that_cannot_be_traced() -> None:
    torch.manual_seed(0)
    model, x = Branching(), torch.randn(64, 8)
    dead = [(model.block.one.bias, 1), (model.chain[0].bias, 2), (model.twice.one.bias, 3)]
    receipts = healed(model, x, dead)
    assert [(receipt.site, receipt.units) for receipt in receipts] == [("block.relu#0", (1,)), ("chain.1", (2,))]
    assert receipts[0].change.startswith("1 unit of layer block.one drawn anew")
    assert receipts[0].skipped[0] == (
        "'twice.relu#0' must stand between layers that are used once; got a place where twice.one is called 2 times. "
        "Leave this site out."
    )
    model.spare.weight = model.chain[0].weight
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.heal(model, [Finding("silent", "chain.1", (2,), 8, "", "", "")], probe=x)
    assert str(caught.value) == (
        "heal: 'chain.1' must stand between layers that are used once; got a place where chain.0 shares its weight "
        "with spare. Leave this site out."
    )


def test_a_language_model_of_transformers() -> None:
    """Its whole cannot be traced; the feed-forward block of T5 can."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.T5Config(vocab_size=50, d_model=16, d_ff=32, d_kv=8, num_layers=2, num_heads=2)
    model = transformers.T5EncoderModel(config).eval()
    x = {"input_ids": torch.randint(0, 50, (8, 12))}
    dense = model.encoder.block[0].layer[1].DenseReluDense
    with torch.no_grad():
        dense.wi.weight[1] = 0.0
    (receipt,) = rectifier.heal(model, rectifier.check(model, [x]), probe=x, seed=0)
    assert receipt.site == "encoder.block.0.layer.1.DenseReluDense.act" and receipt.units == (1,)
    assert receipt.output_change == 0.0 and not dense.wo.weight[:, 1].any()
