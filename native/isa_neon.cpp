#define RECTIFIER_ISA_NEON
#define RECTIFIER_TABLE table_neon
#include "isa_body.hpp"
