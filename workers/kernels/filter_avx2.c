#define KF_FILTERS kf_filters_avx2
#include "workers/kernels/filter_tmpl.h"
