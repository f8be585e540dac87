// Surfaces between labels: every label's own is closed, manifold and oriented on any label map, neighbours have the
// same triangles turned over, analytic shapes come out true, and threads and instruction sets do not matter.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/surface_labels.h"

#include <stdint.h>

static uint64_t state = 31;

static struct kf_grid plain_grid(int64_t i, int64_t j, int64_t k)
{
    return (struct kf_grid){.dim = {i, j, k}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
}

static void new_labels(const struct kf_grid *grid, struct kf_volume *v)
{
    struct kf_error err;
    if (kf_volume_alloc(v, grid, KF_VOXEL_UINT8, &err))
        exit(1);
    memset(v->data, 0, (size_t)kf_grid_voxels(grid));
}

// Noise of `labels` values, or balls of them in any place, the border included.
static void random_labels(const struct kf_grid *grid, int labels, int balls, struct kf_volume *v)
{
    new_labels(grid, v);
    uint8_t *data = v->data;
    const int64_t *d = grid->dim;
    for (int64_t n = 0; n < kf_grid_voxels(grid) && !balls; n++)
        data[n] = (uint8_t)(test_random(&state) % (uint64_t)labels);
    for (int b = 0; b < balls; b++) {
        int64_t c[3], r = 1 + (int64_t)(test_random(&state) % 7);
        for (int a = 0; a < 3; a++)
            c[a] = (int64_t)(test_random(&state) % (uint64_t)d[a]);
        uint8_t label = (uint8_t)(test_random(&state) % (uint64_t)labels);
        for (int64_t n = 0; n < kf_grid_voxels(grid); n++) {
            int64_t x = n % d[0] - c[0], y = n / d[0] % d[1] - c[1], z = n / (d[0] * d[1]) - c[2];
            if (x * x + y * y + z * z <= r * r)
                data[n] = label;
        }
    }
}

static int64_t count_label(const struct kf_volume *v, int label)
{
    int64_t n = 0;
    for (int64_t i = 0; i < kf_grid_voxels(&v->grid); i++)
        n += ((const uint8_t *)v->data)[i] == label;
    return n;
}

// Pairs of face neighbours of which just one has the label; outside of the volume there is background.
static int64_t count_faces(const struct kf_volume *v, int label)
{
    const int64_t *d = v->grid.dim;
    const uint8_t *data = v->data;
    int64_t n = 0;
    for (int64_t i = 0; i < kf_grid_voxels(&v->grid); i++) {
        int64_t at[3] = {i % d[0], i / d[0] % d[1], i / (d[0] * d[1])}, step[3] = {1, d[0], d[0] * d[1]};
        for (int a = 0; a < 3; a++) {
            n += (data[i] == label) != ((at[a] + 1 < d[a] ? data[i + step[a]] : 0) == label);
            n += at[a] == 0 && (data[i] == label) != (label == 0);
        }
    }
    return n;
}

static void check_label(const struct kf_work *work, const struct kf_volume *v, const struct kf_surface_labels *s, int label)
{
    struct kf_mesh mesh;
    struct kf_mesh_report r;
    KF_REQUIRE(!kf_surface_labels_mesh(work, s, label, &mesh));
    KF_REQUIRE(!kf_mesh_check(work, &mesh, &r));
    KF_CHECK_EQ(mesh.triangles, 2 * count_faces(v, label));
    KF_CHECK(r.closed);
    KF_CHECK(r.manifold);
    KF_CHECK(r.oriented);
    KF_CHECK_EQ(r.unused_vertices, 0);
    KF_CHECK_EQ(r.degenerate_triangles, 0);
    kf_mesh_release(work, &mesh);
}

KF_TEST(every_cell_of_two_and_three_labels_is_sound)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_grid grid = plain_grid(2, 2, 2);
    struct kf_volume v;
    new_labels(&grid, &v);
    for (int code = 0; code < 6561; code++) { // three labels on eight voxels
        for (int c = 0, rest = code; c < 8; c++, rest /= 3)
            ((uint8_t *)v.data)[c] = (uint8_t)(rest % 3);
        struct kf_surface_labels s;
        KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 0}, &s));
        for (int label = 0; label < 3; label++)
            check_label(&work, &v, &s, label);
        kf_surface_labels_release(&work, &s);
    }
    kf_volume_release(&v);
}

KF_TEST(random_labels_are_closed_manifold_and_oriented)
{
    static const int64_t sizes[][3] = {{9, 8, 7}, {62, 6, 5}, {63, 5, 6}, {64, 7, 5}, {65, 4, 9}, {127, 5, 4}, {128, 6, 3},
                                       {1, 1, 1}, {1, 9, 5}, {130, 8, 8}, {1100, 3, 3}};
    for (int round = 0; round < 88; round++) {
        struct kf_work work;
        kf_work_init(&work, 1 + round % 3);
        const int64_t *dim = sizes[round % 11];
        struct kf_grid grid = plain_grid(dim[0], dim[1], dim[2]);
        struct kf_volume v;
        int labels = 2 + round % 5;
        random_labels(&grid, labels, round % 2 ? 12 : 0, &v);
        struct kf_surface_labels s;
        KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, round % 3 * 4}, &s));
        for (int label = 0; label <= labels; label++)
            check_label(&work, &v, &s, label);
        kf_surface_labels_release(&work, &s);
        kf_volume_release(&v);
    }
}

KF_TEST(a_lone_voxel_is_a_small_cube)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_grid grid = plain_grid(5, 5, 5);
    struct kf_volume v;
    new_labels(&grid, &v);
    ((uint8_t *)v.data)[62] = 200;
    struct kf_surface_labels s;
    KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 0}, &s));
    struct kf_mesh mesh;
    struct kf_mesh_report r;
    KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, 200, &mesh));
    KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
    KF_CHECK_EQ(mesh.vertices, 8);
    KF_CHECK_EQ(mesh.triangles, 12);
    // Three crossings at a half along one axis each: a sixth of a voxel from the centre on each axis.
    KF_CHECK_NEAR(r.volume_mm3, 1.0 / 27, 1e-6);
    KF_CHECK_NEAR(r.bounds[0][0], 2 - 1.0 / 6, 1e-6);
    KF_CHECK_NEAR(r.bounds[1][2], 2 + 1.0 / 6, 1e-6);
    kf_mesh_release(&work, &mesh);
    kf_surface_labels_release(&work, &s);
    kf_volume_release(&v);
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, 9 * sizeof(float));
}

// The triangles between two labels as nine floats each, beginning with the least corner, sorted; turned over on demand.
static float *interface_of(const struct kf_mesh *mesh, int turn, const uint8_t *wanted, int64_t *count)
{
    float *key = malloc((size_t)mesh->triangles * 9 * sizeof *key + 1);
    *count = 0;
    for (int64_t t = 0; t < mesh->triangles; t++) {
        if (!wanted[t])
            continue;
        const float *p[3];
        for (int c = 0; c < 3; c++)
            p[c] = mesh->xyz + 3 * (int64_t)mesh->index[3 * t + (turn ? 2 - c : c)];
        int least = 0;
        for (int c = 1; c < 3; c++)
            least = memcmp(p[c], p[least], 12) < 0 ? c : least;
        for (int c = 0; c < 3; c++)
            memcpy(key + 9 * *count + 3 * c, p[(least + c) % 3], 12);
        ++*count;
    }
    qsort(key, (size_t)*count, 9 * sizeof *key, compare_keys);
    return key;
}

// Which triangles of a label's mesh lie against `other`: the net says so in the same order.
static uint8_t *against(const struct kf_surface_labels *s, int label, int other)
{
    uint8_t *wanted = calloc((size_t)s->quads * 2 + 1, 1);
    int64_t t = 0;
    for (int64_t q = 0; q < s->quads; q++) {
        int a = s->pair[2 * q], b = s->pair[2 * q + 1];
        if (a != label && b != label)
            continue;
        wanted[t] = wanted[t + 1] = (uint8_t)((a == label ? b : a) == other);
        t += 2;
    }
    return wanted;
}

KF_TEST(neighbours_share_their_interface_to_the_last_bit)
{
    struct kf_work work;
    kf_work_init(&work, 2);
    struct kf_grid grid = plain_grid(30, 28, 26);
    struct kf_volume v;
    random_labels(&grid, 4, 90, &v);
    struct kf_surface_labels s;
    KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 6}, &s));
    for (int a = 0; a < 4; a++)
        for (int b = 0; b < a; b++) {
            struct kf_mesh one, two;
            int64_t n, m;
            KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, a, &one));
            KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, b, &two));
            uint8_t *of_one = against(&s, a, b), *of_two = against(&s, b, a);
            float *first = interface_of(&one, 0, of_one, &n), *second = interface_of(&two, 1, of_two, &m);
            KF_CHECK(n > 0);
            KF_CHECK_EQ(n, m);
            KF_CHECK(n == m && memcmp(first, second, (size_t)n * 9 * sizeof *first) == 0);
            free(of_one);
            free(of_two);
            free(first);
            free(second);
            kf_mesh_release(&work, &one);
            kf_mesh_release(&work, &two);
        }
    struct kf_mesh net;
    uint8_t *pair;
    KF_REQUIRE(!kf_surface_labels_net(&work, &s, &net, &pair));
    KF_CHECK_EQ(net.vertices, s.vertices);
    for (int64_t t = 0; t < net.triangles; t++)
        KF_CHECK(pair[2 * t] > pair[2 * t + 1]);
    kf_work_give(&work, pair);
    kf_mesh_release(&work, &net);
    kf_surface_labels_release(&work, &s);
    kf_volume_release(&v);
}

// A ball of radius 12 cut in two halves with a label each, or a torus around it; oblique, or mirrored.
static void shapes(const struct kf_grid *grid, struct kf_volume *v)
{
    new_labels(grid, v);
    for (int64_t n = 0; n < kf_grid_voxels(grid); n++) {
        double ijk[3] = {(double)(n % grid->dim[0]), (double)(n / grid->dim[0] % grid->dim[1]),
                         (double)(n / (grid->dim[0] * grid->dim[1]))}, p[3];
        kf_grid_to_lps(grid, ijk, p);
        double ring = sqrt(p[0] * p[0] + p[1] * p[1]) - 20;
        if (sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]) < 12)
            ((uint8_t *)v->data)[n] = p[2] > 0 ? 7 : 9;
        else if (sqrt(ring * ring + p[2] * p[2]) < 5)
            ((uint8_t *)v->data)[n] = 12;
    }
}

KF_TEST(balls_and_tori_are_true)
{
    for (int mirrored = 0; mirrored < 2; mirrored++) {
        struct kf_work work;
        kf_work_init(&work, 2);
        struct kf_grid grid = plain_grid(110, 108, 50);
        double c = cos(0.3), sn = sin(0.3), side = mirrored ? -1 : 1;
        const double direction[9] = {c, -sn, 0, sn, c, 0, 0, 0, side}, middle[3] = {54.3, 53.6, 24.4};
        memcpy(grid.direction, direction, sizeof direction);
        for (int a = 0; a < 3; a++)
            grid.spacing_mm[a] = 0.5;
        double at[3];
        kf_grid_to_lps(&grid, middle, at);
        for (int a = 0; a < 3; a++)
            grid.origin_lps[a] = -at[a];
        struct kf_volume v;
        shapes(&grid, &v);
        struct kf_surface_labels s;
        KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 12}, &s));
        static const int label[3] = {7, 9, 12};
        const double half = 2.0 / 3 * M_PI * 12 * 12 * 12;
        const double truth[3] = {half, half, 2 * M_PI * M_PI * 20 * 25};
        for (int n = 0; n < 3; n++) {
            struct kf_mesh mesh;
            struct kf_mesh_report r;
            KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, label[n], &mesh));
            KF_REQUIRE(!kf_mesh_check(&work, &mesh, &r));
            KF_CHECK(r.closed && r.manifold && r.oriented);
            KF_CHECK_EQ(r.components, 1);
            KF_CHECK_NEAR(r.volume_mm3 / ((double)count_label(&v, label[n]) / 8), 1, 0.03);
            KF_CHECK_NEAR(r.volume_mm3 / truth[n], 1, 0.03);
            double sum = 0;
            for (int64_t i = 0; i < mesh.vertices; i++) {
                const float *x = mesh.xyz + 3 * i;
                double p[3] = {(double)x[0], (double)x[1], (double)x[2]}, ring = sqrt(p[0] * p[0] + p[1] * p[1]) - 20;
                double d = n == 2 ? 5 - sqrt(ring * ring + p[2] * p[2])
                                  : 12 - sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);
                double cut = fabs(p[2]);
                d = n < 2 && cut < fabs(d) ? cut : d; // on the cut between the halves
                sum += d * d;
            }
            double rms = sqrt(sum / (double)mesh.vertices);
            printf("label %d: volume %.2f %% off, %.3f voxels from the truth\n", label[n],
                   100 * (r.volume_mm3 / truth[n] - 1), rms / 0.5);
            KF_CHECK(rms < 0.25 * 0.5);
            kf_mesh_release(&work, &mesh);
        }
        kf_surface_labels_release(&work, &s);
        kf_volume_release(&v);
    }
}

static void check_same(const struct kf_surface_labels *a, const struct kf_surface_labels *b)
{
    KF_REQUIRE(a->vertices == b->vertices && a->quads == b->quads);
    KF_CHECK(memcmp(a->xyz, b->xyz, (size_t)a->vertices * 12) == 0);
    KF_CHECK(memcmp(a->corner, b->corner, (size_t)a->vertices * 8) == 0);
    KF_CHECK(memcmp(a->ring, b->ring, (size_t)a->quads * 16) == 0);
    KF_CHECK(memcmp(a->pair, b->pair, (size_t)a->quads * 2) == 0);
    KF_CHECK(memcmp(a->kind, b->kind, (size_t)a->quads) == 0);
}

// Every instruction set and number of threads beside the reference with one.
static void check_everywhere(const struct kf_volume *v, int rounds, int label)
{
    static const int counts[] = {1, 2, 3, 7};
    struct kf_surface_labels first = {0};
    struct kf_mesh mesh_first = {0};
    struct kf_work work;
    kf_work_init(&work, 1);
    for (int level = 0; level < KF_CPU_COUNT; level++) {
        if (kf_cpu_use((enum kf_cpu)level))
            continue;
        for (int n = 0; n < 4; n++) {
            kf_work_init(&work, counts[n]);
            struct kf_surface_labels s;
            struct kf_mesh mesh;
            KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){v, rounds}, &s));
            KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, label, &mesh));
            if (!first.xyz) {
                first = s;
                mesh_first = mesh;
                continue;
            }
            check_same(&s, &first);
            KF_REQUIRE(mesh.vertices == mesh_first.vertices && mesh.triangles == mesh_first.triangles);
            KF_CHECK(memcmp(mesh.xyz, mesh_first.xyz, (size_t)mesh.vertices * 12) == 0);
            KF_CHECK(memcmp(mesh.index, mesh_first.index, (size_t)mesh.triangles * 12) == 0);
            kf_mesh_release(&work, &mesh);
            kf_surface_labels_release(&work, &s);
        }
    }
    kf_mesh_release(&work, &mesh_first);
    kf_surface_labels_release(&work, &first);
}

// Rows around a word's length and past what is done in one go; noise, whose slices have many cells and whose cells have
// many labels, and balls; a slanted, mirrored grid, so that no coordinate is a round number.
KF_TEST(threads_and_instruction_sets_do_not_matter)
{
    static const int64_t sizes[][3] = {{150, 31, 28}, {63, 9, 7}, {64, 9, 7}, {65, 9, 7}, {66, 20, 5}, {128, 9, 4},
                                       {129, 5, 9}, {1030, 4, 4}, {1, 40, 3}, {40, 1, 3}};
    enum kf_cpu was = kf_cpu_level();
    for (int n = 0; n < 20; n++) {
        const int64_t *dim = sizes[n % 10];
        struct kf_grid grid = plain_grid(dim[0], dim[1], dim[2]);
        const double direction[9] = {0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, -1};
        memcpy(grid.direction, direction, sizeof direction);
        for (int a = 0; a < 3; a++) {
            grid.spacing_mm[a] = 0.3 + 0.1 * a;
            grid.origin_lps[a] = 1.7 * a - 31.3;
        }
        struct kf_volume v;
        random_labels(&grid, n < 10 ? 9 : 3, n < 10 ? 80 : 0, &v);
        check_everywhere(&v, n % 3 * 2, 2);
        kf_volume_release(&v);
    }
    KF_CHECK(!kf_cpu_use(was));
}

KF_TEST(other_voxels_and_no_labels)
{
    struct kf_work work;
    kf_work_init(&work, 1);
    struct kf_grid grid = plain_grid(4, 4, 4);
    struct kf_volume v;
    new_labels(&grid, &v);
    struct kf_surface_labels s;
    struct kf_mesh mesh;
    KF_REQUIRE(!kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 3}, &s));
    KF_CHECK_EQ(s.vertices, 0);
    KF_CHECK_EQ(s.quads, 0);
    KF_REQUIRE(!kf_surface_labels_mesh(&work, &s, 1, &mesh));
    KF_CHECK_EQ(mesh.triangles, 0);
    kf_mesh_release(&work, &mesh);
    kf_surface_labels_release(&work, &s);
    v.type = KF_VOXEL_INT16;
    KF_CHECK_EQ(kf_surface_labels(&work, &(struct kf_surface_labels_input){&v, 0}, &s), KF_KERNEL_INVALID);
    v.type = KF_VOXEL_UINT8;
    kf_volume_release(&v);
}

KF_TEST_MAIN(KF_RUN(every_cell_of_two_and_three_labels_is_sound); KF_RUN(random_labels_are_closed_manifold_and_oriented);
             KF_RUN(a_lone_voxel_is_a_small_cube); KF_RUN(neighbours_share_their_interface_to_the_last_bit);
             KF_RUN(balls_and_tori_are_true); KF_RUN(threads_and_instruction_sets_do_not_matter);
             KF_RUN(other_voxels_and_no_labels);)
