"""Values: in eager mode on the CPU the bits of NumPy's, elsewhere near them; layouts, shapes, integers, parameters."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import rectifier
import rectifier.torch as rt
from rectifier._functions import FUNCTIONS
from rectifier.frameworks.torch import composed
from rectifier.frameworks.torch.ops import PUBLIC

NAMES = sorted(PUBLIC)
REQUIRED: dict[str, dict[str, Any]] = {"prelu": {"negative_slope": 0.25}}
OTHER: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": -1.5},
    "prelu": {"negative_slope": 0.1},
    "relu6": {"ceiling": 2.7},
    "elu": {"alpha": 0.3},
    "celu": {"alpha": 2.5},
    "softplus": {"beta": 3.0},
}
NUMBER = {"leaky_relu": 0.01, "relu6": 6.0, "elu": 1.0, "celu": 1.0, "softplus": 1.0}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]
SPECIAL = [0.0, -0.0, 1e-40, -1e-40, 1e-8, -1e-8, 6.0, 20.0, -20.0, 100.0, -100.0, math.inf, -math.inf, math.nan]


def sample(dtype: torch.dtype) -> torch.Tensor:
    spread = torch.linspace(-25.0, 25.0, 997, dtype=torch.float64)
    return torch.cat([spread, spread * 1e-3, torch.tensor(SPECIAL, dtype=torch.float64)]).to(dtype)


def array(x: torch.Tensor) -> np.ndarray[Any, Any]:
    if x.dtype is torch.bfloat16:
        return x.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return x.numpy()


def assert_same_bits(h: torch.Tensor, expected: Any) -> None:
    got = array(h.detach())
    assert got.dtype == expected.dtype
    unsigned = np.dtype(f"u{got.dtype.itemsize}")
    number = ~np.isnan(got.astype(np.float64))
    assert np.array_equal(number, ~np.isnan(expected.astype(np.float64)))
    assert np.array_equal(got.view(unsigned)[number], expected.astype(got.dtype).view(unsigned)[number])


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_eager_cpu_has_the_bits_of_numpy(name: str, dtype: torch.dtype, other: bool) -> None:
    given = OTHER.get(name, {}) if other else REQUIRED.get(name, {})
    x = sample(dtype)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name](array(x), **given)
    assert_same_bits(PUBLIC[name](x, **given), expected)
    assert_same_bits(PUBLIC[name](x.clone().requires_grad_(), **given), expected)
    assert_same_bits(FUNCTIONS[name](x, **given), expected)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_composition_is_near_the_kernels(name: str, dtype: torch.dtype, other: bool) -> None:
    given = OTHER.get(name, {}) if other else REQUIRED.get(name, {})
    # Results below the smallest normal number are left out: PyTorch's exp is looser there.
    x = sample(dtype)
    x = x[(x.abs() < 15) & ((x == 0) | (x.abs() > 1e-6))]
    parameter = next(iter(given.values()), NUMBER.get(name, 0.0))
    # e^(βz) carries the rounding of βz: |βz|·ε/2, with |βz| up to 45 here.
    ulp = (32 if other else 8) * torch.finfo(dtype).eps
    native, own = PUBLIC[name](x, **given), composed.value(name, x, parameter)
    assert own.dtype == dtype
    assert torch.equal(torch.signbit(own), torch.signbit(native))
    assert torch.allclose(own.double(), native.double(), rtol=ulp, atol=0)
    z = x.clone().requires_grad_()
    (dz,) = torch.autograd.grad(PUBLIC[name](z, **given).sum(), z)
    assert torch.allclose(composed.derivative(name, x, parameter).to(dtype).double(), dz.double(), rtol=ulp, atol=0)


@pytest.mark.parametrize("name", ["elu", "celu", "selu"])
def test_composition_is_right_next_to_zero_and_in_the_tail(name: str) -> None:
    x = torch.tensor([-1e-7, -1e-8, -1e-30, -20.0, -60.0])
    expected = getattr(rectifier, name)(x.double())
    assert torch.allclose(composed.value(name, x, 1.0).double(), expected, rtol=3e-7, atol=0)
    slope = torch.from_numpy(getattr(rectifier, name).derivative(x.double().numpy()))
    assert torch.allclose(composed.derivative(name, x, 1.0).double(), slope, rtol=3e-6, atol=0)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "sliced", "expanded", "empty", "0-d"])
@pytest.mark.parametrize("name", NAMES)
def test_layouts_and_shapes(name: str, layout: str) -> None:
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    x = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3),
        "sliced": x[..., ::2],
        "expanded": x[:1].expand(6, 3, 4, 5),
        "empty": x[:0],
        "0-d": x[0, 0, 0, 0],
    }[layout].requires_grad_()
    given = REQUIRED.get(name, {})
    h = PUBLIC[name](x, **given)
    assert h.shape == x.shape
    assert_same_bits(h.contiguous(), np.asarray(FUNCTIONS[name](x.detach().contiguous().numpy(), **given)))
    if layout in ("channels_last", "transposed"):
        assert h.stride() == x.stride()
    (dz,) = torch.autograd.grad(h.sum(), x)
    derivative = FUNCTIONS[name].derivative(x.detach().contiguous().numpy(), **given)
    near = 2.4e-7 if name == "softplus" else 0.0  # from the output, which has been rounded
    torch.testing.assert_close(dz, torch.from_numpy(np.asarray(derivative)), rtol=near, atol=0)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", ["relu", "abs", "relu6"])
def test_integers_stay_integers(name: str, dtype: torch.dtype) -> None:
    values = [0, 1, 5, 6, 7, 100] + ([-1, -6, -100, -128] if dtype.is_signed else [])
    x = torch.tensor(values).to(dtype)
    expected = FUNCTIONS[name](x.numpy())
    for h in (PUBLIC[name](x), PUBLIC[name](x.clone(), inplace=True), FUNCTIONS[name](x)):
        assert h.dtype == dtype
        assert np.array_equal(h.numpy(), expected)


def test_integers_beyond_float32_keep_their_digits() -> None:
    x = torch.tensor([2**24 + 1, 2**53 + 1, -(2**53) - 1])
    assert rt.relu(x).tolist() == [2**24 + 1, 2**53 + 1, 0]
    assert rt.relu6(x, ceiling=2.0**30).tolist() == [2**24 + 1, 2**30, 0]
    assert rt.relu6(x, ceiling=1e300).tolist() == [2**24 + 1, 2**53 + 1, 0]


def test_integers_under_a_ceiling_that_is_a_tensor() -> None:
    x = torch.tensor([1, 5, 9])
    for ceiling, expected in ((torch.tensor(4), [1, 4, 4]), (torch.tensor([4.0, 2.0, 3.0]), [1, 2, 3])):
        h = rt.relu6(x, ceiling=ceiling)
        assert h.dtype is torch.int64
        assert h.tolist() == expected
    assert torch.equal(rt.relu6(x, ceiling=torch.tensor(2.5)), torch.tensor([1.0, 2.5, 2.5]))


def test_unsigned_integers_composed_of_operators() -> None:
    x = torch.tensor([0, 1, 7, 2**63 - 1, 2**63, 2**63 + 5, 2**64 - 1], dtype=torch.uint64)
    for ceiling in (6.0, 2.0**63, 2.0**63 + 4096, 2.0**70):
        assert torch.equal(
            composed.value("relu6", x, ceiling), torch.from_numpy(rectifier.relu6(x.numpy(), ceiling=ceiling))
        )
    for dtype in (torch.uint16, torch.uint32, torch.uint64):
        x = torch.tensor([0, 1, 7]).to(dtype)
        for function, expected in ((rt.relu, [0, 1, 7]), (rt.abs, [0, 1, 7]), (rt.relu6, [0, 1, 6])):
            h = torch.vmap(function)(x)
            assert h.dtype is dtype
            assert h.tolist() == expected


@pytest.mark.parametrize("dtype", [*DTYPES, torch.int32], ids=str)
def test_storage_can_still_be_resized(dtype: torch.dtype) -> None:
    x = torch.tensor([-1.0, 0.0, 2.0, 8.0]).to(dtype)
    for function in (rt.relu, rt.relu6, rt.abs) if dtype is torch.int32 else (rt.relu, rt.elu, rt.relu6):
        assert function(x).resize_(8).shape == (8,)
    if dtype.is_floating_point:
        rt.elu(x[::2], inplace=True)
        slope = torch.ones(4, dtype=dtype)
        rt.leaky_relu(x, negative_slope=slope)
        slope.untyped_storage().resize_(0)
    x.untyped_storage().resize_(0)
    assert x.untyped_storage().size() == 0


def test_composed_celu_at_a_huge_alpha_is_the_identity() -> None:
    for dtype, alpha in ((torch.float32, 3e38), (torch.float64, 1e308)):
        x = torch.tensor([-1e-30, -1e-3, -0.0, -7.0, 2.0], dtype=dtype)
        assert torch.equal(composed.value("celu", x, alpha), x)
        assert torch.equal(rt.celu(x, alpha=alpha), x)


def test_what_cannot_stay_integer_promotes_to_the_default_dtype() -> None:
    whole = torch.tensor([-2, 0, 7])
    assert torch.equal(rt.relu6(whole, ceiling=2.5), torch.tensor([0.0, 0.0, 2.5]))
    assert torch.equal(rt.elu(whole), rt.elu(whole.float()))
    assert rt.relu(torch.tensor([True, False])).dtype is torch.float32


def test_parameters_may_be_tensors_arrays_and_numpy_scalars() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    slopes = [0.1, -0.5, 2.0]
    expected = torch.stack([rt.leaky_relu(x[:, i], negative_slope=slope) for i, slope in enumerate(slopes)], 1)
    for given in (torch.tensor(slopes), torch.tensor(slopes, dtype=torch.float64), np.array(slopes), slopes):
        assert torch.equal(rt.leaky_relu(x, negative_slope=given), expected)  # type: ignore[arg-type]
        assert torch.equal(composed.value("leaky_relu", x, torch.tensor(slopes)), expected)
    assert torch.equal(rt.elu(x, alpha=np.float32(2.0)), rt.elu(x, alpha=2.0))  # type: ignore[arg-type]
    # A slope may enlarge the result, by the usual rule.
    assert rt.leaky_relu(x[:1], negative_slope=torch.ones(5, 1)).shape == (5, 3)


@pytest.mark.parametrize("slope", [0.0, torch.tensor(0.0), torch.tensor([0.0, 1.0])], ids=str)
def test_slope_zero_at_minus_infinity_is_zero(slope: Any) -> None:
    x = torch.tensor([-math.inf, 1.0])
    for h in (rt.leaky_relu(x, negative_slope=slope), composed.value("leaky_relu", x, slope)):
        assert h[0] == 0
        assert torch.signbit(h[0])


def test_overflow_is_no_warning() -> None:
    assert rt.squared_relu(torch.tensor(1e30)) == math.inf
