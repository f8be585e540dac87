// Rules of sign-in: what a password must be, when an account locks, how often one address may try.
#ifndef KERF_DOMAIN_SIGNIN_H
#define KERF_DOMAIN_SIGNIN_H

#include "server/base/error.h"
#include <stdint.h>

#define KF_PASSWORD_MIN_CHARACTERS 12
#define KF_PASSWORD_MAX_BYTES      1024

// NIST SP 800-63B §5.1.1.2: length counts, composition does not; valid UTF-8; not the login, not a well-known or
// monotonous string. KF_UNPROCESSABLE with code password_too_short, password_too_long, password_not_text,
// password_is_login or password_too_common. `login` may be NULL.
KF_MUST_USE enum kf_status kf_password_check(const char *password, const char *login, struct kf_error *err);

// When an account locks: from the `attempts`th failed sign-in in a row, for base_s, doubling with each further one up
// to most_s. The database function kerf.login_failed follows the same rule; tests hold the two together.
struct kf_lockout_rule {
    int attempts;
    double base_s, most_s;
};
// Seconds that the account is locked after its n-th failure in a row; 0: not at all.
double kf_lockout_s(const struct kf_lockout_rule *rule, int failed_logins);

// How many sign-ins one address may try: a bucket of `capacity` that refills at `refill_per_s`. Not thread safe: the
// caller holds its lock. Sign-in takes `per minute` as the capacity, and refills it within that minute.
struct kf_bucket {
    double tokens;
    int64_t updated_ns; // 0: never used, full
};
// Takes one token. Returns 0, or the whole seconds (≥ 1) to wait before another try can succeed.
int kf_bucket_take(struct kf_bucket *bucket, int64_t now_ns, double capacity, double refill_per_s);

#endif
