#define KF_FILTERS kf_filters_avx512
#include "workers/kernels/filter_tmpl.h"
