#include "workers/jobs/segment/head_pieces.h"

#include <math.h>
#include <string.h>

#define MIDLINE_MM 8.0  // the chin's half width
#define SIDE_MM    33.0 // joints lie farther from the middle

static void widen(struct kf_head_piece *p, const double at[3])
{
    for (int a = 0; a < 3; a++) {
        p->low[a] = fmin(p->low[a], at[a]);
        p->high[a] = fmax(p->high[a], at[a]);
    }
}

static double field_floor(const struct kf_grid *g)
{
    double floor_mm = 1e9;
    for (int n = 0; n < 8; n++) {
        double ijk[3], p[3];
        for (int a = 0; a < 3; a++)
            ijk[a] = n >> a & 1 ? (double)(g->dim[a] - 1) : 0;
        kf_grid_to_lps(g, ijk, p);
        floor_mm = fmin(floor_mm, p[2]);
    }
    return floor_mm;
}

// Boxes, centres and middles of the components in patient space, from the ends of their runs.
void kf_head_pieces_measure(const struct kf_components *c, const struct kf_grid *g, struct kf_head_piece *piece)
{
    double voxel_ml = g->spacing_mm[0] * g->spacing_mm[1] * g->spacing_mm[2] / 1000;
    for (int64_t n = 0; n < c->count; n++) {
        struct kf_head_piece *p = &piece[n];
        double count = (double)c->table[n].voxels, at[3];
        for (int a = 0; a < 3; a++) {
            at[a] = (double)c->table[n].sum[a] / count;
            p->low[a] = 1e9;
            p->high[a] = -1e9;
        }
        p->ml = count * voxel_ml;
        p->middle = 0;
        p->from_field = 0;
        kf_grid_to_lps(g, at, p->centre);
    }
    for (int pass = 0; pass < 2; pass++)
        for (int64_t row = 0; row < g->dim[1] * g->dim[2]; row++)
            for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++) {
                struct kf_head_piece *p = &piece[c->component[r]];
                double ends[2][3] = {{c->start[r], (double)(row % g->dim[1]), (double)(row / g->dim[1])},
                                     {c->end[r] - 1, (double)(row % g->dim[1]), (double)(row / g->dim[1])}};
                double at[2][3], share = (double)(c->end[r] - c->start[r]) * voxel_ml / p->ml;
                kf_grid_to_lps(g, ends[0], at[0]);
                kf_grid_to_lps(g, ends[1], at[1]);
                for (int e = 0; e < 2 && pass == 0; e++)
                    widen(p, at[e]);
                double dx = (at[0][0] + at[1][0]) / 2 - (p->low[0] + p->high[0]) / 2;
                double dy = (at[0][1] + at[1][1]) / 2 - (p->low[1] + p->high[1]) / 2;
                if (pass == 1 && dx * dx + dy * dy < 64)
                    p->middle += share;
            }
    double floor_mm = field_floor(g);
    for (int64_t n = 0; n < c->count; n++)
        piece[n].from_field = piece[n].low[2] - floor_mm;
}

// What three passes over the voxels of a component gather.
struct walk {
    double sum[2], count; // the chin, seen from the side
    double chin[3], most; // the farthest voxel at the sides
    double far[2], far_count, at_border;
};

static void visit(struct walk *w, int pass, const double p[3], int border)
{
    double far = sqrt((p[1] - w->chin[1]) * (p[1] - w->chin[1]) + (p[2] - w->chin[2]) * (p[2] - w->chin[2]));
    if (pass == 0 && fabs(p[0]) < MIDLINE_MM) {
        w->sum[0] += p[1];
        w->sum[1] += p[2];
        w->count++;
    } else if (pass == 1 && fabs(p[0]) > SIDE_MM) {
        w->most = fmax(w->most, far);
    } else if (pass == 2 && fabs(p[0]) > SIDE_MM && far > w->most - 8) {
        w->far[0] += p[1];
        w->far[1] += p[2];
        w->far_count++;
        w->at_border += border;
    }
}

int kf_head_pieces_pitch(const struct kf_components *c, const struct kf_grid *g, int64_t n,
                         const struct kf_head_frame *from, struct kf_head_frame *to, int *cut)
{
    struct walk w = {0};
    const struct kf_component *t = &c->table[n];
    *cut = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (int64_t k = t->box[0][2]; k < t->box[1][2]; k++)
            for (int64_t j = t->box[0][1]; j < t->box[1][1]; j++) {
                int64_t row = j + k * g->dim[1];
                int edge = j == 0 || k == 0 || j == g->dim[1] - 1 || k == g->dim[2] - 1;
                for (int64_t r = c->row_first[row]; r < c->row_first[row + 1]; r++)
                    for (int64_t i = c->start[r]; i < c->end[r] && c->component[r] == n; i++) {
                        double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                        kf_grid_to_lps(g, ijk, p);
                        visit(&w, pass, p, edge || i == 0 || i == g->dim[0] - 1);
                    }
            }
        if (pass == 0 && w.count > 0) {
            w.chin[1] = w.sum[0] / w.count;
            w.chin[2] = w.sum[1] / w.count;
        }
    }
    *cut = w.at_border > 0;
    if (!(w.count > 0) || !(w.far_count > 0) || *cut)
        return 0;
    const double joints[3] = {0, w.far[0] / w.far_count, w.far[1] / w.far_count};
    double at[3], centre[3];
    for (int a = 0; a < 3; a++)
        at[a] = (double)t->sum[a] / (double)t->voxels;
    kf_grid_to_lps(g, at, centre);
    return kf_head_frame_pitch(w.chin, joints, centre, from, to);
}

int64_t kf_head_pieces_skull(const struct kf_head_piece *piece, int64_t count, const double jaw_low[3],
                             const double jaw_centre[3], int64_t jaw)
{
    int64_t best = -1, face = -1;
    for (int64_t n = 0; n < count; n++) {
        if (n == jaw)
            continue;
        if (best < 0 || piece[n].ml > piece[best].ml)
            best = n;
        if (piece[n].centre[2] > jaw_centre[2] + 8 && fabs(piece[n].low[1] - jaw_low[1]) < 45 && piece[n].ml > 2 &&
            (face < 0 || piece[n].ml > piece[face].ml))
            face = n;
    }
    return best >= 0 && piece[best].ml > 150 ? best : face;
}

int kf_head_piece_is_mandible(const struct kf_head_piece *p, const struct kf_head_piece *skull)
{
    double w = p->high[0] - p->low[0], d = p->high[1] - p->low[1], h = p->high[2] - p->low[2];
    if (p->ml < 5 || p->ml > 130 || w < 55 || w > 150 || d < 28 || d > 130 || h < 14 || h > 130 || p->middle >= 0.02)
        return 0;
    return !skull || (p->low[1] - skull->low[1] < 50 && p->centre[2] < skull->centre[2] - (skull->ml > 150 ? 25 : 8));
}

int kf_head_pieces_are_rami(const struct kf_head_piece *a, const struct kf_head_piece *b)
{
    const struct kf_head_piece *both[2] = {a, b};
    for (int n = 0; n < 2; n++) {
        const struct kf_head_piece *p = both[n];
        double d = p->high[1] - p->low[1], h = p->high[2] - p->low[2];
        if (p->ml < 2 || p->ml > 45 || fabs(p->centre[0]) < 30 || fabs(p->centre[0]) > 65 || h < 20 || h > 100 ||
            d < 15 || d > 90 || p->high[0] - p->low[0] > 45 || p->from_field > 4)
            return 0;
    }
    return fabs(a->centre[0] + b->centre[0]) < 14 && fabs(a->centre[1] - b->centre[1]) < 14 &&
           fabs(a->centre[2] - b->centre[2]) < 14;
}

int kf_head_piece_of_mandible(const struct kf_head_piece *p, const struct kf_head_piece *m)
{
    double middle = (m->low[0] + m->high[0]) / 2, h = p->high[2] - p->low[2], d = p->high[1] - p->low[1];
    double side = fabs(p->centre[0] - middle);
    return p->ml >= 1 && p->ml <= 60 && (h >= 25 || d >= 25) && side > 22 && side < 75 &&
           p->centre[2] < m->low[2] + 75 && p->high[2] < m->low[2] + 110 && p->low[2] > m->low[2] - 25 &&
           p->centre[1] < m->low[1] + 85;
}

int kf_head_piece_is_spine(const struct kf_head_piece *p, const struct kf_head_cores *cores)
{
    return p->ml >= 0.3 && fabs(p->centre[0] - cores->centre[0]) < 45 && p->centre[1] > cores->low[1] + 68 &&
           p->centre[2] < cores->low[2] + 78;
}
