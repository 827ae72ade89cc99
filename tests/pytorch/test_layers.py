"""Layers: drop-in for ``torch.nn``: arguments, defaults, repr, state; in place; training gives the same numbers."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import rectifier.torch as rt

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ReLU", (), {}),
    ("ReLU", (True,), {}),
    ("LeakyReLU", (), {}),
    ("LeakyReLU", (0.2, True), {}),
    ("LeakyReLU", (), {"negative_slope": 0.3}),
    ("PReLU", (), {}),
    ("PReLU", (3, 0.1), {}),
    ("PReLU", (), {"num_parameters": 3, "dtype": torch.float64}),
    ("ReLU6", (), {"inplace": True}),
    ("ELU", (), {}),
    ("ELU", (0.5, True), {}),
    ("CELU", (2.0,), {}),
    ("SELU", (True,), {}),
    ("Softplus", (), {}),
    ("Softplus", (2.0, 20), {}),
]
INPLACE = ["ReLU", "LeakyReLU", "Abs", "ReLU6", "SquaredReLU", "ELU", "CELU", "SELU"]


@pytest.mark.parametrize(("name", "args", "kwargs"), CASES)
def test_takes_the_place_of_pytorchs(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    ours, theirs = getattr(rt, name)(*args, **kwargs), getattr(nn, name)(*args, **kwargs)
    assert isinstance(ours, getattr(nn, name))
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).to(kwargs.get("dtype", torch.float32))
    torch.testing.assert_close(ours(x.clone()), theirs(x.clone()), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "PReLU", "ReLU6", "ELU", "CELU", "SELU", "Softplus"])
def test_arguments_and_defaults_are_pytorchs(name: str) -> None:
    def positional(layer: type[nn.Module]) -> list[tuple[str, Any]]:
        parameters = inspect.signature(layer).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    assert positional(getattr(rt, name)) == positional(getattr(nn, name))


def test_own_arguments_show_in_the_repr() -> None:
    assert repr(rt.ReLU(True, at_zero=0.5)) == "ReLU(at_zero=0.5, inplace=True)"
    assert repr(rt.ReLU6(ceiling=4)) == "ReLU6(ceiling=4.0)"
    assert repr(rt.Abs()) == "Abs()"
    assert repr(rt.SquaredReLU(inplace=True)) == "SquaredReLU(inplace=True)"


def test_prelu_places_its_channels_on_axis_1() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = rt.PReLU(3), nn.PReLU(3)
    with torch.no_grad():
        ours.weight.copy_(torch.tensor([0.1, -0.5, 2.0]))
    theirs.load_state_dict(ours.state_dict())
    for shape in ((7, 3), (7, 3, 5), (2, 3, 4, 4)):
        x = torch.randn(shape, generator=generator)
        assert torch.equal(ours(x), theirs(x))
    one = rt.PReLU()
    assert one(torch.tensor(-2.0)).shape == ()
    assert one(torch.randn(5, generator=generator)).shape == (5,)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "PReLU", "Abs", "ReLU6", "SquaredReLU", "ELU", "Softplus"])
def test_copies_and_pickles(name: str) -> None:
    layer = getattr(rt, name)()
    x = torch.linspace(-3, 7, 11)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is type(layer)
        assert torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("name", INPLACE)
def test_inplace_is_really_in_place(name: str) -> None:
    layer, plain = getattr(rt, name)(inplace=True), getattr(rt, name)()
    x = torch.linspace(-3, 7, 11)
    expected, version, memory = plain(x), x._version, x.data_ptr()
    h = layer(x)
    assert h is x
    assert x.data_ptr() == memory
    assert x._version == version + 1
    assert torch.equal(x, expected)


@pytest.mark.parametrize("name", INPLACE)
def test_gradient_through_inplace(name: str) -> None:
    layer, plain = getattr(rt, name)(inplace=True), getattr(rt, name)()
    leaf = torch.linspace(-3, 7, 12).reshape(3, 4).requires_grad_()
    z = leaf * 1.0
    h = layer(z)
    assert h is z
    (dz,) = torch.autograd.grad(h.square().sum(), leaf)
    (expected,) = torch.autograd.grad(plain(leaf).square().sum(), leaf)
    assert torch.equal(dz, expected)
    # A part of a tensor, in place: the rest keeps its gradient.
    z = leaf * 1.0
    layer(z[1:])
    (dz,) = torch.autograd.grad(z.square().sum(), leaf)
    assert torch.equal(dz[1:], expected[1:])
    assert torch.equal(dz[0], 2 * leaf.detach()[0])


def test_leaky_relu_inplace_takes_slopes_that_its_output_does_not_tell() -> None:
    leaf = torch.linspace(-3, 7, 11, requires_grad=True)
    for slope in (0.0, -1.0, 0.5):
        (dz,) = torch.autograd.grad(rt.LeakyReLU(slope, inplace=True)(leaf * 1.0).sum(), leaf)
        assert torch.equal(dz, torch.where(leaf > 0, 1.0, slope))


def test_inplace_is_refused_where_pytorch_refuses_it_and_nothing_is_written() -> None:
    leaf = torch.tensor([-1.0, 2.0], requires_grad=True)
    for x in (leaf, leaf.view(2, 1)):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            rt.relu(x, inplace=True)
    assert leaf.tolist() == [-1.0, 2.0]
    with pytest.raises(RuntimeError, match="single memory location"):
        rt.relu(torch.tensor([-1.0]).expand(3), inplace=True)


def test_inplace_is_refused_on_an_inference_tensor_as_pytorch_does() -> None:
    with torch.inference_mode():
        x = torch.tensor([-1.0, 2.0])
        assert rt.elu(x.clone(), inplace=True)[1] == 2
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode"):
        rt.relu(x, inplace=True)


def test_inplace_change_of_a_kept_tensor_is_noticed() -> None:
    z = torch.tensor([-1.0, 2.0], requires_grad=True) * 1.0
    square = z.square()
    rt.relu(z, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        square.sum().backward()


def losses(relu: Callable[[], nn.Module], optimizer: type[torch.optim.Optimizer]) -> list[float]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), relu(), nn.Flatten(), nn.Linear(144, 32), relu(), nn.Linear(32, 5)
    )
    x, y = torch.randn(64, 1, 8, 8), torch.randint(5, (64,))
    step = optimizer(model.parameters(), lr=0.05)  # type: ignore[call-arg]
    seen = []
    for _ in range(25):
        step.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        step.step()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (rt.ReLU, nn.ReLU),
        (lambda: rt.ReLU(inplace=True), lambda: nn.ReLU(inplace=True)),
        (rt.LeakyReLU, nn.LeakyReLU),
        (rt.PReLU, nn.PReLU),
        (rt.ReLU6, nn.ReLU6),
    ],
    ids=["ReLU", "ReLU in place", "LeakyReLU", "PReLU", "ReLU6"],
)
def test_training_gives_the_same_losses_bit_for_bit(ours: Any, theirs: Any, optimizer: Any) -> None:
    expected = losses(theirs, optimizer)
    assert expected[-1] < expected[0]
    assert losses(ours, optimizer) == expected
