// A ball is a stack of runs along i, one for each offset (j, k), of some half-width. A row of the result is the union
// of neighbour rows, each widened by its half-width. Widening is linear over unions and widths add up, so the widest
// runs are united first, the union is widened down to the next narrower width, the rows of that width join, and so on
// (Horner's rule): no row is widened twice and nothing is kept but the result. That is the ball's own definition, exact
// for every radius. Erosion is the dilation of the complement. Cost per row of the result: the number of runs in the
// ball; none where no row within reach has a bit.
#include "workers/kernels/bits.h"
#include "workers/kernels/cpu.h"

#include <string.h>

struct run {
    int32_t half, dj, dk;
};

struct ball {
    int64_t reach[3];
    int64_t count;
    struct run *run; // widest first
};

// What the rows of one pass share: the mask with reach[1], reach[2] empty rows on every side, so that no offset needs a
// look at the border.
struct pass {
    const struct ball *ball;
    int64_t words, across, rows; // words per row, rows per slice, rows in all
    uint64_t last, flip;         // bits of the last word; ~0: the complement is dilated, and the result complemented
    int64_t *offset;             // of each run, words
    uint64_t *from;
    uint8_t *any, *near, *spare; // per row: it has a bit; a row within reach has
};

// row |= row << n | row >> n and all shifts between, by doubling; bits pushed past the last word are lost.
static void widen_row(uint64_t *row, int64_t words, int64_t half, uint64_t *spare)
{
    for (int64_t done = 0; done < half;) {
        int64_t step = done + done + 1 <= half ? done + 1 : half - done;
        if (step > 63)
            step = 63;
        memcpy(spare, row, (size_t)words * sizeof *row);
        for (int64_t w = 0; w < words; w++) {
            uint64_t left = spare[w] << step, right = spare[w] >> step;
            if (w > 0)
                left |= spare[w - 1] >> (64 - step);
            if (w + 1 < words)
                right |= spare[w + 1] << (64 - step);
            row[w] |= left | right;
        }
        done += step;
    }
}

// Offsets past the far side of the volume reach nothing and are left out.
static int64_t reach_of(double radius_mm, double spacing_mm, int64_t dim)
{
    double voxels =
        radius_mm / spacing_mm + 1e-9; // a hair: 2 mm on a 0.4 mm grid are five voxels whatever the rounding
    return voxels < (double)dim ? (int64_t)voxels : dim;
}

static int64_t half_width(const struct ball *ball, const double spacing_mm[3], double radius_mm, int64_t dim,
                          int64_t dj, int64_t dk)
{
    double y = (double)dj * spacing_mm[1], z = (double)dk * spacing_mm[2];
    double rest = radius_mm * radius_mm - y * y - z * z;
    int64_t half = rest < -1e-9 ? -1 : reach_of(__builtin_sqrt(rest > 0 ? rest : 0), spacing_mm[0], dim);
    return half > ball->reach[0] ? ball->reach[0] : half;
}

// Runs sorted by width, by counting. ball->run is owned.
static enum kf_kernel_status make_ball(const struct kf_work *work, const int64_t dim[3], const double spacing_mm[3],
                                       double radius_mm, struct ball *ball)
{
    *ball = (struct ball){.count = 0};
    for (int a = 0; a < 3; a++) {
        if (!(spacing_mm[a] > 0) || !(radius_mm >= 0) || dim[a] > INT32_MAX / 2)
            return KF_KERNEL_INVALID;
        ball->reach[a] = reach_of(radius_mm, spacing_mm[a], dim[a]);
    }
    const int64_t *reach = ball->reach;
    int64_t *first = kf_work_take(work, (reach[0] + 2) * (int64_t)sizeof *first);
    ball->run = kf_work_take(work, (2 * reach[1] + 1) * (2 * reach[2] + 1) * (int64_t)sizeof *ball->run);
    if (!first || !ball->run) {
        kf_work_give(work, first);
        return KF_KERNEL_NOMEM;
    }
    memset(first, 0, (size_t)(reach[0] + 2) * sizeof *first);
    for (int draw = 0; draw < 2; draw++) {
        for (int64_t dk = -reach[2]; dk <= reach[2]; dk++)
            for (int64_t dj = -reach[1]; dj <= reach[1]; dj++) {
                int64_t half = half_width(ball, spacing_mm, radius_mm, dim[0], dj, dk);
                if (half < 0)
                    continue;
                if (draw)
                    ball->run[first[reach[0] - half]++] = (struct run){(int32_t)half, (int32_t)dj, (int32_t)dk};
                else
                    first[reach[0] - half + 1]++, ball->count++;
            }
        for (int64_t h = 0; h <= reach[0] && !draw; h++)
            first[h + 1] += first[h];
    }
    kf_work_give(work, first);
    return KF_KERNEL_OK;
}

static uint64_t last_mask(const struct kf_bits *bits)
{
    return bits->dim[0] % 64 ? ((uint64_t)1 << (bits->dim[0] % 64)) - 1 : ~(uint64_t)0;
}

// The mask with its margin and, flipped or not, no bit past the ends of its rows; and which rows have any.
static void fill_pass(const struct kf_work *work, const struct kf_bits *bits, struct pass *p)
{
    int64_t rj = p->ball->reach[1], rk = p->ball->reach[2], words = p->words;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < p->rows / p->across; k++)
        for (int64_t j = 0; j < p->across; j++) {
            int64_t row = k * p->across + j;
            uint64_t *to = p->from + row * words, some = 0;
            int within = j >= rj && j < rj + bits->dim[1] && k >= rk && k < rk + bits->dim[2];
            for (int64_t w = 0; w < words; w++) {
                to[w] = within ? kf_bits_row(bits, j - rj, k - rk)[w] ^ p->flip : 0;
                to[w] &= w + 1 < words ? ~(uint64_t)0 : p->last;
                some |= to[w];
            }
            p->any[row] = some != 0;
        }
}

// near = any, spread over the rectangle of the ball's reach.
static void spread_flags(const struct kf_work *work, const struct pass *p)
{
    int64_t across = p->across, nk = p->rows / across, rj = p->ball->reach[1], rk = p->ball->reach[2];
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < nk; k++) {
        int64_t seen = -2 * rj - 1; // the last flag at or before j
        for (int64_t j = 0; j < across + rj; j++) {
            if (j < across && p->any[k * across + j])
                seen = j;
            if (j >= rj)
                p->spare[k * across + j - rj] = seen >= j - 2 * rj;
        }
    }
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < nk; k++) {
        memset(p->near + k * across, 0, (size_t)across);
        for (int64_t z = k - rk < 0 ? 0 : k - rk; z <= k + rk && z < nk; z++)
            for (int64_t j = 0; j < across; j++)
                p->near[k * across + j] |= p->spare[z * across + j];
    }
}

static int is_full(const uint64_t *row, int64_t words, uint64_t last)
{
    for (int64_t w = 0; w + 1 < words; w++)
        if (row[w] != ~(uint64_t)0)
            return 0;
    return (row[words - 1] & last) == last;
}

// Row (j, k) of the result into `to`; `spare` holds a row. Widening may set bits past the end; coming back they reach
// no farther than the run that they belong to.
static void make_row(const struct pass *p, const struct kf_kernel_table *rows, int64_t j, int64_t k, uint64_t *to,
                     uint64_t *spare)
{
    const struct ball *ball = p->ball;
    int64_t words = p->words, row = (k + ball->reach[2]) * p->across + j + ball->reach[1];
    memset(to, 0, (size_t)words * sizeof *to);
    for (int64_t n = 0, end; n < ball->count && p->near[row]; n = end) {
        int32_t half = ball->run[n].half;
        for (end = n + 1; end < ball->count && ball->run[end].half == half;)
            end++;
        rows->unite_rows(to, p->from + row * words, p->offset + n, end - n, words);
        if (is_full(to, words, p->last))
            break;
        widen_row(to, words, half - (end < ball->count ? ball->run[end].half : 0), spare);
    }
    for (int64_t w = 0; w < words; w++)
        to[w] ^= p->flip;
    to[words - 1] &= p->last;
}

// 1: cancelled.
static int dilate_rows(const struct kf_work *work, struct kf_bits *bits, struct pass *p, uint64_t *spare)
{
    struct kf_loop loop = kf_loop_make(work, bits->dim[2], 0, 1);
    const struct kf_kernel_table *rows = kf_kernels();
    for (int64_t n = 0; n < p->ball->count; n++)
        p->offset[n] = (p->ball->run[n].dk * p->across + p->ball->run[n].dj) * p->words;
    fill_pass(work, bits, p);
    spread_flags(work, p);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t k = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < bits->dim[1] && !stop; j++)
            make_row(p, rows, j, k, kf_bits_row(bits, j, k), spare + k * p->words);
    return loop.stop || kf_work_step(work, 1);
}

static enum kf_kernel_status dilate(const struct kf_work *work, struct kf_bits *bits, const struct ball *ball,
                                    uint64_t flip)
{
    struct pass p = {.ball = ball, .words = bits->words, .last = last_mask(bits), .flip = flip};
    p.across = bits->dim[1] + 2 * ball->reach[1];
    p.rows = p.across * (bits->dim[2] + 2 * ball->reach[2]);
    uint64_t *spare = kf_work_take(work, p.words * bits->dim[2] * (int64_t)sizeof *spare);
    p.from = kf_work_take(work, p.rows * p.words * (int64_t)sizeof *p.from);
    p.offset = kf_work_take(work, ball->count * (int64_t)sizeof *p.offset);
    p.any = kf_work_take(work, 3 * p.rows);
    enum kf_kernel_status status = spare && p.from && p.offset && p.any ? KF_KERNEL_OK : KF_KERNEL_NOMEM;
    if (!status) {
        p.near = p.any + p.rows;
        p.spare = p.near + p.rows;
        if (dilate_rows(work, bits, &p, spare))
            status = KF_KERNEL_CANCELLED;
    }
    kf_work_give(work, p.any);
    kf_work_give(work, p.offset);
    kf_work_give(work, p.from);
    kf_work_give(work, spare);
    return status;
}

// One pass for each of the two flips, in order; ~0 erodes, 0 dilates.
static enum kf_kernel_status passes(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                    double radius_mm, const uint64_t *flip, int count)
{
    struct ball ball;
    enum kf_kernel_status status = make_ball(work, bits->dim, spacing_mm, radius_mm, &ball);
    for (int n = 0; n < count && !status; n++)
        status = dilate(work, bits, &ball, flip[n]);
    kf_work_give(work, ball.run);
    return status;
}

enum kf_kernel_status kf_bits_dilate(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                     double radius_mm)
{
    return passes(work, bits, spacing_mm, radius_mm, (const uint64_t[]){0}, 1);
}

enum kf_kernel_status kf_bits_erode(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                    double radius_mm)
{
    return passes(work, bits, spacing_mm, radius_mm, (const uint64_t[]){~(uint64_t)0}, 1);
}

enum kf_kernel_status kf_bits_close(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                    double radius_mm)
{
    return passes(work, bits, spacing_mm, radius_mm, (const uint64_t[]){0, ~(uint64_t)0}, 2);
}

enum kf_kernel_status kf_bits_open(const struct kf_work *work, struct kf_bits *bits, const double spacing_mm[3],
                                   double radius_mm)
{
    return passes(work, bits, spacing_mm, radius_mm, (const uint64_t[]){~(uint64_t)0, 0}, 2);
}
