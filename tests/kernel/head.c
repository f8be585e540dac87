// The head's frame, its nerve canals and what the field cuts, against truth that is known.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/phantom/anatomy.h"
#include "workers/jobs/phantom/phantom.h"
#include "workers/jobs/segment/head.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double straight[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

// A turn by the angles about x, then y, then z, as rows: what it makes of the axes.
static void turned(double rx, double ry, double rz, double out[9])
{
    double a = cos(rx), b = sin(rx), c = cos(ry), d = sin(ry), e = cos(rz), f = sin(rz);
    const double m[9] = {
        e * c, f * c, -d, e * d * b - f * a, f * d * b + e * a, c * b, e * d * a + f * b, f * d * a - e * b, c * a};
    memcpy(out, m, sizeof m);
}

KF_TEST(a_posed_grid_leads_back_to_the_patient)
{
    struct kf_head_frame frame = {.origin_lps = {12, -30, 55}};
    turned(0.4, -0.2, 0.7, frame.axis);
    struct kf_grid grid = {.dim = {9, 8, 7}, .spacing_mm = {0.5, 0.7, 2}, .origin_lps = {-90, 20, 300}};
    turned(-0.1, 0.3, 0.2, grid.direction);
    struct kf_grid posed = grid;
    kf_head_frame_pose(&frame, &posed);
    const double ijk[3] = {3, 5, 6};
    double p[3], q[3], back[3];
    kf_grid_to_lps(&grid, ijk, p);
    kf_grid_to_lps(&posed, ijk, q);
    kf_head_frame_to_lps(&frame, q, back);
    for (int a = 0; a < 3; a++) {
        KF_CHECK_NEAR(back[a], p[a], 1e-9);
        double from[3] = {p[0] - frame.origin_lps[0], p[1] - frame.origin_lps[1], p[2] - frame.origin_lps[2]};
        KF_CHECK_NEAR(q[a], dot(frame.axis + 3 * a, from), 1e-9);
    }
}

// Chin, joints and middle of a jaw whose chin lies before and below the joints, turned about x.
static int pitch(double length_mm, double turn, double middle_below_mm, struct kf_head_frame *to)
{
    const struct kf_head_frame from = {.axis = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    double rise = 48 * 3.14159265358979 / 180 + turn;
    const double along[2] = {cos(rise), sin(rise)};
    const double chin[3] = {0, -40, -60};
    const double joints[3] = {0, chin[1] + length_mm * along[0], chin[2] + length_mm * along[1]};
    // The jaw's angle is behind and below the line: to its right, seen with y to the right and z up.
    const double centre[3] = {0, (chin[1] + joints[1]) / 2 + middle_below_mm * along[1],
                              (chin[2] + joints[2]) / 2 - middle_below_mm * along[0]};
    return kf_head_frame_pitch(chin, joints, centre, &from, to);
}

KF_TEST(front_and_top_follow_from_the_jaw)
{
    struct kf_head_frame to;
    for (double turn = -2.8; turn < 3; turn += 0.4) {
        KF_CHECK(pitch(100, turn, 12, &to) && to.pitch_found);
        const double up[3] = {0, -sin(turn), cos(turn)}, back[3] = {0, cos(turn), sin(turn)};
        KF_CHECK_NEAR(dot(to.axis + 6, up), 1, 1e-6);
        KF_CHECK_NEAR(dot(to.axis + 3, back), 1, 1e-6);
        KF_CHECK_NEAR(to.axis[0], 1, 1e-9); // left stays left
    }
    // Seen from behind the mirror the angle lies on the other side: x points to the right then.
    KF_CHECK(pitch(100, 0, -12, &to));
    KF_CHECK_NEAR(to.axis[0], -1, 1e-9);
    KF_CHECK(!pitch(40, 0, 12, &to) && !pitch(170, 0, 12, &to) && !pitch(100, 0, 1, &to));
}

// Blocks of bone that are their own mirror image about x = 4 in the frame `axis`, and in nothing else.
static int is_bone(const double q[3])
{
    double x = fabs(q[0] - 4);
    int rod = fabs(x - 40) < 8 && fabs(q[1] + 10) < 50 && fabs(q[2] - 20) < 10;
    int post = fabs(x - 55) < 6 && fabs(q[1] - 30) < 8 && fabs(q[2] + 20) < 45;
    int plate = x < 30 && fabs(q[1] - 50) < 6 && q[2] > -10 && q[2] < 60;
    return rod || post || plate;
}

KF_TEST(the_mirror_plane_is_found_however_the_head_lies)
{
    enum { SIDE = 90, COUNT = SIDE * SIDE * SIDE };
    const double poses[][3] = {{0, 0, 0}, {0.5, 0.3, -0.4}, {-0.2, -0.6, 0.5}, {0.1, 0.2, 0.9}};
    struct kf_volume v = {.grid = {.dim = {SIDE, SIDE, SIDE}, .spacing_mm = {2, 2, 2}, .origin_lps = {-89, -89, -89}},
                          .type = KF_VOXEL_INT16};
    memcpy(v.grid.direction, straight, sizeof straight);
    struct kf_work work;
    struct kf_bits body;
    struct kf_head_frame frame;
    kf_work_init(&work, 2);
    int16_t *values = malloc(COUNT * sizeof *values);
    v.data = values;
    KF_CHECK(values && kf_bits_alloc(&work, v.grid.dim, &body) == KF_KERNEL_OK);
    for (size_t n = 0; n < sizeof poses / sizeof *poses; n++) {
        double axis[9];
        turned(poses[n][0], poses[n][1], poses[n][2], axis);
        for (int64_t at = 0; at < COUNT; at++) {
            const double ijk[3] = {(double)(at % SIDE), (double)(at / SIDE % SIDE), (double)(at / SIDE / SIDE)};
            double p[3];
            kf_grid_to_lps(&v.grid, ijk, p);
            const double q[3] = {dot(axis, p), dot(axis + 3, p), dot(axis + 6, p)};
            values[at] = is_bone(q) ? 1200 : 30;
            kf_bits_put(&body, at % SIDE, at / SIDE % SIDE, at / SIDE / SIDE);
        }
        KF_CHECK(kf_head_frame_find(&work, &v, &body, &frame) == KF_KERNEL_OK);
        KF_CHECK(dot(frame.axis, axis) > 0.9986); // 3 degrees
        KF_CHECK_NEAR(dot(frame.origin_lps, frame.axis), 4, 2);
        KF_CHECK(frame.symmetry > 0.8 && !frame.pitch_found);
        KF_CHECK_NEAR(dot(frame.axis, frame.axis + 3), 0, 1e-9);
    }
    kf_bits_release(&work, &body);
    free(values);
}

// ---- nerve canals, on the truth of a phantom ----

static struct kf_volume image, truth;
static struct kf_head_cores cores;

static int make_jaw(void)
{
    struct kf_phantom_options options;
    struct kf_error err = {0};
    if (kf_phantom_defaults("head", &options, &err))
        return 0;
    const int64_t dim[3] = {180, 196, 190};
    const double spacing[3] = {1.2, 1.2, 1.25};
    options.seed = 112;
    options.threads = 2;
    memcpy(options.dim, dim, sizeof dim);
    memcpy(options.spacing_mm, spacing, sizeof spacing);
    if (kf_phantom_volumes(&options, &image, &truth, &err))
        return 0;
    uint8_t *t = truth.data;
    cores = (struct kf_head_cores){.low = {1e9, 1e9, 1e9}, .high = {-1e9, -1e9, -1e9}, .mandible_found = 1};
    for (int64_t k = 0, n = 0; k < truth.grid.dim[2]; k++)
        for (int64_t j = 0; j < truth.grid.dim[1]; j++)
            for (int64_t i = 0; i < truth.grid.dim[0]; i++, n++) {
                const double ijk[3] = {(double)i, (double)j, (double)k};
                double p[3];
                kf_grid_to_lps(&truth.grid, ijk, p);
                for (int a = 0; a < 3 && t[n] == KF_L_MANDIBLE; a++) {
                    cores.low[a] = fmin(cores.low[a], p[a]);
                    cores.high[a] = fmax(cores.high[a], p[a]);
                }
            }
    for (int a = 0; a < 3; a++)
        cores.centre[a] = (cores.low[a] + cores.high[a]) / 2;
    return 1;
}

// The job's labels as the truth has them.
static uint8_t *jaw_labels(void)
{
    int64_t count = kf_grid_voxels(&truth.grid);
    const uint8_t *t = truth.data;
    uint8_t *labels = calloc((size_t)count, 1);
    for (int64_t n = 0; n < count && labels; n++)
        labels[n] = t[n] == KF_L_MANDIBLE || t[n] == KF_L_CANAL_LEFT || t[n] == KF_L_CANAL_RIGHT ? KF_HEAD_MANDIBLE
                    : t[n] >= 31 && t[n] <= 48                                                   ? KF_HEAD_LOWER_TEETH
                                                                                                 : 0;
    return labels;
}

// Share of the way's points within 3 mm of a voxel of the true canal.
static double share_on(const struct kf_head_nerve *nerve, int label)
{
    const uint8_t *t = truth.data;
    int64_t on = 0;
    for (int64_t m = 0; m < nerve->count; m++) {
        int found = 0;
        for (int64_t k = 0, n = 0; k < truth.grid.dim[2] && !found; k++)
            for (int64_t j = 0; j < truth.grid.dim[1]; j++)
                for (int64_t i = 0; i < truth.grid.dim[0]; i++, n++) {
                    const double ijk[3] = {(double)i, (double)j, (double)k};
                    double p[3];
                    if (t[n] != label)
                        continue;
                    kf_grid_to_lps(&truth.grid, ijk, p);
                    for (int a = 0; a < 3; a++)
                        p[a] -= nerve->point[m][a];
                    found |= dot(p, p) < 9;
                }
        on += found;
    }
    return nerve->count ? (double)on / (double)nerve->count : 0;
}

KF_TEST(each_canal_is_followed_on_its_side_and_painted_in_the_jaw_alone)
{
    struct kf_head_nerve nerve;
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_CHECK(make_jaw());
    uint8_t *labels = jaw_labels(), *before = jaw_labels();
    int64_t count = kf_grid_voxels(&truth.grid);
    for (int sign = 1; sign >= -1; sign -= 2) {
        KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, sign, &nerve) == KF_KERNEL_OK);
        KF_CHECK(nerve.count > 20 && nerve.length_mm > 60 && nerve.length_mm < 100);
        KF_CHECK(nerve.point[0][2] > nerve.point[nerve.count - 1][2]); // from the ramus to the chin
        KF_CHECK(share_on(&nerve, sign > 0 ? KF_L_CANAL_LEFT : KF_L_CANAL_RIGHT) > 0.9);
        KF_CHECK(share_on(&nerve, sign > 0 ? KF_L_CANAL_RIGHT : KF_L_CANAL_LEFT) <= 0);
        KF_CHECK(nerve.seen > 0.6);
        kf_head_nerve_paint(&truth.grid, &nerve, sign > 0 ? KF_HEAD_NERVE_LEFT : KF_HEAD_NERVE_RIGHT, labels);
    }
    int64_t painted = 0, astray = 0;
    for (int64_t n = 0; n < count; n++) {
        painted += labels[n] != before[n];
        astray += labels[n] != before[n] && before[n] != KF_HEAD_MANDIBLE;
    }
    KF_CHECK(painted > 100 && astray == 0);
    free(labels);
    free(before);
}

KF_TEST(a_way_ends_where_a_defect_has_taken_the_canal)
{
    static struct kf_head_nerve left, right, whole;
    struct kf_work work;
    kf_work_init(&work, 2);
    uint8_t *labels = jaw_labels();
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, 1, &whole) == KF_KERNEL_OK);
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, -1, &right) == KF_KERNEL_OK);
    left = whole;
    kf_head_nerve_interrupt(&image.grid, labels, &cores, &right, &left);
    KF_CHECK(!left.interrupted && left.count == whole.count && left.count > 20);
    // A tumour of 20 mm around a point of the canal: neither bone nor a label there.
    const double *eaten = whole.point[2 * whole.count / 3];
    int16_t *hu = image.data, *before = malloc((size_t)kf_grid_voxels(&image.grid) * sizeof *before);
    memcpy(before, hu, (size_t)kf_grid_voxels(&image.grid) * sizeof *before);
    for (int64_t k = 0, n = 0; k < image.grid.dim[2]; k++)
        for (int64_t j = 0; j < image.grid.dim[1]; j++)
            for (int64_t i = 0; i < image.grid.dim[0]; i++, n++) {
                const double ijk[3] = {(double)i, (double)j, (double)k};
                double p[3];
                kf_grid_to_lps(&image.grid, ijk, p);
                for (int a = 0; a < 3; a++)
                    p[a] -= eaten[a];
                if (dot(p, p) < 10 * 10) {
                    hu[n] = 60;
                    labels[n] = 0;
                }
            }
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, 1, &left) == KF_KERNEL_OK);
    KF_CHECK(left.count > 5 && share_on(&left, KF_L_CANAL_LEFT) < 0.7); // it goes elsewhere, beside a wall
    kf_head_nerve_interrupt(&image.grid, labels, &cores, &right, &left);
    KF_CHECK(left.interrupted && (left.count == 0 || share_on(&left, KF_L_CANAL_LEFT) > 0.85));
    left = whole; // one that goes around the tumour keeps its way to it
    for (int64_t m = 0; m < left.count; m++) {
        double far2 = 0;
        for (int a = 0; a < 3; a++)
            far2 += (whole.point[m][a] - eaten[a]) * (whole.point[m][a] - eaten[a]);
        left.point[m][2] += far2 < 11 * 11 ? 11 : 0;
    }
    kf_head_nerve_interrupt(&image.grid, labels, &cores, &right, &left);
    KF_CHECK(left.interrupted && left.length_mm > 30 && left.length_mm < 0.66 * whole.length_mm);
    KF_CHECK(share_on(&left, KF_L_CANAL_LEFT) > 0.9);
    struct kf_head_nerve other = right;
    kf_head_nerve_interrupt(&image.grid, labels, &cores, &whole, &other);
    KF_CHECK(!other.interrupted && other.count == right.count); // the sound side is left alone
    memcpy(hu, before, (size_t)kf_grid_voxels(&image.grid) * sizeof *before);
    free(before);
    free(labels);
}

KF_TEST(where_no_wall_shows_the_evidence_is_less)
{
    struct kf_head_nerve seen, unseen;
    struct kf_work work;
    kf_work_init(&work, 2);
    uint8_t *labels = jaw_labels();
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, 1, &seen) == KF_KERNEL_OK);
    int16_t *hu = image.data;
    for (int64_t n = 0; n < kf_grid_voxels(&image.grid); n++) // no canal, no marrow
        hu[n] = labels[n] == KF_HEAD_MANDIBLE ? 700 : hu[n];
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, 1, &unseen) == KF_KERNEL_OK);
    KF_CHECK(unseen.count > 20 && unseen.seen < seen.seen - 0.3);
    memset(labels, 0, (size_t)kf_grid_voxels(&image.grid));
    KF_CHECK(kf_head_nerve_find(&work, &image, &cores, labels, 1, &unseen) == KF_KERNEL_OK && unseen.count == 0);
    free(labels);
    kf_volume_release(&image);
    kf_volume_release(&truth);
}

KF_TEST(what_the_field_cuts_is_named)
{
    enum { SIDE = 40, COUNT = SIDE * SIDE * SIDE };
    struct kf_grid g = {.dim = {SIDE, SIDE, SIDE}, .spacing_mm = {2, 2, 2}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    static uint8_t labels[COUNT];
    for (int cut = 0; cut < 4; cut++) { // nothing, skull, joints, chin
        struct kf_head_cores c = {.mandible_found = 1, .centre = {40, 40, 40}};
        for (int64_t n = 0; n < COUNT; n++) {
            int64_t i = n % SIDE, j = n / SIDE % SIDE, k = n / SIDE / SIDE;
            int mid = i > 10 && i < 30;
            labels[n] = mid && j > 22 && j < 30 && k > (cut == 1 ? 31 : 32) && k < (cut == 1 ? 40 : 36) ? KF_HEAD_SKULL
                        : mid && j > 22 && j < (cut == 2 ? 40 : 30) && k > 22 && k < 28 ? KF_HEAD_MANDIBLE
                        : mid && j > 8 && j < 18 && k >= (cut == 3 ? 0 : 4) && k < 12   ? KF_HEAD_MANDIBLE
                                                                                        : 0;
        }
        kf_head_field_check(&g, labels, &c);
        KF_CHECK(c.skull_cut == (cut == 1) && c.joints_cut == (cut == 2) && c.chin_cut == (cut == 3));
    }
}

// One row of bone along i in the middle of soft tissue (40 HU), or of air before it; what kf_head_rim_trim leaves of
// it.
static int trimmed(const int16_t *row, int count, int before_hu, uint8_t label, uint8_t *left)
{
    enum { LENGTH = 16 };
    int16_t hu[LENGTH];
    uint8_t labels[LENGTH] = {0};
    struct kf_volume v = {.grid = {.dim = {LENGTH, 1, 1}, .spacing_mm = {1, 1, 1}}, .type = KF_VOXEL_INT16, .data = hu};
    struct kf_work work;
    kf_work_init(&work, 2);
    for (int n = 0; n < LENGTH; n++) {
        int in = n >= 5 && n < 5 + count;
        hu[n] = in ? row[n - 5] : (int16_t)(n < 5 ? before_hu : 40);
        labels[n] = in ? label : 0;
    }
    if (kf_head_rim_trim(&work, &v, labels))
        return 0;
    memcpy(left, labels + 5, (size_t)count);
    return 1;
}

KF_TEST(a_blurred_rim_goes_and_thin_walls_stay)
{
    const int16_t slab[5] = {400, 1200, 1200, 1200, 700}, wall[1] = {400}, spongy[4] = {500, 280, 280, 300};
    uint8_t left[5];
    KF_CHECK(trimmed(slab, 5, 40, KF_HEAD_SKULL, left));
    KF_CHECK(!left[0] && left[1] && left[2] && left[3] && left[4]);
    KF_CHECK(trimmed(slab, 5, -900, KF_HEAD_SPINE, left) && left[0]);  // half way up from air is less
    KF_CHECK(trimmed(slab, 5, 40, KF_HEAD_MANDIBLE, left) && left[0]); // has a trim of its own
    KF_CHECK(trimmed(wall, 1, 40, KF_HEAD_SKULL, left) && left[0]);
    KF_CHECK(trimmed(spongy, 4, 40, KF_HEAD_SKULL, left) && left[0] && left[1] && left[3]);
}

KF_TEST(teeth_are_as_sure_as_their_border_shows)
{
    enum { SIDE = 20, COUNT = SIDE * SIDE * SIDE };
    static int16_t hu[COUNT];
    static uint8_t labels[COUNT];
    struct kf_volume v = {
        .grid = {.dim = {SIDE, SIDE, SIDE}, .spacing_mm = {1, 1, 1}}, .type = KF_VOXEL_INT16, .data = hu};
    struct kf_head_teeth_seen seen;
    for (int64_t n = 0; n < COUNT; n++) { // a cube of enamel, its lower half in bone as dense as dentine
        int64_t i = n % SIDE, j = n / SIDE % SIDE, k = n / SIDE / SIDE;
        int tooth = i >= 6 && i < 14 && j >= 6 && j < 14 && k >= 6 && k < 14;
        labels[n] = tooth ? KF_HEAD_UPPER_TEETH : 0;
        hu[n] = (int16_t)(tooth ? (k < 8 ? 3000 : 2100) : k < 10 ? 1900 : 40);
        hu[n] = (int16_t)(tooth && k < 10 ? (k < 8 ? 3000 : 2100) : hu[n]);
    }
    kf_head_teeth_evidence(&v, labels, KF_HEAD_UPPER_TEETH, &seen);
    // Six faces of 64 mm²: the top and four rows of the sides end in soft tissue, two rows and the bottom 1100 HU
    // higher. denser.
    KF_CHECK_NEAR(seen.edge, (64 + 4 * 8 * 4 + 64 + 4 * 8 * 2) / 384.0, 1e-9);
    KF_CHECK_NEAR(seen.metal, 0.25, 1e-9);
    KF_CHECK_NEAR(seen.enamel_ml, 0.512, 1e-9);
    kf_head_teeth_evidence(&v, labels, KF_HEAD_LOWER_TEETH, &seen);
    KF_CHECK(seen.edge <= 0 && seen.metal <= 0 && seen.enamel_ml <= 0);
}

// A ball of soft tissue in air within a field of 4 mm voxels; what lies in it is drawn by `what`.
enum scene { VAULT, VAULT_CUT, VAULT_SLAB, VAULT_OPEN, MARROW, SINUS, LUNG, SCENES };

static double inside_mm(const double p[3], double x, double y, double z)
{
    return sqrt((p[0] - x) * (p[0] - x) + (p[1] - y) * (p[1] - y) + (p[2] - z) * (p[2] - z));
}

static struct kf_head_evidence evidence_of(const struct kf_work *work, enum scene what)
{
    const struct kf_grid grid = {.dim = {60, 60,
                                         what == VAULT_CUT    ? 30
                                         : what == VAULT_SLAB ? 7
                                                              : 60},
                                 .spacing_mm = {4, 4, 4},
                                 .origin_lps = {0, 0, what == VAULT_SLAB ? 108 : 0},
                                 .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    struct kf_bits body, air, bone;
    struct kf_head_evidence evidence;
    KF_CHECK(!kf_bits_alloc(work, grid.dim, &body) && !kf_bits_alloc(work, grid.dim, &air) &&
             !kf_bits_alloc(work, grid.dim, &bone));
    for (int64_t k = 0; k < grid.dim[2]; k++)
        for (int64_t j = 0; j < grid.dim[1]; j++)
            for (int64_t i = 0; i < grid.dim[0]; i++) {
                const double p[3] = {4.0 * (double)i, 4.0 * (double)j, grid.origin_lps[2] + 4.0 * (double)k};
                double mid = inside_mm(p, 120, 120, 120), limb = hypot(p[0] - 120, p[1] - 120);
                int shell = mid > 60 && mid <= 68, ribs = (int)(k % 8) < 2; // 8 mm of bone in 32 mm
                if (what == MARROW ? limb < 80 : mid < 100)
                    kf_bits_put(&body, i, j, k);
                if (what <= VAULT_SLAB   ? shell
                    : what == VAULT_OPEN ? shell && p[2] > 120
                    : what == MARROW     ? limb > 12 && limb <= 20
                    : what == SINUS      ? mid > 14 && mid <= 20
                                         : shell && ribs)
                    kf_bits_put(&bone, i, j, k);
                if ((what == SINUS && mid <= 14) || (what == LUNG && mid <= 60))
                    kf_bits_put(&air, i, j, k);
            }
    KF_CHECK(kf_head_evidence_find(work, &grid, &body, &air, &bone, &evidence) == KF_KERNEL_OK);
    kf_bits_release(work, &bone);
    kf_bits_release(work, &air);
    kf_bits_release(work, &body);
    return evidence;
}

KF_TEST(a_vault_around_a_brain_and_sinuses_speak_for_a_head_and_marrow_and_ribs_do_not)
{
    static const int speaks[SCENES] = {[VAULT] = 1, [VAULT_CUT] = 1, [SINUS] = 1};
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int n = 0; n < SCENES; n++) {
        struct kf_head_evidence e = evidence_of(&work, (enum scene)n);
        KF_CHECK(kf_head_evidence_suffices(&e) == speaks[n]);
        KF_CHECK(n == VAULT || n == VAULT_CUT ? e.brain_ml > 150 : e.brain_ml < 50);
        KF_CHECK(n == SINUS ? e.sinus_ml > 4 : e.sinus_ml < 1);
        KF_CHECK(n == SINUS || n == LUNG ? e.air_ml > 4 : e.air_ml <= 0);
        kf_head_evidence_release(&work, &e);
    }
}

KF_TEST(the_cavity_of_a_vault_is_known_in_any_slab_of_it_and_found_in_a_box_of_the_head)
{
    struct kf_work work;
    struct kf_head_frame frame = {.origin_lps = {120, 120, 120}};
    kf_work_init(&work, 1);
    turned(0.3, -0.2, 0.5, frame.axis);
    const double low[3] = {-25, -25, -12}, high[3] = {25, 25, 12}, up[3] = {25, 25, 130}, over[3] = {-25, -25, 75};
    const double box_ml = 50 * 50 * 24 / 1000.0;
    for (int n = 0; n < SCENES; n++) {
        struct kf_head_evidence e = evidence_of(&work, (enum scene)n);
        double within = kf_head_evidence_within(&e, &frame, low, high);
        KF_CHECK(n <= VAULT_SLAB ? within > 0.25 * box_ml : within < 0.04 * box_ml);
        KF_CHECK(kf_head_evidence_within(&e, &frame, over, up) <= 0);
        kf_head_evidence_release(&work, &e);
    }
}

KF_TEST_MAIN(KF_RUN(a_vault_around_a_brain_and_sinuses_speak_for_a_head_and_marrow_and_ribs_do_not);
             KF_RUN(the_cavity_of_a_vault_is_known_in_any_slab_of_it_and_found_in_a_box_of_the_head);
             KF_RUN(a_posed_grid_leads_back_to_the_patient); KF_RUN(front_and_top_follow_from_the_jaw);
             KF_RUN(the_mirror_plane_is_found_however_the_head_lies);
             KF_RUN(each_canal_is_followed_on_its_side_and_painted_in_the_jaw_alone);
             KF_RUN(a_way_ends_where_a_defect_has_taken_the_canal); KF_RUN(where_no_wall_shows_the_evidence_is_less);
             KF_RUN(what_the_field_cuts_is_named); KF_RUN(a_blurred_rim_goes_and_thin_walls_stay);
             KF_RUN(teeth_are_as_sure_as_their_border_shows);)
