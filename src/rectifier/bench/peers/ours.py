"""What is held against the peers, and the copy that is the limit of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import _native
from ..._functions import FUNCTIONS
from ..._gated import FROM_GATE
from . import SLOPE, Data, Way

__all__ = ["COPIES", "RESIDENT", "ways"]

RESIDENT, FRESH = "rectifier out=", "rectifier allocating"
COPIES = ("streaming copy", "plain copy")
#: Below this many bytes the data stays in the cache, past which a streaming copy goes: no limit there.
_LARGE = 1 << 22


def ways(name: str, kind: str, data: Data, threads: int) -> Sequence[Way]:
    _native.set_threads(threads)
    function = FUNCTIONS[name]
    x, out = data.x, data.out
    given = {"negative_slope": SLOPE} if name == "prelu" else {}
    if kind == "value":
        mine = [
            Way(RESIDENT, lambda: function(x, out=out, **given)),
            Way(FRESH, lambda: function(x, **given), fresh=True),
        ]
    elif name in FROM_GATE:
        dh, gate = data.dh, function.with_gate(x, **given)[1]
        mine = [
            Way(RESIDENT, lambda: function.backward(dh, gate, out=out)),
            Way(FRESH, lambda: function.backward(dh, gate), fresh=True),
        ]
    else:
        dh = data.dh
        mine = [
            Way(RESIDENT, lambda: np.multiply(function.derivative(x, out=out), dh, out=out)),
            Way(FRESH, lambda: np.multiply(h := function.derivative(x), dh, out=h), fresh=True),
        ]
    return [*mine, *_copies(data)]


def _copies(data: Data) -> list[Way]:
    source, target = data.x.view(np.uint8), data.out.view(np.uint8)
    whole = source.size // 64 * 64
    plain = Way(COPIES[1], lambda: np.copyto(target, source))
    if source.size < _LARGE:
        return [plain]
    return [Way(COPIES[0], lambda: _native.copy_past_cache(target[:whole], source[:whole])), plain]
