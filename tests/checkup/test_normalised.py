"""The bound √(M − 1) of a normalised value: attained by the worst batch, never passed by what PyTorch computes."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup.proofs.bounds import normalised

U = 2.0**-24


def settings(count: int, *, centred: bool = True, passes: int = 2, epsilon: float = 1e-5) -> dict[str, float]:
    return {"count": count, "centred": centred, "passes": passes, "epsilon": epsilon}


@pytest.mark.parametrize("m", [2, 3, 16, 1000, 22500])
def test_one_value_against_the_rest_attains_it(m: int) -> None:
    x = torch.zeros(m, 1)
    x[0] = 1.0
    z = F.batch_norm(x * 100, None, None, training=True, eps=1e-5)[0, 0].item()
    bound = normalised(settings(m), 100.0, U)
    assert math.sqrt(m - 1) * (1 - 1e-3) < z <= bound < math.sqrt(m) * (1 + 2e-3)
    assert bound == pytest.approx(math.sqrt(m - 1), rel=2e-2) or m < 16
    layer = F.layer_norm(x.T * 100, (m,), eps=1e-5)[0, 0].item()
    assert math.sqrt(m - 1) * (1 - 1e-3) < layer <= normalised(settings(m, passes=1), 100.0, U)
    rms = F.rms_norm(x.T * 100, (m,), eps=1e-5)[0, 0].item()
    assert math.sqrt(m) * (1 - 1e-3) < rms <= normalised(settings(m, centred=False), 100.0, U)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_computed_passes_it(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    least = math.inf
    for m in (2, 4, 9, 64, 500, 6000):
        for offset in (0.0, 1.0, 300.0):
            for spread in (1e-6, 1e-3, 1.0, 50.0):
                x = torch.randn(m, 8, generator=generator)
                x[:, :4] = (torch.rand(m, 4, generator=generator) < 2 / m).float()  # close to the worst batch
                x = offset + spread * x
                reach = float(x.abs().max())
                maps = x.T.reshape(1, 8, m, 1)
                two, one = normalised(settings(m), reach, U), normalised(settings(m, passes=1), reach, U)
                ways = {
                    "batch": (F.batch_norm(x, None, None, training=True), two),
                    "maps": (F.batch_norm(maps, None, None, training=True), two),
                    "last": (
                        F.batch_norm(maps.contiguous(memory_format=torch.channels_last), None, None, training=True),
                        two,
                    ),
                    "instance": (F.instance_norm(maps), two),
                    "layer": (F.layer_norm(x.T.contiguous(), (m,)), one),
                    "group": (F.group_norm(maps, 8), one),
                    "rms": (
                        F.rms_norm(x.T.contiguous(), (m,), eps=1e-5),
                        normalised(settings(m, centred=False), reach, U),
                    ),
                }
                for name, (z, bound) in ways.items():
                    assert z.abs().max() <= bound, (name, m, offset, spread)
                    least = min(least, bound - float(z.abs().max()))
    assert least < 0.1


def channels(beta: float, gamma: float) -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    model(torch.randn(2, 1, 10, 10))
    with torch.no_grad():
        model[1].weight[0], model[1].bias[0] = gamma, beta
        model[1].weight[1], model[1].bias[1] = -2.0, -2.0 * math.sqrt(225 * 100) - 1
    return model


@pytest.mark.parametrize(
    ("rows", "gamma", "dead"), [(1, 1.0, {0, 1}), (224, 1.0, {0, 1}), (224, -1.0, {0, 1}), (226, 1.0, {1})]
)
def test_channels_that_no_batch_of_this_size_opens(rows: int, gamma: float, dead: set[int]) -> None:
    torch.manual_seed(0)
    model = channels(-150.0, gamma).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with rectifier.watch(model, optimizer) as watching:
        for n in (rows, 1):
            model(torch.randn(n, 1, 10, 10)).sum().backward()
            optimizer.step()
    state = [buffer.clone() for buffer in model.buffers()]
    drawn = torch.get_rng_state()
    findings = [f for f in watching.record.of("dead") if "M =" in str(f.proof)]
    assert {unit for f in findings for unit in f.units} == dead
    for finding in findings:
        how = re.escape(f"because a value normalised by M values is at most √(M − 1), M = {100 * rows}, with rounding ")
        values = f"M ≤ {100 * rows} values to a normalisation"  # larger maps, seen or not, are not spoken of
        where = rf"in training mode, in batches of at most {rows} examples of shape \(1, 10, 10\), {values}"
        box = r"error included, for each input channel within the range observed for it \(.*\)"
        assert re.fullmatch(rf"z ≤ \S+ {how}{box}, {where}", str(finding.proof))
    # the record was made without a trace in the model or the random state
    assert all(torch.equal(a, b) for a, b in zip(state, model.buffers(), strict=True))
    assert torch.equal(drawn, torch.get_rng_state()) and model.training
