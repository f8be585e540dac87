// The points of a registration: lines x,y,z in, lines x,y,z out, in either direction.
#include "workers/jobs/register_job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POINTS_MOST 1000000
#define LEFT_MOST   0.01 // mm that a way back may miss before it is said

struct carrier {
    const struct kf_register_job *job;
    int back;    // moving → fixed
    double left; // most that p + d(p) misses, mm
};

// x,y,z of one line; 0 when it is not that. Blanks around numbers are fine, more columns are not looked at.
static int parse_point(const char *line, double p[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        p[i] = strtod(line, &end);
        if (end == line || !(fabs(p[i]) < 1e6))
            return 0;
        while (*end == ' ' || *end == '\t')
            end++;
        if (i < 2 && *end++ != ',')
            return 0;
        line = end;
    }
    return *line == 0 || *line == '\n' || *line == '\r' || *line == ',';
}

static void carry(struct carrier *c, const double p[3], double q[3])
{
    const struct kf_register_job *j = c->job;
    if (!c->back) {
        kf_field_apply(&j->transform, &j->field, p, q);
        return;
    }
    kf_affine_apply(&j->inverse, p, q);
    if (!j->field.xyz)
        return;
    double left = kf_field_invert_at(&j->field, q, q);
    c->left = left > c->left ? left : c->left;
}

// Lines of points, and how far they were read. The input may be a part of a file: not a byte behind it is read.
struct reader {
    FILE *in;
    int64_t offset, length, read, line; // length -1: to the end
};

enum found { FOUND_END, FOUND_POINT, FOUND_HEADING };

static enum kf_status open_points(const struct kf_job_input *input, struct reader *r, struct kf_error *err)
{
    *r = (struct reader){.in = fopen(input->path, "rb"), .offset = input->offset, .length = input->length};
    if (!r->in)
        return kf_error_errno(err, errno, "opening the points");
    if (fseeko(r->in, (off_t)input->offset, SEEK_SET) == 0)
        return KF_OK;
    enum kf_status status = kf_error_errno(err, errno, "reading the points");
    fclose(r->in);
    r->in = NULL;
    return status;
}

static enum kf_status next_point(struct reader *r, double p[3], enum found *found, struct kf_error *err)
{
    char text[512];
    while (r->length < 0 || r->read < r->length) {
        int64_t left = r->length < 0 ? (int64_t)sizeof text : r->length - r->read + 1;
        if (!fgets(text, left < (int64_t)sizeof text ? (int)left : (int)sizeof text, r->in))
            break;
        const int64_t before = r->read;
        r->read = (int64_t)ftello(r->in) - r->offset; // a line with a NUL is longer than its text
        if (++r->line > POINTS_MOST)
            return kf_error_set(err, KF_TOO_LARGE, "points_csv", "there are more than %d points", POINTS_MOST);
        const int whole = r->read - before == (int64_t)strlen(text);
        if (whole && text[strspn(text, " \t\r\n")] == 0)
            continue;
        *found = parse_point(text, p) ? FOUND_POINT : FOUND_HEADING;
        if (!whole || (*found == FOUND_HEADING && (r->line > 1 || !strpbrk(text, "xX"))))
            return kf_error_set(err, KF_INVALID, "points_csv", "line %lld of the points is not x,y,z in mm",
                                (long long)r->line);
        return KF_OK;
    }
    *found = FOUND_END;
    return ferror(r->in) ? kf_error_errno(err, EIO, "reading the points") : KF_OK;
}

static enum kf_status carry_lines(struct reader *r, FILE *out, struct carrier *c, struct kf_error *err)
{
    for (;;) {
        double p[3], q[3];
        enum found found;
        enum kf_status status = next_point(r, p, &found, err);
        if (status || found == FOUND_END)
            return status;
        if (found == FOUND_HEADING) {
            fputs("x,y,z\n", out);
            continue;
        }
        carry(c, p, q);
        fprintf(out, "%.6f,%.6f,%.6f\n", q[0], q[1], q[2]);
    }
}

enum kf_status kf_register_points_read(const struct kf_job_input *input, double **points, int64_t *count,
                                       struct kf_error *err)
{
    struct reader r;
    int64_t room = 0;
    enum found found = FOUND_HEADING;
    *points = NULL;
    *count = 0;
    enum kf_status status = open_points(input, &r, err);
    while (!status && found != FOUND_END) {
        if (*count == room) {
            room = 2 * room + 64;
            double *more = realloc(*points, (size_t)room * 3 * sizeof **points);
            if (!more) {
                status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the points");
                break;
            }
            *points = more;
        }
        status = next_point(&r, *points + 3 * *count, &found, err);
        *count += !status && found == FOUND_POINT;
    }
    if (r.in)
        fclose(r.in);
    if (status) {
        free(*points);
        *points = NULL;
        *count = 0;
    }
    return status;
}

static enum kf_status carry_file(struct kf_register_job *j, const struct kf_job_input *input, int back,
                                 struct kf_error *err)
{
    const char *name = back ? "points_back" : "points", *file = back ? "points_back.csv" : "points.csv";
    struct carrier c = {.job = j, .back = back};
    const char *path = kf_job_output_path(j->w.job, file);
    struct reader r;
    if (!path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the points");
    enum kf_status status = open_points(input, &r, err);
    if (status)
        return status;
    FILE *out = fopen(path, "wb");
    status = out ? carry_lines(&r, out, &c, err) : kf_error_errno(err, errno, "writing the points");
    fclose(r.in);
    if (out && fclose(out) && !status)
        status = kf_error_errno(err, errno, "writing the points");
    if (!status && c.left > LEFT_MOST)
        kf_job_warn(j->w.job, "points_back", "a point carried back misses its place by %.2f mm", c.left);
    if (!status)
        status = kf_job_output(j->w.job, name, "points", file, "text/csv",
                               json_pack("{s:s,s:s}", "frame", "LPS mm", "of", back ? "fixed" : "moving"));
    return status;
}

enum kf_status kf_register_carry(struct kf_register_job *j, struct kf_error *err)
{
    const struct kf_job_input *there = kf_job_input_named(j->w.job, "points");
    const struct kf_job_input *back = kf_job_input_named(j->w.job, "points_back");
    enum kf_status status = there ? carry_file(j, there, 0, err) : KF_OK;
    if (!status && back)
        status = carry_file(j, back, 1, err);
    return status;
}
