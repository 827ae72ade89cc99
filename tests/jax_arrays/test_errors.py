"""Every refusal, by its whole text."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import rectifier
import rectifier.jax as rj
import rectifier.torch as rt
from rectifier import RectifierTypeError, RectifierValueError

X = jnp.array([-1.0, 2.0])
N = np.array([-1.0, 2.0])
HOLDS = "`x` must hold float16, bfloat16, float32, float64, integers or bool"

TYPES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rj.relu([1.0, 2.0]),  # type: ignore[arg-type]
        "relu: `x` must be a JAX array; got list. Pass jax.numpy.asarray(x), or call rectifier.relu on an array of "
        "another kind.",
    ),
    (
        lambda: rj.relu(torch.ones(2)),  # type: ignore[arg-type]
        "relu: `x` must be a JAX array; got Tensor. Pass jax.numpy.asarray(x), or call rectifier.relu on an array of "
        "another kind.",
    ),
    (
        lambda: rj.relu(jnp.array([1j])),
        f"relu: {HOLDS}; got complex64. Apply it to x.real and x.imag, or to jax.numpy.abs(x).",
    ),
    (
        lambda: rj.elu(jnp.ones(2, jnp.float8_e4m3fn)),
        f"elu: {HOLDS}; got float8_e4m3fn. Convert it with x.astype(jax.numpy.float32).",
    ),
    (
        lambda: rj.elu(jnp.ones(2, jnp.int4)),
        f"elu: {HOLDS}; got int4. Convert it with x.astype(jax.numpy.float32).",
    ),
    (
        lambda: rj.elu(jax.random.key(0)),
        f"elu: {HOLDS}; got key<fry>. Convert it with x.astype(jax.numpy.float32).",
    ),
    (
        lambda: jax.jit(lambda a: rj.relu(X, at_zero=a))(0.5),
        "relu: `at_zero` must be known while tracing, as it decides what is kept for the backward pass; got a traced "
        "float32[]. Pass a Python number, or mark it static (static_argnames).",
    ),
    (
        lambda: jax.jit(lambda c: rj.relu6(jnp.arange(3), ceiling=c))(2),
        "relu6: `ceiling` must be known while tracing, as it decides whether integers stay integers; got a traced "
        "int32[]. Pass a Python number, or mark it static (static_argnames).",
    ),
    (
        lambda: jax.grad(lambda a: rj.elu(X, alpha=a).sum())(1.5),
        "elu: `alpha` must be fixed; got an array that is differentiated. Pass jax.lax.stop_gradient(alpha); only "
        "`negative_slope` can be learned.",
    ),
    (
        lambda: jax.jvp(lambda b: rj.softplus(X, beta=b), (1.5,), (1.0,)),
        "softplus: `beta` must be fixed; got an array that is differentiated. Pass jax.lax.stop_gradient(beta); only "
        "`negative_slope` can be learned.",
    ),
    (
        lambda: rj.leaky_relu(X, negative_slope=jnp.array([True])),
        "leaky_relu: `negative_slope` must be a number or an array of numbers; got an array of bool. Pass a number "
        "such as 0.01.",
    ),
    (
        lambda: rj.elu(X, alpha="a"),  # type: ignore[arg-type]
        "elu: `alpha` must be a number or an array of numbers; got 'a'. Pass a number such as 1.0.",
    ),
    (
        lambda: rj.prelu(X, negative_slope=None),  # type: ignore[arg-type]
        "prelu: `negative_slope` must be given; got none. Pass a number such as 0.01, or an array of them.",
    ),
    (
        lambda: rj.elu(X, save=1),  # type: ignore[arg-type]
        "elu: `save` must be one of 'gate', 'input', 'output'; got 1. Leave it out.",
    ),
    # What NumPy's functions have and JAX's have not.
    (
        lambda: rectifier.relu(X, out=np.empty(2)),
        "relu: `out` and `where` must be left out for a JAX array; they are NumPy's, and JAX's arrays cannot be "
        "written to. Assign the result instead, or choose with jax.numpy.where.",
    ),
    (
        lambda: rectifier.relu(X, where=np.array([True, False])),
        "relu: `out` and `where` must be left out for a JAX array; they are NumPy's, and JAX's arrays cannot be "
        "written to. Assign the result instead, or choose with jax.numpy.where.",
    ),
    (
        lambda: rectifier.relu(X, slope=0.1),
        "relu: `slope` is not a parameter of it; got slope=0.1. It has no parameters.",
    ),
    (
        lambda: rectifier.relu(X, at_zero=0.1),
        "relu: `at_zero` is not a parameter of it; got at_zero=0.1. relu.derivative takes it, and relu of "
        "rectifier.torch, rectifier.jax and rectifier.tensorflow.",
    ),
    (
        lambda: rectifier.sigmoid(X),
        "sigmoid: `x` must be a NumPy array, as this function is here to compare with; got a JAX array. Call the "
        "framework's own, or pass numpy.asarray(x), outside of jit.",
    ),
    # Arrays of two frameworks in one call.
    (
        lambda: rj.leaky_relu(X, negative_slope=torch.ones(2)),  # type: ignore[arg-type]
        "leaky_relu: `negative_slope` must be a number, a NumPy array or an array of JAX, as x is; got one of PyTorch. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.relu6(jnp.arange(3), ceiling=torch.ones(3)),
        "relu6: `ceiling` must be a number, a NumPy array or an array of JAX, as x is; got one of PyTorch. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_relu(torch.ones(2), negative_slope=X),
        "leaky_relu: `negative_slope` must be a number, a NumPy array or an array of PyTorch, as x is; got one of JAX. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rt.prelu(torch.ones(2), negative_slope=X),  # type: ignore[arg-type]
        "prelu: `negative_slope` must be a number, a NumPy array or an array of PyTorch, as x is; got one of JAX. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_relu(N, negative_slope=X),
        "leaky_relu: `negative_slope` must be a number or an array of NumPy, as x is; got one of JAX. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.relu6(np.arange(3), ceiling=torch.ones(3)),
        "relu6: `ceiling` must be a number or an array of NumPy, as x is; got one of PyTorch. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_relu.with_gate(N, negative_slope=torch.ones(2)),
        "leaky_relu.with_gate: `negative_slope` must be a number or an array of NumPy, as x is; got one of PyTorch. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_average(N, X[1:] / 4, axis=0),
        "leaky_average: `alpha` must be a number or an array of NumPy, as x is; got one of JAX. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_average(torch.ones(2, 2), X[1:] / 4),
        "leaky_average: `alpha` must be a number, a NumPy array or an array of PyTorch, as x is; got one of JAX. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rectifier.leaky_relu(torch.ones(2), negative_slope=dask.array.ones(2)),
        "leaky_relu: `negative_slope` must be a number, a NumPy array or an array of PyTorch, as x is; got one of "
        "dask. Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: rj.leaky_relu(X, negative_slope=dask.array.ones(2)),  # type: ignore[arg-type]
        "leaky_relu: `negative_slope` must be a number, a NumPy array or an array of JAX, as x is; got one of dask. "
        "Convert one of them: a call cannot mix frameworks.",
    ),
    (
        lambda: jax.jit(lambda s: rectifier.prelu(N, negative_slope=s))(0.5),
        "prelu: `negative_slope` must be a number or an array of numbers; got JitTracer(~float32[]). "
        "Pass x as a JAX array too.",
    ),
]

#: What is for NumPy alone.
METHODS: dict[str, Callable[[Any], Any]] = {
    "relu.derivative": rectifier.relu.derivative,
    "relu.gate": rectifier.relu.gate,
    "abs.with_gate": rectifier.abs.with_gate,
    "relu.backward": lambda x: rectifier.relu.backward(x, rectifier.relu.gate(N)),
    "elu.inverse": rectifier.elu.inverse,
    "prelu.slope_derivative": rectifier.prelu.slope_derivative,
}

VALUES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: rj.elu(X, alpha=-1.0),
        "elu: `alpha` must be finite and greater than 0; got -1.0. Pass a number such as 1.0.",
    ),
    (
        lambda: rj.relu(X, at_zero=2.0),
        "relu: `at_zero` must lie in [0, 1]; got 2.0. Pass a number such as 0.5.",
    ),
    (
        lambda: rj.leaky_relu(X, negative_slope=jnp.array([0.5, jnp.inf])),
        "leaky_relu: `negative_slope` must be finite; got inf. Pass a number such as 0.01.",
    ),
    (
        lambda: rj.leaky_relu(X, negative_slope=jnp.ones(3)),
        "leaky_relu: `negative_slope` must broadcast with x of shape (2,); got shape (3,). Give it one value for each "
        "entry of the last axis, or reshape it with jax.numpy.expand_dims.",
    ),
    (
        lambda: rj.relu(X, save="input"),
        "relu: `save` must be 'gate', which tells the whole derivative in a bit a value; got 'input'. Leave it out.",
    ),
    (
        lambda: rj.elu(X, save="gate"),
        "elu: `save` must be 'input' or 'output', as its derivative takes more values than one bit tells; got 'gate'. "
        "Leave it out.",
    ),
    (
        lambda: rj.prelu(X, negative_slope=jnp.array([-1.0, 1.0]), save="output"),
        "prelu: `save` must be 'input' where a slope is not above 0, as the output does not tell the input there; got "
        "'output' and a slope of -1. Leave it out.",
    ),
]


@pytest.mark.parametrize(("call", "message"), TYPES, ids=[message[:60] for _, message in TYPES])
def test_refused_types(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierTypeError) as refused:
        call()
    assert refused.value.args == (message,)


@pytest.mark.parametrize(("call", "message"), VALUES, ids=[message[:60] for _, message in VALUES])
def test_refused_values(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(RectifierValueError) as refused:
        call()
    assert refused.value.args == (message,)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("function", METHODS)
def test_what_is_for_numpy_alone(function: str, traced: bool) -> None:
    with pytest.raises(RectifierTypeError) as refused:
        (jax.jit(METHODS[function]) if traced else METHODS[function])(X)
    assert str(refused.value) == (
        f"{function}: `x` must be a NumPy array; got a JAX array. Pass numpy.asarray(x), outside of jit, or "
        "differentiate with jax.grad."
    )


def test_a_learned_slope_that_has_diverged_shows_as_nan() -> None:
    assert jnp.isnan(rj.prelu(X, negative_slope=jnp.array(jnp.nan))[0])


ABSENT = """
import sys
sys.modules[{hidden!r}] = None
try:
    import {module}
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("hidden", "module"),
    [("jax", "rectifier.jax"), ("flax", "rectifier.jax.nnx"), ("equinox", "rectifier.jax.equinox")],
)
def test_what_is_not_installed_is_named_with_its_extra(hidden: str, module: str) -> None:
    printed = subprocess.run(
        [sys.executable, "-c", ABSENT.format(hidden=hidden, module=module)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[2],
    ).stdout
    assert printed == (
        f'{module}: `{hidden}` must be installed; it was not found. Run: pip install "rectifier[{hidden}]"\n'
    )


def test_no_framework_is_imported_for_the_user() -> None:
    code = "import sys, numpy, rectifier; rectifier.relu(numpy.ones(2)); print('jax' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"
