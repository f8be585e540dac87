#include "server/base/crypto/password.h"
#include "server/base/config.h"
#include "server/base/str.h"
#include "server/base/test.h"
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

KF_TEST(passwords_verify_and_never_look_alike)
{
    char a[KF_PASSWORD_ENCODED], b[KF_PASSWORD_ENCODED];
    struct kf_error err;
    KF_REQUIRE(kf_password_hash("correct horse", a, &err) == KF_OK);
    KF_REQUIRE(kf_password_hash("correct horse", b, &err) == KF_OK);
    KF_CHECK(strcmp(a, b) != 0); // salted
    KF_CHECK(strncmp(a, "$argon2id$v=19$m=19456,t=2,p=1$", 31) == 0);
    KF_CHECK_EQ(kf_password_verify("correct horse", a, &err), KF_OK);
    KF_CHECK_EQ(kf_password_verify("correct horsf", a, &err), KF_UNAUTHENTICATED);
    KF_CHECK_EQ(kf_password_verify("", a, &err), KF_UNAUTHENTICATED);
    KF_CHECK_EQ(kf_password_verify("correct horse", "$argon2id$nonsense", &err), KF_UNAUTHENTICATED);
    KF_CHECK_EQ(kf_password_verify("correct horse", "", &err), KF_UNAUTHENTICATED);
}

// Processor time, not the clock on the wall: the machine may be busy with other things.
static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

KF_TEST(an_unknown_login_costs_as_much_as_a_wrong_password)
{
    char encoded[KF_PASSWORD_ENCODED];
    struct kf_error err;
    KF_REQUIRE(kf_password_hash("x", encoded, &err) == KF_OK);
    double known = 1e9, unknown = 1e9;
    for (int i = 0; i < 5; i++) {
        double start = cpu_s();
        KF_CHECK_EQ(kf_password_verify("y", encoded, &err), KF_UNAUTHENTICATED);
        double middle = cpu_s();
        KF_CHECK_EQ(kf_password_verify("y", NULL, &err), KF_UNAUTHENTICATED);
        double end = cpu_s();
        known = middle - start < known ? middle - start : known;
        unknown = end - middle < unknown ? end - middle : unknown;
    }
    KF_CHECK(unknown > known / 3 && unknown < known * 3);
}

KF_TEST(overlong_passwords_are_refused)
{
    char encoded[KF_PASSWORD_ENCODED], password[KF_PASSWORD_MOST + 2];
    struct kf_error err;
    memset(password, 'a', sizeof password - 1);
    password[sizeof password - 1] = 0;
    KF_CHECK_EQ(kf_password_hash(password, encoded, &err), KF_INVALID);
    KF_REQUIRE(kf_password_hash("", encoded, &err) == KF_OK);
    KF_CHECK_EQ(kf_password_verify(password, encoded, &err), KF_UNAUTHENTICATED);
}

KF_TEST(tokens_and_one_time_passwords_are_random_and_well_formed)
{
    char token[KF_TOKEN_TEXT], other[KF_TOKEN_TEXT], password[32], second[32];
    unsigned char hash[KF_SHA256_BYTES], expected[KF_SHA256_BYTES];
    kf_token_new("kerf_", token, hash);
    kf_token_new("kerf_", other, expected);
    KF_CHECK(strcmp(token, other) != 0);
    KF_CHECK_EQ(strlen(token), 5 + 43);
    kf_sha256(token, strlen(token), expected);
    KF_CHECK(memcmp(hash, expected, sizeof hash) == 0);
    kf_password_generate(password);
    kf_password_generate(second);
    KF_CHECK_EQ(strlen(password), 23);
    KF_CHECK(strcmp(password, second) != 0);
    KF_CHECK(password[5] == '-' && password[11] == '-' && password[17] == '-');
}

KF_TEST(known_answers_of_base64url)
{
    char text[16];
    static const struct {
        const char *in, *out;
    } rows[] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"}, {"\xff\xfe", "__4"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kf_base64url(text, (const unsigned char *)rows[i].in, strlen(rows[i].in));
        KF_CHECK_STR(text, rows[i].out);
    }
}

// In a process of its own: parameters are read once.
KF_TEST(the_settings_say_how_much_work_a_hash_is)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char encoded[KF_PASSWORD_ENCODED];
        struct kf_error err;
        _exit(kf_config_set("KERF_ARGON2_PASSES", "3", &err) || kf_password_hash("correct horse", encoded, &err) ||
              strncmp(encoded, "$argon2id$v=19$m=19456,t=3,p=1$", 31) != 0);
    }
    int status;
    waitpid(pid, &status, 0);
    KF_CHECK_EQ(status, 0);
}

KF_TEST_MAIN(KF_RUN(the_settings_say_how_much_work_a_hash_is);
             KF_RUN(passwords_verify_and_never_look_alike); KF_RUN(an_unknown_login_costs_as_much_as_a_wrong_password);
             KF_RUN(overlong_passwords_are_refused); KF_RUN(tokens_and_one_time_passwords_are_random_and_well_formed);
             KF_RUN(known_answers_of_base64url);)
