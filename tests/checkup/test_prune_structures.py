"""What ``prune`` cuts in each structure: the right channels, outputs that stay, and the same parameters back."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier

from .pruned_models import (
    AfterNorm,
    Concatenated,
    Gated,
    Hard,
    Residual,
    Shuffled,
    dead,
    depthwise,
    grouped,
    kill,
    mlp,
    settle,
    transposed,
    volume,
    wave,
)

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(10, 16), encoder()
        self.head = nn.Linear(16, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.embed(tokens)).mean(1))


CASES: dict[str, tuple[Any, dict[str, list[int]], list[Any], dict[str, int], Any]] = {
    # name: model, dead units by layer, findings, sizes expected, probe
    "residual, inside a branch": (
        Residual,
        {"norm1": [2, 5]},
        [dead("relu#0", 2, 5)],
        {"one.out_channels": 6, "norm1.num_features": 6, "two.in_channels": 6, "two.out_channels": 8},
        IMAGES,
    ),
    "residual, dead in the whole stream": (
        Residual,
        {"norm": [2], "norm2": [2]},
        [dead("act", 2), dead("relu#1", 2)],
        {
            "stem.out_channels": 7,
            "one.in_channels": 7,
            "one.out_channels": 8,
            "two.out_channels": 7,
            "head.in_features": 7,
        },
        IMAGES,
    ),
    "concatenation and flattening": (
        Concatenated,
        {"a": [1], "b": [0, 4], "c": [3]},
        [dead("relu#0", 1, total=6), dead("relu#1", 0, 4, total=5), dead("relu#2", 3, total=4)],
        {"a.out_channels": 5, "b.out_channels": 3, "c.in_channels": 8, "c.out_channels": 3, "d.in_features": 108},
        IMAGES,
    ),
    "gates": (
        Gated,
        {"conv": [1], "down": [2]},
        [dead("relu#0", 1), dead("relu#1", 2, total=4)],
        {
            "conv.out_channels": 7,
            "down.in_features": 7,
            "down.out_features": 3,
            "up.out_features": 7,
            "out.in_channels": 7,
        },
        IMAGES,
    ),
    "depthwise": (
        depthwise,
        {"1": [1, 4]},
        [dead("2", 1, 4)],
        {"0.out_channels": 6, "3.groups": 6, "3.in_channels": 6, "3.out_channels": 6, "6.in_channels": 6},
        IMAGES,
    ),
    "depthwise, with two outputs each": (
        lambda: depthwise(2),
        {"1": [1]},
        [dead("2", 1)],
        {"0.out_channels": 7, "3.groups": 7, "3.out_channels": 14, "6.in_channels": 14},
        IMAGES,
    ),
    "groups that lose as many": (
        grouped,
        {"0": [1, 5], "2": [0, 7]},
        [dead("1", 1, 5), dead("3", 0, 7, total=12)],
        {"0.out_channels": 6, "2.in_channels": 6, "2.out_channels": 10, "2.groups": 2, "4.in_channels": 10},
        IMAGES,
    ),
    "a whole group": (
        grouped,
        {"0": [0, 1, 2, 3], "2": [0, 1, 2, 3, 4, 5]},
        [dead("1", 0, 1, 2, 3), dead("3", 0, 1, 2, 3, 4, 5, total=12)],
        {"0.out_channels": 4, "2.groups": 1, "2.out_channels": 6, "4.in_channels": 6},
        IMAGES,
    ),
    "transposed convolution, PReLU, upsampling": (
        transposed,
        {"0": [3], "3": [0, 2]},
        [dead("1", 3, total=6), dead("5", 0, 2, total=5)],
        {"0.out_channels": 5, "2.in_channels": 5, "2.out_channels": 3, "4.num_parameters": 3, "7.in_channels": 3},
        IMAGES,
    ),
    "one axis": (
        wave,
        {"1": [7]},
        [dead("2", 7)],
        {"0.out_channels": 7, "1.num_features": 7, "6.in_features": 21},
        IMAGES[:, :, 0],
    ),
    "three axes": (
        volume,
        {"1": [0, 7]},
        [dead("2", 0, 7)],
        {"0.out_channels": 6, "4.in_channels": 6},
        IMAGES[:, :, None].expand(-1, -1, 4, -1, -1),
    ),
    "a constant that is not 0 goes into the next bias": (
        AfterNorm,
        {"conv": [3]},
        [dead("relu#0", 3)],
        {"conv.out_channels": 7, "out.in_channels": 7},
        IMAGES,
    ),
    "transformer": (
        Tokens,
        {"inner.layers.0.linear1": [1, 2], "inner.layers.1.linear1": [3]},
        [dead("inner.layers.0.relu#0", 1, 2, total=32), dead("inner.layers.1.relu#0", 3, total=32)],
        {
            "inner.layers.0.linear1.out_features": 30,
            "inner.layers.0.linear2.in_features": 30,
            "inner.layers.1.linear2.in_features": 31,
        },
        torch.arange(30).reshape(3, 10) % 10,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_right_channels_go_and_outputs_stay(name: str) -> None:
    make, units, findings, sizes, probe = CASES[name]
    torch.manual_seed(1)
    model = settle(make())
    for layer, each in units.items():
        with torch.no_grad():
            model.get_submodule(layer).bias[each] = -1000.0
    objects, names = list(model.parameters()), list(model.state_dict())
    buffers = list(model.buffers())
    before = model(probe)
    receipt = rectifier.prune(model, findings, probe=probe)
    assert torch.allclose(model(probe), before, rtol=0, atol=1e-12)
    for path, size in sizes.items():
        layer, _, attribute = path.rpartition(".")
        assert getattr(model.get_submodule(layer), attribute) == size, path
    assert list(model.state_dict()) == names and receipt.parameters_after == sum(p.numel() for p in model.parameters())
    assert receipt.flops is not None and receipt.flops[1] < receipt.flops[0]
    assert receipt.seconds is not None and min(receipt.seconds) > 0
    assert not model.training and receipt.skipped == ()
    receipt.undo()
    assert all(a is b for a, b in zip(model.parameters(), objects, strict=True))
    assert all(a is b for a, b in zip(model.buffers(), buffers, strict=True))
    assert torch.equal(model(probe), before)


STAYS = "prune: `findings` must name units that can be cut; got units "
CURE = ". Leave them out."


@pytest.mark.parametrize(
    ("make", "units", "finding", "reason"),
    [
        (
            Residual,
            {"norm": [2, 5], "norm2": [2]},
            dead("act", 5),
            "[5] of 'act', where what layer head reads in their place is not the same for every input",
        ),
        (Shuffled, {"a": [1]}, dead("relu#0", 1), "[1] of 'relu#0', where view splits them up"),
        (Hard, {"a": [1]}, dead("relu#0", 1), "[1] of 'relu#0', where view is given their number"),
        (
            grouped,
            {"0": [1, 2]},
            dead("1", 1, 2),
            "[1, 2] of '1', where layer 2 must lose as many channels in each of its groups",
        ),
        (
            lambda: AfterNorm(1),
            {"conv": [3]},
            dead("relu#0", 3),
            "[3] of 'relu#0', where layer out is given 0.5 for them, and at its borders that is no constant",
        ),
        (
            lambda: AfterNorm(bias=False),
            {"conv": [3]},
            dead("relu#0", 3),
            "[3] of 'relu#0', where layer out is given 0.5 for them, and it has no bias to take that over",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.GroupNorm(2, 8), nn.Conv2d(8, 1, 1)),
            {"0": [1]},
            dead("1", 1),
            "[1] of '1', where group_norm in 2 reads all of them together",
        ),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, groups=2)),
            {"0": [1]},
            dead("1", 1),
            "[1] of '1', where layer 2 is a transposed convolution in groups",
        ),
    ],
)
def test_what_cannot_go_is_refused_with_the_place(make: Any, units: Any, finding: Any, reason: str) -> None:
    torch.manual_seed(1)
    model = settle(make())
    if isinstance(model, AfterNorm):  # β − γ·μ/σ of the dead unit
        with torch.no_grad():
            model.norm.bias[3], model.norm.running_mean[3] = 0.5, 0.0
    for layer, each in units.items():
        with torch.no_grad():
            model.get_submodule(layer).bias[each] = -1000.0
    before, objects = model(IMAGES), list(model.parameters())
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.prune(model, [finding], probe=IMAGES)
    assert str(caught.value) == STAYS + reason + CURE
    assert torch.equal(model(IMAGES), before)
    assert all(a is b for a, b in zip(model.parameters(), objects, strict=True))


def test_the_rest_goes_where_one_unit_of_a_record_must_stay() -> None:
    torch.manual_seed(1)
    model = kill(Residual().double().eval(), norm=[2, 5], norm2=[2])
    record = rectifier.check(model, [IMAGES])
    assert {f.site: f.units for f in record.of("dead")} == {"act": (2, 5), "relu#1": (2,)}
    receipt = rectifier.prune(model, record, probe=IMAGES)
    assert (receipt.site, receipt.units) == ("act, relu#1", (2, 2)) and model.stem.out_channels == 7
    assert receipt.skipped == (
        "`findings` must name units that can be cut; got units [5] of 'act', where what layer head reads in their "
        "place is not the same for every input. Leave them out.",
    )
    assert receipt.proved and receipt.evidence.startswith(
        "Proved: each unit that was cut gives 0 (for each input channel within the range observed for it (over all of "
    )
    assert receipt.evidence.endswith(f"Measured on the probe: max |Δ output| = {receipt.output_change:.4g}.")


def test_a_unit_that_something_else_reads_before_its_rectifier_stays() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.a(x)
            return self.b(F.relu(z)) + self.c(z)

    model = kill(Twice(), a=[1])
    with pytest.raises(rectifier.RectifierValueError, match="what layer c reads in their place is not the same"):
        rectifier.prune(model, [dead("relu#0", 1)], probe=torch.rand(4, 3))


def test_what_only_a_training_calls_is_told() -> None:
    class Aided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.aid = nn.Linear(3, 8), nn.Linear(8, 2), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.relu(self.a(x))
            return self.b(h) + self.aid(h) if self.training else self.b(h)

    receipt = rectifier.prune(kill(Aided(), a=[1]), [dead("relu#0", 1)], probe=torch.rand(4, 3))
    assert receipt.skipped == (
        "aid: not called in evaluation mode; where a training calls them on what was cut, they no longer fit",
    )


def test_a_weight_that_an_unknown_call_computes_with_stays() -> None:
    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.a = nn.Embedding(10, 8), nn.Linear(8, 8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return F.linear(F.relu(self.a(self.embed(tokens))), self.embed.weight)

    with pytest.raises(rectifier.RectifierValueError, match="where embed is called several times. Leave them out."):
        rectifier.prune(kill(Reading(), a=[1]), [dead("relu#0", 1)], probe=torch.arange(8).reshape(2, 4))


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.adaptive_max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 1, 1),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.conv2d(x, torch.zeros(8, 1, 3, 3), padding=1, groups=8),
        lambda x: F.instance_norm(x),
        lambda x: torch.maximum(x, torch.zeros_like(x)),
    ],
)
def test_what_is_not_known_stays_so_through_pytorch(call: Any, channels_last: bool) -> None:
    """That NaN in a channel comes out as NaN there and nowhere else is what the tracing rests on."""
    x = torch.rand(2, 8, 6, 6)
    x[:, ::2] = float("nan")
    y = call(x.contiguous(memory_format=torch.channels_last) if channels_last else x)
    assert torch.isnan(y[:, ::2]).all() and not torch.isnan(y[:, 1::2]).any()


def test_a_whole_layer_that_is_dead_keeps_one_unit_and_its_readers_their_bias() -> None:
    torch.manual_seed(0)
    model = mlp().double()
    kill(model, _0=list(range(8)))
    x = torch.rand(5, 3, dtype=torch.float64)
    before = model(x)
    receipt = rectifier.prune(model, [dead("1", *range(8))], probe=x)
    assert receipt.units == tuple(range(1, 8)) and model[0].out_features == 1 and torch.equal(model(x), before)


def test_frozen_parameters_gradients_and_memory_format_stay() -> None:
    torch.manual_seed(1)
    model = settle(Residual()).to(memory_format=torch.channels_last)
    kill(model, norm1=[2, 5])
    model.one.weight.requires_grad_(False)
    model(IMAGES).sum().backward()
    rows = torch.tensor([0, 1, 3, 4, 6, 7])
    wanted = model.two.weight.grad[:, rows]
    rectifier.prune(model, [dead("relu#0", 2, 5)], probe=IMAGES)
    assert not model.one.weight.requires_grad and model.two.weight.requires_grad
    assert torch.equal(model.two.weight.grad, wanted)
    assert model.two.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.one.weight.dtype == torch.float64


OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "rprop": lambda p: torch.optim.Rprop(p, 0.01),
}


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_the_dead_units_had_never_been(name: str) -> None:
    """The same training without a cut, where dead units have no gradient, is the reference."""
    torch.manual_seed(0)
    x = torch.rand(16, 3, dtype=torch.float64)
    model = kill(mlp().double(), _0=[1], _2=[2, 5])
    with torch.no_grad():
        model[4].weight[:, [2, 5]] = model[2].weight[:, [1]] = 0.0
    optimizer = OPTIMIZERS[name](model.parameters())
    steps(model, optimizer, x, 3)
    twin, same = copy.deepcopy((model, optimizer))
    receipt = rectifier.prune(model, [dead("1", 1), dead("3", 2, 5)], probe=x, optimizer=optimizer)
    assert receipt.change == (
        "layer 0: 8 → 7 units; layer 2: 8 → 6 units. Parameters are new objects; the optimizer has those "
        "that it steps, with the state of what stays"
    )
    kept = set(optimizer.param_groups[0]["params"])
    assert kept == set(model.parameters()) and set(optimizer.state) == kept
    steps(model, optimizer, x, 3)
    steps(twin, same, x, 3)
    rows, inner = [0, 2, 3, 4, 5, 6, 7], [0, 1, 3, 4, 6, 7]
    assert torch.allclose(model[0].weight, twin[0].weight[rows], rtol=0, atol=1e-12)
    assert torch.allclose(model[2].weight, twin[2].weight[inner][:, rows], rtol=0, atol=1e-12)
    assert torch.allclose(model[4].bias, twin[4].bias, rtol=0, atol=1e-12)
    state = optimizer.state[model[2].weight]
    for key, value in same.state[twin[2].weight].items():
        if isinstance(value, torch.Tensor) and value.ndim:
            assert torch.allclose(state[key], value[inner][:, rows], rtol=0, atol=1e-12), key
        else:
            assert state[key] == value, key


def test_undo_gives_the_optimizer_back_what_it_had() -> None:
    model, x = mlp(), torch.rand(16, 3)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    steps(model, optimizer, x, 2)
    objects, state = list(model.parameters()), {p: dict(s) for p, s in optimizer.state.items()}
    receipt = rectifier.prune(model, [dead("3", 2)], probe=x, optimizer=optimizer)
    receipt.undo()
    assert all(a is b for a, b in zip(optimizer.param_groups[0]["params"], objects, strict=True))
    assert set(optimizer.state) == set(objects)
    assert all(optimizer.state[p][key] is value for p in objects for key, value in state[p].items())


def test_a_pruned_model_is_copied_saved_exported_and_compiled(tmp_path: Any) -> None:
    torch.manual_seed(1)
    model = settle(Residual()).float()
    kill(model, norm1=[2, 5])
    x = IMAGES.float()
    rectifier.prune(model, [dead("relu#0", 2, 5)], probe=x)
    after = model(x)
    twin = copy.deepcopy(model)
    twin.load_state_dict(model.state_dict())
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (twin, torch.load(file, weights_only=False), torch.export.export(model, (x,)).module()):
        assert torch.equal(other(x), after)
    assert torch.allclose(torch.compile(model, backend="eager")(x), after)


@pytest.mark.parametrize("seed", range(6))
def test_chance_finds_no_structure_that_is_cut_wrongly(seed: int) -> None:
    """Random networks of branches, sums, concatenations, gates and normalisations; random units killed."""
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    class Random(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.plan = nn.ModuleList(), []
            widths, self.kinds = [6], []
            self.layers.append(nn.Conv2d(3, 6, 3, padding=1))
            for _ in range(6):
                kind, width = draw(5), widths[-1]
                out = (width, 4 + draw(5), 2 * width, width, width)[kind]
                of = (width, out, width, width, width)[kind]
                conv = nn.Conv2d(width, of, 3, padding=1, groups=width if kind == 4 else 1)
                self.layers.append(nn.Sequential(conv, nn.BatchNorm2d(of), nn.ReLU(inplace=bool(draw(2)))))
                self.kinds.append(kind)
                widths.append(out)
            self.head = nn.Linear(widths[-1] * 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.layers[0](x))
            for kind, layer in zip(self.kinds, self.layers[1:], strict=True):
                y = layer(x)
                if kind in (1, 4):
                    x = y
                else:
                    x = torch.cat([x, y], 1) if kind == 2 else x + y if kind == 0 else x * torch.sigmoid(y)
            return self.head(F.adaptive_avg_pool2d(F.max_pool2d(x, 2), 2).flatten(1))

    torch.manual_seed(seed)
    model = settle(Random())
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            with torch.no_grad():
                part.bias[torch.rand(part.num_features, generator=generator) < 0.4] = -1000.0
    before = model(IMAGES)
    record = rectifier.check(model, [IMAGES])
    receipt = rectifier.prune(model, record, silent=True, probe=IMAGES)
    assert receipt.units and torch.allclose(model(IMAGES), before, rtol=0, atol=1e-11)
    fresh = IMAGES.flip(2)
    receipt.undo()
    whole = model(fresh)
    receipt = rectifier.prune(model, record, probe=IMAGES)
    assert torch.allclose(model(fresh), whole, rtol=0, atol=1e-11)
