"""The checker of certificates: accepts one for given weights, or refuses it with the reason.

It shares no code with what makes certificates, and reads nothing of theirs but the file. Each step's interval is
derived anew from the intervals that the file states for the steps before it (by :mod:`.checker_rules`), and the file's
interval must contain it. So a wrong number anywhere refuses the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import RectifierValueError
from .checker_rules import INF, RULES, Arithmetic, Refused, exact

__all__ = ["Proved", "Rejected", "accept", "examine"]

#: Rectifiers that are 0 for every z ≤ 0.
SHUT = ("relu", "relu6", "squared_relu")
#: What may stand in the file: anything else would be read, and not be checked.
KEYS = {
    "document": {"schema", "networks"},
    "network": {"training", "example", "arithmetic", "steps", "dead"},
    "step": {"op", "layer", "inputs", "shape", "settings", "arrays", "low", "high"},
    "site": {"site", "rectifier", "step", "axis", "units"},
}


class Rejected(RectifierValueError):
    """A certificate that does not hold; ``reason`` says why."""

    def __init__(self, reason: str, call: str = "accept: `document`") -> None:
        self.reason = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason)
        super().__init__(
            f"{call} must be a certificate that holds for these weights; got one that is refused: {self.reason}. "
            "Make another with: rectifier check TARGET --certificate FILE"
        )


@dataclass(frozen=True, eq=False)
class Proved:
    """Units of one site that cannot fire, with the conditions of that; all but the site's name was checked."""

    site: str
    rectifier: str
    units: tuple[int, ...]
    tensors: tuple[str, ...]
    """Names of the tensors that make their pre-activation."""
    low: Any
    """The box, broadcasting against one example as the first step reads it; None where the input does not matter."""
    high: Any
    training: bool
    """True: it holds in training mode; False: in evaluation mode."""
    batch: int | None
    """Most examples of a batch, where values are normalised by the batch's own moments; None: any number."""

    @property
    def conditions(self) -> str:
        """Them in words: "for every input within [0, 1], in evaluation mode"."""
        where = "for every input"
        if self.low is not None:
            low, high = float(np.min(self.low)), float(np.max(self.high))
            same = bool(np.all(self.low == low) and np.all(self.high == high))
            where += f"{'' if same else ' within its own range, all of them'} within [{low:.9g}, {high:.9g}]"
        batch = "" if self.batch is None else f", in batches of at most {self.batch} examples"
        return f"{where}, in {'training' if self.training else 'evaluation'} mode{batch}"


def accept(document: str, weights: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Check a certificate against the weights it is to be for.

    document: the certificate's text. weights: name → array, as in a state dict (bfloat16 as float32).

    Returns site → the units that cannot fire for any input of the certificate's box. Raises Rejected, a
    RectifierValueError that tells why, where it does not hold.
    """
    return {proved.site: proved.units for proved in examine(document, weights)}


def examine(document: str, weights: Mapping[str, Any]) -> tuple[Proved, ...]:
    """As :func:`accept`, with the conditions of each site's proof."""
    try:
        read = json.loads(document, object_pairs_hook=_once)
        if read["schema"] != "rectifier-certificate/2":
            raise Refused("it is of another schema")
        _only(read, "document")
        found = [proved for network in read["networks"] for proved in _Network(network, weights).dead()]
        if len({proved.site for proved in found}) < len(found):
            raise Refused("it names a site twice")
        return tuple(found)
    except Refused as reason:
        told = str(reason)
    except Exception as error:  # a file that is cut off or made up can go wrong anywhere
        told = f"it is malformed ({type(error).__name__}: {error})"
    raise Rejected(told)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Refused("it says something twice")
    return dict(pairs)


def _only(part: Mapping[str, Any], kind: str) -> None:
    if set(part) != KEYS[kind]:
        raise Refused(f"a {kind} in it holds something else than {', '.join(sorted(KEYS[kind]))}")


class _Network:
    def __init__(self, network: dict[str, Any], weights: Mapping[str, Any]) -> None:
        _only(network, "network")
        self.network, self.steps, self.weights = network, network["steps"], weights
        u, tiny, largest = (Fraction(network["arithmetic"][key]) for key in ("roundoff", "smallest", "largest"))
        if not (0 < u < 1 and tiny > 0 and largest > 0 and type(network["training"]) is bool):
            raise Refused("its arithmetic or its mode is none")
        self.arithmetic, self.largest = Arithmetic(u, tiny), largest
        self.claims: list[tuple[Any, Any]] = []
        for number, step in enumerate(self.steps):
            self._step(number, step)

    def dead(self) -> list[Proved]:
        found = []
        box = self.claims[0] if self.steps[0]["op"] == "input" else (None, None)
        batch = min((s["settings"]["rows"] for s in self.steps if s["settings"].get("rows")), default=None)
        for site in self.network["dead"]:
            _only(site, "site")
            name, index, units = site["site"], site["step"], tuple(site["units"])
            called = re.fullmatch(r"(?:.*\.)?(\w+)#\d+", name)
            if not name.isprintable() or (called and called[1] != site["rectifier"]):
                raise Refused(f"{name!r} is no name of a site of a {site['rectifier']}")
            if self._axis(index) not in (site["axis"], None):
                raise Refused(f"the units of {name} do not lie on axis {site['axis']}")
            high = np.moveaxis(np.broadcast_to(self.claims[index][1], self.steps[index]["shape"]), site["axis"], 0)
            inside = all(type(u) is int and 0 <= u < len(high) for u in units) and sorted(set(units)) == list(units)
            if not (site["rectifier"] in SHUT and inside and all(np.all(high[u] <= 0) for u in units)):
                raise Refused(f"the bounds of {name} do not shut each unit that it names")
            conditions = box[0], box[1], self.network["training"], batch
            found.append(Proved(name, site["rectifier"], units, self._tensors(index), *conditions))
        return found

    def _axis(self, index: int) -> int | None:
        """Where the units of a step lie, by what made them; None where that does not tell."""
        step = self.steps[index]
        op, settings = step["op"], step["settings"]
        if op in ("conv", "scale", "pool") or settings.get("channels"):
            return 0
        if op in ("linear", "ellipsoid"):
            return len(step["shape"]) - 1
        before = self._axis(step["inputs"][0]) if step["inputs"] and op != "reshape" else None
        if op == "normalise" and before is None:  # over the last axes
            return len(step["shape"]) - 1
        return settings["axes"].index(before) if op == "permute" and before is not None else before

    def _tensors(self, index: int) -> tuple[str, ...]:
        waiting, found = [index], []
        met: set[int] = set()
        while waiting:
            step = self.steps[waiting.pop()]
            found += sorted((array["name"] for array in step["arrays"].values()), reverse=True)
            further = step["inputs"] if not step["arrays"] or step["op"] in ("scale", "normalise") else []
            waiting += [i for i in further if i not in met]
            met.update(further)
        return tuple(dict.fromkeys(found[::-1]))

    def _step(self, number: int, step: dict[str, Any]) -> None:
        _only(step, "step")
        shape, op, name = tuple(step["shape"]), step["op"], f"step {number} ({step['op']} {step['layer']})"
        low, high = (self._claimed(step[end], shape) for end in ("low", "high"))
        if not np.all(low <= high):
            raise Refused(f"{name} has a low end above its high end")
        if any(not 0 <= i < number for i in step["inputs"]):
            raise Refused(f"{name} reads a step that does not come before it")
        if op == "input" and (number or step["inputs"] or step["arrays"]):
            raise Refused(f"{name} is taken for the model's input, which is the first step alone")
        if op not in RULES and op not in ("input", "unknown"):
            raise Refused(f"it has an operation {op!r}, which is not known")
        arrays = {role: self._weight(array) for role, array in step["arrays"].items()}
        self._whole({array["name"] for array in step["arrays"].values()}, name)
        x = [self.claims[i] for i in step["inputs"]]
        shapes = [tuple(self.steps[i]["shape"]) for i in step["inputs"]]
        least, most = (low, high) if op == "input" else (-INF, INF)
        if op in RULES:
            least, most = RULES[op](self.arithmetic, step["settings"], arrays, x, shapes, shape)
        most, least = np.asarray(most, dtype=object), np.asarray(least, dtype=object)
        if np.broadcast_shapes(most.shape, least.shape, shape) != shape:
            raise Refused(f"{name} has another shape than what it computes")
        most, least = np.where(most > self.largest, INF, most), np.where(least < -self.largest, -INF, least)
        # What is not a number compares as false: only an infinite end contains it.
        if not (np.all((low == -INF) | (low <= least)) and np.all((high == INF) | (high >= most))):
            raise Refused(f"the bound of {name} does not follow from the steps before it")
        self.claims.append((low, high))

    def _whole(self, names: set[str], step: str) -> None:
        """Refuse a layer of which a part is left out."""
        for name in sorted(names):
            stem, kind = re.fullmatch(r"(.*?)(weight|bias|running_mean|running_var)?", name, re.DOTALL).groups()  # type: ignore[union-attr]
            parts = {"weight": ["bias"], "bias": ["weight"], "running_mean": ["weight", "bias"]}.get(kind, [])
            left = [stem + part for part in parts if stem + part in self.weights and stem + part not in names]
            if left:
                raise Refused(f"{step} leaves out {left[0]!r}")

    @staticmethod
    def _claimed(end: dict[str, Any], shape: tuple[int, ...]) -> Any:
        values = np.array([float(v) for v in end["values"]], dtype=np.float32).reshape(end["shape"])
        if np.isnan(values).any() or np.broadcast_shapes(values.shape, shape) != shape or values.ndim != len(shape):
            raise Refused("a bound is no number, or has another shape than its step")
        return exact(values)

    def _weight(self, array: dict[str, str]) -> Any:
        name = array["name"]
        if name not in self.weights:
            raise Refused(f"the weights have no {name!r}")
        values = np.asarray(self.weights[name])
        head = f"{values.dtype.name} {list(values.shape)}\n".encode()
        raw = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).tobytes()
        if hashlib.sha256(head + raw).hexdigest() != array["sha256"]:
            raise Refused(f"{name!r} is another tensor than the one it was made for")
        if not np.isfinite(values).all():
            raise Refused(f"{name!r} has values that are not finite")
        if np.issubdtype(values.dtype, np.floating):
            info, own = np.finfo(values.dtype), self.arithmetic
            if own.u < Fraction(float(info.eps)) / 2 or own.tiny < float(info.tiny) or self.largest > float(info.max):
                raise Refused(f"its arithmetic is finer than that of {name!r}")
        return values.astype(np.float64)
