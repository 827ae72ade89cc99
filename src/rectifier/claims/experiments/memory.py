"""How long a leaky unit remembers, seen from outside: by what its state still has in common with past inputs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

import rectifier

from ..lab.experiment import Config, Outcome, experiment

__all__ = ["remembered"]


@experiment(version=1)
def remembered(config: Config) -> Outcome:
    """``many`` leaky units with ``alpha`` are driven by noise for ``steps`` steps; states are held against inputs.

    kept: covariance of the state with the input of k steps ago, as a share of that with the last one, k = 0 … ``lags``
    fades: the number of steps in which ``kept`` falls to 1/e
    age: the mean age of what is in the state, the last input counted as 1, by the response to a single 1
    gradient: the number of steps in which ∂state/∂input falls to 1/e, by PyTorch's autograd
    """
    alpha, lags = config["alpha"], config["lags"]
    drive = np.random.default_rng(config["seed"]).standard_normal((config["many"], config["steps"]))
    state = rectifier.leaky_average(drive, alpha, axis=1)[:, lags:]
    common = np.array([(state * drive[:, lags - k : drive.shape[1] - k]).mean() for k in range(lags + 1)])
    response = rectifier.leaky_average(np.eye(1, 100 * lags)[0], alpha)
    ages = np.arange(1, len(response) + 1)
    return {
        "kept": (common / common[0]).tolist(),
        "fades": _steps(common),
        "age": float((ages * response).sum() / response.sum()),
        "gradient": _steps(_gradients(alpha, lags)),
    }


def _gradients(alpha: float, lags: int) -> npt.NDArray[np.float64]:
    """∂(state at the end)/∂(input of k steps before), k = 0 … lags."""
    import torch

    import rectifier.torch as rt

    drive = torch.zeros(lags + 1, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(rt.leaky_average(drive, alpha)[-1], drive)
    back: npt.NDArray[np.float64] = found.numpy()[::-1]
    return back


def _steps(values: npt.NDArray[np.float64]) -> float:
    """Steps to 1/e of the first, by the line through the logarithms of those that are above a fifth of it."""
    shares = np.append(values / values[0], 0.0)
    above = int(np.argmax(shares < 0.2))
    k = np.arange(max(above, 2))
    slope = float((k * np.log(np.maximum(shares[k], 1e-9))).sum() / (k**2).sum())
    return -1.0 / slope if slope < 0 else math.inf
