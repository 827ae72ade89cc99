"""Times of the leaky average beside other ways to write it; fills the tables of docs/leaky.md.

Run: python -m benchmarks.leaky [--page docs/leaky.md]
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import scipy.signal
import torch

import rectifier
import rectifier.torch as rt
from rectifier import _native

BEGIN, END = "<!-- times -->", "<!-- end of times -->"
ROUNDS = 7


def numpy_steps(v: np.ndarray, alpha: float) -> np.ndarray:
    out, mu = np.empty_like(v), np.zeros(v.shape[::2], v.dtype)
    a, b = v.dtype.type(alpha), v.dtype.type(1 - alpha)
    for t in range(v.shape[1]):
        mu = a * mu + b * v[:, t]
        out[:, t] = mu
    return out


def torch_steps(v: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    mu, out = torch.zeros_like(v[:, 0]), []
    for value in v.unbind(1):
        mu = alpha * mu + (1 - alpha) * value
        out.append(mu)
    return torch.stack(out, 1)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each call, the median of interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS + 1):
        for name, call in calls.items():
            start = perf_counter()
            call()
            if turn:  # the first warms up
                times[name].append(perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def forward(shape: tuple[int, int, int]) -> dict[str, float]:
    v = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    out = np.empty_like(v)
    return medians(
        {
            "rectifier": lambda: rectifier.leaky_average(v, 0.9, axis=1, out=out),
            "NumPy, a step at a time": lambda: numpy_steps(v, 0.9),
            "scipy.signal.lfilter": lambda: scipy.signal.lfilter([0.1], [1.0, -0.9], v, axis=1),
        }
    )


def training(shape: tuple[int, int, int]) -> dict[str, float]:
    v = torch.randn(shape, requires_grad=True)
    alpha = torch.full(shape[2:], 0.9, requires_grad=True)

    def run(function: Callable[..., torch.Tensor], **keywords: int) -> None:
        torch.autograd.grad(function(v, alpha, **keywords).sum(), (v, alpha))

    return medians(
        {
            "rectifier.torch": lambda: run(rt.leaky_average, axis=1),
            "PyTorch, a step at a time": lambda: run(torch_steps),
        }
    )


def table(title: str, shapes: list[tuple[int, int, int]], measure: Callable[..., dict[str, float]]) -> str:
    rows = {shape: measure(shape) for shape in shapes}
    names = list(rows[shapes[0]])
    lines = [f"| {title} | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for shape, times in rows.items():
        cells = (f"{1e3 * times[name]:.3g} ms" for name in names)
        lines.append(f"| {' × '.join(map(str, shape))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", type=Path, help="the page whose tables are replaced")
    page = parser.parse_args().page
    shapes = [(8, 100, 64), (64, 500, 256), (1, 100_000, 1)]
    text = "\n\n".join(
        (
            f"Two threads, {_native.isa()} instructions, {platform.machine()}, float32, batch × time × units; the "
            f"median of {ROUNDS} interleaved rounds.",
            table("forward", shapes, forward),
            table("forward and backward", shapes[:2], training),
        )
    )
    print(text)
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
