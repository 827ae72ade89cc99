"""Units behind a normalisation over the features: bounded by the length of its vector, in transformers and alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import proved
from rectifier.checkup.proofs.network import Network
from rectifier.checkup.proofs.proof import upper_bound
from rectifier.frameworks.torch.tracing.bounds import traced


def top_of(model: nn.Module, shape: tuple[int, ...], site: str, axis: int, reach: float = 10.0) -> torch.Tensor:
    found = traced(model.eval(), shape, {site: axis}, training=False, rows=8, roundoff=0.0)
    assert isinstance(found, Network), found
    box = np.full(shape, -reach), np.full(shape, reach)
    return torch.from_numpy(upper_bound(found, box)[site][1].copy())


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_the_worst_input_attains_the_bound_and_nothing_passes_it(seed: int, centred: bool) -> None:
    torch.manual_seed(seed)
    norm = nn.LayerNorm(24) if centred else nn.RMSNorm(24)
    model = nn.Sequential(norm, nn.Linear(24, 8), nn.ReLU())
    with torch.no_grad():
        norm.weight.normal_()
        if centred:
            norm.bias.normal_()
    top = top_of(model, (24,), "2", 0)
    row = (model[1].weight * norm.weight).detach()
    worst = row - row.mean(dim=1, keepdim=True) if centred else row
    worst = 9.0 * worst / worst.abs().amax(dim=1, keepdim=True)
    with torch.no_grad():
        attained = model[:2](worst).diagonal().double()
        seen = model[:2](torch.randn(5000, 24)).amax(dim=0).double()
    assert (attained <= top).all() and (seen <= top).all()
    # the rounding of the mean, at inputs up to 10, and ε
    assert (top - attained <= 0.03 * row.abs().sum(dim=1)).all()


def test_it_is_tighter_than_intervals() -> None:
    """z of a random row grows with ‖w‖₂·√d, where intervals grow with ‖w‖₁·√(d − 1)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 5), nn.ReLU())
    apart = nn.Sequential(nn.LayerNorm(64), nn.Unflatten(1, (8, 8)), nn.Flatten(), model[1], nn.ReLU())
    ball, box = top_of(model, (64,), "2", 0), top_of(apart, (64,), "4", 0)
    assert (ball < box / 4).all()


class Blocks(nn.Module):
    """Encoder layers of PyTorch's and a gated one, with a planted unit in each."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.TransformerEncoderLayer(16, 4, 24, dropout=0.1, batch_first=True, norm_first=first) for _ in range(2)]
        )
        self.norm, self.gate, self.value = nn.RMSNorm(16), nn.Linear(16, 24), nn.Linear(16, 24)
        self.out = nn.Linear(24, 16)
        with torch.no_grad():
            for place, layer in enumerate([*(layer.linear1 for layer in self.layers), self.gate]):
                layer.bias[3 + place] = -4.0 * layer.weight[3 + place].norm() - 0.2
                layer.bias[9] = -2.0 * layer.weight[9].norm()  # silent on no data at all, and not proved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        y = self.norm(x)
        return x + self.out(F.relu(self.gate(y)) * self.value(y))


@pytest.mark.parametrize("first", [False, True])
def test_feed_forward_units_of_transformers(first: bool) -> None:
    torch.manual_seed(0)
    model = Blocks(first)
    record = rectifier.check(model, [torch.randn(32, 6, 16) for _ in range(4)])
    dead = {finding.site: finding.units for finding in record.of("dead")}
    assert dead == {"layers.0.relu#0": (3,), "layers.1.relu#0": (4,), "relu#0": (5,)}
    proof = str(record.of("dead")[0].proof)
    assert "because 16 values normalised together are a vector of length √16, with rounding error included" in proof
    assert "in evaluation mode" in proof  # in training attention and units are dropped, and the rest made larger
    assert {site.site: site.units for site in proved(model, record)} == dead
    assert all(not site.training for site in proved(model, record))


def test_training_counts_dropout_and_the_batch() -> None:
    torch.manual_seed(0)
    model = Blocks(False).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model, optimizer) as watching:
        for _ in range(3):
            model(torch.randn(16, 6, 16)).sum().backward()
            optimizer.step()
    record = watching.record
    found = proved(model, record)
    assert {site.site: site.units for site in found} == {
        "layers.0.relu#0": (3,),
        "layers.1.relu#0": (4,),
        "relu#0": (5,),
    }
    # layer norms are of one example each: the batch does not matter
    assert all(site.training and site.batch is None for site in found)


def masked(make: Callable[[int], Any]) -> nn.Module:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.line = nn.MultiheadAttention(4, 1, batch_first=True), nn.Linear(4, 3)
            with torch.no_grad():  # values from 5 to 6; 0 is what a position without any other gets
                self.attention.in_proj_weight.zero_()
                self.attention.in_proj_bias[8:] = 5.5
                self.attention.out_proj.weight.copy_(torch.eye(4))
                self.line.weight.fill_(-1.0)
                self.line.bias.copy_(torch.tensor([1.0, 30.0, 21.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.line(self.attention(x, x, x, attn_mask=make(x.shape[1]), need_weights=False)[0]))

    return Masked()


def test_a_masked_position_may_get_nothing() -> None:
    """z = b − 4·5.5 without a mask; with one that hides all others from a position, up to b."""
    free, shut = masked(lambda n: None), masked(lambda n: torch.full((5, 5), -torch.inf).triu(1))
    assert torch.allclose(top_of(free, (5, 4), "relu#0", 1), torch.tensor([-21.0, 8.0, -1.0]).double(), atol=0.01)
    assert torch.allclose(top_of(shut, (5, 4), "relu#0", 1), torch.tensor([1.0, 30.0, 21.0]).double(), atol=0.01)


def test_what_is_no_mean_of_values_is_not_followed() -> None:
    class Other(nn.Module):
        def __init__(self, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            self.how, self.line = how, nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.relu(self.line(self.how(x)))

    for how in (
        lambda x: torch.matmul(x, x.transpose(1, 2)) @ x,
        lambda x: torch.softmax(x @ x.transpose(1, 2), dim=1) @ x,  # its columns sum to 1
        lambda x: torch.softmax(x @ x.transpose(1, 2), dim=-1).mul_(3) @ x,
        lambda x: (torch.softmax(x @ x.transpose(1, 2), dim=-1) * 3) @ x,
        lambda x: torch.softmax(x @ x.transpose(1, 2), dim=-1).transpose(1, 2) @ x,
    ):
        assert torch.isinf(top_of(Other(how), (5, 4), "relu#0", 1)).all()
    mean = top_of(Other(lambda x: torch.softmax(x @ x.transpose(1, 2), -1) @ x), (5, 4), "relu#0", 1)
    assert torch.isfinite(mean).all()


@pytest.mark.parametrize(("bias", "least"), [(0.0, -1e-6), (0.3, -0.012), (-0.3, -0.012), (40.0, -1.1)])
def test_a_filter_of_zeros_under_batch_norm_in_training(bias: float, least: float) -> None:
    """z is the same everywhere, so what is normalised is 0, but for the rounding of its mean; h = relu(β)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 2))
    with torch.no_grad():
        model[0].weight[1] = 0.0
        model[0].bias[1], model[1].bias[1] = bias, least
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model.train(), optimizer) as watching:
        for _ in range(2):
            model(torch.rand(16, 1, 10, 10)).sum().backward()
            optimizer.step()
    (finding,) = watching.record.of("dead")
    assert finding.units == (1,)
    assert "M = 1024, or hardly varies before that, with rounding error included" in str(finding.proof)
    (site,) = proved(model, watching.record)
    assert (site.units, site.training, site.batch) == ((1,), True, 16)
    assert site.tensors == ("0.bias", "0.weight", "1.bias", "1.weight")


def test_a_channel_that_varies_little_is_bounded_by_that() -> None:
    """|x − mean|/√(variance + ε) ≤ width/√ε, which for a narrow range is far below √(M − 1)."""
    from rectifier.checkup.proofs.bounds import normalised

    settings = {"count": 4096, "centred": True, "passes": 2, "epsilon": 1e-5}
    narrow = float(normalised(settings, 1e-3, 2.0**-24, 1e-3))
    assert 1e-3 / math.sqrt(1e-5) < narrow < 0.33 < 60 < float(normalised(settings, 1e-3, 2.0**-24))
    x = torch.zeros(4096, 1)
    x[0] = 1e-3
    assert 0.3 < F.batch_norm(x, None, None, training=True, eps=1e-5).max().item() <= narrow


def test_channels_of_a_layer_norm_over_whole_maps() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.LayerNorm((3, 4, 4)), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    with torch.no_grad():
        model[1].bias[1] = -math.sqrt(48) - 0.1
    record = rectifier.check(model, [torch.rand(16, 1, 6, 6)])
    (site,) = proved(model, record)
    assert (site.site, site.units) == ("2", (1,)) and [f.units for f in record.of("dead")] == [(1,)]
