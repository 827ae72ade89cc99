"""Reinforcement learning: Gymnasium's CartPole by an actor and a critic, and the units that fall dormant meanwhile."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from .health import health
from .layers import layer
from .setup import Setup
from .training import first

__all__ = ["cartpole"]

_CARTS = 16
_ROLLOUT = 32
_DISCOUNT = 0.99
_SMOOTHING = 0.95
_ENTROPY = 0.01
_LONGEST = 500
"""Steps after which an episode of CartPole-v1 ends by itself."""
#: Observations are of about these sizes: position, speed, angle, its speed.
_SCALE = torch.tensor([1.0, 1.0, 0.1, 1.0])
_GOALS = (0.2, 0.4, 0.8, 0.95)
_LOOKS = 20

Floats = npt.NDArray[np.float64]


@dataclass
class Rollout:
    """What 16 carts did in 32 steps, (steps, carts)."""

    seen: torch.Tensor
    """Observations, and those after the last step: (33, 16, 4)."""
    actions: torch.Tensor
    rewards: torch.Tensor
    ended: torch.Tensor
    """1 where the pole fell or the cart left."""
    cut: torch.Tensor
    """1 where the episode ended by itself, or its cart was set back: nothing to learn from what comes after."""
    valid: torch.Tensor
    """0 where the step set the cart back, whatever the action."""


def cartpole(setup: Setup, *, width: int = 64) -> dict[str, Any]:
    """Advantage actor–critic: 4 observations, two hidden layers of ``width`` units, 2 actions and 1 value.

    One update takes the 512 steps of 16 carts (Mnih et al. 2016, arXiv:1602.01783) with advantages smoothed by λ = 0.95
    (Schulman et al. 2016, arXiv:1506.02438), discount 0.99, entropy bonus 0.01 and gradients of norm at most 0.5.

    The scores are mean returns ÷ 500 of 32 episodes with the likelier action taken: validation and test differ in the
    seeds of the carts. ``curve`` is that of the episodes that ended since the look before, taken as training takes them;
    train is its last. at and updates_to_G count updates as elsewhere. Tells as well: dormant_curve, the share of
    dormant units at each look (``health``) on the rollout just made, and silent_curve.
    """
    model = nn.Sequential(
        OrderedDict(
            linear1=nn.Linear(4, width),
            act1=layer(setup.activation),
            linear2=nn.Linear(width, width),
            act2=layer(setup.activation),
            output=nn.Linear(width, 3),
        )
    )
    setup.initialise(model)
    with torch.no_grad():
        model.get_parameter("output.weight").mul_(0.1)  # else the first policy is far from even
    optimizer = setup.make_optimizer(model)
    carts = _Carts(_CARTS, setup)
    marks = {max(1, round(setup.budget * k / _LOOKS)) for k in range(1, _LOOKS + 1)}
    at, curve, dormant, silent, recent = list[int](), list[float](), list[float](), list[float](), list[float]()
    seconds, done, diverged = 0.0, 0, False
    while done < setup.budget and not diverged:
        start = time.thread_time()
        rollout, returns = carts.roll(model)
        diverged = not _update(model, optimizer, rollout)
        seconds += time.thread_time() - start
        recent += returns
        done += 1
        if done in marks or diverged:
            found = health(model, rollout.seen.flatten(0, 1))
            at.append(done)
            curve.append(sum(recent) / len(recent) / _LONGEST if recent else (curve[-1] if curve else 0.0))
            dormant.append(found["dormant"])
            silent.append(found["silent"])
            recent.clear()
    validation = 0.0 if diverged else _evaluate(model, 1000 * setup.seed + 1)
    return {
        "updates": done,
        "diverged": diverged,
        "train": curve[-1],
        "validation": validation,
        "test": 0.0 if diverged else _evaluate(model, 1000 * setup.seed + 2),
        "validation_loss": math.nan if diverged else 1.0 - validation,
        "validation_error": math.nan if diverged else 1.0 - validation,
        **{f"updates_to_{goal:g}": first(at, curve, goal) for goal in _GOALS},
        "at": at,
        "curve": curve,
        "seconds": seconds,
        **health(model, rollout.seen.flatten(0, 1)),
        "dormant_curve": dormant,
        "silent_curve": silent,
    }


class _Carts:
    """Gymnasium's carts, going on from one rollout to the next."""

    def __init__(self, many: int, setup: Setup) -> None:
        self.carts = gymnasium.make_vec("CartPole-v1", num_envs=many, vectorization_mode="vector_entry_point")
        self.seen, _ = self.carts.reset(seed=1000 * setup.seed)
        self.chance = np.random.default_rng([setup.seed, 1])
        self.returns = np.zeros(many)
        self.over = np.zeros(many, dtype=bool)

    def roll(self, model: nn.Module) -> tuple[Rollout, list[float]]:
        """32 steps of every cart, and the returns of the episodes that ended in them."""
        rows: list[tuple[Any, ...]] = []
        ended_returns: list[float] = []
        for _ in range(_ROLLOUT):
            with torch.no_grad():
                likely = model(_scaled(self.seen))[:, :2].softmax(dim=1)[:, 1].numpy()
            actions = (self.chance.random(len(likely)) < likely).astype(np.int64)
            before, valid = self.seen, ~self.over
            self.seen, rewards, fell, stopped, _ = self.carts.step(actions)
            self.over = fell | stopped
            self.returns += rewards
            ended_returns += self.returns[self.over].tolist()
            self.returns[self.over] = 0.0
            rows.append((before, actions, rewards, fell, self.over | ~valid, valid))
        seen, actions, rewards, fell, cut, valid = (np.stack(column) for column in zip(*rows, strict=True))
        rollout = Rollout(
            _scaled(np.concatenate([seen, self.seen[None]])),
            torch.from_numpy(actions),
            *(torch.from_numpy(part.astype(np.float32)) for part in (rewards, fell, cut, valid)),
        )
        return rollout, ended_returns


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, rollout: Rollout) -> bool:
    """One step of the optimizer; False where the loss was not finite."""
    outputs = model(rollout.seen.flatten(0, 1)).reshape(_ROLLOUT + 1, -1, 3)
    values = outputs[..., 2]
    advantages = _advantages(rollout, values.detach())
    chances = outputs[:-1, :, :2].log_softmax(dim=-1)
    taken = chances.gather(2, rollout.actions[:, :, None]).squeeze(2)
    entropy = -(chances.exp() * chances).sum(dim=-1)
    valid = rollout.valid.bool()
    mean, std = advantages[valid].mean(), advantages[valid].std()
    policy = -taken * (advantages - mean) / (std + 1e-6)
    value = F.smooth_l1_loss(values[:-1], (advantages + values.detach()[:-1]), reduction="none")
    loss = ((policy + value - _ENTROPY * entropy) * rollout.valid).sum() / rollout.valid.sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return math.isfinite(loss.item())


def _advantages(rollout: Rollout, values: torch.Tensor) -> torch.Tensor:
    """Σ (γλ)^k δ_{t+k} up to the episode's end, δ_t = r_t + γ V_{t+1} − V_t, with V = 0 after a fall."""
    delta = rollout.rewards + _DISCOUNT * values[1:] * (1 - rollout.ended) - values[:-1]
    found = torch.zeros_like(delta)
    carried = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        carried = delta[t] + _DISCOUNT * _SMOOTHING * (1 - rollout.cut[t]) * carried
        found[t] = carried
    return found


def _evaluate(model: nn.Module, seed: int, many: int = 32) -> float:
    """Mean return ÷ 500 of one episode of each cart."""
    carts = gymnasium.make_vec("CartPole-v1", num_envs=many, vectorization_mode="vector_entry_point")
    seen, _ = carts.reset(seed=seed)
    lasting = np.ones(many, dtype=bool)
    total = 0.0
    with torch.no_grad():
        while lasting.any():
            actions = model(_scaled(seen))[:, :2].argmax(dim=1).numpy()
            seen, rewards, fell, stopped, _ = carts.step(actions)
            total += float(rewards[lasting].sum())
            lasting &= ~(fell | stopped)
    return total / many / _LONGEST


def _scaled(seen: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(seen) / _SCALE
