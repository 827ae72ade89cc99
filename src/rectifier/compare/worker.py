"""One process of a comparison: candidates that can live together, one after the other.

Started by :mod:`.run` with the task as JSON on standard input; a line of JSON for each candidate begun and each
function measured goes to standard output, so that nothing is lost where a library ends the process.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import asdict
from typing import IO, Any

from .. import peers
from ..peers import ours
from .measure import measured
from .plan import CANDIDATES, Candidate, Plan

__all__ = ["main"]


def main() -> None:
    # What a library prints must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # a peer's, such as NumPy's of an overflow in an idiom
    task = json.load(sys.stdin)
    chosen = tuple(candidate for candidate in CANDIDATES if candidate.label in task["candidates"])
    plan = Plan(tuple(task["functions"]), chosen, tuple(task["dtypes"]), task["samples"], ())
    for candidate in chosen:
        _send(lines, begun=candidate.label)
        try:
            for found in _candidate(candidate, plan):
                _send(lines, found=found)
        except Exception as error:  # its library is there, but cannot be used
            _send(lines, failed=f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    # Some libraries crash while they are taken down, when all is said.
    lines.close()
    os._exit(0)


def _send(lines: IO[str], **message: Any) -> None:
    print(json.dumps(message), file=lines, flush=True)


def _candidate(candidate: Candidate, plan: Plan) -> Any:
    peer = peers.load(candidate.peer)
    functions = peer.functions() if candidate.ours is None else ours.functions_of(candidate.ours)
    # What is not asked for need not be compiled either.
    lookup = peer.WAYS[candidate.way]({name: functions[name] for name in plan.functions if name in functions})
    for name in plan.functions:
        if (found := measured(candidate, peer, name, lookup, plan)) is not None:
            yield asdict(found)


if __name__ == "__main__":
    main()
