"""PyTorch's own sample inputs for these functions (its operator database) run against rectifier's.

The peer of each function is PyTorch's operator, or the composition that users write where it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, vmap
from torch.nn import functional as F

import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError
from rectifier.frameworks.torch.ops import PUBLIC

Tensor = torch.Tensor
Way = Callable[[Tensor], Tensor]
# Forward derivatives warn about a use of torch.jit of their own.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@dataclass(frozen=True)
class Case:
    """One sample: its tensors, and the two ways to compute on them."""

    tensors: tuple[Tensor, ...]
    ours: Callable[..., Tensor]
    theirs: Callable[..., Tensor]
    in_place: Callable[..., Tensor] | None

    def leaves(self) -> tuple[Tensor, ...]:
        """Apart in autograd, on the sample's own memory: a clone would close up its strides."""
        return tuple(tensor.detach().requires_grad_() for tensor in self.tensors)


def _plain(ours: Callable[..., Tensor], theirs: Way, sample: Any, **given: float) -> Case:
    call = partial(ours, **given)
    return Case((sample.input,), call, theirs, partial(call, inplace=True))


def _prelu(sample: Any) -> Case:
    (weight,) = (*sample.args, *sample.kwargs.values())

    def ours(x: Tensor, weight: Tensor) -> Tensor:
        return functional_call(rt.PReLU(weight.numel()), {"weight": weight.reshape(-1)}, (x,))

    return Case((sample.input, weight), ours, F.prelu, None)


def _softplus(sample: Any) -> Case:
    beta = sample.kwargs["beta"]
    # Not the sample's threshold, past which PyTorch's is another function: at 40 it is the same to the last digit.
    return _plain(rt.softplus, lambda x: F.softplus(x, beta, threshold=40), sample, beta=beta)


#: Function → operator of the database whose samples it takes, and what to make of one.
CASES: dict[str, tuple[str, Callable[[Any], Case]]] = {
    "relu": ("nn.functional.relu", lambda s: _plain(rt.relu, F.relu, s)),
    "leaky_relu": ("nn.functional.leaky_relu", lambda s: _plain(rt.leaky_relu, F.leaky_relu, s)),
    "prelu": ("nn.functional.prelu", _prelu),
    "abs": ("abs", lambda s: _plain(rt.abs, torch.abs, s)),
    "relu6": ("nn.functional.relu6", lambda s: _plain(rt.relu6, F.relu6, s)),
    "squared_relu": ("square", lambda s: _plain(rt.squared_relu, lambda x: F.relu(x).square(), s)),
    "elu": ("nn.functional.elu", lambda s: _plain(rt.elu, F.elu, s)),
    "celu": ("nn.functional.celu", lambda s: _plain(rt.celu, F.celu, s)),
    "selu": ("nn.functional.selu", lambda s: _plain(rt.selu, F.selu, s)),
    "softplus": ("nn.functional.softplus", _softplus),
}
NAMES = sorted(CASES)


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, Any]]:
    """Here and not above: the import takes seconds, and freezes flags of PyTorch's that other tests may set."""
    frozen = torch.backends.__allow_nonbracketed_mutation_flag  # type: ignore[attr-defined]
    from torch.testing._internal.common_methods_invocations import op_db

    torch.backends.__allow_nonbracketed_mutation_flag = frozen  # type: ignore[attr-defined]
    wanted = {operator for operator, _ in CASES.values()}
    found = {op.name: op for op in op_db if op.name in wanted and not op.variant_test_name}
    assert found.keys() == wanted
    yield found


Samples = Callable[..., list[Case]]


@pytest.fixture
def samples(database: dict[str, Any]) -> Samples:
    def of(name: str, dtype: torch.dtype, *, reference: bool = False, strided: bool = False) -> list[Case]:
        operator, make = CASES[name]
        torch.manual_seed(0)
        given = database[operator]
        found = list((given.reference_inputs if reference else given.sample_inputs)("cpu", dtype))
        assert found
        return [make(sample.noncontiguous() if strided else sample) for sample in found]

    return of


def near(dtype: torch.dtype) -> dict[str, Any]:
    """PyTorch's own bounds, but wide enough for what the peers get wrong in 16 bits: they round twice."""
    wide = {torch.float16: (2e-3, 1e-7), torch.bfloat16: (1.6e-2, 1e-30), torch.float32: (1e-5, 1e-12)}
    rtol, atol = wide.get(dtype, (1e-11, 1e-14))
    return {"rtol": rtol, "atol": atol}


@pytest.mark.parametrize("strided", [False, True], ids=["contiguous", "non-contiguous"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name: str, dtype: torch.dtype, strided: bool, samples: Samples) -> None:
    for case in samples(name, dtype, strided=strided):
        mine, peer = case.leaves(), case.leaves()
        h, expected = case.ours(*mine), case.theirs(*peer)
        torch.testing.assert_close(h, expected, **near(dtype))
        assert (h.shape, h.dtype) == (expected.shape, expected.dtype)
        assert h.stride() == expected.stride() or not h.numel()
        torch.manual_seed(1)
        dh = torch.randn_like(expected)
        got, right = torch.autograd.grad(h, mine, dh), torch.autograd.grad(expected, peer, dh)
        for index, (one, other) in enumerate(zip(got, right, strict=True)):
            # The slope's gradient is a sum, in which theirs rounds every product to 16 bits.
            bound = near(dtype) if index == 0 or dtype.itemsize > 2 else {"rtol": 0.05, "atol": 0.2}
            torch.testing.assert_close(one, other, **bound)
            assert one.shape == other.shape


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_reference_inputs(name: str, dtype: torch.dtype, samples: Samples) -> None:
    """Empty, 0-d, strided, large and extremal: NaN and the infinities among them."""
    if name == "prelu":
        pytest.skip("the database has none but its samples")
    finite = 0
    for case in samples(name, dtype, reference=True):
        (x,) = case.leaves()
        h, expected = case.ours(x), case.theirs(x)
        torch.testing.assert_close(h, expected, **near(dtype), equal_nan=True)
        (dx,) = torch.autograd.grad(h.sum(), x)
        (right,) = torch.autograd.grad(expected.sum(), x)
        number = ~x.isnan()  # theirs depends on the position there
        bound = {**near(dtype), "rtol": 0.02} if dtype.itemsize == 2 else near(dtype)
        torch.testing.assert_close(dx[number], right[number], **bound, equal_nan=True)
        finite += int(number.sum())
    assert finite > 100


@quiet
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_of_every_kind_against_finite_differences(name: str, samples: Samples) -> None:
    for case in samples(name, torch.float64):
        leaves = case.leaves()
        if case.tensors[0].numel() > 30:
            leaves = tuple(
                leaf[..., :3].detach().contiguous().requires_grad_() if leaf.ndim > 1 else leaf for leaf in leaves
            )
        if name == "prelu" and leaves[1].numel() not in (1, leaves[0].shape[1] if leaves[0].ndim > 1 else 1):
            continue
        assert gradcheck(
            case.ours,
            leaves,
            fast_mode=True,
            check_forward_ad=True,
            check_backward_ad=True,
            check_batched_grad=True,
            check_batched_forward_grad=True,
        )
        assert gradgradcheck(case.ours, leaves, fast_mode=True, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("name", NAMES)
def test_non_contiguous_gives_the_same_gradients(name: str, samples: Samples) -> None:
    for case in samples(name, torch.float64, strided=True):
        mine = case.leaves()
        plain = tuple(leaf.detach().contiguous().requires_grad_() for leaf in mine)
        h, expected = case.ours(*mine), case.ours(*plain)
        assert torch.equal(h, expected)
        dh = torch.rand_like(expected)
        strided = torch.empty((*dh.shape, 2), dtype=dh.dtype)[..., 1].copy_(dh)
        for one, other in zip(
            torch.autograd.grad(h, mine, strided), torch.autograd.grad(expected, plain, dh), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-14, atol=0)


@quiet
@pytest.mark.parametrize("name", NAMES)
def test_vmap_over_every_axis(name: str, samples: Samples) -> None:
    for case in samples(name, torch.float32):
        x, *rest = case.tensors
        if name == "prelu":
            continue  # the layer reads axis 1, which is another one in a batch: test_functorch has it
        for axis in range(x.ndim):
            out = -1 if axis else 0
            if not x.shape[axis]:
                continue
            rows = torch.stack([case.ours(row, *rest) for row in x.unbind(axis)], out)
            torch.testing.assert_close(vmap(case.ours, axis, out)(x), rows, **near(torch.float32))
            gradient = torch.func.grad(lambda row, ours=case.ours: ours(row).sum())
            rows = torch.stack([gradient(row) for row in x.unbind(axis)], out)
            torch.testing.assert_close(vmap(gradient, axis, out)(x), rows, **near(torch.float32))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "prelu"])
def test_in_place_is_the_same(name: str, dtype: torch.dtype, samples: Samples) -> None:
    for case in samples(name, dtype):
        (leaf,), (same,) = case.leaves(), case.leaves()
        assert case.in_place is not None
        z = leaf * 1
        h, expected = case.in_place(z), case.ours(same)
        assert h is z
        assert torch.equal(h, expected)
        dh = torch.rand_like(expected)
        (dz,), (right,) = torch.autograd.grad(h, leaf, dh), torch.autograd.grad(expected, same, dh)
        torch.testing.assert_close(dz, right, rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_fake_tensors_have_the_metadata_of_real_ones(name: str, samples: Samples) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    for strided in (False, True):
        for case in samples(name, torch.bfloat16, strided=strided):
            real = case.leaves()
            h = case.ours(*real)
            dz = torch.autograd.grad(h, real, torch.ones_like(h))
            with FakeTensorMode() as mode:
                fake = tuple(mode.from_tensor(leaf) for leaf in real)
                shadow = case.ours(*fake)
                d_shadow = torch.autograd.grad(shadow, fake, torch.ones_like(shadow))
            for one, other in zip((h, *dz), (shadow, *d_shadow), strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype)
                assert one.stride() == other.stride() or not one.numel()


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_of_the_database(name: str, database: dict[str, Any]) -> None:
    """Every floating dtype that PyTorch takes; integers where they stay integers; complex refused, even in abs."""
    operator, make = CASES[name]
    op = database[operator]
    for dtype in sorted(op.supported_dtypes("cpu"), key=str):
        if dtype.is_complex:
            continue
        case = make(next(iter(op.sample_inputs("cpu", dtype))))
        whole = name in ("relu", "abs", "relu6") and dtype is not torch.bool
        kept = dtype.is_floating_point or whole
        assert case.ours(*case.tensors).dtype is (dtype if kept else torch.float32)
    with pytest.raises(
        RectifierTypeError, match=f"{name}: `x` must hold float16, bfloat16, float32, float64, integers"
    ):
        PUBLIC[name](torch.ones(2, dtype=torch.complex64), **({"negative_slope": 0.25} if name == "prelu" else {}))


def test_error_inputs(database: dict[str, Any]) -> None:
    """Only prelu has any: a slope per channel of an input without that many channels."""
    asked = {name: database[operator].error_inputs_func for name, (operator, _) in CASES.items()}
    assert [name for name, errors in asked.items() if errors] == ["prelu"]
    refused = 0
    for error in asked["prelu"](database["nn.functional.prelu"], "cpu"):
        sample = error.sample_input
        weight = sample.kwargs["weight"]
        if weight.ndim > 1:  # which a layer never has, and the function broadcasts by the usual rule
            continue
        with pytest.raises(RectifierValueError, match="PReLU: `num_parameters` must be 1 or the number of channels"):
            functional_call(rt.PReLU(weight.numel()), {"weight": weight}, (torch.as_tensor(sample.input),))
        refused += 1
    assert refused >= 2
