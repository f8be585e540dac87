// The two row kernels of the distance, compiled once per instruction set (distance.c says how they fit together).
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

#include <string.h>

// Steps to the nearest voxel of the other kind on either side of a run; squared, with the sign, to out.
static void distance_run(int64_t start, int64_t end, int64_t n, float step, float limit, float sign, float *out)
{
    int64_t length = end - start;
    if (start == 0 && end == n) {
        for (int64_t i = 0; i < n; i++)
            out[i] = sign * limit;
        return;
    }
    for (int64_t i = 0; i < length; i++) {
        int32_t left = (int32_t)i + 1, right = (int32_t)(length - i);
        int32_t steps = start == 0 ? right : end == n ? left : left < right ? left : right;
        float d = (float)steps * step, square = d * d;
        out[start + i] = sign * (square < limit ? square : limit);
    }
}

// First bit at or after `from` that is `set`; n when there is none.
static int64_t next_bit(const uint64_t *bits, int64_t from, int64_t n, int set)
{
    uint64_t flip = set ? 0 : ~(uint64_t)0;
    for (int64_t w = from / 64; 64 * w < n; w++) {
        uint64_t word = bits[w] ^ flip;
        if (w == from / 64)
            word &= ~(uint64_t)0 << (from % 64);
        if (word) {
            int64_t at = 64 * w + __builtin_ctzll(word);
            return at < n ? at : n;
        }
    }
    return n;
}

static void distance_row(const uint64_t *bits, int64_t n, float step, float limit, float *out)
{
    int set = (int)(bits[0] & 1);
    for (int64_t start = 0; start < n; set = !set) {
        int64_t end = next_bit(bits, start, n, !set);
        distance_run(start, end, n, step, limit, set ? -1.0f : 1.0f, out);
        start = end;
    }
}

struct distance_tile {
    const float *line;  // n rows of KF_DISTANCE_TILE, from the first lane of this group
    const float *least; // per block of rows
    const float *most;
    const float *square;
    int64_t n, blocks;
};

// Scans all rows of a block.
static inline kf_lanes distance_scan(const struct distance_tile *t, int64_t block, int64_t j, kf_lanes_int sign,
                                     kf_lanes best)
{
    int64_t first = block * KF_DISTANCE_BLOCK;
    int64_t end = first + KF_DISTANCE_BLOCK < t->n ? first + KF_DISTANCE_BLOCK : t->n;
    kf_lanes zero = {0};
    for (int64_t r = first; r < end; r++) {
        kf_lanes_int bits = (kf_lanes_int)lanes_at(t->line + r * KF_DISTANCE_TILE) ^ sign;
        kf_lanes square = lanes_max((kf_lanes)bits, zero) + t->square[r < j ? j - r : r - j];
        best = lanes_min(square, best);
    }
    return best;
}

// The same for a block that may hold nothing better; `near` is the distance to its nearest row.
static inline kf_lanes distance_try(const struct distance_tile *t, int64_t block, int64_t j, int64_t near,
                                    kf_lanes_int sign, kf_lanes best)
{
    kf_lanes_int inside = sign >> 31;
    kf_lanes_int least = (kf_lanes_int)lanes_at(t->least + block * KF_DISTANCE_TILE);
    kf_lanes_int most = (kf_lanes_int)lanes_at(t->most + block * KF_DISTANCE_TILE);
    kf_lanes_int nearest = ((inside & most) | (~inside & least)) ^ sign;
    kf_lanes zero = {0}, bound = lanes_max((kf_lanes)nearest, zero) + t->square[near];
    return lanes_any_less(bound, best) ? distance_scan(t, block, j, sign, best) : best;
}

static inline kf_lanes distance_best(const struct distance_tile *t, int64_t j)
{
    kf_lanes_int value = (kf_lanes_int)lanes_at(t->line + j * KF_DISTANCE_TILE), sign = value & LANES_SIGN;
    int64_t own = j / KF_DISTANCE_BLOCK;
    kf_lanes best = distance_scan(t, own, j, sign, (kf_lanes)(value ^ sign));
    // Outward by blocks, on each side for as long as a row of the next block can be near enough for some lane.
    int64_t before = own - 1, after = own + 1;
    while (before >= 0 || after < t->blocks) {
        if (before >= 0) {
            int64_t near = j - (before * KF_DISTANCE_BLOCK + KF_DISTANCE_BLOCK - 1);
            if (!lanes_any_less(lanes_all(t->square[near]), best))
                before = -1;
            else
                best = distance_try(t, before--, j, near, sign, best);
        }
        if (after < t->blocks) {
            int64_t near = after * KF_DISTANCE_BLOCK - j;
            if (!lanes_any_less(lanes_all(t->square[near]), best))
                after = t->blocks;
            else
                best = distance_try(t, after++, j, near, sign, best);
        }
    }
    return (kf_lanes)((kf_lanes_int)best | sign);
}

static void distance_blocks(const float *line, int64_t n, float *least, float *most)
{
    for (int64_t first = 0, b = 0; first < n; first += KF_DISTANCE_BLOCK, b++) {
        int64_t end = first + KF_DISTANCE_BLOCK < n ? first + KF_DISTANCE_BLOCK : n;
        for (int i = 0; i < KF_DISTANCE_TILE; i += KF_LANES) {
            kf_lanes low = lanes_at(line + first * KF_DISTANCE_TILE + i), high = low;
            for (int64_t r = first + 1; r < end; r++) {
                kf_lanes v = lanes_at(line + r * KF_DISTANCE_TILE + i);
                low = lanes_min(v, low);
                high = lanes_max(v, high);
            }
            lanes_put(least + b * KF_DISTANCE_TILE + i, low);
            lanes_put(most + b * KF_DISTANCE_TILE + i, high);
        }
    }
}

// Whether every line of the group holds one value: then nothing on it is nearer than what each voxel knows.
static inline int distance_even(const struct distance_tile *t)
{
    kf_lanes low = lanes_at(t->least), high = lanes_at(t->most);
    for (int64_t b = 1; b < t->blocks; b++) {
        low = lanes_min(lanes_at(t->least + b * KF_DISTANCE_TILE), low);
        high = lanes_max(lanes_at(t->most + b * KF_DISTANCE_TILE), high);
    }
    return !lanes_any_less(low, high);
}

static void distance_lines(float *at, int64_t stride, int64_t width, int64_t n, const float *square, int root,
                           float most, float *scratch)
{
    int64_t blocks = (n + KF_DISTANCE_BLOCK - 1) / KF_DISTANCE_BLOCK;
    float *low = scratch + n * KF_DISTANCE_TILE, *high = low + blocks * KF_DISTANCE_TILE;
    for (int64_t j = 0; j < n; j++) {
        memcpy(scratch + j * KF_DISTANCE_TILE, at + j * stride, (size_t)width * sizeof *at);
        if (width < KF_DISTANCE_TILE)
            memset(scratch + j * KF_DISTANCE_TILE + width, 0, (size_t)(KF_DISTANCE_TILE - width) * sizeof *at);
    }
    distance_blocks(scratch, n, low, high);
    for (int64_t i = 0; i < width; i += KF_LANES) {
        struct distance_tile t = {
            .line = scratch + i, .least = low + i, .most = high + i, .square = square, .n = n, .blocks = blocks};
        int even = distance_even(&t);
        if (even && !root)
            continue;
        for (int64_t j = 0; j < n; j++) {
            kf_lanes best = even ? lanes_at(t.line + j * KF_DISTANCE_TILE) : distance_best(&t, j);
            if (root) {
                kf_lanes_int sign = (kf_lanes_int)best & LANES_SIGN;
                kf_lanes length = lanes_sqrt((kf_lanes)((kf_lanes_int)best ^ sign));
                best = (kf_lanes)((kf_lanes_int)lanes_min(length, lanes_all(most)) | sign);
            }
            if (i + KF_LANES <= width) {
                lanes_put(at + j * stride + i, best);
            } else {
                float tail[KF_LANES];
                lanes_put(tail, best);
                memcpy(at + j * stride + i, tail, (size_t)(width - i) * sizeof *at);
            }
        }
    }
}
