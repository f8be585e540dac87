// Volumes past the reach of 32-bit numbers: 2048 × 1028 × 1024 voxels (2^31 and 8 million) for threshold, components,
// morphology, nearest neighbours and the isosurface, 1024³ (2^32 bytes of floats) for the narrow-band distance and the
// watershed. Balls stand in corners and in the middle of nothing; what comes out is what one ball gives in a small
// volume, as often as there are balls. `bench_big` needs 5.5 GB and some twenty seconds; it is no part of the tests.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/kernels/bits.h"
#include "workers/kernels/distance.h"
#include "workers/kernels/resample.h"
#include "workers/kernels/surface.h"
#include "workers/kernels/watershed.h"

#include <math.h>

#define RADIUS 20
#define REACH  6  // of the dilation, in voxels
#define BALLS  5  // in a volume
#define AWAY   40 // of a ball's middle from the borders

static const double spacing[3] = {1, 1, 1};
static const int64_t small_dim[3] = {2 * AWAY, 2 * AWAY, 2 * AWAY};

static struct kf_volume bytes_of(const int64_t dim[3])
{
    struct kf_volume v = {.grid = {.spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                          .type = KF_VOXEL_UINT8};
    memcpy(v.grid.dim, dim, sizeof v.grid.dim);
    v.data = kf_memory_take(kf_grid_voxels(&v.grid));
    if (!v.data) {
        fprintf(stderr, "not enough memory\n");
        exit(1);
    }
    memset(v.data, 0, (size_t)kf_grid_voxels(&v.grid));
    return v;
}

// Middles: four corners, the last voxels' among them, and a place near the last slice.
static void middle_of(const int64_t dim[3], int ball, int64_t middle[3])
{
    for (int a = 0; a < 3; a++)
        middle[a] = ball == 4 ? (a == 2 ? dim[a] - 2 * AWAY - 7 : dim[a] / 2)
                              : (ball >> (a == 2 ? 1 : 0) & 1 ? dim[a] - AWAY : AWAY);
}

static void draw_ball(const struct kf_volume *v, const int64_t middle[3])
{
    for (int64_t z = -RADIUS; z <= RADIUS; z++)
        for (int64_t y = -RADIUS; y <= RADIUS; y++)
            for (int64_t x = -RADIUS; x <= RADIUS; x++)
                if (x * x + y * y + z * z <= RADIUS * RADIUS)
                    ((uint8_t *)
                         v->data)[middle[0] + x + v->grid.dim[0] * (middle[1] + y + v->grid.dim[1] * (middle[2] + z))] =
                        1;
}

static struct kf_volume balls_in(const int64_t dim[3])
{
    struct kf_volume v = bytes_of(dim);
    for (int ball = 0; ball < BALLS; ball++) {
        int64_t middle[3];
        middle_of(dim, ball, middle);
        draw_ball(&v, middle);
    }
    return v;
}

// One ball in a small volume.
struct one {
    int64_t voxels, dilated, vertices, triangles;
    double volume_mm3;
};

static void measure(const struct kf_work *work, const struct kf_bits *bits, const struct kf_grid *grid, struct one *out)
{
    struct kf_mesh mesh = {0};
    const struct kf_surface_input input = {bits, grid, NULL, 0, 1};
    out->voxels = kf_bits_count(work, bits);
    if (kf_surface(work, &input, &mesh))
        exit(1);
    out->vertices = mesh.vertices;
    out->triangles = mesh.triangles;
    double area;
    kf_mesh_measure(work, &mesh, &out->volume_mm3, &area);
    kf_mesh_release(work, &mesh);
}

static struct one one_ball(const struct kf_work *work)
{
    struct one out = {0};
    struct kf_bits bits;
    struct kf_volume v = bytes_of(small_dim);
    const int64_t middle[3] = {AWAY, AWAY, AWAY};
    draw_ball(&v, middle);
    if (kf_bits_alloc(work, small_dim, &bits) || kf_bits_threshold(work, &v, 1, 1, &bits))
        exit(1);
    measure(work, &bits, &v.grid, &out);
    if (kf_bits_dilate(work, &bits, spacing, REACH))
        exit(1);
    out.dilated = kf_bits_count(work, &bits);
    kf_bits_release(work, &bits);
    kf_memory_release(v.data);
    return out;
}

static void check_components(const struct kf_work *work, const struct kf_bits *bits, const struct one *one)
{
    struct kf_components found;
    KF_REQUIRE(!kf_components_find(work, bits, KF_NEIGHBOURS_6, &found));
    KF_CHECK_EQ(found.count, BALLS);
    for (int64_t n = 0; n < found.count; n++)
        KF_CHECK_EQ(found.table[n].voxels, one->voxels);
    for (int ball = 0; ball < BALLS; ball++) {
        int64_t middle[3], seen = 0;
        middle_of(bits->dim, ball, middle);
        for (int64_t n = 0; n < found.count; n++) {
            int here = 1;
            for (int a = 0; a < 3; a++)
                here &= found.table[n].sum[a] == middle[a] * one->voxels &&
                        found.table[n].box[0][a] == middle[a] - RADIUS &&
                        found.table[n].box[1][a] == middle[a] + RADIUS + 1;
            seen += here;
        }
        KF_CHECK_EQ(seen, 1);
    }
    kf_components_release(work, &found);
}

KF_TEST(masks_and_surfaces_past_2_31_voxels)
{
    const int64_t dim[3] = {2048, 1028, 1024};
    struct kf_work work;
    struct kf_bits bits;
    struct one all;
    kf_work_init(&work, 2);
    struct one one = one_ball(&work);
    struct kf_volume v = balls_in(dim);
    KF_REQUIRE(kf_grid_voxels(&v.grid) > INT32_MAX);
    KF_REQUIRE(!kf_bits_alloc(&work, dim, &bits) && !kf_bits_threshold(&work, &v, 1, 1, &bits));
    check_components(&work, &bits, &one);
    measure(&work, &bits, &v.grid, &all);
    KF_CHECK_EQ(all.voxels, BALLS * one.voxels);
    KF_CHECK_EQ(all.vertices, BALLS * one.vertices);
    KF_CHECK_EQ(all.triangles, BALLS * one.triangles);
    KF_CHECK(fabs(all.volume_mm3 - BALLS * one.volume_mm3) < 1e-3 * one.volume_mm3);
    KF_REQUIRE(!kf_bits_dilate(&work, &bits, spacing, REACH));
    KF_CHECK_EQ(kf_bits_count(&work, &bits), BALLS * one.dilated);
    KF_REQUIRE(!kf_bits_fill_holes(&work, &bits, KF_NEIGHBOURS_6, 0, NULL));
    KF_CHECK_EQ(kf_bits_count(&work, &bits), BALLS * one.dilated);
    kf_bits_release(&work, &bits);
    // The last corner's ball, looked up from a small grid.
    int64_t middle[3];
    middle_of(dim, 3, middle);
    struct kf_volume near = bytes_of(small_dim);
    const double map[12] = {1, 0, 0, (double)middle[0] - AWAY, 0, 1, 0, (double)middle[1] - AWAY,
                            0, 0, 1, (double)middle[2] - AWAY};
    KF_REQUIRE(!kf_resample(&work, &v, map, KF_RESAMPLE_NEAREST, 9, &near));
    KF_REQUIRE(!kf_bits_alloc(&work, small_dim, &bits) && !kf_bits_threshold(&work, &near, 1, 1, &bits));
    KF_CHECK_EQ(kf_bits_count(&work, &bits), one.voxels);
    kf_bits_release(&work, &bits);
    kf_memory_release(near.data);
    kf_memory_release(v.data);
    kf_memory_trim();
}

static void check_distance(const struct kf_work *work, const struct kf_volume *v)
{
    const int64_t *dim = v->grid.dim;
    struct kf_bits bits;
    float *out = kf_memory_take(kf_grid_voxels(&v->grid) * 4);
    KF_REQUIRE(out && !kf_bits_alloc(work, dim, &bits) && !kf_bits_threshold(work, v, 1, 1, &bits));
    KF_REQUIRE(!kf_distance(work, &bits, spacing, 5, out));
    for (int ball = 0; ball < BALLS; ball++) {
        int64_t middle[3];
        middle_of(dim, ball, middle);
        const float *there = out + middle[0] + dim[0] * (middle[1] + dim[1] * middle[2]);
        KF_CHECK_EQ(there[RADIUS + 3] == 3 && there[RADIUS + 9] == 5 && there[0] == -5, 1);
        KF_CHECK_EQ(there[(RADIUS + 2) * dim[0]] == 2 && there[-(RADIUS + 1) * dim[0] * dim[1]] == 1, 1);
    }
    kf_bits_release(work, &bits);
    kf_memory_release(out);
    kf_memory_trim();
}

// The balls are markers of a flat relief within a mask of the balls dilated.
static void check_watershed(const struct kf_work *work, struct kf_volume *v)
{
    const int64_t *dim = v->grid.dim, voxels = kf_grid_voxels(&v->grid);
    struct one one = one_ball(work);
    struct kf_bits bits;
    uint8_t *mask = kf_memory_take(voxels), *labels = v->data;
    KF_REQUIRE(mask && !kf_bits_alloc(work, dim, &bits) && !kf_bits_threshold(work, v, 1, 1, &bits));
    KF_REQUIRE(!kf_bits_dilate(work, &bits, spacing, REACH));
    memset(mask, 0, (size_t)voxels);
    kf_bits_paint(work, &bits, 1, mask);
    const struct kf_volume relief = {v->grid, KF_VOXEL_UINT8, mask};
    KF_REQUIRE(!kf_watershed(work, &relief, mask, labels));
    int64_t count = 0, same = 0;
    for (int64_t n = 0; n < voxels; n++) {
        count += labels[n];
        same += labels[n] == mask[n];
    }
    KF_CHECK_EQ(count, BALLS * one.dilated);
    KF_CHECK_EQ(same, voxels);
    kf_bits_release(work, &bits);
    kf_memory_release(mask);
}

KF_TEST(a_cube_of_1024_in_floats_and_in_bricks)
{
    const int64_t dim[3] = {1024, 1024, 1024};
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_volume v = balls_in(dim);
    check_distance(&work, &v);
    check_watershed(&work, &v);
    kf_memory_release(v.data);
}

KF_TEST_MAIN(KF_RUN(masks_and_surfaces_past_2_31_voxels); KF_RUN(a_cube_of_1024_in_floats_and_in_bricks);)
