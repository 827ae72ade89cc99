"""What is drawn: the pieces, the dots at kinks, the stretch and the heights."""

from __future__ import annotations

import numpy as np
import pytest

from rectifier import RectifierValueError, family
from rectifier.show.curves import Drawn, span, trace, view

ALL = [*family]


def drawn(name: str, **settings: float) -> Drawn:
    lowest, highest = span([name], settings)
    return trace(name, settings, lowest=lowest, highest=highest)


@pytest.mark.parametrize(
    ("name", "settings", "filled", "hollow"),
    [
        ("relu", {}, [(0, 0)], [(0, 1)]),
        ("relu", {"at_zero": 1}, [(0, 1)], [(0, 0)]),
        ("relu", {"at_zero": 0.5}, [(0, 0.5)], [(0, 0), (0, 1)]),
        ("leaky_relu", {}, [(0, 0.01)], [(0, 1)]),
        ("prelu", {}, [(0, 0.25)], [(0, 1)]),
        ("abs", {}, [(0, 0)], [(0, -1), (0, 1)]),
        ("relu6", {}, [(0, 0), (6, 0)], [(0, 1), (6, 1)]),
        ("relu6", {"ceiling": 2}, [(0, 0), (2, 0)], [(0, 1), (2, 1)]),
        ("elu", {"alpha": 0.5}, [(0, 0.5)], [(0, 1)]),
        ("selu", {}, [(0, 1.7580993408473766)], [(0, 1.0507009873554805)]),
        ("threshold", {}, [(0, 0)], []),
        ("elu", {}, [], []),
        ("leaky_relu", {"negative_slope": 1}, [], []),
        ("squared_relu", {}, [], []),
        ("softplus", {}, [], []),
    ],
)
def test_the_dots_of_the_derivative(
    name: str, settings: dict[str, float], filled: list[tuple[float, float]], hollow: list[tuple[float, float]]
) -> None:
    curve = drawn(name, **settings).derivative
    assert list(curve.filled) == filled
    np.testing.assert_allclose(np.reshape(curve.hollow, (-1, 2)), np.reshape(hollow, (-1, 2)), atol=1e-6)


def test_the_dots_of_the_function() -> None:
    assert drawn("relu").value.filled == ((0.0, 0.0),)
    assert drawn("relu").value.hollow == ()
    assert drawn("threshold").value.filled == ((0.0, 0.0),)
    assert drawn("threshold").value.hollow == ((0.0, 1.0),)
    assert drawn("elu").value.filled == ()


@pytest.mark.parametrize("name", ALL)
def test_the_pieces_are_the_function(name: str) -> None:
    import rectifier

    function = drawn(name)
    parameters = {p.name: function.parameters[p.name] for p in family[name].parameters if p.of == "value"}
    for x, y in function.value.pieces:
        inner = slice(1, -1)
        np.testing.assert_array_equal(y[inner], getattr(rectifier, name)(x[inner], **parameters))
    edges = [(x[0], x[-1]) for x, _ in function.value.pieces]
    assert [edge[0] for edge in edges[1:]] == [edge[1] for edge in edges[:-1]]
    assert (edges[0][0], edges[-1][1]) == span([name], {})


def test_the_stretch_passes_every_ceiling_that_can_be_drawn() -> None:
    assert span(["relu", "elu"], {}) == (-4.0, 4.0)
    assert span(["relu", "relu6"], {}) == (-4.0, 7.5)
    assert span(["relu6"], {"ceiling": 1e300}) == (-4.0, 4.0)


def test_the_heights_hold_zero_and_one_and_are_bounded() -> None:
    low, high = view([drawn("threshold").derivative], derivative=True)
    assert low < 0 < 1 < high
    _, high = view([drawn("squared_relu").value], derivative=False)
    assert 4 < high < 5
    _, high = view([drawn("relu6", ceiling=20).value], derivative=False)
    assert high > 20


def test_a_label_names_what_differs_from_the_default() -> None:
    assert drawn("relu").label == "ReLU"
    assert drawn("leaky_relu", negative_slope=0.2).label == "Leaky ReLU (negative_slope = 0.2)"
    assert drawn("prelu").label == "PReLU (negative_slope = 0.25)"


def test_equations_read_as_equations() -> None:
    assert drawn("relu").equations == ("f(z) = max(0, z)", "f′(z):  z > 0: 1, z < 0: 0")
    assert drawn("relu6").equations == ("f(z) = min(max(0, z), c)", "f′(z):  0 < z < c: 1, else 0")


def test_a_parameter_outside_its_domain_is_refused() -> None:
    with pytest.raises(RectifierValueError) as caught:
        drawn("softplus", beta=0.0)
    assert str(caught.value) == (
        "show: `beta` of softplus must be finite and greater than 0; got 0. Pass a number such as 1.0."
    )
