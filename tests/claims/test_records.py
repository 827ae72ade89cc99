"""Records survive what ends a sweep: a kill in the middle of a line, a full disk, another version."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from rectifier.claims.lab.experiment import Experiment, Run
from rectifier.claims.lab.records import Records
from rectifier.errors import RectifierValueError

from .planted import failing, sums

MACHINE = {"processor": "abacus", "python": "3.11"}


def run(seed: int, experiment: Experiment = sums) -> Run:
    return Run(experiment, {"seed": seed, "name": "β"})


def kept(folder: Path, *seeds: int) -> Path:
    records = Records(folder)
    with records.adding():
        for seed in seeds:
            records.add(run(seed), {"value": seed / 3, "all": [1.0, math.inf], "gone": math.nan}, 0.1, MACHINE)
    return folder / "sums.jsonl"


def test_what_is_kept_is_read_bit_for_bit(tmp_path: Path) -> None:
    path = kept(tmp_path, 1, 2)
    assert "NaN" in path.read_text() and path.read_text().count("abacus") == 1
    read = Records(tmp_path)
    found = read.results([run(2), run(1), run(3)])
    assert found.seeds == (1, 2) and found.values("value").tolist() == [1 / 3, 2 / 3]
    assert found.rows[0]["all"] == [1.0, math.inf] and math.isnan(found.rows[0]["gone"])
    assert run(1) in read and run(3) not in read
    assert list(read.machines.values()) == [MACHINE]


@pytest.mark.parametrize("cut", [1, 20, 90])
def test_a_torn_line_is_left_out_and_told_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = kept(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes()[:-cut])
    torn = Records(tmp_path)
    # With only the line's end gone the record itself is whole.
    assert (run(2) in torn, torn.unreadable) == ((True, {}) if cut == 1 else (False, {"sums.jsonl": 1}))
    assert run(1) in torn
    kept(tmp_path, 3)
    again = Records(tmp_path)
    assert run(1) in again and run(3) in again and again.unreadable == {}
    assert list(again.machines.values()) == [MACHINE]


def test_lines_that_are_no_record_go_as_runs_are_added(tmp_path: Path) -> None:
    path = kept(tmp_path, 1, 2)
    whole = path.read_bytes()
    words = (b'{"experiment": "su', b"\xff", b"[]", b'"is"', b'{"experiment": "sums", "seconds": "long"}')
    path.write_bytes(b"\n".join(words) + b"\n\n" + whole)
    torn = Records(tmp_path)
    assert torn.unreadable == {"sums.jsonl": 5}
    kept(tmp_path / "other", 5)  # a sweep elsewhere leaves it
    assert Records(tmp_path).unreadable == {"sums.jsonl": 5}
    with torn.adding():
        assert path.read_bytes() == whole and torn.unreadable == {}


def test_another_version_is_never_mixed_in(tmp_path: Path) -> None:
    kept(tmp_path, 1, 2)
    newer = Experiment(sums.function, version=2)
    read = Records(tmp_path)
    assert len(read.results([run(1, newer)])) == 0
    assert read.other_versions([run(1, newer)]) == {"sums": 2}
    assert read.other_versions([run(1), run(3)]) == {} and read.other_versions([run(1, failing)]) == {}
    with read.adding():
        read.add(run(1, newer), {"value": 0}, 0.1, MACHINE)
    # What is asked for is there: the older ones are no loss any more.
    assert read.other_versions([run(1, newer)]) == {}
    assert read.other_versions([run(1, newer), run(3, newer)]) == {"sums": 2}


def test_two_sweeps_do_not_write_at_once(tmp_path: Path) -> None:
    with Records(tmp_path).adding(), pytest.raises(RectifierValueError) as caught, Records(tmp_path).adding():
        pass
    assert str(caught.value) == (
        f"claims: `--results` must not be in use; another sweep is writing to {str(tmp_path)!r}. "
        "Wait for it, or name another folder."
    )


@pytest.mark.parametrize(
    ("folder", "named", "why"),
    [
        ("file", "file", "Not a directory"),
        ("file/sub", "file/sub", "Not a directory"),
        ("folder", "folder/a.jsonl", "Is a directory"),
        ("n" * 300, "n" * 300, "File name too long"),
    ],
)
def test_folders_that_hold_no_records(tmp_path: Path, folder: str, named: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "a.jsonl").mkdir(parents=True)
    with pytest.raises(RectifierValueError) as caught, Records(tmp_path / folder).adding():
        pass
    assert str(caught.value) == (
        "claims: `--results` must be a folder whose files can be read and written; "
        f"got {str(tmp_path / named)!r} ({why}). Name another."
    )


def test_a_run_that_lacks_what_it_measured(tmp_path: Path) -> None:
    kept(tmp_path, 1)
    (row,) = Records(tmp_path).results([run(1)])
    with pytest.raises(RectifierValueError) as caught:
        row["differ"]
    assert str(caught.value) == (
        "claims: `--results` must hold what runs measured; a run of 'sums' on record, with seed 1, lacks 'differ'. "
        "Delete its line and run the claims again."
    )


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """The disk of a process that may write 600 bytes a file is full in the middle of a line."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.claims.test_records import kept\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))\n"
        "kept(Path(sys.argv[1]), *range(9))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr and "sums.jsonl" in done.stderr
    path = tmp_path / "sums.jsonl"
    assert 0 < path.stat().st_size <= 600 and path.read_bytes().endswith(b"\n")
    read = Records(tmp_path)
    assert read.unreadable == {} and run(0) in read and run(8) not in read
    kept(tmp_path, 8)
    assert run(8) in Records(tmp_path)
