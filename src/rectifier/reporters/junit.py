"""A record as JUnit's XML, the form in which GitLab, Jenkins and GitHub's readers show the results of a pipeline.

There is no standard; this keeps to what Jenkins's schema (junit-10.xsd of its xUnit plugin) allows, which the others
read: one ``testsuite``, in it one ``testcase`` a limit or a finding, with ``failure`` where it is beyond the limit,
``error`` where the check-up was cut short, and ``skipped`` for what could not be judged then. So a file holds a failure
exactly where the exit status is 1, and an error where it is 2 (or 130) although there is a record.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from ..checkup.records import Finding, Record
from .words import TITLES, ordered, spot, told_severity, units

__all__ = ["Case", "by_finding", "render"]

# What XML 1.0 cannot hold, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One test of a pipeline: a limit, or a finding."""

    name: str
    """What it is called, the same from run to run, as readers compare runs by it: so without counts."""
    failure: str | None = None
    """Why it failed, in a line; None where it passed."""
    findings: tuple[Finding, ...] = ()
    """What it is about."""


def by_finding(record: Record) -> tuple[Case, ...]:
    """One case a fault, which fails where it is ill: what decides where no limits are given."""
    cases: list[Case] = []
    seen: dict[str, int] = {}
    for finding in ordered(record.findings):
        if not (finding.fault or finding.ill):
            continue
        name = _headline(finding)
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        why = (finding.severity_reason or finding.evidence) if finding.ill else None
        cases.append(Case(name, why, (finding,)))
    return tuple(cases)


def render(record: Record, cases: Sequence[Case] | None = None) -> str:
    """The XML of a record. cases: what was asked of it; without, :func:`by_finding`."""
    cases = by_finding(record) if cases is None else cases
    stopped = record.stopped is not None
    failures = 0 if stopped else sum(case.failure is not None for case in cases)
    counts = {
        "tests": str(1 + len(cases)),
        "failures": str(failures),
        "errors": str(int(stopped)),
        "skipped": str(len(cases) if stopped else 0),
    }
    name = _clean(f"rectifier {record.source} of {record.name or record.model}")
    told = {name: counts[name] for name in ("tests", "failures", "errors")}
    root = ElementTree.Element("testsuites", {"name": "rectifier", **told, "time": "0"})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts, "time": "0"})
    _properties(suite, record)
    ran = _testcase(suite, record, "The check-up ran to its end")
    if record.stopped is not None:
        _tell(ran, "error", record.stopped, "stopped", "What was seen until then is in the record.")
    for case in cases:
        test = _testcase(suite, record, case.name)
        text = "\n\n".join(map(_told, case.findings))
        if stopped:
            ElementTree.SubElement(test, "skipped", {"message": "not judged: the check-up was stopped"})
        elif case.failure is not None:
            _tell(test, "failure", case.failure, case.findings[0].kind if case.findings else "limit", text)
        elif text:
            ElementTree.SubElement(test, "system-out").text = _clean(text)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _properties(suite: ElementTree.Element, record: Record) -> None:
    properties = ElementTree.SubElement(suite, "properties")
    values = {"model": record.model, "seed": "" if record.seed is None else str(record.seed)}
    values |= {f"version of {name}": version for name, version in record.versions.items()}
    for name, value in values.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})


def _testcase(suite: ElementTree.Element, record: Record, name: str) -> ElementTree.Element:
    where = _clean(record.name or record.model)
    return ElementTree.SubElement(suite, "testcase", {"classname": where, "name": _clean(name), "time": "0"})


def _tell(case: ElementTree.Element, tag: str, message: str, kind: str, text: str) -> None:
    ElementTree.SubElement(case, tag, {"message": _clean(message), "type": kind}).text = _clean(text)


def _headline(finding: Finding) -> str:
    cause = finding.cause.partition(":")[0]
    why = f": {cause}" if finding.units and cause != finding.cause and len(cause) <= 60 else ""
    return f"{TITLES[finding.kind]} at {spot(finding.site, finding.kind)}{why}"


def _told(finding: Finding) -> str:
    """A finding in lines: what, evidence, cause, remedy."""
    name = "unit" if len(finding.units) == 1 else "units"
    which = f", {name} {units(finding.units, finding.total)}" if finding.units else ""
    parts = [
        ("evidence", finding.evidence),
        ("proof", finding.proof or ""),
        ("severity", told_severity(finding)),
        ("cause", finding.cause),
        ("what helps", finding.remedy),
    ]
    lines = [f"{TITLES[finding.kind]} at {spot(finding.site, finding.kind)}{which}"]
    return "\n".join([*lines, *(f"{name}: {text}" for name, text in parts if text)])


def _clean(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
