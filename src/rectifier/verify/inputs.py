"""The inputs of a case: every bit pattern, or a sample that holds each exponent, each edge and each hard case."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import oracle
from .plan import Case

__all__ = ["HARD", "dtype_of", "patterns", "sample"]

Array = npt.NDArray[Any]

# ½ + x/4 is a tie of float32 that only −x³/48 breaks, beyond a long double's digits; then where kernels change method.
_SIGMOID = (
    *((odd * 2.0**scale).hex() for scale in (-23, -24) for odd in range(1, 146, 2)),
    *("0x1p-10", "0x1.fffffep-11", "0x1.e75002p-11"),
)
#: float32 inputs whose exact result lies next to a tie, by function and kind: of all 2³², those that long double leaves
#: undecided.
HARD: dict[tuple[str, oracle.Kind], tuple[str, ...]] = {
    # 2^-58 from a tie: a double cannot tell.
    ("softplus", "value"): ("0x1.d483ap-12",),
    ("softplus", "derivative"): _SIGMOID,
    ("sigmoid", "value"): _SIGMOID,
    ("selu", "value"): ("-0x1.dbd9c4p-2",),
    ("selu", "derivative"): ("-0x1.7e7bacp-7",),
}

#: Kinks, where results round to 0 or to 1, where exponentials leave their formats, and ln 2.
EDGES = (0.0, 1.0, 6.0, 0.5, float(np.log(2)), 16.7, 17.4, 20.0, 36.1, 87.4, 88.8, 103.98, 104.1, 708.4, 709.8, 745.2)


def dtype_of(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 is ml_dtypes'."""
    scalar: Any = name
    if name == "bfloat16":
        import ml_dtypes

        scalar = ml_dtypes.bfloat16
    dtype: np.dtype[Any] = np.dtype(scalar)
    return dtype


def patterns(dtype: str, start: int, stop: int) -> Array:
    """The values whose bits are the integers from start to stop."""
    kind = dtype_of(dtype)
    return np.arange(start, stop, dtype=f"uint{8 * kind.itemsize}").view(kind)


def sample(case: Case, seed: int = 0) -> Array:
    """``case.count`` inputs, the same for the same seed: a third any bit pattern, a third the working range, the
    neighbourhood of each edge and power of two, the smallest and largest numbers, infinities, NaN, hard cases.
    """
    assert case.count is not None
    dtype = dtype_of(case.dtype)
    bits: Any = np.dtype(f"uint{8 * dtype.itemsize}")
    rng = np.random.default_rng([seed, *case.label.encode()])
    third = max(1, case.count // 3)
    anything = rng.integers(0, 2 ** (8 * dtype.itemsize), third, dtype=bits).view(dtype)
    with np.errstate(all="ignore"):
        working = (rng.choice([-1.0, 1.0], third) * 10 ** rng.uniform(-5, 2.9, third)).astype(dtype)
        centres = np.array([*EDGES, *(v for v in case.parameters.values())]).astype(dtype)
        exponents = np.arange(-1074 if case.dtype == "float64" else -149, 11)
        powers = np.ldexp(1.0, rng.permutation(exponents)[: case.count // 32]).astype(dtype)
        hard = np.array([float.fromhex(h) for h in HARD.get((case.function, case.kind), ())]).astype(dtype)
    steps = rng.integers(-40, 41, (16, centres.size))
    around = np.concatenate([_moved(centres, steps), _moved(powers, [[-1], [0], [1]]), centres])
    ends = _ends(dtype, bits)
    one_sided = np.concatenate([hard, ends, around])
    wanted = np.concatenate([one_sided, -one_sided, _results(case, working), working, anything]).view(bits)
    # Once each, in this order.
    wanted = wanted[np.sort(np.unique(wanted, return_index=True)[1])]
    if wanted.size < case.count:
        more = rng.integers(0, 2 ** (8 * dtype.itemsize), case.count - wanted.size, dtype=bits)
        wanted = np.concatenate([wanted, more])
    return np.ascontiguousarray(wanted[: max(case.count, hard.size + ends.size)]).view(dtype)


def _moved(centres: Array, steps: npt.ArrayLike) -> Array:
    """The numbers so many representable ones away."""
    bits = centres.view(f"int{8 * centres.dtype.itemsize}")
    moved: Array = np.abs(bits.astype(np.int64) + np.asarray(steps)).ravel().astype(bits.dtype)
    return moved.view(centres.dtype)


def _ends(dtype: np.dtype[Any], bits: np.dtype[Any]) -> Array:
    """The smallest and largest numbers of both kinds, infinity and NaN."""
    digits, low, high = oracle.FORMATS[dtype.name]
    normal = (1 << (digits - 1)) - 1
    infinity = (high - low + 2) << (digits - 1)
    return np.array([0, 1, 2, normal, normal + 1, infinity - 1, infinity, infinity + 1], bits).view(dtype)


def _results(case: Case, x: Array) -> Array:
    """For an inverse: values of the function, so that most inputs lie in its domain."""
    if case.kind != "inverse":
        return x[:0]
    from .subjects import kernel

    with np.errstate(all="ignore"):
        value: Array = kernel(case.function, "value", case.dtype, case.parameter)(x)
    return value
