// segment.spine in old bone: the canal is told from marrow, which a shell encloses better than arches enclose a canal.
#include "server/base/test.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N      64
#define NZ     60
#define VOXELS ((int64_t)N * N * NZ)
#define MM     2
#define SHELL  175 // less than usual bone, more than thin shells
#define SAC    15
#define MARROW 80
#define MUSCLE 58
#define AHEAD  11 // voxels from the canal to the marrow

static int16_t values[VOXELS];

// A canal in the middle, open to both sides, and before it a tube of the same width that is closed all around.
static void lay(void)
{
    for (int k = 0; k < NZ; k++)
        for (int j = 0; j < N; j++)
            for (int i = 0; i < N; i++) {
                double x = i - N / 2, y = j - N / 2, canal = hypot(x, y), tube = hypot(x, y + AHEAD);
                int16_t hu = MUSCLE;
                if (canal < 5.5)
                    hu = canal < 4.5 ? SAC : fabs(y) > 2.5 ? SHELL : MUSCLE;
                if (tube < 5.5)
                    hu = tube < 4.5 ? MARROW : SHELL;
                values[((int64_t)k * N + j) * N + i] = hu;
            }
}

// Mean distance of the canal's stations behind the middle, mm; *stations of them.
static double find(int thin, int threads, int *stations, double last[3])
{
    static struct kf_spine_station station[KF_SPINE_STATIONS];
    struct kf_spine spine = {.station = station};
    struct kf_volume coarse = {.grid = {.dim = {N, N, NZ},
                                        .spacing_mm = {MM, MM, MM},
                                        .origin_lps = {-N, -N, 0},
                                        .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                               .type = KF_VOXEL_INT16,
                               .data = values};
    struct kf_work work;
    double sum = 0;
    kf_work_init(&work, threads);
    KF_CHECK_EQ(kf_spine_find_canal(&work, &coarse, thin, &spine), KF_KERNEL_OK);
    for (int n = 0; n < spine.stations; n++)
        sum += spine.station[n].p[1] / spine.stations;
    *stations = spine.stations;
    memcpy(last, spine.station[0].p, 3 * sizeof *last);
    return sum;
}

KF_TEST(marrow_in_a_shell_is_no_canal)
{
    lay();
    for (int thin = 1; thin < KF_SPINE_LOOKS; thin++) {
        double p[3], behind;
        int stations;
        behind = find(thin, 2, &stations, p);
        KF_CHECK(stations > MM * NZ * 3 / 4);
        KF_CHECK(fabs(behind) < 2 * MM);
    }
}

KF_TEST(threads_change_nothing)
{
    double one[3], three[3];
    int stations[2];
    lay();
    double behind = find(1, 1, &stations[0], one);
    KF_CHECK(find(1, 3, &stations[1], three) == behind);
    KF_CHECK_EQ(stations[0], stations[1]);
    KF_CHECK_EQ(memcmp(one, three, sizeof one), 0);
}

KF_TEST_MAIN(KF_RUN(marrow_in_a_shell_is_no_canal); KF_RUN(threads_change_nothing);)
