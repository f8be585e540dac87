// What of the head lies outside of the field.
#include "workers/jobs/segment/head.h"

#define CUT_MM2 40.0 // bone at the border of the field over less than this is a touch

void kf_head_field_check(const struct kf_grid *g, const uint8_t *labels, struct kf_head_cores *cores)
{
    double cut[3] = {0}; // skull, joints, chin: mm² at the border
    const int64_t *d = g->dim;
    const double *s = g->spacing_mm;
    const double area[3] = {s[1] * s[2], s[0] * s[2], s[0] * s[1]};
    int skull = 0;
    for (int64_t k = 0, n = 0; k < d[2]; k++)
        for (int64_t j = 0; j < d[1]; j++)
            for (int64_t i = 0; i < d[0]; i++, n++) {
                skull |= labels[n] == KF_HEAD_SKULL;
                int jaw = labels[n] == KF_HEAD_MANDIBLE || labels[n] == KF_HEAD_LOWER_TEETH;
                if (labels[n] != KF_HEAD_SKULL && !jaw)
                    continue;
                const int64_t at[3] = {i, j, k};
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(g, ijk, p);
                int high = p[2] > cores->centre[2] && p[1] > cores->centre[1];
                for (int a = 0; a < 3; a++)
                    if (at[a] == 0 || at[a] == d[a] - 1)
                        cut[jaw ? (high ? 1 : 2) : 0] += area[a];
            }
    cores->skull_cut = !skull || cut[0] > CUT_MM2;
    cores->joints_cut = cores->mandible_found && cut[1] > CUT_MM2;
    cores->chin_cut = cores->mandible_found && (cores->chin_missing || cut[2] > CUT_MM2);
}
