"""The demonstration: a small network on real handwritten digits, the whole story of rectified units in a minute.

Four acts, the same seeds: *depth* (what is left of the gradient after twenty layers), *death* (too large a step and the
units it closes), *cure* (remedies side by side) and *cut* (what is still dead is pruned). Every number in every text
comes from the run.

>>> import rectifier.demo
>>> result = rectifier.demo.run(seed=0)  # doctest: +SKIP
>>> print(result.summary())  # doctest: +SKIP
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RectifierTypeError, RectifierValueError
from .cure import CureResult
from .cut import CutResult
from .death import DeathResult
from .depth import DepthResult

if TYPE_CHECKING:
    from ..reporters.page import Section

__all__ = ["CureResult", "CutResult", "DeathResult", "DemoResult", "DepthResult", "run"]

SCHEMA = "rectifier-demo/1"
#: Acts as the progress callback names them → the share of the whole time that is over when each begins.
_ACTS = {"depth": 0.0, "death": 0.05, "cure": 0.2, "cut": 0.92}

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class DemoResult:
    """All four acts, with what is needed to repeat them. Only the timings differ from run to run."""

    seed: int
    depth: DepthResult
    death: DeathResult
    cure: CureResult
    cut: CutResult
    seconds: float
    """Wall-clock time of the whole run."""
    versions: Mapping[str, str]

    def summary(self) -> str:
        """What died, why and what helps: one sentence, then a short paragraph an act."""
        from .summary import headline, paragraphs

        return "\n\n".join([headline(self), *(f"{title}. {text}" for title, text in paragraphs(self))])

    def sections(self) -> tuple[Section, ...]:
        """The acts as parts of a page."""
        from .page import sections

        return sections(self)

    def write_html(self, path: str | Path, force: bool = False) -> Path:
        """Write the page, one file that opens offline; return its path.

        Raises RectifierValueError where the file exists (without ``force``) or cannot be written.
        """
        from .. import _files
        from .page import render

        return _files.write(path, render(self), force=force)

    def to_json(self) -> str:
        """Every number as one JSON document, without the weights.

        ``death.fired`` holds one text a unit, one character a step: "1" where it fired on any training image. NaN and
        infinities are the texts "nan", "inf", "-inf".
        """
        return json.dumps({"schema": SCHEMA, **_plain(self)}, indent=1, allow_nan=False)


def run(
    *,
    seed: int = 0,
    progress: Progress | None = None,
    _seeds: int | None = None,
    _steps: int | None = None,
    _processes: int | None = None,
) -> DemoResult:
    """Run the four acts.

    Arguments
        seed: the first seed; act 2 takes this one, acts 1 and 3 also those that follow. From 0 to 2³² − 1000.
        progress: called with the name of the act ("depth", "death", "cure", "cut") and the share of the whole run
            that is over, in [0, 1].

    Returns a DemoResult. PyTorch's number of threads and every global random state are as before afterwards. Raises
    RectifierTypeError or RectifierValueError for a seed that is none.
    """
    import torch

    from . import cure, cut, death, depth, digits

    _check_seed(seed)
    start = time.perf_counter()
    steps = death.STEPS if _steps is None else _steps

    def ticker(act: str) -> Callable[[float], None]:
        shares = [*_ACTS.values(), 1.0]
        place = list(_ACTS).index(act)
        begin, end = shares[place], shares[place + 1]
        return lambda share: None if progress is None else progress(act, begin + (end - begin) * share)

    with digits.one_thread():
        ticker("depth")(0.0)
        depth_result = depth.run(seed, tick=ticker("depth"))
        death_result, patient = death.run(seed, steps=steps, tick=ticker("death"))
        cure_result = cure.run(seed, seeds=_seeds or cure.SEEDS, steps=steps, processes=_processes, tick=ticker("cure"))
        cut_result = cut.run(patient, death.batch_stream(seed + 1), steps=steps, tick=ticker("cut"))
        ticker("cut")(1.0)
    return DemoResult(
        seed=seed,
        depth=depth_result,
        death=death_result,
        cure=cure_result,
        cut=cut_result,
        seconds=time.perf_counter() - start,
        versions={
            "Python": platform.python_version(),
            "NumPy": np.__version__,
            "PyTorch": str(torch.__version__),
        },
    )


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise RectifierTypeError(f"demo.run: `seed` must be an integer; got {seed!r}. Pass a number such as 0.")
    if not 0 <= seed <= 2**32 - 1000:
        raise RectifierValueError(
            f"demo.run: `seed` must be from 0 to 4294966296; got {seed}. Pass a number such as 0."
        )


def _plain(value: Any) -> Any:
    from ..checkup.records import Record

    if isinstance(value, Record):
        return json.loads(value.to_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.name != "weights"}
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return ["".join("1" if fired else "0" for fired in unit) for unit in value.T]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
