// Mutual information and mean squares over a set of samples, with their derivatives. Two passes: the first looks up the
// moving image (value and gradient of the trilinear interpolant) and fills the joint histogram, the second
// weights each sample's gradient by what a change of its value does to the metric.
#include "workers/kernels/math.h"
#include "workers/kernels/register_inside.h"

#include <math.h>
#include <string.h>

#define HISTOGRAM (KF_REG_BINS * KF_REG_WIDE)

static int64_t block_count(int64_t samples)
{
    return (samples + KF_REG_BLOCK - 1) / KF_REG_BLOCK;
}

enum kf_kernel_status kf_reg_metric_init(struct kf_reg_metric *m, const struct kf_work *work, int64_t samples)
{
    *m = (struct kf_reg_metric){.work = work};
    int64_t blocks = block_count(samples) + 1;
    m->histograms = kf_work_take(work, blocks * HISTOGRAM * (int64_t)sizeof(float));
    m->sums = kf_work_take(work, blocks * 16 * (int64_t)sizeof(double));
    if (m->histograms && m->sums)
        return KF_KERNEL_OK;
    kf_reg_metric_release(m);
    return KF_KERNEL_NOMEM;
}

void kf_reg_metric_release(struct kf_reg_metric *m)
{
    if (m->work) {
        kf_work_give(m->work, m->sums);
        kf_work_give(m->work, m->histograms);
    }
    m->sums = NULL;
    m->histograms = NULL;
}

// ---- looking up ----

struct lookup {
    const int16_t *voxels;
    const uint8_t *mask;
    int64_t row, slice; // strides
    float limit[3];     // dim - 1
    float m[12];        // x (mm from the centre) → voxel
};

static void make_lookup(const struct kf_reg_metric *m, const double pose[12], struct lookup *l)
{
    const struct kf_reg_image *g = m->moving;
    const int64_t *dim = g->image.grid.dim;
    *l = (struct lookup){.voxels = g->image.data, .mask = g->mask.data, .row = dim[0], .slice = dim[0] * dim[1]};
    for (int r = 0; r < 3; r++) {
        l->limit[r] = (float)(dim[r] - 1);
        for (int c = 0; c < 4; c++) {
            double sum = c == 3 ? g->to_ijk[4 * r + 3] : 0;
            for (int n = 0; n < 3; n++)
                sum += g->to_ijk[4 * r + n] * pose[4 * n + c];
            l->m[4 * r + c] = (float)sum;
        }
    }
}

// Value and gradient (per voxel) at sample n; 0 when it lies outside.
static inline int look_up(const struct lookup *l, const struct kf_reg_samples *s, int64_t n, float *value, float g[3])
{
    const float *m = l->m;
    float x = s->x[n], y = s->y[n], z = s->z[n];
    float i = m[0] * x + m[1] * y + m[2] * z + m[3];
    float j = m[4] * x + m[5] * y + m[6] * z + m[7];
    float k = m[8] * x + m[9] * y + m[10] * z + m[11];
    if (!((i >= 0) & (j >= 0) & (k >= 0) & (i < l->limit[0]) & (j < l->limit[1]) & (k < l->limit[2])))
        return 0;
    int i0 = (int)i, j0 = (int)j, k0 = (int)k;
    float u = i - (float)i0, v = j - (float)j0, w = k - (float)k0;
    int64_t at = i0 + j0 * l->row + k0 * l->slice, row = l->row, slice = l->slice;
    if (l->mask && !l->mask[at + (u > 0.5f) + (v > 0.5f ? l->row : 0) + (w > 0.5f ? l->slice : 0)])
        return 0;
    const int16_t *p = l->voxels + at;
    const uint16_t *corner = s->corner + 4 * n;
    int in = i0 - corner[0], jn = j0 - corner[1], kn = k0 - corner[2];
    if (((unsigned)in < 3) & ((unsigned)jn < 3) & ((unsigned)kn < 3)) {
        p = s->patch + n * KF_REG_PATCH + in + 4 * jn + 16 * kn;
        row = 4;
        slice = 16;
    }
    const int16_t *q = p + slice;
    float a0 = p[0], b0 = p[row], c0 = q[0], d0 = q[row];
    float da = (float)p[1] - a0, db = (float)p[row + 1] - b0, dc = (float)q[1] - c0, dd = (float)q[row + 1] - d0;
    float a = a0 + u * da, b = b0 + u * db, c = c0 + u * dc, d = d0 + u * dd;
    float e = a + v * (b - a), f = c + v * (d - c), de = da + v * (db - da), df = dc + v * (dd - dc);
    *value = e + w * (f - e);
    g[0] = de + w * (df - de);
    g[1] = (b - a) + w * ((d - c) - (b - a));
    g[2] = f - e;
    return 1;
}

static uint16_t patch_begin(float place, int64_t dim)
{
    float last = (float)(dim - 4), at = place - 1;
    return (uint16_t)(at > 0 ? at < last ? at : last : 0);
}

static void patch_at(const struct lookup *l, const int64_t *dim, struct kf_reg_samples *s, int64_t n)
{
    uint16_t *corner = s->corner + 4 * n;
    int64_t at = 0;
    for (int r = 0; r < 3; r++) {
        const float *m = l->m + 4 * r;
        float place = m[0] * s->x[n] + m[1] * s->y[n] + m[2] * s->z[n] + m[3];
        corner[r] = patch_begin(place, dim[r]);
        at += (int64_t)corner[r] * (r == 0 ? 1 : r == 1 ? l->row : l->slice);
    }
    int16_t *to = s->patch + n * KF_REG_PATCH;
    for (int k = 0; k < 4; k++)
        for (int j = 0; j < 4; j++)
            memcpy(to + 4 * j + 16 * k, l->voxels + at + j * l->row + k * l->slice, 4 * sizeof *to);
}

static int64_t block_end(const struct kf_reg_samples *s, int64_t block)
{
    int64_t end = (block + 1) * KF_REG_BLOCK;
    return end < s->count ? end : s->count;
}

// First pass of mutual information. sums[0] is how many samples are inside.
static void fill_block(const struct kf_reg_metric *m, const struct lookup *l, int64_t block)
{
    struct kf_reg_samples *s = m->samples;
    float *h = m->histograms + block * HISTOGRAM;
    const float most = (float)(KF_REG_BINS - 1);
    int64_t inside = 0;
    memset(h, 0, HISTOGRAM * sizeof *h);
    for (int64_t n = block * KF_REG_BLOCK, end = block_end(s, block); n < end; n++) {
        float value, g[3];
        if (!look_up(l, s, n, &value, g)) {
            s->step[n] = KF_REG_OUTSIDE;
            s->gx[n] = s->gy[n] = s->gz[n] = s->u[n] = 0;
            continue;
        }
        float t = (value - m->range.low) * m->range.scale;
        float within = (float)((t > 0) & (t < most)); // no branch: nobody could foretell it
        s->gx[n] = within * g[0];
        s->gy[n] = within * g[1];
        s->gz[n] = within * g[2];
        t = t > 0 ? t : 0;
        t = t < most ? t : most;
        int step = (int)t;
        float u = t - (float)step, v = 1 - u;
        float *row = h + s->bin[n] * KF_REG_WIDE + step;
        row[0] += v * v * v * (1.0f / 6);
        row[1] += ((3 * u - 6) * u * u + 4) * (1.0f / 6);
        row[2] += ((3 * v - 6) * v * v + 4) * (1.0f / 6);
        row[3] += u * u * u * (1.0f / 6);
        s->u[n] = u;
        s->step[n] = (uint8_t)step;
        inside++;
    }
    m->sums[block * 16] = (double)inside;
}

// The derivative of MI by a sample's place in its bin, which replaces it in s->u. `table` is ln(p / p_moving).
static void weigh_block(const struct kf_reg_metric *m, const float *table, float scale, int64_t block)
{
    struct kf_reg_samples *s = m->samples;
    for (int64_t n = block * KF_REG_BLOCK, end = block_end(s, block); n < end; n++) {
        if (s->step[n] == KF_REG_OUTSIDE)
            continue; // u is 0
        float u = s->u[n], v = 1 - u;
        const float *row = table + s->bin[n] * KF_REG_WIDE + s->step[n];
        float d = row[3] * u * u - row[0] * v * v + row[1] * (3 * u - 4) * u - row[2] * (3 * v - 4) * v;
        s->u[n] = scale * d;
    }
}

// First pass of mean squares: s->u gets twice the difference. sums[0] inside, sums[1] squares.
static void square_block(const struct kf_reg_metric *m, const struct lookup *l, int64_t block)
{
    struct kf_reg_samples *s = m->samples;
    int64_t inside = 0;
    double sum = 0;
    for (int64_t n = block * KF_REG_BLOCK, end = block_end(s, block); n < end; n++) {
        float value, g[3] = {0};
        s->u[n] = 0;
        if (look_up(l, s, n, &value, g)) {
            float d = value - s->value[n];
            s->u[n] = 2 * d;
            sum += (double)(d * d);
            inside++;
        }
        s->gx[n] = g[0];
        s->gy[n] = g[1];
        s->gz[n] = g[2];
    }
    m->sums[block * 16] = (double)inside;
    m->sums[block * 16 + 1] = sum;
}

// Σ weight · gradient ⊗ (x, y, z, 1) of a block, into 12 sums. Samples outside weigh 0.
static void sum_block(const struct kf_reg_metric *m, int64_t block)
{
    const struct kf_reg_samples *s = m->samples;
    float lane[12][KF_REG_LANES] = {{0}};
    int64_t n = block * KF_REG_BLOCK, end = block_end(s, block);
    // The arrays are padded to whole lanes with zeros.
    for (; n < end; n += KF_REG_LANES)
        for (int i = 0; i < KF_REG_LANES; i++) {
            float w = s->u[n + i], x = s->x[n + i], y = s->y[n + i], z = s->z[n + i];
            float a = w * s->gx[n + i], b = w * s->gy[n + i], c = w * s->gz[n + i];
            lane[0][i] += a * x;
            lane[1][i] += a * y;
            lane[2][i] += a * z;
            lane[3][i] += a;
            lane[4][i] += b * x;
            lane[5][i] += b * y;
            lane[6][i] += b * z;
            lane[7][i] += b;
            lane[8][i] += c * x;
            lane[9][i] += c * y;
            lane[10][i] += c * z;
            lane[11][i] += c;
        }
    for (int e = 0; e < 12; e++) {
        double sum = 0;
        for (int i = 0; i < KF_REG_LANES; i++)
            sum += (double)lane[e][i];
        m->sums[block * 16 + 4 + e] = sum;
    }
}

// ---- the metrics ----

// Adds the blocks' histograms in order and turns them into ln(p / p_moving), in place in the first one.
static void information(struct kf_reg_metric *m, int64_t blocks, double inside)
{
    float *h = m->histograms;
    for (int64_t b = 1; b < blocks; b++)
        for (int64_t e = 0; e < HISTOGRAM; e++)
            h[e] += h[b * HISTOGRAM + e];
    double fixed[KF_REG_BINS] = {0}, moving[KF_REG_WIDE] = {0};
    double joint = 0, apart_fixed = 0, apart_moving = 0, ln_moving[KF_REG_WIDE];
    for (int f = 0; f < KF_REG_BINS; f++)
        for (int g = 0; g < KF_REG_WIDE; g++) {
            double p = (double)h[f * KF_REG_WIDE + g] / inside;
            fixed[f] += p;
            moving[g] += p;
        }
    for (int g = 0; g < KF_REG_WIDE; g++) {
        ln_moving[g] = moving[g] > 0 ? kf_ln(moving[g]) : 0;
        apart_moving -= moving[g] * ln_moving[g];
    }
    for (int f = 0; f < KF_REG_BINS; f++) {
        apart_fixed -= fixed[f] > 0 ? fixed[f] * kf_ln(fixed[f]) : 0;
        for (int g = 0; g < KF_REG_WIDE; g++) {
            double p = (double)h[f * KF_REG_WIDE + g] / inside;
            double ln = p > 1e-12 ? kf_ln(p) : 0;
            joint -= p > 1e-12 ? p * ln : 0;
            h[f * KF_REG_WIDE + g] = p > 1e-12 ? (float)(ln - ln_moving[g]) : 0;
        }
    }
    m->mi = apart_fixed + apart_moving - joint;
    m->nmi = joint > 1e-9 ? (apart_fixed + apart_moving) / joint : 1;
}

// d/d(pose): the sums are by voxel; the chain rule through LPS → voxel.
static void gather(const struct kf_reg_metric *m, int64_t blocks, double factor, double gradient[12])
{
    double sum[12] = {0};
    for (int64_t b = 0; b < blocks; b++)
        for (int e = 0; e < 12; e++)
            sum[e] += m->sums[b * 16 + 4 + e];
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double g = 0;
            for (int n = 0; n < 3; n++)
                g += m->moving->to_ijk[4 * n + r] * sum[4 * n + c];
            gradient[4 * r + c] = factor * g;
        }
}

void kf_reg_patches_take(struct kf_reg_metric *m, const double pose[12])
{
    struct lookup l;
    const int64_t *dim = m->moving->image.grid.dim;
    int64_t blocks = block_count(m->samples->count);
    for (int a = 0; a < 3; a++)
        if (dim[a] < 4 || dim[a] >= KF_REG_NOWHERE)
            return;
    make_lookup(m, pose, &l);
#pragma omp parallel for num_threads(m->work->threads) schedule(static)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t n = b * KF_REG_BLOCK, end = block_end(m->samples, b); n < end; n++)
            patch_at(&l, dim, m->samples, n);
}

double kf_reg_evaluate(struct kf_reg_metric *m, const double pose[12], double *gradient)
{
    struct lookup l;
    make_lookup(m, pose, &l);
    int64_t blocks = block_count(m->samples->count);
    int mi = m->kind == KF_REGISTER_MI;
    m->evaluations++;
#pragma omp parallel for num_threads(m->work->threads) schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        if (mi)
            fill_block(m, &l, b);
        else
            square_block(m, &l, b);
    }
    double inside = 0, squares = 0;
    for (int64_t b = 0; b < blocks; b++) {
        inside += m->sums[16 * b];
        squares += mi ? 0 : m->sums[16 * b + 1];
    }
    m->overlap = m->samples->count ? inside / (double)m->samples->count : 0;
    if (inside < 64 || m->overlap < 0.1)
        return 1e30;
    if (mi)
        information(m, blocks, inside);
    else
        m->msd = squares / inside;
    if (gradient) {
#pragma omp parallel for num_threads(m->work->threads) schedule(static)
        for (int64_t b = 0; b < blocks; b++) {
            if (mi)
                weigh_block(m, m->histograms, 0.5f * m->range.scale, b);
            sum_block(m, b);
        }
        gather(m, blocks, (mi ? -1 : 1) / inside, gradient);
    }
    return mi ? -m->mi : m->msd;
}
