// What a job child leaves is read as a stranger's: no links, no paths, no half results.
#include "server/base/test.h"
#include "workers/manager/child.h"
#include "workers/manager/scratch.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/kerf-manager.XXXXXX";
static struct kf_scratch scratch;
static char job[4096];

static void put(const char *file, const char *text)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/out/%s", job, file);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void fresh(void)
{
    char path[4200];
    struct kf_error err;
    if (kf_scratch_job(&scratch, "job", job, sizeof job, &err))
        abort();
    snprintf(path, sizeof path, "%s/out", job);
    mkdir(path, 0700);
}

static enum kf_status open_one(const char *file, struct kf_child_output *output, struct kf_error *err)
{
    char text[256];
    snprintf(text, sizeof text,
             "{\"outputs\":[{\"name\":\"a\",\"kind\":\"mesh\",\"file\":\"%s\",\"media_type\":\"model/ply\"}],"
             "\"report\":{}}", file);
    put("result.json", text);
    json_t *result = NULL;
    enum kf_status status = kf_child_result(job, &result, err);
    if (!status)
        status = kf_child_output_open(job, result, 0, output, err);
    json_decref(result);
    return status;
}

KF_TEST(a_plain_output_is_opened)
{
    struct kf_child_output output;
    struct kf_error err;
    char bytes[8] = "";
    fresh();
    put("a.ply", "bytes");
    KF_REQUIRE(open_one("a.ply", &output, &err) == KF_OK);
    KF_CHECK_EQ(read(output.fd, bytes, sizeof bytes), 5);
    close(output.fd);
}

KF_TEST(links_folders_and_paths_are_refused)
{
    struct kf_child_output output;
    struct kf_error err;
    char path[4200];
    fresh();
    snprintf(path, sizeof path, "%s/out/link", job);
    KF_CHECK_EQ(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof path, "%s/out/folder", job);
    mkdir(path, 0700);
    static const char *const bad[] = {"link", "folder", "../spec.json", "..", "absent", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        KF_CHECK_EQ(open_one(bad[i], &output, &err), KF_INTERNAL);
        KF_CHECK_STR(err.code, "bad_result");
    }
}

KF_TEST(half_results_are_refused)
{
    static const char *const bad[] = {"", "{", "[]", "{\"outputs\":[]}", "{\"outputs\":{},\"report\":{}}"};
    json_t *result;
    struct kf_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fresh();
        put("result.json", bad[i]);
        KF_CHECK_EQ(kf_child_result(job, &result, &err), KF_INTERNAL);
    }
}

KF_TEST(a_failure_is_told_in_the_childs_words_or_ours)
{
    struct kf_error failure;
    json_t *report;
    fresh();
    put("error.json", "{\"code\":\"no_bone\",\"detail\":\"nothing\\nhere\",\"report\":{\"n\":1}}");
    kf_child_failure(job, 256, &failure, &report);
    KF_CHECK_STR(failure.code, "no_bone");
    KF_CHECK_STR(failure.detail, "nothing here");
    KF_CHECK_EQ(kf_json_integer(report, "n", 0), 1);
    json_decref(report);
    fresh();
    // What is no code would get into the log.
    put("error.json", "{\"code\":\"Doe^Jane\",\"detail\":\"d\",\"report\":{\"n\":1}}");
    kf_child_failure(job, 256, &failure, &report);
    KF_CHECK_STR(failure.code, "job_crashed");
    KF_CHECK(report == NULL);
    fresh();
    kf_child_failure(job, SIGKILL, &failure, &report);
    KF_CHECK_STR(failure.code, "job_crashed");
    KF_CHECK(strstr(failure.detail, "signal 9") != NULL);
    KF_CHECK(report == NULL);
}

KF_TEST(an_abandoned_scratch_folder_is_removed_and_a_live_one_is_not)
{
    struct kf_scratch second;
    struct kf_error err;
    char left[200];
    snprintf(left, sizeof left, "%s/00000000-0000-7000-8000-000000000000", root);
    mkdir(left, 0700);
    KF_REQUIRE(kf_scratch_open(&second, root, &err) == KF_OK);
    KF_CHECK(access(left, F_OK) != 0);
    KF_CHECK(access(scratch.folder, F_OK) == 0);
    kf_scratch_close(&second);
}

static void start(void)
{
    struct kf_error err;
    if (!mkdtemp(root) || kf_scratch_open(&scratch, root, &err))
        abort();
}

KF_TEST_MAIN(start(); KF_RUN(a_plain_output_is_opened); KF_RUN(links_folders_and_paths_are_refused);
             KF_RUN(half_results_are_refused); KF_RUN(a_failure_is_told_in_the_childs_words_or_ours);
             KF_RUN(an_abandoned_scratch_folder_is_removed_and_a_live_one_is_not); kf_scratch_close(&scratch);
             rmdir(root);)
