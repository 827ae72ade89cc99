"""What a patient is, what a tool is given of it, and what a tool answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import nn

__all__ = ["DEAD", "Answer", "Case", "Label", "Patient", "Place", "Tool", "Visit", "bare", "call"]

Tensor = torch.Tensor
Batches = list[tuple[Any, Tensor]]
Loss = Callable[[Any, Tensor], Tensor]

#: The truth about one unit.
#:
#: dead     never fires, for no input of the patient's box (planted)
#: rare     fires at 1 % of the examples or fewer, and at some of those that the tool is given (planted)
#: dormant  fires, but its mean \|h\| is at most 0.025 of its site's mean (planted)
#: open     fires at every example (planted)
#: closed   never fires, but its rectifier has a living negative part: no fault (planted)
#: live     fires at more than 1 % of the examples, and not at all of them
#: alive    nobody planted anything, and it fires at more than 1 % of the examples given: all that is scored of it is a
#:          death
#: idle     nobody planted anything, and it fires at none of the examples given, or at so few that silence in a part of
#:          them is no error: not scored
Label = Literal["dead", "rare", "dormant", "open", "closed", "live", "alive", "idle"]
DEAD = "dead"


@dataclass(frozen=True)
class Place:
    """One place where a rectifier is applied, by each name that a tool may call it."""

    name: str
    """The module's qualified name, with ``@n`` at its n-th further call; or ``relu#n``, the n-th call in a module."""
    layer: str
    """The layer with weights that makes the units."""
    norm: str | None = None
    """The batch normalisation between that layer and the rectifier."""
    module: str | None = None
    """The activation module; None where a function is called."""


@dataclass(frozen=True, eq=False)
class Visit:
    """What a tool is given: everything but the truth."""

    model: nn.Module
    batches: Batches
    loss: Loss
    places: tuple[Place, ...]
    optimizer: torch.optim.Optimizer
    """Made for this model. Where the patient is not about training its step size is 0: the training loop runs, and what
    was planted stays planted."""
    train: Callable[[Callable[[Tensor], None] | None], None]
    """``train(after_backward)`` runs the training loop; ``after_backward(loss)`` is called before each step."""


@dataclass(frozen=True)
class Answer:
    """What a tool says. Dictionaries are by :attr:`Place.name`."""

    dead: Mapping[str, set[int]] = field(default_factory=dict)
    """Units said never to fire, be it called dead, silent or inactive."""
    proved: Mapping[str, set[int]] = field(default_factory=dict)
    """Those of them for which a proof is claimed."""
    counts: Mapping[str, int] | None = None
    """For a tool that does not say which: how many units of a place it calls dead. ``dead`` is then left empty, and not
    looked at."""
    others: Mapping[str, Mapping[str, set[int]]] = field(default_factory=dict)
    """label → place → units, for the labels that are no death."""
    scales: frozenset[str] = frozenset()
    """``"vanishing"``, ``"exploding"``: of gradients or activations."""
    alarms: tuple[str, ...] = ()
    """All that it raises as a fault, one line each: what a healthy control must not give."""
    unseen: frozenset[str] = frozenset()
    """Places that it says it could not see."""
    causes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """place → unit → cause, in the benchmark's words."""
    fired: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """place → examples at which each unit fired, where the tool tells."""
    elsewhere: tuple[str, ...] = ()
    """What it named that is no place of the patient's."""


class Tool(Protocol):
    """An adapter."""

    name: str
    live: bool
    """True: it watches training, and runs ``visit.train`` itself. False: it looks at a model that is trained."""

    def version(self) -> str | None:
        """Of what it adapts; None where that is not installed."""

    def diagnose(self, visit: Visit) -> Answer:
        """Run the tool. What it raises is recorded as its error."""


@dataclass(frozen=True, eq=False)
class Case:
    """One patient, built: what tools are given, and the truth."""

    model: nn.Module
    batches: Batches
    loss: Loss
    places: tuple[Place, ...]
    truth: Mapping[str, tuple[Label, ...]]
    """place → label of each unit."""
    z: Callable[[nn.Module, Any], dict[str, Tensor]]
    """The pre-activations of each place, shape (examples, units), computed by hand and not by watching the model; as
    the model's mode says (a batch normalisation in training mode uses the batch)."""
    draw: Callable[[int, torch.Generator], Any]
    """So many more inputs of the same kind."""
    ceiling: Mapping[str, Tensor] = field(default_factory=dict)
    """place → an upper bound of z over the whole box of inputs, where one could be had by hand."""
    scales: frozenset[str] = frozenset()
    """What its scales do, of ``"vanishing"`` and ``"exploding"``."""
    causes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """place → unit → why it is dead, where training made it so."""
    rate: float = 0.0
    """Step size of the training loop."""
    prepare: Callable[[nn.Module, int], None] | None = None
    """``prepare(model, step)`` is called before each step: how a cause is planted. It may change gradients."""
    epochs: int = 1
    wrap: Callable[[nn.Module], nn.Module] | None = None
    """How the model is handed to the tools (compiled, data parallel)."""

    def planted(self, label: str = DEAD) -> dict[str, set[int]]:
        """place → units with this label."""
        return {name: {unit for unit, is_ in enumerate(labels) if is_ == label} for name, labels in self.truth.items()}

    def run(self, model: nn.Module, optimizer: torch.optim.Optimizer, after: Callable[[Tensor], None] | None) -> None:
        """The training loop. ``model`` may be the wrapped one."""
        model.train()
        step = 0
        for _ in range(self.epochs):
            for inputs, targets in self.batches:
                optimizer.zero_grad()
                value = self.loss(call(model, inputs), targets)
                value.backward()
                step += 1
                if self.prepare is not None:
                    self.prepare(self.model, step)
                if after is not None:
                    after(value.detach())
                optimizer.step()

    def trained(self) -> Case:
        """The same patient after its training; itself where training moves nothing."""
        if not self.rate:
            return self
        end = replace(self, model=copy.deepcopy(self.model), wrap=None)
        end.visit().train(None)
        return replace(end, rate=0.0)

    def visit(self) -> Visit:
        model = self.model if self.wrap is None else self.wrap(self.model)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=self.rate)
        return Visit(
            model,
            self.batches,
            self.loss,
            self.places,
            optimizer,
            lambda after=None: self.run(model, optimizer, after),
        )


def bare(name: str) -> str:
    """A module's name without what wraps the model (data parallel, compiled)."""
    return ".".join(part for part in name.split(".") if part not in ("module", "_orig_mod"))


def call(model: nn.Module, inputs: Any) -> Any:
    """One forward pass: inputs are a tensor, a tuple of arguments or a dict of keywords."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@dataclass(frozen=True)
class Patient:
    """A recipe for a case."""

    name: str
    about: str
    """One line: the model, and what was planted."""
    build: Callable[..., Case]
    """``build(seed, small=False)``; small: fewer examples, for tests."""
    healthy: bool = False
    """Nothing is wrong with it: every alarm is a false one."""
    ranks: int = 1
    """Processes that share the batches."""
