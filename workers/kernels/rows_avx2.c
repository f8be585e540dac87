#define KF_ROWS kf_rows_avx2
#include "workers/kernels/rows_tmpl.h"
