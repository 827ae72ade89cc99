"""Types of the compiled module (native/module.cpp)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

# x, then the parameters that broadcast with it
relu: np.ufunc
leaky_relu: np.ufunc
abs: np.ufunc
relu6: np.ufunc
squared_relu: np.ufunc
elu: np.ufunc
celu: np.ufunc
selu: np.ufunc
softplus: np.ufunc
sigmoid: np.ufunc
tanh: np.ufunc
threshold: np.ufunc

relu_derivative: np.ufunc
leaky_relu_derivative: np.ufunc
leaky_relu_slope_derivative: np.ufunc
abs_derivative: np.ufunc
relu6_derivative: np.ufunc
squared_relu_derivative: np.ufunc
elu_derivative: np.ufunc
celu_derivative: np.ufunc
selu_derivative: np.ufunc
softplus_derivative: np.ufunc
sigmoid_derivative: np.ufunc
tanh_derivative: np.ufunc
threshold_derivative: np.ufunc

leaky_relu_inverse: np.ufunc
elu_inverse: np.ufunc
celu_inverse: np.ufunc
selu_inverse: np.ufunc
softplus_inverse: np.ufunc

class Caller:
    def __init__(
        self,
        slow: Callable[..., Any],
        ufunc: np.ufunc | None,
        name: str | None,
        defaults: dict[np.dtype[Any], Any],
        numbers: dict[np.dtype[Any], dict[float, Any]],
        low: float,
        high: float,
    ) -> None: ...
    def __call__(self, x: Any, out: Any, where: Any, parameters: dict[str, Any], /) -> Any: ...

def register_bfloat16(dtype: Any) -> None: ...
def empty_like(array: npt.NDArray[Any]) -> npt.NDArray[Any]: ...
def keep_at_most(bytes: int) -> int: ...
def pack_gate(x: npt.NDArray[Any]) -> npt.NDArray[np.uint8]: ...
def isa() -> str: ...
def supported_isas() -> list[str]: ...
def use_isa(name: str) -> None: ...
def with_gate(
    name: str,
    x: npt.NDArray[Any],
    out: npt.NDArray[Any],
    parameter: float | npt.NDArray[Any] | None,
    inner: int,
    gate: npt.NDArray[np.uint8],
    plane: npt.NDArray[np.uint8] | None,
) -> bool: ...
def backward(
    name: str,
    dh: npt.NDArray[Any],
    out: npt.NDArray[Any],
    parameter: float | npt.NDArray[Any] | None,
    inner: int,
    gate: npt.NDArray[np.uint8],
    plane: npt.NDArray[np.uint8] | None,
) -> None: ...
def value_at(name: str, type: int, x: int, out: int, n: int, parameter: float, watched: bool, /) -> bool: ...
def with_gate_at(
    name: str,
    type: int,
    x: int,
    out: int,
    n: int,
    parameter: float | tuple[int, int, int],
    gate: int,
    plane: int,
    /,
) -> bool: ...
def backward_at(
    name: str,
    type: int,
    dh: int,
    out: int,
    n: int,
    parameter: float | tuple[int, int, int],
    gate: int,
    plane: int,
    /,
) -> None: ...
def gradient_at(
    name: str, type: int, kept: int, dh: int, out: int, n: int, parameter: float | tuple[int, int, int], /
) -> None: ...
def average_at(
    type: int,
    v: int,
    dmu: int,
    out: int,
    outer: int,
    time: int,
    inner: int,
    alpha: int,
    alpha_step: int,
    initial: int,
    initial_step: int,
    d_alpha: int,
    d_initial: int,
    /,
) -> None: ...
def count_gates(
    bits: npt.NDArray[np.uint8], sizes: tuple[int, ...], kept: tuple[bool, ...], counts: npt.NDArray[np.int64]
) -> None: ...
def copy_past_cache(out: npt.NDArray[Any], from_: npt.NDArray[Any], /) -> None: ...
def threads() -> int: ...
def set_threads(n: int) -> None: ...
def stream_from(bytes: int) -> int: ...
