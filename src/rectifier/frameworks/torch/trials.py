"""Short trainings of copies of a PyTorch model, each from the same state and with the same batches."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ...checkup.plan import Act, Wanted
from ...errors import RectifierTypeError, RectifierValueError
from .calm import undisturbed
from .checkup import arguments
from .rescaling import rescale as scale_all
from .sites import identify

__all__ = ["Patient", "adopt", "draw", "isolated", "patient_of", "rescale", "seed_all"]

_INPUTS = "trial: `data` must yield pairs (inputs, targets) whose inputs are tensors, or a tuple or dict of them"


class Patient:
    """A model with the optimizer that steps it: one remedy is tried on each copy."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.model, self.optimizer = model, optimizer

    def copy(self) -> Patient:
        """Weights, buffers and the optimizer's memory, apart from the originals.

        The optimizer's own way to copy leaves out what a subclass adds, so that its attributes are copied one by one.
        """
        memo: dict[int, Any] = {}
        try:
            model = copy.deepcopy(self.model, memo)
            optimizer = object.__new__(type(self.optimizer))
            for key, value in vars(self.optimizer).items():
                hooks = "_hook" in key  # the user's, or those of a watch: they are about the original
                vars(optimizer)[key] = type(value)() if hooks else copy.deepcopy(value, memo)
        except Exception as error:  # what a copy raises is the user's
            raise RectifierValueError(
                f"trial: `model` must be one that can be copied, with its optimizer; got {type(self.model).__name__}, "
                f"where copying raised {type(error).__name__}: {error}. Pass a function of a seed that returns "
                "(model, optimizer)."
            ) from error
        return Patient(model, optimizer)

    def slow(self, factor: float) -> None:
        """Multiply the step size."""
        for group in self.optimizer.param_groups:
            if "lr" not in group:
                raise RectifierValueError(
                    f"trial: `smaller` must be None where the optimizer has no step size; got {factor} with "
                    f'{type(self.optimizer).__name__}, whose groups have no "lr". Pass smaller=None.'
                )
            group["lr"] = group["lr"] * factor

    def train(self, batches: Iterable[tuple[Any, Any]], loss: Callable[[Any, Any], Any], clip: float | None) -> None:
        """One step a batch, in training mode. clip: largest norm of the gradient of all parameters together."""
        if not self.model.training:
            self.model.train()
        owned = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for inputs, targets in batches:
            args, kwargs = arguments(inputs, _INPUTS)

            def closure(args: Any = args, kwargs: Any = kwargs, targets: Any = targets) -> Any:
                self.optimizer.zero_grad()
                value = loss(self.model(*args, **kwargs), targets)
                value.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(owned, clip)
                return value

            self.optimizer.step(closure)

    def judge(self, batches: Iterable[tuple[Any, Any]], score: Callable[[Any, Any], Any]) -> float:
        """Mean of the score over the examples, in evaluation mode."""
        total, examples = 0.0, 0
        with undisturbed(self.model), torch.no_grad():
            for inputs, targets in batches:
                args, kwargs = arguments(inputs, _INPUTS)
                first = next(value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
                rows = int(first.shape[0]) if first.ndim else 1
                total += rows * float(score(self.model(*args, **kwargs), targets))
                examples += rows
        return total / max(examples, 1)


def patient_of(model: Any, optimizer: Any, where: str) -> Patient:
    """A model and its optimizer, refused where they do not belong together. where: the argument they came from."""
    if not isinstance(model, nn.Module):
        raise RectifierTypeError(
            f"trial: {where} must give a torch.nn.Module; got {type(model).__name__}. Return (model, optimizer)."
        )
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise RectifierTypeError(
            f"trial: {where} must come with the torch.optim.Optimizer that trains it; got "
            f"{'None' if optimizer is None else type(optimizer).__name__}. Pass it as `optimizer`, or pass a function "
            "of a seed that returns (model, optimizer)."
        )
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in owned for parameter in model.parameters()):
        raise RectifierValueError(
            f"trial: `optimizer` must step parameters of the model; got {type(optimizer).__name__} with none of them. "
            "Make it from model.parameters()."
        )
    return Patient(model, optimizer)


@contextmanager
def isolated(model: Any, data: Any) -> Iterator[None]:
    """Afterwards the random states, those of the data's generators too, are as before, also where the body raises."""
    holder = model if isinstance(model, nn.Module) else nn.Module()
    modes = [(module, module.training) for module in holder.modules()]
    with undisturbed(holder, batches=data):
        for module, training in modes:  # copies are to train as the model does
            module.training = training
        yield


def rescale(
    model: nn.Module, optimizer: torch.optim.Optimizer, probe: Any, starts: Mapping[str, float | str] | None
) -> list[Act]:
    """The scale of every layer repaired, whether or not a finding asks for it."""
    return scale_all(model, Wanted({}, {}, False, {}), optimizers=(optimizer,), probe=probe, starts=starts)[0]


def adopt(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer the parameters that a swap brought in."""
    owned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    new = [p for layer in model.modules() if identify(layer) for p in layer.parameters() if id(p) not in owned]
    if new:
        optimizer.add_param_group({"params": new})


def seed_all(seed: int) -> None:
    """Seed the random states that a training draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def draw(data: Iterable[Any], steps: int, seed: int) -> tuple[list[Any], int]:
    """``steps`` batches in an order of this seed, and how many of them make one pass over the data.

    They are kept, so that every remedy gets the same ones, whatever random numbers it uses up.
    """
    generator = torch.Generator().manual_seed(seed)
    seed_all(seed)
    drawn: list[Any] = []
    epoch = 0
    while len(drawn) < steps:
        batches: Sequence[Any] = list(data)
        if not batches:
            break
        order = torch.randperm(len(batches), generator=generator).tolist()
        drawn += [batches[place] for place in order]
        epoch = epoch or len(batches)
    return drawn[:steps], min(epoch, steps)
