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

static enum kf_status carry_lines(FILE *in, int64_t length, FILE *out, struct carrier *c, struct kf_error *err)
{
    char line[512];
    int64_t number = 0, read = 0;
    // The input may be a part of a file: not a byte behind it is read.
    while (length < 0 || read < length) {
        int room = length < 0 || length - read >= (int64_t)sizeof line ? (int)sizeof line : (int)(length - read) + 1;
        if (!fgets(line, room, in))
            break;
        double p[3], q[3];
        read += (int64_t)strlen(line);
        number++;
        if (number > POINTS_MOST)
            return kf_error_set(err, KF_TOO_LARGE, "points_csv", "there are more than %d points", POINTS_MOST);
        if (line[strspn(line, " \t\r\n")] == 0)
            continue;
        if (!parse_point(line, p)) {
            if (number == 1 && strpbrk(line, "xX")) { // a heading
                fputs("x,y,z\n", out);
                continue;
            }
            return kf_error_set(err, KF_INVALID, "points_csv", "line %lld of the points is not x,y,z in mm",
                                (long long)number);
        }
        carry(c, p, q);
        fprintf(out, "%.6f,%.6f,%.6f\n", q[0], q[1], q[2]);
    }
    return ferror(in) ? kf_error_errno(err, EIO, "reading the points") : KF_OK;
}

static enum kf_status carry_file(struct kf_register_job *j, const struct kf_job_input *input, int back,
                                 struct kf_error *err)
{
    const char *name = back ? "points_back" : "points", *file = back ? "points_back.csv" : "points.csv";
    struct carrier c = {.job = j, .back = back};
    const char *path = kf_job_output_path(j->w.job, file);
    FILE *in = path ? fopen(input->path, "rb") : NULL;
    if (!path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the points");
    if (!in)
        return kf_error_errno(err, errno, "opening the points");
    FILE *out = fopen(path, "wb");
    enum kf_status status = out ? KF_OK : kf_error_errno(err, errno, "writing the points");
    if (!status && fseeko(in, (off_t)input->offset, SEEK_SET))
        status = kf_error_errno(err, errno, "reading the points");
    if (!status)
        status = carry_lines(in, input->length, out, &c, err);
    fclose(in);
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
