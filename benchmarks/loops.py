"""Times the long loops side by side with PyTorch, NumPy and a streaming copy of the same bytes, as ratios.

Run with ``python benchmarks/loops.py [PART…] [--values N] [--threads N] [--rounds N] [--json FILE]``; the parts are
listed under ``--help``. float32. The candidates of one line run in turn, round after round, so that a change of the
machine's speed meets all of them; PyTorch's workers spin for a while after each of its calls, which is part of what is
measured. Medians, with the fastest run in brackets; a ratio above 1 means that rectifier is faster. A candidate in
brackets runs in its turn and is not reported. For PyTorch with huge pages run the part ``fresh`` again, with
THP_MEM_ALLOC_ENABLE=1 in the environment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rectifier
from rectifier import _native
from rectifier.bench.machine import machine

Run = Callable[[], Any]
Line = tuple[str, dict[str, Run]]
aten = torch.ops.aten


def resident(values: int) -> np.ndarray:
    """Zeros with memory behind them that begin on a cache line."""
    memory = np.zeros(values + 16, np.float32)
    start = (-memory.ctypes.data % 64) // 4
    memory[:] = 1.0
    return memory[start : start + values]


def normal(values: int) -> np.ndarray:
    x = resident(values)
    x[:] = np.random.default_rng(0).standard_normal(values, dtype=np.float32)
    return x


def forward(values: int) -> Iterator[Line]:
    x, out = normal(values), resident(values)
    tensor, result = torch.from_numpy(x), torch.from_numpy(out)
    zero, six, slope = np.float32(0), np.float32(6), np.float32(0.01)
    whole = values // 16 * 16
    ways: dict[str, tuple[Run, Run, Run]] = {
        "relu": (
            lambda: _native.relu(x, out=out),
            lambda: torch.clamp_min(tensor, 0, out=result),
            lambda: np.maximum(x, zero, out=out),
        ),
        "leaky_relu": (
            lambda: _native.leaky_relu(x, slope, out=out),
            lambda: torch._C._nn.leaky_relu(tensor, 0.01, out=result),
            lambda: np.maximum(x, np.multiply(x, slope, out=out), out=out),
        ),
        "abs": (
            lambda: _native.abs(x, out=out),
            lambda: torch.abs(tensor, out=result),
            lambda: np.abs(x, out=out),
        ),
        "relu6": (
            lambda: _native.relu6(x, six, out=out),
            lambda: torch._C._nn.hardtanh(tensor, 0.0, 6.0, out=result),
            lambda: np.clip(x, zero, six, out=out),
        ),
        "squared_relu": (
            lambda: _native.squared_relu(x, out=out),
            lambda: torch.clamp_min(tensor, 0, out=result).square_(),
            lambda: np.square(np.maximum(x, zero, out=out), out=out),
        ),
    }
    for name, (ours, pytorch, numpy) in ways.items():
        yield (
            name,
            {
                "rectifier": ours,
                "PyTorch out=": pytorch,
                "NumPy out=": numpy,
                "streaming copy": lambda: _native.copy_past_cache(out[:whole], x[:whole]),
            },
        )


def gate(values: int) -> Iterator[Line]:
    x, out = normal(values), resident(values)
    bits = np.ones(-(-values // 8), np.uint8)
    plane = bits.copy()
    for name, kernel, parameter, second in (
        ("relu", "relu", None, None),
        ("leaky_relu", "leaky_relu", 0.01, None),
        ("abs", "abs", None, plane),
        ("relu6", "relu6", 6.0, plane),
        ("squared_relu", "squared_relu", None, None),
    ):
        alone = [] if parameter is None else [np.float32(parameter)]
        yield (
            f"{name} with gate",
            {
                "rectifier": lambda k=kernel, p=parameter, s=second: _native.with_gate(k, x, out, p, 1, bits, s),
                "without gate": lambda k=kernel, a=alone: getattr(_native, k)(x, *a, out=out),
            },
        )


def fresh(values: int) -> Iterator[Line]:
    x = normal(values)
    tensor = torch.from_numpy(x)

    def unkept() -> Any:
        before = _native.keep_at_most(0)
        try:
            return rectifier.relu(x)
        finally:
            _native.keep_at_most(before)

    yield (
        "relu, new result",
        {
            "rectifier": lambda: rectifier.relu(x),
            "PyTorch allocating": lambda: torch.relu(tensor),
            "NumPy allocating": lambda: np.maximum(x, np.float32(0)),
            "with_gate": lambda: rectifier.relu.with_gate(x),
            "in fresh memory": unkept,
        },
    )


def backward(values: int) -> Iterator[Line]:
    z, dh, out = normal(values), resident(values), resident(values)
    bits = _native.pack_gate(z)
    inputs, gradient, result = torch.from_numpy(z), torch.from_numpy(dh), torch.from_numpy(out)
    yield (
        "relu backward",
        {
            "rectifier": lambda: _native.backward("nothing", dh, out, None, 1, bits, None),
            "PyTorch grad_input=": lambda: aten.threshold_backward.grad_input(gradient, inputs, 0, grad_input=result),
        },
    )
    yield (
        "leaky backward",
        {
            "rectifier": lambda: _native.backward("slope", dh, out, 0.01, 1, bits, None),
            "PyTorch grad_input=": lambda: aten.leaky_relu_backward.grad_input(
                gradient, inputs, 0.01, False, grad_input=result
            ),
        },
    )
    yield (
        "abs backward",
        {
            "rectifier": lambda: _native.backward("mirror", dh, out, None, 1, bits, None),
            "PyTorch (2 ops)": lambda: torch.mul(gradient, inputs.sgn(), out=result),
        },
    )


def exponential(values: int) -> Iterator[Line]:
    x, out = normal(values), resident(values)
    dh = resident(values)
    tensor, gradient, result = torch.from_numpy(x), torch.from_numpy(dh), torch.from_numpy(out)
    one, scale, alpha = np.float32(1), 1.0507009873554805, 1.6732632423543772
    elu = torch._C._nn.elu
    yield "elu", {"rectifier": lambda: _native.elu(x, one, out=out), "PyTorch out=": lambda: elu(tensor, out=result)}
    yield (
        "celu",
        {"rectifier": lambda: _native.celu(x, one, out=out), "PyTorch out=": lambda: elu(tensor, 1.0, 1.0, out=result)},
    )
    yield (
        "selu",
        {
            "rectifier": lambda: _native.selu(x, out=out),
            "PyTorch out=": lambda: elu(tensor, alpha, scale, out=result),
        },
    )
    yield (
        "softplus",
        {
            "rectifier": lambda: _native.softplus(x, one, out=out),
            "PyTorch out=": lambda: torch._C._nn.softplus(tensor, out=result),
        },
    )
    yield (
        "softplus derivative",
        {
            "rectifier": lambda: _native.softplus_derivative(x, one, out=out),
            "PyTorch grad_input=": lambda: aten.softplus_backward.grad_input(
                gradient, tensor, 1.0, 20.0, grad_input=result
            ),
        },
    )


def idioms(_: int) -> Iterator[Line]:
    """1 M values, one thread, memory that is there already where NumPy can use it."""
    x, out, more = normal(1 << 20), resident(1 << 20), resident(1 << 20)
    one = np.float32(1)

    def alone(call: Run) -> Run:
        def run() -> None:
            threads = _native.threads()
            _native.set_threads(1)
            call()
            _native.set_threads(threads)

        return run

    yield (
        "1 M, one thread: elu",
        {
            "rectifier": alone(lambda: _native.elu(x, one, out=out)),
            "np.where(x > 0, x, np.expm1(x))": lambda: np.where(x > 0, x, np.expm1(x, out=more)),
        },
    )
    yield (
        "1 M, one thread: softplus",
        {
            "rectifier": alone(lambda: _native.softplus(x, one, out=out)),
            "np.logaddexp(0, x)": lambda: np.logaddexp(0, x, out=out),
            "np.log1p(np.exp(x))": lambda: np.log1p(np.exp(x, out=out), out=out),
        },
    )


def after(values: int) -> Iterator[Line]:
    """Right after a loop of PyTorch's, whose workers then spin for a while."""
    x, out = normal(values), resident(values)
    tensor = torch.ones(1 << 20)
    yield (
        "relu after PyTorch",
        {
            "(PyTorch)": lambda: tensor.mul_(1.0),
            "rectifier": lambda: _native.relu(x, out=out),
            "(pause)": lambda: time.sleep(0.03),
            "alone": lambda: _native.relu(x, out=out),
        },
    )


def many(call: Run, times: int) -> Run:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def counts(_: int) -> Iterator[Line]:
    shapes: list[tuple[tuple[int, ...], Any]] = [
        ((1024, 1024), 0),
        ((16384, 64), 0),
        ((1000, 1000), 0),
        ((104858, 10), 0),
        ((64, 16, 32, 32), (0, 2, 3)),
        ((64, 256, 7, 7), (0, 2, 3)),
    ]
    for shape, axis in shapes:
        h = np.maximum(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 0)
        packed = rectifier.relu.gate(h)
        # Ten calls a turn: a first one after the other candidate's is a measure of its memory, not of the counting.
        yield (
            f"count {'×'.join(map(str, shape))}, ten times",
            {
                "rectifier": many(lambda g=packed, a=axis: g.count(axis=a), 10),
                "NumPy (h > 0).sum": many(lambda h=h, a=axis: (h > 0).sum(axis=a), 10),
            },
        )


def small(_: int) -> Iterator[Line]:
    x = np.linspace(-1, 1, 16, dtype=np.float32)
    slopes = np.full(16, 0.01, np.float32)

    out = np.empty_like(x)
    leaky = rectifier.leaky_relu
    maximum = many(lambda: np.maximum(x, 0.0), 2000)
    into = many(lambda: np.maximum(x, 0.0, out=out), 2000)
    calls: dict[str, tuple[Run, Run]] = {
        "relu": (lambda: rectifier.relu(x), maximum),
        "relu, out=": (lambda: rectifier.relu(x, out=out), into),
        "relu derivative": (lambda: rectifier.relu.derivative(x), maximum),
        "leaky": (lambda: leaky(x, negative_slope=0.2), maximum),
        "leaky, out=": (lambda: leaky(x, negative_slope=0.2, out=out), into),
        "leaky, array": (lambda: leaky(x, negative_slope=slopes), maximum),
        "leaky derivative": (lambda: leaky.derivative(x, negative_slope=0.2), maximum),
        "leaky derivative, out=": (lambda: leaky.derivative(x, negative_slope=0.2, out=out), into),
    }
    for name, (ours, theirs) in calls.items():
        peer = "np.maximum(x, 0.0, out=)" if theirs is into else "np.maximum(x, 0.0)"
        yield f"16 values: {name}", {"rectifier": many(ours, 2000), peer: theirs}


PARTS = {part.__name__: part for part in (forward, gate, fresh, backward, exponential, idioms, after, counts, small)}


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            times[key].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--values", type=int, default=1 << 26, help="float32 values a call (default: 64 M)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if options.json and options.json.exists():
        parser.error(f"{options.json} exists; choose another file")

    torch.set_num_threads(options.threads)
    _native.set_threads(options.threads)
    header = {**machine(), "values": options.values, "threads": options.threads}
    print("  ".join(f"{key}: {value}" for key, value in header.items()))
    rows = []
    for part in options.parts or PARTS:
        for name, runs in PARTS[part](options.values):
            times = {key: t for key, t in measure(runs, options.rounds).items() if not key.startswith("(")}
            ours = times.pop("rectifier")
            median = statistics.median(ours)
            ratios = {peer: [statistics.median(t) / median, min(t) / min(ours)] for peer, t in times.items()}
            shown = "  ".join(f"{peer} {middle:.2f} [{best:.2f}]" for peer, (middle, best) in ratios.items())
            print(f"{name:34}{1e3 * median:9.3f} ms [{1e3 * min(ours):.3f}]   × {shown}", flush=True)
            rows.append({"name": name, "seconds": ours, "ratios": ratios})
    if options.json:
        options.json.write_text(json.dumps({**header, "rows": rows}, indent=1), encoding="utf-8")
        print(f"Wrote {options.json}")


if __name__ == "__main__":
    main()
