"""Where the kernels do not reach: torch.compile, torch.func, forward derivatives, export, tracing, modes."""

from __future__ import annotations

import importlib.util
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import rectifier
import rectifier.torch as rt
from rectifier.frameworks.torch.ops import PUBLIC

NAMES = sorted(PUBLIC)
REQUIRED: dict[str, dict[str, Any]] = {"prelu": {"negative_slope": 0.25}}
# torch.compile, torch.jit and forward derivatives warn about themselves.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def call(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda z: PUBLIC[name](z, **REQUIRED.get(name, {}))


def eager(name: str, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.clone().requires_grad_()
    h = call(name)(z)
    (dz,) = torch.autograd.grad(h.sum(), z)
    return h.detach(), dz


@pytest.fixture
def z() -> torch.Tensor:
    return torch.cat([torch.linspace(-9, 9, 38), torch.tensor([-1e-7, 0.0, 6.0, -20.0])])


@quiet
@pytest.mark.parametrize("name", NAMES)
def test_vmap_grad_and_jvp(name: str, z: torch.Tensor) -> None:
    h, dz = eager(name, z)
    close = {"rtol": 1e-6, "atol": 1e-12}
    torch.testing.assert_close(torch.func.vmap(call(name))(z), h, **close)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(call(name)))(z), dz, **close)
    value, tangent = torch.func.jvp(call(name), (z,), (torch.ones_like(z),))
    torch.testing.assert_close(value, h, **close)
    torch.testing.assert_close(tangent, dz, **close)
    assert torch.func.hessian(lambda z: call(name)(z).sum())(z[:3]).shape == (3, 3)


@quiet
def test_forward_derivative_of_a_slope() -> None:
    z, slope = torch.tensor([-2.0, 3.0]), torch.tensor(0.25)
    _, tangent = torch.func.jvp(lambda s: rt.prelu(z, negative_slope=s), (slope,), (torch.tensor(1.0),))
    assert tangent.tolist() == [-2.0, 0.0]
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(z, torch.ones(2))  # type: ignore[no-untyped-call]
        unpacked = torch.autograd.forward_ad.unpack_dual(rt.elu(dual))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(unpacked.tangent, torch.tensor([np.exp(-2.0), 1.0], dtype=torch.float32))


@quiet
@pytest.mark.parametrize("name", NAMES)
def test_traces_into_one_graph(name: str, z: torch.Tensor) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(call(name), fullgraph=True, backend="aot_eager")
    leaf = z.clone().requires_grad_()
    h = compiled(leaf)
    (dz,) = torch.autograd.grad(h.sum(), leaf)
    torch.testing.assert_close((h.detach(), dz), eager(name, z), rtol=1e-6, atol=1e-12)


@quiet
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler, and there is none")
def test_compiled_elu_is_right_next_to_zero() -> None:
    torch._dynamo.reset()
    model = nn.Sequential(rt.ELU(), rt.PReLU(), rt.LeakyReLU(0.5, inplace=True))
    # Many of each, as what is compiled for the last few values of an array is not what is compiled for the others.
    x = torch.tensor([-1e-7, -1e-8, -20.0, 3.0]).repeat(64).requires_grad_()
    h = torch.compile(model, fullgraph=True)(x)
    expected = rectifier.elu(x.detach().double()) * torch.tensor([0.125, 0.125, 0.125, 1.0]).repeat(64)
    torch.testing.assert_close(h.detach().double(), expected, rtol=1e-6, atol=0)
    (dx,) = torch.autograd.grad(h.sum(), x)
    slope = torch.tensor([0.125, 0.125, 0.125 * np.exp(-20.0), 1.0], dtype=torch.float32).repeat(64)
    torch.testing.assert_close(dx, slope, rtol=1e-6, atol=0)


@quiet
def test_exports_and_traces_to_operators() -> None:
    model = nn.Sequential(nn.Linear(4, 4), rt.ELU(), rt.PReLU(), rt.ReLU(inplace=True))
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(model, (x,))
    assert all("rectifier" not in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x), model(x))
    traced = torch.jit.trace(model, (x,))  # type: ignore[no-untyped-call]
    other = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(traced(other), model(other))


@quiet
def test_compiles_for_any_parameter() -> None:
    z = torch.linspace(-3, 7, 11)
    for backend in ("eager", "aot_eager"):
        torch._dynamo.reset()
        compiled = torch.compile(lambda z, a: rt.elu(z, alpha=a), fullgraph=True, backend=backend)
        for alpha in (1.0, 2.0, 0.5, 3):  # from the second one on it is a symbol
            torch.testing.assert_close(compiled(z, alpha), rt.elu(z, alpha=alpha))
    model = nn.Sequential(rt.LeakyReLU(0.1), rt.LeakyReLU(0.3), rt.ELU(1.0), rt.ELU(2.0), rt.ReLU6(ceiling=3.0))
    torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(z), model(z))
    for given in (np.float32(0.5), np.linspace(0, 1, 11), [0.5] * 11, torch.linspace(0, 1, 11)):
        torch._dynamo.reset()
        compiled = torch.compile(lambda z, s: rt.leaky_relu(z, negative_slope=s), fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(z, given), rt.leaky_relu(z, negative_slope=given))  # type: ignore[arg-type]


@quiet
def test_the_functions_for_every_framework_compile_and_trace() -> None:
    def call(z: torch.Tensor) -> torch.Tensor:
        return rectifier.elu(z, alpha=2.0) + rectifier.relu(z)  # type: ignore[no-any-return]

    class Model(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return call(z)

    z = torch.linspace(-3, 7, 11)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(call, fullgraph=True, backend="aot_eager")(z), call(z))
    traced = torch.fx.symbolic_trace(Model())
    assert torch.equal(traced(z), call(z))
    assert {node.target for node in traced.graph.nodes} >= {rt.elu, rt.relu}


@quiet
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning")
def test_prelu_leaves_sizes_open() -> None:
    model = nn.Sequential(rt.PReLU(4), rt.ELU(), rt.PReLU())
    x, other = torch.randn(3, 4, 5), torch.randn(7, 4, 2)
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("length")}
    exported = torch.export.export(model, (x,), dynamic_shapes=({0: sizes[0], 2: sizes[2]},))
    for graph in (exported.module(), torch.fx.symbolic_trace(model), torch.jit.trace(model, (x,))):  # type: ignore[no-untyped-call]
        torch.testing.assert_close(graph(other), model(other))
    traced = torch.fx.symbolic_trace(model)
    assert torch.equal(pickle.loads(pickle.dumps(traced))(other), model(other))
    with pytest.raises(rectifier.RectifierValueError, match="num_parameters"):
        traced(torch.randn(3, 5))


@pytest.mark.parametrize("name", NAMES)
def test_meta_and_fake_tensors(name: str) -> None:
    z = torch.empty(3, 4, device="meta", dtype=torch.bfloat16, requires_grad=True)
    h = call(name)(z)
    assert (h.shape, h.dtype, h.device.type) == ((3, 4), torch.bfloat16, "meta")
    h.sum().backward()
    assert z.grad is not None
    assert PUBLIC[name](h, **REQUIRED.get(name, {}), inplace=True) is h


def test_autocast_keeps_the_dtype_of_its_input() -> None:
    model = nn.Sequential(nn.Linear(4, 4), rt.PReLU(4), rt.ELU())
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = model(x)
    assert h.dtype is torch.bfloat16
    h.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in model.parameters())


def test_without_ml_dtypes_bfloat16_is_composed() -> None:
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import torch, rectifier.torch as rt\n"
        "x = torch.linspace(-3, 3, 7, dtype=torch.bfloat16, requires_grad=True)\n"
        "rt.elu(x).sum().backward()\n"
        "print(x.grad.dtype, rt.relu(x).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "torch.bfloat16 [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]\n"


class Spy(TorchFunctionMode):
    def __init__(self) -> None:
        self.seen: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def test_a_mode_sees_one_call_with_the_tensor_first() -> None:
    x = torch.tensor([-1.0, 2.0])
    for way in (rt.elu, rectifier.elu, rt.ELU()):
        with Spy() as spy:
            h = way(x)
        ((func, args, kwargs),) = [entry for entry in spy.seen if entry[0] in PUBLIC.values()]
        assert func is rt.elu
        assert args[0] is x
        assert kwargs["alpha"] == 1.0
        assert torch.equal(h, rt.elu(x))


def test_a_dispatch_mode_sees_operators() -> None:
    class Seen(TorchDispatchMode):
        operators: ClassVar[list[str]] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.operators.append(str(func))
            return func(*args, **(kwargs or {}))

    leaf = torch.tensor([-1.0, 2.0], requires_grad=True)
    with Seen():
        z = leaf * 1.0
        h = rt.elu(z, inplace=True)
        assert h is z
        (dz,) = torch.autograd.grad(h.sum(), leaf)
    assert {"aten.expm1.default", "aten.exp.default"} <= set(Seen.operators)
    torch.testing.assert_close((h.detach(), dz), eager("elu", leaf.detach()))


def test_subclass_is_kept() -> None:
    class Mine(torch.Tensor):
        pass

    x = torch.tensor([-1.0, 2.0]).as_subclass(Mine)  # type: ignore[no-untyped-call]
    for way in (rt.relu, rectifier.relu, rt.ReLU()):
        h = way(x)
        assert type(h) is Mine
        assert h.tolist() == [0.0, 2.0]


def test_checkpointing_recomputes_the_same() -> None:
    from torch.utils.checkpoint import checkpoint

    layer = nn.Sequential(nn.Linear(4, 4), rt.ELU(inplace=True), rt.ReLU())
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (plain,) = torch.autograd.grad(layer(x).sum(), x)
    (again,) = torch.autograd.grad(checkpoint(layer, x, use_reentrant=False).sum(), x)  # type: ignore[union-attr]
    assert torch.equal(plain, again)


def test_import_without_torch_names_the_extra() -> None:
    assert importlib.util.find_spec("torch") is not None
    code = "import sys; sys.modules['torch'] = None\nimport rectifier\nimport rectifier.torch"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: rectifier.torch: `torch` must be installed; it was not found. "
        'Run: pip install "rectifier[torch]"'
    )
