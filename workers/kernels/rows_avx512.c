#define KF_ROWS kf_rows_avx512
#include "workers/kernels/rows_tmpl.h"
