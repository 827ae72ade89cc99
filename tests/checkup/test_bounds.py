"""Bounds through whole networks: no input of the box leaves them, at any step, and the checker follows each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier.torch as rt
from rectifier.checkup.proofs.bounds import propagate
from rectifier.checkup.proofs.certificate import Certificate, Claim, needed
from rectifier.checkup.proofs.checker import accept
from rectifier.checkup.proofs.checker_rules import RULES, Arithmetic, exact
from rectifier.checkup.proofs.network import Network, Site
from rectifier.frameworks.torch.tracing import lowering
from rectifier.frameworks.torch.tracing.bounds import traced


class Mlp(nn.Module):
    """Linear layers with every rectifier of the family, a residual, layer and root-mean-square normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.acts = nn.ModuleList(
            [
                nn.ReLU(inplace=True),
                nn.LeakyReLU(-0.3),
                nn.PReLU(6),
                nn.ELU(1.3),
                nn.CELU(0.7),
                nn.SELU(),
                nn.Softplus(2.0),
                nn.ReLU6(),
                rt.Abs(),
                rt.SquaredReLU(),
                nn.SiLU(),
                nn.GELU(),
                nn.Hardswish(),
                nn.Sigmoid(),
                nn.Tanh(),
                nn.Hardtanh(-0.5, 0.7),
            ]
        )
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in self.acts])
        self.norm, self.rms, self.batch = nn.LayerNorm(6), nn.RMSNorm(6, eps=1e-6), nn.BatchNorm1d(6)
        self.shift = nn.Parameter(torch.randn(1, 6))
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, (layer, act) in enumerate(zip(self.layers, self.acts, strict=True)):
            y = act(layer(x))
            match i % 6:
                case 0:
                    x = y
                case 1:
                    x = x + y
                case 2:
                    x = self.norm(y) - 0.5 * x
                case 3:
                    x = self.rms(x) / 3 + y
                case 4:
                    x = self.drop(y)
                case 5:
                    x = self.batch(y) * self.shift
        return x


class Maps(nn.Module):
    """Convolutions of every kind with pooling, normalisation by channel, cat, splits and functional calls."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")
        self.two = nn.Conv2d(4, 8, (3, 2), stride=(1, 2), padding=(1, 0), groups=2, bias=False)
        self.three = nn.Conv2d(8, 4, 2, dilation=2, padding="same")
        self.group, self.inst = nn.GroupNorm(2, 4), nn.InstanceNorm2d(8, affine=True)
        self.bn = nn.BatchNorm2d(4)
        self.pools = nn.ModuleList(
            [
                nn.MaxPool2d(2, ceil_mode=True),
                nn.AvgPool2d(2, 1, padding=1),
                nn.AdaptiveAvgPool2d(2),
                nn.MaxPool2d(3, 1, 1),
            ]
        )
        self.weight = nn.Parameter(torch.randn(3, 8, 1, 1))
        self.end = nn.Linear(3 * 4 + 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.one(x)), inplace=True)
        a, b = self.pools[3](x).chunk(2, dim=1)
        x = self.inst(self.two(torch.cat([b, a], 1))).relu()
        x = torch.cat((self.group(self.three(x)), F.avg_pool2d(x, 1)[:, 2:6]), dim=1)
        x = F.relu(F.conv2d(self.pools[1](x), self.weight, padding=1))
        x = torch.cat([self.pools[2](x).flatten(1), self.pools[0](x).mean((2, 3))], dim=1)
        return F.relu6(self.end(x))


class Line(nn.Module):
    """One and three axes, tokens, permutations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(3, 4, 3, padding=2, padding_mode="circular")
        self.conv3 = nn.Conv3d(1, 2, 2, padding=1, padding_mode="replicate")
        self.pool1, self.pool3, self.ada = nn.AvgPool1d(2), nn.MaxPool3d(2, 1), nn.AdaptiveMaxPool1d(3)
        self.token, self.norm, self.act = nn.Linear(4, 5), nn.LayerNorm((3, 4)), nn.PReLU(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.ada(self.pool1(self.act(self.conv1(x))))
        x = torch.relu(self.token(self.norm(x.transpose(1, 2))))
        x = x.permute(0, 2, 1).reshape(x.size(0), 1, 5, 3, 1)
        return self.pool3(self.conv3(x)).clamp_min(0).sigmoid()


class Tokens(nn.Module):
    """Attention of every spelling, and normalisation over the features before linear layers."""

    def __init__(self) -> None:
        super().__init__()
        width, heads = 8, 2
        self.after = nn.TransformerEncoderLayer(width, heads, 12, dropout=0.2, batch_first=True)
        block = nn.TransformerEncoderLayer(width, heads, 12, batch_first=True, norm_first=True)
        self.before = nn.TransformerEncoder(block, 1, nn.LayerNorm(width), enable_nested_tensor=False)
        self.cross = nn.TransformerDecoderLayer(width, heads, 12, dropout=0.1, batch_first=True, bias=False)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
        self.rms, self.bare = nn.RMSNorm(width), nn.LayerNorm(width, elementwise_affine=False)
        self.gate, self.value, self.down = nn.Linear(width, 12), nn.Linear(width, 12), nn.Linear(12, width)
        self.mask = nn.Buffer(torch.full((5, 5), -torch.inf).triu(1))
        self.gain = nn.Parameter(torch.randn(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.before(self.after(x), mask=self.mask, is_causal=True)
        x = self.cross(x, x * 0.5)
        q, k, v = self.qkv(self.bare(x)).chunk(3, dim=-1)
        q, k, v = (y.view(y.size(0), 5, 2, 4).transpose(1, 2) for y in (q, k, v))
        first = F.scaled_dot_product_attention(q, k, v, dropout_p=0.3 if self.training else 0.0, is_causal=True)
        second = torch.softmax(torch.matmul(q, k.transpose(2, 3)) / 2, dim=-1) @ v
        x = x + self.mix((first + second).transpose(1, 2).reshape(x.size(0), 5, 8))
        x = F.rms_norm(x, (8,), self.gain) + F.group_norm(x, 5, eps=1e-3)
        y = self.rms(x)
        return self.down(F.relu(self.gate(y)) * self.value(y))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (Mlp, (6,)),
    "maps": (Maps, (2, 7, 8)),
    "line": (Line, (3, 6)),
    "tokens": (Tokens, (5, 8)),
}


def made(kind: str, seed: int) -> tuple[nn.Module, tuple[int, ...], torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    make, shape = MODELS[kind]
    model = make()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 2.0)
        if getattr(module, "weight", None) is not None and "norm" in type(module).__name__.lower():
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias) if getattr(module, "bias", None) is not None else None
    centre, width = torch.randn(shape), torch.rand(shape) * 10 ** torch.randint(-2, 2, (1,))
    return model, shape, centre - width, centre + width


def network_of(model: nn.Module, shape: tuple[int, ...], *, training: bool, rows: int) -> Network:
    found = traced(model, shape, {}, training=training, rows=rows, roundoff=0.0)
    assert isinstance(found, Network), found
    return found


def values_of(model: nn.Module, x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """module → what it gave, call by call."""
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [
        module.register_forward_hook(lambda m, a, out, name=name: seen.setdefault(name, []).append(out.clone()))
        for name, module in model.named_modules()
        if name and not list(module.children())
    ]
    seen[""] = [model(x)]
    for handle in handles:
        handle.remove()
    return seen


def inside(network: Network, found: Any, model: nn.Module, x: torch.Tensor, slack: list[float]) -> None:
    """Every value that a module gave lies in the interval of its step; the last step's lie in the output's."""
    seen = values_of(model, x)
    steps = [(i, step.layer) for i, step in enumerate(network.steps) if step.layer in seen and step.layer]
    assert len({name for _, name in steps}) >= 8
    turn: dict[str, int] = {}
    for index, name in [*steps, (len(network.steps) - 1, "")]:
        out = seen[name][turn.setdefault(name, 0)].double().numpy()
        turn[name] += 1
        low, high = found[index]
        assert (out >= low).all() and (out <= high).all(), (name, network.steps[index].op)
        slack.append(float((high - out.max(axis=0)).min()))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", list(MODELS))
def test_no_input_of_the_box_leaves_the_bounds(kind: str, seed: int, training: bool) -> None:
    model, shape, low, high = made(kind, seed)
    model.train(training)
    rows = 5 if training else 400
    network = network_of(model, shape, training=training, rows=rows)
    box = low.double().numpy(), high.double().numpy()
    found = propagate(network, box)
    read = needed(network.steps, [len(found) - 1])  # not the scores of an attention
    assert all(np.isfinite(found[index][0]).all() and np.isfinite(found[index][1]).all() for index in read)
    slack: list[float] = []
    with torch.no_grad():
        for _ in range(20 if training else 1):
            corners = torch.where(torch.rand(rows, *shape) < 0.5, low, high)
            inside(network, found, model, corners, slack)
            inside(network, found, model, low + torch.rand(rows, *shape) * (high - low), slack)
    # and the inputs that an attack finds: signed gradient steps towards the largest outputs
    x = (low + torch.rand(rows, *shape) * (high - low)).requires_grad_(True)
    for step in range(8):
        out = model(x)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed))
        (gradient,) = torch.autograd.grad((out * weights).sum(), x)
        with torch.no_grad():
            x += gradient.sign() * (high - low) / (2 + step)
            x.copy_(x.clamp(low, high))
    with torch.no_grad():
        inside(network, found, model, x, slack)
    assert min(slack) < 1.0  # bounds that hold everything would prove nothing


@pytest.mark.parametrize("kind", ["maps", "line", "tokens"])
def test_bounds_that_positions_share_hold_for_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowering, "FINE", 0)
    model, shape, low, high = made(kind, 3)
    model.eval()
    network = network_of(model, shape, training=False, rows=1)
    box = low.double().numpy(), high.double().numpy()
    found = propagate(network, box)
    assert any(ends[0].size < np.prod(step.shape) for step, ends in zip(network.steps, found, strict=True))
    with torch.no_grad():
        inside(network, found, model, torch.where(torch.rand(300, *shape) < 0.5, low, high), [])
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    assert accept(document_of(network, found), state) == {"all": ()}


@pytest.mark.parametrize("ceil", [False, True])
def test_padding_counts_in_a_mean(ceil: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AvgPool2d(3, 1, padding=1, ceil_mode=ceil))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.copy_(torch.tensor([1.0, -9.0]))
    network = network_of(model, (1, 4, 4), training=False, rows=1)
    low, high = propagate(network, (np.zeros((1, 4, 4)), np.ones((1, 4, 4))))[-1]
    # In a corner five of nine values are padding; with windows of unequal sizes any share may be.
    corner = 0.0 if ceil else 4 / 9
    assert low.min(axis=(1, 2)) == pytest.approx([corner, -9.0], abs=1e-4)
    assert high.max(axis=(1, 2)) == pytest.approx([2.0, -8 * corner], abs=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", list(MODELS))
def test_the_checker_follows_every_step(kind: str, training: bool) -> None:
    model, shape, low, high = made(kind, 7)
    model.train(training)
    network = network_of(model, shape, training=training, rows=5)
    found = propagate(network, (low.double().numpy(), high.double().numpy()))
    document = document_of(network, found)
    assert accept(document, {name: value.numpy() for name, value in model.state_dict().items()}) == {"all": ()}


def document_of(network: Network, found: Any) -> str:
    site = Site("all", "relu", len(found) - 1, 1 if len(network.steps[-1].shape) == 2 else 0)
    return Certificate.of([Claim(network, found, ((site, {}),))]).document


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", list(MODELS))
def test_both_sides_widen_each_step_alike(kind: str, training: bool) -> None:
    """In an arithmetic so coarse that each allowance for rounding is seen: prover and checker share no code."""
    model, shape, low, high = made(kind, 11)
    model.train(training)
    network = replace(network_of(model, shape, training=training, rows=5), roundoff=2.0**-14, smallest=2.0**-9)
    with np.errstate(over="ignore"):
        found = propagate(network, (low.double().numpy(), high.double().numpy()))
    own, compared = Arithmetic(Fraction(network.roundoff), Fraction(network.smallest)), set()
    for step, ends in zip(network.steps, found, strict=True):
        x = [tuple(map(exact, found[i])) for i in step.inputs]
        if step.op not in RULES or not all(np.isfinite(end).all() for i in step.inputs for end in found[i]):
            continue
        arrays = {role: array.exact for role, array in step.arrays.items()}
        shapes = [network.steps[i].shape for i in step.inputs]
        theirs = RULES[step.op](own, step.settings, arrays, x, shapes, step.shape)
        for ours, other in zip(ends, theirs, strict=True):
            other = np.asarray(other, dtype=object).astype(np.float64)
            finite = np.abs(np.where(np.isfinite(ours), ours, 0.0)).max()
            np.testing.assert_allclose(*np.broadcast_arrays(ours, other), rtol=1e-6, atol=1e-6 * finite + 1e-30)
        compared.add(step.op)
    assert len(compared) >= 5
