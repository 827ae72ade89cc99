"""torch.compile and torch.export: digits, derivatives, and what a compiled graph keeps for its backward pass."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import rectifier.torch as rt
from rectifier.frameworks.torch import compiled, devices
from rectifier.frameworks.torch.saving import policy

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*(Dynamo|dynamo|AOT|graph|deprecated).*:UserWarning"
)
with_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")

Function = Callable[[torch.Tensor], torch.Tensor]
GATED: dict[str, Function] = {
    "relu": rt.relu,
    "relu, half at 0": lambda z: rt.relu(z, at_zero=0.5),
    "leaky_relu": rt.leaky_relu,
    "abs": rt.abs,
    "relu6": rt.relu6,
}
CURVED: dict[str, Function] = {
    "squared_relu": rt.squared_relu,
    # At −∞ eager keeps the input of softplus, as the output has underflowed, and rounds once less.
    "softplus": lambda z: rt.softplus(z.clamp(min=-40)),
    "softplus, beta": lambda z: rt.softplus(z.clamp(min=-40), beta=1.7),
    "elu": rt.elu,
    "elu, alpha": lambda z: rt.elu(z, alpha=0.3),
    "celu, alpha": lambda z: rt.celu(z, alpha=0.3),
    "celu": rt.celu,
    "selu": rt.selu,
}
SPECIAL = torch.tensor([0.0, -0.0, 6.0, torch.inf, -torch.inf, torch.nan, -1e-7, 1e-7])


def points(columns: int, dtype: torch.dtype) -> torch.Tensor:
    """The kinks, the neighbourhood of 0, and the tails as far as an output is a normal number."""
    generator = torch.Generator().manual_seed(0)
    small = -torch.logspace(-18, 0, 16 * columns - SPECIAL.numel(), dtype=torch.float64)
    z = torch.cat([torch.randn(16 * columns, generator=generator), torch.linspace(-40, 9, 16 * columns)])
    return torch.cat([z.double(), small, SPECIAL.double()]).to(dtype).reshape(-1, columns)


def ulps(ours: torch.Tensor, theirs: torch.Tensor) -> int:
    """The largest distance in representable numbers; NaN must meet NaN."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[ours.dtype.itemsize]
    assert torch.equal(torch.isnan(ours), torch.isnan(theirs))
    a, b = (torch.where(torch.isnan(x), 0, x).detach().contiguous().view(integer).long() for x in (ours, theirs))
    lowest = torch.iinfo(integer).min
    a, b = (torch.where(i < 0, lowest - i, i) for i in (a, b))
    return int((a - b).abs().max())


def compare(functions: dict[str, Function], z: torch.Tensor, dynamic: bool) -> dict[str, tuple[int, int]]:
    """Distances of value and gradient from eager, all functions in one graph."""
    torch.compiler.reset()
    graph = torch.compile(
        lambda *leaves: [f(leaf) for f, leaf in zip(functions.values(), leaves, strict=True)],
        fullgraph=True,
        dynamic=dynamic,
    )
    dh = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z.dtype)
    leaves = [z.clone().requires_grad_() for _ in functions]
    values = graph(*leaves)
    gradients = torch.autograd.grad(values, leaves, [dh] * len(leaves))
    found = {}
    for name, value, gradient in zip(functions, values, gradients, strict=True):
        leaf = z.clone().requires_grad_()
        h = functions[name](leaf)
        (dz,) = torch.autograd.grad(h, leaf, dh)
        found[name] = ulps(value, h), ulps(gradient, dz)
    return found


@with_compiler
@pytest.mark.parametrize(("dtype", "dynamic"), [(torch.float32, True), (torch.bfloat16, False)])
def test_within_one_ulp_of_eager(dtype: torch.dtype, dynamic: bool) -> None:
    """Gradients within two: eager rounds f′ and the product, and so does the graph."""
    every = GATED | CURVED
    # Shared out between the two, as each takes seconds to compile.
    default = {"relu", "softplus", "elu", "celu"}
    found = compare({n: f for n, f in every.items() if (n in default) != dynamic}, points(128, dtype), dynamic)
    assert {name: far for name, far in found.items() if far[0] > 1 or far[1] > 2} == {}


@with_compiler
def test_sizes_that_eight_does_not_divide() -> None:
    gated = {name: GATED[name] for name in ("relu, half at 0", "leaky_relu")}
    z = points(128, torch.float32).flatten()[-7 * 59 :].reshape(59, 7)
    assert set(compare(gated, z, False).values()) == {(0, 0)}


@pytest.mark.parametrize(
    "shape", [(), (0,), (1,), (7,), (8,), (9,), (3, 16), (16, 3), (5, 7), (2, 8, 3, 5), (2, 3, 3, 5), (2, 5, 24)]
)
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "abs", "relu6"])
def test_the_gate_composed_of_operators(name: str, shape: tuple[int, ...]) -> None:
    """What other devices run: each shape packs to bits, whichever axis is split."""
    z = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(4).round()
    number: Any = {"leaky_relu": 0.1, "relu6": 6.0, "relu": 0.5}.get(name, 0.0)
    if name == "prelu":
        number = torch.linspace(-1, 1, shape[-1]) if shape else torch.tensor(0.25)
    layouts = [z, z.contiguous(memory_format=torch.channels_last)] if z.ndim == 4 else [z, z.mT] if z.ndim > 1 else [z]
    for x in layouts:
        if name == "prelu" and x.shape != z.shape:
            continue
        leaf, kept = x.clone().requires_grad_(), []

        def note(t: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            h = compiled.RectifyComposed.apply(leaf, number, name, policy(name, number, None))  # type: ignore[no-untyped-call]
        assert all(t is number or t.dtype is torch.uint8 for t in kept)
        assert sum(t.numel() for t in kept if t is not number) <= 2 * ((x.numel() + 7) // 8)
        dh = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        (dz,) = torch.autograd.grad(h, leaf, dh)
        below = {"leaky_relu": number, "prelu": number, "abs": -1.0}.get(name, 0.0)
        slope = torch.where(x > 0, torch.ones(()), below)
        if name in ("abs", "relu"):
            slope = torch.where(x == 0, number, slope)
        if name == "relu6":
            slope = torch.where(x >= 6, 0.0, slope)
        assert torch.equal(dz, slope * dh)


# What is kept --------------------------------------------------------------------------------------------------------

KEPT = {
    "relu": (rt.relu, 1.07, 0.04),
    "leaky_relu": (rt.leaky_relu, 1.07, 0.04),
    "relu6": (rt.relu6, 1.07, 0.04),
    "abs": (rt.abs, 1.07, 0.07),
    "softplus": (rt.softplus, 1.07, 1.0),
    "squared_relu": (rt.squared_relu, 1.07, 1.0),
    "elu": (rt.elu, 2.0, 1.0),
    "celu": (rt.celu, 2.0, 1.0),
    "selu": (rt.selu, 2.0, 1.0),
    "elu from its output": (lambda z: rt.elu(z, save="output"), 1.0, 1.0),
    "celu from its output": (lambda z: rt.celu(z, save="output"), 1.0, 1.0),
    "selu from its output": (lambda z: rt.selu(z, save="output"), 1.0, 1.0),
}
HIDDEN = 64


def buffers(function: Function, followed: str) -> float:
    """Hidden-size buffers that saved-tensor hooks see in ``Linear → f → …``, partitioned as Inductor's graphs are."""
    first, second, x = nn.Linear(16, HIDDEN), nn.Linear(HIDDEN, 16), torch.randn(8, 16)
    second.requires_grad_(followed != "frozen linear")

    def model(x: torch.Tensor) -> torch.Tensor:
        h = function(first(x))
        return h + 1.0 if followed == "add" else h.mean(0) if followed == "pool" else second(h)

    own = {t.data_ptr() for t in (*first.parameters(), *second.parameters(), x)}
    seen: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        if t.untyped_storage().data_ptr() not in own:
            seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    torch.compiler.reset()
    graph = torch.compile(model, fullgraph=True, backend="aot_eager_decomp_partition")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        h = graph(x)
    h.sum().backward()
    return sum(seen.values()) / (8 * HIDDEN * 4)


@pytest.mark.parametrize("name", KEPT)
def test_what_a_compiled_graph_keeps(name: str) -> None:
    function, with_next, without = KEPT[name]
    assert 0.9 <= buffers(function, "linear") <= with_next
    for followed in ("frozen linear", "add", "pool"):
        assert 0.03 <= buffers(function, followed) <= without, followed


# Derivatives and graphs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["relu", "abs", "elu", "softplus", "squared_relu"])
def test_transforms_inside_a_compiled_function(name: str) -> None:
    function = getattr(rt, name)
    z = torch.linspace(-3, 3, 16)

    def first(z: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda z: function(z).square().sum())(z)  # type: ignore[no-any-return]

    def second(z: torch.Tensor) -> torch.Tensor:
        return torch.func.grad(lambda z: first(z).sum())(z)  # type: ignore[no-any-return]

    def forward(z: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(function, (z,), (torch.ones_like(z),))[1]  # type: ignore[no-any-return]

    for derivative in (first, second, forward, torch.func.vmap(function)):
        torch.compiler.reset()
        graph = torch.compile(derivative, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(graph(z), derivative(z), rtol=1e-6, atol=1e-12)


class Every(nn.Module):
    """All the layers beside one another."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        simple = [rt.ReLU(), rt.LeakyReLU(), rt.Abs(), rt.ReLU6(), rt.SquaredReLU(), rt.PReLU(8)]
        self.layers = nn.ModuleList([*simple, rt.ELU(), rt.CELU(2.0), rt.SELU(), rt.Softplus()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(x)
        return torch.stack([layer(z) for layer in self.layers])


@pytest.mark.parametrize("strict", [False, True])
def test_exported_graphs(strict: bool) -> None:
    torch.manual_seed(0)
    model, other = Every(), torch.randn(7, 4)
    sizes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(model, (torch.randn(3, 4),), dynamic_shapes=sizes, strict=strict)
    assert all("autograd" not in str(node.target) for node in exported.graph.nodes)
    memory = io.BytesIO()
    torch.export.save(exported, memory)
    memory.seek(0)
    model(other).square().sum().backward()
    for graph in (exported, exported.run_decompositions(), torch.export.load(memory)):
        torch.testing.assert_close(graph.module()(other), model(other), rtol=2e-7, atol=0)
    trained = exported.module()
    trained(other).square().sum().backward()
    assert trained.first.weight.grad is not None
    torch.testing.assert_close(trained.first.weight.grad, model.first.weight.grad, rtol=1e-5, atol=1e-6)


def test_a_device_without_kernels_is_said_once() -> None:
    devices.kernels_of.cache_clear()
    with pytest.warns(UserWarning) as said:
        assert devices.kernels_of("xpu") is None
        assert devices.kernels_of("xpu") is None
    assert [str(warning.message) for warning in said] == [
        "rectifier.torch: no kernels for xpu tensors; PyTorch's operators are composed, which is slower. "
        "Results and memory are the same."
    ]
    assert devices.kernels_of("meta") is None
