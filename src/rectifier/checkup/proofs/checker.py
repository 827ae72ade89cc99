"""The checker of certificates: accepts one for given weights, or refuses it with the reason.

It shares no code with what makes certificates, and reads nothing of theirs but the file. Each step's interval is
derived anew from the intervals that the file states for the steps before it, in exact arithmetic (integers and
fractions; square roots and exponentials rounded away), with the allowance for the framework's own rounding that
docs/certificates.md defines; the file's interval must contain it. So a wrong number anywhere refuses the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import RectifierValueError
from .checker_rules import INF, Refused, Rules, exact

__all__ = ["Rejected", "accept"]

#: Rectifiers that are 0 for every z ≤ 0.
SHUT = ("relu", "relu6", "squared_relu")


class Rejected(RectifierValueError):
    """A certificate that does not hold; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            "accept: `document` must be a certificate that holds for these weights; got one that is refused: "
            f"{reason}. Make another with: rectifier check TARGET --certificate FILE"
        )
        self.reason = reason


def accept(document: str, weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Check a certificate against the weights it is to be for.

    document: the certificate's text. weights: name → array, as in a state dict (bfloat16 as float32).

    Returns site → the units that cannot fire for any input of the certificate's box. Raises Rejected, a
    RectifierValueError that tells why, where it does not hold.
    """
    try:
        read = json.loads(document)
        if read["schema"] != "rectifier-certificate/1":
            raise Refused("it is of another schema")
        found: dict[str, tuple[int, ...]] = {}
        for network in read["networks"]:
            found.update(_Network(network, weights).dead())
        return found
    except Refused as reason:
        told = str(reason)
    except Exception as error:  # a file that is cut off or made up can go wrong anywhere
        told = f"it is malformed ({type(error).__name__}: {error})"
    raise Rejected(told)


class _Network:
    def __init__(self, network: dict[str, Any], weights: Mapping[str, Any]) -> None:
        self.network, self.weights = network, weights
        kept = network["arithmetic"]
        u, tiny, self.largest = (Fraction(kept[key]) for key in ("roundoff", "smallest", "largest"))
        if not (0 < u < 1 and tiny > 0 and self.largest > 0):
            raise Refused("its arithmetic is none")
        self.rules = Rules(u, tiny)
        self.roundoff, self.smallest = u, tiny
        self.claims: list[tuple[Any, Any]] = []
        for number, step in enumerate(network["steps"]):
            self._step(number, step)

    def dead(self) -> dict[str, tuple[int, ...]]:
        found = {}
        for site in self.network["dead"]:
            step = self.network["steps"][site["step"]]
            high = np.moveaxis(np.broadcast_to(self.claims[site["step"]][1], step["shape"]), site["axis"], 0)
            units = tuple(int(unit) for unit in site["units"])
            shut = site["rectifier"] in SHUT and all(0 <= u < len(high) and np.all(high[u] <= 0) for u in units)
            if not shut:
                raise Refused(f"the bounds of {site['site']} do not shut each unit that it names")
            found[site["site"]] = units
        return found

    def _step(self, number: int, step: dict[str, Any]) -> None:
        shape, name = tuple(step["shape"]), f"step {number} ({step['op']} {step['layer']})"
        low, high = (self._claimed(step[end], shape) for end in ("low", "high"))
        if not np.all(low <= high):
            raise Refused(f"{name} has a low end above its high end")
        arrays = {role: self._weight(array) for role, array in step["arrays"].items()}
        if step["op"] == "input" and (number or step["inputs"] or step["arrays"]):
            raise Refused(f"{name} is taken for the model's input, which is the first step alone")
        if any(not 0 <= i < number for i in step["inputs"]):
            raise Refused(f"{name} reads a step that does not come before it")
        x = [self.claims[i] for i in step["inputs"]]
        shapes = [tuple(self.network["steps"][i]["shape"]) for i in step["inputs"]]
        if step["op"] not in ("input", "unknown"):
            least, most = self.rules.interval(step["op"], step["settings"], arrays, x, shapes, shape)
        else:
            least, most = (low, high) if step["op"] == "input" else (-INF, INF)
        most, least = np.asarray(most, dtype=object), np.asarray(least, dtype=object)
        if np.broadcast_shapes(most.shape, least.shape, shape) != shape:
            raise Refused(f"{name} has another shape than what it computes")
        most, least = np.where(most > self.largest, INF, most), np.where(least < -self.largest, -INF, least)
        # What is not a number compares as false: only an infinite end contains it.
        if not (np.all((low == -INF) | (low <= least)) and np.all((high == INF) | (high >= most))):
            raise Refused(f"the bound of {name} does not follow from the steps before it")
        self.claims.append((low, high))

    def _runs_in(self, kind: Any, name: str) -> None:
        """Refuse an arithmetic finer, or of a wider range, than that of a tensor that it computes with."""
        info = np.finfo(kind)
        finer = self.roundoff < Fraction(float(info.eps)) / 2 or self.smallest < Fraction(float(info.tiny))
        if finer or self.largest > Fraction(float(info.max)):
            raise Refused(f"its arithmetic is finer than that of {name!r}")

    @staticmethod
    def _claimed(end: dict[str, Any], shape: tuple[int, ...]) -> Any:
        values = np.array([float(v) for v in end["values"]], dtype=np.float32).reshape(end["shape"])
        if np.isnan(values).any() or np.broadcast_shapes(values.shape, shape) != shape or values.ndim != len(shape):
            raise Refused("a bound is no number, or has another shape than its step")
        return exact(values)

    def _weight(self, array: dict[str, str]) -> Any:
        if array["name"] not in self.weights:
            raise Refused(f"the weights have no {array['name']!r}")
        values = np.asarray(self.weights[array["name"]])
        head = f"{values.dtype.name} {list(values.shape)}\n".encode()
        raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        if hashlib.sha256(head + raw).hexdigest() != array["sha256"]:
            raise Refused(f"{array['name']!r} is another tensor than the one it was made for")
        if not np.isfinite(values).all():
            raise Refused(f"{array['name']!r} has values that are not finite")
        if np.issubdtype(values.dtype, np.floating):
            self._runs_in(values.dtype, array["name"])
        return values.astype(np.float64)
