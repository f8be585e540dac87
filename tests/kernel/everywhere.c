// Every kernel that a header offers, on one small input: the same bytes for 1, 2, 3 and 7 threads with every instruction
// set. `kernel_everywhere --print` says a sum of each kernel's bytes, to be compared with those of another processor
// (tests/kernel/arm.sh); nothing here calls libm, so that the input is the same there. tests/tree/run wants every
// function of a header that takes a kf_work to be called in one of its parts, everywhere_*.c.
#include "tests/kernel/everywhere.h"
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/kernels/cpu.h"
#include "workers/kernels/graph_cut.h"

#include <inttypes.h>

// Oblique: two rotations by the angles of the triangles 3-4-5 and 5-12-13.
const struct kf_grid grid = {.dim = {I, J, K},
                             .spacing_mm = {0.7, 0.8, 1.1},
                             .origin_lps = {-20, 12.5, 3},
                             .direction = {0.8, -0.6 * 12 / 13, 0.6 * 5 / 13, 0.6, 0.8 * 12 / 13, -0.8 * 5 / 13,
                                           0, 5.0 / 13, 12.0 / 13}};

struct everywhere in;
float *floats;
uint8_t *bytes;
uint32_t *words;

// ---- the sum of what a run gave (FNV-1a, 64 bits) ----

static uint64_t sum;

void add(const void *data, int64_t count)
{
    const unsigned char *p = data;
    for (int64_t n = 0; n < count; n++)
        sum = (sum ^ p[n]) * 0x100000001b3u;
}

void add_number(double value)
{
    add(&value, sizeof value);
}

void add_mesh(const struct kf_mesh *m)
{
    add(&m->vertices, sizeof m->vertices);
    add(&m->triangles, sizeof m->triangles);
    add(m->xyz, m->vertices * 12);
    add(m->index, m->triangles * 12);
}

// ---- the runs ----

static void fill(void)
{
    uint64_t random = 5;
    memset(in.bits.word, 0, (size_t)(in.bits.words * J * K) * sizeof *in.bits.word);
    memset(bytes, 0, VOXELS);
    for (int64_t v = 0; v < VOXELS; v++) {
        int64_t i = v % I, j = v / I % J, k = v / SLICE, x = i - 26, y = j - 22, z = k - 20;
        uint64_t r = test_random(&random);
        int inside = x * x + y * y + z * z < 300 && (x - 4) * (x - 4) + y * y > 30;
        int there = (x - 1) * (x - 1) + (y + 1) * (y + 1) + z * z < 300 && (x - 5) * (x - 5) + (y + 1) * (y + 1) > 30;
        int texture = (int)((i / 6 + j / 5 + k / 4) % 3) * 40, noise = (int)(r % 61);
        ((int16_t *)in.image.data)[v] = (int16_t)(100 + inside * 250 + texture + noise);
        ((int16_t *)in.moving.data)[v] = (int16_t)(900 - there * 500 - texture + (int)(r >> 8 & 31));
        ((float *)in.real.data)[v] = 0.25f * (float)(400 + inside * 1000 + texture) + (float)noise / 7;
        ((uint8_t *)in.byte.data)[v] = (uint8_t)(r >> 16 & 7);
        ((uint8_t *)in.labels.data)[v] = (uint8_t)(inside + (i < 12 && j > 9) + (inside && k > 22));
        if (inside && r >> 20 & 31)
            kf_bits_put(&in.bits, i, j, k);
        in.seeds[v] = (r >> 30) % 200 == 0 ? (uint8_t)(1 + inside) : 0;
        in.terminal[v] = in.seeds[v] ? inside ? KF_CUT_HARD : -KF_CUT_HARD : (int32_t)(r >> 40 & 63) - 30;
    }
}

static void *take(void *user, int64_t size)
{
    (void)user;
    return aligned_alloc(64, (size_t)(size + 63) / 64 * 64);
}

static void give(void *user, void *block)
{
    (void)user;
    free(block);
}

static void *room(int64_t each)
{
    void *block = take(NULL, VOXELS * each);
    if (!block)
        exit(1);
    return block;
}

static struct kf_volume volume_of(enum kf_voxel_type type)
{
    return (struct kf_volume){grid, type, room(kf_voxel_bytes(type))};
}

static int make_input(const struct kf_work *w)
{
    in.image = volume_of(KF_VOXEL_INT16);
    in.moving = volume_of(KF_VOXEL_INT16);
    in.real = volume_of(KF_VOXEL_FLOAT32);
    in.byte = volume_of(KF_VOXEL_UINT8);
    in.labels = volume_of(KF_VOXEL_UINT8);
    in.seeds = room(1);
    in.terminal = room(4);
    floats = room(4);
    bytes = room(1);
    words = room(4);
    return kf_bits_alloc(w, grid.dim, &in.bits) || kf_bits_alloc(w, grid.dim, &in.other);
}

static enum kf_kernel_status sum_of(const struct kernel *kernel, int threads, uint64_t *out)
{
    const struct kf_work work = {.threads = threads, .allocate = take, .release = give};
    fill();
    sum = 0xcbf29ce484222325u;
    enum kf_kernel_status status = kernel->run(&work);
    *out = sum;
    return status;
}

static void compare(const struct kernel *kernel)
{
    static const int threads[] = {1, 2, 3, 7};
    enum kf_cpu was = kf_cpu_level();
    uint64_t first = 0, now;
    int runs = 0;
    for (int level = 0; level < KF_CPU_COUNT; level++)
        for (int t = 0; t < 4 && !kf_cpu_use((enum kf_cpu)level); t++, runs++) {
            enum kf_kernel_status status = sum_of(kernel, threads[t], &now);
            first = runs ? first : now;
            if (status || now != first) {
                fprintf(stderr, "%s: status %d%s, %d threads, level %s\n", kernel->name, (int)status,
                        now != first ? ", other bytes" : "", threads[t], kf_cpu_name((enum kf_cpu)level));
                kf_test_failures++;
            }
        }
    KF_CHECK(runs >= 4);
    KF_CHECK(!kf_cpu_use(was));
}

static const struct kernel *const lists[] = {kernels_of_images, kernels_of_surfaces, kernels_of_registration};

KF_TEST(every_kernel_gives_the_same_bytes_everywhere)
{
    for (int list = 0; list < 3; list++)
        for (const struct kernel *kernel = lists[list]; kernel->name; kernel++)
            compare(kernel);
}

static void print_sums(void)
{
    for (int list = 0; list < 3; list++)
        for (const struct kernel *kernel = lists[list]; kernel->name; kernel++) {
            uint64_t all;
            printf("%-28s %d ", kernel->name, (int)sum_of(kernel, 2, &all));
            printf("%016" PRIx64 "\n", all);
        }
}

int main(int argc, char **argv)
{
    const struct kf_work work = {.threads = 1, .allocate = take, .release = give};
    if (make_input(&work))
        return 1;
    if (argc > 1 && strcmp(argv[1], "--print") == 0) {
        print_sums();
        return 0;
    }
    KF_RUN(every_kernel_gives_the_same_bytes_everywhere);
    return kf_test_failures ? 1 : 0;
}
