"""Looking changes nothing: computed weights are not computed with effect, and every generator is put back."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

import rectifier


def spectral() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 8)),
        nn.ReLU(),
        nn.Unflatten(1, (2, 4)),
        parametrizations.spectral_norm(nn.Conv1d(2, 3, 1)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 1, bias=False),
    )


def weight_norm() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 1))


def older() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 1))


class Noisy(nn.Module):
    """A parametrization that draws random numbers, and calls a rectifier on the weights."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return F.relu(weight) + 0.01 * torch.rand_like(weight)


def noisy() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    parametrize.register_parametrization(model[0], "weight", Noisy())
    return model


def train(make: Any, *, watched: bool, cached: bool = False) -> tuple[nn.Module, Any]:
    model = make().train()
    descent = torch.optim.SGD(model.parameters(), lr=0.1)
    watching = rectifier.watch(model, descent, every=1) if watched else contextlib.nullcontext()
    with watching as seen:
        for _ in range(5):
            descent.zero_grad()
            with parametrize.cached() if cached else contextlib.nullcontext():
                model(torch.randn(16, 4)).square().mean().backward()
                if watched:
                    _ = seen.record  # at any time
            descent.step()
    return model, seen


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", [spectral, weight_norm, older, noisy])
@pytest.mark.parametrize("cached", [False, True])
def test_training_with_computed_weights_is_bit_identical(make: Any, cached: bool) -> None:
    plain, _ = train(make, watched=False, cached=cached)
    noise = torch.rand(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # reading .grad of a computed weight warns
        model, watching = train(make, watched=True, cached=cached)
    assert torch.equal(noise, torch.rand(3))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    record = watching.record
    assert record.last.layers[0].weight_rms > 0
    assert record.last.sites[0].weight_norm is not None
    assert all("parametrizations" not in site.site and not site.site.startswith("0.") for site in record.last.sites)
    assert all(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", [spectral, weight_norm, older, noisy])
@pytest.mark.parametrize("loss", [None, lambda outputs, _: outputs.sum()])
def test_check_leaves_computed_weights_alone(make: Any, loss: Any) -> None:
    model = make().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    rectifier.check(model, [(torch.randn(16, 4, generator=torch.Generator().manual_seed(1)), None)], loss)
    assert torch.equal(state, torch.get_rng_state())
    for name, value in before.items():
        assert torch.equal(value, model.state_dict()[name]), name


@pytest.mark.parametrize("nested", [False, True])
def test_generators_of_samplers_are_put_back(nested: bool) -> None:
    data = TensorDataset(torch.randn(20, 4))
    generator = torch.Generator().manual_seed(3)
    sampler = RandomSampler(data, generator=generator)
    if nested:
        loader: Any = DataLoader(data, batch_sampler=BatchSampler(sampler, 5, drop_last=False))
    else:
        loader = DataLoader(data, batch_size=5, sampler=sampler)
    before = generator.get_state()
    rectifier.check(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), loader)
    assert torch.equal(before, generator.get_state())
    drawn = [batch[0] for batch in loader]
    assert not torch.equal(before, generator.get_state())
    generator.set_state(before)
    assert all(torch.equal(a, b[0]) for a, b in zip(drawn, loader, strict=True))
