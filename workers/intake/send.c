#include "workers/intake/send.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "workers/intake/study.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct sender {
    const struct kf_study *study;
    const struct kf_scu_options *peer;
    kf_send_progress *progress;
    void *progress_context;
    struct kf_send_report *report;
};

static void count_refusal(struct kf_send_report *report, const char *code, uint16_t dimse_status)
{
    report->refused++;
    if (!report->refused_code[0]) {
        kf_str_copy(report->refused_code, sizeof report->refused_code, code);
        report->dimse_status = dimse_status;
    }
}

static enum kf_status send_one(struct sender *s, struct kf_scu *scu, const struct kf_study_object *object,
                               struct kf_error *err)
{
    int fd = object->path ? open(object->path, O_RDONLY | O_CLOEXEC) : s->study->scratch;
    if (fd < 0)
        return kf_error_errno(err, errno, "A file of the study cannot be opened again");
    struct kf_scu_object to_send = {
        .sop_class = object->sop_class,
        .sop_instance = object->sop_instance,
        .transfer_syntax = s->study->contexts[object->context].transfer_syntax,
        .fd = fd,
        .offset = object->offset,
        .length = object->length,
    };
    uint16_t answer = 0;
    enum kf_status status = kf_scu_store(scu, &to_send, &answer, err);
    if (object->path)
        close(fd);
    if (status == KF_UNSUPPORTED) {
        count_refusal(s->report, err->code, 0);
        return KF_OK;
    }
    if (status != KF_OK)
        return status;
    if (answer == 0 || (answer & 0xf000) == 0xb000) { // Bxxx: stored, with a warning
        s->report->sent++;
        s->report->bytes += object->length;
    } else {
        char code[48];
        snprintf(code, sizeof code, "status_%04x", answer);
        count_refusal(s->report, code, answer);
    }
    return KF_OK;
}

// Sends the objects whose context lies in [first, first + count) over one association.
static enum kf_status send_group(struct sender *s, int first, int count, struct kf_error *err)
{
    struct kf_scu_context contexts[KF_SCU_CONTEXTS];
    for (int i = 0; i < count; i++) {
        const struct kf_study_context *from = &s->study->contexts[first + i];
        contexts[i] = (struct kf_scu_context){from->sop_class, from->transfer_syntax};
    }
    struct kf_scu *scu = NULL;
    enum kf_status status = kf_scu_open(s->peer, contexts, count, &scu, err);
    for (size_t i = 0; i < s->study->count && status == KF_OK; i++) {
        const struct kf_study_object *object = &s->study->objects[i];
        if (object->context < first || object->context >= first + count)
            continue;
        status = send_one(s, scu, object, err);
        if (status == KF_OK && s->progress && s->progress(s->progress_context, s->report))
            status = kf_error_set(err, KF_CANCELLED, NULL, "Sending was stopped.");
    }
    kf_scu_close(scu);
    return status;
}

enum kf_status kf_send_study(const char *path, const struct kf_scu_options *peer, kf_send_progress *progress,
                             void *progress_context, struct kf_send_report *report, struct kf_error *err)
{
    *report = (struct kf_send_report){0};
    struct kf_study study;
    enum kf_status status = kf_study_open(path, &study, report, err);
    if (status != KF_OK)
        return status;
    struct sender sender = {&study, peer, progress, progress_context, report};
    int64_t started = kf_time_monotonic_ns();
    const int most = KF_SCU_CONTEXTS - 1;
    for (int first = 0; first < (int)study.context_count && status == KF_OK; first += most) {
        int rest = (int)study.context_count - first;
        status = send_group(&sender, first, rest < most ? rest : most, err);
    }
    report->seconds = (double)(kf_time_monotonic_ns() - started) / 1e9;
    kf_study_release(&study);
    if (status == KF_OK && report->refused > 0)
        status = kf_error_set(err, KF_UNPROCESSABLE, "refused_objects", "The peer did not take %d of %d objects (%s).",
                              report->refused, report->objects, report->refused_code);
    return status;
}
