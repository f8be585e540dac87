// Parameters are checked and completed from the kind's table, and a specification becomes a job.
#include "server/base/test.h"
#include "server/base/timeid.h"
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
                                      "{\"fill\":1}", "{\"unheard_of\":1}", "{\"rounds\":101}", "[]"};
    static const char *const named[] = {"threshold_hu", "threshold_hu", "rounds", "fill", "unheard_of", "rounds", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct kf_job_context job;
        struct kf_error err = {0};
        kf_job_context_init(&job, &kind);
        KF_CHECK_EQ(set(&job, bad[i], &err), KF_INVALID);
        KF_CHECK_STR(err.code, "bad_parameter");
        KF_CHECK(strstr(err.detail, named[i]) != NULL);
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

// The lines a job sends, as "stage progress;" each.
static void told(int fd, char *out, size_t size)
{
    char bytes[2000], *rest = bytes, *line;
    ssize_t n = read(fd, bytes, sizeof bytes - 1);
    bytes[n > 0 ? n : 0] = 0;
    out[0] = 0;
    while ((line = strsep(&rest, "\n")) && *line) {
        json_t *json;
        if (kf_json_parse(line, strlen(line), &json, NULL))
            continue;
        size_t at = strlen(out);
        snprintf(out + at, size - at, "%s %.2f;", kf_json_text(json, "stage", "?"), kf_json_number(json, "progress", -1));
        json_decref(json);
    }
}

// Milliseconds that it took.
static int64_t report_in_a_hurry(struct kf_job_context *job)
{
    int64_t from = kf_time_monotonic_ns();
    kf_job_progress(job, 0, "reading");
    kf_job_progress(job, 0.1, "reading"); // too soon
    kf_job_progress(job, 0.2, "labels");
    kf_job_progress(job, 0.2, "surfaces"); // as far, but another stage
    for (int i = 0; i < 100; i++)
        kf_job_progress(job, 0.3 + 0.001 * i, "surfaces");
    kf_job_progress(job, 0.1, "writing"); // never backwards
    return (kf_time_monotonic_ns() - from) / 1000000;
}

KF_TEST(a_stage_that_begins_is_told_of_at_once_and_then_seldom)
{
    struct kf_job_context job;
    int ends[2];
    char lines[400];
    int64_t took_ms = 100;
    KF_REQUIRE(pipe(ends) == 0);
    // Once more where the machine was busy with other things for so long that a second look at a stage is due.
    for (int i = 0; i < 100 && took_ms >= 100; i++) {
        if (i)
            kf_job_context_release(&job);
        kf_job_context_init(&job, &kind);
        job.progress_fd = ends[1];
        took_ms = report_in_a_hurry(&job);
        told(ends[0], lines, sizeof lines);
    }
    KF_CHECK_STR(lines, "reading 0.00;labels 0.20;surfaces 0.20;writing 0.40;");
    usleep(110000);
    kf_job_progress(&job, 0.3, "writing"); // less than was told
    kf_job_progress(&job, 0.5, "writing");
    kf_job_progress(&job, 0.6, "a stage whose name is longer than anybody would want to read in a line of the case page");
    told(ends[0], lines, sizeof lines);
    KF_CHECK_STR(lines, "writing 0.50;a stage whose name is longer than anybody would want to read 0.60;");
    for (int i = 0; i < 3; i++) // 59 bytes, then a character of two: cut, it is the same stage still
        kf_job_progress(&job, 0.7, "a stage of which byte number sixty lies in the midst of an \xc3\xa9");
    told(ends[0], lines, sizeof lines);
    KF_CHECK_STR(lines, "a stage of which byte number sixty lies in the midst of an  0.70;");
    close(ends[0]);
    close(ends[1]);
    kf_job_context_release(&job);
}

KF_TEST_MAIN(KF_RUN(defaults_fill_what_is_not_given); KF_RUN(a_bad_parameter_is_named);
             KF_RUN(parameters_are_read_from_the_command_line); KF_RUN(a_specification_becomes_a_job);
             KF_RUN(a_stage_that_begins_is_told_of_at_once_and_then_seldom);)
