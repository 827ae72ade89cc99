"""What every verb shares: its errors, its output files, its seed."""

from __future__ import annotations

import errno
import functools
import importlib.util
import itertools
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, ParamSpec

import typer

from ..checkup.weights.names import printable
from ..errors import RectifierError, RectifierValueError
from .status import BROKEN_PIPE, FAULT, INTERRUPTED, USAGE

__all__ = [
    "CertificateFile",
    "Debug",
    "Force",
    "Html",
    "Json",
    "Junit",
    "Outputs",
    "Parquet",
    "Seed",
    "UNREADABLE",
    "UNWRITTEN",
    "code_read",
    "fail",
    "guarded",
    "listed",
    "note",
    "refuse_read",
    "refuse_unwritable",
    "set_seed",
    "unwritten",
    "why_unreadable",
]

P = ParamSpec("P")

#: Module that a verb uses → the extra that brings it.
_EXTRAS = {
    "distributed": "claims-dask",
    "gymnasium": "claims",
    "jinja2": "checkup",
    "joblib": "claims",
    "matplotlib": "checkup",
    "ml_dtypes": "checkup",
    "mpmath": "verify",
    "plotext": "checkup",
    "plotly": "checkup",
    "pyarrow": "checkup",
    "ray": "claims-ray",
    "rich": "checkup",
    "safetensors": "checkup",
    "scipy": "claims",
    "sklearn": "demo",
    "threadpoolctl": "claims",
    "torch": "torch",
}

Html = Annotated[str | None, typer.Option(metavar="FILE", help="Write the page (one file, opens offline).")]
Json = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write the record as JSON; - writes it to standard output.")
]
Parquet = Annotated[str | None, typer.Option(metavar="FILE", help="Write the record as a Parquet table.")]
Junit = Annotated[str | None, typer.Option(metavar="FILE", help="Write JUnit's XML, for a pipeline's test report.")]
CertificateFile = Annotated[
    str | None, typer.Option("--certificate", metavar="FILE", help="Write the proofs, for rectifier certificate.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite output files that exist.")]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=2**32 - 1, help="Seed of Python's, NumPy's and PyTorch's random numbers."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Print whole tracebacks.")]


#: What reading a text file of the user's may raise.
UNREADABLE = (FileNotFoundError, IsADirectoryError, PermissionError, UnicodeDecodeError)
_WHY_UNREADABLE = ("there is no such file", "it is a folder", "it may not be read", "it is not text")


def why_unreadable(error: BaseException) -> str:
    """One of :data:`UNREADABLE` in words."""
    return next(why for kind, why in zip(UNREADABLE, _WHY_UNREADABLE, strict=True) if isinstance(error, kind))


def note(text: str) -> None:
    """One line of prose, on standard error; names in it may be those of a stranger's file."""
    print(printable(text), file=sys.stderr)


def fail(message: str, status: int = USAGE) -> NoReturn:
    """Say what is wrong and leave with a status."""
    note(f"Error: {message}")
    raise typer.Exit(status)


def guarded(verb: Callable[P, None]) -> Callable[P, None]:
    """The verb with its exceptions turned into messages and exit statuses."""

    name = verb.__name__.replace("_", " ")

    @functools.wraps(verb)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            told(*args, **kwargs)
        except BrokenPipeError as error:  # the reader left; Typer would make it a 1, which is a verdict here
            raise typer.Exit(BROKEN_PIPE) from error

    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        debug = bool(kwargs.get("debug", False))
        try:
            verb(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt as error:
            note("Interrupted.")
            raise typer.Exit(INTERRUPTED) from error
        except SystemExit as error:
            # Of the user's code, as nothing here raises it: its status must not pass for a verdict.
            fail(f"{name}: your code ended the process with SystemExit({error.code!r}). Let it return instead.")
        except RectifierError as error:
            if debug:
                traceback.print_exc()
            fail(str(error))
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = _EXTRAS.get(package)
            if extra is None:
                _fault(error, debug)
            if name.startswith("claims") and not extra.startswith("claims"):
                extra = "claims"  # which brings whatever the laboratory needs
            fail(f'{name}: needs {package}, which is not installed. Run: pip install "rectifier[{extra}]"')
        except OSError as error:
            if error.errno not in UNWRITTEN:
                _fault(error, debug)
            fail(f"{name}: {unwritten(error)}")
        except Exception as error:
            _fault(error, debug)

    return wrapped


#: Errors of writing, whether to a file or to standard output: no space, no quota, too large, read-only.
UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def unwritten(error: OSError) -> str:
    """What to say where the output could not be written."""
    where = f" to {str(error.filename)!r}" if error.filename else ""
    return f"the output could not be written{where}: {error.strerror}. Make room, or write elsewhere."


def _fault(error: Exception, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exception(error)
    cure = "Please report it with the traceback above" if debug else "Run again with --debug and report it"
    described = "".join(traceback.format_exception_only(error)).strip()
    note(
        f"Error: a fault of rectifier's, not yours: {described}\n"
        f"{cure}, with the command you ran and the output of: rectifier --version"
    )
    raise typer.Exit(FAULT)


class Outputs:
    """The files a verb was asked to write, refused before the run where they could not be written after it."""

    def __init__(
        self,
        verb: str,
        *,
        html: str | None,
        json: str | None,
        force: bool,
        parquet: str | None = None,
        junit: str | None = None,
        certificate: str | None = None,
        reads: Mapping[str, str] | None = None,
    ) -> None:
        """reads: files that are read → what they are; they must not be written over, not even with --force."""
        self.json_to_stdout = json == "-"
        self.html, self.parquet, self.junit, self.certificate, self.force = html, parquet, junit, certificate, force
        self.json = None if self.json_to_stdout else json
        options = {
            "--html": html,
            "--json": self.json,
            "--parquet": parquet,
            "--junit": junit,
            "--certificate": certificate,
        }
        named = {option: path for option, path in options.items() if path is not None}
        for option, path in named.items():
            if path == "-":
                raise RectifierValueError(
                    f"{verb}: `{option}` must name a file; got '-'. "
                    f"Name one, as in {option} {verb.replace(' ', '-')}.{option[2:]}."
                )
        if force and not named:
            raise RectifierValueError(
                f"{verb}: `--force` must come with an output file; got none to overwrite. "
                "Add --html FILE or --json FILE, or leave --force out."
            )
        for option, path in named.items():
            if path == "":
                raise RectifierValueError(
                    f"{verb}: `{option}` must name a file; got ''. Name one, or leave {option} out."
                )
        for (one, path), (other, second) in itertools.combinations(named.items(), 2):
            if Path(path).resolve() == Path(second).resolve():
                raise RectifierValueError(
                    f"{verb}: `{one}` and `{other}` must name two files; got {path!r} twice. Name another."
                )
        for option, path in named.items():
            refuse_read(verb, option, path, reads or {})
            refuse_unwritable(verb, option, path, force=force)


def refuse_read(verb: str, option: str, path: str, reads: Mapping[str, str]) -> None:
    """Raise RectifierValueError where an output is one of the files that are read."""
    for read, what in reads.items():
        if Path(path).resolve() == Path(read).resolve():
            raise RectifierValueError(f"{verb}: `{option}` must not name {what}; got {path!r}. Name another.")


def code_read(target: str) -> dict[str, str]:
    """The file of a TARGET such as path/to/file.py:function → what it is."""
    place = target.rpartition(":")[0]
    return {place: "the file of TARGET"} if place.endswith(".py") else {}


def refuse_unwritable(verb: str, option: str, path: str, *, force: bool) -> None:
    """Raise RectifierValueError, in words of the command line, where a file could not be written after the run."""
    from .. import _files

    try:
        _files.check_writable(path, force)
    except RectifierValueError as error:
        text = str(error).replace("write: `path`", f"{verb}: `{option}`").replace("force=True (--force)", "--force")
        raise RectifierValueError(text) from error


def listed(verb: str, option: str, text: str | None) -> list[str]:
    """The names that an option lists between commas; none where it was left out."""
    if text is None:
        return []
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise RectifierValueError(f"{verb}: `{option}` must name one at least; got {text!r}. Leave it out.")
    return names


def set_seed(seed: int | None) -> None:
    """Seed Python's, NumPy's and (where it is installed) PyTorch's generators."""
    if seed is None:
        return
    random.seed(seed)
    import numpy as np

    np.random.seed(seed)
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.manual_seed(seed)
