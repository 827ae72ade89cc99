"""JUnit's XML: what a reader of a pipeline's results is told, and that it can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from rectifier.checkup.records import Finding, Record
from rectifier.reporters import junit

# What Jenkins's junit-10.xsd allows: element → (children, attributes it must have, attributes it may have).
SCHEMA: Mapping[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package", "file", "group", "log", "url"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, set()),
    "testcase": ({"skipped", "error", "failure", "system-out", "system-err"}, {"name"}, {"time", "classname", "group"}),
    "failure": (set(), set(), {"type", "message"}),
    "error": (set(), set(), {"type", "message"}),
    "skipped": (set(), set(), {"type", "message"}),
    "system-out": (set(), set(), set()),
}


def read(text: str) -> ElementTree.Element:
    """The suite, after everything in the file was held against the schema and its sums."""
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        children, needed, allowed = SCHEMA[element.tag]
        assert {child.tag for child in element} <= children, element.tag
        assert needed <= set(element.attrib) <= needed | allowed, element.tag
    (suite,) = root
    cases = suite.findall("testcase")
    for where in (root, suite):
        assert int(where.attrib["tests"]) == len(cases)
        assert int(where.attrib["failures"]) == len(suite.findall("testcase/failure"))
        assert int(where.attrib["errors"]) == len(suite.findall("testcase/error"))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == len(cases)
    return suite


def outcomes(suite: ElementTree.Element) -> dict[str, str]:
    return {case.attrib["name"]: next((child.tag for child in case), "") for case in suite.findall("testcase")}


def test_one_case_a_fault_and_a_failure_where_it_is_ill(watched: Record) -> None:
    dead, silent = watched.of("dead")[0], watched.of("silent")[0]
    findings = (
        replace(dead, severity="warning", severity_reason="few"),
        replace(silent, severity="ill", severity_reason="8 of 64: an eighth"),
        *watched.of("rare"),
    )
    suite = read(junit.render(watched.with_findings(findings)))
    assert suite.attrib["name"] == "rectifier watch of digits"
    assert outcomes(suite) == {
        "The check-up ran to its end": "",
        "Proved dead at layers.1: too large a step": "system-out",
        "Silent at layers.1: too large a step": "failure",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib == {"message": "8 of 64: an eighth", "type": "silent"}
    assert failure.text == (
        "Silent at layers.1, units 3, 7–12, 40 (8 of 64)\n"
        "evidence: fired at none of 1,437 examples (true rate below 0.21 %)\n"
        "severity: ill: 8 of 64: an eighth\n"
        "cause: too large a step: one step moved the weights by 31 % of their norm\n"
        "what helps: recycle them (rectifier.heal) and train with a smaller step, or swap in leaky_relu"
    )


def test_whatever_is_ill_fails_as_the_exit_status_says(watched: Record) -> None:
    (rare,) = watched.of("rare")
    told = outcomes(read(junit.render(watched.with_findings((replace(rare, severity="ill"),)))))
    assert list(told.values()) == ["", "failure"]


def test_a_healthy_model_is_a_suite_that_passed(healthy: Record) -> None:
    assert outcomes(read(junit.render(healthy))) == {"The check-up ran to its end": ""}


def test_findings_of_one_name_are_told_apart(watched: Record) -> None:
    silent = watched.of("silent")[0]
    names = outcomes(read(junit.render(watched.with_findings((silent, replace(silent, units=(5,)))))))
    assert list(names)[1:] == [
        "Silent at layers.1: too large a step",
        "Silent at layers.1: too large a step (2)",
    ]


def test_a_check_up_that_was_cut_short_is_an_error_and_judges_nothing(watched: Record) -> None:
    suite = read(junit.render(replace(watched, stopped="ValueError: the loader broke")))
    assert set(list(outcomes(suite).values())[1:]) == {"skipped"}
    error = suite.find("testcase/error")
    assert error is not None
    assert error.attrib == {"message": "ValueError: the loader broke", "type": "stopped"}


@pytest.mark.parametrize("evil", ["</testsuites><x a='\"&", "a\nb\tc", "\x00\x1b[31m\x0b\ufffe", "\udc80"])
def test_any_name_is_read_back_or_replaced(healthy: Record, evil: str) -> None:
    finding = Finding("silent", evil, (0,), 64, evil, f"{evil}: {evil}", evil, severity="ill", severity_reason=evil)
    record = replace(healthy, name=evil, model=evil, versions={evil: evil}, findings=(finding,))
    suite = read(junit.render(record))
    shown = "".join("\ufffd" if letter in "\x00\x1b\x0b\ufffe\udc80" else letter for letter in evil)
    assert suite.findall("testcase")[1].attrib["classname"] == shown
    failure = suite.find("testcase/failure")
    assert failure is not None and failure.attrib["message"] == shown
    assert failure.text is not None and f"evidence: {shown}\n" in failure.text
