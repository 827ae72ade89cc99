"""The table of sites: which module or call is which rectifier, and what is deliberately none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import rectifier
import rectifier.torch as rt
from rectifier.frameworks.torch.sites import FUNCTIONS, identify, identify_call

MODULES: list[tuple[nn.Module, tuple[str, dict[str, Any]] | None]] = [
    (nn.ReLU(), ("relu", {})),
    (rt.ReLU(at_zero=0.5), ("relu", {})),
    (nn.Threshold(0, 0), ("relu", {})),
    (nn.Threshold(0.1, 0), None),
    (nn.ReLU6(), ("relu6", {})),
    (rt.ReLU6(ceiling=4.0), ("relu6", {"ceiling": 4.0})),
    (nn.Hardtanh(0.0, 2.0), ("relu6", {"ceiling": 2.0})),
    (nn.Hardtanh(), None),
    (nn.LeakyReLU(0.2), ("leaky_relu", {"negative_slope": 0.2})),
    (rt.LeakyReLU(0.2), ("leaky_relu", {"negative_slope": 0.2})),
    (nn.RReLU(0.1, 0.3), ("leaky_relu", {"negative_slope": 0.2})),
    (nn.ELU(0.5), ("elu", {"alpha": 0.5})),
    (rt.ELU(), ("elu", {"alpha": 1.0})),
    (nn.CELU(2.0), ("celu", {"alpha": 2.0})),
    (rt.CELU(), ("celu", {"alpha": 1.0})),
    (nn.SELU(), ("selu", {})),
    (rt.SELU(), ("selu", {})),
    (nn.Softplus(2.0), ("softplus", {"beta": 2.0})),
    (rt.Softplus(), ("softplus", {"beta": 1.0})),
    (rt.Abs(), ("abs", {})),
    (rt.SquaredReLU(), ("squared_relu", {})),
    (nn.Sigmoid(), ("sigmoid", {})),
    (nn.Tanh(), ("tanh", {})),
    (nn.GELU(), None),
    (nn.Linear(2, 2), None),
]


@pytest.mark.parametrize(("module", "expected"), MODULES, ids=lambda value: repr(value))
def test_modules(module: nn.Module, expected: Any) -> None:
    assert identify(module) == expected


@pytest.mark.parametrize("layer", [nn.PReLU(3), rt.PReLU(3)])
def test_prelu_hands_over_its_parameter(layer: nn.PReLU) -> None:
    row, parameters = identify(layer) or ("", {})
    assert row == "prelu"
    assert parameters["negative_slope"] is layer.weight


class Calls(TorchFunctionMode):
    """Every call as a watcher gets it."""

    def __init__(self) -> None:
        self.found: list[tuple[str, dict[str, Any]]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        site = identify_call(func, args, kwargs or {})
        if site is not None:
            self.found.append(site)
        return func(*args, **(kwargs or {}))


SLOPE = torch.tensor([0.25])
CALLS: list[tuple[Any, tuple[str, dict[str, Any]] | None]] = [
    (lambda z: F.relu(z), ("relu", {})),
    (lambda z: F.relu(z, inplace=True), ("relu", {})),
    (lambda z: torch.relu(z), ("relu", {})),
    (lambda z: torch.relu_(z), ("relu", {})),
    (lambda z: z.relu(), ("relu", {})),
    (lambda z: z.relu_(), ("relu", {})),
    (lambda z: torch.clamp(z, min=0), ("relu", {})),
    (lambda z: torch.clamp(z, 0.0), ("relu", {})),
    (lambda z: z.clamp(min=0), ("relu", {})),
    (lambda z: z.clamp_(0), ("relu", {})),
    (lambda z: z.clip(0), ("relu", {})),
    (lambda z: z.clamp_min(0), ("relu", {})),
    (lambda z: torch.clamp_min(z, 0.0), ("relu", {})),
    (lambda z: z.clamp(0, 1), None),
    (lambda z: z.clamp(max=0), None),
    (lambda z: z.clamp(min=1e-6), None),
    (lambda z: z.clamp(min=torch.zeros(2)), None),
    (lambda z: F.threshold(z, 0, 0), ("relu", {})),
    (lambda z: F.threshold(z, 1, 0), None),
    (lambda z: F.relu6(z), ("relu6", {})),
    (lambda z: F.hardtanh(z, 0.0, 3.0), ("relu6", {"ceiling": 3.0})),
    (lambda z: F.hardtanh(z), None),
    (lambda z: F.leaky_relu(z), ("leaky_relu", {"negative_slope": 0.01})),
    (lambda z: F.leaky_relu(z, 0.2, True), ("leaky_relu", {"negative_slope": 0.2})),
    (lambda z: F.prelu(z, SLOPE), ("prelu", {"negative_slope": SLOPE})),
    (lambda z: F.elu(z, alpha=2.0), ("elu", {"alpha": 2.0})),
    (lambda z: F.celu(z, 2.0), ("celu", {"alpha": 2.0})),
    (lambda z: torch.celu(z), ("celu", {"alpha": 1.0})),
    (lambda z: F.selu(z), ("selu", {})),
    (lambda z: torch.selu(z), ("selu", {})),
    (lambda z: F.softplus(z, beta=3), ("softplus", {"beta": 3})),
    (lambda z: rt.relu(z, at_zero=1.0), ("relu", {})),
    (lambda z: rt.abs(z), ("abs", {})),
    (lambda z: rt.softplus(z, beta=3.0), ("softplus", {"beta": 3.0})),
    (lambda z: rectifier.leaky_relu(z, negative_slope=0.5), ("leaky_relu", {"negative_slope": 0.5})),
    (lambda z: rt.prelu(z, negative_slope=SLOPE), ("prelu", {"negative_slope": SLOPE})),
    (lambda z: torch.abs(z), None),
    (lambda z: torch.sigmoid(z), None),
    (lambda z: F.gelu(z), None),
    (lambda z: z + 1, None),
]


@pytest.mark.parametrize(("function", "expected"), CALLS)
def test_calls_as_a_mode_sees_them(function: Any, expected: Any) -> None:
    with Calls() as calls:
        function(torch.tensor([-1.0, 2.0]))
    assert calls.found == ([] if expected is None else [expected])


def test_layers_of_either_kind_are_seen_once_inside() -> None:
    for layer in (nn.ReLU(), rt.ReLU(), nn.PReLU(), rt.PReLU(), nn.Softplus(), rt.Softplus(), nn.ReLU6(), rt.ReLU6()):
        with Calls() as calls:
            layer(torch.tensor([-1.0, 2.0]))
        assert [row for row, _ in calls.found] == [(identify(layer) or ("", {}))[0]]


def test_rows_of_the_table_are_rows_of_the_family() -> None:
    assert set(FUNCTIONS.values()) <= set(rectifier.family)
    assert identify_call([], (), {}) is None  # unhashable
