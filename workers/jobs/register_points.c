// register.points: landmarks that a person set in two images → the rigid transform that fits them best, written as
// `register` writes it, which can start from it (--start).
#include "workers/jobs/register_job.h"
#include "workers/kernels/math.h"
#include "workers/runtime/cli.h"

#include <math.h>
#include <stdlib.h>

#define FAR_SAID 20 // pairs that are named one by one
#define FAR_MM   3.0 // a pair that misses by more than this was probably set at two different places

struct landmarks {
    double *at[2]; // fixed, moving; 3 per landmark
    int64_t count[2];
};

static enum kf_status read_landmarks(const struct kf_job_context *job, struct landmarks *l, struct kf_error *err)
{
    static const char *const names[2] = {"fixed", "moving"};
    for (int n = 0; n < 2; n++) {
        const struct kf_job_input *input = kf_job_input_named(job, names[n]);
        if (!input)
            return kf_error_set(err, KF_INVALID, "input_missing", "the job needs an input named %s", names[n]);
        enum kf_status status = kf_register_points_read(input, &l->at[n], &l->count[n], err);
        if (status)
            return status;
    }
    if (l->count[0] != l->count[1])
        return kf_error_set(err, KF_UNPROCESSABLE, "points_differ",
                            "there are %lld fixed points and %lld moving ones; they belong together line by line",
                            (long long)l->count[0], (long long)l->count[1]);
    return KF_OK;
}

// How far each pair misses, and warnings of those that miss by much.
static json_t *misses(struct kf_job_context *job, const struct landmarks *l, const struct kf_affine *t, double *worst)
{
    json_t *list = json_array();
    int64_t far = 0;
    *worst = 0;
    for (int64_t n = 0; n < l->count[0]; n++) {
        double q[3], square = 0;
        kf_affine_apply(t, l->at[0] + 3 * n, q);
        for (int a = 0; a < 3; a++)
            square += (q[a] - l->at[1][3 * n + a]) * (q[a] - l->at[1][3 * n + a]);
        double miss = sqrt(square);
        *worst = miss > *worst ? miss : *worst;
        json_array_append_new(list, json_real(miss));
        if (miss > FAR_MM && ++far <= FAR_SAID)
            kf_job_warn(job, "point_misses", "pair %lld misses by %.1f mm", (long long)n + 1, miss);
    }
    if (far > FAR_SAID)
        kf_job_warn(job, "point_misses", "%lld more pairs miss by over %g mm", (long long)(far - FAR_SAID), FAR_MM);
    return list;
}

static enum kf_status write_result(struct kf_job_context *job, const struct landmarks *l, const struct kf_affine *t,
                                   double rms_mm, struct kf_error *err)
{
    struct kf_affine inverse;
    double worst, turn[9];
    if (kf_affine_invert(t, &inverse))
        return kf_error_set(err, KF_UNPROCESSABLE, "not_registered", "the transform found has no inverse");
    for (int n = 0; n < 9; n++)
        turn[n] = t->m[4 * (n / 3) + n % 3];
    json_t *list = misses(job, l, t, &worst);
    json_t *quality = json_pack("{s:I,s:f,s:f,s:f,s:o}", "points", (json_int_t)l->count[0], "rms_mm", rms_mm, "most_mm",
                                worst, "rotation_deg", kf_rotation_angle_rad(turn) * 180 / KF_PI, "misses_mm", list);
    if (!quality)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the transform");
    kf_job_report(job, "quality", json_incref(quality));
    if (l->count[0] == 3)
        kf_job_warn(job, "few_points", "three pairs always fit well: a fourth would show a mistake");
    return kf_register_transform_write(
        job, kf_register_transform_json("rigid", "points", t, &inverse, quality), err);
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct landmarks l = {{NULL, NULL}, {0, 0}};
    struct kf_affine t;
    double rms_mm;
    enum kf_status status = read_landmarks(job, &l, err);
    if (!status && kf_register_points(l.at[0], l.at[1], NULL, l.count[0], &t, &rms_mm))
        status = kf_error_set(err, KF_UNPROCESSABLE, "not_registered",
                              "%lld pairs fix no motion: it takes three or more that do not lie on one line",
                              (long long)l.count[0]);
    if (!status)
        status = write_result(job, &l, &t, rms_mm, err);
    free(l.at[0]);
    free(l.at[1]);
    return status;
}

static const struct kf_cli_flag flags[] = {
    {"--fixed", KF_CLI_INPUT, "fixed", 1, "Lines x,y,z in LPS mm of the fixed frame."},
    {"--moving", KF_CLI_INPUT, "moving", 1, "The same places in the moving frame, line by line."},
    {0},
};

static const struct kf_cli_name names[] = {{"--out", NULL, 1}, {0}};

static const struct kf_job_cli cli = {
    .flags = flags,
    .names = names,
    .place = kf_register_transform_place,
    .examples = "  kerf-job register.points --fixed ct.csv --moving mr.csv --out t.json\n"
                "  kerf-job register --fixed ct.nii.gz --moving mr.nii.gz --start t.json --out refined.json\n",
};

static const struct kf_job_param params[] = {{0}};

const struct kf_job_kind kf_job_register_points = {
    .name = "register.points",
    .version = 1,
    .bitwise = 1,
    .profile = KF_SANDBOX_PLAIN,
    .memory_limit_bytes = 1LL << 30,
    .time_limit_s = 60,
    .summary = "Registers landmarks, pair by pair: the rigid transform between two frames, and how far each pair misses.",
    .params = params,
    .run = run,
    .cli = &cli,
};
