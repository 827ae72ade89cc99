"""Proofs of death: the bound holds for what is computed, on inputs chosen to break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup.proofs.network import Array, Network, Site, Step
from rectifier.checkup.proofs.proof import prove, upper_bound
from rectifier.errors import RectifierValueError


def linear(weight: Any, bias: Any, low: Any, high: Any, rectifier: str = "relu") -> Network:
    """One linear layer over a box, in float32."""
    arrays = {"weight": Array("0.weight", np.asarray(weight)), "bias": Array("0.bias", np.asarray(bias))}
    features = len(low)
    return Network(
        steps=(Step("input", (), (features,)), Step("linear", (0,), (len(weight),), {}, arrays, "0")),
        sites=(Site("1", rectifier, 1, 0),),
        roundoff=2.0**-24,
        smallest=2.0**-126,
        largest=3.4e38,
        input_shape=(features,),
        observed=(np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)),
    )


def test_bound_by_hand() -> None:
    one = linear([[1.0, -2.0]], [0.5], [-1.0, -1.0], [3.0, 2.0])
    low, high = upper_bound(one)["1"]
    assert 3.0 + 2.0 + 0.5 <= high[0] < 5.5001 and -1.0 - 4.0 + 0.5 >= low[0] > -4.5001
    assert upper_bound(one, (np.zeros(2), np.ones(2)))["1"][1] == pytest.approx(1.5, abs=1e-5)


def test_exactly_zero_is_proved_only_where_no_rounding_can_lift_it() -> None:
    # z is at most exactly 0 in real arithmetic; a rounded sum may land above it
    assert prove((linear([[0.1, 0.2]], [-0.3], [0.0, 0.0], [1.0, 1.0]),), None).bounds == {}
    assert list(prove((linear([[0.1, 0.2]], [-0.30001], [0.0, 0.0], [1.0, 1.0]),), None).bounds["1"]) == [0]
    # weights of exactly 0 leave nothing to round
    assert prove((linear([[0.0, 0.0]], [-0.0], [0.0, 0.0], [1.0, 1.0]),), None).bounds == {"1": {0: 0.0}}


def test_only_what_is_zero_below_zero_can_die() -> None:
    assert prove((linear([[1.0, 1.0]], [-9.0], [0, 0], [1, 1], rectifier="leaky_relu"),), None).bounds == {}


def net(bias: float) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    with torch.no_grad():
        model[1].weight.fill_(1.0)
        model[1].bias.copy_(torch.tensor([bias, 1.0]))
    return model


def test_box_decides_and_is_printed() -> None:
    x = torch.rand(8, 2, 2)
    observed = rectifier.check(net(-4.5), [x])
    assert observed.of("dead")[0].units == (0,)
    assert observed.box is not None and observed.box.startswith("each input feature within the range observed for it")
    wide = rectifier.check(net(-4.5), [x], box=(0.0, 2.0))
    assert wide.of("dead") == () and wide.of("silent")[0].units == (0,)
    given = rectifier.check(net(-4.5), [x], box=(0.0, 1.0))
    assert given.box == "every input within [0, 1], as given"
    assert given.box in str(given.of("dead")[0].proof)
    low = np.zeros((2, 2))
    assert rectifier.check(net(-4.5), [x], box=(low, low + 1)).of("dead")[0].units == (0,)


def test_padding_puts_zero_into_the_range() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
        model[0].bias.fill_(5.0)
    x = torch.full((1, 1, 3, 3), 1.0)  # inside: 5 − 9 < 0, at the corners 5 − 4 > 0
    record = rectifier.check(model, [x])
    assert record.of("dead", "silent") == ()
    model[0].padding = (0, 0)
    assert rectifier.check(model, [x]).of("dead")[0].units == (0,)


@pytest.mark.parametrize("traceable", [True, False])
def test_each_call_of_a_layer_is_bounded_by_what_it_was_called_on(traceable: bool) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not traceable and x.sum() > 1e9:
                raise ValueError
            return torch.relu(self.l(torch.relu(self.l(x)) * 100))

    torch.manual_seed(0)
    model = Twice()
    with torch.no_grad():
        model.l.weight.fill_(1.0)
        model.l.bias.fill_(-3.0)
    record = rectifier.check(model, [torch.rand(8, 2)])
    assert [(f.kind, f.site) for f in record.of("dead", "silent")] == [
        ("dead", "relu#0"),
        ("dead" if traceable else "silent", "relu#1"),
    ]
    assert ("are not bounded: TraceError" in str(record.box)) is not traceable


def test_what_is_wrong_with_a_box_is_told_after_one_batch() -> None:
    seen = []

    def batches() -> Any:
        for number in range(3):
            seen.append(number)
            yield X[:0] if number == 0 else X  # of no row nothing can be told

    with pytest.raises(RectifierValueError, match="must broadcast to one example"):
        rectifier.check(NET, batches(), box=(torch.zeros(3), torch.ones(3)))
    assert seen == [0, 1]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in NET.modules())
    seen.clear()
    assert rectifier.check(NET, batches(), box=(0.0, 1.0)).last.sites[0].examples == 2 * len(X)


def test_a_box_that_a_later_batch_makes_useless_is_told() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.turned = nn.Linear(4, 3), False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            return torch.relu(self.a(x + 1 if self.turned and float(x.sum()) > 0 else x))  # not to be traced

    def batches(model: Turns) -> Any:
        yield X
        model.turned = True
        yield X

    model = Turns()
    record = rectifier.check(model, batches(model), box=(0.0, 1.0))
    assert record.last.sites[0].inputs == 2 * len(X)
    assert record.not_observed == (
        "the box: no layer acted on the model's input in every batch, so that nothing could be proved for it",
    )


def test_a_box_where_nothing_is_bounded_is_refused() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.l(torch.relu(x - 1 if x.sum() > 0 else x))

    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.check(Turns(), [X], box=(0.0, 1.0))
    assert str(caught.value) == (
        "check: `box` must have a layer that acts on the model's input; got a model where none feeds a rectifier that "
        "could be followed. Leave `box` out."
    )


def test_zero_rows_are_dead_at_any_depth() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU())
    with torch.no_grad():
        model[2].weight[1] = 0.0
        model[2].bias[1] = -0.0
    record = rectifier.check(model, [torch.randn(500, 3)])
    (finding,) = (f for f in record.of("dead") if f.site == "3")
    assert finding.units == (1,)
    assert finding.proof == (
        "all incoming weights are exactly 0 and what is added is not positive, so z ≤ 0 for every finite input"
    )


NET, X = net(-9.0), torch.rand(8, 2, 2)
CURE = "Pass numbers such as box=(0.0, 1.0), or two arrays of the shape of one example."


@pytest.mark.parametrize(
    ("box", "text"),
    [
        (3.0, f"check: `box` must be a pair (low, high); got float. {CURE}"),
        (("a", 1.0), f"check: `box` must hold numbers or arrays; got (str, float). {CURE}"),
        ((0.0, float("nan")), f"check: `box` must be finite; got an end that is not. {CURE}"),
        ((1.0, 0.0), f"check: `box` must have low ≤ high; got low > high. {CURE}"),
        (
            (np.zeros(3), np.zeros(4)),
            f"check: `box` must have ends of one shape; got (3,) and (4,). {CURE}",
        ),
        (
            (np.zeros(3), np.ones(3)),
            f"check: `box` must broadcast to one example of shape (2, 2); got arrays of shape (3,). {CURE}",
        ),
    ],
)
def test_box_errors(box: Any, text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        rectifier.check(NET, [X], box=box)
    assert str(caught.value) == text
