// Which labels there are, what they are called and where they lie.
#include "server/base/str.h"
#include "workers/io/memory.h"
#include "workers/jobs/mesh_job.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define PALETTE_LENGTH 8

static const char *const palette[PALETTE_LENGTH] = {"#e8dcc0", "#4e9fd4", "#e08a3c", "#5bb37f",
                                                    "#c979b8", "#d9c04a", "#8fa3b8", "#b5655b"};

static void set_colour(struct kf_mesh_segment *s, const char *colour)
{
    unsigned r, g, b;
    if (strlen(colour) != 7 || sscanf(colour, "#%2x%2x%2x", &r, &g, &b) != 3) {
        colour = palette[s->label % PALETTE_LENGTH];
        sscanf(colour, "#%2x%2x%2x", &r, &g, &b);
    }
    snprintf(s->colour, sizeof s->colour, "%s", colour);
    s->rgb[0] = r / 255.0;
    s->rgb[1] = g / 255.0;
    s->rgb[2] = b / 255.0;
}

// A file name from a segment's name: lower case letters, digits and dashes.
static void set_file(struct kf_mesh_segment *s, const struct kf_mesh_segment *before, int count)
{
    size_t n = 0;
    for (const char *c = s->name; *c && n < 48; c++) {
        if (isalnum((unsigned char)*c))
            s->file[n++] = (char)tolower((unsigned char)*c);
        else if (n && s->file[n - 1] != '-')
            s->file[n++] = '-';
    }
    while (n && s->file[n - 1] == '-')
        n--;
    s->file[n] = 0;
    if (!n)
        snprintf(s->file, sizeof s->file, "segment");
    for (int i = 0; i < count; i++)
        if (strcmp(before[i].file, s->file) == 0) {
            n = strlen(s->file);
            snprintf(s->file + n, sizeof s->file - n, "-%d", s->label);
            break;
        }
}

static void describe(struct kf_mesh_segment *s, int label, const json_t *table, const struct kf_mesh_segment *before,
                     int count)
{
    *s = (struct kf_mesh_segment){.label = label};
    const json_t *row = NULL;
    for (size_t i = 0; i < json_array_size(table) && !row; i++)
        if (kf_json_integer(json_array_get(table, i), "label", -1) == label)
            row = json_array_get(table, i);
    char fallback[32];
    snprintf(fallback, sizeof fallback, "Label %d", label);
    kf_str_copy(s->name, sizeof s->name, kf_json_text(row, "name", fallback));
    set_colour(s, kf_json_text(row, "colour", ""));
    set_file(s, before, count);
}

// Where each label lies.
struct extent {
    char present;
    int64_t box[2][3];
};

static void widen(struct extent *e, int64_t i, int64_t j, int64_t k)
{
    const int64_t at[3] = {i, j, k};
    for (int a = 0; a < 3; a++) {
        if (!e->present || at[a] < e->box[0][a])
            e->box[0][a] = at[a];
        if (!e->present || at[a] + 1 > e->box[1][a])
            e->box[1][a] = at[a] + 1;
    }
    e->present = 1;
}

static void find_row(const uint8_t *row, int64_t n, int64_t j, int64_t k, struct extent extents[256])
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t eight = 1;
        if (i + 8 <= n)
            memcpy(&eight, row + i, 8);
        if (!eight) {
            i += 7;
            continue;
        }
        uint8_t label = row[i];
        if (label && (i == 0 || row[i - 1] != label || i + 1 == n || row[i + 1] != label))
            widen(&extents[label], i, j, k); // the ends of a run say all about it
    }
}

static void find_labels(const struct kf_mesh_job *m, struct extent extents[256])
{
    const int64_t *dim = m->labels.grid.dim;
    memset(extents, 0, 256 * sizeof *extents);
    for (int64_t k = 0; k < dim[2]; k++)
        for (int64_t j = 0; j < dim[1]; j++)
            find_row((const uint8_t *)m->labels.data + (j + k * dim[1]) * dim[0], dim[0], j, k, extents);
}

enum kf_status kf_mesh_job_segments(struct kf_mesh_job *m, const json_t *table, struct kf_error *err)
{
    struct extent extents[256] = {{0}};
    if (m->labels.data)
        find_labels(m, extents);
    else
        extents[1].present = 1;
    int count = 0;
    for (int l = 1; l < 256; l++)
        count += extents[l].present;
    if (!count)
        return kf_error_set(err, KF_UNPROCESSABLE, "no_labels", "the label map is empty: there is nothing to mesh");
    m->segments = kf_memory_take(count * (int64_t)sizeof *m->segments);
    if (!m->segments)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the segments");
    for (int l = 1; l < 256; l++)
        if (extents[l].present) {
            describe(&m->segments[m->count], l, table, m->segments, m->count);
            memcpy(m->segments[m->count].box, extents[l].box, sizeof extents[l].box);
            m->count++;
        }
    if (!m->labels.data)
        snprintf(m->segments[0].name, sizeof m->segments[0].name, "Surface");
    if (!m->labels.data)
        set_file(&m->segments[0], NULL, 0);
    return KF_OK;
}
