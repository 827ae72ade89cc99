"""The bound √(M − 1) of a normalised value: attained by the worst batch, never passed by what PyTorch computes."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup.proofs.bounds import moments, normalised
from rectifier.checkup.proofs.checker_rules import Arithmetic, _ellipsoid, _moments, exact

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
                two, one = (float(normalised(settings(m, passes=n), reach, U)) for n in (2, 1))
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
                        float(normalised(settings(m, centred=False), reach, U)),
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


@pytest.mark.parametrize(("n", "reach", "width"), [(16, 3.0, 6.0), (1000, 0.5, 1.0), (4096, 2.0, 4.0), (64, 2.0, 1e-3)])
@pytest.mark.parametrize("kind", ["two passes", "welford", "not centred"])
def test_both_sides_compute_what_the_documentation_says(kind: str, n: int, reach: float, width: float) -> None:
    """The formulas of docs/certificates.md, written out once more."""
    u, epsilon = Fraction(2) ** -24, Fraction(1e-5)
    g = {roundings: roundings * u / (1 - roundings * u) for roundings in (8, n + 2, n + 6, 4 * n + 16)}
    given = settings(n, centred=kind != "not centred", passes=2 if kind == "two passes" else 1)
    r, root = Fraction(reach), math.sqrt
    if kind == "not centred":
        length = root(n / (1 - g[n + 6]))
        expected = length, length * (1 + g[8]), length * g[8]
    else:
        k = g[n + 6] if kind == "two passes" else g[4 * n + 16]
        d = 1 - k if kind == "two passes" else 1 - k - (k * r) ** 2 / (4 * epsilon)
        s = root(epsilon) if kind == "two passes" else root(epsilon * d)
        mean = min(g[n + 2] * r / s, 1 / root(d)) if kind == "two passes" else k * r / s
        one = min(root((n - 1) / d), width / s) + mean
        one = min(one, root(n / d)) if kind == "two passes" else one
        extra = g[8] * (one + r / s)
        expected = root(n / d), one + extra, mean + extra
    ours = [float(value) for value in moments(given, reach, U, width)]
    theirs = _moments(Arithmetic(u, Fraction(2) ** -126), given, n, r, Fraction(width))
    for prover, checker, value in zip(ours, theirs, expected, strict=True):
        assert float(checker) == pytest.approx(float(value), rel=1e-13)
        assert float(value) <= prover * (1 + 1e-15) and prover == pytest.approx(float(value), rel=1e-14)


@pytest.mark.parametrize("centred", [True, False])
def test_the_checker_bounds_a_layer_behind_a_norm_as_documented(centred: bool) -> None:
    """In a coarse arithmetic, where each term of the rounding is seen."""
    generator = np.random.default_rng(0)
    n, units, own = 5, 3, Arithmetic(Fraction(2) ** -11, Fraction(2) ** -14)
    shapes = {"weight": (units, n), "scale": (n,), "shift": (n,), "bias": (units,)}
    arrays = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    w, gain, shift, bias = (arrays[name] for name in ("weight", "scale", "shift", "bias"))
    given = settings(n, centred=centred, passes=1, epsilon=0.5)
    low, high = exact(np.full((1, n), -0.5)), exact(np.full((1, n), 2.0))
    length, one, off = (float(v) for v in _moments(own, given, n, Fraction(2), Fraction(5, 2)))
    g = {k: float(own.gamma(k)) for k in (4, n + 2)}
    v = w * gain
    v = v - v.mean(axis=1, keepdims=True) if centred else v
    size = np.abs(gain) * one + np.abs(shift)
    error = g[4] * size + 4 * 2.0**-14
    spread = np.linalg.norm(v, axis=1) * length + np.abs(w * gain).sum(axis=1) * off + np.abs(w) @ error
    spread += g[n + 2] * (np.abs(w) @ (size + error) + np.abs(bias)) + (n + 2) * 2.0**-14
    middle = w @ shift + bias
    least, most = _ellipsoid(own, given, arrays, [(low, high)], [(n,)], (units,))
    assert most.astype(float) == pytest.approx(middle + spread, rel=1e-12)
    assert least.astype(float) == pytest.approx(middle - spread, rel=1e-12)
