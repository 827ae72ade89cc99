"""What is kept goes through ``save_for_backward``: checkpointing, hooks and offloading see it; nothing else is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

import rectifier.torch as rt

Tensor = torch.Tensor
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": rt.ReLU,
    "ReLU in place": lambda: rt.ReLU(inplace=True),
    "ReLU at_zero": lambda: rt.ReLU(at_zero=0.5),
    "LeakyReLU": rt.LeakyReLU,
    "LeakyReLU in place": lambda: rt.LeakyReLU(inplace=True),
    "PReLU": lambda: rt.PReLU(24),
    "Abs": rt.Abs,
    "ReLU6": rt.ReLU6,
    "SquaredReLU": rt.SquaredReLU,
    "ELU": rt.ELU,
    "CELU": rt.CELU,
    "SELU in place": lambda: rt.SELU(inplace=True),
    "Softplus": rt.Softplus,
}
#: Few values, and so many that every way to keep less is taken.
EXAMPLES = [5, 50_000]


def network(layer: str) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24), LAYERS[layer](), nn.Linear(24, 3), LAYERS["ReLU"]())


def gradients(model: nn.Module, x: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> list[Tensor]:
    x = x.detach().requires_grad_()
    return list(torch.autograd.grad(run(model, x).square().sum(), [x, *model.parameters()]))


def batch(examples: int) -> Tensor:
    return torch.randn(examples, 6, generator=torch.Generator().manual_seed(1))


def plain(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("layer", LAYERS)
def test_checkpointed_offloaded_and_stored_elsewhere(layer: str, examples: int) -> None:
    model, x = network(layer), batch(examples)
    expected = gradients(model, x, plain)

    def reentrant(model: nn.Module, x: Tensor) -> Tensor:
        checkpointed = checkpoint(model[0], x, use_reentrant=True)  # type: ignore[index]
        return checkpoint(lambda z: model[3](model[2](model[1](z * 1))), checkpointed, use_reentrant=True)  # type: ignore

    def not_reentrant(model: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(model, x, use_reentrant=False)  # type: ignore[return-value]

    def offloaded(model: nn.Module, x: Tensor) -> Tensor:
        with save_on_cpu():
            return plain(model, x)

    def elsewhere(model: nn.Module, x: Tensor) -> Tensor:
        with saved_tensors_hooks(
            lambda t: (t.dtype, t.detach().numpy().copy()), lambda kept: torch.from_numpy(kept[1])
        ):
            return plain(model, x)

    leaves = [x.detach().requires_grad_(), *model.parameters()]
    out = reentrant(model, leaves[0])
    out.square().sum().backward()  # type: ignore[no-untyped-call]
    for leaf, right in zip(leaves, expected, strict=True):
        assert torch.equal(leaf.grad, right)  # type: ignore[arg-type]
    for run in (not_reentrant, offloaded, elsewhere):
        for got, right in zip(gradients(model, x, run), expected, strict=True):
            assert torch.equal(got, right)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("layer", LAYERS)
def test_hooks_see_all_that_the_backward_pass_reads(layer: str, examples: int) -> None:
    """Hand back other values for what was kept: with nothing else to read, the gradient is that of the others."""
    z = torch.randn(examples, 24, generator=torch.Generator().manual_seed(2))
    f = LAYERS[layer]()
    seen: list[Tensor] = []

    def leaf(values: Tensor) -> Tensor:
        return values.detach().clone().requires_grad_()

    def keep(tensor: Tensor) -> int:
        seen.append(tensor.detach().clone())
        return len(seen) - 1

    mine, other = leaf(z), leaf(-z.flip(0))
    with saved_tensors_hooks(keep, lambda index: seen[index]):
        h = f(mine * 1.0)
        count = len(seen)
        h_other = f(other * 1.0)
    assert 0 < count == len(seen) - count
    seen[:count], seen[count:] = seen[count:], seen[:count]
    (got,) = torch.autograd.grad(h.sum(), mine)
    (expected,) = torch.autograd.grad(f(other * 1.0).sum(), other)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-12)
    (back,) = torch.autograd.grad(h_other.sum(), other)
    (expected,) = torch.autograd.grad(f(mine * 1.0).sum(), mine)
    torch.testing.assert_close(back, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_was_kept_is_freed_with_the_graph(layer: str) -> None:
    x = batch(64)
    model = network(layer)
    out = model(x).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        out.backward()
    out = model(x).sum()
    out.backward(retain_graph=True)
    first = [p.grad.clone() for p in model.parameters()]  # type: ignore[union-attr]
    out.backward()
    for p, once in zip(model.parameters(), first, strict=True):
        assert p.grad is not None
        assert not torch.equal(p.grad, once) or not once.any()


def test_checkpointing_notices_another_forward() -> None:
    calls: list[Any] = []

    def unsteady(z: Tensor) -> Tensor:
        calls.append(None)
        return rt.elu(z) if len(calls) == 1 else rt.elu(z[:1])

    z = torch.randn(40_000, requires_grad=True)
    out = checkpoint(unsteady, z, use_reentrant=False)
    with pytest.raises(torch.utils.checkpoint.CheckpointError, match="metadata"):
        out.sum().backward()  # type: ignore[union-attr]
    assert len(calls) == 2


def through(
    pack: Callable[[torch.Tensor], torch.Tensor], unpack: Callable[[torch.Tensor], torch.Tensor], layer: nn.Module
) -> torch.Tensor:
    """The gradient of a layer whose saved tensors go through these hooks."""
    z = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0] * 21, requires_grad=True)
    with saved_tensors_hooks(pack, unpack):
        h = layer(z)
    (dz,) = torch.autograd.grad(h, z, torch.linspace(1.0, 2.0, 105))
    return dz


@pytest.mark.parametrize("layer", [rt.ReLU(at_zero=0.5), rt.LeakyReLU(), rt.ReLU6(), rt.Abs(), rt.ELU(), rt.PReLU()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_hooks_may_give_the_same_numbers_back_in_another_dtype_or_layout(layer: nn.Module, dtype: torch.dtype) -> None:
    """What is kept here is exact in every dtype, bytes of bits included."""
    expected = through(lambda t: t, lambda t: t, layer)
    assert torch.equal(through(lambda t: t.to(dtype), lambda t: t.float(), layer), expected)
    # ELU's gradient is then one of 16 bits.
    torch.testing.assert_close(through(lambda t: t.to(dtype), lambda t: t, layer), expected, rtol=2**-7, atol=0)
    assert torch.equal(through(lambda t: torch.stack([t, t], -1), lambda t: t[..., 0], layer), expected)


@pytest.mark.parametrize("layer", [rt.ReLU(at_zero=0.5), rt.LeakyReLU(), rt.Abs(), rt.ELU(), rt.PReLU()])
def test_what_hooks_have_lost_is_an_error_and_not_memory_read_elsewhere(layer: nn.Module) -> None:
    with pytest.raises(RuntimeError):  # PyTorch's own messages
        through(lambda t: t, lambda t: t.to("meta"), layer)
    with pytest.raises(RuntimeError):
        through(lambda t: t, lambda t: t[:3] if t.ndim and t.numel() > 3 else t, layer)
