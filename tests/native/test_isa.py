"""The choice of instruction set."""

import os
import subprocess
import sys

import pytest

from rectifier import _native


def imported_with(isa):
    program = "from rectifier import _native; print(_native.isa())"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "RECTIFIER_ISA": isa},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_names():
    assert _native.supported_isas()[-1] == "baseline"
    assert _native.isa() in _native.supported_isas()


@pytest.mark.parametrize("isa", _native.supported_isas())
def test_environment_variable_chooses(isa):
    assert imported_with(isa).stdout.strip() == isa


def test_empty_environment_variable_is_none():
    assert imported_with("").stdout.strip() == _native.supported_isas()[0]


def test_bad_environment_variable_fails_the_import():
    done = imported_with("mmx")
    assert done.returncode != 0
    names = ", ".join(_native.supported_isas())
    assert (
        f"ImportError: rectifier: the environment variable RECTIFIER_ISA must be one of {names} on this machine; "
        "got 'mmx'. Unset it to have the best one chosen." in done.stderr
    )


def test_use_isa_refuses_what_is_not_there():
    with pytest.raises(ValueError, match="must be one of .*baseline on this machine; got 'mmx'"):
        _native.use_isa("mmx")
