"""TARGET, the function that makes the model and its batches: finding it, calling it, saying what is wrong."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from ..checkup.weights.folder import SUFFIXES
from ..errors import TargetError

__all__ = ["Subject", "call", "find", "load", "told"]

FORM = "package.module:function or path/to/file.py:function"
RESULT = "(model, batches) or (model, batches, loss)"


@dataclass(frozen=True)
class Subject:
    """What the target returned."""

    model: Any
    batches: Iterable[Any]
    loss: Callable[..., Any] | None = None


def find(target: str) -> Callable[[], Any]:
    """The function that a target names; the current directory is importable.

    Raises TargetError where the target does not name one that can be called without arguments.
    """
    place, colon, name = target.rpartition(":")
    if target.lower().endswith(SUFFIXES):
        raise TargetError(
            f"check: `TARGET` must be {FORM}; got the weights {target!r}. "
            "Name a function that makes the model and loads them, as in train.py:build."
        )
    if not colon or not place or not name:
        example = f"{place or name or 'train.py'}:build"
        raise TargetError(
            f"check: `TARGET` must be {FORM}; got {target!r}. Name the function after a colon, as in {example}."
        )
    _importable(Path.cwd())
    module = _from_file(Path(place)) if _is_path(place) else _from_name(place)
    function = _attribute(module, place, name)
    if not callable(function):
        raise TargetError(
            f"check: `TARGET` must name a function; {target} is {_a(function)}. Write a function that returns {RESULT}."
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TargetError(_no_async(target))
    _refuse_arguments(function, target, name)
    return function  # type: ignore[no-any-return]


def call(function: Callable[[], Any], target: str) -> Subject:
    """Call the target and take its result apart; what it prints goes to standard error.

    Raises TargetError where it raises, or returns anything but (model, batches) or (model, batches, loss).
    """
    try:
        with redirect_stdout(sys.stderr):
            result = function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a SystemExit would otherwise pass for a verdict
        raise TargetError(f"check: {target} raised an error of its own.\n{told(error)}") from error
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that it was never awaited
        raise TargetError(_no_async(target))
    if not isinstance(result, (tuple, list)):
        raise _wrong_result(target, f"it returned {_a(result)}")
    if len(result) not in (2, 3):
        raise _wrong_result(target, f"it returned {len(result)} values")
    model, batches, loss = (*result, None)[:3]
    if isinstance(batches, (str, bytes)) or not isinstance(batches, Iterable):
        raise _wrong_result(target, f"its second value, the batches, is {_a(batches)}, not an iterable")
    if loss is not None and not callable(loss):
        raise _wrong_result(target, f"its third value, the loss, is {_a(loss)}, not a function of (outputs, targets)")
    return Subject(model, batches, loss)


def load(target: str, verb: str, before: Callable[[], None]) -> Subject:
    """Find the target and call it, after ``before``. Its errors are told as those of the verb."""
    try:
        function = find(target)
        before()
        return call(function, target)
    except TargetError as error:
        raise TargetError(verb + str(error).removeprefix("check")) from error.__cause__


def told(error: BaseException) -> str:
    """The error with the user's own frames of its traceback, where it has any: not ours, not those of libraries."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _ours(frame.filename)]
    lines = traceback.format_list([frame for frame in frames if not _installed(frame.filename)])
    heading = ["Traceback (your frames only; --debug prints all):\n"] if lines else []
    return "".join([*heading, *lines, *traceback.format_exception_only(error)]).rstrip()


def _is_path(place: str) -> bool:
    return place.endswith(".py") or "/" in place or os.sep in place


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        problem = "it is a folder" if path.is_dir() else "there is none"
        cure = _did_you_mean(str(path), _python_files(path.parent)) or "Check the path."
        raise TargetError(f"check: `TARGET` must name a Python file that exists; got {str(path)!r}: {problem}. {cure}")
    # As in `python file.py`: a file may import its neighbours.
    _importable(path.resolve().parent)
    name = path.stem if path.stem not in sys.modules else f"_rectifier_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(
            f"check: `TARGET` must name a Python file; got {str(path)!r}. Give it a name that ends in .py."
        )
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader

    def load() -> ModuleType:
        # Known by its name while it runs: dataclasses and pickle look their module up.
        sys.modules[name] = module
        loader.exec_module(module)
        return module

    return _imported(str(path), load)


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(
            f"check: `TARGET` must be {FORM}; {name!r} is neither a module's name nor a file that ends in .py. "
            "Check the spelling."
        )
    try:
        return _imported(name, lambda: importlib.import_module(name))
    except TargetError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and _part_of(missing.name, name):
            raise TargetError(_no_module(name, str(missing.name))) from missing
        raise


def _imported(place: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        with redirect_stdout(sys.stderr):
            return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TargetError(f"check: {place} could not be imported.\n{told(error)}") from error


def _part_of(missing: str | None, name: str) -> bool:
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _no_module(name: str, missing: str) -> str:
    parent, _, leaf = missing.rpartition(".")
    here = Path(*parent.split(".")) if parent else Path()
    known = [entry.stem for entry in here.glob("*.py")] + [
        entry.name for entry in here.glob("*/") if entry.name.isidentifier()
    ]
    suggestion = _did_you_mean(leaf, known)
    shown = f"{name!r}" if name == missing else f"{missing!r} (of {name!r})"
    return (
        f"check: `TARGET` must name a module that can be imported; there is no module {shown}. "
        f"{suggestion or 'Modules are looked for in the current directory and where Python finds packages.'}"
    )


def _attribute(module: ModuleType, place: str, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            known = [key for key in vars(module) if not key.startswith("_")] if value is module else dir(value)
            cure = _did_you_mean(part, known) or "Check the function's name."
            raise TargetError(f"check: `TARGET` must name a function of {place}; it has no {part!r}. {cure}")
        value = getattr(value, part)
    return value


def _refuse_arguments(function: Callable[..., Any], target: str, name: str) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in callables have none to show: the call will tell
        return
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
    if needed:
        given = ", ".join(f"{argument}=..." for argument in needed)
        cure = f"Give {'it a default' if len(needed) == 1 else 'them defaults'}"
        raise TargetError(
            f"check: `TARGET` must name a function that needs no arguments; {target} needs {', '.join(needed)}. "
            f"{cure}, or name a function that returns {name}({given})."
        )


def _no_async(target: str) -> str:
    return (
        f"check: `TARGET` must name a plain function; {target} is asynchronous. "
        "Name one that returns asyncio.run of it."
    )


def _wrong_result(target: str, what: str) -> TargetError:
    return TargetError(f"check: {target} must return {RESULT}; {what}. Change its return statement.")


def _python_files(folder: Path) -> list[str]:
    return [str(entry) for entry in folder.glob("*.py") if entry.is_file()] if folder.is_dir() else []


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def _a(value: object) -> str:
    if value is None:
        return "None"
    word = f"class {value.__qualname__}" if isinstance(value, type) else type(value).__qualname__
    return f"{'an' if word[0] in 'aeiouAEIOU' else 'a'} {word}"


_HERE = str(Path(__file__).resolve().parents[1]) + os.sep
_LIBRARIES = tuple(
    {str(Path(path).resolve()) + os.sep for key, path in sysconfig.get_paths().items() if key.endswith("lib")}
    | {sysconfig.get_paths()["stdlib"] + os.sep}
)


def _ours(filename: str) -> bool:
    return filename.startswith((_HERE, "<frozen "))


def _installed(filename: str) -> bool:
    return filename.startswith(_LIBRARIES)
