"""A check cut short in the middle keeps what was seen; one that never began is a plain slip in the arguments."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import rectifier
from rectifier.checkup import Interrupted, ObservationError
from rectifier.errors import RectifierValueError

cross_entropy: Any = nn.functional.cross_entropy


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def pairs(many: int) -> list[Any]:
    return [(torch.randn(16, 4), torch.zeros(16, dtype=torch.int64)) for _ in range(many)]


def wrong_form() -> tuple[Any, Any, str]:
    told = (
        "batch 2 could not be used: `batches` must yield pairs (inputs, targets) where a loss is given; got Tensor at "
        "batch 2. Yield (inputs, targets), or leave `loss` out."
    )
    return [*pairs(2), torch.randn(16, 4)], cross_entropy, told


def wrong_loss() -> tuple[Any, Any, str]:
    calls: list[int] = []

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> Any:
        calls.append(1)
        return cross_entropy(outputs, targets) if len(calls) <= 2 else 3.0

    told = (
        "batch 2 could not be used: `loss` must return a scalar tensor that depends on the outputs; got float. "
        "Return for instance torch.nn.functional.cross_entropy(outputs, targets)."
    )
    return pairs(4), loss, told


def exits() -> tuple[Any, Any, str]:
    def loader() -> Iterator[Any]:
        yield from pairs(2)
        raise SystemExit(5)

    return loader(), None, "the iterable `batches` ended the process with SystemExit(5) at batch 2"


@pytest.mark.parametrize("case", [wrong_form, wrong_loss, exits])
def test_two_good_batches_are_kept(case: Callable[[], tuple[Any, Any, str]]) -> None:
    batches, loss, told = case()
    with pytest.raises(ObservationError) as caught:
        rectifier.check(net(), batches, loss)
    record = caught.value.record
    assert record.stopped == told
    assert record.last.sites[0].examples >= 32
    assert str(caught.value) == (
        f"check: {told.rstrip('.')}. What was seen before it (2 batches) is kept in `.record`."
    )


def test_ctrl_c_goes_through_with_the_record() -> None:
    def loader() -> Iterator[Any]:
        yield from pairs(1)
        os.kill(os.getpid(), signal.SIGINT)
        yield from pairs(1)

    with pytest.raises(KeyboardInterrupt) as caught:
        rectifier.check(net(), loader())
    assert isinstance(caught.value, Interrupted)
    assert caught.value.record.stopped == "interrupted at batch 1"
    assert caught.value.record.last.sites[0].examples == 16
    assert str(caught.value) == (
        "check: interrupted at batch 1. What was seen before it (1 batch) is kept in `.record`."
    )


def test_a_slip_in_the_first_batch_is_the_plain_error() -> None:
    with pytest.raises(RectifierValueError) as caught:
        rectifier.check(net(), [torch.randn(16, 4)], cross_entropy)
    assert str(caught.value).startswith("check: `batches` must yield pairs")


def test_batches_without_a_row() -> None:
    with pytest.raises(RectifierValueError) as caught:
        rectifier.check(net(), [torch.zeros(0, 4), torch.zeros(0, 4)])
    assert str(caught.value) == (
        "check: `batches` must hold at least one example; got 2 batches of 0 rows. "
        "Look at what fills or filters the data."
    )


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return self.net(a + b)


def test_a_pair_of_inputs_is_told_how_to_be_one() -> None:
    x = torch.randn(16, 4)
    with pytest.raises(ObservationError) as caught:
        rectifier.check(Two(), [(x, x)])
    hint = "(a pair is taken for inputs and targets; for a model that takes both, yield ((a, b), None))"
    assert hint in str(caught.value)
    assert rectifier.check(Two(), [((x, x), None)]).last.sites[0].examples == 16
    with pytest.raises(ObservationError) as caught:
        rectifier.check(Two(), [x])
    assert hint not in str(caught.value)
