// Queueing: the key, what is there already, and what has been done elsewhere.
#include "server/queue/internal.h"

#include "server/base/hash.h"
#include "server/base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_part(struct kf_str *text, const void *bytes, size_t length)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)length >> 8 * i);
    kf_str_add(text, prefix, sizeof prefix);
    kf_str_add(text, bytes, length);
}

static void add_text_part(struct kf_str *text, const char *part)
{
    add_part(text, part, strlen(part));
}

void kf_queue_key(const char *organisation, const char *kind, int version, const json_t *params,
                  const struct kf_queue_input *inputs, size_t input_count, unsigned char key[32])
{
    struct kf_str text = {0};
    char number[16];
    char *canonical = params ? kf_json_canonical(params) : NULL;
    snprintf(number, sizeof number, "%d", version);
    add_text_part(&text, organisation);
    add_text_part(&text, kind);
    add_text_part(&text, number);
    add_text_part(&text, canonical ? canonical : "{}");
    for (size_t i = 0; i < input_count; i++) {
        add_text_part(&text, inputs[i].name);
        add_part(&text, inputs[i].sha256, sizeof inputs[i].sha256);
    }
    if (text.failed || (params && !canonical))
        abort(); // a key that was not computed must never find a result
    kf_sha256(text.data, text.length, key);
    free(canonical);
    kf_str_release(&text);
}

enum kf_status kf_queue_begin(struct kf_queue_scope *scope, struct kf_store *store, const char *organisation,
                              struct kf_error *err)
{
    *scope = (struct kf_queue_scope){store, !kf_store_in_transaction(store)};
    return scope->own ? kf_store_begin(store, organisation, err) : KF_OK;
}

enum kf_status kf_queue_end(struct kf_queue_scope *scope, enum kf_status status, struct kf_error *err)
{
    if (!scope->own)
        return status;
    if (!status)
        status = kf_store_commit(scope->store, err);
    if (status)
        kf_store_rollback(scope->store);
    return status;
}

static enum kf_status check_job(const struct kf_queue_job *job, struct kf_error *err)
{
    size_t length = strlen(job->kind);
    if (!length || length > 60 || strspn(job->kind, "abcdefghijklmnopqrstuvwxyz0123456789._") != length)
        return kf_error_set(err, KF_INVALID, "bad_kind", "A job kind is lower case letters, digits, dots and underscores.");
    for (size_t i = 0; i < job->input_count; i++)
        if (!*job->inputs[i].name || strlen(job->inputs[i].name) > 100)
            return kf_error_set(err, KF_INVALID, "bad_input", "Input %zu of the job has no usable name.", i);
    return job->follow ? kf_follow_check(job->follow, err) : KF_OK;
}

static char *inputs_text(const struct kf_queue_job *job)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < job->input_count; i++) {
        const struct kf_queue_input *input = &job->inputs[i];
        char hex[KF_SHA256_HEX];
        kf_hex_encode(hex, input->sha256, KF_SHA256_BYTES);
        json_t *one = json_pack("{s:s, s:s, s:s, s:O?}", "name", input->name, "sha256", hex, "media_type",
                                input->media_type ? input->media_type : "", "meta", input->meta);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    char *text = list ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    return text;
}

// A job with this key is there: it gains the rules that it lacks; when it is done they are applied at once.
static enum kf_status reuse(struct kf_store *store, const char *organisation, const struct kf_queue_job *job,
                            const struct kf_job_row *found, int depth, struct kf_queued *out, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    kf_str_copy(out->job_id, sizeof out->job_id, found->id);
    kf_str_copy(out->state, sizeof out->state, found->state);
    out->reused = 1;
    if (job->follow && json_array_size(job->follow)) {
        char *follow = json_dumps(job->follow, JSON_COMPACT);
        if (!follow)
            return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to queue a job.");
        status = kf_store_job_add_follow(store, organisation, found->id, follow, err);
        free(follow);
    }
    if (status || strcmp(found->state, "done") != 0)
        return status;
    status = kf_store_artefacts_revive(store, organisation, found->id, err);
    return status ? status : kf_follow_apply(store, found, job->follow, depth + 1, err);
}

static enum kf_status insert(struct kf_store *store, const char *organisation, const struct kf_queue_job *job,
                             const unsigned char key[32], const char *done_like, char id[KF_ID_TEXT],
                             struct kf_error *err)
{
    char *params = job->params ? kf_json_canonical(job->params) : strdup("{}");
    char *inputs = inputs_text(job);
    char *follow = job->follow ? json_dumps(job->follow, JSON_COMPACT) : strdup("[]");
    enum kf_status status;
    if (!params || !inputs || !follow) {
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to queue a job.");
    } else {
        struct kf_job_insert row = {.case_id = job->case_id, .series_id = job->series_id, .kind = job->kind,
                                    .created_by = job->created_by, .version = job->version, .priority = job->priority,
                                    .max_attempts = job->max_attempts ? job->max_attempts : 5,
                                    .supersedes = job->supersedes, .params = params, .inputs = inputs,
                                    .follow = follow, .done_like = done_like};
        memcpy(row.key, key, sizeof row.key);
        status = kf_store_job_insert(store, organisation, &row, id, err);
    }
    free(params);
    free(inputs);
    free(follow);
    return status;
}

// The new row was made done, with the artefacts of another case: what hangs below it follows.
static enum kf_status after_copy(struct kf_store *store, const char *organisation, const char *id, int depth,
                                 struct kf_error *err)
{
    struct kf_job_row row;
    enum kf_status status = kf_store_job_get(store, organisation, id, 0, &row, err);
    if (status)
        return status;
    int overtaken = 0;
    if (row.supersedes && *row.series_id)
        status = kf_store_artefacts_supersede(store, organisation, id, &overtaken, err);
    if (!status && !overtaken)
        status = kf_follow_apply(store, &row, NULL, depth + 1, err);
    kf_job_row_release(&row);
    return status;
}

enum kf_status kf_queue_add_within(struct kf_store *store, const char *organisation, const struct kf_queue_job *job,
                                   int depth, struct kf_queued *out, struct kf_error *err)
{
    unsigned char key[32];
    struct kf_job_row found;
    *out = (struct kf_queued){0};
    kf_queue_key(organisation, job->kind, job->version, job->params, job->inputs, job->input_count, key);
    // Twice: a job of this key may be queued by somebody else between looking and inserting.
    for (int attempt = 0; attempt < 2; attempt++) {
        enum kf_status status = kf_store_job_by_key(store, organisation, job->case_id, key, &found, err);
        if (!status) {
            status = reuse(store, organisation, job, &found, depth, out, err);
            kf_job_row_release(&found);
            return status;
        }
        if (status != KF_NOT_FOUND)
            return status;
        status = kf_store_job_by_key(store, organisation, NULL, key, &found, err);
        if (status && status != KF_NOT_FOUND)
            return status;
        int elsewhere = !status;
        status = insert(store, organisation, job, key, elsewhere ? found.id : NULL, out->job_id, err);
        kf_job_row_release(&found);
        if (!status && job->supersedes && job->series_id)
            status = kf_store_job_cancel_older(store, organisation, out->job_id, err);
        if (!status && elsewhere)
            status = after_copy(store, organisation, out->job_id, depth, err);
        if (!status) {
            out->reused = elsewhere ? 2 : 0;
            kf_str_copy(out->state, sizeof out->state, elsewhere ? "done" : "queued");
        }
        if (status != KF_CONFLICT || !err || strcmp(err->code, "job_key") != 0)
            return status;
    }
    return kf_error_set(err, KF_UNAVAILABLE, "job_key_race", "The same work is being queued at this moment.");
}

enum kf_status kf_queue_add(struct kf_store *store, const char *organisation, const struct kf_queue_job *job,
                            struct kf_queued *out, struct kf_error *err)
{
    struct kf_queue_scope scope;
    struct kf_error local;
    if (!err)
        err = &local;
    *out = (struct kf_queued){0};
    enum kf_status status = check_job(job, err);
    if (status)
        return status;
    status = kf_queue_begin(&scope, store, organisation, err);
    if (status)
        return status;
    status = kf_store_case_lock(store, organisation, job->case_id, err);
    if (!status)
        status = kf_queue_add_within(store, organisation, job, 0, out, err);
    if (!status)
        status = kf_store_case_derive(store, organisation, job->case_id, err);
    return kf_queue_end(&scope, status, err);
}
