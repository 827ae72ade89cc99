"""``check``: exact sets on known-answer patients, no trace left, clear errors, nothing lost."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rectifier
from rectifier.checkup import ObservationError, Record

KINDS = ("dead", "silent", "rare", "always_open")


def sets(record: Record) -> dict[str, dict[str, set[int]]]:
    found: dict[str, dict[str, set[int]]] = {}
    for finding in record.of(*KINDS):
        found.setdefault(finding.kind, {}).setdefault(finding.site, set()).update(finding.units)
    return found


def complete(truth: dict[str, dict[str, set[int]]], counted: dict[str, torch.Tensor], n: dict[str, int]) -> Any:
    """The truth recounted by plain PyTorch: what was planted, and what chance added."""
    result: dict[str, dict[str, set[int]]] = {}
    dead = truth.get("dead", {})
    for site, fired in counted.items():
        units = range(len(fired))
        told = {
            "dead": dead.get(site, set()),
            "silent": {u for u in units if fired[u] == 0} - dead.get(site, set()),
            "rare": {u for u in units if 0 < fired[u] <= 0.01 * n[site]},
            "always_open": {u for u in units if fired[u] == n[site]},
        }
        for kind, members in told.items():
            if members:
                result.setdefault(kind, {})[site] = members
    return result


def count(z: torch.Tensor) -> tuple[torch.Tensor, int]:
    axis = 1 if z.ndim == 4 else -1
    flat = z.detach().movedim(axis, 0).flatten(1)
    return (flat > 0).sum(dim=1), flat.shape[1]


def recount(patient: Any) -> Any:
    model, x = copy.deepcopy(patient.model).eval(), patient.inputs
    if "1" in patient.truth["dead"]:
        z = {"1": model[0](x), "4": model[:4](x)}
    elif "act" in patient.truth["dead"]:
        first = model.norm(model.conv(x))
        z = {"act": first, "act2": model.conv2(model.pool(F.relu(first.clone())))}
    else:
        z = {"relu#0": model.first(x)}
        z["block.relu#0"] = model.block.one(F.relu(z["relu#0"]))
        z["block.relu#1"] = model.block.two(F.relu(z["block.relu#0"]))
        z["relu#1"] = model.mid(F.relu(z["block.relu#1"]))
        z["relu#2"] = model.last(F.relu(z["relu#1"]))
    counts = {site: count(value) for site, value in z.items()}
    return counts, complete(
        patient.truth, {s: c for s, (c, _) in counts.items()}, {s: n for s, (_, n) in counts.items()}
    )


@pytest.mark.parametrize("name", ["mlp", "convnet", "functional"])
def test_patients_exact_sets(name: str, request: pytest.FixtureRequest) -> None:
    patient = request.getfixturevalue(name)
    counts, truth = recount(patient)
    for kind, sites in patient.truth.items():  # the planting itself worked
        for site, units in sites.items():
            assert units <= truth[kind][site], (kind, site)
    record = rectifier.check(patient.model, patient.inputs.split(300))
    assert sets(record) == truth
    assert [site.site for site in record.last.sites] == list(counts)
    for site in record.last.sites:
        fired, n = counts[site.site]
        assert site.examples == n
        assert site.fired.tolist() == fired.tolist()
    assert record.not_observed == ()
    assert Record.from_json(record.to_json()).to_json() == record.to_json()


def test_healthy_control_has_no_fault(healthy: Any) -> None:
    y = torch.randint(0, 4, (len(healthy.inputs),), generator=torch.Generator().manual_seed(0))
    record = rectifier.check(healthy.model, [(healthy.inputs, y)], F.cross_entropy)
    assert [finding for finding in record.findings if finding.fault or finding.kind == "rare"] == []


def test_vitals_against_plain_torch(mlp: Any) -> None:
    model, x = copy.deepcopy(mlp.model).eval(), mlp.inputs
    y = torch.randint(0, 3, (len(x),), generator=torch.Generator().manual_seed(0))
    record = rectifier.check(mlp.model, [(x, y)], F.cross_entropy)
    z = model[0](x).detach().requires_grad_()
    h = F.relu(z)
    h.retain_grad()
    z2 = model[3](h)
    z2.retain_grad()
    loss = F.cross_entropy(model[4:](z2), y)
    loss.backward()
    site, layer = record.last.sites[0], record.last.layers[1]
    np.testing.assert_allclose(site.sum_h, h.detach().double().sum(dim=0), rtol=1e-12)
    np.testing.assert_array_equal(site.min_z, z.detach().amin(dim=0).double())
    np.testing.assert_array_equal(site.max_z, z.detach().amax(dim=0).double())
    np.testing.assert_allclose(site.rms_h, h.detach().double().square().mean().sqrt(), rtol=1e-12)
    np.testing.assert_allclose(site.gradient_abs, z.grad.double().abs().mean(dim=0), rtol=1e-5)
    np.testing.assert_allclose(site.gradient_rms, h.grad.double().square().mean().sqrt(), rtol=1e-6)
    np.testing.assert_allclose(layer.gradient_rms, z2.grad.double().square().mean().sqrt(), rtol=1e-6)
    weight_gradient = torch.autograd.grad(F.cross_entropy(model(x), y), model[3].weight)[0]
    np.testing.assert_allclose(layer.weight_gradient_rms, weight_gradient.double().square().mean().sqrt(), rtol=1e-5)
    assert record.last.loss == pytest.approx(loss.item(), rel=1e-6)
    assert layer.fan_in == 12 and site.layer == "0" and record.last.sites[1].upstream == "1"


def state(model: nn.Module) -> Any:
    return (
        [(name, value.clone(), value.data_ptr()) for name, value in model.state_dict(keep_vars=True).items()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()],
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), dict(m.__dict__["_forward_hooks_with_kwargs"]))
         for m in model.modules()],
        torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(),
    )  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("name", ["mlp", "convnet", "functional"])
def test_leaves_no_trace(name: str, request: pytest.FixtureRequest) -> None:
    patient = request.getfixturevalue(name)
    model = patient.model
    children = [m for m in model.modules() if next(m.children(), None) is None]
    children[0].eval()  # a frozen submodule stays frozen
    children[0].weight.requires_grad_(False)
    children[-1].weight.grad = torch.full_like(children[-1].weight, 0.5)
    y = torch.zeros(len(patient.inputs), dtype=torch.int64)
    data = torch.utils.data.TensorDataset(patient.inputs, y)
    loader = torch.utils.data.DataLoader(data, batch_size=100, shuffle=True, generator=torch.Generator().manual_seed(3))

    def noisy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        noise = float(np.random.rand()) + random.random() + torch.rand(())
        return F.cross_entropy(outputs + noise, targets)

    drawn = loader.generator.get_state()
    before = state(model)
    record = rectifier.check(model, loader, noisy, seed=5)
    assert same(before, state(model))
    assert torch.equal(drawn, loader.generator.get_state())
    assert record.last.layers[0].gradient_rms is not None  # frozen, and seen all the same
    assert record.last.layers[0].weight_gradient_rms is None
    again = rectifier.check(model, loader, noisy, seed=5)
    assert again.to_json() == record.to_json()


def test_user_inputs_are_not_changed_in_place() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.l(x.relu_())

    x = torch.tensor([[-1.0, 2.0, -3.0]])
    record = rectifier.check(InPlace(), [(x, None)], lambda out, _: out.sum())
    assert record.last.sites[0].fired.tolist() == [0, 1, 0]
    assert x.tolist() == [[-1.0, 2.0, -3.0]]


def test_reused_modules_and_calls_inside_them_count_once() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(2, 3), nn.Linear(3, 4), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.b(self.act(self.a(x))))

    record = rectifier.check(Reused(), [torch.randn(5, 2), torch.randn(5, 2)])
    assert [(s.site, s.layer, s.units, s.examples) for s in record.last.sites] == [
        ("act", "a", 3, 10),
        ("act@1", "b", 4, 10),
    ]


@pytest.mark.parametrize(
    ("model", "shape", "units", "examples"),
    [
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU()), (5, 4), 6, 5),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU()), (5, 7, 4), 6, 35),
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU()), (5, 7, 3, 4), 6, 105),
        (nn.Sequential(nn.Conv1d(4, 6, 1), nn.ReLU()), (5, 4, 9), 6, 45),
        (nn.Sequential(nn.Conv1d(4, 6, 1), nn.BatchNorm1d(6), nn.ReLU()), (5, 4, 9), 6, 45),
        (nn.Sequential(nn.Conv2d(4, 6, 1), nn.ReLU()), (5, 4, 3, 2), 6, 30),
        (nn.Sequential(nn.Conv3d(4, 6, 1), nn.ReLU()), (5, 4, 3, 2, 1), 6, 30),
        (nn.ReLU(), (5, 3), 3, 5),
        (nn.ReLU(), (5, 3, 7), 7, 15),
        (nn.ReLU(), (5, 6, 3, 2), 6, 30),
        (nn.ReLU(), (5, 6, 3, 2, 1), 6, 30),
    ],
)
def test_unit_axis(model: nn.Module, shape: tuple[int, ...], units: int, examples: int) -> None:
    site = rectifier.check(model, [torch.randn(shape)]).last.sites[0]
    assert (site.units, site.examples) == (units, examples)


def test_nan_is_counted_apart(mlp: Any) -> None:
    x = mlp.inputs.clone()
    x[:7, 0] = torch.nan
    record = rectifier.check(mlp.model, [x])
    assert record.last.sites[0].nan.tolist() == [7] * 12
    assert [(f.kind, f.cause) for f in record.of("nan")] == [
        ("nan", "the model's input holds NaN"),
        ("nan", "NaN comes in from upstream: 1 is the first site to see one"),
    ]
    # and hides nothing: the other examples say what they say without it
    kinds = ("dead", "silent", "rare", "always_open", "dormant")
    clean = rectifier.check(mlp.model, [mlp.inputs[7:]])
    assert [(f.kind, f.site, f.units) for f in record.of(*kinds)] == [
        (f.kind, f.site, f.units) for f in clean.of(*kinds)
    ]


def test_what_cannot_be_seen_is_told_and_never_zero() -> None:
    class Swish(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x.sigmoid()

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.sign, self.swish, self.never = nn.ReLU(), nn.Softsign(), Swish(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.tanhshrink(self.swish(self.sign(self.act(x))))

    record = rectifier.check(Mixed(), [torch.randn(4, 3)])
    assert [site.site for site in record.last.sites] == ["act"]
    assert record.not_observed == (
        "sign (Softsign): not of the rectified-linear family",
        "swish (Swish): maps each value and is not known; its gates were not observed",
        "Mixed: calls tanhshrink, which is not of the rectified-linear family",
        "never (ReLU): not called on what was seen",
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_parts_are_told() -> None:
    model = nn.Sequential(nn.ReLU(), torch.jit.script(nn.ReLU()))
    assert rectifier.check(model, [torch.randn(4, 3)]).not_observed == ("1: scripted, its inside cannot be seen",)
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.check(torch.jit.script(nn.Sequential(nn.ReLU())), [torch.randn(4, 3)])
    assert str(caught.value) == (
        "check: `model` must run eagerly, module by module; got a scripted RecursiveScriptModule. "
        "Pass the model before torch.jit."
    )


def test_compiled_model_is_checked_as_the_eager_one() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    record = rectifier.check(torch.compile(model, backend="eager"), [torch.randn(4, 3)])
    assert [site.site for site in record.last.sites] == ["1"]


def test_model_that_raises_in_the_middle_keeps_the_record(mlp: Any) -> None:
    batches = [mlp.inputs[:50], mlp.inputs[50:90], torch.randn(4, 5)]
    before = state(mlp.model)
    with pytest.raises(ObservationError) as caught:
        rectifier.check(mlp.model, batches)
    assert str(caught.value) == (
        "check: the model or the loss raised RuntimeError at batch 2: mat1 and mat2 shapes cannot be multiplied "
        "(4x5 and 16x12). What was seen before it (2 batches) is kept in `.record`."
    )
    assert caught.value.record.last.sites[0].examples == 90
    assert caught.value.record.stopped is not None
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert same(before, state(mlp.model))


def test_loader_that_raises_keeps_the_record(mlp: Any) -> None:
    def loader() -> Any:
        yield mlp.inputs
        raise OSError("disk gone")

    with pytest.raises(ObservationError) as caught:
        rectifier.check(mlp.model, loader())
    assert str(caught.value) == (
        "check: the iterable `batches` raised OSError at batch 1: disk gone. "
        "What was seen before it (1 batch) is kept in `.record`."
    )
    assert caught.value.record.last.sites[0].examples == 1000


X = torch.ones(4, 3)
NET = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
CE = F.mse_loss


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: rectifier.check([1], [X]),
            "check: `model` must be a PyTorch model (torch.nn.Module) or a Keras model; got list. "
            "Pass the model itself, not its weights or its class.",
        ),
        (
            lambda: rectifier.check(NET, X),
            "check: `batches` must be an iterable of batches; got Tensor. "
            "Pass a loader, or a list such as [inputs] or [(inputs, targets)].",
        ),
        (
            lambda: rectifier.check(NET, []),
            "check: `batches` must hold at least one batch; got an empty iterable. "
            "Pass data (a generator that was used up before is empty).",
        ),
        (
            lambda: rectifier.check(nn.Linear(3, 2), [X]),
            "check: `model` must apply a rectifier of the family to a batch that is not empty; got Linear, where none "
            "was seen. See rectifier.family for what is recognised.",
        ),
        (
            lambda: rectifier.check(nn.Tanhshrink(), [X]),
            "check: `model` must apply a rectifier of the family to a batch that is not empty; got Tanhshrink, where "
            "none was seen. See rectifier.family for what is recognised. "
            "Not observed: the model (Tanhshrink): not of the rectified-linear family.",
        ),
        (
            lambda: rectifier.check(NET, [X], CE),
            "check: `batches` must yield pairs (inputs, targets) where a loss is given; got Tensor at batch 0. "
            "Yield (inputs, targets), or leave `loss` out.",
        ),
        (
            lambda: rectifier.check(NET, [(X, X, X)]),
            "check: `batches` must yield inputs or pairs (inputs, targets); got tuple of 3 at batch 0. "
            "Wrap several inputs in a tuple of their own: ((a, b, c), targets).",
        ),
        (
            lambda: rectifier.check(NET, [X.numpy()]),
            "check: `batches` must yield inputs that are tensors, or a tuple or dict of them; got ndarray. "
            "Convert arrays with torch.as_tensor.",
        ),
        (
            lambda: rectifier.check(NET, [(X, X)], "mse"),
            "check: `loss` must be callable as loss(outputs, targets); got str. "
            "Pass a function of the two, such as a cross-entropy.",
        ),
        (
            lambda: rectifier.check(NET, [(X, X)], lambda out, y: out),
            "check: `loss` must return a scalar tensor that depends on the outputs; got a tensor of shape (4, 2). "
            "Return for instance torch.nn.functional.cross_entropy(outputs, targets).",
        ),
        (
            lambda: rectifier.check(NET, [(X, X)], lambda out, y: 1.0),
            "check: `loss` must return a scalar tensor that depends on the outputs; got float. "
            "Return for instance torch.nn.functional.cross_entropy(outputs, targets).",
        ),
        (
            lambda: rectifier.check(nn.Sequential(nn.LazyLinear(2), nn.ReLU()), [X]),
            "check: `model` must have its parameters; got Sequential with a lazy layer that never ran. "
            "Run one batch through it first.",
        ),
        (
            lambda: rectifier.check(NET, [X], seed=-1),
            "check: `seed` must be a whole number from 0 to 2**63 − 1, or None; got -1. Pass a number such as 0.",
        ),
        (
            lambda: rectifier.check(NET, [X], limits=0.5),
            "check: `limits` must be Thresholds; got float. Pass rectifier.checkup.Thresholds(rare=0.01).",
        ),
    ],
)
def test_errors(call: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        call()
    assert str(caught.value) == text
    assert isinstance(caught.value, (ValueError, TypeError))
