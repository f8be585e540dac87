#include "workers/jobs/phantom/mr.h"
#include "workers/jobs/phantom/vec.h"

void kf_mr_bias(const struct kf_grid *grid, double amplitude, uint64_t seed, int threads, int16_t *values)
{
    const int64_t *dim = grid->dim;
    double phase[3];
    for (uint64_t i = 0; i < 3; i++)
        phase[i] = KF_PI * kf_ph_uniform(seed + 991, i);
#pragma omp parallel for schedule(static) num_threads(threads > 0 ? threads : 1)
    for (int64_t k = 0; k < dim[2]; k++) {
        double w = (double)k / (double)dim[2];
        for (int64_t j = 0; j < dim[1]; j++) {
            double v = (double)j / (double)dim[1];
            double along = 0.55 * (2 * v - 1) + 0.25 * kf_sin(4 * w + phase[0]); // brighter near the back
            for (int64_t i = 0; i < dim[0]; i++) {
                double u = (double)i / (double)dim[0];
                double shade = 1 + amplitude * (along + 0.2 * kf_sin(3 * u + phase[1]) * kf_cos(2 * v + phase[2]));
                int16_t *value = &values[(k * dim[1] + j) * dim[0] + i];
                *value = (int16_t)kf_clamp(floor(*value * shade + 0.5), -32000, 32000);
            }
        }
    }
}
