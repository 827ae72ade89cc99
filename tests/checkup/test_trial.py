"""``trial``: the same state and batches for each remedy, paired differences, and not a bit of the model changed."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import rectifier
from rectifier.checkup import Arm, Record, Trial

loss = nn.functional.mse_loss


def net(seed: int = 0) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """Half of the units of the first layer are dead, and the optimizer has a memory."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for inputs, targets in batches()[:3]:
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
    with torch.no_grad():
        model[1].bias[:8] = -9.0
    return model, optimizer


def batches(count: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16 * count, 4, generator=generator)
    return list(zip(x.split(16), x.sin().sum(dim=1, keepdim=True).split(16), strict=True))


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    return copy.deepcopy(
        (
            model.state_dict(),
            optimizer.state_dict(),
            [module.training for module in model.modules()],
            [parameter.grad for parameter in model.parameters()],
            torch.get_rng_state(),
            random.getstate(),
            np.random.get_state(),
        )
    )


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (torch.Tensor, np.ndarray)):
        return bool(np.array_equal(np.asarray(a), np.asarray(b)))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def test_every_remedy_is_tried_and_nothing_is_changed() -> None:
    model, optimizer = net()
    data = DataLoader(TensorDataset(*map(torch.cat, zip(*batches(), strict=True))), batch_size=16, shuffle=True)
    model[3].eval()
    before = states(model, optimizer)
    identities = [id(parameter) for parameter in model.parameters()]
    remedies = ("nothing", "recycle", "leaky_relu", "prelu", "rescale", "clip gradients")
    tried = rectifier.trial(model, data, loss, optimizer, remedies=remedies, steps=15, repeats=2)
    assert same(before, states(model, optimizer))
    assert identities == [id(parameter) for parameter in model.parameters()]
    assert [(arm.remedy, arm.step) for arm in tried.arms] == [(r, s) for s in (1.0, 0.1) for r in remedies]
    assert tried.silent_before == (8, 8) and tried.units == 16 and tried.seeds == (0, 1)
    recycled = tried.of("recycle")
    assert recycled.output_change == 0.0 and recycled.silent == (0, 0)
    assert tried.of("nothing").silent == (8, 8) and tried.of("leaky_relu").silent == (0, 0)
    assert tried.of("rescale").note.startswith("refused: heal: `model` must have a layer whose scale can be repaired")
    assert tried.of("rescale").scores == () and math.isnan(tried.of("rescale").mean)
    assert tried.best.mean == min(arm.mean for arm in tried.arms if arm.scores)


def test_the_same_seed_gives_the_same_bits_and_the_arithmetic_is_right() -> None:
    model, optimizer = net()
    first, second = (
        rectifier.trial(model, batches(), loss, optimizer, remedies=["recycle"], steps=10, repeats=3, smaller=0.5)
        for _ in range(2)
    )
    assert first == second
    nothing, recycle, small = first.of("nothing"), first.of("recycle"), first.of("nothing", 0.5)
    differences = np.array(nothing.scores) - np.array(recycle.scores)  # lower is better
    assert recycle.gain == pytest.approx(differences.mean())
    assert recycle.gain_error == pytest.approx(differences.std(ddof=1) / math.sqrt(3))
    assert recycle.sure == (abs(recycle.gain) > 4.303 * recycle.gain_error)
    assert small.gain == pytest.approx(np.mean(np.array(nothing.scores) - np.array(small.scores)))
    assert (nothing.gain, nothing.gain_error, nothing.sure) == (0.0, 0.0, False)
    assert nothing.mean == pytest.approx(np.mean(nothing.scores))
    assert len(set(nothing.scores)) == 3  # other orders and other masks


def test_an_arm_is_what_training_by_hand_gives() -> None:
    """Without dropout the order of the batches is all that is random."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    data = batches(5)
    tried = rectifier.trial(model, data, loss, optimizer, remedies=[], steps=7, repeats=1, smaller=0.2, seed=4)
    generator = torch.Generator().manual_seed(4)
    order = [place for _ in range(2) for place in torch.randperm(5, generator=generator).tolist()][:7]
    for factor in (1.0, 0.2):
        hand = copy.deepcopy(model)
        sgd = torch.optim.SGD(hand.parameters(), lr=0.05 * factor, momentum=0.9)
        for place in order:
            sgd.zero_grad()
            loss(hand(data[place][0]), data[place][1]).backward()
            sgd.step()
        with torch.no_grad():
            want = np.mean([loss(hand(x), y).item() for x, y in data])
        assert tried.of("nothing", factor).scores[0] == pytest.approx(want, rel=1e-6)
    assert optimizer.param_groups[0]["lr"] == 0.05 and not tried.of("nothing", 0.2).sure


def test_a_function_makes_the_models_and_the_user_a_remedy() -> None:
    seen: list[tuple[int, int]] = []

    def fresh(model: nn.Module, optimizer: torch.optim.Optimizer, record: Record) -> torch.optim.Optimizer:
        seen.append((len(record.of("dead", "silent")), len(optimizer.state)))
        return torch.optim.SGD(model.parameters(), lr=0.0)

    def minus(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -loss(outputs, targets)

    tried = rectifier.trial(
        net,
        batches(),
        loss,
        remedies=[("fresh", fresh)],
        steps=4,
        repeats=2,
        smaller=None,
        test=batches(3),
        score=minus,
    )
    assert tried.measure == "minus on the test batches" and tried.higher
    assert len(seen) == 2 and all(found > 0 and kept for found, kept in seen)
    assert tried.of("fresh").scores[1] != tried.of("fresh").scores[0]


def test_an_optimizer_of_the_users_and_one_with_a_closure() -> None:
    class Mine(torch.optim.SGD):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, lr=0.01, momentum=0.9)
            self.mine = 3

        def step(self, closure: Any = None) -> Any:
            assert self.mine == 3  # PyTorch's own way to copy an optimizer would have lost it
            return super().step(closure)

    model, _ = net()
    for optimizer in (Mine(model.parameters()), torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)):
        before = states(model, optimizer)
        tried = rectifier.trial(model, batches(), loss, optimizer, remedies=["recycle"], steps=3, repeats=1)
        assert same(before, states(model, optimizer))
        assert math.isfinite(tried.of("nothing").mean)
    assert tried.of("recycle").note.startswith(
        "refused: heal: `optimizer` must keep a state of each parameter; got LBF"
    )


class Boom(Exception):
    pass


def test_what_raises_comes_through_and_leaves_no_trace() -> None:
    model, optimizer = net()
    before = states(model, optimizer)
    calls = [0]

    def failing(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if calls[0] > 8:
            raise Boom
        return loss(outputs, targets)

    with pytest.raises(Boom):
        rectifier.trial(model, batches(), failing, optimizer, steps=5, repeats=2)
    assert same(before, states(model, optimizer))


def test_a_healthy_model_has_nothing_to_recycle() -> None:
    model, optimizer = net()
    with torch.no_grad():
        model[1].bias.fill_(0.0)
    tried = rectifier.trial(model, batches(), loss, optimizer, remedies=["recycle", "elu"], steps=3, repeats=1)
    assert tried.of("recycle").note == "nothing to do" == tried.of("elu").note
    assert tried.of("recycle").scores == tried.of("nothing").scores


def arm(remedy: str, step: float, scores: tuple[float, ...], gain: float, error: float, note: str = "") -> Arm:
    return Arm(remedy, step, scores, tuple(3 for _ in scores), None, gain, error, note)


def test_the_table() -> None:
    arms = (
        arm("nothing", 1.0, (0.5, 0.7, 0.6), 0.0, 0.0),
        arm("recycle", 1.0, (0.2, 0.4, 0.3), 0.3, 0.001),
        arm("rescale", 1.0, (), math.nan, math.inf, "refused: no layer"),
        arm("nothing", 0.1, (math.nan, 0.4, 0.3), math.nan, math.nan),
    )
    text = str(Trial(arms, "loss on the training batches", False, 20, (0, 1, 2), 16, (8, 7, 8)))
    assert text == (
        "loss on the training batches after 20 steps, 3 repeats (lower is better); 7–8 of 16 units silent before\n"
        "\n"
        "remedy              step   mean ± spread       better than nothing by     silent\n"
        "nothing             × 1    0.6 ± 0.1                                      3\n"
        "recycle             × 1    0.3 ± 0.1           +0.3 ± 0.001            *  3\n"
        "rescale             × 1    –                   –                          –\n"
        "smaller step alone  × 0.1  diverged in 1 of 3  –                          3\n"
        "\n"
        "Spread: standard deviation over the repeats. Better by: repeat by repeat, at the same step size (the smaller "
        "step alone: than nothing at × 1), with its standard error.\n"
        "* larger than noise: outside the 95 % interval of Student's t over the repeats.\n"
        "rescale: refused: no layer"
    )
    few = str(Trial(arms[:1], "loss on the training batches", False, 20, (0, 1, 2), 16, (8, 7, 8)))
    assert few.endswith("No difference is larger than noise (the 95 % interval of Student's t over the repeats).")


def tried(**options: Any) -> Any:
    model, optimizer = net()
    given = {"model": model, "data": batches(2), "loss": loss, "optimizer": optimizer, "steps": 2, "repeats": 1}
    return rectifier.trial(**{**given, **options})


NAMES = "relu, leaky_relu, prelu, abs, relu6, squared_relu, elu, celu, selu, softplus"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"data": iter(batches(2))},
            "`data` must start anew each time it is iterated; got a list_iterator, which is used up after one time. "
            "Pass a list of batches or a DataLoader.",
        ),
        (
            {"test": (batch for batch in batches(2))},
            "`test` must start anew each time it is iterated; got a generator, which is used up after one time. "
            "Pass a list of batches or a DataLoader.",
        ),
        (
            {"data": []},
            "`data` must yield batches (inputs, targets); got none from it. Pass a list of batches or a DataLoader "
            "that is not empty.",
        ),
        (
            {"data": 3},
            "`data` must be an iterable of batches (inputs, targets); got int. Pass a list of batches or a DataLoader.",
        ),
        (
            {"data": [torch.zeros(2, 4)]},
            "`data` must yield pairs (inputs, targets); got Tensor. Wrap them, such as ((a, b), targets).",
        ),
        (
            {"optimizer": None},
            "`model` must come with the torch.optim.Optimizer that trains it; got None. Pass it as `optimizer`, or "
            "pass a function of a seed that returns (model, optimizer).",
        ),
        (
            {"optimizer": torch.optim.SGD(nn.Linear(1, 1).parameters())},
            "`optimizer` must step parameters of the model; got SGD with none of them. Make it from "
            "model.parameters().",
        ),
        (
            {"model": net},
            "`optimizer` must be left out where a function makes the model; got Adam. Let the function return "
            "(model, optimizer).",
        ),
        (
            {"model": lambda seed: net()[0], "optimizer": None},
            "`model` must return a pair where it is a function; got Sequential. Return (model, optimizer).",
        ),
        (
            {"model": lambda seed: (3, 4), "optimizer": None},
            "the function `model` must give a torch.nn.Module; got int. Return (model, optimizer).",
        ),
        (
            {"model": 3},
            "`model` must be a PyTorch model (torch.nn.Module); got int. Pass the model itself, not its weights or "
            "its class.",
        ),
        (
            {"remedies": ["pray"]},
            f"`remedies` must be among nothing, recycle, rescale, clip gradients, {NAMES}, or pairs (name, function); "
            "got 'pray'. A smaller step is tried with every remedy: see `smaller`.",
        ),
        ({"steps": 0}, "`steps` must be a whole number, at least 1; got 0. Pass for instance 5."),
        ({"repeats": True}, "`repeats` must be a whole number, at least 1; got True. Pass for instance 5."),
        (
            {"smaller": 2},
            "`smaller` must be a share of the step size, between 0 and 1, or None; got 2. Pass for instance 0.1.",
        ),
        ({"clip": 0}, "`clip` must be a norm above 0; got 0. Pass for instance 1.0."),
        ({"seed": None}, "`seed` must be a whole number; got None. Pass a number such as 0."),
        (
            {"loss": 1},
            "`loss` must be called as loss(outputs, targets); got int. Pass for instance "
            "torch.nn.functional.cross_entropy.",
        ),
    ],
)
def test_errors(options: dict[str, Any], text: str) -> None:
    with pytest.raises(rectifier.RectifierError) as caught:
        tried(**options)
    assert str(caught.value) == f"trial: {text}"


def test_a_model_that_cannot_be_copied_is_told() -> None:
    model, optimizer = net()
    model.lock = __import__("threading").Lock()
    with pytest.raises(rectifier.RectifierValueError) as caught:
        rectifier.trial(model, batches(2), loss, optimizer, steps=1, repeats=1)
    assert str(caught.value) == (
        "trial: `model` must be one that can be copied, with its optimizer; got Sequential, where copying raised "
        "TypeError: cannot pickle '_thread.lock' object. Pass a function of a seed that returns (model, optimizer)."
    )


def test_an_arm_that_was_not_tried() -> None:
    with pytest.raises(rectifier.RectifierValueError) as caught:
        tried(remedies=[]).of("elu", 0.5)
    assert str(caught.value) == (
        "trial: `remedy` must be one that was tried; got 'elu' at step 0.5. Tried were 'nothing' at 1, 'nothing' at "
        "0.1."
    )
