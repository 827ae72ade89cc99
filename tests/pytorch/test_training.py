"""Real training: the same losses as with ``torch.nn``'s on handwritten digits; autocast; state that goes to and fro."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

import rectifier.torch as rt

Tensor = torch.Tensor
Make = Callable[[], nn.Module]
#: Ours → PyTorch's, and whether every step must be the same to the last bit.
PAIRS: dict[str, tuple[Make, Make, bool]] = {
    "ReLU": (rt.ReLU, nn.ReLU, True),
    "ReLU in place": (lambda: rt.ReLU(inplace=True), lambda: nn.ReLU(inplace=True), True),
    "LeakyReLU": (rt.LeakyReLU, nn.LeakyReLU, True),
    "LeakyReLU in place": (lambda: rt.LeakyReLU(0.2, True), lambda: nn.LeakyReLU(0.2, True), True),
    "ReLU6": (rt.ReLU6, nn.ReLU6, True),
    "PReLU": (rt.PReLU, nn.PReLU, False),  # the slope's gradient is a sum, in an order of its own
    "ELU": (rt.ELU, nn.ELU, False),
    "CELU": (rt.CELU, nn.CELU, False),
    "SELU": (rt.SELU, nn.SELU, False),
    "Softplus": (rt.Softplus, nn.Softplus, False),
}


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    found = load_digits()
    return torch.from_numpy(found.data / 16).float(), torch.from_numpy(found.target)


class Network(nn.Module):
    """Convolution, batch norm, a residual added in place, dropout: what surrounds a rectifier in practice."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.acts = nn.ModuleList(make() for _ in range(3))
        self.first, self.second = nn.Linear(12 * 16, 48), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.acts[0](self.norm(self.conv1(x.view(-1, 1, 8, 8))))
        r = self.conv2(h)
        r += h
        h = F.max_pool2d(self.acts[1](r), 2)
        return self.second(F.dropout(self.acts[2](self.first(h.flatten(1))), 0.1, self.training))


def trained(make: Make, data: tuple[Tensor, Tensor], batch: int, steps: int) -> tuple[list[float], nn.Module]:
    torch.manual_seed(0)
    model = Network(make)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = data
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).repeat(4)
    losses = []
    for part in order.split(batch)[:steps]:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[part]), y[part])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model


# In the first way a rectifier sees 3 K to 50 K values, in the second a million.
@pytest.mark.parametrize(
    ("pair", "batch", "steps"),
    [*((pair, 64, 40) for pair in PAIRS), *((pair, 1400, 4) for pair in ("ReLU", "LeakyReLU", "ReLU6", "ELU"))],
)
def test_digits_are_learned_with_the_same_losses(
    pair: str, batch: int, steps: int, digits: tuple[Tensor, Tensor]
) -> None:
    ours, theirs, to_the_bit = PAIRS[pair]
    losses, model = trained(ours, digits, batch, steps)
    expected, peer = trained(theirs, digits, batch, steps)
    assert losses[-1] < (0.6 if batch == 64 else 1.0) * losses[0]
    if to_the_bit:
        assert losses == expected
        for mine, other in zip(model.state_dict().values(), peer.state_dict().values(), strict=True):
            assert torch.equal(mine, other)
    else:  # theirs rounds otherwise, and training magnifies it
        assert losses[:4] == pytest.approx(expected[:4], rel=1e-5)


LAYERS = [rt.ReLU, rt.LeakyReLU, rt.PReLU, rt.Abs, rt.ReLU6, rt.SquaredReLU, rt.ELU, rt.CELU, rt.SELU, rt.Softplus]


@pytest.mark.parametrize("width", [16, 4096], ids=["few", "many"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_autocast(layer: Any, dtype: torch.dtype, width: int) -> None:
    """The Linears compute in 16 bits, and so does what lies between; gradients of the weights stay float32."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, width), layer(), nn.Linear(width, 4))
    x = torch.randn(32, 8)
    seen: list[Tensor] = []
    model[1].register_forward_hook(lambda module, inputs, output: seen.extend((*inputs, output)))
    with torch.autocast("cpu", dtype=dtype):
        out = model(x)
    assert [t.dtype for t in seen] == [dtype, dtype]
    z, h = seen
    assert torch.equal(h, layer()(z.detach()))
    grad_h = torch.ones_like(h)
    (dz,) = torch.autograd.grad(h, z, grad_h, retain_graph=True)
    apart = z.detach().requires_grad_()
    (expected,) = torch.autograd.grad(layer()(apart), apart, grad_h)
    assert dz.dtype is dtype
    assert torch.equal(dz, expected)
    out.float().square().mean().backward()
    exact = copy.deepcopy(model)
    exact.zero_grad()
    exact(x).square().mean().backward()
    for mine, right in zip(model.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None and right.grad is not None
        assert mine.grad.dtype is torch.float32
        assert (mine.grad - right.grad).norm() <= 0.05 * right.grad.norm()


def test_autocast_with_a_gradient_scaler(digits: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), rt.ReLU(), nn.Linear(64, 64), rt.Softplus(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(digits[0]), digits[1])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert scaler.get_scale() == 1024.0  # no step was skipped


@pytest.mark.parametrize("pair", PAIRS)
def test_state_goes_both_ways_and_through_files(pair: str, digits: tuple[Tensor, Tensor]) -> None:
    ours, theirs, _ = PAIRS[pair]
    _, model = trained(ours, digits, 64, 3)
    model.eval()
    x = digits[0][:50]
    peer = Network(theirs).eval()
    assert str(peer.load_state_dict(model.state_dict(), strict=True)) == "<All keys matched successfully>"
    torch.testing.assert_close(peer(x), model(x), rtol=1e-5, atol=1e-6)
    back = Network(ours).eval()
    back.load_state_dict(peer.state_dict(), strict=True)
    assert torch.equal(back(x), model(x))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    back.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(back(x), model(x))


@pytest.mark.parametrize("layer", LAYERS)
def test_copies_of_a_model_in_training(layer: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), layer(), nn.Linear(8, 8), layer())
    x = torch.randn(4, 8)
    model(x).sum().backward()
    h = model(x)  # a graph is open while it is copied
    whole = io.BytesIO()
    torch.save(model, whole)
    whole.seek(0)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(whole, weights_only=False)]
    h.sum().backward()
    for twin in twins:
        assert torch.equal(twin(x), h)
        twin.zero_grad()
        for _ in range(2):
            twin(x).sum().backward()
        for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, other.grad)
    exponential = torch.optim.swa_utils.AveragedModel(model)  # copies too
    assert torch.equal(exponential(x), h)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "PReLU", "ReLU6", "ELU", "CELU", "SELU", "Softplus"])
def test_a_layer_of_pytorchs_that_becomes_ours(name: str) -> None:
    """Its class is exchanged, as swapping code does; a model pickled before a layer had some option lacks it too."""
    layer = getattr(nn, name)()
    layer.__class__ = getattr(rt, name)
    fresh = getattr(rt, name)()
    assert repr(layer) == repr(fresh)
    x = torch.linspace(-3, 7, 11, requires_grad=True)
    assert torch.equal(layer(x), fresh(x))
    assert torch.equal(*(torch.autograd.grad(f(x).sum(), x)[0] for f in (layer, fresh)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("strict", "dtype"), [(True, torch.float32), (False, torch.bfloat16)])
def test_exports_every_layer_with_open_sizes(strict: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(part for layer in LAYERS for part in (layer(), nn.Linear(6, 6))), rt.ReLU(True)).to(dtype)
    x, other = torch.randn(3, 6).to(dtype), torch.randn(9, 6).to(dtype)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: batch},), strict=strict)
    close = {"rtol": 1e-5, "atol": 1e-6} if dtype is torch.float32 else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(exported.module()(other), model(other), **close)
    core = exported.run_decompositions()
    targets = {str(node.target) for node in core.graph.nodes if node.op == "call_function"}
    assert all(target.startswith(("aten.", "prims.", "<built-in")) for target in targets), targets
    file = io.BytesIO()
    torch.export.save(core, file)
    file.seek(0)
    torch.testing.assert_close(torch.export.load(file).module()(other), model(other), **close)
