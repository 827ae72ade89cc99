"""Times a jitted training step, Dense-f-Dense with SGD, with our f beside JAX's own, and says what both keep in memory.

Run with ``python benchmarks/jax_steps.py [--only NAMES] [--rounds N] [--size BATCH,WIDTH,HIDDEN] [--json FILE]
[--write]``. Three ways take turns step by step, in changing order: JAX's f, the same once more ("again", which says how
much of a ratio is chance) and ours; a ratio is one step's time over that of JAX's step of the same round, and what is
shown is the median over the rounds with the quartiles. Processor time, of all threads, is less disturbed where other
programs run. ``--write`` puts the table into docs/frameworks.md.

In memory, in buffers of the hidden layer's size: "kept" is what ``jax.vjp`` of f alone holds, outside of ``jax.jit``;
"step" all that XLA sets aside for the whole step beside its arguments and results.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rectifier
import rectifier.jax as rj

PAGE = Path(__file__).parents[1] / "docs" / "frameworks.md"
BEGIN, END = "<!-- steps: written by benchmarks/jax_steps.py -->", "<!-- end of steps -->"
Activation = Callable[[Any], Any]


def by_callback(name: str) -> Activation:
    """The native kernels, called from the compiled step: what it would cost to have NumPy's bits."""
    function = getattr(rectifier, name)

    @jax.custom_vjp
    def f(z: Any) -> Any:
        return jax.pure_callback(lambda z: function(np.asarray(z)), jax.ShapeDtypeStruct(z.shape, z.dtype), z)

    def gradient(z: Any, dh: Any) -> Any:
        return function.derivative(np.asarray(z)) * np.asarray(dh)

    f.defvjp(
        lambda z: (f(z), z),
        lambda z, dh: (jax.pure_callback(gradient, jax.ShapeDtypeStruct(z.shape, z.dtype), z, dh),),
    )
    return f


#: name: (ours, JAX's own as its users write it, how that is shown)
PAIRS: dict[str, tuple[Activation, Activation, str]] = {
    "relu": (rj.relu, jax.nn.relu, "jax.nn.relu"),
    "leaky_relu": (rj.leaky_relu, jax.nn.leaky_relu, "jax.nn.leaky_relu"),
    "abs": (rj.abs, jnp.abs, "jnp.abs"),
    "relu6": (rj.relu6, jax.nn.relu6, "jax.nn.relu6"),
    "squared_relu": (rj.squared_relu, lambda z: jnp.square(jax.nn.relu(z)), "jnp.square(jax.nn.relu(z))"),
    "elu": (rj.elu, jax.nn.elu, "jax.nn.elu"),
    "celu": (rj.celu, jax.nn.celu, "jax.nn.celu"),
    "selu": (rj.selu, jax.nn.selu, "jax.nn.selu"),
    "softplus": (rj.softplus, jax.nn.softplus, "jax.nn.softplus"),
    "relu, NumPy's kernels": (by_callback("relu"), jax.nn.relu, "jax.nn.relu"),
    "elu, NumPy's kernels": (by_callback("elu"), jax.nn.elu, "jax.nn.elu"),
}


def make_step(f: Activation, size: tuple[int, int, int]) -> tuple[Any, tuple[Any, ...]]:
    """The compiled step and its arguments. size: batch, width, hidden."""
    batch, width, hidden = size
    keys = jax.random.split(jax.random.key(0), 4)
    weights = {
        "in": jax.random.normal(keys[0], (width, hidden)) * (2 / width) ** 0.5,
        "bias": jnp.zeros(hidden),
        "out": jax.random.normal(keys[1], (hidden, width)) * (1 / hidden) ** 0.5,
    }
    x, y = jax.random.normal(keys[2], (batch, width)), jax.random.normal(keys[3], (batch, width))

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return jnp.mean((f(x @ weights["in"] + weights["bias"]) @ weights["out"] - y) ** 2)

    def step(weights: Any, x: Any, y: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(weights, x, y)
        return value, jax.tree.map(lambda w, g: w - 0.01 * g, weights, gradient)

    return jax.jit(step).lower(weights, x, y).compile(), (weights, x, y)


def kept(f: Activation, size: tuple[int, int, int]) -> float:
    """Buffers of the hidden layer's size that the gradient of f(z) alone holds."""
    z = jax.random.normal(jax.random.key(0), (size[0], size[2]))
    _, backward = jax.vjp(f, z)
    return float(sum(leaf.nbytes for leaf in jax.tree.leaves(backward)) / z.nbytes)


def measure(name: str, size: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    ours, theirs, shown = PAIRS[name]
    steps = {"theirs": make_step(theirs, size), "again": make_step(theirs, size), "ours": make_step(ours, size)}
    hidden = size[0] * size[2] * 4
    clocks = {"ratio": time.perf_counter, "work": time.process_time}
    times: dict[str, dict[str, list[float]]] = {clock: {way: [] for way in steps} for clock in clocks}
    order = list(steps)
    for number in range(rounds + 3):  # the first ones warm up
        for way in order:
            step, arguments = steps[way]
            begun = {which: clock() for which, clock in clocks.items()}
            jax.block_until_ready(step(*arguments))
            for which, clock in clocks.items() if number >= 3 else ():
                times[which][way].append(clock() - begun[which])
        order.append(order.pop(0))
    ratios = {
        which: {
            way: statistics.quantiles([a / b for a, b in zip(taken[way], taken["theirs"], strict=True)], n=4)
            for way in ("ours", "again")
        }
        for which, taken in times.items()
    }
    return {
        "name": name,
        "peer": shown,
        "milliseconds": 1e3 * statistics.median(times["ratio"]["theirs"]),
        "ratio": ratios["ratio"],
        "work": ratios["work"],
        "kept": [kept(ours, size), kept(theirs, size)],
        "step": [steps[way][0].memory_analysis().temp_size_in_bytes / hidden for way in ("ours", "theirs")],
    }


def table(rows: list[dict[str, Any]], size: tuple[int, int, int], rounds: int) -> str:
    batch, width, hidden = size
    lines = [
        f"Batch {batch}, Dense {width}-{hidden}-{width}, float32, {rounds} rounds; {machine()}.",
        "",
        "| f | beside | its step, ms | time, ours (again) | processor time, ours (again) | kept, ours (theirs) "
        "| step, ours (theirs) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        time_, work = (
            "{1:.3f} [{0:.3f}, {2:.3f}] ".format(*row[key]["ours"]) + f"({row[key]['again'][1]:.3f})"
            for key in ("ratio", "work")
        )
        kept_, step = (f"{row[key][0]:.2f} ({row[key][1]:.2f})" for key in ("kept", "step"))
        lines.append(
            f"| {row['name']} | `{row['peer']}` | {row['milliseconds']:.1f} | {time_} | {work} | {kept_} | {step} |"
        )
    return "\n".join(lines)


def machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"JAX {jax.__version__}, {jax.default_backend()}, {model}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default=";".join(PAIRS), help="functions, with semicolons")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--size", default="512,512,2048", help="batch, width, hidden")
    parser.add_argument("--json", type=Path, help="rows of an earlier run, which are added to")
    parser.add_argument("--write", action="store_true", help="put the table into docs/frameworks.md")
    given = parser.parse_args()
    batch, width, hidden = map(int, given.size.split(","))
    size = batch, width, hidden
    rows: dict[str, Any] = {}
    if given.json is not None and given.json.exists():
        rows = {row["name"]: row for row in json.loads(given.json.read_text(encoding="utf-8"))}
    for name in given.only.split(";") if given.only else []:
        rows[name] = measure(name, size, given.rounds)
        print(rows[name], flush=True)
    made = table([rows[name] for name in PAIRS if name in rows], size, given.rounds)
    print(made)
    if given.json is not None:
        given.json.write_text(json.dumps(list(rows.values()), indent=1), encoding="utf-8")
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{head}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
