// The image filters' row kernels, compiled once per instruction set: KF_FILTERS names the table.
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

#include "workers/kernels/median_tmpl.h"
#include "workers/kernels/distance_tmpl.h"
#include "workers/kernels/resample_tmpl.h"
#include "workers/kernels/planes_tmpl.h"
#include "workers/kernels/match_tmpl.h"
#include "workers/kernels/march_tmpl.h"

const struct kf_filter_table KF_FILTERS = {
    .sort3_i16 = sort3_i16,
    .median_i16 = median_i16,
    .range_i16 = range_i16,
    .distance_row = distance_row,
    .distance_lines = distance_lines,
    .linear_i16 = linear_i16,
    .linear_f32 = linear_f32,
    .cubic_i16 = cubic_i16,
    .cubic_f32 = cubic_f32,
    .nearest_8 = nearest_8,
    .nearest_16 = nearest_16,
    .nearest_32 = nearest_32,
    .gradient_row = gradient_row,
    .gradient_sum = gradient_sum,
    .flux_row = flux_row,
    .diffuse_row = diffuse_row,
    .places_i16 = places_i16,
    .match_row = match_row,
    .march_times = march_times,
};
