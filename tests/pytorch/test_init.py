"""``init_``: which rectifier follows which layer, what each layer is given, and that the scale is kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import rectifier
import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def follows(model: nn.Module) -> dict[str, str | None]:
    return {entry.layer: entry.rectifier for entry in rt.init_(model, generator=generator())}


def deep(rectifier_layer: Callable[[], nn.Module], depth: int = 30, width: int = 256) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), rectifier_layer()]
    return nn.Sequential(*layers)


def scale_after(model: nn.Module, width: int = 256) -> float:
    with torch.no_grad():
        h: torch.Tensor = model(torch.randn(64, width, generator=generator(1)))
    return float(h.square().mean().sqrt())


DEEP: list[Callable[[], nn.Module]] = [
    rt.ReLU,
    nn.ReLU,
    lambda: rt.LeakyReLU(0.3),
    rt.PReLU,
    rt.Abs,
    rt.ReLU6,
    rt.ELU,
    lambda: rt.CELU(0.5),
    rt.SELU,
    rt.Softplus,
    nn.Tanh,
]


@pytest.mark.parametrize("layer", DEEP, ids=lambda layer: repr(layer()))
def test_scale_is_kept_through_thirty_layers(layer: Callable[[], nn.Module]) -> None:
    # ln of the scale wanders by about sqrt(30·5/(4·256)) = 0.4 for ReLU: three of that is a factor of 3.
    model = deep(layer)
    given = rt.init_(model, generator=generator())
    # Where f is not homogeneous, the scale settles at the one that the gain was made for, 1/gain.
    assert (
        1 / 3
        < scale_after(model) * (1.0 if given[0].rectifier in ("relu", "leaky_relu", "prelu", "abs") else given[0].gain)
        < 3
    )


def test_without_the_gain_the_scale_is_lost() -> None:
    model = deep(rt.ReLU)
    rt.init_(model, generator=generator())
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight /= math.sqrt(2)
    assert scale_after(model) < 1e-3


def test_squared_relu_loses_its_scale_as_the_docstring_says() -> None:
    model = deep(rt.SquaredReLU, depth=12)
    rt.init_(model, generator=generator())
    assert not 1e-3 < scale_after(model) < 1e3


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 8 // 2 * 9), ("fan_out", 16 * 9)])
def test_weights_are_drawn_as_the_receipt_says(mode: Any, fan: int) -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(400, 300, bias=False))
    conv, linear = rt.init_(model, mode=mode, generator=generator())
    assert conv == ("0", "relu", pytest.approx(math.sqrt(2)), pytest.approx(math.sqrt(2 / fan)))
    assert linear == ("3", None, 1.0, pytest.approx(1 / math.sqrt(400 if mode == "fan_in" else 300)))
    for entry in (conv, linear):
        weight = model.get_parameter(f"{entry.layer}.weight")
        assert weight.std().item() == pytest.approx(entry.std, rel=5 / math.sqrt(2 * weight.numel()))
        assert weight.mean().abs().item() < 5 * entry.std / math.sqrt(weight.numel())
    assert (model.get_parameter("0.bias") == 0).all()


def test_generator_makes_it_repeatable_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, second = (nn.Sequential(nn.Linear(4, 4), rt.ReLU()) for _ in range(2))
    torch.set_rng_state(before)
    rt.init_(first, generator=generator(3))
    rt.init_(second, generator=generator(3))
    assert torch.equal(first[0].weight, second[0].weight)
    assert torch.equal(torch.get_rng_state(), before)


class Residual(nn.Module):
    """conv → norm → relu → conv → norm → (+ shortcut) → relu, with calls and modules mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)
        self.slope = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.elu(self.norm(self.first(x)), alpha=0.5)
        h = F.dropout(self.second(h), 0.1) + x
        h = F.prelu(h, self.slope)
        return self.head(h.mean((2, 3))).sigmoid()


def test_calls_are_followed_through_norms_sums_and_dropout() -> None:
    model = Residual()
    first, second, head = rt.init_(model, generator=generator())
    assert first[:3] == ("first", "elu", rectifier.gain("elu", alpha=0.5))
    assert second[:3] == ("second", "prelu", rectifier.gain("leaky_relu", negative_slope=0.5))
    assert head[:3] == ("head", None, 1.0)


CALLS: list[tuple[Callable[[torch.Tensor], torch.Tensor], str]] = [
    (lambda z: z.relu(), "relu"),
    (lambda z: torch.relu(z), "relu"),
    (lambda z: z.clamp(min=0), "relu"),
    (lambda z: z.clamp_min(0.0), "relu"),
    (lambda z: F.leaky_relu(z, 0.2).flatten(1), "leaky_relu"),
    (lambda z: rt.squared_relu(z), "squared_relu"),
    (lambda z: rt.relu6(z.view(1, -1)), "relu6"),
]


@pytest.mark.parametrize(("function", "row"), CALLS)
def test_every_way_to_call_is_seen(function: Callable[[torch.Tensor], torch.Tensor], row: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(function(self.layer(x)))  # type: ignore[no-any-return]

    assert follows(Model()) == {"layer": row, "last": None}


class Untraceable(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:  # a graph cannot branch on data
            x = -x
        for layer in self.layers:
            x = layer(x)
        return F.relu(x)


def test_what_cannot_be_traced_is_read_in_module_order() -> None:
    model = Untraceable(nn.Linear(4, 4), nn.BatchNorm1d(4), rt.LeakyReLU(), nn.Linear(4, 4))
    with pytest.warns(UserWarning) as warned:
        assert follows(model) == {"layers.0": "leaky_relu", "layers.3": None}
    assert [str(warning.message) for warning in warned] == [
        "init_: tracing the model failed (TraceError: symbolically traced variables cannot be used as inputs to "
        "control flow), so the order of its modules told which rectifier follows which layer; calls such as F.relu are "
        "not seen there. Look at the entries returned."
    ]


def test_per_channel_slopes_share_the_gain_of_their_mean_square() -> None:
    model = nn.Sequential(nn.Linear(4, 2), rt.PReLU(2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([0.0, 1.0]))
    (entry,) = rt.init_(model, generator=generator())
    assert entry.gain == pytest.approx(math.sqrt(2 / 1.5))


class Writes(nn.Module):
    """Its forward writes to the module, and draws numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.register_buffer("count", torch.zeros(()))
        self.seen: list[Any] = []
        self.last: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + torch.rand(4)
        self.count += 1
        self.last = self.inner(x)
        self.seen.append(self.last)
        return self.last  # type: ignore[no-any-return]


@pytest.mark.parametrize("used", [False, True])
def test_tracing_leaves_no_trace(used: bool) -> None:
    model = Writes()
    hooked: list[Any] = []
    model.inner.register_forward_hook(lambda module, args, output: hooked.append(output))
    if used:  # then it holds an activation, which cannot be copied
        model(torch.ones(2, 4))
    before = (model.last, list(model.seen), list(hooked), float(model.count), torch.get_rng_state())
    assert follows(model) == {"inner.0": "relu"}
    assert model.last is before[0]
    assert [id(h) for h in model.seen] == [id(h) for h in before[1]]
    assert [id(h) for h in hooked] == [id(h) for h in before[2]]
    assert float(model.count) == before[3]
    assert torch.equal(torch.get_rng_state(), before[4])


@pytest.mark.parametrize("activation", ["relu", "gelu", nn.LeakyReLU(0.2), F.elu])
@pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
@pytest.mark.parametrize("traceable", [True, False])
def test_transformer_layers(layer: Any, activation: Any, traceable: bool) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.head = layer(8, 2, 16, activation=activation), nn.Sequential(nn.Linear(8, 8), nn.ReLU())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not traceable and x.sum() > 0:
                x = -x
            return self.head(self.block(x, x))  # type: ignore[no-any-return]

    model = Model()
    projection = model.block.self_attn.in_proj_weight.clone()
    if traceable:
        found = follows(model)
    else:
        with pytest.warns(UserWarning, match="tracing the model failed"):
            found = follows(model)
    row = {"relu": "relu", "gelu": None, F.elu: "elu"}.get(activation, "leaky_relu")
    assert (
        {name: row for name, row in found.items() if row} == {"head.0": "relu", "block.linear1": row}
        if row
        else {"head.0": "relu"}
    )
    assert torch.equal(model.block.self_attn.in_proj_weight, projection)


def test_a_transformer_layer_itself() -> None:
    found = follows(nn.TransformerEncoderLayer(8, 2, 16))
    assert found == {"self_attn.out_proj": None, "linear1": "relu", "linear2": None}


def parametrised(how: Callable[[nn.Linear], Any]) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    how(model[2])  # type: ignore[arg-type]
    return model


def meta_prelu() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.PReLU(device="meta"))


def computed(layer: str) -> str:
    return (
        f"init_: `model` must have parameters as weights; got layer {layer!r}, whose weight is computed from others "
        "(weight_norm, spectral_norm, prune or another parametrisation). Call init_ before it is parametrised."
    )


BAD: list[tuple[Callable[[], nn.Module], dict[str, Any], str]] = [
    (
        lambda: nn.Sequential(nn.ReLU()),
        {},
        "init_: `model` must have a Linear or Conv layer; got Sequential without one. Pass the whole model.",
    ),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.GELU()),
        {},
        "init_: `model` must have a rectifier after a layer; got Sequential, in which none follows a layer. "
        "Add one such as rectifier.torch.ReLU().",
    ),
    (
        lambda: Untraceable(nn.Linear(2, 2)),
        {},
        "init_: `model` must have a rectifier after a layer; got Untraceable, in which none follows a layer, as far as "
        "the order of its modules tells (tracing it failed: TraceError: symbolically traced variables cannot be used "
        "as inputs to control flow). Make its rectifiers modules, in the order in which they are called.",
    ),
    *(
        (lambda how=how: parametrised(how), {}, computed("2"))
        for how in (
            torch.nn.utils.parametrizations.weight_norm,
            torch.nn.utils.parametrizations.spectral_norm,
            torch.nn.utils.spectral_norm,
            lambda layer: prune.l1_unstructured(layer, "weight", 1),  # type: ignore[no-untyped-call]
        )
    ),
    (
        lambda: parametrised(lambda layer: prune.l1_unstructured(layer, "bias", 1)),
        {},
        computed("2").replace("whose weight", "whose bias"),
    ),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.LazyLinear(3), nn.ReLU(), nn.LazyConv1d(3, 1)),
        {},
        "init_: `model` must have no lazy layer without weights; got '2', '4'. Run the model on one batch first.",
    ),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, device="meta")),
        {},
        "init_: `model` must have its weights in memory; got layer '2' on the device meta. "
        "Call model.to_empty(device='cpu') first.",
    ),
    (
        meta_prelu,
        {},
        "init_: `model` must have its weights in memory; got the prelu after layer '2' on the device meta. "
        "Call model.to_empty(device='cpu') first.",
    ),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ELU(-1.0)),
        {},
        "init_: `model` must have rectifiers with parameters inside their domain; got elu(alpha=-1) after layer '2'. "
        "Give it others, or draw the weights of that layer apart.",
    ),
    (
        lambda: nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
        {"mode": "fan_avg"},
        "init_: `mode` must be 'fan_in' or 'fan_out'; got 'fan_avg'. Pass 'fan_in' to keep the scale of activations.",
    ),
]


@pytest.mark.parametrize(("model", "given", "message"), BAD)
def test_refusals(model: Callable[[], nn.Module], given: dict[str, Any], message: str) -> None:
    made = model()
    before = {name: value.clone() for name, value in made.state_dict().items() if not skipped(value)}
    with pytest.raises(RectifierValueError) as refused:
        rt.init_(made, **given)
    assert str(refused.value) == message
    now = made.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in now.items() if not skipped(value))


def skipped(value: torch.Tensor) -> bool:
    return nn.parameter.is_lazy(value) or value.is_meta


def test_refuses_what_is_no_module() -> None:
    with pytest.raises(RectifierTypeError) as refused:
        rt.init_(3)  # type: ignore[arg-type]
    assert refused.value.args == ("init_: `model` must be a torch.nn.Module; got int. Pass the whole model.",)
