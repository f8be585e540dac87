// kerf check: pushes a study through the DICOM port of a running Kerf and verifies everything that it makes of it. The last
// line is one JSON object; the exit code is 0 only when all of it exists and is sound.
#include "server/main/kerf.h"

#include "server/base/config.h"
#include "server/base/crypto/password.h"
#include "server/base/json.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/main/check_case.h"
#include "server/store/account.h"
#include "workers/dicom/meta.h"
#include "workers/intake/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_S    900
#define CASES_MOST   16
#define TOKEN_LIFE_S 3600

struct check {
    const char *study, *data, *ready_file;
    json_t *ready;
    struct kf_net_client *client;
    struct kf_store *store;
    char organisation[KF_ID_TEXT], token_id[KF_ID_TEXT];
    struct kf_send_report sent;
    char cases[CASES_MOST][KF_ID_TEXT];
    int case_count;
    struct kf_check_counts counts;
};

static int take_arguments(struct check *check, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--ready-file") == 0 || strcmp(argv[i], "--data") == 0) {
            const char **to = strcmp(argv[i], "--data") == 0 ? &check->data : &check->ready_file;
            if (!(*to = kf_command_value(argc, argv, &i)))
                return -1;
        } else if (argv[i][0] != '-' && !check->study) {
            check->study = argv[i];
        } else {
            return -1;
        }
    }
    return check->study && check->ready_file && check->data ? 0 : -1;
}

// A token of an hour, made as the administrator of the machine: the check must not use up the one-time password.
static enum kf_status connect_api(struct check *check, struct kf_error *err)
{
    char owner[4400], server[4400], token[KF_TOKEN_TEXT];
    unsigned char digest[KF_SHA256_BYTES];
    enum kf_status status = kf_command_database(check->data, owner, server, sizeof owner, err);
    if (!status)
        status = kf_store_open(&check->store, owner, "kerf check", KF_STORE_OWNER, err);
    if (!status)
        status = kf_store_organisation_find(check->store, NULL, check->organisation, err);
    kf_token_new("kerf_", token, digest);
    if (!status)
        status = kf_store_token_add(check->store, check->organisation, "kerf check", "viewer", digest, NULL, TOKEN_LIFE_S,
                                    check->token_id, err);
    return status ? status : kf_net_client_new(kf_json_text(check->ready, "http", ""), token, NULL, &check->client, err);
}

static int show_progress(void *last, const struct kf_send_report *sent)
{
    int percent = sent->objects ? 100 * (sent->sent + sent->refused) / sent->objects : 0;
    if (percent / 10 != *(int *)last / 10)
        fprintf(stderr, "  %d of %d objects sent\n", sent->sent, sent->objects);
    *(int *)last = percent;
    return 0;
}

static enum kf_status send_study(struct check *check, struct kf_error *err)
{
    const json_t *dicom = json_object_get(check->ready, "dicom");
    struct kf_scu_options peer = {
        .host = kf_json_text(dicom, "host", "127.0.0.1"),
        .port = (int)kf_json_integer(dicom, "port", 0),
        .calling_ae = "KERFCHECK",
        .called_ae = kf_json_text(dicom, "ae_title", "KERF"),
        .timeout_s = 60,
    };
    int last = 0;
    enum kf_status status = kf_dicom_init(err);
    return status ? status : kf_send_study(check->study, &peer, show_progress, &last, &check->sent, err);
}

static int has_study(const json_t *detail, const struct kf_send_report *sent)
{
    size_t i;
    json_t *study;
    json_array_foreach (json_object_get(detail, "studies"), i, study)
        for (int k = 0; k < sent->studies; k++)
            if (strcmp(kf_json_text(study, "study_uid", ""), sent->study_uids[k]) == 0)
                return 1;
    return 0;
}

// The newest cases come first; ours are among them.
static enum kf_status find_cases(struct check *check, struct kf_error *err)
{
    json_t *page = NULL, *item;
    size_t i;
    enum kf_status status = kf_net_get_json(check->client, "/api/v1/cases?limit=100", &page, err);
    json_array_foreach (json_object_get(page, "items"), i, item) {
        char path[120];
        json_t *detail = NULL;
        snprintf(path, sizeof path, "/api/v1/cases/%s", kf_json_text(item, "id", ""));
        if (!status)
            status = kf_net_get_json(check->client, path, &detail, err);
        if (!status && check->case_count < CASES_MOST && has_study(detail, &check->sent))
            kf_str_copy(check->cases[check->case_count++], KF_ID_TEXT, kf_json_text(item, "id", ""));
        json_decref(detail);
    }
    json_decref(page);
    if (!status && !check->case_count)
        status = kf_error_set(err, KF_UNPROCESSABLE, "no_case", "the study arrived, but no case holds it");
    return status;
}

static enum kf_status verify(struct check *check, struct kf_error *err)
{
    // With several cases nobody knows in advance how the instances part; each is settled when nothing waits or runs.
    long long expected = check->case_count == 1 ? check->sent.sent : 1;
    enum kf_status status = KF_OK;
    for (int i = 0; !status && i < check->case_count; i++) {
        json_t *detail = NULL;
        status = kf_check_wait(check->client, check->cases[i], expected, TIMEOUT_S, &detail, err);
        check->counts.instances += kf_json_integer(json_object_get(detail, "counts"), "instances", 0);
        json_decref(detail);
        if (!status)
            status = kf_check_artefacts(check->client, check->cases[i], &check->counts, err);
    }
    return status;
}

static void release(struct check *check)
{
    struct kf_error ignored;
    if (check->store && *check->token_id &&
        kf_store_token_revoke(check->store, check->organisation, check->token_id, &ignored))
        fprintf(stderr, "kerf check: its token could not be revoked; it ends within an hour\n");
    kf_net_client_free(check->client);
    kf_store_close(check->store);
    json_decref(check->ready);
}

int kf_command_check(int argc, char **argv)
{
    static struct check check;
    struct kf_error err = {0};
    if (take_arguments(&check, argc, argv)) {
        fputs("kerf check --ready-file FILE --data DIR STUDY\n"
              "Pushes STUDY (a folder or a zip of DICOM) through the DICOM port of the running kerf up that wrote FILE.\n",
              stderr);
        return KF_EXIT_USAGE;
    }
    int64_t began = kf_time_monotonic_ns();
    enum kf_status status = kf_json_load(check.ready_file, &check.ready, &err);
    if (!status)
        status = connect_api(&check, &err);
    if (!status)
        status = send_study(&check, &err);
    if (!status)
        fprintf(stderr, "  %d objects are safe\n", check.sent.sent);
    if (!status)
        status = find_cases(&check, &err);
    if (!status)
        status = verify(&check, &err);
    release(&check);
    if (status)
        return kf_command_failed("check", &err);
    printf("{\"case\":\"%s\",\"instances\":%lld,\"volumes\":%lld,\"segments\":%lld,\"meshes\":%lld,\"seconds\":%.1f}\n",
           check.cases[0], check.counts.instances, check.counts.volumes, check.counts.segments, check.counts.meshes,
           (double)(kf_time_monotonic_ns() - began) / 1e9);
    return KF_EXIT_OK;
}
