// segment.spine in thick slices: the border of a disc lies where its end plates begin, wherever the slices fall.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"
#include "workers/kernels/volume.h"

#include <stdlib.h>
#include <string.h>

#define N     48
#define PLATE 0.8 // mm
#define SLICE 2   // mm

// Height of a point of a column over the disc's plane.
static double height(int i, double z)
{
    return z - N / 2 - 0.12 * (i - N / 2);
}

// Half of a disc's thickness: its end plates are hollow.
static double half_mm(int i, int j)
{
    double r2 = (double)((i - N / 2) * (i - N / 2) + (j - N / 2) * (j - N / 2));
    return 2.5 + 1.8 * fmax(0, 1 - r2 / 256);
}

static double hu_at(int i, int j, double z)
{
    double over = fabs(height(i, z)) - half_mm(i, j);
    return over < 0 ? 85 : over < PLATE ? 780 : 190;
}

// Even slices are means over 2 mm, odd ones lie between them as the working grid has them.
static double slice_hu(int i, int j, int k)
{
    double sum = 0;
    if (k % SLICE)
        return 0.5 * (slice_hu(i, j, k - 1) + slice_hu(i, j, k + 1));
    for (int n = 0; n < 40; n++)
        sum += hu_at(i, j, k - 1 + (n + 0.5) / 20) / 40;
    return sum;
}

// Half height between disc and plate.
static uint8_t half_height(int i, int j, int k)
{
    double most = 0;
    for (int n = -SLICE; n <= SLICE; n++)
        most = fmax(most, slice_hu(i, j, k + n));
    return fabs(height(i, k)) < half_mm(i, j) + PLATE && slice_hu(i, j, k) < 0.5 * (85 + most) ? KF_SPINE_DISC + 1
           : height(i, k) > 0                                                                  ? 1
                                                                                               : 2;
}

// Of the image's own slices.
static int wrong(const uint8_t *labels)
{
    int count = 0;
    for (int k = 12; k < 36; k += SLICE)
        for (int j = 8; j < 40; j++)
            for (int i = 8; i < 40; i++)
                count += (labels[(k * N + j) * N + i] == KF_SPINE_DISC + 1) != (fabs(height(i, k)) < half_mm(i, j));
    return count;
}

KF_TEST(a_disc_in_thick_slices_ends_where_its_plates_begin)
{
    struct kf_volume volume = {0};
    struct kf_grid grid = {.dim = {N, N, N}, .spacing_mm = {1, 1, 1}, .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    static uint8_t labels[N * N * N], before[N * N * N];
    struct kf_work work;
    kf_work_init(&work, 2);
    KF_REQUIRE(kf_volume_alloc(&volume, &grid, KF_VOXEL_INT16, NULL) == KF_OK);
    for (int v = 0; v < N * N * N; v++) {
        int i = v % N, j = v / N % N, k = v / (N * N);
        ((int16_t *)volume.data)[v] = (int16_t)slice_hu(i, j, k);
        labels[v] = half_height(i, j, k);
    }
    memcpy(before, labels, sizeof before);
    struct kf_spine spine = {.discs = 1, .vertebrae = 2, .slice_mm = SLICE};
    spine.disc[0] =
        (struct kf_spine_disc){.normal = {0.12 / sqrt(1.0144), 0, -1 / sqrt(1.0144)}, .middle = {N / 2, N / 2, N / 2}};
    int first = wrong(labels);
    KF_CHECK(first > 300);
    KF_REQUIRE(kf_spine_settle_plates(&work, &volume, &spine, labels) == KF_KERNEL_OK);
    int now = wrong(labels);
    KF_CHECK(2 * now < first);
    spine.slice_mm = 1; // nothing to mend
    memcpy(labels, before, sizeof labels);
    KF_REQUIRE(kf_spine_settle_plates(&work, &volume, &spine, labels) == KF_KERNEL_OK);
    KF_CHECK(memcmp(labels, before, sizeof labels) == 0);
    printf("wrong voxels: %d at half height, %d now\n", first, now);
    kf_volume_release(&volume);
}

KF_TEST_MAIN(KF_RUN(a_disc_in_thick_slices_ends_where_its_plates_begin);)
