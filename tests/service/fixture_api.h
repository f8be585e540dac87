// The API over the dispatcher, in process, on the PostgreSQL of fixture_pg.h: two organisations, an account for each
// role (its login is the role's name), and clients that sign in and ask.
#ifndef KERF_TESTS_FIXTURE_API_H
#define KERF_TESTS_FIXTURE_API_H

#include "server/base/json.h"
#include "server/store/instance.h"
#include "tests/service/fixture_pg.h"

#define PASSWORD "a fine long pass phrase"

extern const char *ours, *theirs; // organisations; "stranger" is the administrator of the other one

int api_start(void); // 0 when it cannot
void api_stop(void); // and fixture_stop

struct client {
    char cookie[128], csrf[80], bearer[96];
    const char *address;
};

struct answer {
    int status;
    json_t *body; // owned; NULL when there is none
    char etag[80], cookie[200], retry_after[16], location[200], type[64];
    char raw[256];
};

void answer_free(struct answer *answer);

struct answer call_with(const struct client *client, const char *method, const char *target, const char *body,
                        const char *name, const char *value);
struct answer call(const struct client *client, const char *method, const char *target, const char *body);
const char *code_of(const struct answer *answer);
// How many items a list has.
json_int_t found(const struct client *client, const char *target);
int sign_in(struct client *client, const char *login, const char *password); // the status

#define EXPECT(client, method, target, body, expected_status, expected_code)                                           \
    do {                                                                                                               \
        struct answer expect_got = call(client, method, target, body);                                                 \
        KF_CHECK_EQ(expect_got.status, expected_status);                                                               \
        if (*(expected_code))                                                                                          \
            KF_CHECK_STR(code_of(&expect_got), expected_code);                                                         \
        answer_free(&expect_got);                                                                                      \
    } while (0)

void make_account(const char *organisation, const char *login, const char *role, int must_change);
// An instance of its own series and study; returns what was stored.
struct kf_instance_stored receive(const char *organisation, const char *patient, const char *uid, const char *bytes);
// A done import with one volume, made through the queue as a worker would; returns the artefact's id.
const char *make_volume(const char *case_id, const char *series_id, char hex[65]);

#endif
