// kerf-intake: the DICOM listener. Reads the settings, loads what children share (data dictionary, TLS keys), listens.
#include "server/base/config.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "workers/dicom/meta.h"
#include "workers/intake/listener.h"
#include "workers/intake/session.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: kerf-intake [--data DIR] [--ready FILE]\n"
    "\n"
    "Receives DICOM (C-ECHO, C-STORE). Everything else is a setting: see `kerf settings`.\n"
    "  --data DIR    data directory (KERF_DATA)\n"
    "  --ready FILE  write {\"port\",\"tls_port\"} there as soon as it listens\n";

struct arguments {
    const char *data, *ready;
};

static int parse_arguments(int argc, char **argv, struct arguments *out)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
            out->data = argv[++i];
        else if (strcmp(argv[i], "--ready") == 0 && i + 1 < argc)
            out->ready = argv[++i];
        else
            return -1;
    }
    return 0;
}

static enum kf_status read_settings(struct kf_session_settings *to, struct kf_error *err)
{
    static char blobs[4096];
    const char *location = kf_config_text("KERF_BLOBS");
    int n = location[0] ? snprintf(blobs, sizeof blobs, "%s", location)
                        : snprintf(blobs, sizeof blobs, "%s/blobs", kf_config_text("KERF_DATA"));
    if (n < 0 || (size_t)n >= sizeof blobs)
        return kf_error_set(err, KF_INVALID, "setting", "KERF_BLOBS is too long.");
    const char *unknown = kf_config_text("KERF_INTAKE_UNKNOWN");
    if (strcmp(unknown, "refuse") != 0 && strcmp(unknown, "set_aside") != 0)
        return kf_error_set(err, KF_INVALID, "setting", "KERF_INTAKE_UNKNOWN is neither refuse nor set_aside.");
    if (!kf_config_text("KERF_DATABASE_URL")[0])
        return kf_error_set(err, KF_INVALID, "setting", "KERF_DATABASE_URL is not set.");
    *to = (struct kf_session_settings){
        .database_url = kf_config_text("KERF_DATABASE_URL"),
        .ae_title = kf_config_text("KERF_DICOM_AE"),
        .data = blobs,
        .database_wait_s = kf_config_number("KERF_INTAKE_DATABASE_WAIT_S"),
        .memory_limit_bytes = kf_config_integer("KERF_INTAKE_MEMORY_BYTES"),
        .scp.set_aside_unknown = strcmp(unknown, "set_aside") == 0,
        .scp.object_limit = kf_config_integer("KERF_INTAKE_OBJECT_BYTES"),
        .scp.pdu_bytes = (uint32_t)kf_config_integer("KERF_INTAKE_PDU_BYTES"),
    };
    return KF_OK;
}

static void read_listener_options(struct kf_listener_options *to)
{
    int tls_port = (int)kf_config_integer("KERF_DICOM_TLS_PORT");
    *to = (struct kf_listener_options){
        .bind_address = kf_config_text("KERF_DICOM_ADDRESS"),
        .port = (int)kf_config_integer("KERF_DICOM_PORT"),
        .tls_port = tls_port > 0 ? tls_port : -1,
        .max_associations = (int)kf_config_integer("KERF_INTAKE_ASSOCIATIONS"),
        .max_per_address = (int)kf_config_integer("KERF_INTAKE_PER_ADDRESS"),
        .negotiation_s = (int)kf_config_number("KERF_INTAKE_NEGOTIATION_S"),
        .idle_s = (int)kf_config_number("KERF_INTAKE_IDLE_S"),
        .association_s = (int)kf_config_number("KERF_INTAKE_ASSOCIATION_S"),
        .busy_s = 120 + (int)kf_config_number("KERF_INTAKE_DATABASE_WAIT_S"),
    };
}

static enum kf_status load_tls(struct kf_scp_tls **tls, struct kf_error *err)
{
    *tls = NULL;
    if (kf_config_integer("KERF_DICOM_TLS_PORT") == 0)
        return KF_OK;
    return kf_scp_tls_new(kf_config_text("KERF_DICOM_TLS_CERT"), kf_config_text("KERF_DICOM_TLS_KEY"),
                          kf_config_text("KERF_DICOM_TLS_CA"), kf_config_flag("KERF_DICOM_TLS_CLIENT"), tls,
                          err);
}

static enum kf_status say_ready(const struct kf_listener *listener, const char *path, struct kf_error *err)
{
    int port = kf_listener_port(listener), tls_port = kf_listener_tls_port(listener);
    kf_log(KF_LOG_INFO, "intake.listening", "port=%d tls_port=%d", port, tls_port);
    if (!path)
        return KF_OK;
    json_t *ready = json_pack("{s:i,s:i}", "port", port, "tls_port", tls_port);
    enum kf_status status =
        ready ? kf_json_save(path, ready, err) : kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    json_decref(ready);
    return status;
}

static enum kf_status run(const struct arguments *arguments, struct kf_error *err)
{
    struct kf_session_settings settings = {0};
    struct kf_listener_options options;
    struct kf_listener *listener = NULL;
    struct kf_scp_tls *tls = NULL;
    enum kf_status status = kf_config_load(arguments->data, err);
    if (status == KF_OK)
        status = read_settings(&settings, err);
    if (status == KF_OK)
        status = kf_dicom_init(err);
    if (status == KF_OK)
        status = load_tls(&tls, err);
    if (status == KF_OK) {
        settings.tls = tls;
        read_listener_options(&options);
        status = kf_listener_new(&options, &listener, err);
    }
    if (status == KF_OK)
        status = say_ready(listener, arguments->ready, err);
    if (status == KF_OK)
        status = kf_listener_run(listener, kf_session_main, &settings, err);
    kf_listener_free(listener);
    kf_scp_tls_free(tls);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    if (parse_arguments(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    kf_log_init("kerf-intake", KF_LOG_INFO);
    struct kf_error err = {0};
    if (run(&arguments, &err) != KF_OK) {
        kf_log_error(KF_LOG_ERROR, "intake.failed", &err);
        return 1;
    }
    kf_log(KF_LOG_INFO, "intake.stopped", "reason=signal");
    return 0;
}
