"""Judges the JAX functions, compiled, by the reference that the NumPy kernels are held to.

Run with ``python -m benchmarks.jax_accuracy [--sample N] [--only NAMES] [--dtype NAMES] [--json FILE] [--write]``.
Values, and derivatives as ``jax.vjp`` gives them for an upstream gradient of 1: see accuracy.py. ``--write`` puts the
table into docs/frameworks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import accuracy
from rectifier import jax as rj
from rectifier.verify.plan import Case

MARKS = "<!-- accuracy: written by benchmarks/jax_accuracy.py -->", "<!-- end of accuracy -->"


def compiled(case: Case, given: Mapping[str, float]) -> accuracy.Call:
    function = getattr(rj, case.function)

    def value(x: Any) -> Any:
        return function(x, **given)

    def derivative(x: Any) -> Any:
        h, backward = jax.vjp(value, x)
        return backward(jnp.ones_like(h))[0]

    return jax.jit(value if case.kind == "value" else derivative)  # type: ignore[no-any-return]


def main() -> None:
    accuracy.run(
        __doc__.partition("\n")[0],
        MARKS,
        {f"JAX {jax.__version__}, {jax.default_backend()}": compiled},
        lambda dtype: jax.enable_x64(dtype == "float64"),
    )


if __name__ == "__main__":
    main()
