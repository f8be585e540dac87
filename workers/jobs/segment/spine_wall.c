// See spine_wall.h.
#include "workers/jobs/segment/spine_wall.h"
#include "workers/kernels/math.h"

#include <string.h>

#define PASSES 8
#define BAND   8 // levels by which neighbours may differ: with rays 6° apart a slope of 57°
#define WIDE   1e6F

enum way { ABOVE, BELOW, BEFORE, AFTER };

static int neighbour(int n, int way)
{
    int row = n / KF_WALL_TURNS, turn = n % KF_WALL_TURNS;
    if (way == ABOVE)
        return row > 0 ? n - KF_WALL_TURNS : -1;
    if (way == BELOW)
        return row + 1 < KF_WALL_ROWS ? n + KF_WALL_TURNS : -1;
    if (way == BEFORE)
        return turn > 0 ? n - 1 : n + KF_WALL_TURNS - 1;
    return turn + 1 < KF_WALL_TURNS ? n + 1 : n - KF_WALL_TURNS + 1;
}

static void prepare(double stiffness, struct kf_wall *wall)
{
    const double angle = KF_PI / KF_WALL_ROWS;
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        double polar = (n / KF_WALL_TURNS + 0.5) * angle, r = wall->usual_mm[n],
               area = r * r * kf_sin(polar) * angle * angle;
        for (int k = 0; k < KF_WALL_LEVELS; k++)
            wall->cost[n][k] *= (float)area;
        for (int way = 0; way < KF_WALL_WAYS; way++) {
            int m = neighbour(n, way);
            if (m < 0)
                continue;
            // (step / distance)² · distance · width, where distance and width are angles times the same radius
            double step = KF_WALL_STEP * 0.5 * (r + wall->usual_mm[m]), side = 1 / kf_sin(polar);
            if (way == ABOVE || way == BELOW)
                side = kf_sin(way == ABOVE ? polar - angle / 2 : polar + angle / 2);
            wall->price[n][way] = (float)(stiffness * step * step * side);
        }
    }
}

// Tells every neighbour on the side of `forwards` what ray n thinks of the neighbour's levels.
static void tell(struct kf_wall *wall, int n, int forwards)
{
    float belief[KF_WALL_LEVELS];
    int to[2] = {0, 0};
    memcpy(belief, wall->cost[n], sizeof belief);
    for (int way = 0; way < KF_WALL_WAYS; way++) {
        int m = neighbour(n, way);
        if (m < 0)
            continue;
        to[m > n]++;
        for (int k = 0; k < KF_WALL_LEVELS; k++)
            belief[k] += wall->heard[n][way][k];
    }
    float share = 1.0F / (float)(to[0] > to[1] ? to[0] : to[1]);
    for (int way = 0; way < KF_WALL_WAYS; way++) {
        int m = neighbour(n, way);
        if (m < 0 || (m > n) != forwards)
            continue;
        float rest[KF_WALL_LEVELS + 2 * BAND], *out = wall->heard[m][way ^ 1], least = WIDE * WIDE;
        for (int k = 0; k < KF_WALL_LEVELS + 2 * BAND; k++)
            rest[k] = WIDE * WIDE;
        for (int k = 0; k < KF_WALL_LEVELS; k++) {
            rest[k + BAND] = share * belief[k] - wall->heard[n][way][k];
            out[k] = WIDE * WIDE;
        }
        for (int d = -BAND; d <= BAND; d++) {
            float price = wall->price[n][way] * (float)(d * d);
            for (int k = 0; k < KF_WALL_LEVELS; k++) {
                float value = rest[k + BAND + d] + price;
                out[k] = value < out[k] ? value : out[k];
            }
        }
        for (int k = 0; k < KF_WALL_LEVELS; k++)
            least = out[k] < least ? out[k] : least;
        for (int k = 0; k < KF_WALL_LEVELS; k++)
            out[k] -= least;
    }
}

// Each ray's best level, given those of the rays before it.
static void decide(struct kf_wall *wall)
{
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        float total[KF_WALL_LEVELS];
        memcpy(total, wall->cost[n], sizeof total);
        for (int way = 0; way < KF_WALL_WAYS; way++) {
            int m = neighbour(n, way);
            for (int k = 0; m >= 0 && k < KF_WALL_LEVELS; k++) {
                int d = m < n ? k - wall->level[m] : 0;
                total[k] += m > n ? wall->heard[n][way][k] : wall->price[n][way] * (float)(d * d);
                total[k] += d < -BAND || d > BAND ? WIDE : 0;
            }
        }
        int best = 0;
        for (int k = 1; k < KF_WALL_LEVELS; k++)
            best = total[k] < total[best] ? k : best;
        wall->level[n] = best;
    }
}

void kf_wall_find(double stiffness, struct kf_wall *wall)
{
    memset(wall->heard, 0, sizeof wall->heard);
    prepare(stiffness, wall);
    for (int pass = 0; pass < PASSES; pass++) {
        for (int n = 0; n < KF_WALL_RAYS; n++)
            tell(wall, n, 1);
        for (int n = KF_WALL_RAYS - 1; n >= 0; n--)
            tell(wall, n, 0);
    }
    decide(wall);
}
