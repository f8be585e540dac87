#include "workers/kernels/bits.h"
#include "workers/kernels/cpu.h"

#include <string.h>

enum kf_kernel_status kf_bits_alloc(const struct kf_work *work, const int64_t dim[3], struct kf_bits *out)
{
    *out = (struct kf_bits){0};
    if (dim[0] < 1 || dim[1] < 1 || dim[2] < 1 || dim[0] > INT32_MAX / 2)
        return KF_KERNEL_INVALID;
    int64_t words = (dim[0] + 63) / 64;
    int64_t bytes = words * dim[1] * dim[2] * (int64_t)sizeof(uint64_t);
    uint64_t *word = kf_work_take(work, bytes);
    if (!word)
        return KF_KERNEL_NOMEM;
    memset(word, 0, (size_t)bytes);
    *out = (struct kf_bits){.dim = {dim[0], dim[1], dim[2]}, .words = words, .word = word};
    return KF_KERNEL_OK;
}

void kf_bits_release(const struct kf_work *work, struct kf_bits *bits)
{
    kf_work_give(work, bits->word);
    *bits = (struct kf_bits){0};
}

// Clamps to what an int can hold, rounding inward.
static int inward(double value, int up)
{
    value = up ? __builtin_ceil(value) : __builtin_floor(value);
    return value < -40000 ? -40000 : value > 40000 ? 40000 : (int)value;
}

enum kf_kernel_status kf_bits_threshold(const struct kf_work *work, const struct kf_volume *volume, double low,
                                        double high, struct kf_bits *bits)
{
    const struct kf_kernel_table *table = kf_kernels();
    const int64_t *dim = volume->grid.dim;
    if (memcmp(dim, bits->dim, sizeof bits->dim) != 0 || volume->type == KF_VOXEL_UINT16 || low != low || high != high)
        return KF_KERNEL_INVALID;
    int low_i = inward(low, 1), high_i = inward(high, 0);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++) {
            int64_t at = (j + k * dim[1]) * dim[0];
            uint64_t *row = kf_bits_row(bits, j, k);
            if (volume->type == KF_VOXEL_INT16)
                table->bits_i16((const int16_t *)volume->data + at, dim[0], low_i, high_i, row);
            else if (volume->type == KF_VOXEL_FLOAT32)
                table->bits_f32((const float *)volume->data + at, dim[0], (float)low, (float)high, row);
            else
                table->bits_u8((const uint8_t *)volume->data + at, dim[0], (uint8_t)low_i, row);
        }
    return kf_work_step(work, 1) ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}

void kf_bits_paint(const struct kf_work *work, const struct kf_bits *bits, uint8_t value, uint8_t *labels)
{
    const struct kf_kernel_table *table = kf_kernels();
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0; j < bits->dim[1]; j++)
            table->paint_u8(kf_bits_row(bits, j, k), bits->dim[0], value, labels + (j + k * bits->dim[1]) * bits->dim[0]);
}

int64_t kf_bits_count(const struct kf_work *work, const struct kf_bits *bits)
{
    int64_t total = 0, words = bits->words * bits->dim[1] * bits->dim[2];
#pragma omp parallel for num_threads(work->threads) schedule(static) reduction(+ : total)
    for (int64_t w = 0; w < words; w++)
        total += kf_ones(bits->word[w]);
    return total;
}

void kf_bits_combine(const struct kf_work *work, struct kf_bits *a, enum kf_bits_operator op, const struct kf_bits *b)
{
    int64_t words = a->words * a->dim[1] * a->dim[2];
    uint64_t *to = a->word;
    const uint64_t *from = b->word;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t w = 0; w < words; w++) {
        switch (op) {
        case KF_BITS_AND:
            to[w] &= from[w];
            break;
        case KF_BITS_OR:
            to[w] |= from[w];
            break;
        case KF_BITS_AND_NOT:
            to[w] &= ~from[w];
            break;
        case KF_BITS_COPY:
            to[w] = from[w];
            break;
        }
    }
}

void kf_bits_invert(const struct kf_work *work, struct kf_bits *bits)
{
    int64_t rows = bits->dim[1] * bits->dim[2], rest = bits->dim[0] % 64;
    uint64_t last = rest ? ((uint64_t)1 << rest) - 1 : ~(uint64_t)0;
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        uint64_t *row = bits->word + r * bits->words;
        for (int64_t w = 0; w < bits->words; w++)
            row[w] = ~row[w];
        row[bits->words - 1] &= last;
    }
}

int kf_bits_box(const struct kf_bits *bits, int64_t box[2][3])
{
    memset(box, 0, 6 * sizeof box[0][0]);
    int any = 0;
    for (int64_t k = 0; k < bits->dim[2]; k++)
        for (int64_t j = 0; j < bits->dim[1]; j++) {
            const uint64_t *row = kf_bits_row(bits, j, k);
            int64_t first = -1, last = -1;
            for (int64_t w = 0; w < bits->words; w++)
                if (row[w]) {
                    if (first < 0)
                        first = 64 * w + __builtin_ctzll(row[w]);
                    last = 64 * w + 63 - __builtin_clzll(row[w]);
                }
            if (first < 0)
                continue;
            const int64_t low[3] = {first, j, k}, high[3] = {last + 1, j + 1, k + 1};
            for (int a = 0; a < 3; a++) {
                if (!any || low[a] < box[0][a])
                    box[0][a] = low[a];
                if (!any || high[a] > box[1][a])
                    box[1][a] = high[a];
            }
            any = 1;
        }
    return any;
}

static void enlarge_row(const uint64_t *from, int64_t factor, int64_t n, uint64_t *to)
{
    for (int64_t start = 0; start < n; start += 64) {
        uint64_t word = 0;
        int64_t end = n - start < 64 ? n - start : 64;
        for (int64_t bit = 0; bit < end;) {
            // All voxels of one coarse voxel at once.
            int64_t i = (start + bit) / factor, next = (i + 1) * factor - start;
            int64_t last = next < end ? next : end;
            uint64_t ones_to_last = last >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << last) - 1;
            if (from[i / 64] >> (i % 64) & 1)
                word |= ones_to_last & ~(((uint64_t)1 << bit) - 1);
            bit = last;
        }
        to[start / 64] = word;
    }
}

enum kf_kernel_status kf_bits_enlarge(const struct kf_work *work, const struct kf_bits *coarse,
                                      const int64_t factor[3], struct kf_bits *fine)
{
    for (int a = 0; a < 3; a++)
        if (factor[a] < 1 || coarse->dim[a] != (fine->dim[a] + factor[a] - 1) / factor[a])
            return KF_KERNEL_INVALID;
    struct kf_loop loop = kf_loop_make(work, fine->dim[2], 0, 1);
#pragma omp parallel for num_threads(work->threads) schedule(static)
    for (int64_t k = 0; k < fine->dim[2]; k++)
        for (int64_t j = 0, stop = kf_loop_stop(&loop); j < fine->dim[1] && !stop; j++)
            enlarge_row(kf_bits_row(coarse, j / factor[1], k / factor[2]), factor[0], fine->dim[0],
                        kf_bits_row(fine, j, k));
    return loop.stop ? KF_KERNEL_CANCELLED : KF_KERNEL_OK;
}
