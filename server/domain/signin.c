#include "server/domain/signin.h"

#include "server/domain/text.h"
#include <ctype.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

// What people type when made to reach twelve characters. Compared without case; digits at the end do not help.
static const char *const common[] = {
    "passwordpassword", "password",       "qwertyuiop",       "qwertyuiopas",
    "administrator",    "letmeinletmein", "iloveyou",         "correcthorsebatterystaple",
    "abcdefghijkl",     "changeme",       "changemechangeme", "welcomewelcome",
    "welcome",          "hospital",       "passwort",         "passwortpasswort",
    "qwertzuiop",
};

static int is_common(const char *password)
{
    size_t length = strlen(password);
    while (length > 0 && (isdigit((unsigned char)password[length - 1]) || strchr("!?.#$-_", password[length - 1])))
        length--;
    if (length == 0)
        return 1; // digits and marks only
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        if (strlen(common[i]) == length && strncasecmp(common[i], password, length) == 0)
            return 1;
    return 0;
}

// "aaaaaaaaaaaa", "abababababab", "abcabcabcabc": the start repeats.
static int is_monotonous(const char *password)
{
    size_t length = strlen(password);
    for (size_t period = 1; period <= 3; period++) {
        size_t i = period;
        while (i < length && password[i] == password[i - period])
            i++;
        if (i == length)
            return 1;
    }
    return 0;
}

enum kf_status kf_password_check(const char *password, const char *login, struct kf_error *err)
{
    size_t bytes = strlen(password);
    if (bytes > KF_PASSWORD_MAX_BYTES)
        return kf_error_set(err, KF_UNPROCESSABLE, "password_too_long", "The password is longer than %d bytes.",
                            KF_PASSWORD_MAX_BYTES);
    long characters = kf_text_characters(password, bytes);
    if (characters < 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "password_not_text", "The password is not valid UTF-8.");
    if (characters < KF_PASSWORD_MIN_CHARACTERS)
        return kf_error_set(err, KF_UNPROCESSABLE, "password_too_short", "The password needs at least %d characters.",
                            KF_PASSWORD_MIN_CHARACTERS);
    if (login && strcasecmp(login, password) == 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "password_is_login", "The password must differ from the login.");
    if (is_monotonous(password) || is_common(password))
        return kf_error_set(err, KF_UNPROCESSABLE, "password_too_common", "This password is easy to guess.");
    return KF_OK;
}

double kf_lockout_s(const struct kf_lockout_rule *rule, int failed_logins)
{
    if (failed_logins < rule->attempts)
        return 0;
    double lock_s = rule->base_s;
    for (int i = rule->attempts; i < failed_logins && lock_s < rule->most_s; i++)
        lock_s *= 2;
    return lock_s < rule->most_s ? lock_s : rule->most_s;
}

int kf_bucket_take(struct kf_bucket *bucket, int64_t now_ns, double capacity, double refill_per_s)
{
    if (bucket->updated_ns == 0)
        bucket->tokens = capacity;
    else if (now_ns > bucket->updated_ns)
        bucket->tokens += (double)(now_ns - bucket->updated_ns) * 1e-9 * refill_per_s;
    if (bucket->tokens > capacity)
        bucket->tokens = capacity;
    bucket->updated_ns = now_ns;
    if (bucket->tokens >= 1.0) {
        bucket->tokens -= 1.0;
        return 0;
    }
    double wait = (1.0 - bucket->tokens) / refill_per_s;
    return wait < 1.0 ? 1 : (int)wait + 1;
}
