#include "server/base/log.h"
#include "server/main/kerf.h"
#include "server/store/migrate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int kf_command_migrate(int argc, char **argv)
{
    const char *data = getenv("KERF_DATA");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") != 0) {
            int help = strcmp(argv[i], "--help") == 0;
            fputs("kerf migrate [--data DIR]\n\nBrings the schema up to date, as the role that owns it "
                  "(KERF_DATABASE_OWNER_URL, else KERF_DATABASE_URL), and\nchecks that row-level security holds. "
                  "kerf up does this by itself.\n", help ? stdout : stderr);
            return help ? KF_EXIT_OK : KF_EXIT_USAGE;
        }
        if (!(data = kf_command_value(argc, argv, &i)))
            return KF_EXIT_USAGE;
    }
    kf_log_init("kerf", KF_LOG_WARN);
    char owner_url[4400], server_url[4400];
    struct kf_store *store = NULL;
    struct kf_migrate_report report = {0};
    struct kf_error err;
    enum kf_status status = kf_command_database(data, owner_url, server_url, sizeof owner_url, &err);
    if (!status)
        status = kf_store_open(&store, owner_url, "kerf migrate", KF_STORE_OWNER, &err);
    if (!status)
        status = kf_store_migrate(store, NULL, &report, &err);
    if (!status)
        status = kf_store_check_protection(store, &err);
    kf_store_close(store);
    if (status)
        return kf_command_failed("migrate", &err);
    printf("schema at version %d, %d migration%s applied\n", report.version, report.applied,
           report.applied == 1 ? "" : "s");
    return KF_EXIT_OK;
}
