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

// 16 / ln 2.
constexpr float steps_e = 0x1.7154760000000p+4f;

// ln 2 / 16 = step_hi + step_lo, each rounded to nearest.
constexpr float step_hi = 0x1.62e4300000000p-5f;

// See step_hi.
constexpr float step_lo = -0x1.05c6100000000p-33f;

// 2^(i/16) rounded; i * 2^19 is taken from the bits, since the reduction adds it with the exponent.
constexpr float sixteenths[16] = {
    0x1.0000000000000p+0f, 0x1.fb55860000000p-1f, 0x1.f72b840000000p-1f, 0x1.f387a60000000p-1f,
    0x1.f06fe00000000p-1f, 0x1.edea640000000p-1f, 0x1.ebfdae0000000p-1f, 0x1.eab07e0000000p-1f,
    0x1.ea09e60000000p-1f, 0x1.ea11480000000p-1f, 0x1.eace540000000p-1f, 0x1.ec49180000000p-1f,
    0x1.ee89fa0000000p-1f, 0x1.f199be0000000p-1f, 0x1.f5818e0000000p-1f, 0x1.fa4afa0000000p-1f};

// 2^(i/16) over its rounded value, less 1.
constexpr float sixteenths_left[16] = {0x0.0p+0f,
                                       0x1.8d96d40000000p-25f,
                                       -0x1.9c0c220000000p-27f,
                                       0x1.9649040000000p-25f,
                                       0x1.1250020000000p-25f,
                                       0x1.370be40000000p-25f,
                                       -0x1.0a35500000000p-25f,
                                       -0x1.00d8ac0000000p-27f,
                                       0x1.26055c0000000p-26f,
                                       -0x1.05cb440000000p-25f,
                                       0x1.67a1ca0000000p-28f,
                                       0x1.a3b5e40000000p-28f,
                                       -0x1.f9c3040000000p-27f,
                                       -0x1.6961b40000000p-28f,
                                       -0x1.a5217c0000000p-28f,
                                       0x1.61428e0000000p-28f};

// (e^r - 1 - r) / r^2 on |r| <= ln 2 / 32.
// Largest error: 2^-24.5 of it.
constexpr float expm1_quick[] = {0x1.0000000000000p-1f, 0x1.5556e00000000p-3f,
                                 0x1.55565c0000000p-5f};

// 1 / (1 + i/15) to ten bits.
constexpr float fifteenths[16] = {
    0x1.0000000000000p+0f, 0x1.e000000000000p-1f, 0x1.c400000000000p-1f, 0x1.aa80000000000p-1f,
    0x1.9400000000000p-1f, 0x1.8000000000000p-1f, 0x1.6d80000000000p-1f, 0x1.5d00000000000p-1f,
    0x1.4e00000000000p-1f, 0x1.4000000000000p-1f, 0x1.3300000000000p-1f, 0x1.2780000000000p-1f,
    0x1.1c80000000000p-1f, 0x1.1280000000000p-1f, 0x1.0900000000000p-1f, 0x1.0000000000000p-1f};

// -log of that, rounded.
constexpr float fifteenths_log[16] = {0x0.0p+0f,
                                      0x1.08598c0000000p-4f,
                                      0x1.fe89140000000p-4f,
                                      0x1.7631d80000000p-3f,
                                      0x1.e530f00000000p-3f,
                                      0x1.2696220000000p-2f,
                                      0x1.5925d20000000p-2f,
                                      0x1.8873660000000p-2f,
                                      0x1.b56fa00000000p-2f,
                                      0x1.e148a20000000p-2f,
                                      0x1.05e04c0000000p-1f,
                                      0x1.196c7c0000000p-1f,
                                      0x1.2cd8c60000000p-1f,
                                      0x1.3f2acc0000000p-1f,
                                      0x1.5133560000000p-1f,
                                      0x1.62e4300000000p-1f};

// What that rounding left.
constexpr float fifteenths_log_lo[16] = {0x0.0p+0f,
                                         -0x1.4c38c00000000p-29f,
                                         -0x1.890aa60000000p-30f,
                                         0x1.49ad440000000p-30f,
                                         -0x1.8efede0000000p-35f,
                                         -0x1.d9648e0000000p-27f,
                                         0x1.62254c0000000p-27f,
                                         -0x1.f360cc0000000p-28f,
                                         0x1.118a420000000p-28f,
                                         -0x1.76364c0000000p-28f,
                                         0x1.aa2c060000000p-29f,
                                         -0x1.da70620000000p-28f,
                                         0x1.6f8e2e0000000p-26f,
                                         -0x1.b025280000000p-26f,
                                         0x1.99ff160000000p-27f,
                                         -0x1.05c6100000000p-29f};

// (log(1 + f) - f + f^2 / 2) / f^3 on |f| <= 0.0333.
// Largest error: 2^-23.7 of it.
constexpr float log1p_quick[] = {0x1.5555540000000p-2f, -0x1.fffffe0000000p-3f,
                                 0x1.99ece60000000p-3f, -0x1.559e380000000p-3f};

}  // namespace constants
}  // namespace
}  // namespace rectifier
