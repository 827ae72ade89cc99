// Written by native/math/make_tables.py; do not edit. To write it again, from the repository root:
//   python native/math/make_tables.py | clang-format > native/math/constants.hpp
#pragma once

namespace rectifier {
namespace {
namespace constants {

// 1 / ln 2.
constexpr double log2_e = 0x1.71547652b82fep+0;

// ln 2 = ln2_hi + ln2_lo + ln2_tail, each rounded to nearest.
constexpr double ln2_hi = 0x1.62e42fefa39efp-1;

// See ln2_hi.
constexpr double ln2_lo = 0x1.abc9e3b39803fp-56;

// See ln2_hi.
constexpr double ln2_tail = 0x1.7b57a079a1934p-111;

// ln 2 cut to 42 bits, so that k * ln2_head is exact for |k| < 2^11.
constexpr double ln2_head = 0x1.62e42fefa3800p-1;

// ln 2 - ln2_head; the two together carry 95 bits.
constexpr double ln2_rest = 0x1.ef35793c76730p-45;

// SELU's lambda, by definition this float64.
constexpr double selu_lambda = 0x1.0cfabd6a91132p+0;

// lambda * alpha, rounded.
constexpr double selu_lambda_alpha_hi = 0x1.c212cc640f030p+0;

// What that rounding left.
constexpr double selu_lambda_alpha_lo = 0x1.092dbf6372048p-54;

// (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, for results of 24 bits or fewer.
// Largest error: 2^-54.4 of the function.
constexpr double expm1_narrow[] = {
    0x1.0000000000001p-1,  0x1.5555555555556p-3,  0x1.5555555553d68p-5,  0x1.11111111109b5p-7,
    0x1.6c16c17889ef1p-10, 0x1.a01a01a7c2efep-13, 0x1.a019b9149a41cp-16, 0x1.71de0db2f6b19p-19,
    0x1.28917c89a43a7p-22, 0x1.af389ecfc4b9cp-26};

// (e^r - 1 - r - r^2 / 2) / r^3 on |r| <= ln 2 / 2, for float64 results.
// Largest error: 2^-58.5 of the function.
constexpr double expm1_wide[] = {
    0x1.5555555555556p-3,  0x1.5555555555555p-5,  0x1.11111111109b5p-7,  0x1.6c16c16c167e2p-10,
    0x1.a01a01a7c2efep-13, 0x1.a01a01a47a591p-16, 0x1.71de0db2f6b19p-19, 0x1.27e4e1f7222cbp-22,
    0x1.af389ecfc4b9cp-26, 0x1.1f66d948a47d2p-29};

// (2 atanh(s) - 2 s) / s^3 in z = s^2, |s| <= 3 - 2 sqrt(2), which is log(1 + f) with s = f / (2 +
// f). Largest error: 2^-60.7 of the function.
constexpr double atanh_tail[] = {0x1.5555555555555p-1, 0x1.9999999999a38p-2, 0x1.2492492476cccp-2,
                                 0x1.c71c720159177p-3, 0x1.745cf9048dd95p-3, 0x1.3b1c355a8f7a2p-3,
                                 0x1.0fbe95d716020p-3, 0x1.0c039c49989c6p-3};

}  // namespace constants
}  // namespace
}  // namespace rectifier
