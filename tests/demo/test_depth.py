"""Act 1: the chain rule written out gives autograd's gradients, and the curves show what they should."""

import numpy as np
import pytest
import torch

from rectifier.demo import DemoResult, depth, digits

TORCH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "elu": torch.nn.functional.elu,
    "selu": torch.selu,
}


@pytest.mark.parametrize("name", TORCH)
def test_gradients_are_those_of_autograd(name: str) -> None:
    data = digits.load()
    x, y = data.numpy[:32], data.y_train[:32]
    weights = depth.initial_weights(x, 1.3, 6, seed=3)
    scales, _ = depth.gradients(x, y.numpy(), weights, name)
    h, before = torch.tensor(x), []
    for weight in weights[:-1]:
        z = h @ torch.tensor(weight)
        z.requires_grad_()
        z.retain_grad()
        before.append(z)
        h = TORCH[name](z)
    torch.nn.functional.cross_entropy(h @ torch.tensor(weights[-1]), y).backward()
    expected = [float(z.grad.square().mean().sqrt()) for z in before if z.grad is not None]
    np.testing.assert_allclose(scales, expected, rtol=1e-5)  # SELU's constants have 8 digits in PyTorch's kernel


def test_threshold_passes_exactly_nothing(result: DemoResult) -> None:
    assert set(result.depth.of("threshold").gradient) == {0.0}


def test_sigmoid_vanishes_and_relu_does_not(result: DemoResult) -> None:
    sigmoid, relu = result.depth.of("sigmoid"), result.depth.of("relu")
    assert 0.24 < sigmoid.largest_derivative <= 0.25
    assert sigmoid.kept < 1e-6
    assert 0.95 < relu.factor < 1.05
    plain = next(curve for curve in result.depth.plain if curve.function == "relu")
    # Without its gain half of the scale's square is lost a layer.
    assert plain.factor == pytest.approx(0.5**0.5, rel=0.03)


def test_kept_is_the_factor_over_the_depth(result: DemoResult) -> None:
    for curve in result.depth.curves:
        assert len(curve.gradient) == result.depth.layers == 20
        assert curve.factor**19 == pytest.approx(curve.kept)
