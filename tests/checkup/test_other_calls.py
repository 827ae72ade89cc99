"""No proof from a trace that is not what ran: other arguments, shapes, number formats, hooks, and random paths."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import accept


class Shut(nn.Module):
    """relu(b(relu(a(x)))) with z = h − 2 in b, which inputs in [0, 1] cannot open unless something else happens."""

    def __init__(self, change: Any = None) -> None:
        super().__init__()
        self.a, self.b, self.act, self.change = nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU(), change
        with torch.no_grad():
            for layer, bias in ((self.a, 0.0), (self.b, -2.0)):
                layer.weight.fill_(1.0)
                layer.bias.fill_(bias)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        h = torch.relu(self.a(x)) * scale
        return self.act(self.b(h if self.change is None else self.change(h)))


def dead(model: nn.Module, batches: Any, box: Any = (0.0, 1.0)) -> list[tuple[str, tuple[int, ...]]]:
    record = rectifier.check(model, batches, box=box)
    return [(finding.site, finding.units) for finding in record.of("dead")]


def test_other_arguments_prove_nothing() -> None:
    x = torch.rand(8, 1) * 0.01
    assert dead(Shut(), [x]) == [("act", (0,))]
    assert dead(Shut(), [{"x": x, "scale": 1.0}]) == [("act", (0,))]
    assert dead(Shut(), [{"x": x, "scale": 10.0}]) == []


def test_a_path_taken_at_random_proves_nothing() -> None:
    random.seed(0)
    assert dead(Shut(lambda h: h * 300 if random.random() < 1e-9 else h), [torch.rand(8, 1) * 0.01]) == []


def test_a_hook_on_all_modules_proves_nothing() -> None:
    model = Shut()

    def larger(module: nn.Module, args: Any) -> Any:
        return (args[0] * 10,) if module is model.b else None

    handle = nn.modules.module.register_module_forward_pre_hook(larger)
    try:
        assert dead(model, [torch.rand(8, 1) * 0.001]) == []
    finally:
        handle.remove()


def test_whole_numbers_may_wrap_around() -> None:
    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(1, 1), nn.ReLU()
            with torch.no_grad():
                self.layer.weight.fill_(-1.0)
                self.layer.bias.fill_(100.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.layer((x + 200).float()))

    model, seen = Bytes(), torch.arange(8, dtype=torch.uint8).reshape(8, 1)
    assert model(torch.tensor([[60]], dtype=torch.uint8)).item() > 0
    with pytest.raises(rectifier.errors.RectifierValueError, match="that could be followed"):
        dead(model, [seen], (0.0, 255.0))


@pytest.mark.parametrize("order", [1, -1])
def test_a_proof_for_one_size_is_none_for_another(order: int) -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(-3.0)  # one pixel of at most 1 does not open it, a window of nine does
    batches = [torch.rand(4, 1, 1, 1), torch.rand(4, 1, 8, 8) * 0.01]
    assert dead(nn.Sequential(layer, nn.ReLU()), batches[::order]) == []


def test_pooling_without_a_batch_axis_is_not_followed() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(2, 2), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.layer(nn.functional.max_pool2d(x, 2)))

    model = Pooled()
    with torch.no_grad():
        model.layer.bias.fill_(-60.0)
    assert dead(model, [torch.rand(4, 4, 4)]) == []


def test_moments_of_the_batch_are_a_condition() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False), nn.ReLU())
    with torch.no_grad():
        model[1].bias.fill_(-5.0)
    (finding,) = rectifier.check(model, [torch.randn(8, 3)]).of("dead")
    assert "in batches of at most 8 examples" in (finding.proof or "")


def _forged(change: Any) -> tuple[str, dict[str, Any]]:
    model = Shut()
    certificate = rectifier.check(model, [torch.rand(8, 1)], box=(0.0, 1.0)).certificate
    assert certificate is not None
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    assert accept(certificate.document, weights) == {"act": (0,)}
    read = json.loads(certificate.document)
    change(read)
    return json.dumps(read), weights


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda read: read["networks"][0]["steps"][1].update(op="input"), "which is the first step alone"),
        (lambda read: read["networks"][0]["arithmetic"].update(roundoff=1e-30), "its arithmetic is finer"),
        (lambda read: read["networks"][0]["arithmetic"].update(smallest=1e-300), "its arithmetic is finer"),
        (lambda read: read["networks"][0]["arithmetic"].update(largest=1e300), "its arithmetic is finer"),
    ],
)
def test_forged(change: Any, reason: str) -> None:
    document, weights = _forged(change)
    with pytest.raises(rectifier.errors.RectifierValueError, match=reason):
        accept(document, weights)


def test_a_unit_that_passes_infinities_on_is_not_dormant() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].weight[0] = float("inf")
    assert not rectifier.check(model, [torch.rand(20, 2) + 0.1]).of("dormant")
