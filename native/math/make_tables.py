"""Write native/math/constants.hpp: polynomial coefficients and split constants.

Run from the repository root, with mpmath and clang-format installed::

    python native/math/make_tables.py | clang-format > native/math/constants.hpp

Every polynomial is the truncated Chebyshev expansion of its function (mpmath, 60 digits), near the
minimax polynomial; the coefficients are then rounded to float64. The error written beside each one
is the largest found on 4,001 points *after* that rounding, with the polynomial evaluated exactly, as
a share of the whole function (e^r - 1, or log), so it can be added to the rounding errors.
"""

import struct
from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 60
Real = mp.mpf

HALF_LN2 = mp.log(2) / 2
ATANH_LIMIT = 3 - 2 * mp.sqrt(2)
SELU_LAMBDA = Real(1.0507009873554805)
SELU_ALPHA = Real(1.6732632423543772)


def expm1_tail(first: int) -> Callable[[Real], Real]:
    """(e^r - its Taylor terms below r^first) / r^first, which the kernels evaluate as a polynomial."""
    return lambda r: mp.fsum(r**j / mp.factorial(j + first) for j in range(36))


def atanh_tail(z: Real) -> Real:
    """(2 atanh(s) - 2 s) / s^3 with z = s^2."""
    return mp.fsum(2 * z**j / (2 * j + 3) for j in range(50))


def log1p_tail(f: Real) -> Real:
    """(log(1 + f) - f + f^2 / 2) / f^3."""
    return mp.fsum((-1) ** j * f**j / (j + 3) for j in range(60))


def polynomial(
    name: str,
    why: str,
    function: Callable[[Real], Real],
    interval: tuple[Real, Real],
    terms: int,
    share: Callable[[Real], Real],
) -> str:
    coefficients = [float(c) for c in mp.chebyfit(function, interval, terms)]
    exact = [Real(c) for c in coefficients]
    low, high = interval
    worst = Real(0)
    for i in range(4001):
        at = low + (high - low) * i / 4000
        worst = max(worst, abs((mp.polyval(exact, at) - function(at)) * share(at)))
    ascending = ", ".join(c.hex() for c in reversed(coefficients))
    return (
        f"// {why}\n// Largest error: 2^{float(mp.log(worst, 2)):.1f} of the function.\n"
        f"constexpr double {name}[] = {{{ascending}}};\n"
    )


def as_float(value: Real) -> float:
    """The nearest float32."""
    return struct.unpack("f", struct.pack("f", float(value)))[0]


def quick_polynomial(
    name: str, why: str, function: Callable[[Real], Real], interval: tuple[Real, Real], terms: int
) -> str:
    """A polynomial in float32; its error is measured as a share of `function` itself."""
    coefficients = [as_float(c) for c in mp.chebyfit(function, interval, terms)]
    exact = [Real(c) for c in coefficients]
    low, high = interval
    points = [low + (high - low) * i / 4000 for i in range(4001)]
    worst = max(abs(mp.polyval(exact, at) / function(at) - 1) for at in points)
    ascending = ", ".join(c.hex() + "f" for c in reversed(coefficients))
    return (
        f"// {why}\n// Largest error: 2^{float(mp.log(worst, 2)):.1f} of it.\n"
        f"constexpr float {name}[] = {{{ascending}}};\n"
    )


def quick_table(name: str, why: str, values: list[float]) -> str:
    return f"// {why}\nconstexpr float {name}[16] = {{{', '.join(v.hex() + 'f' for v in values)}}};\n"


def quick_scalar(name: str, value: float, why: str) -> str:
    return f"// {why}\nconstexpr float {name} = {value.hex()}f;\n"


def quick_parts() -> list[str]:
    """Tables of the float32 paths: 2^(i/16) and what they need."""
    step = mp.log(2) / 16
    head = as_float(step)
    powers = [as_float(mp.power(2, Real(i) / 16)) for i in range(16)]
    shifted = [
        struct.unpack("f", struct.pack("I", struct.unpack("I", struct.pack("f", p))[0] - (i << 19)))[0]
        for i, p in enumerate(powers)
    ]
    left = [as_float(mp.power(2, Real(i) / 16) / Real(p) - 1) for i, p in enumerate(powers)]
    limit = step / 2 * Real("1.0001")
    # For 1 + v within 1/30 of 1 + i/15: a reciprocal of ten bits, so that its product with 19 bits is exact in 24
    # once 1 is taken off, and minus its logarithm.
    reciprocals = [Real(int(mp.nint(1024 / (1 + Real(i) / 15)))) / 1024 for i in range(16)]
    logarithms = [-mp.log(c) for c in reciprocals]
    reach = Real("1.0001") / 30
    widest = max(abs((1 + Real(i) / 15 + side * reach) * c - 1) for i, c in enumerate(reciprocals) for side in (-1, 1))
    return [
        quick_scalar("steps_e", as_float(1 / step), "16 / ln 2."),
        quick_scalar("step_hi", head, "ln 2 / 16 = step_hi + step_lo, each rounded to nearest."),
        quick_scalar("step_lo", as_float(step - Real(head)), "See step_hi."),
        quick_table(
            "sixteenths",
            "2^(i/16) rounded; i * 2^19 is taken from the bits, since the reduction adds it with the exponent.",
            shifted,
        ),
        quick_table("sixteenths_left", "2^(i/16) over its rounded value, less 1.", left),
        quick_polynomial("expm1_quick", "(e^r - 1 - r) / r^2 on |r| <= ln 2 / 32.", expm1_tail(2), (-limit, limit), 3),
        quick_table("fifteenths", "1 / (1 + i/15) to ten bits.", [float(c) for c in reciprocals]),
        quick_table("fifteenths_log", "-log of that, rounded.", [as_float(v) for v in logarithms]),
        quick_table(
            "fifteenths_log_lo", "What that rounding left.", [as_float(v - Real(as_float(v))) for v in logarithms]
        ),
        quick_polynomial(
            "log1p_quick",
            f"(log(1 + f) - f + f^2 / 2) / f^3 on |f| <= {float(widest):.4f}.",
            log1p_tail,
            (-widest, widest),
            4,
        ),
    ]


def scalar(name: str, value: Real, why: str) -> str:
    return f"// {why}\nconstexpr double {name} = {float(value).hex()};\n"


def main() -> None:
    ln2 = mp.log(2)
    head = Real(int(mp.floor(ln2 * 2**42))) / 2**42
    middle = Real(float(ln2 - head))
    double = Real(float(ln2))
    product = SELU_LAMBDA * SELU_ALPHA
    narrow = (-HALF_LN2, HALF_LN2)
    parts = [
        scalar("log2_e", 1 / ln2, "1 / ln 2."),
        scalar("ln2_hi", double, "ln 2 = ln2_hi + ln2_lo + ln2_tail, each rounded to nearest."),
        scalar("ln2_lo", ln2 - double, "See ln2_hi."),
        scalar("ln2_tail", ln2 - double - Real(float(ln2 - double)), "See ln2_hi."),
        scalar("ln2_head", head, "ln 2 cut to 42 bits, so that k * ln2_head is exact for |k| < 2^11."),
        scalar("ln2_rest", middle, "ln 2 - ln2_head; the two together carry 95 bits."),
        scalar("selu_lambda", SELU_LAMBDA, "SELU's lambda, by definition this float64."),
        scalar("selu_lambda_alpha_hi", product, "lambda * alpha, rounded."),
        scalar("selu_lambda_alpha_lo", product - Real(float(product)), "What that rounding left."),
        polynomial(
            "expm1_narrow",
            "(e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, for results of 24 bits or fewer.",
            expm1_tail(2),
            narrow,
            10,
            lambda r: r * r / mp.expm1(r) if r else Real(0),
        ),
        polynomial(
            "expm1_wide",
            "(e^r - 1 - r - r^2 / 2) / r^3 on |r| <= ln 2 / 2, for float64 results.",
            expm1_tail(3),
            narrow,
            10,
            lambda r: r**3 / mp.expm1(r) if r else Real(0),
        ),
        polynomial(
            "atanh_tail",
            "(2 atanh(s) - 2 s) / s^3 in z = s^2, |s| <= 3 - 2 sqrt(2), which is log(1 + f) with s = f / (2 + f).",
            atanh_tail,
            (Real(0), ATANH_LIMIT**2),
            8,
            lambda z: z * mp.sqrt(z) / (2 * mp.atanh(mp.sqrt(z))) if z else Real(0),
        ),
    ]
    parts += quick_parts()
    print("// Written by native/math/make_tables.py; do not edit. To write it again, from the repository root:")
    print("//   python native/math/make_tables.py | clang-format > native/math/constants.hpp")
    print("#pragma once\n\nnamespace rectifier {\nnamespace {\nnamespace constants {\n")
    print("\n".join(parts))
    print("}  // namespace constants\n}  // namespace\n}  // namespace rectifier")


if __name__ == "__main__":
    main()
