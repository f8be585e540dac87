// Whether the field holds a head at all. Two things no other part of the body has, looked for along straight rays into
// the 26 directions of a voxel's neighbours on a grid of about 4 mm:
//
//   - a brain's worth of soft tissue that a vault encloses. The ribs leave half of the rays out, the pelvis its two
//     apertures, and the marrow of any bone lies within a centimetre of its wall or is too little;
//   - air that bone encloses: the sinuses and the nasal cavity. Lungs are wide and their ribs apart, gas of the bowel
//     has bone on one side.
//
// The cavity of a skull is told from a mouth more strictly: hardly a ray leaves it, and none goes through air. It is
// what keeps a piece of a vault from being taken for a jaw.
//
// What leaves the field is not known, and counts for neither side: a head that the field cuts shows what is left of it.
#include "workers/jobs/segment/head.h"
#include "workers/kernels/image.h"

#include <math.h>
#include <string.h>

#define GRID_MM      4.0
#define RAYS         26
#define KNOWN_LEAST  (RAYS / 2) // with less of them in the field nothing is said
#define LEVEL_LEAST  8          // the rays of one level: what is left of them in a slab of a vault
#define VAULT_SHARE  0.85       // foramen magnum, orbits and thin temporal bone let the rest through
#define CAVITY_SHARE 0.95       // of a cavity, which a mouth is not: one ray of all may leave through a hole
#define MARROW_MM    10.0       // soft tissue nearer to its bone may be marrow
#define SINUS_SHARE  0.75       // nostrils, choanae and the ostia let the rest through
#define SINUS_MM     40.0       // the length of a maxillary sinus, the height of the nasal cavity
#define BRAIN_ML     100.0      // a tenth of a brain: a field may end soon above the base
#define SINUS_ML     2.0        // an eighth of a maxillary sinus

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
// field before. *aired is set when it goes through air.
static double ray_mm(const struct scene *s, const int64_t from[3], const int dir[3], double reach_mm, int *aired)
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
        *aired |= kind == AIR;
    }
    return -1;
}

// What the rays from a voxel meet.
struct rays {
    int known, met; // rays that end in the field, and those of them that meet bone
    int aired;      // rays that go through air
    double near_mm; // the nearest bone
};

static struct rays look_around(const struct scene *s, const int64_t at[3], double reach_mm)
{
    struct rays rays = {.near_mm = INFINITY};
    for (int n = 0; n < RAYS + 1; n++) {
        const int dir[3] = {n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1};
        if (!dir[0] && !dir[1] && !dir[2])
            continue;
        int aired = 0;
        double mm = ray_mm(s, at, dir, reach_mm, &aired);
        rays.known += mm > -2;
        rays.met += mm >= 0;
        rays.aired += aired;
        rays.near_mm = mm >= 0 ? fmin(rays.near_mm, mm) : rays.near_mm;
    }
    return rays;
}

enum kf_kernel_status kf_head_evidence_find(const struct kf_work *work, const struct kf_grid *grid,
                                            const struct kf_bits *body, const struct kf_bits *air,
                                            const struct kf_bits *bone, struct kf_head_evidence *evidence)
{
    int64_t factor[3];
    memset(evidence, 0, sizeof *evidence);
    for (int a = 0; a < 3; a++)
        factor[a] = (int64_t)fmax(1, floor(GRID_MM / grid->spacing_mm[a]));
    struct scene s;
    kf_reduce_grid(grid, factor, &s.grid);
    evidence->grid = s.grid;
    s.kind = kf_work_take(work, kf_grid_voxels(&s.grid));
    enum kf_kernel_status status = s.kind ? kf_bits_alloc(work, s.grid.dim, &evidence->cavity) : KF_KERNEL_NOMEM;
    if (!status)
        look_at(body, air, bone, factor, &s);
    const double *spacing = s.grid.spacing_mm;
    double voxel_ml = spacing[0] * spacing[1] * spacing[2] / 1000;
    for (int64_t k = 0, n = 0; k < s.grid.dim[2] && !status; k++) {
        for (int64_t j = 0; j < s.grid.dim[1]; j++)
            for (int64_t i = 0; i < s.grid.dim[0]; i++, n++) {
                const int64_t at[3] = {i, j, k};
                int sampled = i % 2 == 0 && j % 2 == 0 && k % 2 == 0; // a brain is large
                if (s.kind[n] != AIR && (s.kind[n] != SOFT || !sampled))
                    continue;
                struct rays rays = look_around(&s, at, s.kind[n] == AIR ? SINUS_MM : INFINITY);
                int known = rays.known >= KNOWN_LEAST;
                evidence->air_ml += s.kind[n] == AIR ? voxel_ml : 0;
                if (s.kind[n] == AIR)
                    evidence->sinus_ml += known && rays.met >= SINUS_SHARE * rays.known ? voxel_ml : 0;
                else if (rays.near_mm >= MARROW_MM) {
                    evidence->brain_ml += known && rays.met >= VAULT_SHARE * rays.known ? 8 * voxel_ml : 0;
                    if (rays.known >= LEVEL_LEAST && rays.met >= CAVITY_SHARE * rays.known && !rays.aired)
                        kf_bits_put(&evidence->cavity, i, j, k);
                }
            }
        if (kf_work_step(work, (double)(k + 1) / (double)s.grid.dim[2]))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, s.kind);
    return status;
}

double kf_head_evidence_within(const struct kf_head_evidence *evidence, const struct kf_head_frame *frame,
                               const double low[3], const double high[3])
{
    const struct kf_bits *cavity = &evidence->cavity;
    struct kf_grid g = evidence->grid;
    double ml = 0, sample_ml = 8 * g.spacing_mm[0] * g.spacing_mm[1] * g.spacing_mm[2] / 1000;
    kf_head_frame_pose(frame, &g);
    for (int64_t k = 0; k < cavity->dim[2]; k += 2)
        for (int64_t j = 0; j < cavity->dim[1]; j += 2)
            for (int64_t i = 0; i < cavity->dim[0]; i += 2) {
                if (!kf_bits_get(cavity, i, j, k))
                    continue;
                const double ijk[3] = {(double)i, (double)j, (double)k};
                double p[3];
                kf_grid_to_lps(&g, ijk, p);
                int in = 1;
                for (int a = 0; a < 3; a++)
                    in = in && p[a] >= low[a] && p[a] <= high[a];
                ml += in ? sample_ml : 0;
            }
    return ml;
}

void kf_head_evidence_release(const struct kf_work *work, struct kf_head_evidence *evidence)
{
    kf_bits_release(work, &evidence->cavity);
}

int kf_head_evidence_suffices(const struct kf_head_evidence *evidence)
{
    return evidence->brain_ml >= BRAIN_ML || evidence->sinus_ml >= SINUS_ML;
}
