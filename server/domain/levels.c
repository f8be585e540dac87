#include "server/domain/levels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERTEBRAE_MOST 32 // 7 + 13 + 6 can be named; a table with more is none of ours

const char *kf_level_verdict_wire(enum kf_level_verdict verdict)
{
    static const char *const wire[] = {"once", "disputed", "confirmed"};
    return (unsigned)verdict < sizeof wire / sizeof *wire ? wire[verdict] : "none";
}

enum kf_level_verdict kf_levels_verdict(const char *const *levels, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(levels[i], levels[0]) != 0)
            return KF_LEVELS_DISPUTED;
    return count > 1 ? KF_LEVELS_CONFIRMED : KF_LEVELS_ONCE;
}

// The place of a level in its region and the region's letter; 0 when it is none.
static int read_level(const char *text, char *region)
{
    static const struct {
        char letter;
        int most; // a thirteenth thoracic and a sixth lumbar vertebra occur
    } regions[] = {{'C', 7}, {'T', 13}, {'L', 6}};
    char again[8];
    int number = text && text[0] ? atoi(text + 1) : 0;
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        snprintf(again, sizeof again, "%c%d", regions[i].letter, number);
        if (number >= 1 && number <= regions[i].most && strcmp(again, text) == 0) {
            *region = regions[i].letter;
            return number;
        }
    }
    return 0;
}

static int follows(const char *upper, const char *lower)
{
    char above = 0, below = 0;
    int from = read_level(upper, &above), to = read_level(lower, &below);
    if (above == below)
        return to == from + 1;
    if (to != 1)
        return 0;
    return above == 'C' ? below == 'T' && from == 7 : above == 'T' && below == 'L' && from >= 11;
}

static int by_number(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

// The labels of the vertebrae, from the top down (their numbers grow so); 0 when there are none, or too many.
static size_t vertebrae(const json_t *meta, int labels[VERTEBRAE_MOST])
{
    const json_t *segments = json_object_get(meta, "segments");
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(segments); i++) {
        const json_t *segment = json_array_get(segments, i);
        if (strncmp(kf_json_text(segment, "name", ""), "Vertebra ", 9) != 0)
            continue;
        if (count == VERTEBRAE_MOST)
            return 0;
        labels[count++] = (int)kf_json_integer(segment, "label", 0);
    }
    qsort(labels, count, sizeof *labels, by_number);
    return count;
}

enum kf_status kf_levels_check(const json_t *levels, const json_t *meta, struct kf_error *err)
{
    int labels[VERTEBRAE_MOST];
    size_t count = *kf_json_text(meta, "levels", "") ? vertebrae(meta, labels) : 0;
    const char *above = NULL;
    if (count == 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "no_levels", "This segmentation holds no vertebrae one by one.");
    if (json_object_size(levels) != count)
        return kf_error_set(err, KF_UNPROCESSABLE, "levels_incomplete", "%zu vertebrae need a level each.", count);
    for (size_t i = 0; i < count; i++) {
        char key[16], region;
        snprintf(key, sizeof key, "%d", labels[i]);
        const char *level = kf_json_text(levels, key, NULL);
        if (!level)
            return kf_error_set(err, KF_UNPROCESSABLE, "levels_incomplete", "Vertebra %s has no level.", key);
        if (!read_level(level, &region))
            return kf_error_set(err, KF_UNPROCESSABLE, "levels_order", "A level is C1 to C7, T1 to T13 or L1 to L6.");
        if (above && !follows(above, level))
            return kf_error_set(err, KF_UNPROCESSABLE, "levels_order", "%s is not the one below %s.", level, above);
        above = level;
    }
    return KF_OK;
}
