// Whether the field holds a head at all. Two things no other part of the body has, looked for along straight rays into
// the 26 directions of a voxel's neighbours on a grid of about 4 mm:
//
//   - a brain's worth of soft tissue that a vault encloses. The ribs leave half of the rays out, the pelvis its two
//     apertures, and the marrow of any bone lies within a centimetre of its wall or is too little;
//   - air that bone encloses: the sinuses and the nasal cavity. Lungs are wide and their ribs apart, gas of the bowel
//     has bone on one side.
//
// What leaves the field is not known, and counts for neither side: a head that the field cuts shows what is left of it.
#include "workers/jobs/segment/head.h"
#include "workers/kernels/image.h"

#include <math.h>

#define GRID_MM     4.0
#define RAYS        26
#define KNOWN_LEAST (RAYS / 2) // with less of them in the field nothing is said
#define VAULT_SHARE 0.85       // foramen magnum, orbits and thin temporal bone let the rest through
#define MARROW_MM   10.0       // soft tissue nearer to its bone may be marrow
#define SINUS_SHARE 0.75       // nostrils, choanae and the ostia let the rest through
#define SINUS_MM    40.0       // the length of a maxillary sinus, the height of the nasal cavity
#define BRAIN_ML    100.0      // a tenth of a brain: a field may end soon above the base
#define SINUS_ML    2.0        // an eighth of a maxillary sinus

enum kind { OUTSIDE, SOFT, AIR, BONE };

struct scene {
    struct kf_grid grid;
    uint8_t *kind;
};

static void look_at(const struct kf_bits *body, const struct kf_bits *air, const struct kf_bits *bone,
                    const int64_t factor[3], const struct scene *s)
{
    const int64_t *d = s->grid.dim;
    for (int64_t k = 0, n = 0; k < d[2]; k++)
        for (int64_t j = 0; j < d[1]; j++)
            for (int64_t i = 0; i < d[0]; i++, n++) {
                const int64_t at[3] = {i, j, k};
                int64_t low[3], high[3], mid[3];
                for (int a = 0; a < 3; a++) {
                    low[a] = at[a] * factor[a];
                    high[a] = low[a] + factor[a] < body->dim[a] ? low[a] + factor[a] : body->dim[a];
                    mid[a] = (low[a] + high[a] - 1) / 2;
                }
                int hard = 0; // one voxel will do: walls of sinuses are thin
                for (int64_t z = low[2]; z < high[2] && !hard; z++)
                    for (int64_t y = low[1]; y < high[1] && !hard; y++)
                        for (int64_t x = low[0]; x < high[0] && !hard; x++)
                            hard = kf_bits_get(bone, x, y, z);
                s->kind[n] = hard                                        ? BONE
                             : kf_bits_get(air, mid[0], mid[1], mid[2])  ? AIR
                             : kf_bits_get(body, mid[0], mid[1], mid[2]) ? SOFT
                                                                         : OUTSIDE;
            }
}

// How far a ray goes until it meets bone, mm; -1: it leaves the body or meets none within `reach_mm`; -2: it leaves the
// field before.
static double ray_mm(const struct scene *s, const int64_t from[3], const int dir[3], double reach_mm)
{
    const int64_t *d = s->grid.dim;
    const double *spacing = s->grid.spacing_mm;
    double side = 1e9, at[3], step[3], norm = sqrt((double)(dir[0] * dir[0] + dir[1] * dir[1] + dir[2] * dir[2]));
    for (int a = 0; a < 3; a++)
        side = fmin(side, spacing[a]);
    for (int a = 0; a < 3; a++) {
        step[a] = dir[a] * side / (norm * spacing[a]);
        at[a] = (double)from[a] + 0.5;
    }
    for (double gone = side; gone <= reach_mm; gone += side) {
        int64_t v[3];
        for (int a = 0; a < 3; a++) {
            at[a] += step[a];
            v[a] = (int64_t)floor(at[a]);
            if (v[a] < 0 || v[a] >= d[a])
                return -2;
        }
        uint8_t kind = s->kind[v[0] + d[0] * (v[1] + d[1] * v[2])];
        if (kind == BONE)
            return gone;
        if (kind == OUTSIDE)
            return -1;
    }
    return -1;
}

// Whether bone is met by `share` of the rays that end in the field, the nearest from near_mm on.
static int enclosed(const struct scene *s, const int64_t at[3], double reach_mm, double near_mm, double share)
{
    int known = 0, met = 0;
    for (int n = 0; n < RAYS + 1; n++) {
        const int dir[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        if (!dir[0] && !dir[1] && !dir[2])
            continue;
        double mm = ray_mm(s, at, dir, reach_mm);
        if (mm >= 0 && mm < near_mm)
            return 0;
        known += mm > -2;
        met += mm >= 0;
    }
    return known >= KNOWN_LEAST && met >= share * known;
}

enum kf_kernel_status kf_head_evidence_find(const struct kf_work *work, const struct kf_grid *grid,
                                            const struct kf_bits *body, const struct kf_bits *air,
                                            const struct kf_bits *bone, struct kf_head_evidence *evidence)
{
    int64_t factor[3];
    *evidence = (struct kf_head_evidence){0};
    for (int a = 0; a < 3; a++)
        factor[a] = (int64_t)fmax(1, floor(GRID_MM / grid->spacing_mm[a]));
    struct scene s;
    kf_reduce_grid(grid, factor, &s.grid);
    s.kind = kf_work_take(work, kf_grid_voxels(&s.grid));
    if (!s.kind)
        return KF_KERNEL_NOMEM;
    look_at(body, air, bone, factor, &s);
    const double *spacing = s.grid.spacing_mm;
    double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int64_t k = 0, n = 0; k < s.grid.dim[2] && !status; k++) {
        for (int64_t j = 0; j < s.grid.dim[1]; j++)
            for (int64_t i = 0; i < s.grid.dim[0]; i++, n++) {
                const int64_t at[3] = {i, j, k};
                int sampled = i % 2 == 0 && j % 2 == 0 && k % 2 == 0; // a brain is large
                if (s.kind[n] == AIR && enclosed(&s, at, SINUS_MM, 0, SINUS_SHARE))
                    evidence->sinus_ml += voxel_ml;
                else if (s.kind[n] == SOFT && sampled && enclosed(&s, at, 1e9, MARROW_MM, VAULT_SHARE))
                    evidence->brain_ml += 8 * voxel_ml;
            }
        if (kf_work_step(work, (double)(k + 1) / (double)s.grid.dim[2]))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, s.kind);
    return status;
}

int kf_head_evidence_suffices(const struct kf_head_evidence *evidence)
{
    return evidence->brain_ml >= BRAIN_ML || evidence->sinus_ml >= SINUS_ML;
}
