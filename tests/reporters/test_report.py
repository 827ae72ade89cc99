from __future__ import annotations

import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rectifier.checkup.records import Record
from rectifier.errors import RectifierTypeError, RectifierValueError
from rectifier.reporters import junit, report
from rectifier.reporters.terminal import summary


def printed(record: Record | str | Path) -> str:
    file = io.StringIO()
    report(record, file=file)
    return file.getvalue()


def test_the_terminal_tells_which_units_why_and_what_helps(watched: Record) -> None:
    text = printed(watched)
    flat = " ".join(text.split())
    assert flat.startswith(summary(watched))
    assert "Silent at layers.1, units 3, 7–12, 40 (8 of 64)" in flat
    assert "Silent at layers.3, units 20–42 (23 of 64)" in flat
    for finding in watched.findings:
        for part in (finding.evidence, finding.cause, finding.remedy, finding.proof or ""):
            assert " ".join(part.split()) in flat
    assert "Not observed (never taken as zero)" in flat
    assert watched.not_observed[0] in flat
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_terminal_table_is_the_record(watched: Record) -> None:
    rows = [line.split() for line in printed(watched).splitlines() if line.startswith("layers.")]
    for row, site in zip(rows, watched.last.sites, strict=True):
        assert row[:4] == [site.site, "relu", str(site.units), "1,437"]
        assert int(row[4]) == int((site.fired == 0).sum())
        assert int(row[6]) == int((site.fired == site.examples).sum())


def test_one_unit_and_a_long_list(watched: Record) -> None:
    first = watched.of("silent")[0]
    one = " ".join(printed(watched.with_findings((replace(first, units=(3,)),))).split())
    assert ", unit 3 (1 of 64)" in one
    many = " ".join(printed(watched.with_findings((replace(first, units=tuple(range(0, 60, 2))),))).split())
    assert "46, … (30 of 64; all of them with --json or on the page)" in many


def test_brackets_in_names_are_printed_not_obeyed(hostile: Record) -> None:
    text = printed(hostile).replace("\n", "")
    assert "<script>alert(1)</script>[red]" in text
    assert "[/]" in text


def test_more_findings_than_a_terminal_can_hold(watched: Record) -> None:
    text = printed(watched.with_findings(watched.of("silent") * 40))
    assert "and 50 more findings" in text
    assert "and 50 more" not in printed(watched)


def test_a_record_of_a_run_that_stopped(stopped: Record) -> None:
    assert "ValueError: the loader broke" in printed(stopped)


def test_files_and_reading_back(watched: Record, tmp_path: Path) -> None:
    page, saved, table, cases = (tmp_path / name for name in ("page.html", "record.json", "record.parquet", "a.xml"))
    report(watched, html=page, json=saved, parquet=table, junit=cases, file=io.StringIO())
    HTMLParser().feed(page.read_text(encoding="utf-8"))
    assert cases.read_text(encoding="utf-8") == junit.render(watched)
    assert Record.read(saved).to_json() == Record.read(table).to_json() == watched.to_json()
    assert printed(saved) == printed(str(saved)) == printed(table) == printed(watched)


def test_the_record_that_is_read_is_not_written_over(watched: Record, tmp_path: Path) -> None:
    table = watched.to_parquet(tmp_path / "record")
    before = table.read_bytes()
    with pytest.raises(RectifierValueError) as caught:
        report(table, json=tmp_path / "." / "record", force=True)
    assert caught.value.args == (
        f"report: `json` must not be the record that is read; got {str(table)!r}. Give it another name.",
    )
    assert table.read_bytes() == before


def test_nothing_is_written_when_one_file_exists(watched: Record, tmp_path: Path) -> None:
    page, saved = tmp_path / "page.html", tmp_path / "record.json"
    saved.write_text("old")
    file = io.StringIO()
    with pytest.raises(RectifierValueError, match="must not exist yet"):
        report(watched, html=page, json=saved, file=file)
    assert file.getvalue() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    report(watched, html=page, json=saved, force=True, file=file)
    assert Record.read(saved).model == "MLP"


def test_one_name_for_two_files(watched: Record, tmp_path: Path) -> None:
    path = tmp_path / "x"
    with pytest.raises(RectifierValueError) as caught:
        report(watched, html=path, json=path)
    assert caught.value.args == (
        f"report: `html` and `json` must be two files; got {str(path)!r} for both. Give one another name.",
    )


def test_a_record_of_another_type() -> None:
    with pytest.raises(RectifierTypeError) as caught:
        report(7)  # type: ignore[arg-type]
    assert caught.value.args == (
        "report: `record` must be a Record or the path of one; got int. "
        "Pass what check or watch returned, or a file written with --json or --parquet.",
    )


def test_a_record_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    with pytest.raises(RectifierValueError) as caught:
        report(path)
    assert caught.value.args == (
        f"report: `record` must be a file that exists; got {str(path)!r}. "
        "Pass a file written with --json or --parquet.",
    )


def test_a_record_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RectifierValueError) as caught:
        report(path)
    assert caught.value.args == (
        f"report: `record` must be a record as JSON or Parquet; got {str(path)!r}, which is neither. "
        "Pass a file written with --json or --parquet.",
    )
