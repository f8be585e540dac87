// Walls of bodies: the surface of least cost is found, closes where nothing shows, and makes up nothing.
#include "server/base/test.h"
#include "tests/kernel/random.h"
#include "workers/io/memory.h"
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_wall.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double uniform(uint64_t *state)
{
    return (double)(test_random(state) >> 11) / 9007199254740992.0;
}

// Near enough to normal, of deviation 1.
static double noise(uint64_t *state)
{
    double sum = -6;
    for (int n = 0; n < 12; n++)
        sum += uniform(state);
    return sum;
}

// A smooth level for each ray, the same round the poles.
static int true_level(int n)
{
    double polar = (n / KF_WALL_TURNS + 0.5) * 3.14159265358979 / KF_WALL_ROWS,
           azimuth = n % KF_WALL_TURNS * 2 * 3.14159265358979 / KF_WALL_TURNS;
    return (int)floor(20 + 8 * sin(polar) * cos(azimuth) + 4 * cos(2 * polar) + 0.5);
}

static void make_costs(struct kf_wall *wall, uint64_t *state)
{
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        wall->usual_mm[n] = 20;
        for (int k = 0; k < KF_WALL_LEVELS; k++)
            wall->cost[n][k] = (float)(0.7 * noise(state) - (abs(k - true_level(n)) <= 1 ? 2 : 0));
    }
}

// What kf_wall_find makes least, from its header: mm² of each ray's share, and of each pair of neighbours.
static double energy(const struct kf_wall *costs, double stiffness, const int *level)
{
    const double angle = 3.14159265358979 / KF_WALL_ROWS, step = KF_WALL_STEP * 20;
    double sum = 0;
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        double polar = (n / KF_WALL_TURNS + 0.5) * angle;
        int next = n % KF_WALL_TURNS + 1 < KF_WALL_TURNS ? n + 1 : n + 1 - KF_WALL_TURNS, d = level[n] - level[next];
        sum += (double)costs->cost[n][level[n]] * 400 * sin(polar) * angle * angle;
        sum += stiffness * step * step * d * d / sin(polar);
        if (n + KF_WALL_TURNS < KF_WALL_RAYS) {
            d = level[n] - level[n + KF_WALL_TURNS];
            sum += stiffness * step * step * d * d * sin(polar + angle / 2);
        }
    }
    return sum;
}

KF_TEST(no_patch_moved_makes_a_found_wall_better)
{
    struct kf_wall *wall = malloc(sizeof *wall), *costs = malloc(sizeof *costs);
    uint64_t state = 5;
    int truth[KF_WALL_RAYS], other[KF_WALL_RAYS];
    KF_REQUIRE(wall && costs);
    make_costs(wall, &state);
    memcpy(costs, wall, sizeof *costs);
    kf_wall_find(2, wall);
    for (int n = 0; n < KF_WALL_RAYS; n++)
        truth[n] = true_level(n);
    double least = energy(costs, 2, wall->level);
    KF_CHECK(least <= energy(costs, 2, truth));
    int better = 0;
    for (int turn = 0; turn < 3000; turn++) {
        int rows = 1 + turn % 5, turns = 1 + turn / 5 % 5, row = (int)(uniform(&state) * KF_WALL_ROWS),
            first = (int)(uniform(&state) * KF_WALL_TURNS), by = turn % 2 ? 1 : -1;
        memcpy(other, wall->level, sizeof other);
        for (int r = row; r < row + rows && r < KF_WALL_ROWS; r++)
            for (int t = first; t < first + turns; t++) {
                int *level = &other[r * KF_WALL_TURNS + t % KF_WALL_TURNS];
                *level += *level + by >= 0 && *level + by < KF_WALL_LEVELS ? by : 0;
            }
        better += energy(costs, 2, other) < least - 1e-3;
    }
    KF_CHECK_EQ(better, 0);
    free(costs);
    free(wall);
}

KF_TEST(a_wall_bridges_what_does_not_show)
{
    struct kf_wall *wall = malloc(sizeof *wall);
    uint64_t state = 6;
    int off = 0;
    KF_REQUIRE(wall);
    make_costs(wall, &state);
    for (int row = 12; row < 18; row++) // 36° by 36°: a pedicle
        for (int turn = 42; turn < 48; turn++)
            memset(wall->cost[row * KF_WALL_TURNS + turn], 0, sizeof wall->cost[0]);
    kf_wall_find(2, wall);
    for (int n = 0; n < KF_WALL_RAYS; n++)
        off += abs(wall->level[n] - true_level(n)) > 3;
    KF_CHECK_EQ(off, 0);
    free(wall);
}

#define SIDE  48
#define FINE  3 // samples of a voxel's side
#define VOXEL 1.5

// Half axes 23 and 16 mm, end plates 13 mm above and below its middle, concave by 2 mm.
static int is_body(double x, double y, double z, double thick)
{
    double a = 23 - thick, b = 16 - thick, r = x * x / (a * a) + y * y / (b * b);
    return r < 1 && fabs(z) < 13 - thick - 2 * (1 - r);
}

static int is_pedicle(double x, double y, double z)
{
    return y > 0 && fabs(x) > 8 && fabs(x) < 16 && z > -1 && z < 8;
}

// A shell of 350 HU and 1.5 mm around marrow of a disc's value, open to the pedicles, in noise of 100 HU.
static void draw(struct kf_volume *volume, uint8_t *truth)
{
    int16_t *hu = volume->data;
    uint64_t state = 7;
    for (int64_t k = 0, at = 0; k < SIDE; k++)
        for (int64_t j = 0; j < SIDE; j++)
            for (int64_t i = 0; i < SIDE; i++, at++) {
                double p[3], sum = 0;
                kf_spine_point(&volume->grid, i, j, k, p);
                truth[at] = (uint8_t)is_body(p[0], p[1], p[2], 0);
                for (int n = 0; n < FINE * FINE * FINE; n++) {
                    double x = p[0] + VOXEL * ((n % FINE + 0.5) / FINE - 0.5),
                           y = p[1] + VOXEL * ((n / FINE % FINE + 0.5) / FINE - 0.5),
                           z = p[2] + VOXEL * ((n / FINE / FINE + 0.5) / FINE - 0.5);
                    sum += is_body(x, y, z, 0) && !is_body(x, y, z, 1.5) && !is_pedicle(x, y, z) ? 350 : 50;
                }
                hu[at] = (int16_t)(sum / (FINE * FINE * FINE) + 100 * noise(&state));
            }
}

KF_TEST(a_body_of_dark_marrow_is_filled_and_none_is_made_up)
{
    struct kf_volume volume = {.grid = {.dim = {SIDE, SIDE, SIDE},
                                        .spacing_mm = {VOXEL, VOXEL, VOXEL},
                                        .origin_lps = {-35.25, -35.25, -35.25},
                                        .direction = {1, 0, 0, 0, 1, 0, 0, 0, 1}},
                               .type = KF_VOXEL_INT16};
    const int64_t voxels = SIDE * SIDE * SIDE;
    uint8_t *truth = malloc((size_t)voxels), *bodies = malloc((size_t)voxels);
    struct kf_spine spine = {.discs = 2, .vertebrae = 3, .stations = 81};
    struct kf_work work;
    volume.data = malloc((size_t)voxels * 2);
    spine.station = calloc(81, sizeof *spine.station);
    KF_REQUIRE(truth && bodies && volume.data && spine.station);
    for (int n = 0; n < 81; n++)
        spine.station[n] = (struct kf_spine_station){
            .p = {0, KF_SPINE_BODY_MM, 40 - n}, .down = {0, 0, -1}, .front = {0, -1, 0}, .left = {1, 0, 0}};
    for (int d = 0; d < 2; d++) // not quite where they are
        spine.disc[d] =
            (struct kf_spine_disc){.s = d ? 58 : 23, .normal = {0, 0, -1}, .middle = {1, d ? 1 : -1, d ? -18 : 17}};
    draw(&volume, truth);
    kf_work_init(&work, 2);
    KF_CHECK_EQ(kf_spine_find_bodies(&work, &volume, &spine, bodies), KF_KERNEL_OK);
    int64_t both = 0, sum = 0, others = 0;
    for (int64_t v = 0; v < voxels; v++) {
        both += truth[v] && bodies[v] == 2;
        sum += truth[v] + (bodies[v] == 2);
        others += bodies[v] == 1 || bodies[v] == 3;
    }
    KF_CHECK(2.0 * (double)both / (double)sum > 0.94);
    KF_CHECK_EQ(others, 0);
    free(spine.station);
    free(volume.data);
    free(bodies);
    free(truth);
}

KF_TEST_MAIN(KF_RUN(no_patch_moved_makes_a_found_wall_better); KF_RUN(a_wall_bridges_what_does_not_show);
             KF_RUN(a_body_of_dark_marrow_is_filled_and_none_is_made_up);)
