"""Writing a file: never over another without being told to, and never half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import RectifierValueError

__all__ = ["check_writable", "write", "write_with"]


def check_writable(path: str | Path, force: bool = False) -> Path:
    """Refuse a file that could not be written later; call it before a long run. Creates nothing.

    Arguments
        path: the file to be written.
        force: True where an existing file may be replaced.

    Returns the path. Raises RectifierValueError where the file exists (without ``force``), is a folder, or its
    folder is absent or cannot be written to.
    """
    target = Path(path)
    if target.is_dir():
        raise RectifierValueError(f"write: `path` must be a file; got the folder {str(target)!r}. Add a file name.")
    if target.exists() and not force:
        raise RectifierValueError(
            f"write: `path` must not exist yet; got {str(target)!r}, which does. "
            "Pass force=True (--force) to replace it, or another name."
        )
    folder = target.parent
    if not folder.is_dir():
        raise RectifierValueError(
            f"write: `path` must lie in a folder that exists; got {str(target)!r}. Create {str(folder)!r} first."
        )
    if not os.access(folder, os.W_OK):
        raise _unwritable(target)
    return target


def _unwritable(target: Path) -> RectifierValueError:
    return RectifierValueError(
        f"write: `path` must lie in a folder that can be written to; got {str(target)!r}. Pick another folder."
    )


def write(path: str | Path, text: str, *, force: bool = False) -> Path:
    """Write ``text`` (UTF-8) to ``path`` whole or not at all.

    Returns the path. Raises RectifierValueError as :func:`check_writable`, and OSError where the disk fails; then
    nothing is left behind and an existing file is as it was.
    """
    return write_with(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"), force=force)


def write_with(path: str | Path, make: Callable[[Path], object], *, force: bool = False) -> Path:
    """Write ``path`` whole or not at all, as :func:`write`; ``make`` writes the file that it is given."""
    target = check_writable(path, force)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except (FileNotFoundError, PermissionError) as error:  # where the system's answer was not all there is to it
        raise _unwritable(target) from error
    os.close(handle)
    part = Path(name)
    try:
        make(part)
        # mkstemp makes the file private; a report is as readable as any file its user makes.
        part.chmod(0o666 & ~_umask())
        if force:
            part.replace(target)
        else:
            _move_new(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return target


def _move_new(part: Path, target: Path) -> None:
    """Rename that refuses a file which appeared in the meantime (a plain rename would replace it)."""
    try:
        os.link(part, target)
    except FileExistsError:
        check_writable(target, force=False)
        raise
    except OSError:
        # A file system without hard links: the check just made is all there is.
        part.replace(target)
        return
    part.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
