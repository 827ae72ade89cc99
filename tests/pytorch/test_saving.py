"""What is kept for the backward pass, what that allows, and that the gradient from it is right to the last digits."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import rectifier.torch as rt
from rectifier import RectifierError
from rectifier._functions import FUNCTIONS
from rectifier.frameworks.torch.ops import PUBLIC

NAMES = sorted(PUBLIC)
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
GATED = ["relu", "leaky_relu", "abs", "relu6"]
Call = Callable[[torch.Tensor], torch.Tensor]


def calls() -> dict[str, Call]:
    fixed = {name: PUBLIC[name] for name in NAMES if name != "prelu"}
    return {**fixed, "prelu": lambda z: rt.prelu(z, negative_slope=0.25)}


def kept_by(call: Call, z: torch.Tensor) -> list[torch.Tensor]:
    """What autograd packs."""
    seen: list[torch.Tensor] = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        seen.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        call(z)
    return seen


def sample(dtype: torch.dtype, size: int = 1000) -> torch.Tensor:
    z = torch.randn(size, generator=torch.Generator().manual_seed(0)) * 3
    return z.to(dtype).masked_fill(z == 0, 1.0).requires_grad_()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*GATED, "prelu"])
def test_gated_functions_keep_one_bit_a_value(name: str, dtype: torch.dtype) -> None:
    for size in (1, 7, 8, 1000):
        (bits,) = kept_by(calls()[name], sample(dtype, size))
        assert bits.dtype is torch.uint8
        assert bits.shape == (-(-size // 8),)


@pytest.mark.parametrize(
    "call", [rt.abs, lambda z: rt.relu(z, at_zero=0.5), lambda z: rt.relu(z, at_zero=1.0)], ids=["abs", "half", "one"]
)
def test_a_second_plane_is_kept_only_where_a_zero_occurred(call: Call) -> None:
    z = sample(torch.float32)
    assert sum(t is not None for t in kept_by(call, z)) == 1
    planes = kept_by(call, z.detach().index_fill(0, torch.tensor(37), -0.0).requires_grad_())
    assert [t.numel() for t in planes] == [125, 125]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_others_keep_the_input_or_the_output(dtype: torch.dtype) -> None:
    z = sample(dtype)
    for name in ("elu", "celu", "selu"):
        for save, same in ((None, z), ("input", z)):
            (kept,) = kept_by(lambda z, n=name, s=save: PUBLIC[n](z, save=s), z)
            assert kept.data_ptr() == same.data_ptr()
    for name in ("softplus", "squared_relu", "elu", "celu", "selu"):
        outputs: list[torch.Tensor] = []

        def call(z: torch.Tensor, name: str = name, outputs: list[torch.Tensor] = outputs) -> torch.Tensor:
            outputs.append(PUBLIC[name](z, save="output"))
            return outputs[0]

        (kept,) = kept_by(call, z)
        assert kept.data_ptr() == outputs[0].data_ptr()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["softplus", "squared_relu"])
def test_the_output_is_kept_unless_it_has_underflowed_or_overflowed(name: str, dtype: torch.dtype) -> None:
    whole = torch.linspace(0.5, 3, 301).to(dtype).requires_grad_()
    smallest = torch.finfo(dtype).smallest_normal
    low = math.log(smallest) - 1 if name == "softplus" else math.sqrt(smallest) / 2
    high = math.sqrt(torch.finfo(dtype).max) * 1.1
    for value, lost in ((None, False), (low, True), (0.0, False), (high, name == "squared_relu"), (math.inf, False)):
        for at in (0, 300):
            z = whole.detach().clone()
            if value is not None:
                z[at] = value
            z.requires_grad_()
            (kept,) = kept_by(PUBLIC[name], z)
            assert (kept.data_ptr() == z.data_ptr()) is lost
            (dz,) = torch.autograd.grad(PUBLIC[name](z), z, torch.ones_like(z))
            derivative = torch.from_numpy(FUNCTIONS[name].derivative(z.detach().double().numpy())).to(dtype)
            torch.testing.assert_close(dz, derivative, rtol=2 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("size", [16, 5000, 200_000])
@pytest.mark.parametrize("name", NAMES)
def test_output_changed_in_place_afterwards(name: str, size: int) -> None:
    """Legal and right where the output is not kept, refused as in PyTorch where it is."""
    z, residual = sample(torch.float32, size), torch.ones(size)
    call = calls()[name]
    (expected,) = torch.autograd.grad(call(z).sum(), z)
    h = call(z)
    h += residual
    if name in ("softplus", "squared_relu"):
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            h.sum().backward()
        h = PUBLIC[name](z, save="input")
        h += residual
    h.sum().backward()
    torch.testing.assert_close(z.grad, expected, rtol=3e-7, atol=0)
    assert name in ("softplus", "squared_relu") or torch.equal(z.grad, expected)  # type: ignore[arg-type]


def ulps(got: torch.Tensor, exact: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Distance to the exact result in units of the last place of ``got``'s dtype at it."""
    info = torch.finfo(got.dtype)
    exponent = np.floor(np.log2(np.maximum(np.abs(exact), float(info.smallest_normal))))
    return np.asarray(np.abs(got.double().numpy() - exact) / (2.0**exponent * info.eps))


@pytest.mark.parametrize("dtype", DTYPES[:3], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_within_two_ulp_over_the_whole_range(name: str, dtype: torch.dtype) -> None:
    if dtype is torch.float32:
        spread = torch.cat(
            [torch.linspace(-190, 30, 20011), torch.logspace(-40, 1.4, 3001), -torch.logspace(-40, 2, 3001)]
        )
    else:
        spread = torch.arange(-(2**15), 2**15).to(torch.int16).view(dtype)
    spread = spread[spread.isfinite()].to(dtype)
    given = {"negative_slope": 0.25} if name == "prelu" else {}
    derivative = FUNCTIONS[name].derivative(spread.double().numpy(), **given)
    for top in (1.0, 0.7, -3e4, 1e-3, 1e30):
        if abs(top) > torch.finfo(dtype).max:
            continue
        dh = torch.full_like(spread, top)
        for way in ("one", "many"):  # a tail, and a body, of a vector loop
            z = spread.clone().requires_grad_()
            h = PUBLIC[name](z, **given) if way == "many" else PUBLIC[name](z[: z.numel() - 1], **given)
            (dz,) = torch.autograd.grad(h, z, dh[: h.numel()])
            exact = derivative * float(dh[0].double())
            largest = float(torch.finfo(dtype).max)
            fits = (np.abs(exact) < largest) & (derivative < largest)
            fits[h.numel() :] = False
            assert ulps(dz, exact)[fits].max() <= 2.0


def test_float64_gradient_keeps_its_digits_where_the_derivative_alone_is_subnormal() -> None:
    mpmath = pytest.importorskip("mpmath")
    for name, slope in (
        ("elu", 1.0),
        ("celu", 1.0),
        ("selu", 1.0507009873554805 * 1.6732632423543772),
        ("softplus", 1.0),
    ):
        z = torch.tensor([-720.3, -744.0, -800.25, -5.0, -40.0], dtype=torch.float64, requires_grad=True)
        dh = torch.tensor([1e20, 1e30, 1e80, 0.3, 0.7], dtype=torch.float64)
        (dz,) = torch.autograd.grad(PUBLIC[name](z), z, dh)
        for got, at, above in zip(dz.tolist(), z.tolist(), dh.tolist(), strict=True):
            e = mpmath.exp(mpmath.mpf(at))
            exact = mpmath.mpf(slope) * (e / (1 + e) if name == "softplus" else e) * mpmath.mpf(above)
            assert abs(got - exact) <= 2 * math.ulp(float(exact))


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_the_lean_form_is_near_where_it_does_not_saturate_and_says_so_where_it_does(name: str) -> None:
    z = torch.tensor([-14.0, -1.0, -0.1, 0.0, 2.0], requires_grad=True)
    (lean,) = torch.autograd.grad(PUBLIC[name](z, save="output").sum(), z)
    (whole,) = torch.autograd.grad(PUBLIC[name](z).sum(), z)
    assert torch.allclose(lean[1:], whole[1:], rtol=1e-6)
    assert 1e-3 < abs(lean[0] / whole[0] - 1) < 0.2  # 3 %, as the documentation says


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "softplus", "squared_relu"])
def test_derivatives_from_the_output_to_the_second_order(name: str) -> None:
    parameter = {"softplus": {"beta": 1.5}, "elu": {"alpha": 0.7}, "celu": {"alpha": 1.5}}.get(name, {})
    z = torch.tensor([-3.0, -0.4, 0.3, 2.5, 8.0], dtype=torch.float64, requires_grad=True)
    for save in ("output", "input"):
        call = lambda z, s=save: PUBLIC[name](z, **parameter, save=s)  # noqa: E731
        assert torch.autograd.gradcheck(call, (z,))
        assert torch.autograd.gradgradcheck(call, (z,))


def test_a_learned_slope_from_the_output() -> None:
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(4, 3, generator=generator, dtype=torch.float64) * 3).requires_grad_()
    slope = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    call = lambda z, s: rt.prelu(z, negative_slope=s, save="output")  # noqa: E731
    assert torch.autograd.gradcheck(call, (z, slope))
    assert torch.autograd.gradgradcheck(call, (z, slope))
    outputs = [t.data_ptr() for t in kept_by(lambda z: call(z, slope), z)]
    assert z.data_ptr() not in outputs
    for dtype in DTYPES:
        z, slope = (
            torch.randn(50, 3, generator=generator).to(dtype).requires_grad_(),
            slope.detach().float().requires_grad_(),
        )
        one, other = (
            torch.autograd.grad(rt.prelu(z, negative_slope=slope, save=save).sum(), (z, slope))
            for save in ("input", "output")
        )
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1], other[1], rtol=20 * torch.finfo(dtype).eps, atol=0)


def test_a_slope_that_needs_no_gradient_leaves_one_bit() -> None:
    z, slope = sample(torch.float32), torch.tensor(0.25)
    kept = kept_by(lambda z: rt.prelu(z, negative_slope=slope), z)
    assert sorted(t.numel() for t in kept if t is not None) == [1, 125]


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "prelu", "abs", "relu6"])
def test_gates_of_every_layout(name: str) -> None:
    """The bits lie as the values do, and a gradient may come in another layout: transposed, expanded, unaligned."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=generator)
    x[0, 0, 0, 0] = 0.0
    ways = {
        "plain": lambda x: x,
        "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
        "transposed": lambda x: x.transpose(1, 3),
        "sliced": lambda x: x[..., ::2],
        "reversed axes": lambda x: x.permute(3, 2, 1, 0),
        "expanded": lambda x: x[:1].expand(6, 3, 4, 5),
        "empty": lambda x: x[:0],
        "one channel": lambda x: x[:, :1],
    }
    for lay in ways.values():
        z = lay(x.clone()).requires_grad_()
        shape = z.shape
        gradients = {
            "plain": torch.randn(shape, generator=generator),
            "expanded": torch.ones(()).expand(shape),
            "transposed": torch.randn(shape[::-1], generator=generator).permute(3, 2, 1, 0),
        }
        given: list[dict[str, Any]] = [{"negative_slope": 0.5}] if name in ("leaky_relu", "prelu") else [{}]
        if name in ("leaky_relu", "prelu"):
            for wanted in (shape[1:2] + (1, 1), shape[3:], shape[2:], (shape[0], 1, 1, 1), (1,) * 4, shape):
                given.append({"negative_slope": torch.rand(wanted, generator=generator) - 0.5})
        if name == "relu":
            given += [{"at_zero": 0.5}, {"at_zero": torch.rand(shape[3:], generator=generator)}]
        for parameters in given:
            slope = PUBLIC[name](z.detach().double(), **parameters)
            for dh in gradients.values():
                h = PUBLIC[name](z, **parameters)
                (dz,) = torch.autograd.grad(h, z, dh)
                leaf = z.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
                plain = PUBLIC[name](leaf, **parameters)
                (expected,) = torch.autograd.grad(plain, leaf, dh.contiguous())
                assert torch.equal(h, plain)
                assert torch.equal(h.double(), slope.float().double())
                assert torch.equal(dz, expected)
                (again,) = torch.autograd.grad(PUBLIC[name](z, **parameters), z, dh, create_graph=True)
                torch.testing.assert_close(again.detach(), dz, rtol=1e-7, atol=0)


def test_unaligned_memory() -> None:
    raw = np.zeros(4 * 41 + 1, np.uint8)[1:].view(np.float32)
    raw[:] = np.linspace(-3, 3, 41)
    for call in calls().values():
        z = torch.from_numpy(raw).requires_grad_()
        assert z.data_ptr() % 4
        expected = call(z.detach().clone())
        h = call(z)
        assert torch.equal(h, expected)
        (dz,) = torch.autograd.grad(h.sum(), z)
        leaf = z.detach().clone().requires_grad_()
        assert torch.equal(dz, torch.autograd.grad(call(leaf).sum(), leaf)[0])


def test_checkpointing_keeps_nothing_but_its_input() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Sequential(rt.ReLU(), rt.Abs(), rt.LeakyReLU(), rt.ReLU6(), rt.Softplus(), rt.PReLU(), rt.SquaredReLU())
    x = torch.randn(64, generator=generator, requires_grad=True)
    (expected,) = torch.autograd.grad(layer(x).sum(), x)
    kept = kept_by(lambda x: checkpoint(layer, x, use_reentrant=False), x)  # type: ignore[arg-type, return-value]
    assert all(t.data_ptr() == x.data_ptr() for t in kept)
    (again,) = torch.autograd.grad(checkpoint(layer, x, use_reentrant=False).sum(), x)  # type: ignore[union-attr]
    assert torch.equal(expected, again)


@pytest.mark.parametrize("layer", [rt.ELU, rt.CELU, rt.SELU, rt.Softplus, rt.SquaredReLU, rt.PReLU])
def test_layers_take_save_and_carry_it(layer: Any) -> None:
    for save in ("input", "output"):
        made = layer(save=save)
        assert f"save='{save}'" in repr(made)
        for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert twin.save == save
            outputs: list[torch.Tensor] = []
            z = sample(torch.float32)
            kept = kept_by(lambda z, t=twin, o=outputs: o.append(t(z)), z)  # type: ignore[misc, arg-type]
            wanted = z if save == "input" else outputs[0]
            assert wanted.data_ptr() in [t.data_ptr() for t in kept]
    assert "save" not in repr(layer())


LEAVE = "Leave it out."
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rt.relu(torch.ones(2), save="output"),
        "relu: `save` must be 'gate', which tells the whole derivative in a bit a value; got 'output'. Leave it out.",
    ),
    (
        lambda: rt.leaky_relu(torch.ones(2), negative_slope=torch.ones(2), save="input"),
        "leaky_relu: `save` must be 'gate', which tells the whole derivative in a bit a value; got 'input'. "
        "Leave it out.",
    ),
    (
        lambda: rt.elu(torch.ones(2), save="gate"),
        "elu: `save` must be 'input' or 'output', as its derivative takes more values than one bit tells; got 'gate'. "
        "Leave it out.",
    ),
    (
        lambda: rt.Softplus(save="gate"),
        "Softplus: `save` must be 'input' or 'output', as its derivative takes more values than one bit tells; "
        "got 'gate'. Leave it out.",
    ),
    (
        lambda: rt.PReLU(save="gate"),
        "PReLU: `save` must be 'input' or 'output', as the slope's gradient needs the values below 0; got 'gate'. "
        "Leave it out.",
    ),
    (
        lambda: rt.prelu(torch.ones(2), negative_slope=torch.tensor([0.5, 0.0], requires_grad=True), save="output"),
        "prelu: `save` must be 'input' where a slope is not above 0, as the output does not tell the input there; "
        "got 'output' and a slope of 0. Leave it out.",
    ),
    (
        lambda: rt.selu(torch.ones(2), save="all"),
        "selu: `save` must be one of 'gate', 'input', 'output'; got 'all'. Leave it out.",
    ),
    (
        lambda: rt.ELU(save=True),  # type: ignore[arg-type]
        "ELU: `save` must be one of 'gate', 'input', 'output'; got True. Leave it out.",
    ),
    (
        lambda: rt.leaky_relu(torch.ones(2), negative_slope=torch.ones(2, device="meta")),
        "leaky_relu: `negative_slope` must be on the device of x, cpu; got a tensor on meta. "
        "Pass negative_slope.to(x.device).",
    ),
]


@pytest.mark.parametrize(("act", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_be_honoured_is_refused_with_the_reason(act: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierError) as raised:
        act()
    assert isinstance(raised.value, (ValueError, TypeError))
    assert str(raised.value) == message
