// Bone told apart by vertebra, discs between, the canal behind. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_neural.h"
#include "workers/kernels/image.h"
#include "workers/kernels/math.h"
#include "workers/kernels/watershed.h"

#include <math.h>
#include <string.h>

#define SOFT_SIGMA_MM  1.0
#define ERODE_MM       1.3
#define DISC_REACH_MM  14
#define BULGE_MM       2.2
#define FAT_CONTRAST   70  // HU between a disc and what is around it
#define SPARE_STEPS    9   // half millimetres by which a disc may be thicker than on the axis
#define WEDGE_STEPS    24  // and the last one, a wedge, in front
#define SHELL_GAP_MM   2.5 // half of the widest hole in a shell that is closed
#define MARROW_MM2     20.0
#define ISLAND_MM3     100.0 // noise, calcified vessels
#define CORE_HU        20
#define BRIGHT_HU      400
#define LATERAL_MM     32
#define RIB_MM         36 // from the midline: few transverse processes of a vertebra with ribs are wider
#define ARCH_FROM      0.38
#define ARCH_TO        0.62
#define ARCH_MM        17     // beside and behind the canal's middle
#define LAMINA_MM      6.0    // beside the midline: no facet lies there
#define LAMINA_FROM_MM (-7.0) // of the canal's middle: behind it
#define ILIUM_FRONT_MM 25.0   // before the canal's middle: before the wings
#define ILIUM_ASIDE_MM 38.0
#define ILIUM_BACK_MM  46.0
#define SACRUM_BACK_MM (-32.0)
#define LAMINA_ABOVE   0.38 // of the distance between discs, along the canal
#define LAMINA_BELOW   0.12
#define WING_MM        27.0 // beside the midline, before the canal: the joint with the ilium lies farther out
#define HALF_DISC_MM   8.0  // no body above it reaches farther below the plane of the last disc
#define ARCH_FRONT_MM  3.0  // before the canal's middle: before the facets
#define FACET_MM       22.0 // below the plane of the last disc: past the last facets
#define SACRAL_ARCH_MM 20.0 // below the last disc, along the canal: past the last spinous process

// What every pass over the voxels needs.
struct pass {
    const struct kf_volume *volume;
    const struct kf_spine *spine;
    const struct kf_bits *enclosed; // by a shell of bone
    const uint8_t *bodies;          // as of kf_spine_find_bodies
    const struct kf_bits *shell;    // NULL, or bone as dense as shells, with joints and holes closed
    double bone_hu;
    struct kf_bits *bone;
    uint8_t *mask;
    int16_t *relief;
    uint8_t *labels, *before; // before: as the pass found them
    const int *thickness;     // of each disc on the bodies' axis
};

static int16_t hu_at(const struct pass *pass, int64_t at)
{
    return ((const int16_t *)pass->volume->data)[at];
}

// Where a point lies among the discs.
struct place {
    int above;      // discs above it: the place of its vertebra
    double nearest; // mm to the plane of the nearest disc
    double share;   // of the way from the disc above to the one below; −1 where neither can be told
};

// Beyond the outermost discs the next one would be as far as the last two are apart.
static double share_beyond(const struct kf_spine *spine, int above, double mm)
{
    int last = above > 0;
    if (spine->discs < 2 || (last && spine->sacrum))
        return -1;
    const struct kf_spine_disc *disc = &spine->disc[last ? spine->discs - 2 : 0];
    double share = mm / (disc[1].s - disc[0].s);
    return share > 1 ? -1 : last ? share : 1 - share;
}

static struct place place_of(const struct kf_spine *spine, const double p[3])
{
    struct place at = {.nearest = 1e9, .share = -1};
    double over = -1, under = -1;
    for (int i = 0; i < spine->discs && under < 0; i++) {
        double d = kf_spine_below(&spine->disc[i], p);
        at.nearest = fmin(at.nearest, fabs(d));
        if (d > 0)
            at.above++, over = d;
        else
            under = -d;
    }
    at.share = over >= 0 && under >= 0 ? over / (over + under) : share_beyond(spine, at.above, fmax(over, under));
    return at;
}

// A body is bone all through, however little of it old marrow shows: what lies within its wall, or where none was found
// its core, and what its shell encloses.
static void add_body(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct pass *pass = context;
    double p[3], suv[3];
    if (pass->bodies[at] && pass->bodies[at] != KF_SPINE_REST)
        kf_bits_put(pass->bone, i, j, k);
    if (kf_bits_get(pass->bone, i, j, k) || !kf_spine_locate(pass->spine, &pass->volume->grid, i, j, k, p, suv) ||
        suv[2] < 9.5 || suv[2] > 50 || fabs(suv[1]) > 30)
        return;
    double u = suv[1], v = suv[2] - KF_SPINE_BODY_MM, nearest = place_of(pass->spine, p).nearest;
    int core = u * u / 100 + v * v / 64 <= 1 && hu_at(pass, at) >= CORE_HU;
    if ((core && nearest >= 7) || (nearest >= 4 && kf_bits_get(pass->enclosed, i, j, k)))
        kf_bits_put(pass->bone, i, j, k);
}

// Bone: dense shells at full sharpness, and their spongy inside, which is soft enough to need smoothing; its own
// blurred border is taken off again.
static enum kf_kernel_status find_bone(const struct kf_work *work, const struct kf_volume *volume,
                                       const struct kf_spine_bone *look, const struct kf_spine *spine,
                                       const uint8_t *bodies, struct kf_bits *bone)
{
    struct kf_volume smooth = {.grid = volume->grid, .type = KF_VOXEL_FLOAT32};
    struct kf_bits spongy = {0};
    smooth.data = kf_work_take(work, 4 * kf_grid_voxels(&volume->grid));
    enum kf_kernel_status status = smooth.data ? kf_bits_alloc(work, volume->grid.dim, &spongy) : KF_KERNEL_NOMEM;
    if (!status)
        status = kf_gaussian(work, volume, SOFT_SIGMA_MM, smooth.data);
    if (!status)
        status = kf_bits_threshold(work, &smooth, look->spongy_hu, 1e9, &spongy);
    if (!status)
        status = kf_bits_erode(work, &spongy, volume->grid.spacing_mm, ERODE_MM);
    if (!status)
        status = kf_bits_threshold(work, volume, look->shell_hu, 1e9, bone);
    if (!status) {
        kf_bits_combine(work, bone, KF_BITS_OR, &spongy);
        kf_bits_combine(work, &spongy, KF_BITS_COPY, bone);
        status = kf_bits_close(work, &spongy, volume->grid.spacing_mm, SHELL_GAP_MM);
    }
    if (!status)
        status = kf_bits_fill_holes(work, &spongy, KF_NEIGHBOURS_6, 0, NULL);
    if (!status) {
        struct pass pass = {.volume = volume, .spine = spine, .enclosed = &spongy, .bodies = bodies, .bone = bone};
        status = kf_spine_each_voxel(work, &volume->grid, 0, add_body, &pass);
    }
    if (!status)
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_6, 4000, NULL);
    const double *mm = volume->grid.spacing_mm;
    if (!status) // the marrow of pedicles and laminae, within a slice where noise opens their shell above or below
        status = kf_bits_fill_holes(work, bone, KF_NEIGHBOURS_4, (int64_t)(MARROW_MM2 / (mm[0] * mm[1])), NULL);
    if (!status)
        status =
            kf_bits_drop_islands(work, bone, KF_NEIGHBOURS_26, (int64_t)(ISLAND_MM3 / (mm[0] * mm[1] * mm[2])), NULL);
    kf_bits_release(work, &spongy);
    kf_work_give(work, smooth.data);
    return status;
}

// The vertebra whose lamina a point in the midline behind the canal belongs to, or 0: from below its pedicles it
// reaches past the disc's height, and the next one begins below that. Farther back a spinous process may hang down over
// the next.
static int lamina(const struct kf_spine *spine, const double suv[3])
{
    if (fabs(suv[1]) > LAMINA_MM || suv[2] > LAMINA_FROM_MM || suv[2] < -ARCH_MM)
        return 0;
    for (int d = 0; d < spine->discs; d++) {
        double down = (suv[0] - spine->disc[d].s) / kf_spine_segment_mm(spine, d);
        int sacral = spine->sacrum && d + 1 == spine->discs; // behind the bend above it lies the sacrum's crest
        if (down > -LAMINA_ABOVE && down < (sacral ? -LAMINA_BELOW : LAMINA_BELOW))
            return 1 + d;
    }
    return 0;
}

// The sacrum below the last disc: body and wings in front, where no process of the vertebra above reaches; behind,
// farther down than its facets and its spinous process do, and the arch next to the canal.
static int is_sacral(const struct kf_spine *spine, const double p[3], const double suv[3])
{
    const struct kf_spine_disc *last = &spine->disc[spine->discs - 1];
    double below = kf_spine_below(last, p), aside = fabs(suv[1]);
    return (below > HALF_DISC_MM && aside < WING_MM && suv[2] > ARCH_FRONT_MM) ||
           (aside < ARCH_MM && ((below > FACET_MM && aside > LAMINA_MM && suv[2] > SACRUM_BACK_MM) ||
                                (suv[0] > last->s + SACRAL_ARCH_MM && suv[2] > -ARCH_MM && suv[2] < 0)));
}

int kf_spine_beside_sacrum(const struct kf_spine *spine, const double p[3], const double suv[3])
{
    return fabs(suv[1]) > WING_MM ||
           (fabs(suv[1]) > ARCH_MM && suv[2] < 0 && kf_spine_below(&spine->disc[spine->discs - 1], p) > FACET_MM);
}

// What of the ilium lies farther in front than the wings of any sacrum, or farther aside behind them.
static int is_iliac(const double suv[3])
{
    return (suv[2] > ILIUM_FRONT_MM && fabs(suv[1]) > ILIUM_ASIDE_MM) ||
           (suv[2] < -ARCH_MM && fabs(suv[1]) > ILIUM_BACK_MM);
}

// The marker of a point of bone, or 0: the middle of each body between its discs, the arch half way between them (no
// process of a neighbour reaches there next to the canal) and behind it, the sacrum below the last disc, and what is
// too far away to belong to the column.
static uint8_t marker(const struct kf_spine *spine, const double p[3], const double suv[3])
{
    double u = suv[1], v = suv[2] - KF_SPINE_BODY_MM;
    int sacral = spine->sacrum && kf_spine_below(&spine->disc[spine->discs - 1], p) > 12;
    struct place at = place_of(spine, p);
    int rib = at.above < spine->vertebrae && spine->rib[at.above], behind = lamina(spine, suv);
    if (fabs(u) > (sacral ? 63 : rib ? RIB_MM : 52) || v > 34 || v < -78 || (sacral && is_iliac(suv)))
        return KF_SPINE_REST;
    if (spine->sacrum && is_sacral(spine, p, suv))
        return KF_SPINE_SACRUM;
    if (behind)
        return (uint8_t)behind;
    if (at.share > ARCH_FROM && at.share < ARCH_TO && fabs(u) < ARCH_MM && suv[2] > -ARCH_MM && suv[2] < 0)
        return (uint8_t)(1 + at.above);
    if (u * u / 100 + v * v / 64 > 1 || at.nearest < 5)
        return 0;
    if (at.above == spine->discs && spine->sacrum)
        return KF_SPINE_SACRUM;
    return (uint8_t)(1 + at.above);
}

// Low where bone is dense: the flood runs along shells and pedicles first and over joints last. Bodies come before all
// else, so that their spongy inside does not hold the markers back; what is far to the side of a vertebra without ribs
// comes late. Beside the sacrum it is high there instead: sacrum and ilium have much marrow, and are apart by the
// double shell of their joint, with its gap one plateau that they share by distance.
static int16_t height(const struct pass *pass, int16_t hu, int is_shell, const double p[3], const double suv[3])
{
    const struct kf_spine *spine = pass->spine;
    double u = suv[1], v = suv[2] - KF_SPINE_BODY_MM;
    int level = -(hu < -1000 ? -1000 : hu > BRIGHT_HU ? BRIGHT_HU : hu) / 16; // of equal ones the nearest wins
    struct place at = place_of(spine, p);
    if (pass->shell && spine->sacrum &&
        (at.above == spine->discs ? kf_spine_beside_sacrum(spine, p, suv)
                                  : at.above + 1 == spine->discs && fabs(u) > LATERAL_MM))
        return (int16_t)((is_shell ? pass->bone_hu : fmin(fmax(hu, 0), pass->bone_hu)) / 16 + 60);
    if (fabs(u) > LATERAL_MM && !(at.above < spine->vertebrae && spine->rib[at.above]))
        return (int16_t)(level + 60);
    return (int16_t)(u * u / 484 + v * v / 196 > 1 || at.nearest < 4 ? level : -100);
}

static void mark(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct pass *pass = context;
    double p[3], suv[3];
    pass->mask[at] = kf_bits_get(pass->bone, i, j, k) && pass->bodies[at] != KF_SPINE_REST;
    pass->labels[at] = 0;
    pass->relief[at] = 0;
    if (!pass->mask[at])
        return;
    int inside = kf_spine_locate(pass->spine, &pass->volume->grid, i, j, k, p, suv);
    pass->labels[at] = pass->bodies[at]                ? pass->bodies[at]
                       : inside || pass->spine->sacrum ? marker(pass->spine, p, suv)
                                                       : KF_SPINE_REST;
    pass->relief[at] = height(pass, hu_at(pass, at), pass->shell && kf_bits_get(pass->shell, i, j, k), p, suv);
}

// Half millimetres along a disc's normal from the vertebra above to the one below; 0 when either is not met.
static int gap(const struct kf_grid *g, const struct kf_spine *spine, const uint8_t *labels, const double p[3], int d)
{
    int lower = d + 1 == spine->discs && spine->sacrum ? KF_SPINE_SACRUM : d + 2, sum = 0;
    for (int side = -1; side <= 1; side += 2) {
        int h = 1;
        for (; h <= 3 * DISC_REACH_MM; h++) {
            double q[3];
            for (int c = 0; c < 3; c++)
                q[c] = p[c] + 0.5 * side * h * spine->disc[d].normal[c];
            int64_t to = kf_spine_voxel(g, q);
            if (to >= 0 && labels[to] == (side < 0 ? d + 1 : lower))
                break;
        }
        if (h > 3 * DISC_REACH_MM)
            return 0;
        sum += h;
    }
    return sum;
}

static void fill_disc(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct pass *pass = context;
    const struct kf_spine *spine = pass->spine;
    const struct kf_grid *g = &pass->volume->grid;
    double p[3], suv[3];
    if (pass->before[at] || hu_at(pass, at) < 0 || !kf_spine_locate(spine, g, i, j, k, p, suv) || fabs(suv[1]) > 32 ||
        suv[2] < 4 || suv[2] > 48)
        return;
    for (int d = 0; d < spine->discs; d++) {
        if (fabs(kf_spine_below(&spine->disc[d], p)) > DISC_REACH_MM)
            continue;
        int apart = gap(g, spine, pass->before, p, d),
            spare = spine->sacrum && d + 1 == spine->discs ? WEDGE_STEPS : SPARE_STEPS;
        if (apart && (!pass->thickness[d] || apart <= pass->thickness[d] + spare))
            pass->labels[at] = (uint8_t)(KF_SPINE_DISC + 1 + d);
    }
}

// A point `mm` further out from the bodies' axis.
static void outwards(const struct kf_spine *spine, const double p[3], const double suv[3], double mm, double out[3])
{
    const struct kf_spine_station *t = &spine->station[(int)fmin(fmax(suv[0], 0), spine->stations - 1)];
    double u = suv[1], v = suv[2] - KF_SPINE_BODY_MM, r = sqrt(u * u + v * v) + 1e-6;
    for (int c = 0; c < 3; c++)
        out[c] = p[c] + mm / r * (u * t->left[c] + v * t->front[c]);
}

static int is_disc(uint8_t label)
{
    return label > KF_SPINE_DISC && label < KF_SPINE_SACRUM;
}

// The ring bulges beyond the end plates: what is dense enough within BULGE_MM of a disc, away from the bodies' axis.
static void bulge_disc(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct pass *pass = context;
    const struct kf_grid *g = &pass->volume->grid;
    double p[3], suv[3], inner[3];
    if (pass->before[at] || hu_at(pass, at) < 40 || hu_at(pass, at) > 250 ||
        !kf_spine_locate(pass->spine, g, i, j, k, p, suv) || fabs(suv[1]) > 34 || suv[2] < 5 || suv[2] > 50)
        return;
    int sum = 0;
    for (int n = 0; n < 27; n++)
        sum += hu_at(pass, at + n % 3 - 1 + (n / 3 % 3 - 1) * g->dim[0] + (n / 9 - 1) * g->dim[0] * g->dim[1]);
    if (sum < 27 * 78)
        return;
    outwards(pass->spine, p, suv, -BULGE_MM, inner);
    int64_t to = kf_spine_voxel(g, inner);
    if (to >= 0 && is_disc(pass->before[to]))
        pass->labels[at] = pass->before[to];
}

// The ring's outermost voxels, where it lies in fat: those nearer to the disc's value than to the fat's, both taken
// along the way out from the bodies' axis.
static void rim_disc(void *context, int64_t i, int64_t j, int64_t k, int64_t at)
{
    const struct pass *pass = context;
    const struct kf_grid *g = &pass->volume->grid;
    const int64_t step[6] = {-1, 1, -g->dim[0], g->dim[0], -g->dim[0] * g->dim[1], g->dim[0] * g->dim[1]};
    uint8_t disc = 0;
    double p[3], suv[3], q[3], value[2] = {0, 0}, sum = 2 * hu_at(pass, at);
    if (pass->before[at])
        return;
    for (int n = 0; n < 6; n++) {
        disc = !disc && is_disc(pass->before[at + step[n]]) ? pass->before[at + step[n]] : disc;
        sum += hu_at(pass, at + step[n]);
    }
    if (!disc || !kf_spine_locate(pass->spine, g, i, j, k, p, suv))
        return;
    for (int n = 2; n <= 3; n++)
        for (int out = 0; out < 2; out++) {
            double mm = (out ? n : -n) * 0.7 * fmax(g->spacing_mm[0], g->spacing_mm[1]);
            outwards(pass->spine, p, suv, mm, q);
            value[out] += kf_spine_value(pass->volume, q, 0) / 2;
        }
    if (value[0] - value[1] >= FAT_CONTRAST && sum / 8 > (value[0] + value[1]) / 2)
        pass->labels[at] = disc;
}

// Discs between the bodies, in three passes each of which sees what the one before it left.
static enum kf_kernel_status lay_discs(const struct kf_work *work, struct pass *pass)
{
    static kf_spine_visit *const visits[3] = {fill_disc, bulge_disc, rim_disc};
    const struct kf_grid *g = &pass->volume->grid;
    int thickness[KF_SPINE_MOST];
    for (int d = 0; d < pass->spine->discs; d++)
        thickness[d] = gap(g, pass->spine, pass->labels, pass->spine->disc[d].middle, d);
    pass->thickness = thickness;
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int n = 0; n < 3 && !status; n++) {
        memcpy(pass->before, pass->labels, (size_t)kf_grid_voxels(g));
        status = kf_spine_each_voxel(work, g, n > 0, visits[n], pass);
    }
    pass->thickness = NULL;
    return status;
}

enum kf_kernel_status kf_spine_split(const struct kf_work *work, const struct kf_volume *volume,
                                     const struct kf_spine_bone *look, int has_cortex, struct kf_spine *spine,
                                     uint8_t *labels)
{
    const struct kf_grid *g = &volume->grid;
    int64_t voxels = kf_grid_voxels(g);
    struct kf_bits bone = {0}, shell = {0};
    struct kf_volume relief = {.grid = *g, .type = KF_VOXEL_INT16};
    relief.data = kf_work_take(work, 2 * voxels);
    uint8_t *mask = kf_work_take(work, voxels), *bodies = kf_work_take(work, voxels);
    enum kf_kernel_status status = relief.data && mask && bodies ? kf_bits_alloc(work, g->dim, &bone) : KF_KERNEL_NOMEM;
    kf_spine_name(volume, spine);
    if (!status && has_cortex)
        status = kf_spine_find_bodies(work, volume, spine, bodies);
    else if (!status)
        memset(bodies, 0, (size_t)voxels);
    if (!status)
        status = find_bone(work, volume, look, spine, bodies, &bone);
    if (!status && has_cortex && spine->sacrum)
        status = kf_spine_find_shells(work, volume, look->shell_hu, &shell);
    struct pass pass = {.volume = volume,
                        .spine = spine,
                        .bone = &bone,
                        .bodies = bodies,
                        .shell = shell.word ? &shell : NULL,
                        .bone_hu = look->shell_hu,
                        .mask = mask,
                        .relief = relief.data,
                        .labels = labels,
                        .before = mask};
    if (!status)
        status = kf_spine_each_voxel(work, g, 0, mark, &pass);
    if (!status && pass.shell)
        status = kf_spine_mark_ilia(work, g, spine, &bone, &shell, labels);
    if (!status)
        status = kf_watershed(work, &relief, mask, labels);
    if (!status) {
        kf_spine_sharpen(work, volume, bodies, labels, mask);
        status = lay_discs(work, &pass);
    }
    if (!status)
        status = kf_spine_settle_plates(work, volume, spine, labels);
    kf_bits_release(work, &shell);
    kf_bits_release(work, &bone);
    kf_work_give(work, bodies);
    kf_work_give(work, mask);
    kf_work_give(work, relief.data);
    return status;
}
