// Every triangle of the first surface is cut into pieces, each of which goes into one triangle of the second: corners
// to points that are known, what lies between follows. How far a point goes is convex: it is greatest at a corner.
//
// Sides that two triangles share go the same way for both, so that modulo 2 the pieces in a triangle have no boundary
// but on its own. Such a chain covers all of it or, modulo 2, nothing; it covers all when it goes along each side an
// odd number of times, which is counted where it passes one point of the side. A triangle is not said to be covered
// when a side goes into its inside that is not shared by an even number, or by a triangle that has no map.
#include "workers/kernels/mesh_onto.h"

#include <string.h>

#define NONE        UINT32_MAX
#define BLOCK       8192   // vertices that one thread takes in a row: most have a neighbour before them in it
#define FAN_MOST    64     // triangles at a vertex; one with more is not looked around
#define STEPS_MOST  16     // of a walk from one triangle to the next; most need two
#define CROSS_MOST  4      // edges that a side goes over; of a surface made coarser 1 in 1000 goes over more
#define PINS_MOST   (3 * (CROSS_MOST + 1) + 6) // around a triangle, and in its inside
#define PIECES_MOST 24     // of a triangle; two or three are usual
#define TRIES_MOST  256    // of cutting a triangle
#define LOOKS_FREE  4096   // of a triangle, that take nothing off the limit; few take a hundred
#define MARK        0.4375 // the point of a side that passages are counted at, from its lesser vertex: any would do
#define SPOILT      8      // beside the bits of the three sides

// ---- places ----

static void point_of(const struct kf_mesh *mesh, uint32_t v, double p[3])
{
    for (int r = 0; r < 3; r++)
        p[r] = (double)mesh->xyz[3 * (int64_t)v + r];
}

// 1 when every edge at the vertex has an even number of triangles.
static int is_even(const struct kf_mesh *mesh, const struct kf_corners *at, uint32_t v)
{
    uint32_t end[2 * FAN_MOST];
    int n = 0;
    if (at->first[v + 1] - at->first[v] > FAN_MOST)
        return 0;
    for (uint32_t i = at->first[v]; i < at->first[v + 1]; i++) {
        end[n++] = mesh->index[kf_corner_next(at->corner[i])];
        end[n++] = mesh->index[kf_corner_before(at->corner[i])];
    }
    for (int i = 0; i < n; i++) {
        int same = 0;
        for (int k = 0; k < n; k++)
            same += end[k] == end[i];
        if (same % 2)
            return 0;
    }
    return 1;
}

static void set_place(const struct kf_onto *m, uint32_t triangle, const double p[3], struct kf_onto_place *out)
{
    double share[3], weight[3] = {0};
    int corners = kf_triangle_place(m->to->mesh, triangle, p, share), n = 0;
    out->id[0] = out->id[1] = out->id[2] = NONE;
    out->triangle = triangle;
    for (int c = 0; c < 3; c++) {
        if (!(corners >> c & 1) || m->same[triangle] == NONE)
            continue;
        uint32_t id = m->to->mesh->index[3 * (int64_t)triangle + c];
        int at = n++;
        for (; at > 0 && out->id[at - 1] > id; at--) {
            out->id[at] = out->id[at - 1];
            weight[at] = weight[at - 1];
        }
        out->id[at] = id;
        weight[at] = share[c];
    }
    out->share[0] = weight[1];
    out->share[1] = weight[2];
}

// A walk to what is near to a point.
struct walk {
    const struct kf_onto *map;
    double p[3], distance2;
    uint32_t triangle;
    int64_t looks;
};

static void try_triangle(struct walk *w, uint32_t triangle)
{
    double q[3], d2 = kf_triangle_distance2(w->map->to->mesh, triangle, w->p, q);
    w->triangle = d2 < w->distance2 ? triangle : w->triangle;
    w->distance2 = d2 < w->distance2 ? d2 : w->distance2;
    w->looks++;
}

// Over the side or around the corner that is nearest, as long as that leads nearer.
static void go_near(struct walk *w, uint32_t start)
{
    const struct kf_onto *m = w->map;
    try_triangle(w, start);
    for (int step = 0; step < STEPS_MOST; step++) {
        const uint32_t from = w->triangle, *corner = m->to->mesh->index + 3 * (int64_t)from;
        double share[3];
        const int corners = kf_triangle_place(m->to->mesh, from, w->p, share);
        for (int k = 0; k < 3; k++) {
            const int side = 1 << k | 1 << (k + 1) % 3;
            if (corners == side && m->mate[3 * (int64_t)from + k] != NONE)
                try_triangle(w, m->mate[3 * (int64_t)from + k]);
            const uint32_t first = m->corners.first[corner[k]], end = m->corners.first[corner[k] + 1];
            for (uint32_t i = first; i < end && corners == 1 << k && end - first <= FAN_MOST; i++)
                try_triangle(w, m->corners.corner[i] / 3);
        }
        if (w->triangle == from)
            break;
    }
}

// Where a neighbour of v went that came before it in the block; NONE when there is none.
static uint32_t hint_of(const struct kf_onto *m, const struct kf_corners *at, uint32_t first, uint32_t v)
{
    for (uint32_t i = at->first[v]; i < at->first[v + 1]; i++) {
        uint32_t p = m->from->index[kf_corner_next(at->corner[i])];
        if (p >= first && p < v)
            return m->place[p].triangle;
        p = m->from->index[kf_corner_before(at->corner[i])];
        if (p >= first && p < v)
            return m->place[p].triangle;
    }
    return NONE;
}

// Vertices that are near to where their neighbours went need not know what is nearest, as long as another is farther:
// *farthest gets the greatest distance from the nearest, and none goes farther.
static void find_places(struct kf_onto *m, struct kf_asker *ask, int64_t block, const struct kf_corners *at,
                        double *farthest)
{
    const int64_t first = block * BLOCK;
    for (int64_t v = first; v < first + BLOCK && v < m->from->vertices && !ask->stop; v++) {
        struct kf_onto_place *out = &m->place[v];
        if (at->first[v] == at->first[v + 1])
            continue; // not on the surface
        const double far2 = *farthest * *farthest;
        const uint32_t hint = hint_of(m, at, (uint32_t)first, (uint32_t)v);
        struct walk w = {.map = m, .distance2 = __builtin_inf(), .triangle = NONE};
        point_of(m->from, (uint32_t)v, w.p);
        if (hint != NONE)
            go_near(&w, hint);
        kf_asker_count(ask, w.looks, 0); // there is an end to them
        if (!(w.distance2 <= far2)) {
            struct kf_bvh_nearest found;
            kf_asker_near(ask, m->to, w.p, w.triangle, far2, &found);
            w.triangle = found.triangle;
            w.distance2 = found.distance2;
        }
        set_place(m, w.triangle, w.p, out);
        out->distance = __builtin_sqrt(w.distance2);
        *farthest = out->distance > *farthest ? out->distance : *farthest;
        if (!is_even(m->from, at, (uint32_t)v))
            out->id[0] = out->id[1] = out->id[2] = NONE;
    }
}

static enum kf_kernel_status place_all(const struct kf_work *work, struct kf_onto *m, struct kf_pace *pace,
                                       double *farthest)
{
    const int64_t blocks = (m->from->vertices + BLOCK - 1) / BLOCK;
    struct kf_corners at;
    struct kf_work_part part;
    enum kf_kernel_status status = kf_corners_make(kf_work_part(&part, work, 0, 0.2), m->from, &at);
    if (status)
        return status;
    double *far = kf_work_take(work, blocks * (int64_t)sizeof *far);
    struct kf_loop loop = kf_loop_make(work, blocks, 0.2, 1);
    pace->loop = &loop;
    if (far) {
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
        for (int64_t b = 0; b < blocks; b++) {
            struct kf_asker ask = kf_asker_begin(pace);
            far[b] = 0;
            find_places(m, &ask, b, &at, &far[b]);
            kf_asker_finish(&ask);
        }
        for (int64_t b = 0; b < blocks; b++)
            *farthest = far[b] > *farthest ? far[b] : *farthest;
    }
    status = far ? kf_pace_status(pace) : KF_KERNEL_NOMEM;
    kf_work_give(work, far);
    kf_corners_release(work, &at);
    return status;
}

// The first other triangle at each side, and the first with the same corners: of such just one is ever gone into. None
// is at a corner that is not looked around, so that what is found does not depend on where it is looked for.
static void find_mates(struct kf_onto *m, int64_t triangle)
{
    const uint32_t *index = m->to->mesh->index, *v = index + 3 * triangle;
    uint32_t same = v[0] == v[1] || v[1] == v[2] || v[2] == v[0] ? NONE : (uint32_t)triangle;
    for (int k = 0; k < 3; k++) {
        const uint32_t p = v[k], q = v[(k + 1) % 3], r = v[(k + 2) % 3];
        const uint32_t first = m->corners.first[p], end = m->corners.first[p + 1];
        uint32_t mate = NONE;
        if (end - first > FAN_MOST)
            same = NONE;
        for (uint32_t i = first; i < end && same != NONE && (!k || mate == NONE); i++) {
            const uint32_t corner = m->corners.corner[i];
            const uint32_t a = index[kf_corner_next(corner)], b = index[kf_corner_before(corner)];
            if (a != q && b != q)
                continue;
            if (a == r || b == r)
                same = corner / 3 < same ? corner / 3 : same;
            else if (mate == NONE)
                mate = corner / 3;
        }
        m->mate[3 * triangle + k] = mate;
    }
    m->same[triangle] = same;
}

static enum kf_kernel_status mate_all(const struct kf_work *work, struct kf_onto *m)
{
    const int64_t triangles = m->to->mesh->triangles, blocks = (triangles + BLOCK - 1) / BLOCK;
    struct kf_loop loop = kf_loop_make(work, blocks, 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t b = 0; b < blocks; b++)
        if (!kf_loop_stop(&loop))
            for (int64_t t = b * BLOCK; t < (b + 1) * BLOCK && t < triangles; t++)
                find_mates(m, t);
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

enum kf_kernel_status kf_onto_make(const struct kf_work *work, const struct kf_mesh *from, const struct kf_bvh *to,
                                   struct kf_pace *pace, struct kf_onto *out, double *farthest)
{
    struct kf_work_part part;
    *farthest = 0;
    *out = (struct kf_onto){.from = from, .to = to};
    enum kf_kernel_status status = kf_corners_make(kf_work_part(&part, work, 0, 0.1), to->mesh, &out->corners);
    if (!status) {
        out->place = kf_work_take(work, from->vertices * (int64_t)sizeof *out->place);
        out->mate = kf_work_take(work, 3 * to->mesh->triangles * (int64_t)sizeof *out->mate);
        out->same = kf_work_take(work, to->mesh->triangles * (int64_t)sizeof *out->same);
        out->seen = kf_work_take(work, to->mesh->triangles);
        status = out->place && out->mate && out->same && out->seen ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    }
    if (!status) {
        memset(out->seen, 0, (size_t)to->mesh->triangles);
        status = mate_all(kf_work_part(&part, work, 0.1, 0.15), out);
    }
    if (!status)
        status = place_all(kf_work_part(&part, work, 0.15, 1), out, pace, farthest);
    if (status)
        kf_onto_release(work, out);
    return status;
}

void kf_onto_release(const struct kf_work *work, struct kf_onto *map)
{
    kf_corners_release(work, &map->corners);
    kf_work_give(work, map->place);
    kf_work_give(work, map->mate);
    kf_work_give(work, map->same);
    kf_work_give(work, map->seen);
    *map = (struct kf_onto){0};
}

// ---- sets of vertices ----

// Adds a place's vertices to the n of an ascending set; the new number, 4 for any above 3.
static int join(uint32_t set[3], int n, const uint32_t id[3])
{
    for (int k = 0; k < 3 && id[k] != NONE; k++) {
        int at = 0;
        while (at < n && at < 3 && set[at] < id[k])
            at++;
        if (at < n && at < 3 && set[at] == id[k])
            continue;
        if (n >= 3)
            return 4;
        for (int i = n++; i > at; i--)
            set[i] = set[i - 1];
        set[at] = id[k];
    }
    return n;
}

static int holds(const uint32_t corner[3], const uint32_t id[3])
{
    int all = 1;
    for (int k = 0; k < 3 && id[k] != NONE; k++)
        all &= corner[0] == id[k] || corner[1] == id[k] || corner[2] == id[k];
    return all;
}

// A thread at a triangle.
struct mapper {
    const struct kf_onto *map;
    int64_t looks;
};

// The first triangle with all of these vertices, one to three, that may be gone into; NONE when there is none.
static uint32_t triangle_with(struct mapper *w, const uint32_t set[3], int n)
{
    const struct kf_corners *at = &w->map->corners;
    const uint32_t *index = w->map->to->mesh->index;
    if (at->first[set[0] + 1] - at->first[set[0]] > FAN_MOST)
        return NONE;
    for (uint32_t i = at->first[set[0]]; i < at->first[set[0] + 1]; i++) {
        uint32_t p = index[kf_corner_next(at->corner[i])], q = index[kf_corner_before(at->corner[i])];
        w->looks++;
        if (w->map->same[at->corner[i] / 3] == NONE)
            continue;
        if (n == 1 || (n == 2 && (p == set[1] || q == set[1])) ||
            (n == 3 && ((p == set[1] && q == set[2]) || (p == set[2] && q == set[1]))))
            return at->corner[i] / 3;
    }
    return NONE;
}

// What n places are all in: the first triangle, and *size gets how many of its corners that takes. NONE: nothing.
static uint32_t triangle_of(struct mapper *w, const struct kf_onto_place *const place[], int n, int *size)
{
    uint32_t set[3] = {NONE, NONE, NONE};
    *size = 0;
    for (int i = 0; i < n; i++) {
        if (place[i]->id[2] == NONE)
            continue;
        int all = 1;
        for (int k = 0; k < n && all; k++)
            all = holds(place[i]->id, place[k]->id);
        *size = 3;
        return all ? w->map->same[place[i]->triangle] : NONE;
    }
    for (int i = 0; i < n && *size <= 3; i++)
        *size = join(set, *size, place[i]->id);
    return *size <= 3 ? triangle_with(w, set, *size) : NONE;
}

// ---- the sides of a triangle ----

// The way of a triangle's side, from its lesser vertex: over edges, or none.
struct path {
    int found, crosses;
    uint32_t within[CROSS_MOST + 1]; // the triangles into whose inside its parts go; NONE: along an edge
    struct kf_onto_place cross[CROSS_MOST];
};

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static double clamp(double x, double low)
{
    return x > low ? x < 1 ? x : 1 : low;
}

// Where the side from v to w and an edge of the other surface are nearest to each other (Ericson, "Real-time collision
// detection", 2005, 5.1.9), but not before *along of the side, which gets how far it is. Any points would do.
static void cross_edge(const struct kf_onto *m, uint32_t v, uint32_t w, const uint32_t edge[2], double *along,
                       struct kf_onto_place *out)
{
    double p[3], q[3], a[3], b[3], side[3], line[3], between[3];
    point_of(m->from, v, p);
    point_of(m->from, w, q);
    point_of(m->to->mesh, edge[0], a);
    point_of(m->to->mesh, edge[1], b);
    for (int r = 0; r < 3; r++) {
        side[r] = q[r] - p[r];
        line[r] = b[r] - a[r];
        between[r] = p[r] - a[r];
    }
    double ss = dot(side, side), ee = dot(line, line), se = dot(side, line), sb = dot(side, between);
    double eb = dot(line, between), whole = ss * ee - se * se;
    double s = whole > 0 ? clamp((se * eb - sb * ee) / whole, *along) : *along;
    double e = ee > 0 ? clamp((se * s + eb) / ee, 0) : 0;
    s = ss > 0 ? clamp((se * e - sb) / ss, *along) : *along;
    double sum = 0;
    for (int r = 0; r < 3; r++) {
        double d = (p[r] + s * side[r]) - (a[r] + e * line[r]);
        sum += d * d;
    }
    *along = s;
    *out = (struct kf_onto_place){{edge[0], edge[1], NONE}, NONE, {e, 0}, __builtin_sqrt(sum)};
}

// A search for ways from v to w over so many edges.
struct search {
    const struct kf_onto *map;
    uint32_t v, w;
    int crosses;
    uint32_t edge[CROSS_MOST][2], within[CROSS_MOST + 1];
    double worst; // of the best way so far
    struct path *best;
    int64_t looks;
};

static void keep_way(struct search *s)
{
    struct kf_onto_place cross[CROSS_MOST];
    double along = 0, worst = 0;
    for (int i = 0; i < s->crosses; i++) {
        cross_edge(s->map, s->v, s->w, s->edge[i], &along, &cross[i]);
        worst = cross[i].distance > worst ? cross[i].distance : worst;
    }
    if (s->best->found && !(worst < s->worst))
        return;
    s->worst = worst;
    s->best->found = 1;
    s->best->crosses = s->crosses;
    memcpy(s->best->cross, cross, (size_t)s->crosses * sizeof *cross);
    memcpy(s->best->within, s->within, sizeof s->within);
}

// From a triangle that `done` edges led to, over its other sides; not over those that the way starts at, so that each
// part of it goes into a triangle's inside.
static void go_on(struct search *s, uint32_t triangle, uint32_t before, int done)
{
    const struct kf_onto *m = s->map;
    const uint32_t *corner = m->to->mesh->index + 3 * (int64_t)triangle;
    s->looks++;
    s->within[done] = m->same[triangle];
    if (m->same[triangle] == NONE)
        return;
    for (int k = 0; k < 3 && done < CROSS_MOST; k++) {
        const uint32_t beyond = m->mate[3 * (int64_t)triangle + k], p = corner[k], q = corner[(k + 1) % 3];
        if (beyond == NONE || beyond == before ||
            (!done && holds((const uint32_t[3]){p, q, q}, m->place[s->v].id)))
            continue;
        s->edge[done][0] = p < q ? p : q;
        s->edge[done][1] = p < q ? q : p;
        if (done + 1 < s->crosses) {
            go_on(s, beyond, triangle, done + 1);
            continue;
        }
        s->within[done + 1] = m->same[beyond];
        if (m->same[beyond] != NONE && holds(m->to->mesh->index + 3 * (int64_t)beyond, m->place[s->w].id))
            keep_way(s);
    }
}

// The same for both triangles at the side.
static void find_path(struct mapper *m, uint32_t one, uint32_t other, struct path *out)
{
    const struct kf_onto *map = m->map;
    struct search s = {.map = map, .v = one < other ? one : other, .w = one < other ? other : one, .best = out};
    const struct kf_onto_place *v = &map->place[s.v], *w = &map->place[s.w];
    out->found = out->crosses = 0;
    if (v->id[0] == NONE || w->id[0] == NONE)
        return;
    int size;
    uint32_t straight = triangle_of(m, (const struct kf_onto_place *[]){v, w}, 2, &size);
    out->found = straight != NONE;
    out->within[0] = size == 3 ? straight : NONE;
    const uint32_t first = map->corners.first[v->id[0]], end = map->corners.first[v->id[0] + 1];
    for (s.crosses = 1; s.crosses <= CROSS_MOST && !out->found; s.crosses++) {
        if (v->id[2] != NONE)
            go_on(&s, v->triangle, NONE, 0);
        for (uint32_t i = first; i < end && v->id[2] == NONE && end - first <= FAN_MOST; i++)
            if (holds(map->to->mesh->index + map->corners.corner[i] / 3 * 3ull, v->id))
                go_on(&s, map->corners.corner[i] / 3, NONE, 0);
    }
    m->looks += s.looks;
}

// ---- pieces ----

struct piece {
    uint32_t within; // NONE: along an edge
    int n, pin[PINS_MOST];
};

struct cut {
    int64_t triangle;
    int pins, pieces, tries;
    struct kf_onto_place pin[PINS_MOST]; // where points around the triangle go; then some of its inside
    struct piece piece[PIECES_MOST];
};

// Adds the piece between these pins. 0 when they do not all go into one triangle.
static int add_piece(struct mapper *m, struct cut *c, int n, const int pin[])
{
    const struct kf_onto_place *place[PINS_MOST] = {NULL}; // compilers do not see that n > 0
    int size;
    for (int i = 0; i < n; i++)
        place[i] = &c->pin[pin[i]];
    uint32_t within = triangle_of(m, place, n, &size);
    if (within == NONE || c->pieces == PIECES_MOST)
        return 0;
    struct piece *p = &c->piece[c->pieces++];
    p->within = size == 3 ? within : NONE;
    p->n = n;
    memcpy(p->pin, pin, (size_t)n * sizeof *pin);
    return 1;
}

// Triangles between the sides and a point of the inside that goes to vertex `middle`.
static int cut_around(struct mapper *m, struct cut *c, int n, const int pin[], uint32_t middle)
{
    const int pins = c->pins, pieces = c->pieces;
    double p[3], q[3];
    if (pins == PINS_MOST)
        return 0;
    c->pin[c->pins++] = (struct kf_onto_place){.id = {middle, NONE, NONE}};
    for (int i = 0; i < n; i++) {
        const int part[3] = {pin[i], pin[(i + 1) % n], pins};
        if (!add_piece(m, c, 3, part)) {
            c->pins = pins;
            c->pieces = pieces;
            return 0;
        }
    }
    point_of(m->map->to->mesh, middle, p);
    c->pin[pins].distance = __builtin_sqrt(kf_triangle_distance2(m->map->from, (uint32_t)c->triangle, p, q));
    return 1;
}

// Cuts what is between these pins so that each piece goes into one triangle: along edges, or around a vertex.
static int cut_up(struct mapper *m, struct cut *c, int n, const int pin[])
{
    if (add_piece(m, c, n, pin))
        return 1;
    for (int i = 0; i < n; i++)
        for (int k = i + 2; k < n && k < i + n - 1; k++) {
            const int pins = c->pins, pieces = c->pieces;
            int part[2][PINS_MOST], size[2] = {0, 0};
            uint32_t set[3];
            const uint32_t *p = c->pin[pin[i]].id, *q = c->pin[pin[k]].id;
            if (p[2] != NONE || q[2] != NONE || join(set, join(set, 0, p), q) > 2 || c->tries++ > TRIES_MOST)
                continue;
            for (int at = i; at <= k; at++)
                part[0][size[0]++] = pin[at];
            for (int at = k; at <= i + n; at++)
                part[1][size[1]++] = pin[at % n];
            if (cut_up(m, c, size[0], part[0]) && cut_up(m, c, size[1], part[1]))
                return 1;
            c->pins = pins;
            c->pieces = pieces;
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3 && c->pin[pin[i]].id[k] != NONE; k++)
            if (c->tries++ < TRIES_MOST && cut_around(m, c, n, pin, c->pin[pin[i]].id[k]))
                return 1;
    return 0;
}

// How far along an edge a place of it is, from the lesser vertex.
static double along_edge(const struct kf_onto_place *p, uint32_t lesser)
{
    return p->id[1] != NONE ? p->share[0] : p->id[0] == lesser ? 0 : 1;
}

static int has(const uint32_t pair[2], uint32_t v)
{
    return pair[0] == v || pair[1] == v;
}

// Counts where the piece goes along the boundary of its triangle.
static void count_sides(struct kf_onto *m, const struct cut *c, const struct piece *piece)
{
    const uint32_t *corner = m->to->mesh->index + 3 * (int64_t)piece->within;
    unsigned passed = 0;
    for (int i = 0; i < piece->n; i++) {
        const struct kf_onto_place *p = &c->pin[piece->pin[i]];
        const struct kf_onto_place *q = &c->pin[piece->pin[(i + 1) % piece->n]];
        uint32_t set[3];
        if (p->id[2] != NONE || q->id[2] != NONE || join(set, join(set, 0, p->id), q->id) != 2)
            continue;
        const unsigned side = !has(set, corner[0]) ? 1 : !has(set, corner[1]) ? 2 : 4;
        if ((along_edge(p, set[0]) > MARK) != (along_edge(q, set[0]) > MARK))
            passed ^= side;
    }
    if (passed)
        __atomic_fetch_xor(&m->seen[piece->within], (uint8_t)passed, __ATOMIC_RELAXED);
}

static void spoil(struct kf_onto *m, const struct path *path)
{
    for (int n = 0; path->found && n <= path->crosses; n++)
        if (path->within[n] != NONE)
            __atomic_fetch_or(&m->seen[path->within[n]], SPOILT, __ATOMIC_RELAXED);
}

// The triangle as the only piece.
static int is_one_piece(struct mapper *m, const struct kf_onto_place *const place[3], struct cut *c)
{
    static const int corner[3] = {0, 1, 2};
    for (int k = 0; k < 3; k++)
        if (place[k]->id[0] == NONE)
            return 0;
    int size;
    if (triangle_of(m, place, 3, &size) == NONE)
        return 0;
    for (int k = 0; k < 3; k++)
        c->pin[k] = *place[k];
    return add_piece(m, c, 3, corner);
}

// Sets the pins around a triangle. 0 when a side finds no way.
static int set_pins(struct mapper *m, const uint32_t v[3], struct path path[3], struct cut *c)
{
    int found = 1;
    for (int k = 0; k < 3; k++) {
        struct path *p = &path[k];
        const int turned = v[k] > v[(k + 1) % 3];
        find_path(m, v[k], v[(k + 1) % 3], p);
        found &= p->found;
        c->pin[c->pins++] = m->map->place[v[k]];
        for (int i = 0; i < p->crosses; i++)
            c->pin[c->pins++] = p->cross[turned ? p->crosses - 1 - i : i];
    }
    return found;
}

// 1 when all corners go into one triangle's inside: many do.
static int is_inside(const struct kf_onto_place *const p[3])
{
    return p[0]->id[2] != NONE && memcmp(p[0]->id, p[1]->id, sizeof p[0]->id) == 0 &&
           memcmp(p[0]->id, p[2]->id, sizeof p[0]->id) == 0;
}

int kf_onto_triangle(struct kf_onto *map, struct kf_asker *ask, int64_t triangle, double most_mm, double *far)
{
    static const int around[PINS_MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
    const uint32_t *v = map->from->index + 3 * triangle;
    struct mapper m = {map, 0};
    struct path path[3]; // set by set_pins
    struct cut c;
    c.triangle = triangle;
    c.pins = c.pieces = c.tries = 0;
    const struct kf_onto_place *const corner[3] = {&map->place[v[0]], &map->place[v[1]], &map->place[v[2]]};
    *far = 0;
    for (int k = 0; k < 3; k++)
        *far = corner[k]->distance > *far ? corner[k]->distance : *far;
    if (*far <= most_mm && is_inside(corner))
        return 1;
    int found = is_one_piece(&m, corner, &c) || (set_pins(&m, v, path, &c) && cut_up(&m, &c, c.pins, around));
    for (int i = 0; i < c.pins && found; i++)
        *far = c.pin[i].distance > *far ? c.pin[i].distance : *far;
    found = found && *far <= most_mm;
    for (int i = 0; i < c.pieces && found; i++)
        if (c.piece[i].within != NONE)
            count_sides(map, &c, &c.piece[i]);
    for (int k = 0; k < 3 && !found; k++) {
        find_path(&m, v[k], v[(k + 1) % 3], &path[k]);
        spoil(map, &path[k]);
    }
    kf_asker_count(ask, m.looks, m.looks > LOOKS_FREE ? m.looks - LOOKS_FREE : 0);
    return found;
}

int kf_onto_covers(const struct kf_onto *map, uint32_t triangle)
{
    return map->seen[triangle] == 7;
}
