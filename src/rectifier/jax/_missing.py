"""What is said where a library that a module is for is not installed."""

from __future__ import annotations

__all__ = ["missing"]


def missing(module: str, library: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error to raise for a failed import; the same one where the library is there, but broken."""
    if error.name is None or error.name.partition(".")[0] != library:
        return error
    extra = "rectifier[" + library + "]"
    return ModuleNotFoundError(
        f'{module}: `{library}` must be installed; it was not found. Run: pip install "{extra}"', name=library
    )
