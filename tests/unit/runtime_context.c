// Parameters are checked and completed from the kind's table, and a specification becomes a job.
#include "server/base/test.h"
#include "workers/runtime/context.h"

#include <unistd.h>

static const struct kf_job_param params[] = {
    {"threshold_hu", KF_PARAM_DOUBLE, -1024, 3071, 250, NULL, "HU", "The threshold."},
    {"rounds", KF_PARAM_INTEGER, 0, 100, 10, NULL, "1", "How often."},
    {"fill", KF_PARAM_BOOLEAN, 0, 0, 1, NULL, NULL, "Whether holes are filled."},
    {"mode", KF_PARAM_TEXT, 0, 0, 0, "auto", NULL, "The mode."},
    {0},
};

static const struct kf_job_kind kind = {.name = "test.kind", .version = 3, .params = params};

static enum kf_status set(struct kf_job_context *job, const char *text, struct kf_error *err)
{
    json_t *given;
    enum kf_status status = kf_json_parse(text, strlen(text), &given, err);
    if (status)
        return status;
    status = kf_job_params_set(job, given, err);
    json_decref(given);
    return status;
}

KF_TEST(defaults_fill_what_is_not_given)
{
    struct kf_job_context job;
    struct kf_error err;
    kf_job_context_init(&job, &kind);
    KF_CHECK_EQ(set(&job, "{\"threshold_hu\":300}", &err), KF_OK);
    KF_CHECK(kf_job_double(&job, "threshold_hu") == 300.0);
    KF_CHECK_EQ(kf_job_integer(&job, "rounds"), 10);
    KF_CHECK_EQ(kf_job_boolean(&job, "fill"), 1);
    KF_CHECK_STR(kf_job_text(&job, "mode"), "auto");
    kf_job_context_release(&job);
}

KF_TEST(a_bad_parameter_is_named)
{
    static const char *const bad[] = {"{\"threshold_hu\":9999}", "{\"threshold_hu\":\"high\"}", "{\"rounds\":1.5}",
                                      "{\"fill\":1}", "{\"unheard_of\":1}", "[]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kf_job_context job;
        struct kf_error err = {0};
        kf_job_context_init(&job, &kind);
        KF_CHECK_EQ(set(&job, bad[i], &err), KF_INVALID);
        KF_CHECK_STR(err.code, "bad_parameter");
        kf_job_context_release(&job);
    }
}

KF_TEST(parameters_are_read_from_the_command_line)
{
    json_t *value;
    struct kf_error err;
    KF_CHECK_EQ(kf_job_param_parse(&params[0], "12.5", &value, &err), KF_OK);
    KF_CHECK(json_real_value(value) == 12.5);
    json_decref(value);
    KF_CHECK_EQ(kf_job_param_parse(&params[1], "12x", &value, &err), KF_INVALID);
    KF_CHECK_EQ(kf_job_param_parse(&params[0], "nan", &value, &err), KF_INVALID);
    KF_CHECK_EQ(kf_job_param_parse(&params[0], "", &value, &err), KF_INVALID);
    KF_CHECK_EQ(kf_job_param_parse(&params[2], "maybe", &value, &err), KF_INVALID);
}

static void write_spec(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

KF_TEST(a_specification_becomes_a_job)
{
    char path[] = "/tmp/kerf-spec.XXXXXX";
    close(mkstemp(path));
    write_spec(path, "{\"kind\":\"test.kind\",\"version\":3,\"params\":{\"rounds\":4},\"out\":\"/tmp\",\"threads\":2,"
                     "\"inputs\":[{\"name\":\"volume\",\"path\":\"/a\",\"offset\":7,\"length\":9,\"sha256\":\"00\","
                     "\"meta\":{\"modality\":\"CT\"}}]}");
    struct kf_job_context job;
    struct kf_error err;
    kf_job_context_init(&job, &kind);
    KF_REQUIRE(kf_job_spec_load(&job, path, &err) == KF_OK);
    const struct kf_job_input *input = kf_job_input_named(&job, "volume");
    KF_REQUIRE(input);
    KF_CHECK_EQ(input->offset, 7);
    KF_CHECK_EQ(input->length, 9);
    KF_CHECK_STR(kf_json_text(input->meta, "modality", ""), "CT");
    KF_CHECK_EQ(kf_job_integer(&job, "rounds"), 4);
    KF_CHECK(!kf_job_input_named(&job, "labels"));
    kf_job_context_release(&job);
    write_spec(path, "{\"kind\":\"test.kind\",\"version\":2,\"out\":\"/tmp\",\"inputs\":[]}");
    kf_job_context_init(&job, &kind);
    KF_CHECK_EQ(kf_job_spec_load(&job, path, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "wrong_version");
    kf_job_context_release(&job);
    unlink(path);
}

KF_TEST_MAIN(KF_RUN(defaults_fill_what_is_not_given); KF_RUN(a_bad_parameter_is_named);
             KF_RUN(parameters_are_read_from_the_command_line); KF_RUN(a_specification_becomes_a_job);)
