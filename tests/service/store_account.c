// Sign-in, sessions, tokens, accounts and peers.
#include "server/base/hash.h"
#include "server/base/test.h"
#include "server/store/account.h"
#include "server/store/counts.h"
#include "server/store/event.h"
#include "tests/service/fixture_pg.h"

static const char *org;
static struct kf_store *store;

static const char *account(const char *login, const char *role)
{
    static char id[KF_ID_TEXT];
    struct kf_error err = {0};
    struct kf_account_new new = {.login = login, .display_name = "Somebody", .role = role, .password_hash = "h"};
    if (kf_store_account_add(store, org, &new, id, &err))
        fprintf(stderr, "account: %s: %s\n", err.code, err.detail);
    return id;
}

static void run_on(const char *format_before, const char *id, const char *after)
{
    char sql[300];
    snprintf(sql, sizeof sql, "%s'%s'%s", format_before, id, after);
    fixture_sql(sql);
}

KF_TEST(wrong_passwords_lock_for_longer_and_longer)
{
    char id[KF_ID_TEXT];
    struct kf_login_row row;
    struct kf_error err;
    double locked;
    strcpy(id, account("Lock.Me", "viewer"));
    KF_REQUIRE(kf_store_login_find(store, "LOCK.me", &row, &err) == KF_OK); // case does not matter
    KF_CHECK_STR(row.account_id, id);
    KF_CHECK_STR(row.organisation_id, org);
    for (int i = 1; i < 3; i++) {
        KF_CHECK_EQ(kf_store_login_failed(store, id, 3, 30, 100, &locked, &err), KF_OK);
        KF_CHECK_NEAR(locked, 0, 0);
    }
    const double expected[] = {30, 60, 100, 100};
    for (int i = 0; i < 4; i++) {
        KF_CHECK_EQ(kf_store_login_failed(store, id, 3, 30, 100, &locked, &err), KF_OK);
        KF_CHECK_NEAR(locked, expected[i], 0);
    }
    KF_REQUIRE(kf_store_login_find(store, "lock.me", &row, &err) == KF_OK);
    KF_CHECK(row.locked_s > 90 && row.locked_s <= 100);
    KF_CHECK_EQ(kf_store_login_succeeded(store, id, &err), KF_OK);
    KF_REQUIRE(kf_store_login_find(store, "lock.me", &row, &err) == KF_OK);
    KF_CHECK_EQ(row.failed_logins, 0);
    KF_CHECK_NEAR(row.locked_s, 0, 0);
    KF_CHECK_EQ(kf_store_login_find(store, "nobody", &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_login_find(store, "' OR true --", &row, &err), KF_NOT_FOUND);
}

KF_TEST(sessions_end_by_time_idleness_sign_out_and_disabling)
{
    char id[KF_ID_TEXT], session_id[KF_ID_TEXT];
    struct kf_session_row row;
    struct kf_error err;
    int64_t expires;
    int alive;
    strcpy(id, account("session", "planner"));
    struct kf_session_new new = {.account_id = id, .csrf_token = "csrf", .lifetime_s = 1000};
    kf_sha256("s1", 2, new.token_sha256);
    KF_REQUIRE(kf_store_session_add(store, org, &new, session_id, &expires, &err) == KF_OK);
    KF_REQUIRE(kf_store_session_find(store, new.token_sha256, 60, &row, &err) == KF_OK);
    KF_CHECK_STR(row.account_id, id);
    KF_CHECK_STR(row.role, "planner");
    KF_CHECK_STR(row.organisation_name, "Accounts");
    KF_CHECK_STR(row.csrf_token, "csrf");
    KF_CHECK_EQ(row.expires_ms, expires);
    KF_CHECK_EQ(kf_store_session_alive(store, org, session_id, &alive, &err), KF_OK);
    KF_CHECK_EQ(alive, 1);
    // Touched when it was last seen more than a minute ago, over when that is too long ago.
    run_on("UPDATE kerf.session SET last_seen_at = now() - interval '2 minutes' WHERE id = ", session_id, "");
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 60, &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 600, &row, &err), KF_OK);
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 60, &row, &err), KF_OK);
    run_on("UPDATE kerf.account SET disabled = true WHERE id = ", id, "");
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 600, &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_session_alive(store, org, session_id, &alive, &err), KF_OK);
    KF_CHECK_EQ(alive, 0);
    run_on("UPDATE kerf.account SET disabled = false WHERE id = ", id, "");
    run_on("UPDATE kerf.session SET expires_at = now() WHERE id = ", session_id, "");
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 600, &row, &err), KF_NOT_FOUND);
    // A changed password ends all the others.
    char kept[KF_ID_TEXT];
    kf_sha256("s2", 2, new.token_sha256);
    KF_REQUIRE(kf_store_session_add(store, org, &new, kept, &expires, &err) == KF_OK);
    unsigned char other[32];
    memcpy(other, new.token_sha256, 32);
    kf_sha256("s3", 2, new.token_sha256);
    KF_REQUIRE(kf_store_session_add(store, org, &new, session_id, &expires, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_sessions_end(store, org, id, kept, &err), KF_OK);
    KF_CHECK_EQ(kf_store_session_find(store, other, 600, &row, &err), KF_OK);
    KF_CHECK_EQ(kf_store_session_find(store, new.token_sha256, 600, &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_session_end(store, org, kept, &err), KF_OK);
    KF_CHECK_EQ(kf_store_session_find(store, other, 600, &row, &err), KF_NOT_FOUND);
}

KF_TEST(no_session_begins_with_a_password_that_has_been_changed)
{
    char id[KF_ID_TEXT], session_id[KF_ID_TEXT];
    struct kf_error err;
    int64_t expires;
    strcpy(id, account("racer", "planner"));
    struct kf_session_new new = {.account_id = id, .csrf_token = "c", .lifetime_s = 1000, .password_hash = "h"};
    kf_sha256("r1", 2, new.token_sha256);
    KF_CHECK_EQ(kf_store_session_add(store, org, &new, session_id, &expires, &err), KF_OK);
    // Checking takes argon2's time; meanwhile the password is changed and the account's sessions are ended.
    struct kf_account_change change = {.password_hash = "h2", .disabled = -1, .must_change = -1};
    struct kf_account_row changed;
    KF_REQUIRE(kf_store_account_change(store, org, id, &change, &changed, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_sessions_end(store, org, id, NULL, &err), KF_OK);
    kf_sha256("r2", 2, new.token_sha256);
    KF_CHECK_EQ(kf_store_session_add(store, org, &new, session_id, &expires, &err), KF_NOT_FOUND);
    KF_CHECK_STR(fixture_sql("SELECT count(*) FROM kerf.session s JOIN kerf.account a ON a.id = s.account_id "
                             "WHERE a.login = 'racer'"), "0");
}

KF_TEST(tokens_work_until_revoked_or_over)
{
    unsigned char hash[32], brief[32];
    char id[KF_ID_TEXT], other[KF_ID_TEXT];
    struct kf_session_row row;
    struct kf_error err;
    kf_sha256("t1", 2, hash);
    kf_sha256("t2", 2, brief);
    KF_REQUIRE(kf_store_token_add(store, org, "robot", "technician", hash, NULL, 0, id, &err) == KF_OK);
    KF_REQUIRE(kf_store_token_add(store, org, "brief", "viewer", brief, NULL, 1000, other, &err) == KF_OK);
    KF_REQUIRE(kf_store_token_find(store, hash, &row, &err) == KF_OK);
    KF_CHECK_STR(row.role, "technician");
    KF_CHECK_STR(row.account_id, "");
    KF_CHECK_EQ(row.expires_ms, 0);
    KF_CHECK_EQ(kf_store_token_find(store, brief, &row, &err), KF_OK);
    run_on("UPDATE kerf.api_token SET expires_at = now() WHERE id = ", other, "");
    KF_CHECK_EQ(kf_store_token_find(store, brief, &row, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_token_revoke(store, org, id, &err), KF_OK);
    KF_CHECK_EQ(kf_store_token_find(store, hash, &row, &err), KF_NOT_FOUND);
    struct kf_arena arena = {0};
    struct kf_token_row *list;
    size_t count;
    KF_REQUIRE(kf_store_token_list(store, org, &arena, &list, &count, &err) == KF_OK);
    KF_REQUIRE(count == 2);
    KF_CHECK_EQ(list[0].revoked, 1);
    KF_CHECK(list[0].last_used_ms > 0);
    kf_arena_release(&arena);
    KF_CHECK_EQ(kf_store_token_add(store, org, "x", "emperor", hash, NULL, 0, id, &err), KF_INVALID);
}

KF_TEST(accounts_change_under_a_revision_and_one_administrator_stays)
{
    struct kf_account_row row;
    struct kf_error err = {0};
    char id[KF_ID_TEXT];
    strcpy(id, account("boss", "admin"));
    KF_CHECK_EQ(kf_store_account_get(store, org, id, &row, &err), KF_OK);
    KF_CHECK_EQ(row.revision, 1);
    struct kf_account_change rename = {.display_name = "Boss", .disabled = -1, .must_change = -1, .revision = 1};
    KF_CHECK_EQ(kf_store_account_change(store, org, id, &rename, &row, &err), KF_OK);
    KF_CHECK_STR(row.display_name, "Boss");
    KF_CHECK_EQ(row.revision, 2);
    KF_CHECK_EQ(kf_store_account_change(store, org, id, &rename, &row, &err), KF_PRECONDITION_FAILED);
    struct kf_account_change demote = {.role = "viewer", .disabled = -1, .must_change = -1};
    KF_CHECK_EQ(kf_store_account_change(store, org, id, &demote, &row, &err), KF_CONFLICT);
    KF_CHECK_STR(err.code, "last_admin");
    struct kf_account_change disable = {.disabled = 1, .must_change = -1};
    KF_CHECK_EQ(kf_store_account_change(store, org, id, &disable, &row, &err), KF_CONFLICT);
    KF_CHECK_EQ(kf_store_account_get(store, org, id, &row, &err), KF_OK);
    KF_CHECK_STR(row.role, "admin");
    char second[KF_ID_TEXT];
    strcpy(second, account("deputy", "admin"));
    KF_CHECK_EQ(kf_store_account_change(store, org, id, &demote, &row, &err), KF_OK);
    KF_CHECK_STR(row.role, "viewer");
    struct kf_account_new taken = {.login = "BOSS", .display_name = "x", .role = "viewer", .password_hash = "h"};
    KF_CHECK_EQ(kf_store_account_add(store, org, &taken, second, &err), KF_CONFLICT);
    KF_CHECK_STR(err.code, "login_taken");
    KF_CHECK_EQ(kf_store_account_change(store, org, "x", &demote, &row, &err), KF_NOT_FOUND);
}

static enum kf_status peer(const char *ae, const char *called, const char *address, char id[KF_ID_TEXT])
{
    struct kf_error err;
    struct kf_peer_new new = {.name = "p", .ae_title = ae, .called_ae_title = called, .address = address, .may_store = 1};
    return kf_store_peer_add(store, org, &new, id, &err);
}

KF_TEST(the_most_exact_peer_wins_and_strangers_are_not_found)
{
    char any[KF_ID_TEXT], net[KF_ID_TEXT], exact[KF_ID_TEXT], v6[KF_ID_TEXT], id[KF_ID_TEXT];
    struct kf_peer_match match;
    struct kf_error err;
    KF_CHECK_EQ(peer("*", NULL, "127.0.0.0/8", any), KF_OK);
    KF_CHECK_EQ(peer("CT1", NULL, "10.1.0.0/16", net), KF_OK);
    KF_CHECK_EQ(peer("CT1", "KERF", "10.1.2.3/32", exact), KF_OK);
    KF_CHECK_EQ(peer("CT1", NULL, "fd00::/8", v6), KF_OK);
    KF_CHECK_EQ(peer("CT1", NULL, "10.1.0.0/16", id), KF_CONFLICT);
    KF_CHECK_EQ(peer("CT1", NULL, "10.1.2.3/16", id), KF_INVALID); // host bits behind the mask
    KF_CHECK_EQ(peer("SEVENTEEN_LETTERS", NULL, NULL, id), KF_INVALID);
    KF_CHECK_EQ(kf_store_peer_find(store, "ANY", "KERF", "127.0.0.1", &match, &err), KF_OK);
    KF_CHECK_STR(match.peer_id, any);
    KF_CHECK_STR(match.organisation_id, org);
    KF_CHECK_EQ(kf_store_peer_find(store, "CT1", "KERF", "10.1.9.9", &match, &err), KF_OK);
    KF_CHECK_STR(match.peer_id, net);
    KF_CHECK_EQ(kf_store_peer_find(store, "CT1", "KERF", "::ffff:10.1.2.3", &match, &err), KF_OK);
    KF_CHECK_STR(match.peer_id, exact);
    KF_CHECK_EQ(kf_store_peer_find(store, "CT1", "X", "fd00::1", &match, &err), KF_OK);
    KF_CHECK_STR(match.peer_id, v6);
    KF_CHECK_EQ(kf_store_peer_find(store, "CT2", "KERF", "10.1.2.3", &match, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_peer_find(store, "ANY", "KERF", "192.168.0.1", &match, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_peer_find(store, "ANY", "KERF", "not an address", &match, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_peer_remove(store, org, net, &err), KF_OK);
    KF_CHECK_EQ(kf_store_peer_find(store, "CT1", "KERF", "10.1.9.9", &match, &err), KF_NOT_FOUND);
    KF_CHECK_EQ(kf_store_peer_remove(store, org, net, &err), KF_NOT_FOUND);
}

static int notified;
static char last_payload[128];

static void note(void *to, const char *payload)
{
    (void)to;
    notified++;
    snprintf(last_payload, sizeof last_payload, "%s", payload);
}

static void collect(void *to, const struct kf_event_row *event)
{
    *(int64_t *)to = event->id;
}

KF_TEST(listeners_hear_of_events_and_can_read_them)
{
    struct kf_store *listener = fixture_new_app();
    struct kf_error err;
    int64_t before, last = 0;
    KF_REQUIRE(kf_store_event_newest(store, org, &before, &err) == KF_OK);
    KF_CHECK_EQ(kf_store_wait(listener, "kerf_event", 0, note, NULL, &err), KF_OK);
    KF_CHECK_EQ(notified, 0);
    KF_CHECK_EQ(kf_store_event_add(store, org, NULL, "test.event", "{}", &err), KF_OK);
    KF_CHECK_EQ(kf_store_wait(listener, "kerf_event", 5000, note, NULL, &err), KF_OK);
    KF_CHECK_EQ(notified, 1);
    KF_CHECK(strncmp(last_payload, org, 36) == 0);
    KF_CHECK_EQ(kf_store_events_after(store, org, before, 10, collect, &last, &err), KF_OK);
    KF_CHECK_EQ(last, atoll(last_payload + 37));
    int pruned;
    KF_CHECK_EQ(kf_store_events_prune(store, 0, &pruned, &err), KF_OK);
    KF_CHECK(pruned >= 1);
    struct kf_counts counts;
    KF_CHECK_EQ(kf_store_counts(store, &counts, &err), KF_OK);
    KF_CHECK(counts.connections >= 2);
    kf_store_close(listener);
}

KF_TEST(the_first_start_makes_one_organisation_and_its_administrator)
{
    // The fixture has an organisation already: nothing is made.
    char id[KF_ID_TEXT];
    int made = 1;
    struct kf_error err = {0};
    struct kf_account_new admin = {.login = "first", .display_name = "First", .role = "admin", .password_hash = "h",
                                   .must_change = 1};
    KF_CHECK_EQ(kf_store_bootstrap(fixture_owner(), "Hospital", &admin, id, &made, &err), KF_OK);
    KF_CHECK_EQ(made, 0);
    KF_CHECK_STR(id, org);
    fixture_organisation("Another");
    KF_CHECK_EQ(kf_store_organisation_find(fixture_owner(), NULL, id, &err), KF_CONFLICT);
    KF_CHECK_EQ(kf_store_organisation_find(fixture_owner(), "Accounts", id, &err), KF_OK);
    KF_CHECK_STR(id, org);
}

KF_TEST(nobody_names_the_scanner_of_another_organisation)
{
    struct kf_error err;
    struct kf_peer_match match;
    char id[KF_ID_TEXT];
    const char *other = fixture_organisation("Neighbour");
    KF_CHECK_EQ(peer("MR7", NULL, "172.16.0.0/24", id), KF_OK);
    // Each would take what MR7 sends away from its organisation, being more exact than its own entry or beside it.
    static const struct kf_peer_new taking[] = {
        {.name = "p", .ae_title = "MR7", .address = "172.16.0.9/32", .may_store = 1, .only_ours = 1},
        {.name = "p", .ae_title = "MR7", .called_ae_title = "KERF", .may_store = 1, .only_ours = 1},
        {.name = "p", .ae_title = "*", .address = "172.16.0.128/25", .may_store = 1, .only_ours = 1},
        {.name = "p", .ae_title = "MR7", .address = "172.16.0.0/12", .may_store = 1, .only_ours = 1}};
    for (size_t i = 0; i < sizeof taking / sizeof *taking; i++) {
        KF_CHECK_EQ(kf_store_peer_add(store, other, &taking[i], id, &err), KF_CONFLICT);
        KF_CHECK_STR(err.code, "peer_taken");
    }
    KF_CHECK_EQ(kf_store_peer_find(store, "MR7", "KERF", "172.16.0.9", &match, &err), KF_OK);
    KF_CHECK_STR(match.organisation_id, org);
    struct kf_peer_new beside = taking[0];
    beside.ae_title = "MR8"; // another title, and of our own organisation anything
    KF_CHECK_EQ(kf_store_peer_add(store, other, &beside, id, &err), KF_OK);
    KF_CHECK_EQ(kf_store_peer_add(store, org, &taking[0], id, &err), KF_OK);
    struct kf_peer_new divided = taking[2];
    divided.only_ours = 0; // the operator may divide a network as he likes
    KF_CHECK_EQ(kf_store_peer_add(store, other, &divided, id, &err), KF_OK);
}

static void prepare(void)
{
    char id[KF_ID_TEXT];
    int made = 0;
    struct kf_error err = {0};
    static char first[KF_ID_TEXT];
    struct kf_account_new admin = {.login = "root", .display_name = "First", .role = "viewer", .password_hash = "h",
                                   .must_change = 1};
    KF_CHECK_EQ(kf_store_bootstrap(fixture_owner(), "Accounts", &admin, id, &made, &err), KF_OK);
    KF_CHECK_EQ(made, 1);
    strcpy(first, id);
    org = first;
    store = fixture_app();
    struct kf_login_row row;
    KF_CHECK_EQ(kf_store_login_find(store, "root", &row, &err), KF_OK);
    KF_CHECK_EQ(row.must_change, 1);
}

KF_TEST_MAIN(prepare(); KF_RUN(wrong_passwords_lock_for_longer_and_longer);
             KF_RUN(sessions_end_by_time_idleness_sign_out_and_disabling);
             KF_RUN(no_session_begins_with_a_password_that_has_been_changed);
             KF_RUN(tokens_work_until_revoked_or_over);
             KF_RUN(accounts_change_under_a_revision_and_one_administrator_stays);
             KF_RUN(the_most_exact_peer_wins_and_strangers_are_not_found);
             KF_RUN(listeners_hear_of_events_and_can_read_them);
             KF_RUN(the_first_start_makes_one_organisation_and_its_administrator);
             KF_RUN(nobody_names_the_scanner_of_another_organisation); fixture_stop();)
