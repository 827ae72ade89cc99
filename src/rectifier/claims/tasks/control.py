"""Reinforcement learning: Gymnasium's CartPole by an actor and a critic, and the units that fall dormant meanwhile."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .health import health
from .images import feed_forward
from .setup import Setup
from .training import first

__all__ = ["cartpole"]

_CARTS = 16
_ROLLOUT = 32
_DISCOUNT = 0.99
_SMOOTHING = 0.95
_ENTROPY = 0.01
_CRITIC = 10.0
"""Weight of the critic's loss: its outputs are in parts of the largest return there is, so its errors are small."""
_CLIP = 0.5
_FLOOR = 1.0
"""Steps. Advantages are divided by their spread and this: a policy that is nearly perfect is not driven by noise."""
_LONGEST = 500
"""Steps after which an episode of CartPole-v1 ends by itself."""
#: Observations are of about these sizes: position, speed, angle, its speed.
_SCALE = torch.tensor([1.0, 1.0, 0.1, 1.0])
_GOALS = (0.2, 0.4, 0.8, 0.95)
_LOOKS = 20
_PLAYED_FROM = 0.75
_PLAYED = 16

Floats = npt.NDArray[np.float64]


class ActorCritic(nn.Module):
    """Two logits and a value from two networks that share nothing."""

    def __init__(self, activation: str, width: int) -> None:
        super().__init__()
        self.actor = feed_forward(activation, 4, 2, width, 2, "none")
        self.critic = feed_forward(activation, 4, 2, width, 1, "none")

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.actor(seen), self.critic(seen)], dim=1)


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
    """1 where the episode ended in either way: what comes after is none of it."""
    valid: torch.Tensor
    """0 where the step set the cart back, whatever the action."""


def cartpole(setup: Setup, *, width: int = 64) -> dict[str, Any]:
    """Advantage actor–critic: two networks of two hidden layers of ``width`` units, from 4 observations.

    One update takes the 512 steps of 16 carts (Mnih et al. 2016, arXiv:1602.01783) with advantages smoothed by λ = 0.95
    (Schulman et al. 2016, arXiv:1506.02438), discount 0.99, entropy bonus 0.01, gradients of norm at most 0.5 and a
    step size that falls to 0.

    validation and test are mean returns ÷ 500 with the likelier action taken, of 16 episodes each, averaged over the
    looks of the last quarter, as a policy can be lost again from one update to the next. ``curve`` is the mean return ÷
    500 of the episodes that ended since the look before, taken as training takes them; train is its last, and
    updates_to_G goes by it. Tells as well: dormant_curve and silent_curve, these shares of units (``health``) on the
    rollout before each look. The rest is as ``training.train`` tells it, without ``loss``.
    """
    model = ActorCritic(setup.activation, width)
    setup.initialise(model)
    with torch.no_grad():
        model.actor.get_parameter("output.weight").mul_(0.1)  # else the first policy is far from even
    looks, ended = _learn(model, setup)
    at, curve = [look.at for look in looks], [look.returned for look in looks]
    played = np.array([look.played for look in looks if look.played is not None])
    validation, test = (0.0, 0.0) if ended["diverged"] else played.mean(axis=0).tolist()
    return {
        **ended,
        "train": curve[-1],
        "validation": validation,
        "test": test,
        "validation_loss": math.nan if ended["diverged"] else 1.0 - validation,
        **{f"updates_to_{goal:g}": first(at, curve, goal) for goal in _GOALS},
        "at": at,
        "curve": curve,
        **looks[-1].health,
        "dormant_curve": [look.health["dormant"] for look in looks],
        "silent_curve": [look.health["silent"] for look in looks],
    }


@dataclass(frozen=True)
class _Look:
    at: int
    returned: float
    health: dict[str, Any]
    played: tuple[float, float] | None


def _learn(model: ActorCritic, setup: Setup) -> tuple[list[_Look], dict[str, Any]]:
    optimizer = setup.make_optimizer(model)
    carts = _Carts(_CARTS, setup)
    marks = {max(1, round(setup.budget * k / _LOOKS)) for k in range(1, _LOOKS + 1)}
    looks: list[_Look] = []
    recent: list[float] = []
    seconds, done, diverged = 0.0, 0, False
    while done < setup.budget and not diverged:
        start = time.thread_time()
        rollout, returns = carts.roll(model)
        for group in optimizer.param_groups:
            group["lr"] = setup.step * (1 - done / setup.budget)
        diverged = not _update(model, optimizer, rollout)
        seconds += time.thread_time() - start
        recent += returns
        done += 1
        if done in marks or diverged:
            last = looks[-1].returned if looks else 0.0
            returned = sum(recent) / len(recent) / _LONGEST if recent else last
            recent.clear()
            played = _evaluate(model, setup.seed) if done > _PLAYED_FROM * setup.budget and not diverged else None
            looks.append(_Look(done, returned, health(model, rollout.seen.flatten(0, 1)), played))
    return looks, {"updates": done, "diverged": diverged, "seconds": seconds}


class _Carts:
    """Gymnasium's carts, going on from one rollout to the next."""

    def __init__(self, many: int, setup: Setup) -> None:
        self.carts = _made(many)
        self.seen, _ = self.carts.reset(seed=1000 * setup.seed)
        self.chance = np.random.default_rng([setup.seed, 1])
        self.returns = np.zeros(many)
        self.over = np.zeros(many, dtype=bool)

    def roll(self, model: ActorCritic) -> tuple[Rollout, list[float]]:
        """32 steps of every cart, and the returns of the episodes that ended in them."""
        rows: list[tuple[Any, ...]] = []
        ended_returns: list[float] = []
        for _ in range(_ROLLOUT):
            with torch.no_grad():
                likely = model.actor(_scaled(self.seen)).softmax(dim=1)[:, 1].numpy()
            actions = (self.chance.random(len(likely)) < likely).astype(np.int64)
            before, valid = self.seen, ~self.over
            self.seen, rewards, fell, stopped, _ = self.carts.step(actions)
            self.over = fell | stopped
            self.returns += rewards
            ended_returns += self.returns[self.over].tolist()
            self.returns[self.over] = 0.0
            rows.append((before, actions, rewards, fell, self.over, valid))
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
    values = outputs[..., 2] / (1 - _DISCOUNT)  # the critic tells of returns in parts of the largest there is
    advantages = _advantages(rollout, values.detach())
    chances = outputs[:-1, :, :2].log_softmax(dim=-1)
    taken = chances.gather(2, rollout.actions[:, :, None]).squeeze(2)
    entropy = -(chances.exp() * chances).sum(dim=-1)
    valid = rollout.valid.bool()
    mean, std = advantages[valid].mean(), advantages[valid].std()
    policy = -taken * (advantages - mean) / (std + _FLOOR)
    value = _CRITIC * ((1 - _DISCOUNT) * (values[:-1] - values.detach()[:-1] - advantages)).square()
    loss = ((policy + value - _ENTROPY * entropy) * rollout.valid).sum() / rollout.valid.sum()
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
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


def _evaluate(model: ActorCritic, seed: int) -> tuple[float, float]:
    """Mean return ÷ 500 of one episode of each cart: of those for validation, and of those for the test."""
    carts = _made(2 * _PLAYED)
    seen, _ = carts.reset(seed=1000 * seed + 1)
    lasting = np.ones(2 * _PLAYED, dtype=bool)
    returns = np.zeros(2 * _PLAYED)
    with torch.no_grad():
        while lasting.any():
            seen, rewards, fell, stopped, _ = carts.step(model.actor(_scaled(seen)).argmax(dim=1).numpy())
            returns += rewards * lasting
            lasting &= ~(fell | stopped)
    halves = returns.reshape(2, -1).mean(axis=1) / _LONGEST
    return float(halves[0]), float(halves[1])


def _made(many: int) -> Any:
    return gymnasium.make_vec("CartPole-v1", num_envs=many, vectorization_mode="vector_entry_point")


def _scaled(seen: npt.NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(seen) / _SCALE
