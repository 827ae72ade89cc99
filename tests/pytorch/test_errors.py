"""Every refusal of functions and layers, word by word."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import rectifier
import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError

X = torch.tensor([-1.0, 2.0])

VALUES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rt.leaky_relu(X, negative_slope=math.nan),
        "leaky_relu: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
    ),
    (
        lambda: rectifier.leaky_relu(X, negative_slope=math.inf),
        "leaky_relu: `negative_slope` must be finite; got inf. Pass a number such as 0.01.",
    ),
    (
        lambda: rt.leaky_relu(X, negative_slope=1e300),
        "leaky_relu: `negative_slope` must be finite in float32; got 1e+300. Pass a number such as 0.01.",
    ),
    (
        lambda: rt.leaky_relu(X, negative_slope=torch.tensor([0.5, math.nan])),
        "leaky_relu: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
    ),
    (
        lambda: rt.leaky_relu(X, negative_slope=torch.ones(3)),
        "leaky_relu: `negative_slope` must broadcast with x of shape (2,); got shape (3,). "
        "Give it one value for each entry of the last axis, or reshape it with torch.unsqueeze.",
    ),
    (
        lambda: rt.leaky_relu(X.clone(), negative_slope=torch.ones(3, 2), inplace=True),
        "leaky_relu: `negative_slope` must not enlarge an x that is changed in place; x has shape (2,), "
        "got shape (3, 2). Pass inplace=False.",
    ),
    (
        lambda: rt.elu(X, alpha=0),
        "elu: `alpha` must be finite and greater than 0; got 0. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.celu(X, alpha=-1.0),
        "celu: `alpha` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.softplus(X, beta=math.inf),
        "softplus: `beta` must be finite and greater than 0; got inf. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.relu6(X, ceiling=-6.0),
        "relu6: `ceiling` must be finite and greater than 0; got -6.0. Pass a number such as 6.0.",
    ),
    (lambda: rt.relu(X, at_zero=1.5), "relu: `at_zero` must lie in [0, 1]; got 1.5. Pass a number such as 0.5."),
    (lambda: rt.ReLU(at_zero=-1), "ReLU: `at_zero` must lie in [0, 1]; got -1. Pass a number such as 0.5."),
    (
        lambda: rt.LeakyReLU(math.nan),
        "LeakyReLU: `negative_slope` must be finite; got nan. Pass a number such as 0.01.",
    ),
    (
        lambda: rt.ReLU6(ceiling=0.0),
        "ReLU6: `ceiling` must be finite and greater than 0; got 0.0. Pass a number such as 6.0.",
    ),
    (lambda: rt.ELU(0.0), "ELU: `alpha` must be finite and greater than 0; got 0.0. Pass a number such as 1.0."),
    (lambda: rt.CELU(0.0), "CELU: `alpha` must be finite and greater than 0; got 0.0. Pass a number such as 1.0."),
    (
        lambda: rt.Softplus(-1.0),
        "Softplus: `beta` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.Softplus(threshold=10),
        "Softplus: `threshold` must be left at 20; got 10. This softplus is exact everywhere and never switches to the "
        "identity, so a threshold would do nothing.",
    ),
    (
        lambda: rt.PReLU(3)(torch.ones(4, 2)),
        "PReLU: `num_parameters` must be 1 or the number of channels (axis 1) of the input; got 3 for an input of "
        "shape (4, 2). Make the layer with the channels of its input.",
    ),
]

TYPES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rt.relu([1.0]),  # type: ignore[arg-type]
        "relu: `x` must be a torch.Tensor; got list. Pass torch.as_tensor(x), or call rectifier.relu on a NumPy array.",
    ),
    (
        lambda: rectifier.elu(torch.tensor([1j])),
        "elu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got torch.complex64. "
        "Apply it to x.real and x.imag, or to torch.abs(x).",
    ),
    (
        lambda: rt.relu(torch.ones(2).to(torch.float8_e4m3fn)),
        "relu: `x` must hold float16, bfloat16, float32, float64, integers or bool; got torch.float8_e4m3fn. "
        "Convert it with x.float().",
    ),
    (
        lambda: rt.elu(torch.tensor([1, 2]), inplace=True),
        "elu: `x` must be floating to be changed in place; got torch.int64. "
        "Convert it with x.float(), or pass inplace=False.",
    ),
    (
        lambda: rt.elu(X, alpha="1"),  # type: ignore[arg-type]
        "elu: `alpha` must be a number or an array of numbers; got '1'. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.elu(X, alpha=True),
        "elu: `alpha` must be a number or an array of numbers; got True. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.elu(X, alpha=torch.tensor(True)),
        "elu: `alpha` must be a number or a tensor of numbers; got a tensor of torch.bool. Pass a number such as 1.0.",
    ),
    (
        lambda: rt.elu(X, alpha=torch.tensor(1.0, requires_grad=True)),
        "elu: `alpha` must be fixed; got a tensor that requires a gradient. "
        "Pass alpha.detach(); only `negative_slope` can be learned.",
    ),
    (
        lambda: rectifier.prelu(X),
        "prelu: `negative_slope` must be given; got none. Pass a number such as 0.01, or an array of them.",
    ),
    (
        lambda: rectifier.relu(X, slope=0.1),
        "relu: `slope` is not a parameter of it; got slope=0.1. It has no parameters.",
    ),
    (
        lambda: rectifier.relu(X, out=np.empty(2)),
        "relu: `out` and `where` must be left out for a Tensor; they are NumPy's. Assign the result instead.",
    ),
]


@pytest.mark.parametrize(("call", "message"), VALUES, ids=[message[:50] for _, message in VALUES])
def test_refused_values(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierValueError) as refused:
        call()
    assert refused.value.args == (message,)


@pytest.mark.parametrize(("call", "message"), TYPES, ids=[message[:50] for _, message in TYPES])
def test_refused_types(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierTypeError) as refused:
        call()
    assert refused.value.args == (message,)


def test_learned_slope_that_diverged_shows_as_nan() -> None:
    layer = rt.PReLU()
    with torch.no_grad():
        layer.weight.fill_(math.nan)
    assert layer(X)[0].isnan()
    with torch.no_grad():
        assert layer(X)[0].isnan()
    assert layer.requires_grad_(False)(X)[0].isnan()
