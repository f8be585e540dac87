// Migrations: from empty, again, at once from several processes, and what is refused.
#include "server/base/test.h"
#include "server/store/migrate.h"
#include "tests/service/fixture_pg.h"
#include <pthread.h>

static struct kf_store *open_owner(const char *url)
{
    struct kf_store *store = NULL;
    struct kf_error err = {0};
    if (kf_store_open(&store, url, "test", KF_STORE_OWNER, &err))
        fprintf(stderr, "%s: %s\n", err.code, err.detail);
    return store;
}

static int last_version(void)
{
    int version = 0;
    for (const struct kf_migration *m = kf_migrations; m->version; m++)
        version = m->version;
    return version;
}

KF_TEST(an_empty_database_is_migrated_once)
{
    struct kf_store *store = open_owner(fixture_empty_database());
    KF_REQUIRE(store);
    struct kf_error err = {0};
    struct kf_migrate_report report;
    KF_CHECK_EQ(kf_store_ping(store, &err), KF_UNAVAILABLE);
    KF_CHECK_STR(err.code, "not_migrated");
    KF_CHECK_EQ(kf_store_migrate(store, NULL, &report, &err), KF_OK);
    KF_CHECK_EQ(report.applied, last_version());
    KF_CHECK_EQ(report.version, last_version());
    KF_CHECK_EQ(kf_store_ping(store, &err), KF_OK);
    KF_CHECK_EQ(kf_store_migrate(store, NULL, &report, &err), KF_OK);
    KF_CHECK_EQ(report.applied, 0);
    kf_store_close(store);
}

static struct kf_migration list_of(const char *sql)
{
    return (struct kf_migration){last_version() + 1, "test", sql, strlen(sql)};
}

// The binary's migrations and one more.
static void extend(struct kf_migration *list, struct kf_migration more)
{
    int n = last_version();
    memcpy(list, kf_migrations, (size_t)n * sizeof *list);
    list[n] = more;
    list[n + 1] = (struct kf_migration){0};
}

KF_TEST(a_changed_migration_and_a_newer_database_are_refused)
{
    struct kf_store *store = open_owner(fixture_empty_database());
    KF_REQUIRE(store);
    struct kf_error err = {0};
    struct kf_migrate_report report;
    struct kf_migration list[64];
    extend(list, list_of("CREATE TABLE kerf.extra (n integer)"));
    KF_CHECK_EQ(kf_store_migrate(store, list, &report, &err), KF_OK);
    extend(list, list_of("CREATE TABLE kerf.extra (n bigint)"));
    KF_CHECK_EQ(kf_store_migrate(store, list, &report, &err), KF_CONFLICT);
    KF_CHECK_STR(err.code, "migration_changed");
    KF_CHECK_EQ(kf_store_migrate(store, NULL, &report, &err), KF_CONFLICT);
    KF_CHECK_STR(err.code, "schema_too_new");
    kf_store_close(store);
}

KF_TEST(a_failing_migration_leaves_nothing_and_can_be_mended)
{
    struct kf_store *store = open_owner(fixture_empty_database());
    KF_REQUIRE(store);
    struct kf_error err = {0};
    struct kf_migrate_report report;
    struct kf_migration list[64];
    extend(list, list_of("CREATE TABLE kerf.half (n integer); SELECT * FROM kerf.nowhere"));
    KF_CHECK_EQ(kf_store_migrate(store, list, &report, &err), KF_INTERNAL);
    KF_CHECK_EQ(report.version, last_version()); // the ones before stay
    extend(list, list_of("CREATE TABLE kerf.half (n integer)"));
    KF_CHECK_EQ(kf_store_migrate(store, list, &report, &err), KF_OK);
    KF_CHECK_EQ(report.applied, 1);
    kf_store_close(store);
}

KF_TEST(an_owner_who_is_no_superuser_migrates_and_serves)
{
    char url[600], plain[640], sql[700];
    const char *empty = fixture_empty_database();
    snprintf(url, sizeof url, "%s", empty);
    const char *name = strrchr(url, '=') + 1; // fixture_empty_database ends with dbname=NAME
    fixture_sql("CREATE ROLE plain LOGIN CREATEROLE");
    snprintf(sql, sizeof sql, "ALTER DATABASE %s OWNER TO plain", name);
    fixture_sql(sql);
    snprintf(plain, sizeof plain, "%s user=plain", url);
    struct kf_store *store = open_owner(plain), *app = NULL;
    struct kf_error err = {0};
    struct kf_migrate_report report;
    KF_REQUIRE(store);
    KF_CHECK_EQ(kf_store_migrate(store, NULL, &report, &err), KF_OK);
    KF_CHECK_EQ(kf_store_check_protection(store, &err), KF_OK);
    // The same login may serve: its connections become kerf_app.
    KF_CHECK_EQ(kf_store_open(&app, plain, "test", KF_STORE_APP, &err), KF_OK);
    if (app)
        KF_CHECK_EQ(kf_store_ping(app, &err), KF_OK);
    kf_store_close(app);
    kf_store_close(store);
}

KF_TEST(serving_before_the_first_migration_is_refused_with_a_reason)
{
    struct kf_store *store = NULL;
    struct kf_error err = {0};
    KF_CHECK_EQ(kf_store_open(&store, fixture_empty_database(), "test", KF_STORE_APP, &err), KF_OK); // the role is there
    KF_CHECK(kf_store_ping(store, &err) != KF_OK);
    kf_store_close(store);
    KF_CHECK_EQ(kf_store_open(&store, "host=/nonexistent dbname=x", "test", KF_STORE_APP, &err), KF_DB);
    KF_CHECK(store == NULL);
}

struct racer {
    const char *url;
    enum kf_status status;
    int applied;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct kf_store *store = open_owner(racer->url);
    struct kf_migrate_report report = {0};
    struct kf_error err = {0};
    racer->status = store ? kf_store_migrate(store, NULL, &report, &err) : KF_DB;
    if (racer->status)
        fprintf(stderr, "%s: %s\n", err.code, err.detail);
    racer->applied = report.applied;
    kf_store_close(store);
    return NULL;
}

KF_TEST(many_that_migrate_at_once_apply_it_once)
{
    enum { N = 6 };
    const char *url = fixture_empty_database();
    struct racer racers[N];
    pthread_t threads[N];
    int applied = 0;
    for (int i = 0; i < N; i++) {
        racers[i] = (struct racer){url, KF_INTERNAL, 0};
        KF_REQUIRE(pthread_create(&threads[i], NULL, race, &racers[i]) == 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        KF_CHECK_EQ(racers[i].status, KF_OK);
        applied += racers[i].applied;
    }
    KF_CHECK_EQ(applied, last_version());
}

KF_TEST_MAIN(KF_RUN(an_empty_database_is_migrated_once);
             KF_RUN(a_changed_migration_and_a_newer_database_are_refused);
             KF_RUN(a_failing_migration_leaves_nothing_and_can_be_mended);
             KF_RUN(an_owner_who_is_no_superuser_migrates_and_serves);
             KF_RUN(serving_before_the_first_migration_is_refused_with_a_reason);
             KF_RUN(many_that_migrate_at_once_apply_it_once); fixture_stop();)
