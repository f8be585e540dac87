// The isosurface: closed, manifold and oriented on any mask, outward under any direction, near the truth on
// analytic shapes, and the same bytes for any thread count and instruction set.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface.h"

#include <stdint.h>

static uint64_t state = 11;

static struct kf_grid plain_grid(int64_t i, int64_t j, int64_t k)
{
    return (struct kf_grid){.dim = {i, j, k}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
}

static void random_mask(const struct kf_work *work, const int64_t dim[3], int percent, struct kf_bits *bits)
{
    if (kf_bits_alloc(work, dim, bits))
        exit(1);
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t i = 0; i < dim[0]; i++)
                if ((int)(test_random(&state) % 100) < percent)
                    kf_bits_put(bits, i, j, k);
}

static void expect_sound(const struct kf_work *work, const struct kf_mesh *mesh, int closed)
{
    struct kf_mesh_report r;
    KF_REQUIRE(!kf_mesh_check(work, mesh, &r));
    KF_CHECK_EQ(r.closed, closed);
    KF_CHECK(r.manifold);
    KF_CHECK(r.oriented);
    KF_CHECK_EQ(r.unused_vertices, 0);
    if (closed && mesh->triangles)
        KF_CHECK(r.volume_mm3 > 0);
}

KF_TEST(every_cell_case_is_sound)
{
    // Two voxels a side: all 256 cases, each with all cells around it.
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_grid grid = plain_grid(2, 2, 2);
    for (unsigned code = 1; code < 256; code++) {
        struct kf_bits bits;
        KF_REQUIRE(!kf_bits_alloc(&work, grid.dim, &bits));
        for (int c = 0; c < 8; c++)
            if (code >> c & 1)
                kf_bits_put(&bits, c & 1, c >> 1 & 1, c >> 2);
        struct kf_mesh mesh;
        KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 1}, &mesh));
        expect_sound(&work, &mesh, 1);
        kf_mesh_release(&work, &mesh);
        kf_bits_release(&work, &bits);
    }
}

KF_TEST(random_masks_are_closed_manifold_and_oriented)
{
    static const int64_t sizes[][3] = {{9, 8, 7},  {61, 6, 5}, {62, 6, 5}, {63, 5, 6},
                                       {64, 7, 5}, {65, 4, 9}, {129, 8, 8}};
    for (int round = 0; round < 70; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const int64_t *dim = sizes[round % 7];
        struct kf_grid grid = plain_grid(dim[0], dim[1], dim[2]);
        struct kf_bits bits;
        random_mask(&work, dim, 5 + 9 * (round % 11), &bits);
        struct kf_mesh mesh;
        KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 1}, &mesh));
        expect_sound(&work, &mesh, 1);
        kf_mesh_release(&work, &mesh);
        kf_bits_release(&work, &bits);
    }
}

KF_TEST(without_a_cap_only_the_border_is_open)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = plain_grid(70, 20, 12);
    struct kf_bits bits;
    random_mask(&work, grid.dim, 50, &bits);
    struct kf_mesh mesh;
    KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 0}, &mesh));
    struct kf_mesh_report r;
    KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
    KF_CHECK(!r.closed);
    KF_CHECK(r.oriented);
    KF_CHECK_EQ(r.nonmanifold_edges, 0);
    KF_CHECK_EQ(r.unused_vertices, 0);
    for (int a = 0; a < 3; a++) {
        KF_CHECK(r.bounds[0][a] >= 0);
        KF_CHECK(r.bounds[1][a] <= (double)(grid.dim[a] - 1));
    }
    kf_mesh_release(&work, &mesh);
    kf_bits_release(&work, &bits);
}

// Grey values that fall linearly with the distance to a shape's surface; 0 at it, positive inside.
static double ball(const double p[3], const double *size)
{
    return size[0] - sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
}

static double torus(const double p[3], const double *size)
{
    double ring = sqrt(p[0] * p[0] + p[1] * p[1]) - size[0];
    return size[1] - sqrt(ring * ring + p[2] * p[2]);
}

static void shape_surface(const struct kf_work *work, const struct kf_grid *grid,
                          double (*shape)(const double[3], const double *), const double *size, struct kf_mesh *mesh)
{
    struct kf_volume v;
    struct kf_bits bits;
    struct kf_error err;
    if (kf_volume_alloc(&v, grid, KF_VOXEL_INT16, &err) || kf_bits_alloc(work, grid->dim, &bits))
        exit(1);
    for (int64_t k = 0; k < grid->dim[2]; k++)
        for (int64_t j = 0; j < grid->dim[1]; j++)
            for (int64_t i = 0; i < grid->dim[0]; i++) {
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(grid, ijk, p);
                double value = 300 + 100 * shape(p, size);
                ((int16_t *)v.data)[i + grid->dim[0] * (j + grid->dim[1] * k)] =
                    (int16_t)(value < -2000 ? -2000 : rint(value));
            }
    if (kf_bits_threshold(work, &v, 300, 32767, &bits))
        exit(1);
    struct kf_surface_input input = {.inside = &bits, .grid = grid, .grey = &v, .iso = 300, .cap = 1};
    if (kf_surface(work, &input, mesh))
        exit(1);
    kf_volume_release(&v);
    kf_bits_release(work, &bits);
}

static double rms_distance(const struct kf_mesh *mesh, double (*shape)(const double[3], const double *),
                           const double *size)
{
    double sum = 0;
    for (int64_t v = 0; v < mesh->vertices; v++) {
        double p[3] = {(double)mesh->xyz[3 * v], (double)mesh->xyz[3 * v + 1], (double)mesh->xyz[3 * v + 2]};
        double d = shape(p, size);
        sum += d * d;
    }
    return sqrt(sum / (double)mesh->vertices);
}

// Directions with permuted and flipped axes, and an oblique one; determinants of both signs.
static void direction_of(int n, double d[9])
{
    static const int order[6][3] = {{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {1, 0, 2}, {0, 2, 1}, {2, 1, 0}};
    memset(d, 0, 9 * sizeof *d);
    if (n == 48) {
        double c = cos(0.4), s = sin(0.4), e = cos(0.7), t = sin(0.7);
        const double oblique[9] = {c, -s * e, s * t, s, c * e, -c * t, 0, t, e};
        memcpy(d, oblique, sizeof oblique);
        return;
    }
    for (int column = 0; column < 3; column++)
        d[3 * order[n / 8][column] + column] = n >> column & 1 ? -1 : 1;
}

KF_TEST(spheres_and_tori_are_true_under_every_direction)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    const double radius[1] = {9.3}, rings[2] = {8.0, 3.1};
    for (int n = 0; n <= 48; n++) {
        struct kf_grid grid = plain_grid(34, 41, 30);
        const double spacing[3] = {0.8, 0.7, 0.9};
        memcpy(grid.spacing_mm, spacing, sizeof spacing);
        direction_of(n, grid.direction);
        double middle[3] = {17.2, 20.4, 14.9}, at[3];
        kf_grid_to_lps(&grid, middle, at);
        for (int a = 0; a < 3; a++)
            grid.origin_lps[a] = -at[a];
        for (int which = 0; which < 2; which++) {
            struct kf_mesh mesh;
            shape_surface(&work, &grid, which ? torus : ball, which ? rings : radius, &mesh);
            struct kf_mesh_report r;
            KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
            KF_CHECK(r.closed && r.manifold && r.oriented);
            KF_CHECK_EQ(r.components, 1);
            double volume =
                which ? 2 * M_PI * M_PI * rings[0] * rings[1] * rings[1] : 4.0 / 3 * M_PI * pow(radius[0], 3);
            double area = which ? 4 * M_PI * M_PI * rings[0] * rings[1] : 4 * M_PI * radius[0] * radius[0];
            // Chords cut corners: 1.5 % on a tube of four voxels' radius.
            KF_CHECK_NEAR(r.volume_mm3 / volume, 1, 0.016);
            KF_CHECK_NEAR(r.area_mm2 / area, 1, 0.016);
            KF_CHECK(rms_distance(&mesh, which ? torus : ball, which ? rings : radius) < 0.05 * 0.7);
            kf_mesh_release(&work, &mesh);
        }
    }
}

KF_TEST(threads_and_instruction_sets_do_not_matter)
{
    static const int counts[] = {1, 2, 3, 7};
    const double size[2] = {8.0, 3.1};
    struct kf_mesh first = {0};
    struct kf_work work;
    kf_work_init(&work, 1);
    enum kf_cpu was = kf_cpu_level();
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        if (kf_cpu_use((enum kf_cpu)level))
            continue;
        for (int n = 0; n < 4; n++) {
            kf_work_init(&work, counts[n]);
            struct kf_grid grid = plain_grid(90, 31, 28);
            direction_of(48, grid.direction);
            for (int a = 0; a < 3; a++)
                grid.origin_lps[a] = -12.5 - a;
            struct kf_mesh mesh;
            shape_surface(&work, &grid, torus, size, &mesh);
            KF_REQUIRE(!kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){5, 0.1, 1, 0.5, NULL}));
            if (!first.xyz) {
                first = mesh;
                continue;
            }
            KF_CHECK_EQ(mesh.vertices, first.vertices);
            KF_CHECK_EQ(mesh.triangles, first.triangles);
            KF_CHECK(memcmp(mesh.xyz, first.xyz, (size_t)mesh.vertices * 12) == 0);
            KF_CHECK(memcmp(mesh.index, first.index, (size_t)mesh.triangles * 12) == 0);
            kf_mesh_release(&work, &mesh);
        }
    }
    kf_mesh_release(&work, &first);
    KF_CHECK(!kf_cpu_use(was));
}

KF_TEST(smoothing_keeps_volume_and_flattens_stairs)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = plain_grid(60, 60, 60);
    struct kf_bits bits;
    KF_REQUIRE(!kf_bits_alloc(&work, grid.dim, &bits));
    const double radius[1] = {20};
    for (int64_t v = 0; v < 60 * 60 * 60; v++) {
        const double p[3] = {(double)(v % 60) - 29.6, (double)(v / 60 % 60) - 29.6, (double)(v / 3600) - 29.6};
        if (ball(p, radius) >= 0)
            kf_bits_put(&bits, v % 60, v / 60 % 60, v / 3600);
    }
    for (int a = 0; a < 3; a++)
        grid.origin_lps[a] = -29.6;
    struct kf_mesh mesh;
    KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 1}, &mesh));
    double before, after, area, stairs = rms_distance(&mesh, ball, radius);
    kf_mesh_measure(&work, &mesh, &before, &area);
    KF_REQUIRE(!kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){20, 0.1, 1, 0, NULL}));
    kf_mesh_measure(&work, &mesh, &after, &area);
    KF_CHECK_NEAR(after / before, 1, 0.0005);
    KF_CHECK(rms_distance(&mesh, ball, radius) < 0.6 * stairs);
    KF_CHECK(rms_distance(&mesh, ball, radius) < 0.25);
    expect_sound(&work, &mesh, 1);
    kf_mesh_release(&work, &mesh);
    kf_bits_release(&work, &bits);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Marks the vertices of edges that only one triangle has.
static void mark_border(const struct kf_mesh *mesh, uint8_t *border)
{
    int64_t count = 3 * mesh->triangles;
    uint64_t *edge = malloc((size_t)count * sizeof *edge);
    KF_REQUIRE(edge != NULL);
    for (int64_t e = 0; e < count; e++)
        edge[e] = (uint64_t)mesh->index[e] << 32 | mesh->index[e % 3 == 2 ? e - 2 : e + 1];
    qsort(edge, (size_t)count, sizeof *edge, by_value);
    for (int64_t e = 0; e < count; e++) {
        uint64_t back = edge[e] << 32 | edge[e] >> 32;
        if (!bsearch(&back, edge, (size_t)count, sizeof *edge, by_value))
            border[edge[e] >> 32] = border[edge[e] & 0xFFFFFFFF] = 1;
    }
    free(edge);
}

KF_TEST(smoothing_leaves_open_borders_and_its_reach)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = plain_grid(30, 30, 12);
    struct kf_bits bits;
    KF_REQUIRE(!kf_bits_alloc(&work, grid.dim, &bits));
    for (int64_t v = 0; v < 30 * 30 * 12; v++)
        if (hypot((double)(v % 30) - 14.4, (double)(v / 30 % 30) - 14.6) < 9)
            kf_bits_put(&bits, v % 30, v / 30 % 30, v / 900);
    struct kf_mesh mesh;
    KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 0}, &mesh));
    float *was = malloc((size_t)mesh.vertices * 12);
    uint8_t *border = calloc((size_t)mesh.vertices, 1);
    KF_REQUIRE(was && border);
    memcpy(was, mesh.xyz, (size_t)mesh.vertices * 12);
    mark_border(&mesh, border);
    KF_REQUIRE(!kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){20, 0.1, 0, 0.2, NULL}));
    int64_t on = 0, free_to_move = 0;
    double farthest = 0;
    for (int64_t v = 0; v < mesh.vertices; v++) {
        double moved = 0;
        for (int r = 0; r < 3; r++)
            moved += pow((double)mesh.xyz[3 * v + r] - (double)was[3 * v + r], 2);
        if (border[v]) {
            KF_CHECK(moved <= 0);
            on++;
        } else {
            free_to_move += moved > 1e-4;
        }
        farthest = fmax(farthest, sqrt(moved));
    }
    KF_CHECK(on > 80 && free_to_move > mesh.vertices / 2); // two rings of about 72 voxel edges
    KF_CHECK(farthest > 0.19 && farthest < 0.2001);
    KF_CHECK_EQ(kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){257, 0.1, 0, 0, NULL}), KF_KERNEL_INVALID);
    KF_CHECK_EQ(kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){5, 1, 0, 0, NULL}), KF_KERNEL_INVALID);
    free(was);
    free(border);
    kf_mesh_release(&work, &mesh);
    kf_bits_release(&work, &bits);
}

KF_TEST(smoothing_leaves_caps_flat)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = plain_grid(30, 30, 12);
    direction_of(48, grid.direction);
    struct kf_bits bits;
    KF_REQUIRE(!kf_bits_alloc(&work, grid.dim, &bits));
    for (int64_t v = 0; v < 30 * 30 * 12; v++) // a tube from one end of the volume to the other
        if (hypot((double)(v % 30) - 14.4, (double)(v / 30 % 30) - 14.6) < 9)
            kf_bits_put(&bits, v % 30, v / 30 % 30, v / 900);
    struct kf_mesh mesh;
    KF_REQUIRE(!kf_surface(&work, &(struct kf_surface_input){.inside = &bits, .grid = &grid, .cap = 1}, &mesh));
    double before, after, area;
    kf_mesh_measure(&work, &mesh, &before, &area);
    KF_REQUIRE(!kf_mesh_smooth(&work, &mesh, &(struct kf_mesh_smooth){20, 0.1, 1, 1, &grid}));
    kf_mesh_measure(&work, &mesh, &after, &area);
    KF_CHECK_NEAR(after / before, 1, 0.001);
    double low = 1e9, high = -1e9;
    for (int64_t v = 0; v < mesh.vertices; v++) {
        double p[3] = {(double)mesh.xyz[3 * v], (double)mesh.xyz[3 * v + 1], (double)mesh.xyz[3 * v + 2]}, at[3];
        kf_grid_to_ijk(&grid, p, at);
        low = fmin(low, at[2]);
        high = fmax(high, at[2]);
    }
    KF_CHECK_NEAR(low, -1.0 / 64, 1e-4);
    KF_CHECK_NEAR(high, 11 + 1.0 / 64, 1e-4);
    expect_sound(&work, &mesh, 1);
    kf_mesh_release(&work, &mesh);
    kf_bits_release(&work, &bits);
}

KF_TEST(the_level_of_a_threshold_is_found_again)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_grid grid = plain_grid(40, 30, 20);
    struct kf_volume v;
    struct kf_error err;
    struct kf_bits bits;
    KF_REQUIRE(!kf_volume_alloc(&v, &grid, KF_VOXEL_INT16, &err));
    KF_REQUIRE(!kf_bits_alloc(&work, grid.dim, &bits));
    for (int64_t i = 0; i < 24000; i++)
        ((int16_t *)v.data)[i] = (int16_t)(test_random(&state) % 3000);
    double level, mistakes;
    KF_CHECK_EQ(kf_surface_level(&work, &bits, &v, &level, &mistakes), KF_KERNEL_INVALID);
    KF_REQUIRE(!kf_bits_threshold(&work, &v, 1234, 32767, &bits));
    KF_REQUIRE(!kf_surface_level(&work, &bits, &v, &level, &mistakes));
    KF_CHECK_NEAR(level, 1233.5, 1.5);
    KF_CHECK_NEAR(mistakes, 0, 0);
    struct kf_volume real;
    KF_REQUIRE(!kf_volume_alloc(&real, &grid, KF_VOXEL_FLOAT32, &err));
    for (int64_t i = 0; i < 24000; i++)
        ((float *)real.data)[i] = 0.25f * (float)((int16_t *)v.data)[i];
    KF_REQUIRE(!kf_surface_level(&work, &bits, &real, &level, &mistakes));
    KF_CHECK_NEAR(level, 0.25 * 1233.5, 0.3);
    KF_CHECK_NEAR(mistakes, 0, 0.001);
    kf_volume_release(&real);
    kf_bits_release(&work, &bits);
    kf_volume_release(&v);
}

KF_TEST_MAIN(KF_RUN(every_cell_case_is_sound); KF_RUN(random_masks_are_closed_manifold_and_oriented);
             KF_RUN(without_a_cap_only_the_border_is_open); KF_RUN(spheres_and_tori_are_true_under_every_direction);
             KF_RUN(threads_and_instruction_sets_do_not_matter); KF_RUN(smoothing_keeps_volume_and_flattens_stairs);
             KF_RUN(smoothing_leaves_open_borders_and_its_reach); KF_RUN(smoothing_leaves_caps_flat);
             KF_RUN(the_level_of_a_threshold_is_found_again);)
