// Vertebral bodies by their wall alone. Old marrow is as dark as a disc, and a shell of a millimetre in noise has
// holes; but where the wall is, it is a closed smooth surface between two discs, before the canal. See spine.h.
#include "workers/jobs/segment/spine.h"
#include "workers/jobs/segment/spine_neural.h"
#include "workers/jobs/segment/spine_wall.h"
#include "workers/kernels/kdtree.h"
#include "workers/kernels/math.h"

#include <math.h>
#include <string.h>

#define WIDTH       0.66 // half the width of a body, of the distance between its discs
#define DEPTH       0.47
#define LEAST_WIDTH 11.0 // mm
#define MOST_WIDTH  28.0
#define LEAST_DEPTH 9.0
#define MOST_DEPTH  21.0
#define HALF_DISC   0.11 // of the distance between discs
#define WEDGE       0.3  // of the angle between its discs lies between the middle of each and the end plate
#define NEXT        0.85 // of the distance between the last two discs
#define BEYOND_MM   1.0  // that an end plate may lie beyond the plane in the middle of its disc: no more
#define CANAL_MM    3.0  // before the canal's middle: no wall of a body
#define INNER_MM    1.0  // of a wall: no thicker than a cortex, or its place would be anywhere between its two sides
#define OUTER_MM    2.0  // beside it
#define MOST_REACH  12   // the same in levels of the smallest body
#define SAMPLES     (KF_WALL_LEVELS + 2 * MOST_REACH)
#define FLOOR_HU    0.0 // muscle, disc and fat are all outside
#define CEILING_HU  1300.0
#define HALF_HU     200.0 // a fall of this is half as good as any
#define STIFFNESS   2.0
#define MET_HU      60.0 // outside of a wall it is darker by this
#define LEAST_MET   0.6  // of the wall that the field shows
#define MARGIN      0.5  // voxels: of the outermost ones their values say whether they are bone
#define RING        0.85 // of the body's widths: osteophytes grow from the rim, and nothing of bone farther in
#define SEEN_MM     0.25
#define SHELL_OUT   2    // steps of SEEN_MM beyond a wall's outer side
#define SHELL_IN    4    // and within: a shell's middle, which is at most 1 mm thick
#define OUTSIDE     8
#define THIN        10 // one wall in so many counts as thin
#define FITS        2    // the second from the middle and the widths that the first found

struct body {
    double middle[3];
    double axis[3][3]; // left, front, down
    double half[2];    // mm to the left and to the front
    const struct kf_spine_disc *disc[2];
    double plane[2][3], away[2]; // parallel to the end plates through the discs: normal outwards, mm from the middle
    double half_disc;
    double met; // share of its wall that shows
};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void cross(const double a[3], const double b[3], double out[3])
{
    for (int c = 0; c < 3; c++)
        out[c] = a[(c + 1) % 3] * b[(c + 2) % 3] - a[(c + 2) % 3] * b[(c + 1) % 3];
}

// The planes as seen from the middle.
static void measure_planes(struct body *body)
{
    for (int side = 0; side < 2; side++) {
        double d[3];
        for (int c = 0; c < 3; c++)
            d[c] = body->disc[side]->middle[c] - body->middle[c];
        body->away[side] = fmax(1, dot(d, body->plane[side]));
    }
}

// A body of the usual proportions between two discs.
static void place_body(const struct kf_spine *spine, const struct kf_spine_disc *above,
                       const struct kf_spine_disc *below, struct body *body)
{
    const struct kf_spine_station *t =
        &spine->station[(int)fmin(fmax(0.5 * (above->s + below->s), 0), spine->stations - 1)];
    double pitch = 0;
    body->disc[0] = above, body->disc[1] = below;
    for (int c = 0; c < 3; c++) {
        double d = below->middle[c] - above->middle[c];
        pitch += d * d;
        body->middle[c] = 0.5 * (above->middle[c] + below->middle[c]);
        body->axis[2][c] = above->normal[c] + below->normal[c];
        body->plane[0][c] = (WEDGE - 1) * above->normal[c] - WEDGE * below->normal[c];
        body->plane[1][c] = (1 - WEDGE) * below->normal[c] + WEDGE * above->normal[c];
    }
    kf_spine_unit(body->axis[2]);
    kf_spine_unit(body->plane[0]);
    kf_spine_unit(body->plane[1]);
    cross(t->front, body->axis[2], body->axis[0]); // front × down: left
    kf_spine_unit(body->axis[0]);
    cross(body->axis[2], body->axis[0], body->axis[1]);
    pitch = sqrt(pitch);
    body->half[0] = fmin(MOST_WIDTH, fmax(LEAST_WIDTH, WIDTH * pitch));
    body->half[1] = fmin(MOST_DEPTH, fmax(LEAST_DEPTH, DEPTH * pitch));
    body->half_disc = HALF_DISC * pitch;
    measure_planes(body);
}

// The disc that would follow beyond the outermost one, as near as bodies that get smaller upwards leave it.
static struct kf_spine_disc next_disc(const struct kf_spine *spine, int at, int way)
{
    struct kf_spine_disc next = spine->disc[at];
    double pitch = way * NEXT * kf_spine_segment_mm(spine, at);
    next.s += pitch;
    for (int c = 0; c < 3; c++)
        next.middle[c] += pitch * next.normal[c];
    return next;
}

// Where a wall is expected along a direction: a cylinder with an elliptic section and two end plates, its rim rounded.
static double usual(const struct body *body, const double d[3])
{
    double x = dot(d, body->axis[0]) / body->half[0], y = dot(d, body->axis[1]) / body->half[1], sum = x * x + y * y;
    sum = sum * sum * sum * sum;
    for (int side = 0; side < 2; side++) {
        double z = dot(d, body->plane[side]) / fmax(3, body->away[side] - body->half_disc);
        sum += z > 0 ? z * z * z * z * z * z * z * z : 0;
    }
    return 1 / sqrt(sqrt(sqrt(sum)));
}

static void direction(const struct body *body, int n, double d[3])
{
    double polar = (n / KF_WALL_TURNS + 0.5) * KF_PI / KF_WALL_ROWS,
           azimuth = n % KF_WALL_TURNS * 2 * KF_PI / KF_WALL_TURNS, sine = kf_sin(polar), cosine = kf_cos(polar);
    double x = sine * kf_cos(azimuth), y = sine * kf_sin(azimuth);
    for (int c = 0; c < 3; c++)
        d[c] = x * body->axis[0][c] + y * body->axis[1][c] + cosine * body->axis[2][c];
}

static double radius(const struct kf_wall *wall, int n, double level)
{
    return wall->usual_mm[n] * (KF_WALL_LEAST + KF_WALL_STEP * level);
}

static void along(const struct body *body, const double d[3], double mm, double p[3])
{
    for (int c = 0; c < 3; c++)
        p[c] = body->middle[c] + mm * d[c];
}

// No wall of a body lies beyond its discs or in the canal.
static int is_outside(const struct kf_spine *spine, const struct body *body, const double p[3])
{
    double suv[3];
    for (int side = 0; side < 2; side++)
        if ((side ? 1 : -1) * kf_spine_below(body->disc[side], p) > BEYOND_MM)
            return 1;
    kf_spine_coordinates(spine, p, suv);
    return suv[2] < CANAL_MM;
}

static int levels_of(const struct kf_wall *wall, int n, double mm)
{
    int levels = (int)(mm / (KF_WALL_STEP * wall->usual_mm[n]) + 0.5);
    return levels < 2 ? 2 : levels > MOST_REACH ? MOST_REACH : levels;
}

// How much darker it is outside of each level of a ray than inside. *unseen: the field ends there.
static void contrast(const struct kf_volume *volume, const struct body *body, const struct kf_wall *wall, int n,
                     double fall_hu[KF_WALL_LEVELS], int unseen[KF_WALL_LEVELS])
{
    double sum[SAMPLES + 1] = {0}, d[3], p[3];
    int lost[SAMPLES + 1] = {0}, inner = levels_of(wall, n, INNER_MM), outer = levels_of(wall, n, OUTER_MM);
    direction(body, n, d);
    for (int m = 0; m < SAMPLES; m++) {
        along(body, d, radius(wall, n, m - MOST_REACH), p);
        double hu = kf_spine_value(volume, p, -2000);
        lost[m + 1] = lost[m] + (hu < -1500);
        sum[m + 1] = sum[m] + fmin(fmax(hu, FLOOR_HU), CEILING_HU);
    }
    for (int k = 0; k < KF_WALL_LEVELS; k++) {
        int m = k + MOST_REACH;
        fall_hu[k] = (sum[m] - sum[m - inner]) / inner - (sum[m + 1 + outer] - sum[m + 1]) / outer;
        unseen[k] = lost[m + 1 + outer] > lost[m - inner];
    }
}

// Of a square millimetre of wall outside of which values fall by so much: what is brighter than any cortex (metal, a
// calcified vessel) is worth little more.
static double price(double fall_hu)
{
    return fall_hu > 0 ? -4 * fall_hu / (fall_hu + HALF_HU) : fmin(1, -fall_hu / 100);
}

static void fit(const struct kf_volume *volume, const struct kf_spine *spine, struct body *body, struct kf_wall *wall)
{
    double fall_hu[KF_WALL_LEVELS], d[3], p[3], shown = 0, met = 0;
    int unseen[KF_WALL_LEVELS];
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        direction(body, n, d);
        wall->usual_mm[n] = usual(body, d);
        contrast(volume, body, wall, n, fall_hu, unseen);
        for (int k = 0; k < KF_WALL_LEVELS; k++) {
            along(body, d, radius(wall, n, k), p);
            wall->cost[n][k] = (float)(is_outside(spine, body, p) ? 100 : unseen[k] ? 0 : price(fall_hu[k]));
        }
    }
    kf_wall_find(STIFFNESS, wall);
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        int k = wall->level[n];
        double area = wall->usual_mm[n] * wall->usual_mm[n] * kf_sin((n / KF_WALL_TURNS + 0.5) * KF_PI / KF_WALL_ROWS);
        contrast(volume, body, wall, n, fall_hu, unseen);
        shown += unseen[k] ? 0 : area;
        met += unseen[k] || fall_hu[k] < MET_HU ? 0 : area;
    }
    body->met = shown > 0 ? met / shown : 0;
}

// Middle and widths from the wall found near the body's waist.
static void adapt(const struct kf_wall *wall, struct body *body)
{
    double sum[4] = {0}, d[3];
    int count[4] = {0};
    for (int n = 0; n < KF_WALL_RAYS; n++) {
        int row = n / KF_WALL_TURNS, turn = n % KF_WALL_TURNS, quarter = KF_WALL_TURNS / 4,
            way = (turn + quarter / 2) / quarter % 4, off = (turn + quarter / 2) % quarter - quarter / 2;
        if (row < KF_WALL_ROWS / 2 - 3 || row >= KF_WALL_ROWS / 2 + 3 || off < -2 || off > 2)
            continue;
        direction(body, n, d);
        sum[way] += radius(wall, n, wall->level[n]) * fabs(dot(d, body->axis[way % 2]));
        count[way]++;
    }
    for (int a = 0; a < 2; a++) {
        double ahead = sum[a] / count[a], behind = sum[a + 2] / count[a + 2];
        for (int c = 0; c < 3; c++)
            body->middle[c] += 0.5 * (ahead - behind) * body->axis[a][c];
        body->half[a] = fmax(a ? LEAST_DEPTH : LEAST_WIDTH, 0.5 * (ahead + behind));
    }
    measure_planes(body);
}

// What a voxel (of a grid on the patient's axes) is to a body: its label where its middle lies MARGIN voxels within the
// wall, KF_SPINE_REST in the disc's half of this body, a voxel or more off its end plate, and 0 elsewhere.
static uint8_t part_of(const struct body *body, const struct kf_wall *wall, uint8_t label, const double spacing_mm[3],
                       const double p[3])
{
    double d[3], share = 0, voxel = 0;
    for (int c = 0; c < 3; c++)
        d[c] = p[c] - body->middle[c];
    double mm = sqrt(dot(d, d)), x = dot(d, body->axis[0]) / body->half[0], y = dot(d, body->axis[1]) / body->half[1];
    if (mm < LEAST_DEPTH / 2)
        return label;
    for (int c = 0; c < 3; c++) {
        d[c] /= mm;
        voxel += d[c] * d[c] * spacing_mm[c] * spacing_mm[c];
    }
    double row = kf_acos(dot(d, body->axis[2])) * KF_WALL_ROWS / KF_PI - 0.5,
           turn = kf_atan2(dot(d, body->axis[1]), dot(d, body->axis[0])) * KF_WALL_TURNS / (2 * KF_PI);
    row = fmin(fmax(row, 0), KF_WALL_ROWS - 1);
    turn += turn < 0 ? KF_WALL_TURNS : 0;
    int r = (int)fmin(row, KF_WALL_ROWS - 2), t = (int)turn;
    for (int n = 0; n < 4; n++) {
        double weight = (n % 2 ? row - r : r + 1 - row) * (n / 2 ? turn - t : t + 1 - turn);
        share += weight * wall->level[(r + n % 2) * KF_WALL_TURNS + (t + n / 2) % KF_WALL_TURNS];
    }
    double off = (mm - usual(body, d) * (KF_WALL_LEAST + KF_WALL_STEP * share)) / sqrt(voxel);
    int between = kf_spine_below(body->disc[0], p) > 0 && kf_spine_below(body->disc[1], p) < 0;
    return off <= -MARGIN ? label : off >= 1 && x * x + y * y < RING * RING && between ? KF_SPINE_REST : 0;
}

static void paint(const struct kf_work *work, const struct kf_grid *g, const struct body *body,
                  const struct kf_wall *wall, uint8_t label, uint8_t *bodies)
{
    double reach = 0, ijk[3];
    int64_t box[2][3];
    for (int n = 0; n < KF_WALL_RAYS; n++)
        reach = fmax(reach, radius(wall, n, wall->level[n]));
    kf_grid_to_ijk(g, body->middle, ijk);
    for (int a = 0; a < 3; a++) {
        box[0][a] = (int64_t)fmax(0, floor(ijk[a] - 1.1 * reach / g->spacing_mm[a]));
        box[1][a] = (int64_t)fmin((double)g->dim[a], ceil(ijk[a] + 1.1 * reach / g->spacing_mm[a]));
    }
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t k = box[0][2]; k < box[1][2]; k++)
        for (int64_t j = box[0][1]; j < box[1][1]; j++)
            for (int64_t i = box[0][0]; i < box[1][0]; i++) {
                int64_t at = (k * g->dim[1] + j) * g->dim[0] + i;
                double p[3];
                kf_spine_point(g, i, j, k, p);
                uint8_t part = part_of(body, wall, label, g->spacing_mm, p);
                if (part && (!bodies[at] || bodies[at] == KF_SPINE_REST))
                    bodies[at] = part;
            }
}

// Medians over the walls that were found. scratch: 2 · count · KF_WALL_RAYS.
static void measure_walls(const struct kf_volume *volume, const struct body *body, const struct kf_wall *wall,
                          int count, float *scratch, struct kf_spine_walls *seen)
{
    float *shell = scratch, *outside = scratch + count * KF_WALL_RAYS;
    int64_t rays = 0;
    for (int n = 0; n < count; n++)
        for (int r = 0; r < KF_WALL_RAYS && body[n].met >= LEAST_MET; r++) {
            double d[3], p[3], mm = radius(&wall[n], r, wall[n].level[r]), most = -2000, sum = 0;
            direction(&body[n], r, d);
            for (int h = -SHELL_IN; h <= SHELL_OUT; h++) {
                along(&body[n], d, mm + h * SEEN_MM, p);
                most = fmax(most, kf_spine_value(volume, p, -2000));
            }
            for (int h = 1; h <= OUTSIDE; h++) {
                along(&body[n], d, mm + INNER_MM + h * SEEN_MM, p);
                sum += kf_spine_value(volume, p, -2000) / OUTSIDE;
            }
            if (most > -1000 && sum > -1000)
                shell[rays] = (float)most, outside[rays++] = (float)sum;
        }
    *seen = (struct kf_spine_walls){0};
    if (rays) {
        seen->thin_hu = (double)kf_select_f32(shell, rays, rays / THIN);
        seen->shell_hu = (double)kf_select_f32(shell, rays, rays / 2);
        seen->outside_hu = (double)kf_select_f32(outside, rays, rays / 2);
    }
}

enum kf_kernel_status kf_spine_find_walls(const struct kf_work *work, const struct kf_volume *volume,
                                          const struct kf_spine *spine, uint8_t *bodies, struct kf_spine_walls *seen)
{
    int count = spine->vertebrae;
    struct body body[KF_SPINE_MOST + 1];
    struct kf_wall *wall = kf_work_take(work, count * (int64_t)sizeof *wall);
    if (!wall)
        return KF_KERNEL_NOMEM;
    struct kf_spine_disc first = next_disc(spine, 0, -1), last = next_disc(spine, spine->discs - 1, 1);
    struct kf_loop loop = kf_loop_make(work, count * FITS, 0, 0);
    memset(bodies, 0, (size_t)kf_grid_voxels(&volume->grid));
#pragma omp parallel for schedule(dynamic, 1) num_threads(work->threads)
    for (int n = 0; n < count; n++) {
        place_body(spine, n > 0 ? &spine->disc[n - 1] : &first, n < spine->discs ? &spine->disc[n] : &last, &body[n]);
        for (int turn = 0; turn < FITS && !kf_loop_stop(&loop); turn++) {
            if (turn > 0)
                adapt(&wall[n], &body[n]);
            fit(volume, spine, &body[n], &wall[n]);
        }
    }
    enum kf_kernel_status status = loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
    for (int n = 0; n < count && !status; n++) {
        if (body[n].met >= LEAST_MET)
            paint(work, &volume->grid, &body[n], &wall[n], (uint8_t)(1 + n), bodies);
        if (kf_work_step(work, 0))
            status = KF_KERNEL_CANCELLED;
    }
    float *scratch = !status && seen ? kf_work_take(work, 2 * count * KF_WALL_RAYS * (int64_t)sizeof *scratch) : NULL;
    if (scratch)
        measure_walls(volume, body, wall, count, scratch, seen);
    else if (!status && seen)
        status = KF_KERNEL_NOMEM;
    kf_work_give(work, scratch);
    kf_work_give(work, wall);
    return status;
}

enum kf_kernel_status kf_spine_find_bodies(const struct kf_work *work, const struct kf_volume *volume,
                                           const struct kf_spine *spine, uint8_t *bodies)
{
    return kf_spine_find_walls(work, volume, spine, bodies, NULL);
}
