#include "server/app/work.h"

#include "server/app/internal.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/base/timeid.h"
#include "server/domain/pipeline.h"
#include "server/store/event.h"
#include "server/store/read.h"
#include "server/store/series.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_MOST       64   // series at once; the next sweep takes the rest
#define REAP_INTERVAL_S  5    // between looks for leases that have run out
#define PRUNE_INTERVAL_S 3600 // between removals of old events and keys

static _Atomic int64_t last_reap_ns, last_prune_ns;

static json_t *follow_list(const char *kind);

static json_t *follow_rule(const struct kf_pipeline_step *step)
{
    json_t *when = json_pack("{s:s}", "output_kind", step->output_kind);
    if (step->modality && when)
        json_object_set_new(when, "meta", json_pack("{s:s}", "modality", step->modality));
    json_t *inputs = json_pack("[{s:s, s:s}]", "name", step->input, "output", "$match");
    if (step->also && inputs)
        json_array_append_new(inputs, json_pack("{s:s, s:s}", "name", step->also, "input", step->also));
    return json_pack("{s:s, s:i, s:{}, s:i, s:o, s:o, s:o}", "kind", step->kind, "version",
                     kf_job_kind_version(step->kind), "params", "priority", kf_job_kind_priority(step->kind), "when",
                     when, "inputs", inputs, "follow", follow_list(step->kind));
}

// The follow list of the pipeline (server/domain/pipeline.h) below jobs of this kind. Owned (json_decref); NULL when
// memory has run out.
static json_t *follow_list(const char *kind)
{
    json_t *list = json_array();
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind && list; step++)
        if (kf_pipeline_follows(step, kind) && json_array_append_new(list, follow_rule(step)) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static enum kf_status queue_import(struct kf_store *store, const struct kf_series_due *due,
                                   const struct kf_queue_input *inputs, size_t count, struct kf_error *err)
{
    struct kf_queued queued;
    json_t *follow = follow_list(KF_PIPELINE_START);
    struct kf_queue_job job = {.case_id = due->case_id,
                               .series_id = due->series_id,
                               .kind = KF_PIPELINE_START,
                               .version = kf_job_kind_version(KF_PIPELINE_START),
                               .inputs = inputs,
                               .input_count = count,
                               .follow = follow,
                               .priority = kf_job_kind_priority(KF_PIPELINE_START),
                               .supersedes = 1};
    enum kf_status status = follow ? kf_queue_add(store, due->organisation_id, &job, &queued, err)
                                   : kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to queue an import.");
    json_decref(follow);
    if (status == KF_OK)
        kf_log(KF_LOG_INFO, "import.queued", "series=%s job=%s instances=%zu reused=%d", due->series_id, queued.job_id,
               count, queued.reused);
    return status;
}

// Within a transaction: the import over all instances that take part, or none when all were set aside.
static enum kf_status import_series(struct kf_store *store, const struct kf_series_due *due, struct kf_arena *arena,
                                    struct kf_error *err)
{
    struct kf_series_instance *instances;
    size_t count;
    enum kf_status status = kf_store_case_lock(store, due->organisation_id, due->case_id, err);
    if (status == KF_OK)
        status = kf_store_series_take(store, due->organisation_id, due->series_id, arena, &instances, &count, err);
    if (status != KF_OK)
        return status;
    struct kf_queue_input *inputs = kf_arena_alloc(arena, (count + 1) * sizeof *inputs);
    json_t *flagged = json_pack("{s:b}", "conflict", 1);
    for (size_t i = 0; inputs && i < count; i++) {
        inputs[i] = (struct kf_queue_input){.name = "instance", .media_type = "application/dicom"};
        memcpy(inputs[i].sha256, instances[i].blob_sha256, sizeof inputs[i].sha256);
        inputs[i].meta = instances[i].conflict ? flagged : NULL;
    }
    if (!inputs || !flagged)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the inputs of an import.");
    else if (count > 0)
        status = queue_import(store, due, inputs, count, err);
    json_decref(flagged);
    if (status == KF_OK)
        status = kf_store_case_derive(store, due->organisation_id, due->case_id, err);
    return status;
}

static enum kf_status import_due(struct kf_store *store, const struct kf_series_due *due, struct kf_error *err)
{
    struct kf_arena arena = {0};
    enum kf_status status = kf_store_begin(store, due->organisation_id, err);
    if (status == KF_OK)
        status = import_series(store, due, &arena, err);
    if (status == KF_OK)
        status = kf_store_commit(store, err);
    else
        kf_store_rollback(store);
    kf_arena_release(&arena);
    return status;
}

enum kf_status kf_app_series_received(struct kf_store *store, const char *organisation, const char *series_id,
                                      struct kf_error *err)
{
    struct kf_series_due due;
    enum kf_status status = kf_store_series_due(store, organisation, series_id, &due, err);
    if (status == KF_NOT_FOUND)
        return KF_OK;
    if (status == KF_OK)
        status = import_due(store, &due, err);
    // Somebody else queued it at the same moment: that is as good.
    return status == KF_CONFLICT || status == KF_NOT_FOUND ? KF_OK : status;
}

// 1 for one caller of this process every interval.
static int is_due(_Atomic int64_t *last_ns, int interval_s)
{
    int64_t now = kf_time_monotonic_ns(), seen = atomic_load(last_ns);
    return (seen == 0 || now - seen >= (int64_t)interval_s * 1000000000) &&
           atomic_compare_exchange_strong(last_ns, &seen, now);
}

static enum kf_status reap(struct kf_store *store, double events_keep_s, struct kf_error *err)
{
    int count;
    enum kf_status status = kf_queue_reap(store, &count, err);
    if (status == KF_OK && count > 0)
        kf_log(KF_LOG_WARN, "queue.reaped", "jobs=%d", count);
    if (status == KF_OK && is_due(&last_prune_ns, PRUNE_INTERVAL_S))
        status = kf_store_events_prune(store, events_keep_s, &count, err);
    return status;
}

enum kf_status kf_app_sweep(struct kf_store *store, const struct kf_app_config *config, int *queued,
                            struct kf_error *err)
{
    struct kf_arena arena = {0};
    struct kf_series_due *due = NULL;
    size_t count = 0;
    int done = 0;
    enum kf_status status = kf_store_series_settled(store, config->settle_s, SWEEP_MOST, &arena, &due, &count, err);
    for (size_t i = 0; status == KF_OK && i < count; i++) {
        status = import_due(store, &due[i], err);
        if (status == KF_OK)
            done++;
        else if (status != KF_DB && status != KF_NOMEM) {
            // One series that cannot be queued must not hold up the others: it is tried again at the next sweep.
            if (status != KF_CONFLICT && status != KF_NOT_FOUND) // taken by somebody else at the same moment
                kf_log_error(KF_LOG_ERROR, "sweep.import_failed", err);
            status = KF_OK;
        }
    }
    kf_arena_release(&arena);
    if (status == KF_OK && is_due(&last_reap_ns, REAP_INTERVAL_S))
        status = reap(store, config->events_keep_s, err);
    if (queued)
        *queued = done;
    return status;
}

// The artefacts that a person named, as inputs; all must be current and of this case.
static enum kf_status load_inputs(struct kf_app_thread *thread, const struct kf_actor *actor,
                                  const struct kf_app_job_request *request, struct kf_arena *arena,
                                  struct kf_artefact_view *views, const char **kinds, struct kf_error *err)
{
    for (size_t i = 0; i < request->artefact_count; i++) {
        enum kf_status status = kf_store_artefact_read(thread->store, actor->organisation_id, request->artefact_ids[i],
                                                       arena, &views[i], err);
        if (status == KF_NOT_FOUND || (status == KF_OK && strcmp(views[i].case_id, request->case_id) != 0))
            return kf_error_set(err, KF_UNPROCESSABLE, "unknown_input", "Input %zu is no artefact of this case.",
                                i + 1);
        if (status != KF_OK)
            return status;
        kinds[i] = views[i].kind;
    }
    return KF_OK;
}

static enum kf_status asked_inputs(const struct kf_artefact_view *views, const char *const *names, size_t count,
                                   struct kf_queue_input *inputs, json_t **metas, struct kf_error *err)
{
    for (size_t i = 0; i < count; i++) {
        enum kf_status status = kf_json_parse(views[i].meta, strlen(views[i].meta), &metas[i], err);
        if (status != KF_OK)
            return status;
        inputs[i] = (struct kf_queue_input){.name = names[i], .media_type = views[i].media_type, .meta = metas[i]};
        if (kf_hex_decode(inputs[i].sha256, sizeof inputs[i].sha256, views[i].sha256) != 0)
            return kf_error_set(err, KF_INTERNAL, NULL, "An artefact's hash cannot be read.");
    }
    return KF_OK;
}

static enum kf_status queue_asked(struct kf_app_thread *thread, const struct kf_actor *actor,
                                  const struct kf_app_job_request *request, const json_t *params,
                                  const struct kf_artefact_view *views, const char *const *names, struct kf_queued *out,
                                  struct kf_error *err)
{
    struct kf_queue_input inputs[KF_JOB_INPUTS_MOST];
    json_t *metas[KF_JOB_INPUTS_MOST] = {NULL}, *follow = follow_list(request->kind);
    enum kf_status status = follow ? asked_inputs(views, names, request->artefact_count, inputs, metas, err)
                                   : kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to queue a job.");
    struct kf_queue_job job = {.case_id = request->case_id,
                               .series_id = views[0].series_id[0] ? views[0].series_id : NULL,
                               .kind = request->kind,
                               .version = kf_job_kind_version(request->kind),
                               .params = params,
                               .inputs = inputs,
                               .input_count = request->artefact_count,
                               .follow = follow,
                               .priority = KF_PRIORITY_ASKED,
                               .created_by = actor->account_id[0] ? actor->account_id : NULL};
    if (status == KF_OK)
        status = kf_queue_add(thread->store, actor->organisation_id, &job, out, err);
    for (size_t i = 0; i < KF_JOB_INPUTS_MOST; i++)
        json_decref(metas[i]);
    json_decref(follow);
    return status;
}

enum kf_status kf_app_job_ask(struct kf_app_thread *thread, const struct kf_actor *actor,
                              const struct kf_app_job_request *request, struct kf_queued *out, struct kf_error *err)
{
    struct kf_arena arena = {0};
    const char *names[KF_JOB_INPUTS_MOST];
    json_t *params = NULL;
    enum kf_status status = kf_app_enter(thread, actor, KF_PERM_JOB_RUN, "job_create", request->case_id, err);
    if (status == KF_OK)
        status = kf_store_case_exists(thread->store, actor->organisation_id, request->case_id, err);
    if (status == KF_OK && request->artefact_count > KF_JOB_INPUTS_MOST)
        status = kf_error_set(err, KF_UNPROCESSABLE, "input_count", "No job takes more than %d inputs.",
                              KF_JOB_INPUTS_MOST);
    if (status != KF_OK)
        return status;
    struct kf_artefact_view *views = kf_arena_alloc(&arena, (request->artefact_count + 1) * sizeof *views);
    const char **kinds = kf_arena_alloc(&arena, (request->artefact_count + 1) * sizeof *kinds);
    if (!views || !kinds)
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the inputs of a job.");
    if (status == KF_OK)
        status = load_inputs(thread, actor, request, &arena, views, kinds, err);
    if (status == KF_OK)
        status = kf_job_request_check(request->kind, request->roles, kinds, (int)request->artefact_count, names, err);
    if (status == KF_OK)
        status = kf_job_params_check(request->kind, request->params, &params, err);
    if (status == KF_OK)
        status = queue_asked(thread, actor, request, params, views, names, out, err);
    json_decref(params);
    kf_arena_release(&arena);
    return status;
}
