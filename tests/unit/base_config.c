#include "server/base/config.h"
#include "server/base/test.h"
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/kerf-config-XXXXXX";

static void write_file(const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "%s/kerf.conf", folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static enum kf_status load(const char *text, struct kf_error *err)
{
    write_file(text);
    return kf_config_load(folder, err);
}

KF_TEST(file_is_below_the_environment_and_above_the_default)
{
    struct kf_error err;
    unsetenv("KERF_HTTP_PORT");
    KF_REQUIRE(load("# a comment\n\n", &err) == KF_OK);
    KF_CHECK_EQ(kf_config_integer("KERF_HTTP_PORT"), 8080);
    KF_REQUIRE(load(" KERF_HTTP_PORT =  9000 \nKERF_SETTLE_S=0.5\nKERF_DICOM_TLS_CLIENT = no\n", &err) == KF_OK);
    KF_CHECK_EQ(kf_config_integer("KERF_HTTP_PORT"), 9000);
    KF_CHECK_NEAR(kf_config_number("KERF_SETTLE_S"), 0.5, 0);
    KF_CHECK_EQ(kf_config_flag("KERF_DICOM_TLS_CLIENT"), 0);
    setenv("KERF_HTTP_PORT", "9001", 1);
    KF_REQUIRE(load("KERF_HTTP_PORT=9000\n", &err) == KF_OK);
    KF_CHECK_EQ(kf_config_integer("KERF_HTTP_PORT"), 9001);
    unsetenv("KERF_HTTP_PORT");
    KF_CHECK_STR(kf_config_text("KERF_DATA"), folder);
}

KF_TEST(a_wrong_setting_is_named)
{
    static const struct {
        const char *text, *name;
    } wrong[] = {
        {"KERF_HTTP_PORT=70000\n", "KERF_HTTP_PORT"},      {"KERF_HTTP_PORT=80x\n", "KERF_HTTP_PORT"},
        {"KERF_HTTP_PORT=\n", "KERF_HTTP_PORT"},           {"KERF_SETTLE_S=nan\n", "KERF_SETTLE_S"},
        {"KERF_SESSION_S=1\n", "KERF_SESSION_S"},          {"KERF_NO_SUCH=1\n", "KERF_NO_SUCH"},
        {"KERF_DICOM_TLS_CLIENT=maybe\n", "KERF_DICOM_TLS_CLIENT"}, {"nonsense\n", "line 1"},
        {"KERF_WORKER_SLOTS=0\n", "KERF_WORKER_SLOTS"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct kf_error err = {0};
        KF_CHECK_EQ(load(wrong[i].text, &err), KF_INVALID);
        KF_CHECK_STR(err.code, "setting");
        KF_CHECK(strstr(err.detail, wrong[i].name) != NULL);
    }
}

KF_TEST(secrets_are_not_printed)
{
    struct kf_error err;
    char text[65536];
    KF_REQUIRE(load("KERF_DATABASE_URL=postgresql://u:hunter2@h/d\n", &err) == KF_OK);
    KF_CHECK_STR(kf_config_text("KERF_DATABASE_URL"), "postgresql://u:hunter2@h/d");
    FILE *file = tmpfile();
    KF_REQUIRE(file);
    kf_config_print(file, 0);
    rewind(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    KF_CHECK(strstr(text, "hunter2") == NULL);
    KF_CHECK(strstr(text, "KERF_DATABASE_URL=(set)") != NULL);
}

KF_TEST(the_command_line_wins_and_stays)
{
    struct kf_error err;
    KF_CHECK_EQ(kf_config_set("KERF_HTTP_PORT", "x", &err), KF_INVALID);
    KF_CHECK_EQ(kf_config_set("KERF_HTTP_PORT", "7000", &err), KF_OK);
    KF_REQUIRE(load("KERF_HTTP_PORT=9000\n", &err) == KF_OK);
    KF_CHECK_EQ(kf_config_integer("KERF_HTTP_PORT"), 7000);
}

KF_TEST(root_takes_nothing_that_another_could_write)
{
    struct kf_error err = {0};
    char path[64];
    snprintf(path, sizeof path, "%s/kerf.conf", folder);
    write_file("KERF_HTTP_PORT=9000\n");
    KF_REQUIRE(chmod(path, 0666) == 0);
    KF_CHECK_EQ(kf_config_load(folder, &err), geteuid() ? KF_OK : KF_CONFLICT);
    KF_REQUIRE(chmod(path, 0644) == 0);
    KF_CHECK_EQ(kf_config_load(folder, &err), KF_OK);
    if (geteuid() == 0) { // only root can give a file away
        KF_REQUIRE(chown(folder, 1, 0) == 0); // who owns the folder can put a link in the file's place
        KF_CHECK_EQ(kf_config_load(folder, &err), KF_CONFLICT);
        KF_REQUIRE(chown(folder, 0, 0) == 0 && chmod(folder, 01777) == 0);
        KF_CHECK_EQ(kf_config_load(folder, &err), KF_CONFLICT);
        KF_REQUIRE(chmod(folder, 0700) == 0);
        KF_CHECK_EQ(kf_config_load(folder, &err), KF_OK);
        KF_REQUIRE(chown(path, 1, 0) == 0);
        KF_CHECK_EQ(kf_config_load(folder, &err), KF_CONFLICT);
        KF_CHECK_STR(err.code, "setting");
    }
}

static void clean(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s/kerf.conf", folder);
    unlink(path);
    rmdir(folder);
}

KF_TEST_MAIN(if (!mkdtemp(folder)) return 1; KF_RUN(file_is_below_the_environment_and_above_the_default);
             KF_RUN(a_wrong_setting_is_named); KF_RUN(secrets_are_not_printed);
             KF_RUN(the_command_line_wins_and_stays); KF_RUN(root_takes_nothing_that_another_could_write); clean();)
