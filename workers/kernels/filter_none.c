#define KF_FILTERS kf_filters_none
#include "workers/kernels/filter_tmpl.h"
