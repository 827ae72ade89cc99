"""Times a jitted training step, Dense-f-Dense with SGD, with our f beside JAX's own, and says what both keep in memory.

Run with ``python -m benchmarks.jax_steps [--only NAMES] [--rounds N] [--size BATCH,WIDTH,HIDDEN] [--json FILE]
[--write]``; how it is timed: see steps.py. ``--write`` puts the table into docs/frameworks.md.

In memory, in buffers of the hidden layer's size: "kept" is what ``jax.vjp`` of f alone holds, outside of ``jax.jit``;
"step" all that XLA sets aside for the whole step beside its arguments and results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rectifier
import rectifier.jax as rj
from benchmarks import steps

MARKS = "<!-- steps: written by benchmarks/jax_steps.py -->", "<!-- end of steps -->"
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


def make_step(f: Activation, size: steps.Size) -> tuple[Any, tuple[Any, ...]]:
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


def kept(f: Activation, size: steps.Size) -> float:
    """Buffers of the hidden layer's size that the gradient of f(z) alone holds."""
    z = jax.random.normal(jax.random.key(0), (size[0], size[2]))
    _, backward = jax.vjp(f, z)
    return float(sum(leaf.nbytes for leaf in jax.tree.leaves(backward)) / z.nbytes)


def measure(name: str, size: steps.Size, rounds: int) -> dict[str, Any]:
    ours, theirs, shown = PAIRS[name]
    made = {"theirs": make_step(theirs, size), "again": make_step(theirs, size), "ours": make_step(ours, size)}
    hidden = size[0] * size[2] * 4

    def bound(step: Any, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        return lambda: jax.block_until_ready(step(*arguments))

    temporary = [made[way][0].memory_analysis().temp_size_in_bytes / hidden for way in ("ours", "theirs")]
    return {
        "name": name,
        "peer": shown,
        **steps.take_turns({way: bound(*step) for way, step in made.items()}, rounds),
        "more": {
            "kept, ours (theirs)": f"{kept(ours, size):.2f} ({kept(theirs, size):.2f})",
            "step, ours (theirs)": "{:.2f} ({:.2f})".format(*temporary),
        },
    }


def main() -> None:
    how = f"JAX {jax.__version__}, {jax.default_backend()}"
    steps.run(__doc__.partition("\n")[0], MARKS, list(PAIRS), measure, how)


if __name__ == "__main__":
    main()
