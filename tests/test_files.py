from __future__ import annotations

import os
from pathlib import Path

import pytest

from rectifier import _files as files
from rectifier.errors import RectifierValueError


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_write_and_replace(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert files.write(path, "ä\n") == path
    assert path.read_bytes() == "ä\n".encode()
    files.write(path, "b", force=True)
    assert path.read_text() == "b"
    assert names(tmp_path) == ["page.html"]


def test_the_file_is_as_readable_as_others(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    assert files.write(tmp_path / "page", "x").stat().st_mode == other.stat().st_mode


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    for act in (files.check_writable, lambda path: files.write(path, "new")):
        with pytest.raises(RectifierValueError) as caught:
            act(path)
        assert caught.value.args == (
            f"write: `path` must not exist yet; got {str(path)!r}, which does. "
            "Pass force=True (--force) to replace it, or another name.",
        )
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_a_file_that_appears_under_way_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "page.html"

    def late(part: Path) -> None:
        part.write_text("mine")
        path.write_text("other")

    with pytest.raises(RectifierValueError, match="must not exist yet"):
        files.write_with(path, late)
    assert path.read_text() == "other"
    assert names(tmp_path) == ["page.html"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "\udc80")
    assert names(tmp_path) == []
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "\udc80", force=True)
    assert path.read_text() == "old"


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RectifierValueError) as caught:
        files.check_writable(tmp_path)
    assert caught.value.args == (f"write: `path` must be a file; got the folder {str(tmp_path)!r}. Add a file name.",)


def test_a_folder_that_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "none" / "page.html"
    with pytest.raises(RectifierValueError) as caught:
        files.check_writable(path)
    assert caught.value.args == (
        f"write: `path` must lie in a folder that exists; got {str(path)!r}. Create {str(path.parent)!r} first.",
    )


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The administrator may write anywhere, so the answer of the system is set, not the folder's mode.
    monkeypatch.setattr(os, "access", lambda *_: False)
    path = tmp_path / "page.html"
    with pytest.raises(RectifierValueError) as caught:
        files.check_writable(path)
    assert caught.value.args == (
        f"write: `path` must lie in a folder that can be written to; got {str(path)!r}. Pick another folder.",
    )


def test_a_folder_that_takes_no_file_whatever_its_mode_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: True)
    path = Path("/proc/page.html")
    with pytest.raises(RectifierValueError) as caught:
        files.write(path, "x")
    assert caught.value.args == (
        "write: `path` must lie in a folder that can be written to; got '/proc/page.html'. Pick another folder.",
    )
