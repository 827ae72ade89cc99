"""Proofs of death: the bound holds for what is computed, on inputs chosen to break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup.proof import FirstLayer, prove, upper_bound


def layer(weight: Any, bias: Any, low: Any, high: Any, **changes: Any) -> FirstLayer:
    values: dict[str, Any] = {
        "site": "1",
        "layer": "0",
        "rectifier": "relu",
        "weight": np.asarray(weight, dtype=np.float64),
        "bias": np.asarray(bias, dtype=np.float64),
        "low": np.asarray(low, dtype=np.float64),
        "high": np.asarray(high, dtype=np.float64),
        "groups": 1,
        "channels": False,
        "pads": False,
        "normalisation": None,
        "roundoff": 2.0**-24,
        "smallest": 2.0**-126,
        "input_shape": (2,),
    }
    return FirstLayer(**{**values, **changes})


def test_bound_by_hand() -> None:
    one = layer([[1.0, -2.0]], [0.5], [-1.0, -1.0], [3.0, 2.0])
    (bound,) = upper_bound(one)
    assert 3.0 + 2.0 + 0.5 <= bound < 5.5001
    assert upper_bound(one, (np.zeros(2), np.ones(2)))[0] == pytest.approx(1.5, abs=1e-5)


def test_exactly_zero_is_proved_only_where_no_rounding_can_lift_it() -> None:
    # z is at most exactly 0 in real arithmetic; a rounded sum may land above it
    assert prove((layer([[0.1, 0.2]], [-0.3], [0.0, 0.0], [1.0, 1.0]),), None) == {"1": {}}
    assert list(prove((layer([[0.1, 0.2]], [-0.30001], [0.0, 0.0], [1.0, 1.0]),), None)["1"]) == [0]


def test_only_what_is_zero_below_zero_can_die() -> None:
    assert prove((layer([[1.0, 1.0]], [-9.0], [0, 0], [1, 1], rectifier="leaky_relu"),), None) == {}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["linear", "conv", "grouped", "norm"])
def test_bound_is_above_every_corner(kind: str, seed: int) -> None:
    torch.manual_seed(seed)
    first: nn.Module
    if kind == "linear":
        first, shape = nn.Linear(6, 9), (6,)
        model = nn.Sequential(nn.Flatten(), first, nn.ReLU())
    else:
        first = nn.Conv2d(4, 8, 3, padding=1, groups=2 if kind == "grouped" else 1)
        norm: list[nn.Module] = []
        if kind == "norm":
            batch = nn.BatchNorm2d(8)
            batch.running_mean.normal_()
            batch.running_var.uniform_(0.1, 2.0)
            nn.init.normal_(batch.weight)
            nn.init.normal_(batch.bias)
            norm = [batch]
        model, shape = nn.Sequential(first, *norm, nn.ReLU()), (4, 5, 5)
    model.eval()
    record_of = Recorder(model, shape, shift=seed % 2 * 2.0)  # odd seeds: 0 is in the range by padding alone
    bound = record_of.bound()
    with torch.no_grad():
        worst = record_of.worst()
    assert (worst <= bound).all()
    if kind == "linear":  # and the bound is reached, to rounding
        np.testing.assert_allclose(worst, bound, rtol=1e-4, atol=1e-5)


class Recorder:
    """The bound, and the largest z over random corners of the box and the worst corner of each unit."""

    def __init__(self, model: nn.Sequential, shape: tuple[int, ...], *, shift: float) -> None:
        from rectifier.frameworks.torch.observe import Observer

        self.model, self.shape = model, shape
        self.low, self.high = shift - torch.rand(shape), shift + torch.rand(shape)
        self.observer = Observer(model, training_only=False)
        self.observer.attach()
        with torch.no_grad():
            model(torch.rand(2, *shape))
        self.observer.detach()

    def bound(self) -> Any:
        (first,) = self.observer.first_layers()
        return upper_bound(first, (self.low.double().numpy(), self.high.double().numpy()))

    def worst(self) -> Any:
        corners = torch.where(torch.rand(4000, *self.shape) < 0.5, self.low, self.high)
        body = self.model[:-1]
        z = body(corners)
        # the gradient's sign gives the worst corner of each unit (the middle position of a map)
        found = [z.movedim(1, 0).flatten(1).amax(dim=1)]
        for unit in range(z.shape[1]):
            with torch.enable_grad():
                x = torch.zeros(1, *self.shape, requires_grad=True)
                out = body(x)[0, unit]
                (out if out.ndim == 0 else out[2, 2]).backward()
                corner = torch.where(x.grad > 0, self.high, self.low)
            found.append(body(corner).movedim(1, 0).flatten(1).amax(dim=1))
        return torch.stack(found).amax(dim=0).double().numpy()


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


def test_layer_that_is_called_on_something_else_too_is_not_proved() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.l(torch.relu(self.l(x)) * 100))

    torch.manual_seed(0)
    model = Twice()
    with torch.no_grad():
        model.l.weight.fill_(1.0)
        model.l.bias.fill_(-3.0)
    record = rectifier.check(model, [torch.rand(8, 2)])
    assert [(f.kind, f.site) for f in record.of("dead", "silent")] == [("dead", "relu#0"), ("silent", "relu#1")]


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


def test_box_without_a_first_layer_is_refused() -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.check(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), [X], box=(0.0, 1.0))
    assert str(caught.value) == (
        "check: `box` must have a layer that acts on the model's input; got a model where none feeds a rectifier that "
        "could be followed. Leave `box` out."
    )
