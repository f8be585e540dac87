#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/test.h"
#include <unistd.h>

// Runs `body` with standard error in a file and parses the one line it wrote.
#define CAPTURE(out, body)                                                                                             \
    do {                                                                                                               \
        FILE *file = tmpfile();                                                                                        \
        int saved = dup(STDERR_FILENO);                                                                                \
        dup2(fileno(file), STDERR_FILENO);                                                                             \
        body;                                                                                                          \
        dup2(saved, STDERR_FILENO);                                                                                    \
        close(saved);                                                                                                  \
        char text[4096];                                                                                               \
        rewind(file);                                                                                                  \
        size_t length = fread(text, 1, sizeof text, file);                                                             \
        fclose(file);                                                                                                  \
        struct kf_error parse;                                                                                         \
        out = NULL;                                                                                                    \
        if (length)                                                                                                    \
            KF_CHECK_EQ(kf_json_parse(text, length, &out, &parse), KF_OK);                                             \
    } while (0)

KF_TEST(fields_become_members)
{
    json_t *line;
    kf_log_init("test", KF_LOG_INFO);
    CAPTURE(line, kf_log(KF_LOG_WARN, "peer.closed", "peer=%s n=%d r=%.2f zero=%s "
                                                     "v=1.2.3", "A\"B\xff\n", 7, 1.5, "007"));
    KF_REQUIRE(line);
    KF_CHECK_STR(kf_json_text(line, "level", ""), "warn");
    KF_CHECK_STR(kf_json_text(line, "event", ""), "peer.closed");
    KF_CHECK_STR(kf_json_text(line, "peer", ""), "A\"B\xc3\xbf\n");
    KF_CHECK_EQ(kf_json_integer(line, "n", 0), 7);
    KF_CHECK_NEAR(kf_json_number(line, "r", 0), 1.5, 0);
    KF_CHECK_STR(kf_json_text(line, "zero", ""), "007");
    KF_CHECK_STR(kf_json_text(line, "v", ""), "1.2.3");
    json_decref(line);
}

KF_TEST(levels_and_errors)
{
    json_t *line;
    CAPTURE(line, kf_log(KF_LOG_DEBUG, "quiet", "a=1"));
    KF_CHECK(line == NULL);
    struct kf_error err;
    (void)kf_error_set(&err, KF_NOSPACE, NULL, "No room for %d bytes.", 9);
    CAPTURE(line, kf_log_error(KF_LOG_ERROR, "write.failed", &err));
    KF_CHECK_STR(kf_json_text(line, "status", ""), "no_space");
    KF_CHECK_STR(kf_json_text(line, "detail", ""), "No room for 9 bytes.");
    json_decref(line);
}

KF_TEST_MAIN(KF_RUN(fields_become_members); KF_RUN(levels_and_errors);)
