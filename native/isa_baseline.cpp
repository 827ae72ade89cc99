#define RECTIFIER_ISA_BASELINE
#define RECTIFIER_TABLE table_baseline
#include "isa_body.hpp"
