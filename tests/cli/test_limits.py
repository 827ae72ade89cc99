"""Shares and kinds in words, and the exit status that a record gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rectifier import RectifierValueError
from rectifier.checkup.records import Record
from rectifier.cli.limits import Limits, parse_kinds, parse_share


def limits(**given: str | None) -> Limits:
    names = ("silent", "rare", "dormant", "fail_on")
    return Limits.read("check", **{name: given.get(name) for name in names})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("5%", 0.05),
        ("0.05", 0.05),
        (" 5 % ", 0.05),
        ("0", 0.0),
        ("1", 1.0),
        ("100%", 1.0),
        ("0%", 0.0),
        ("1e-3", 0.001),
    ],
)
def test_a_share_is_read(text: str, share: float) -> None:
    assert parse_share("check", "--max-silent", text) == share


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("five", "Write it as 5% or 0.05."),
        ("", "Write it as 5% or 0.05."),
        ("%", "Write it as 5% or 0.05."),
        ("nan", "Write it as 5% or 0.05."),
        ("inf", "Write it as 5% or 0.05."),
        ("-1%", "Write it as 5% or 0.05."),
        ("-0.1", "Write it as 5% or 0.05."),
        ("101%", "Write it as 5% or 0.05."),
        ("5%%", "Write it as 5% or 0.05."),
        ("500", "Write it as 5% or 0.05."),
        ("5", "Did you mean 5%?"),
        ("1.5", "Did you mean 1.5%?"),
    ],
)
def test_what_is_no_share_is_refused(text: str, cure: str) -> None:
    with pytest.raises(RectifierValueError) as caught:
        parse_share("check", "--max-silent", text)
    assert str(caught.value) == f"check: `--max-silent` must be a share between 0% and 100%; got {text!r}. {cure}"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("dead", ("dead",)),
        ("vanishing", ("vanishing_gradient", "vanishing_activation", "vanishing_update")),
        ("Exploding-Gradient, nan", ("exploding_gradient", "nan")),
        ("dead,dead", ("dead",)),
        ("always open", ("always_open",)),
    ],
)
def test_kinds_are_read(text: str, kinds: tuple[str, ...]) -> None:
    assert parse_kinds("check", text) == kinds


def test_an_unknown_kind_is_refused_with_a_close_one() -> None:
    with pytest.raises(RectifierValueError) as caught:
        parse_kinds("check", "dead,vanishin")
    assert str(caught.value) == (
        "check: `--fail-on` must name kinds of findings, separated by commas; got 'vanishin'. Did you mean 'vanishing'?"
    )


@pytest.mark.parametrize("text", ["", "dead,", "xyz"])
def test_an_unknown_kind_is_refused_with_all(text: str) -> None:
    with pytest.raises(RectifierValueError) as caught:
        parse_kinds("report", text)
    assert str(caught.value) == (
        f"report: `--fail-on` must name kinds of findings, separated by commas; got {text.rpartition(',')[2]!r}. "
        "Known: vanishing, exploding, dead, silent, rare, always_open, always_closed, dormant, vanishing_gradient, "
        "exploding_gradient, vanishing_activation, exploding_activation, vanishing_update, exploding_update, "
        "initialisation, selu, nan, saturated, nearly_silent, closed, constant, infinite, scale, duplicate, unmoved, "
        "drift."
    )


def test_without_limits_a_fault_is_a_finding_and_an_observation_is_none(record: Record) -> None:
    assert limits().status(record) == 1
    assert limits().status(record.with_findings(record.of("rare", "always_open"))) == 0
    assert limits().status(record.with_findings(())) == 0


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        ({"silent": "20%"}, 0, ""),
        ({"silent": "19.9%"}, 1, "20.00% of the units are silent or dead; --max-silent is 19.90%"),
        ({"rare": "20%"}, 0, ""),
        ({"rare": "10%"}, 1, "20.00% of the units are rare; --max-rare is 10.00%"),
        ({"dormant": "30%"}, 0, ""),
        ({"dormant": "0.2"}, 1, "30.00% of the units are dormant, silent or dead; --max-dormant is 20.00%"),
        ({"fail_on": "exploding,nan"}, 0, ""),
        ({"fail_on": "exploding,vanishing"}, 1, "vanishing gradient in act"),
        ({"silent": "50%", "fail_on": "dead"}, 1, "dead in act"),
    ],
)
def test_a_limit_decides(
    record: Record, capsys: pytest.CaptureFixture[str], given: dict[str, str], status: int, reason: str
) -> None:
    assert limits(**given).status(record) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (f"Limit exceeded: {reason}\n" if reason else "")


def test_a_share_of_nothing_is_not_passed(record: Record, capsys: pytest.CaptureFixture[str]) -> None:
    assert limits(silent="100%").status(replace(record, snapshots=(), findings=())) == 1
    assert capsys.readouterr().err == "Limit exceeded: no unit was observed, so --max-silent cannot be judged\n"
