// kerf up: everything on one machine. Order: lock the data folder, database, migrations, first administrator, daemons;
// then watch them until a signal comes.
#include "server/main/kerf.h"

#include "server/base/config.h"
#include "server/base/crypto/password.h"
#include "server/base/crypto/tls.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/net/client.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/main/run_as.h"
#include "server/main/supervisor.h"
#include "server/store/account.h"
#include "server/store/migrate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_LIMIT_MS 60000
#define STOP_GRACE_MS  15000
#define ADMIN_LOGIN    "admin"

struct up {
    char data[3072];
    const char *ready_file, *sign_in_file;
    int lock_fd;
    struct kf_pgembed *pg;
    char owner_url[4400], server_url[4400];
    char http[300]; // base address
    char one_time_password[32];
    struct kf_supervisor supervisor;
};

static void usage(void)
{
    puts("kerf up --data DIR [--http PORT] [--dicom PORT] [--tls PORT] [--ready-file FILE] [--sign-in-file FILE]\n\n"
         "Runs the database (unless KERF_DATABASE_URL is set), the server, the DICOM listener and a worker, restarts what\n"
         "dies, and stops everything on Ctrl-C. Port 0 takes a free one. --tls makes a self-signed certificate when\n"
         "KERF_TLS_CERT and KERF_TLS_KEY are not set. `kerf settings` lists everything else that can be set.");
}

// ---------------------------------------------------------------------------------------------- arguments, folders
static int take_arguments(struct up *up, int argc, char **argv, struct kf_error *err)
{
    static const char *const settings[][2] = {
        {"--http", "KERF_HTTP_PORT"}, {"--dicom", "KERF_DICOM_PORT"}, {"--tls", "KERF_TLS_PORT"}};
    const char *data = getenv("KERF_DATA");
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *setting = NULL, *value;
        if (strcmp(option, "--help") == 0)
            return usage(), -1;
        for (size_t s = 0; s < 3; s++)
            if (strcmp(option, settings[s][0]) == 0)
                setting = settings[s][1];
        if (!setting && strcmp(option, "--data") && strcmp(option, "--ready-file") && strcmp(option, "--sign-in-file"))
            return kf_error_set(err, KF_INVALID, "bad_usage", "there is no option %.60s; see kerf up --help", option);
        if (!(value = kf_command_value(argc, argv, &i)))
            return kf_error_set(err, KF_INVALID, "bad_usage", "%s needs a value", option);
        if (setting && setenv(setting, value, 1))
            return kf_error_set(err, KF_NOMEM, NULL, "no memory for the settings");
        if (strcmp(option, "--data") == 0)
            data = value;
        else if (strcmp(option, "--ready-file") == 0)
            up->ready_file = value;
        else if (strcmp(option, "--sign-in-file") == 0)
            up->sign_in_file = value;
    }
    if (!data || !*data)
        return kf_error_set(err, KF_INVALID, "bad_usage", "say where everything is kept: kerf up --data DIR");
    return kf_str_copy(up->data, sizeof up->data, data) ? KF_INVALID : KF_OK;
}

// Others may walk through (the database's user must), but see nothing.
static enum kf_status make_folder(const char *path, mode_t mode, struct kf_error *err)
{
    if (mkdir(path, mode) && errno != EEXIST)
        return kf_error_errno(err, errno, path);
    return KF_OK;
}

static enum kf_status open_data(struct up *up, struct kf_error *err)
{
    char path[PATH_MAX], resolved[PATH_MAX];
    enum kf_status status = make_folder(up->data, 0711, err);
    if (status)
        return status;
    if (!realpath(up->data, resolved) || kf_str_copy(up->data, sizeof up->data, resolved))
        return kf_error_errno(err, errno, "cannot use the data folder");
    snprintf(path, sizeof path, "%s/run", up->data);
    status = kf_run_as_trust(up->data, err);
    if (!status)
        status = make_folder(path, 0711, err);
    snprintf(path, sizeof path, "%s/run/lock", up->data);
    up->lock_fd = status ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!status && up->lock_fd < 0)
        return kf_error_errno(err, errno, "cannot lock the data folder");
    if (!status && flock(up->lock_fd, LOCK_EX | LOCK_NB))
        return kf_error_set(err, KF_CONFLICT, "data_in_use", "another kerf up is running on this data folder");
    setenv("KERF_DATA", up->data, 1);
    return status ? status : kf_config_load(up->data, err);
}

// A port of 0 is settled here, so that a restarted daemon and the people who were told of it find it again.
static enum kf_status settle_port(const char *setting, const char *address, struct kf_error *err)
{
    if (kf_config_integer(setting) != 0)
        return KF_OK;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t length = sizeof at;
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char text[16];
    enum kf_status status = KF_OK;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || getsockname(fd, (struct sockaddr *)&at, &length))
        status = kf_error_errno(err, errno, "cannot find a free port");
    if (fd >= 0)
        close(fd);
    snprintf(text, sizeof text, "%d", ntohs(at.sin_port));
    return status || setenv(setting, text, 1) ? status : kf_config_load(getenv("KERF_DATA"), err);
}

// ---------------------------------------------------------------------------------------------- database
static enum kf_status start_database(struct up *up, struct kf_error *err)
{
    char path[PATH_MAX];
    const char *server = kf_config_text("KERF_DATABASE_URL"), *owner = kf_config_text("KERF_DATABASE_OWNER_URL");
    if (*server) {
        kf_str_copy(up->server_url, sizeof up->server_url, server);
        kf_str_copy(up->owner_url, sizeof up->owner_url, *owner ? owner : server);
        return KF_OK;
    }
    snprintf(path, sizeof path, "%s/pg", up->data);
    struct kf_pgembed_options options = {.directory = path,
                                         .programs = kf_config_text("KERF_POSTGRES_BIN"),
                                         .user = kf_config_text("KERF_POSTGRES_USER")};
    enum kf_status status = kf_pgembed_start(&options, &up->pg, err);
    if (status)
        return status;
    kf_str_copy(up->owner_url, sizeof up->owner_url, kf_pgembed_owner_url(up->pg));
    kf_str_copy(up->server_url, sizeof up->server_url, kf_pgembed_server_url(up->pg));
    up->supervisor.pg = up->pg;
    return KF_OK;
}

// The other subcommands find the private database through this note; its folder is ours alone.
static enum kf_status note_database(const struct up *up, struct kf_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/run/database", up->data);
    json_t *note = json_pack("{s:s, s:s}", "owner", up->owner_url, "server", up->server_url);
    enum kf_status status = note ? kf_json_save(path, note, err) : KF_NOMEM;
    json_decref(note);
    if (!status && chmod(path, 0600))
        status = kf_error_errno(err, errno, path);
    return status;
}

static enum kf_status bootstrap(struct up *up, struct kf_store *store, struct kf_error *err)
{
    char password[32], hash[KF_PASSWORD_ENCODED], organisation[KF_ID_TEXT], peer_id[KF_ID_TEXT];
    int made = 0;
    kf_password_generate(password);
    enum kf_status status = kf_password_hash(password, hash, err);
    struct kf_account_new admin = {ADMIN_LOGIN, "Administrator", "admin", hash, 1};
    // Nobody from outside may send until an administrator names them; this machine may.
    struct kf_peer_new peer = {.name = "This machine", .ae_title = "*", .address = "127.0.0.1/32", .may_store = 1};
    if (!status)
        status = kf_store_bootstrap(store, kf_config_text("KERF_ORGANISATION"), &admin, organisation, &made, err);
    if (!status && made)
        status = kf_store_peer_add(store, organisation, &peer, peer_id, err);
    if (!status && made)
        kf_str_copy(up->one_time_password, sizeof up->one_time_password, password);
    return status;
}

// As the schema's owner: everything that may have to be made.
static enum kf_status make_database(struct up *up, struct kf_error *err)
{
    struct kf_store *store = NULL;
    struct kf_migrate_report report;
    enum kf_status status = kf_store_open(&store, up->owner_url, "kerf up", KF_STORE_OWNER, err);
    if (!status)
        status = kf_store_migrate(store, NULL, &report, err);
    if (!status)
        status = kf_store_check_protection(store, err);
    if (!status && up->pg)
        status = kf_pgembed_grant_server(up->pg, err);
    if (!status && !up->pg)
        status = kf_store_check_login(up->server_url, err); // now that the schema has its owner
    if (!status && !up->pg)
        status = kf_store_admit_login(store, up->server_url, err);
    if (!status)
        status = bootstrap(up, store, err);
    kf_store_close(store);
    return status;
}

// As the server's role, which may make nothing: somebody else has migrated the database and let the role in.
static enum kf_status find_database(const struct up *up, struct kf_error *err)
{
    struct kf_store *store = NULL;
    enum kf_status status = kf_store_open(&store, up->server_url, "kerf up", KF_STORE_APP, err);
    if (!status)
        status = kf_store_ping(store, err);
    if (status && strcmp(err->code, "not_migrated") == 0)
        status = kf_error_set(err, status, "not_migrated",
                              "the database is not migrated: name the schema's owner in KERF_DATABASE_OWNER_URL");
    kf_store_close(store);
    return status;
}

static enum kf_status prepare_database(struct up *up, struct kf_error *err)
{
    int owner_unknown = !up->pg && !*kf_config_text("KERF_DATABASE_OWNER_URL");
    // Before anything is done to a database that is not ours.
    enum kf_status status = up->pg ? KF_OK : kf_store_check_login(up->server_url, err);
    if (!status)
        status = owner_unknown ? find_database(up, err) : make_database(up, err);
    if (!status)
        status = note_database(up, err);
    if (!status && setenv("KERF_DATABASE_URL", up->server_url, 1))
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the settings");
    unsetenv("KERF_DATABASE_OWNER_URL"); // the daemons never see the owner
    return status;
}

// ---------------------------------------------------------------------------------------------- daemons
static enum kf_status prepare_certificate(const struct up *up, struct kf_error *err)
{
    char certificate[PATH_MAX], key[PATH_MAX], host[256] = "localhost";
    if (kf_config_integer("KERF_TLS_PORT") == 0 || *kf_config_text("KERF_TLS_CERT"))
        return KF_OK;
    snprintf(certificate, sizeof certificate, "%s/tls.crt", up->data);
    snprintf(key, sizeof key, "%s/tls.key", up->data);
    gethostname(host, sizeof host - 1);
    const char *const names[] = {host, "localhost", "127.0.0.1", NULL};
    enum kf_status status = kf_tls_make_self_signed(certificate, key, names, err);
    if (status && status != KF_CONFLICT) // there already
        return status;
    setenv("KERF_TLS_CERT", certificate, 1);
    setenv("KERF_TLS_KEY", key, 1);
    return kf_config_load(up->data, err);
}

static int answers(const struct up *up)
{
    struct kf_net_client *client = NULL;
    struct kf_str text = {0};
    struct kf_error err;
    int ok = !kf_net_client_new(up->http, NULL, NULL, &client, &err) &&
             !kf_net_get_text(client, "/readyz", 65536, &text, &err);
    kf_net_client_free(client);
    kf_str_release(&text);
    return ok;
}

static int accepts(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

// 0 when everything answers, the signal that asks to stop, or -1 when time ran out.
static int wait_ready(struct up *up)
{
    int64_t deadline = kf_time_monotonic_ns() / 1000000 + READY_LIMIT_MS;
    while (kf_time_monotonic_ns() / 1000000 < deadline) {
        int signal_number = kf_supervisor_step(&up->supervisor, 50);
        if (signal_number)
            return signal_number;
        if (answers(up) && accepts((int)kf_config_integer("KERF_DICOM_PORT")))
            return 0;
    }
    return -1;
}

static enum kf_status start_daemons(struct up *up, struct kf_error *err)
{
    static const char *const names[] = {"kerf-server", "kerf-intake", "kerf-workerd"};
    enum kf_status status = settle_port("KERF_HTTP_PORT", kf_config_text("KERF_HTTP_ADDRESS"), err);
    if (!status)
        status = settle_port("KERF_DICOM_PORT", "127.0.0.1", err);
    if (!status)
        status = prepare_certificate(up, err);
    if (!status)
        status = kf_run_as_prepare(up->data, up->pg != NULL, &up->supervisor.user, err);
    for (size_t i = 0; !status && i < 3; i++)
        status = kf_supervisor_add(&up->supervisor, names[i], err);
    const char *address = kf_config_text("KERF_HTTP_ADDRESS");
    if (!*address || strcmp(address, "0.0.0.0") == 0)
        address = "127.0.0.1";
    snprintf(up->http, sizeof up->http, "http://%s:%d", address, (int)kf_config_integer("KERF_HTTP_PORT"));
    return status;
}

// ---------------------------------------------------------------------------------------------- telling
static void write_sign_in(const struct up *up, FILE *to)
{
    fprintf(to, "Kerf is at %s\n", up->http);
    if (kf_config_integer("KERF_TLS_PORT"))
        fprintf(to, "       and https on port %d\n", (int)kf_config_integer("KERF_TLS_PORT"));
    fprintf(to, "DICOM: AE title %s, port %d\n", kf_config_text("KERF_DICOM_AE"),
            (int)kf_config_integer("KERF_DICOM_PORT"));
    if (*up->one_time_password)
        fprintf(to, "Sign in as %s with the one-time password %s\n(shown once; it must be changed at the first sign-in)\n",
                ADMIN_LOGIN, up->one_time_password);
    else
        fprintf(to, "Sign in as before (`kerf user reset-password %s --data %s` makes a new one-time password)\n",
                ADMIN_LOGIN, up->data);
}

static enum kf_status tell(const struct up *up, struct kf_error *err)
{
    if (up->sign_in_file) {
        int fd = open(up->sign_in_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
        if (!file)
            return kf_error_errno(err, errno, up->sign_in_file);
        write_sign_in(up, file);
        if (fclose(file))
            return kf_error_errno(err, errno, up->sign_in_file);
    } else {
        write_sign_in(up, stdout);
        fflush(stdout);
    }
    if (!up->ready_file)
        return KF_OK;
    json_t *ready = json_pack("{s:s, s:{s:s, s:i, s:s}, s:s, s:s, s:i}", "http", up->http, "dicom", "host", "127.0.0.1",
                              "port", (int)kf_config_integer("KERF_DICOM_PORT"), "ae_title",
                              kf_config_text("KERF_DICOM_AE"), "data", up->data, "database_url", up->owner_url,
                              "tls_port", (int)kf_config_integer("KERF_TLS_PORT"));
    int saved_mask = (int)umask(077);
    enum kf_status status = ready ? kf_json_save(up->ready_file, ready, err) : KF_NOMEM;
    umask((mode_t)saved_mask);
    json_decref(ready);
    return status;
}

// ---------------------------------------------------------------------------------------------- the whole
static enum kf_status start_all(struct up *up, int *stop, struct kf_error *err)
{
    enum kf_status status = open_data(up, err);
    if (!status)
        status = start_database(up, err);
    if (!status)
        status = prepare_database(up, err);
    if (!status)
        status = start_daemons(up, err);
    if (status)
        return status;
    *stop = wait_ready(up);
    if (*stop < 0)
        return kf_error_set(err, KF_TIMEOUT, "not_ready", "the daemons did not answer within %d s; the log above says why",
                            READY_LIMIT_MS / 1000);
    return *stop ? KF_OK : tell(up, err);
}

int kf_command_up(int argc, char **argv)
{
    static struct up up;
    struct kf_error err = {0};
    int stop = 0;
    up.lock_fd = -1;
    int taken = take_arguments(&up, argc, argv, &err);
    if (taken)
        return taken < 0 ? KF_EXIT_OK : (kf_command_failed("up", &err), KF_EXIT_USAGE);
    kf_log_init("kerf", KF_LOG_INFO);
    kf_supervisor_signals();
    enum kf_status status = start_all(&up, &stop, &err);
    while (!status && !stop)
        stop = kf_supervisor_step(&up.supervisor, 500);
    kf_supervisor_stop(&up.supervisor, STOP_GRACE_MS);
    kf_pgembed_stop(up.pg);
    if (up.lock_fd >= 0)
        close(up.lock_fd);
    return status ? kf_command_failed("up", &err) : KF_EXIT_OK;
}
