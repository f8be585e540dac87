#define KF_ROWS kf_rows_none
#include "workers/kernels/rows_tmpl.h"
