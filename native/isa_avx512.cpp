#define RECTIFIER_ISA_AVX512
#define RECTIFIER_TABLE table_avx512
#include "isa_body.hpp"
