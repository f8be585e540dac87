// Row by row of the output, in blocks of sixteen voxels. A block whose ends (and so all of it, the map being affine)
// have their whole neighbourhood inside of the input goes to the row kernels; one that lies outside is filled; what
// crosses the border goes voxel by voxel with clamped neighbours.
#include "workers/kernels/resample.h"
#include "workers/kernels/filter.h"

#include <math.h>
#include <string.h>

#define MARGIN 0x1p-10 // voxels; far more than the rounding of positions
#define AHEAD  4       // rows

struct resample {
    const struct kf_volume *in, *out;
    double matrix[12]; // voxel indexes of out to those of in
    enum kf_resample_method method;
    double outside;
    int near; // blocks are short enough for 32-bit offsets
};

// Columns of voxel steps in millimetres.
static void grid_matrix(const struct kf_grid *g, double m[9])
{
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            m[3 * r + c] = g->direction[3 * r + c] * g->spacing_mm[c];
}

static void compose(const struct kf_grid *in, const double to_in[12], const struct kf_grid *out, double matrix[12])
{
    double step[9], moved[12];
    grid_matrix(out, step);
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double sum = c < 3 ? 0 : to_in[4 * r + 3] - in->origin_lps[r];
            for (int a = 0; a < 3; a++)
                sum += to_in[4 * r + a] * (c < 3 ? step[3 * a + c] : out->origin_lps[a]);
            moved[4 * r + c] = sum;
        }
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double sum = 0;
            for (int a = 0; a < 3; a++)
                sum += in->direction[3 * a + r] * moved[4 * a + c];
            matrix[4 * r + c] = sum / in->spacing_mm[r];
        }
}

static double voxel_at(const struct kf_volume *v, int64_t at)
{
    switch (v->type) {
    case KF_VOXEL_UINT8:
        return ((const uint8_t *)v->data)[at];
    case KF_VOXEL_INT16:
        return ((const int16_t *)v->data)[at];
    case KF_VOXEL_UINT16:
        return ((const uint16_t *)v->data)[at];
    case KF_VOXEL_FLOAT32:
        break;
    }
    return (double)((const float *)v->data)[at];
}

static void put_voxel(const struct kf_volume *v, int64_t at, double value)
{
    double low = v->type == KF_VOXEL_INT16 ? -32768 : 0;
    double high = v->type == KF_VOXEL_INT16 ? 32767 : v->type == KF_VOXEL_UINT8 ? 255 : 65535;
    if (v->type == KF_VOXEL_FLOAT32) {
        ((float *)v->data)[at] = (float)value;
        return;
    }
    value = value >= low ? value : low; // NaN becomes the least
    int whole = (int)__builtin_rint(value <= high ? value : high);
    if (v->type == KF_VOXEL_INT16)
        ((int16_t *)v->data)[at] = (int16_t)whole;
    else if (v->type == KF_VOXEL_UINT8)
        ((uint8_t *)v->data)[at] = (uint8_t)whole;
    else
        ((uint16_t *)v->data)[at] = (uint16_t)whole;
}

static void axis_weights(enum kf_resample_method method, double t, double w[4])
{
    memset(w, 0, 4 * sizeof *w);
    if (method == KF_RESAMPLE_LINEAR) {
        w[1] = 1 - t;
        w[2] = t;
        return;
    }
    w[0] = -0.5 * t + t * t - 0.5 * t * t * t;
    w[1] = 1 - 2.5 * t * t + 1.5 * t * t * t;
    w[2] = 0.5 * t + 2 * t * t - 1.5 * t * t * t;
    w[3] = -0.5 * t * t + 0.5 * t * t * t;
}

static int64_t within(int64_t at, int64_t n)
{
    return at < 0 ? 0 : at >= n ? n - 1 : at;
}

// One voxel anywhere.
static double sample_anywhere(const struct resample *r, const double p_ijk[3])
{
    const int64_t *dim = r->in->grid.dim;
    int64_t base[3];
    double w[3][4];
    for (int a = 0; a < 3; a++) {
        double p = p_ijk[a];
        if (!(p >= -0.5 && p <= (double)dim[a] - 0.5))
            return r->outside;
        p = p < 0 ? 0 : p > (double)(dim[a] - 1) ? (double)(dim[a] - 1) : p;
        base[a] = r->method == KF_RESAMPLE_NEAREST ? within((int64_t)(p + 0.5), dim[a]) : (int64_t)p;
        if (r->method != KF_RESAMPLE_NEAREST)
            axis_weights(r->method, p - (double)base[a], w[a]);
    }
    if (r->method == KF_RESAMPLE_NEAREST)
        return voxel_at(r->in, base[0] + dim[0] * (base[1] + dim[1] * base[2]));
    double sum = 0;
    for (int z = 0; z < 4; z++)
        for (int y = 0; y < 4; y++) {
            if (w[1][y] == 0 || w[2][z] == 0)
                continue;
            int64_t row = dim[0] * (within(base[1] + y - 1, dim[1]) + dim[1] * within(base[2] + z - 1, dim[2]));
            double line = 0;
            for (int x = 0; x < 4; x++)
                line += w[0][x] * (w[0][x] == 0 ? 0 : voxel_at(r->in, row + within(base[0] + x - 1, dim[0])));
            sum += w[2][z] * w[1][y] * line;
        }
    return sum;
}

struct span {
    int64_t first, end;
};

// Voxels i of a row of n with low[a] ≤ start[a] + i·step[a] ≤ high[a] on all axes (to rounding).
static struct span span_of(const struct kf_resample_row *row, int64_t n, double margin)
{
    double first = 0, end = (double)n;
    for (int a = 0; a < 3; a++) {
        double low = margin - row->start[a], high = (double)(row->dim[a] - 1) - margin - row->start[a];
        double step = row->step[a];
        if (step < 0) {
            double swap = -low;
            low = -high;
            high = swap;
            step = -step;
        }
        if (!(low <= high) || (step < 1e-9 && (low > 0 || high < 0)))
            return (struct span){0, 0};
        if (step >= 1e-9) {
            double from = __builtin_ceil(low / step), to = __builtin_floor(high / step) + 1;
            first = from > first ? from : first;
            end = to < end ? to : end;
        }
    }
    return end > first ? (struct span){(int64_t)first, (int64_t)end} : (struct span){0, 0};
}

// Voxels whose neighbourhoods are inside; `at` is voxel 0 of the row.
static void inside_span(const struct resample *r, const struct kf_resample_row *row, struct span span, int64_t at)
{
    const struct kf_filter_table *table = kf_filters();
    enum kf_voxel_type type = r->in->type;
    void *to = (char *)r->out->data + at * kf_voxel_bytes(type);
    if (r->method == KF_RESAMPLE_NEAREST) {
        if (type == KF_VOXEL_UINT8)
            table->nearest_8(row, span.first, span.end, to);
        else if (type == KF_VOXEL_FLOAT32)
            table->nearest_32(row, span.first, span.end, to);
        else
            table->nearest_16(row, span.first, span.end, to);
    } else if (r->method == KF_RESAMPLE_CUBIC) {
        if (type == KF_VOXEL_INT16)
            table->cubic_i16(row, span.first, span.end, to);
        else
            table->cubic_f32(row, span.first, span.end, to);
    } else if (type == KF_VOXEL_INT16) {
        table->linear_i16(row, span.first, span.end, to);
    } else {
        table->linear_f32(row, span.first, span.end, to);
    }
}

static void border_span(const struct resample *r, const struct kf_resample_row *row, struct span span, int64_t at)
{
    for (int64_t i = span.first; i < span.end; i++) {
        double p[3];
        for (int a = 0; a < 3; a++)
            p[a] = row->start[a] + (double)i * row->step[a];
        put_voxel(r->out, at + i, sample_anywhere(r, p));
    }
}

static void fill_span(const struct resample *r, struct span span, int64_t at)
{
    if (span.first >= span.end)
        return;
    int64_t bytes = kf_voxel_bytes(r->out->type), size = bytes;
    char *to = (char *)r->out->data + (at + span.first) * bytes;
    put_voxel(r->out, at + span.first, r->outside);
    for (int64_t total = (span.end - span.first) * bytes; size < total;) { // doubles what is there
        int64_t more = total - size < size ? total - size : size;
        memcpy(to + size, to, (size_t)more);
        size += more;
    }
}

// A row crosses lines of the input, which the processor does not foresee: asks for those that row (j, k) will need.
static void fetch_row(const struct resample *r, int64_t j, int64_t k)
{
    const int64_t *from = r->in->grid.dim, bytes = kf_voxel_bytes(r->in->type);
    const double *m = r->matrix;
    double at[3], step[3], apart = 32;
    for (int a = 0; a < 3; a++) {
        at[a] = m[4 * a + 3] + (double)j * m[4 * a + 1] + (double)k * m[4 * a + 2];
        step[a] = m[4 * a];
        double size = __builtin_fabs(step[a]) / (a ? 1 : 64.0 / (double)bytes); // lines, cache lines
        apart = size * apart > 1 ? 1 / size : apart;
    }
    apart = apart < 4 ? 4 : apart;
    for (double i = 0; i < (double)r->out->grid.dim[0]; i += apart) {
        double p[3] = {at[0] + i * step[0], at[1] + i * step[1], at[2] + i * step[2]};
        if (!(p[0] >= 0 && p[1] >= 0 && p[2] >= 0 && p[0] < (double)(from[0] - 1) && p[1] < (double)(from[1] - 1) &&
              p[2] < (double)(from[2] - 1)))
            continue;
        int64_t line = from[0], plane = from[0] * from[1];
        int64_t voxel = (int64_t)p[0] + (int64_t)p[1] * line + (int64_t)p[2] * plane;
        const char *v = (const char *)r->in->data + voxel * bytes;
        __builtin_prefetch(v);
        __builtin_prefetch(v + line * bytes);
        __builtin_prefetch(v + plane * bytes);
        __builtin_prefetch(v + (plane + line) * bytes);
    }
}

static void resample_row(const struct resample *r, int64_t j, int64_t k)
{
    const int64_t *dim = r->out->grid.dim, *from = r->in->grid.dim;
    struct kf_resample_row row = {.data = r->in->data, .dim = {from[0], from[1], from[2]}};
    for (int a = 0; a < 3; a++) {
        row.step[a] = r->matrix[4 * a];
        row.start[a] = r->matrix[4 * a + 3] + (double)j * r->matrix[4 * a + 1] + (double)k * r->matrix[4 * a + 2];
    }
    double reach = r->method == KF_RESAMPLE_CUBIC ? 1 : r->method == KF_RESAMPLE_LINEAR ? 0 : -0.5;
    int64_t at = (j + k * dim[1]) * dim[0];
    struct span any = span_of(&row, dim[0], -0.5 - MARGIN), inside = span_of(&row, dim[0], reach + MARGIN);
    if (!r->near || inside.first >= inside.end || (r->method != KF_RESAMPLE_NEAREST && inside.end - inside.first < 16))
        inside = (struct span){any.end, any.end};
    fill_span(r, (struct span){0, any.first}, at);
    border_span(r, &row, (struct span){any.first, inside.first}, at);
    inside_span(r, &row, inside, at);
    border_span(r, &row, (struct span){inside.end, any.end}, at);
    fill_span(r, (struct span){any.end, dim[0]}, at);
}

enum kf_kernel_status kf_resample(const struct kf_work *work, const struct kf_volume *in, const double to_in[12],
                                  enum kf_resample_method method, double outside, const struct kf_volume *out)
{
    const int64_t *dim = out->grid.dim, *from = in->grid.dim;
    int numbers = in->type == KF_VOXEL_INT16 || in->type == KF_VOXEL_FLOAT32;
    if (in->type != out->type || from[0] < 1 || from[1] < 1 || from[2] < 1)
        return KF_KERNEL_INVALID;
    if (method != KF_RESAMPLE_NEAREST && !((method == KF_RESAMPLE_LINEAR || method == KF_RESAMPLE_CUBIC) && numbers))
        return KF_KERNEL_INVALID;
    struct resample r = {.in = in, .out = out, .method = method, .outside = outside, .near = 1};
    compose(&in->grid, to_in, &out->grid, r.matrix);
    double reach = 0;
    for (int n = 0; n < 12; n++) {
        double size = __builtin_fabs(r.matrix[n]);
        if (!(size < 1e12))
            return KF_KERNEL_INVALID;
        if (n % 4 == 0)
            reach += size * 16 * (double)(n == 0 ? 1 : n == 4 ? from[0] : from[0] * from[1]);
    }
    r.near = reach < 0x1p30 && from[0] * from[1] < 1 << 29;
    struct kf_loop loop = kf_loop_make(work, dim[2], 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(dynamic, 1)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < dim[1] && !stop; j++) {
            fetch_row(&r, j + AHEAD, k);
            resample_row(&r, j, k);
        }
    return loop.stop || kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
