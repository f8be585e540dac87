#include "workers/intake/session.h"
#include "server/app/work.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/store/account.h"
#include "server/store/store.h"
#include "workers/dicom/net_command.h"
#include "workers/intake/receive.h"
#include "workers/runtime/sandbox.h"
#include <string.h>
#include <sys/resource.h>

enum {
    NOT_AUTHORIZED = 0x0124, // PS3.7 annex C
    SERIES_MOST = 64,        // remembered of one association; the sweep finds the rest
};

struct series {
    char id[KF_ID_TEXT];
    int count;
};

struct session {
    const struct kf_session_settings *settings;
    const struct kf_child *child;
    struct kf_store *store;
    struct kf_blob_store *blobs;
    struct kf_receive *receive;
    struct kf_scp_peer peer;
    struct kf_peer_match match;
    char association_id[KF_ID_TEXT];
    int stored, duplicates, conflicts;
    uint16_t last_status;
    struct series series[SERIES_MOST]; // that grew
    int series_count;
};

// ---------------------------------------------------------------------------------------------- admission

static void on_alive(void *context)
{
    struct session *s = context;
    kf_slot_enter(s->child->slot, KF_SLOT_READING);
}

static void on_busy(void *context)
{
    struct session *s = context;
    kf_slot_enter(s->child->slot, KF_SLOT_BUSY);
}

static int is_alone(void *context)
{
    const struct session *s = context;
    return kf_child_alone(s->child);
}

static void log_trouble(const struct session *s, enum kf_log_level level, const char *event, const struct kf_error *err)
{
    kf_log(level, event, "association=%s code=%s", s->association_id,
           err->code[0] ? err->code : kf_status_wire(err->status));
}

static enum kf_status open_parts(struct session *s, struct kf_error *err)
{
    enum kf_status status =
        kf_store_open(&s->store, s->settings->database_url, "kerf-intake", KF_STORE_APP, err);
    if (status == KF_OK)
        status = kf_store_peer_find(s->store, s->peer.calling_ae, s->peer.called_ae, s->child->address, &s->match, err);
    if (status == KF_OK)
        status = kf_blob_store_open(&s->blobs, s->settings->data, err);
    if (status != KF_OK)
        return status;
    struct kf_receive_options options = {
        .store = s->store,
        .blobs = s->blobs,
        .organisation = s->match.organisation_id,
        .calling_ae = s->peer.calling_ae,
        .address = s->child->address,
        .association_id = s->association_id,
        .database_wait_s = s->settings->database_wait_s,
        .busy = on_busy,
        .alone = is_alone,
        .context = s,
    };
    return kf_receive_new(&options, &s->receive, err);
}

static enum kf_scp_verdict on_admit(void *context, const struct kf_scp_peer *peer)
{
    struct session *s = context;
    s->peer = *peer;
    kf_slot_enter(s->child->slot, KF_SLOT_BUSY);
    struct kf_error err = {0};
    enum kf_status status = peer->calling_ae[0] ? open_parts(s, &err) : KF_NOT_FOUND;
    kf_slot_enter(s->child->slot, KF_SLOT_READING);
    if (status == KF_NOT_FOUND)
        return strcmp(peer->called_ae, s->settings->ae_title) == 0 ? KF_SCP_UNKNOWN_CALLING : KF_SCP_UNKNOWN_CALLED;
    if (status != KF_OK) {
        log_trouble(s, KF_LOG_ERROR, "association.no_database", &err);
        return KF_SCP_BUSY;
    }
    // A peer that has been set up for TLS is not believed in the clear.
    return s->match.tls && !s->child->tls ? KF_SCP_UNKNOWN_CALLING : KF_SCP_ADMIT;
}

// ---------------------------------------------------------------------------------------------- objects

static uint16_t failure(struct session *s, enum kf_status status, const struct kf_error *err)
{
    uint16_t answer = KF_DIMSE_STORAGE_FAILED;
    if (status == KF_INVALID || status == KF_UNSUPPORTED || status == KF_TOO_LARGE || status == KF_UNPROCESSABLE) {
        int mismatch = strcmp(err->code, "class_mismatch") == 0 || strcmp(err->code, "instance_mismatch") == 0 ||
                       strncmp(err->code, "no_", 3) == 0;
        answer = mismatch ? KF_DIMSE_CLASS_MISMATCH : KF_DIMSE_CANNOT_UNDERSTAND;
    } else if (kf_status_retryable(status) || status == KF_NOSPACE) {
        answer = KF_DIMSE_OUT_OF_RESOURCES;
    }
    kf_log(answer == KF_DIMSE_CLASS_MISMATCH || answer == KF_DIMSE_CANNOT_UNDERSTAND ? KF_LOG_WARN : KF_LOG_ERROR,
           "object.refused", "association=%s code=%s status=%04x", s->association_id,
           err->code[0] ? err->code : kf_status_wire(status), answer);
    s->last_status = answer;
    return answer;
}

static uint16_t on_begin(void *context, const struct kf_scp_object *object)
{
    struct session *s = context;
    if (!s->match.may_store)
        return NOT_AUTHORIZED;
    struct kf_error err = {0};
    enum kf_status status = kf_receive_begin(s->receive, object, &err);
    return status == KF_OK ? (uint16_t)KF_DIMSE_SUCCESS : failure(s, status, &err);
}

static uint16_t on_data(void *context, const unsigned char *bytes, size_t length)
{
    struct session *s = context;
    struct kf_error err = {0};
    enum kf_status status = kf_receive_data(s->receive, bytes, length, &err);
    return status == KF_OK ? (uint16_t)KF_DIMSE_SUCCESS : failure(s, status, &err);
}

static void note_series(struct session *s, const char *id)
{
    int i = s->series_count - 1;
    while (i >= 0 && strcmp(s->series[i].id, id) != 0)
        i--;
    if (i < 0 && s->series_count < SERIES_MOST) {
        i = s->series_count++;
        s->series[i] = (struct series){.count = 0};
        kf_str_copy(s->series[i].id, sizeof s->series[i].id, id);
    }
    if (i >= 0)
        s->series[i].count++;
}

static uint16_t on_end(void *context)
{
    struct session *s = context;
    struct kf_error err = {0};
    struct kf_instance_stored stored;
    kf_slot_enter(s->child->slot, KF_SLOT_BUSY);
    enum kf_status status = kf_receive_end(s->receive, &stored, &err);
    kf_slot_enter(s->child->slot, KF_SLOT_READING);
    if (status != KF_OK)
        return failure(s, status, &err);
    if (stored.outcome != KF_INSTANCE_DUPLICATE)
        note_series(s, stored.series_id);
    s->stored += stored.outcome == KF_INSTANCE_STORED;
    s->duplicates += stored.outcome == KF_INSTANCE_DUPLICATE;
    s->conflicts += stored.outcome == KF_INSTANCE_CONFLICT;
    if (stored.outcome == KF_INSTANCE_CONFLICT || (stored.outcome == KF_INSTANCE_STORED && stored.patient_differs))
        kf_log(KF_LOG_WARN, "object.flagged", "association=%s instance=%s reason=%s", s->association_id,
               stored.instance_id, stored.patient_differs ? "patient_mismatch" : "conflict");
    return KF_DIMSE_SUCCESS;
}

static void on_cut(void *context)
{
    struct session *s = context;
    kf_receive_cut(s->receive);
}

// ---------------------------------------------------------------------------------------------- the association

// No core file (it would hold patient data), a bound on what a crafted object can make us take, and few calls of the system
// to whoever takes us over. Before the first byte is read.
static enum kf_status limit_self(const struct kf_session_settings *settings, struct kf_error *err)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    struct rlimit memory = {(rlim_t)settings->memory_limit_bytes, (rlim_t)settings->memory_limit_bytes};
    if (settings->memory_limit_bytes > 0)
        (void)setrlimit(RLIMIT_AS, &memory);
    return kf_sandbox_enter_client(err);
}

// A sender that has released its association is done as a rule: the import need not wait for the series to settle. Not so
// for one that opens an association for every image, or several at a time; those series are left to the sweep.
static void announce_series(struct session *s, const struct kf_scp_report *report)
{
    if (report->outcome != KF_SCP_RELEASED || !kf_child_alone(s->child))
        return;
    for (int i = 0; i < s->series_count; i++) {
        struct kf_error err = {0};
        if (s->series[i].count > 1 &&
            kf_app_series_received(s->store, s->match.organisation_id, s->series[i].id, &err) != KF_OK)
            log_trouble(s, KF_LOG_WARN, "series.not_announced", &err);
    }
}

// Titles in a log line: one word.
static void log_word(char to[KF_AE_TITLE], const char *title)
{
    kf_str_copy(to, KF_AE_TITLE, title[0] ? title : "-");
    for (char *c = to; *c; c++) {
        if (*c == ' ' || *c == '=')
            *c = '_';
    }
}

static void log_end(const struct session *s, const struct kf_scp_report *report, double seconds)
{
    char calling[KF_AE_TITLE], called[KF_AE_TITLE];
    log_word(calling, s->peer.calling_ae);
    log_word(called, s->peer.called_ae);
    int odd = report->outcome != KF_SCP_RELEASED || report->failures > 0;
    kf_log(odd ? KF_LOG_WARN : KF_LOG_INFO, "association.closed",
           "association=%s calling=%s called=%s address=%s tls=%d outcome=%s reason=%s contexts=%u refused_contexts=%u "
           "echoes=%u stores=%u stored=%d duplicates=%d conflicts=%d failures=%u last_status=%04x bytes=%lld "
           "seconds=%.3f",
           s->association_id, calling, called, s->child->address, s->child->tls, kf_scp_outcome_name(report->outcome),
           report->reason[0] ? report->reason : "-", report->contexts_accepted, report->contexts_refused,
           report->echoes, report->stores, s->stored, s->duplicates, s->conflicts, report->failures, s->last_status,
           (long long)report->bytes, seconds);
}

int kf_session_main(const struct kf_child *child, void *context)
{
    const struct kf_session_settings *settings = context;
    struct session s = {.settings = settings, .child = child};
    int64_t started = kf_time_monotonic_ns();
    kf_id_new(s.association_id);
    struct kf_error err = {0};
    if (limit_self(settings, &err) != KF_OK) {
        log_trouble(&s, KF_LOG_ERROR, "association.no_sandbox", &err);
        return 1;
    }
    struct kf_scp_options options = settings->scp;
    options.tls = child->tls ? settings->tls : NULL;
    struct kf_scp_handler handler = {&s, on_admit, on_begin, on_data, on_end, on_cut, on_alive};
    struct kf_scp_report report;
    kf_scp_serve(child->fd, &options, &handler, child->cut, &report);
    kf_slot_enter(child->slot, KF_SLOT_BUSY);
    announce_series(&s, &report);
    kf_receive_free(s.receive);
    kf_blob_store_close(s.blobs);
    kf_store_close(s.store);
    log_end(&s, &report, (double)(kf_time_monotonic_ns() - started) / 1e9);
    return 0;
}
