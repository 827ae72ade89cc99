#define RECTIFIER_ISA_AVX2
#define RECTIFIER_TABLE table_avx2
#include "isa_body.hpp"
