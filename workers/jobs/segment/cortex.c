#include "workers/jobs/segment/cortex.h"

#define LOOK_MM 2.0

double kf_cortex_near(const struct kf_volume *v, const int64_t at[3])
{
    const struct kf_grid *g = &v->grid;
    int64_t low[3], high[3];
    for (int a = 0; a < 3; a++) {
        int64_t reach = (int64_t)(LOOK_MM / g->spacing_mm[a]);
        reach = reach < 1 ? 1 : reach > 5 ? 5 : reach;
        low[a] = at[a] > reach ? at[a] - reach : 0;
        high[a] = at[a] + reach < g->dim[a] ? at[a] + reach : g->dim[a] - 1;
    }
    double most = -1e9;
    for (int64_t k = low[2]; k <= high[2]; k++)
        for (int64_t j = low[1]; j <= high[1]; j++)
            for (int64_t i = low[0]; i <= high[0]; i++) {
                double value = kf_value_hu(v, i + g->dim[0] * (j + g->dim[1] * k));
                most = value > most ? value : most;
            }
    return most;
}
