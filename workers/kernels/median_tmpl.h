// Median of 3×3×3 by sorting networks, compiled once per instruction set. A column of nine is sorted once and serves
// three medians: its triples along k come sorted (three exchanges, shared by three rows), 16 more exchanges of Floyd's
// network for nine (Knuth, The Art of Computer Programming 3, 5.3.4) sort it. Sorting equal ranks of the three columns
// leaves a matrix that rises along both axes, where 13 of the 27 can be the median; two merges find it.
#include "workers/kernels/filter.h"
#include "workers/kernels/lanes.h"

#include <string.h>

#if defined(__AVX512BW__)
#define WORDS 32
typedef __m512i words;
#define WORDS_AT(p)     _mm512_loadu_si512(p)
#define WORDS_PUT(p, v) _mm512_storeu_si512(p, v)
#define WORDS_MIN(a, b) _mm512_min_epi16(a, b)
#define WORDS_MAX(a, b) _mm512_max_epi16(a, b)
#elif defined(__AVX2__)
#define WORDS           16
typedef __m256i words;
#define WORDS_AT(p)     _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define WORDS_PUT(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define WORDS_MIN(a, b) _mm256_min_epi16(a, b)
#define WORDS_MAX(a, b) _mm256_max_epi16(a, b)
#else
#define WORDS           8
typedef int16_t words __attribute__((vector_size(16), aligned(2), may_alias));
#define WORDS_AT(p)     (*(const words *)(const void *)(p))
#define WORDS_PUT(p, v) (*(words *)(void *)(p) = (v))
static inline words WORDS_MIN(words a, words b)
{
    words less = a < b;
    return (less & a) | (~less & b);
}

static inline words WORDS_MAX(words a, words b)
{
    words more = a > b;
    return (more & a) | (~more & b);
}
#endif

#define EXCHANGE(a, b)                                                                                                 \
    do {                                                                                                               \
        words less_ = WORDS_MIN(a, b);                                                                                 \
        (b) = WORDS_MAX(a, b);                                                                                         \
        (a) = less_;                                                                                                   \
    } while (0)

static inline void sort3_words(const int16_t *a, const int16_t *b, const int16_t *c, int16_t *low, int16_t *middle,
                               int16_t *high)
{
    words x = WORDS_AT(a), y = WORDS_AT(b), z = WORDS_AT(c);
    EXCHANGE(x, y);
    EXCHANGE(y, z);
    EXCHANGE(x, y);
    WORDS_PUT(low, x);
    WORDS_PUT(middle, y);
    WORDS_PUT(high, z);
}

static void sort3_i16(const int16_t *a, const int16_t *b, const int16_t *c, int64_t n, int16_t *low, int16_t *middle,
                      int16_t *high)
{
    int64_t i = 0;
    for (; i + WORDS <= n; i += WORDS)
        sort3_words(a + i, b + i, c + i, low + i, middle + i, high + i);
    if (i < n) {
        int16_t tail[3][WORDS] = {{0}};
        size_t rest = (size_t)(n - i) * sizeof *a;
        memcpy(tail[0], a + i, rest);
        memcpy(tail[1], b + i, rest);
        memcpy(tail[2], c + i, rest);
        sort3_words(tail[0], tail[1], tail[2], low + i, middle + i, high + i);
    }
}

// v[0…2], v[3…5] and v[6…8] are sorted; v[0…8] will be.
static inline void sort9_words(words *v)
{
    EXCHANGE(v[2], v[5]);
    EXCHANGE(v[0], v[3]);
    EXCHANGE(v[1], v[4]);
    EXCHANGE(v[5], v[8]);
    EXCHANGE(v[3], v[6]);
    EXCHANGE(v[4], v[7]);
    EXCHANGE(v[2], v[5]);
    EXCHANGE(v[0], v[3]);
    EXCHANGE(v[1], v[4]);
    EXCHANGE(v[5], v[7]);
    EXCHANGE(v[2], v[6]);
    EXCHANGE(v[1], v[3]);
    EXCHANGE(v[4], v[6]);
    EXCHANGE(v[2], v[4]);
    EXCHANGE(v[5], v[6]);
    EXCHANGE(v[2], v[3]);
}

// rank: rank 0 of the column before the first of this vector; rank r is r·stride further.
static inline words median_words(const int16_t *rank, int64_t stride)
{
    words least[4], middle[5], most[4];
#pragma GCC unroll 9
    for (int r = 0; r < 9; r++) {
        const int16_t *at = rank + r * stride;
        words a = WORDS_AT(at), b = WORDS_AT(at + 1), c = WORDS_AT(at + 2);
        words low = WORDS_MIN(a, b), high = WORDS_MAX(a, b);
        if (r < 4)
            most[r] = WORDS_MAX(high, c);
        if (r > 4)
            least[r - 5] = WORDS_MIN(low, c);
        if (r >= 2 && r <= 6)
            middle[r - 2] = WORDS_MAX(low, WORDS_MIN(high, c));
    }
    // Batcher's merge of two fours.
    EXCHANGE(least[0], most[0]);
    EXCHANGE(least[1], most[1]);
    EXCHANGE(least[2], most[2]);
    EXCHANGE(least[3], most[3]);
    EXCHANGE(least[2], most[0]);
    EXCHANGE(least[3], most[1]);
    EXCHANGE(least[1], least[2]);
    EXCHANGE(least[3], most[0]);
    EXCHANGE(most[1], most[2]);
    // The seventh of eight and five: the minimum over i + j = 7 of the greater of the i-th and the j-th.
    words m = WORDS_MIN(most[2], WORDS_MAX(most[1], middle[0]));
    m = WORDS_MIN(m, WORDS_MAX(most[0], middle[1]));
    m = WORDS_MIN(m, WORDS_MAX(least[3], middle[2]));
    m = WORDS_MIN(m, WORDS_MAX(least[2], middle[3]));
    return WORDS_MIN(m, WORDS_MAX(least[1], middle[4]));
}

static void median_i16(const int16_t *const *sorted, int64_t n, int16_t *ranks, int16_t *out)
{
    int64_t stride = KF_MEDIAN_STRIDE(n);
    int16_t *first = ranks + KF_MEDIAN_PAD / 2;
    for (int64_t i = 0; i < n; i += WORDS) {
        words v[9];
#pragma GCC unroll 9
        for (int t = 0; t < 9; t++)
            v[t] = WORDS_AT(sorted[t] + i);
        sort9_words(v);
#pragma GCC unroll 9
        for (int t = 0; t < 9; t++)
            WORDS_PUT(first + t * stride + i, v[t]);
    }
    for (int t = 0; t < 9; t++) {
        first[t * stride - 1] = first[t * stride];
        first[t * stride + n] = first[t * stride + n - 1];
    }
    int64_t i = 0;
    for (; i + WORDS <= n; i += WORDS)
        WORDS_PUT(out + i, median_words(first + i - 1, stride));
    if (i < n) {
        int16_t tail[WORDS];
        WORDS_PUT(tail, median_words(first + i - 1, stride));
        memcpy(out + i, tail, (size_t)(n - i) * sizeof *out);
    }
}

static void range_i16(const int16_t *row, int64_t n, int16_t *low, int16_t *high)
{
    int16_t least = *low, most = *high;
    for (int64_t i = 0; i < n; i++) {
        least = row[i] < least ? row[i] : least;
        most = row[i] > most ? row[i] : most;
    }
    *low = least;
    *high = most;
}
