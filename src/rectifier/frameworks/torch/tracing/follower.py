"""A model run on inputs that are not known: which values are the same for every input, and where each channel goes.

Inputs are NaN, and so is all that depends on them; what is not NaN behind a dead unit is a constant. Sites are named as
the check-up names them, since it is the check-up's observer that sees them.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from ....errors import RectifierValueError
from ..answers import tensors_of
from ..calm import undisturbed
from ..observer.gates import Gates, Open
from ..observer.observe import Observer
from ..observer.provenance import name_of
from .channels import Channels, Grouped, Reader
from .moves import Moves, argument, each
from .owners import Owners
from .rules import ASKS, BINARY, ELEMENTWISE

__all__ = ["Follower", "followed"]

_CONVS = {f"conv{kind}{n}d": n for kind in ("", "_transpose") for n in (1, 2, 3)}


class _Sites(Gates):
    """Sets what dead units give to 0, as it is for every input."""

    _o: Follower

    def open(self, label: str, row: str, parameters: dict[str, Any], z: torch.Tensor, **given: Any) -> Open | None:
        opened = super().open(label, row, parameters, z, **given)
        if opened is not None:
            self._o.before[opened.site] = self._o.ids.get(z), parameters
        return opened

    def close(self, opened: Open, h: torch.Tensor) -> None:
        super().close(opened, h)
        self._o.see_site(opened, h)


class Follower(Observer):
    """Runs ``model`` once (:func:`followed`) and keeps what became of its channels.

    dead: site → units whose output is 0 for every input.
    """

    def __init__(self, model: nn.Module, dead: Mapping[str, Sequence[int]], verb: str) -> None:
        super().__init__(model, training_only=False)
        self.gates = _Sites(self)
        self.dead, self.verb = dead, verb
        self.channels = Channels()
        self.ids: Any = WeakTensorKeyDictionary()
        self.before: dict[str, tuple[torch.Tensor | None, dict[str, Any]]] = {}
        self.units: dict[str, torch.Tensor] = {}
        """site → channels of its units."""
        self.calls: dict[str, int] = {}
        """site → how often it was called: more than once in a loop."""
        self.moves = Moves(self.channels, self.ids)
        self.owners = Owners(model, self.channels)
        self._closed: Any = WeakTensorKeyDictionary()

    # The two ends

    def unknown_input(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value.is_floating_point():
            value = torch.full_like(value, math.nan, requires_grad=False)
        self.ids[value] = self.channels.fixed("the model's input meets them").expand(value.shape)
        return value

    def see_output(self, outputs: Any) -> None:
        for tensor in tensors_of(outputs):
            if tensor in self.ids:
                self.channels.hold(self.ids[tensor], "they are part of the model's output")

    def see_site(self, opened: Open, h: torch.Tensor) -> None:
        ids, parameters = self.before.pop(opened.site, (None, {}))
        if ids is None or ids.shape != h.shape:
            self._unknown(f"the input of {opened.site} cannot be followed", [], h)
            ids = self.ids[h]
        self.ids[h] = ids
        self._closed[h] = True
        units = self.channels.along(ids, opened.axis)
        if units is None:
            self.channels.hold(ids, f"the units of {opened.site} do not lie on one axis")
            units = ids.movedim(opened.axis, -1).reshape(-1, ids.shape[opened.axis])[0]
        self.calls[opened.site] = self.calls.get(opened.site, 0) + 1
        if self.calls[opened.site] > 1:
            self.channels.hold(ids, f"{opened.site} is called {self.calls[opened.site]} times")
        self.units[opened.site] = units
        for parameter in parameters.values():
            if isinstance(parameter, torch.Tensor) and parameter.numel() > 1:
                self.owners.take(parameter, {0: units}, opened.site)
        for unit in self.dead.get(opened.site, ()):
            if unit < h.shape[opened.axis]:
                h.select(opened.axis, unit).zero_()

    # One call

    def _call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        name = name_of(func)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        told = [tensor for tensor in given if tensor in self.ids]
        unknown = torch.isnan(told[0]) if told and name in ELEMENTWISE and told[0].is_floating_point() else None
        ids = self.ids.get(told[0]) if told else None
        result = super()._call(func, args, kwargs)
        results = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if not told and not self._hidden:
            self._of_weights(name, given, results)
        if self._hidden or not told or (isinstance(result, torch.Tensor) and result in self._closed):
            return result
        if not results:
            self._answer(name, func, told, args)
            return result
        if any(not tensor.is_floating_point() for tensor in (*told, *results)):
            known = False
        elif name in ELEMENTWISE and len(told) == 1 and unknown is not None and results[0].shape == unknown.shape:
            self.ids[results[0]] = ids
            if bool(unknown.any()):
                results[0].masked_fill_(unknown, math.nan)
            known = True
        else:
            known = self._known(name, func, args, kwargs, result, told)
        if not known:
            for tensor in given:
                self.owners.met(tensor, self._where(name))
            return self._unknown(f"{self._where(name)} reads all of them together", told, result)
        return result

    def _of_weights(self, name: str, given: Sequence[torch.Tensor], results: Sequence[torch.Tensor]) -> None:
        """Something is computed of weights alone (a norm of them), and would be another thing of smaller ones."""
        for tensor in given if results else ():
            if not any(tensor is made for made in results):  # ``to`` gives the very tensor where it does nothing
                self.owners.read(tensor, self._where(name))

    def _leave(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        super()._leave(name, module, args, kwargs, output)
        told = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor) and value in self.ids]
        if (
            self._parts is not None
            and name in self._parts.activations
            and told
            and isinstance(output, torch.Tensor)
            and output not in self.ids
        ):
            self._unknown(f"{name} cannot be followed", told, output)

    def _answer(self, name: str, func: Any, told: list[torch.Tensor], args: tuple[Any, ...]) -> None:
        """A call that gives no tensor: a shape, or a value of a tensor, by which Python may go one way or another."""
        if name in ASKS:
            raise RectifierValueError(
                f"{self.verb}: `model` must compute the same for every input; got {type(self.model).__name__}, which "
                f"asks for the values of a tensor ({name}) in {_line() or self._where(name)}. "
                "Act on a part of it that has no data-dependent control flow."
            )
        if getattr(func, "__name__", "") == "__setitem__":
            self._unknown("values are written into them one by one", told, args[0])

    def _where(self, name: str) -> str:
        inside = self._stack[-1][0] if self._stack else ""
        return f"{name} in {inside}" if inside else name

    def _unknown(self, reason: str, told: Sequence[torch.Tensor], result: Any) -> Any:
        """What is computed here is not known, and what it is computed from has to stay."""
        for tensor in told:
            self.channels.hold(self.ids[tensor], reason)

        def blank(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            if value.is_floating_point():
                if any(step == 0 and size > 1 for step, size in zip(value.stride(), value.shape, strict=True)):
                    value = value.clone(memory_format=torch.contiguous_format)
                value.detach().fill_(math.nan)
            self.ids[value] = self.channels.fixed(reason).expand(value.shape)
            return value

        return tree_map(blank, result)

    def _known(
        self,
        name: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        result: Any,
        told: list[torch.Tensor],
    ) -> bool:
        if name in BINARY:
            return self._binary(name, [*args, *kwargs.values()], result)
        if name in ("linear", *_CONVS, "batch_norm", "instance_norm"):
            return self._layer(name, args, kwargs, result)
        return self.moves.follow(name, self._where(name), func, args, kwargs, result, told)

    # Element by element

    def _binary(self, name: str, operands: list[Any], result: torch.Tensor) -> bool:
        tensors = [value for value in operands if isinstance(value, torch.Tensor) and value.numel() > 1]
        if any(isinstance(value, torch.Tensor) and self._drawn(value) for value in operands):
            return False
        if not all(isinstance(value, (torch.Tensor, int, float)) for value in operands) or not tensors:
            return False
        ids = [self._ids_of(tensor, result) for tensor in tensors]
        wide = [each.expand(result.shape) for each in ids]
        found = None
        for tensor, own, spread in zip(tensors, ids, wide, strict=True):
            # One channel that meets many (a mask, one weight for a map) is cut with none of them.
            axes = {axis for other in wide for axis in self.channels.varying(other)}
            offset = result.ndim - tensor.ndim
            if any(axis < offset or tensor.shape[axis - offset] == 1 for axis in axes):
                self.channels.hold(own, f"{self._where(name)} spreads them over others")
                continue
            if found is not None:
                self.channels.unite(found, spread)
            found = spread
        if found is None:
            return False
        self.ids[result] = found
        if name in ("mul", "multiply", "rmul"):
            self._times_zero(tensors, result)
        return True

    def _drawn(self, value: torch.Tensor) -> bool:
        """Whether it is one number that was computed in the pass, and may be another one in the next."""
        return value.numel() == 1 and value not in self.ids and isinstance(self.owners.of(value), str)

    def _times_zero(self, tensors: list[torch.Tensor], result: torch.Tensor) -> None:
        """0 times what is not known is 0."""
        for tensor in tensors:
            if tensor is not result:
                result.masked_fill_((tensor == 0).expand(result.shape), 0.0)

    def _ids_of(self, tensor: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
        """Channels of an operand; those of a parameter are its own places, which can go with what they meet."""
        if tensor in self.ids:
            found: torch.Tensor = self.ids[tensor]
            return found
        owner = self.owners.of(tensor)
        last = [axis for axis, size in enumerate(tensor.shape) if size > 1]
        if isinstance(owner, str) or len(last) != 1 or not tensor.is_floating_point():
            return self.channels.fixed("a tensor of fixed size meets them").expand(tensor.shape)
        channels = self.channels.fresh(tensor.numel())
        self.owners.take(tensor, {last[0]: channels}, owner[2])
        return channels.reshape(tensor.shape)

    # Layers

    def _layer(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: torch.Tensor) -> bool:
        norm = name.endswith("norm")
        keys = ("input", "running_mean", "running_var", "weight", "bias") if norm else ("input", "weight", "bias")
        given = {**dict(zip(keys, args, strict=False)), **{key: kwargs[key] for key in keys if key in kwargs}}
        x = given.pop("input")
        if x not in self.ids or any(value in self.ids for value in given.values() if value is not None):
            return False
        positions = _CONVS.get(name, 0)
        axis = (1 if x.ndim > 1 else 0) - x.ndim if norm else -1 - positions
        channels = self.channels.along(self.ids[x], axis)
        if channels is None:
            return False
        spread = [1] * result.ndim
        spread[axis] = -1
        if norm:
            for tensor in given.values():
                if tensor is not None:
                    self.owners.take(tensor, {0: channels}, self._where(name))
            self.ids[result] = channels.reshape(spread).expand(result.shape)
            return True
        weight, bias = given["weight"], given.get("bias")
        turned = "transpose" in name
        groups = argument(args, kwargs, 6, "groups", 1) if positions else 1
        outputs = self.channels.fresh(weight.shape[1] * groups if turned else weight.shape[0])
        self._weights(name, x, weight, bias, channels, outputs, axis, groups, turned, args, kwargs)
        self.ids[result] = outputs.reshape(spread).expand(result.shape)
        return True

    def _weights(
        self,
        name: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        channels: torch.Tensor,
        outputs: torch.Tensor,
        axis: int,
        groups: int,
        turned: bool,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        owner = self.owners.of(weight)
        layer = owner[2] if not isinstance(owner, str) else self._where(name)
        ends = (0, 1) if turned else (1, 0)
        if groups == 1:
            self.owners.take(weight, {ends[0]: channels, ends[1]: outputs}, layer)
            self.channels.readers.append(
                Reader(
                    layer, weight, ends[0], channels, _constant(x, axis), bias, self._no_fold(name, bias, args, kwargs)
                )
            )
        elif turned:
            for side in (channels, outputs):
                self.channels.hold(side, f"layer {layer} is a transposed convolution in groups")
        else:
            self.owners.take(weight, {1: channels, 0: outputs}, layer, slots=False)
            self.channels.grouped.append(Grouped(layer, weight, groups, channels, outputs))
            if weight.shape[1] == 1:  # a channel of its own for each input, which goes with it
                self.channels.unite(outputs.reshape(groups, -1), channels[:, None])
            else:
                values = _constant(x, axis)
                self.channels.readers.append(Reader(layer, weight, 1, channels, values, None, "it has several groups"))
        if bias is not None:
            self.owners.take(bias, {0: outputs}, layer)

    def _no_fold(
        self, name: str, bias: torch.Tensor | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> str | None:
        if bias is None:
            return "it has no bias to take that over"
        if name == "linear":
            return None
        padding = argument(args, kwargs, 4, "padding", 0)
        plain = name in ("conv1d", "conv2d", "conv3d") and (
            padding == "valid" or (not isinstance(padding, str) and not any(each(padding)))
        )
        return None if plain else "at its borders that is no constant"


def followed(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], dead: Mapping[str, Sequence[int]], verb: str
) -> Follower:
    """Run the model on inputs of the shapes of these, in evaluation mode, leaving no trace.

    Raises RectifierValueError where it cannot be followed.
    """
    few = _few(args, kwargs)
    try:
        return _followed(model, *(few or (args, kwargs)), dead, verb)
    except _Raised as error:
        if few is not None:  # it may need its batch
            with suppress(_Raised):
                return _followed(model, args, kwargs, dead, verb)
        cause = error.__cause__
        raise RectifierValueError(
            f"{verb}: `model` must be one that can be followed; got {type(model).__name__}, which raised "
            f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}. Pass inputs of its shape as `probe`."
        ) from cause


class _Raised(Exception):
    """The user's forward raised on inputs that are not known."""


def _followed(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], dead: Mapping[str, Sequence[int]], verb: str
) -> Follower:
    follower = Follower(model, dead, verb)
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        stack.enter_context(torch.no_grad())
        follower.attach()
        stack.callback(follower.detach)
        unknown = [follower.unknown_input(value) for value in args]
        named = {key: follower.unknown_input(value) for key, value in kwargs.items()}
        states = _drawn_from()
        try:
            outputs = model(*unknown, **named)
        except RectifierValueError:
            raise
        except Exception as error:  # anything may come
            raise _Raised from error
        if states != _drawn_from():
            raise RectifierValueError(
                f"{verb}: `model` must compute the same for every input; got {type(model).__name__}, whose forward "
                "pass draws random numbers in evaluation mode. Act on a part of it that draws none."
            )
    follower.see_output(outputs)
    return follower


def _drawn_from() -> tuple[Any, ...]:
    """The random states that a forward pass may draw from."""
    return random.getstate(), repr(np.random.get_state(legacy=False)), torch.get_rng_state().numpy().tobytes()


def _few(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Two examples, where all tensors have more."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    sizes = {value.shape[0] if value.ndim else 0 for value in tensors}
    if len(sizes) != 1 or sizes.pop() < 3:
        return None

    def few(value: Any) -> Any:
        return value[:2] if isinstance(value, torch.Tensor) else value

    return tuple(few(value) for value in args), {key: few(value) for key, value in kwargs.items()}


def _constant(x: torch.Tensor, axis: int) -> torch.Tensor:
    """The value at each place along an axis, float64; NaN where it is not one value, or not known."""
    lines = x.detach().movedim(axis, -1).reshape(-1, x.shape[axis]).to(torch.float64).cpu()
    same = (lines == lines[:1]).all(dim=0)
    return torch.where(same, lines[0], math.nan)


def _line() -> str | None:
    """File and line of the user's code that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(("rectifier.", "torch.")):
            return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None
