"""The drawings: the card of a terminal, the figure, the card of a notebook."""

from __future__ import annotations

import builtins
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import rectifier
from rectifier import RectifierValueError, family
from rectifier.show import figure, html, text

ALL = [*family]
#: Parameters at the edges of what floating point holds: a drawing may be dull, but is made.
EXTREMES = [
    ("leaky_relu", {"negative_slope": 1e300}),
    ("leaky_relu", {"negative_slope": -1e308}),
    ("relu6", {"ceiling": 1e300}),
    ("relu6", {"ceiling": 1e-12}),
    ("elu", {"alpha": 1e308}),
    ("celu", {"alpha": 1e-300}),
    ("softplus", {"beta": 1e-300}),
    ("softplus", {"beta": 1e300}),
]


@pytest.mark.parametrize("width", [0, 60, 80, 200])
@pytest.mark.parametrize("name", ALL)
def test_the_text_fits_the_terminal(name: str, width: int) -> None:
    card = text.card(name, {}, width=width)
    assert max(map(len, card.splitlines())) <= max(60, min(width, 110))
    assert all(line == line.rstrip() for line in card.splitlines())


def test_the_text_says_all_of_the_row() -> None:
    row = family["leaky_relu"]
    card = " ".join(text.card("leaky_relu", {}, width=100).split())
    said = [row.title, row.formula, row.derivative, row.range, *row.strengths, *row.faults, *row.conventions.values()]
    for part in [*said, row.citation, "s = 0.01", "gain".title(), "rectifier.torch.LeakyReLU"]:
        assert " ".join(part.split()) in card, part


def test_the_graph_of_relu_in_the_terminal() -> None:
    graph = text.card("relu", {}, width=80).split("\n\n")[0]
    assert graph.count("●") == 3 and graph.count("○") == 2  # a dot of each kind is in the key
    lines = graph.splitlines()
    zero = next(line for line in lines if line.startswith("0┤"))
    assert zero.count("●") == 2
    assert "○" in next(line for line in lines if "1┤" in line and line.startswith(("4┤", " │")))
    assert "●" not in text.card("relu", {}, width=80, graphs=False)


@pytest.mark.parametrize(("name", "settings"), EXTREMES)
def test_extreme_parameters_are_drawn(name: str, settings: dict[str, float], tmp_path: Path) -> None:
    assert max(map(len, text.card(name, settings, width=80).splitlines())) <= 80
    figure.save(tmp_path / "a.png", [name], settings)


def test_one_function_has_its_equations_as_titles() -> None:
    drawn = figure.draw(["leaky_relu"], {"negative_slope": 0.2})
    left, right = drawn.axes
    assert drawn.get_suptitle() == "Leaky ReLU (negative_slope = 0.2)"
    assert left.get_title(loc="left") == "f(z):  z > 0: z, else s·z"
    assert right.get_title(loc="left") == "f′(z):  z > 0: 1, else s"
    assert drawn.legends == []
    dots = [line for line in right.lines if line.get_marker() == "o"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in dots] == [(0.0, 1.0), (0.0, 0.2)]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [True, False]


def test_several_functions_share_two_panels_and_a_legend() -> None:
    drawn = figure.draw(ALL, {})
    assert len(drawn.axes) == 2
    labels = [entry.get_text() for entry in drawn.legends[0].get_texts()]
    assert labels == [f"{family[name].title}{' (negative_slope = 0.25)' if name == 'prelu' else ''}" for name in ALL]
    lines = [line for line in drawn.axes[0].lines if not line.get_label().startswith("_")]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(ALL)


@pytest.mark.parametrize("extension", figure.FORMATS)
def test_the_same_function_gives_the_same_file(tmp_path: Path, extension: str) -> None:
    for name in "ab":
        figure.save(tmp_path / f"{name}.{extension}", ["relu"], {})
    assert (tmp_path / f"a.{extension}").read_bytes() == (tmp_path / f"b.{extension}").read_bytes()


class Balanced(HTMLParser):
    """Raises where an element is not closed in its order, and keeps all links."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "xlink:href")]
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ALL)
def test_the_card_of_a_notebook_is_whole_and_alone(name: str) -> None:
    card = html.card(name)
    parser = Balanced()
    parser.feed(card)
    assert parser.open == []
    assert all(link.startswith("#") for link in parser.links)
    assert "<script" not in card
    start, end = card.index("<svg"), card.index("</svg>") + len("</svg>")
    assert ElementTree.fromstring(card[start:end]).get("role") == "img"
    assert getattr(rectifier, name)._repr_html_() == card


def test_the_card_is_escaped() -> None:
    card = html.card("relu")
    assert "x * (x &gt; 0)" in card
    assert "x * (x > 0)" not in card


def test_without_matplotlib_the_card_has_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    card = html.card("relu")
    assert "<svg" not in card
    assert "ReLU</div><div>f(z) = max(0, z)</div><div>f′(z):  z &gt; 0: 1, z &lt; 0: 0</div>" in card
    assert "Nair &amp; Hinton 2010" in card


def test_an_unknown_name_has_no_card() -> None:
    with pytest.raises(RectifierValueError) as caught:
        html.card("rleu")
    assert str(caught.value) == (f"card: `name` must be one of {', '.join(family)}; got 'rleu'. See rectifier.family.")
