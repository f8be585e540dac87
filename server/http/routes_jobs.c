// Jobs.
#include "server/app/work.h"
#include "server/domain/job_kinds.h"
#include "server/domain/text.h"
#include "server/http/routes_common.h"
#include <string.h>

static void out_job(struct kf_out *out, const struct kf_job_view *view)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", view->id);
    kf_out_text(out, "case_id", view->case_id);
    kf_out_text(out, "kind", view->kind);
    kf_out_int(out, "version", view->version);
    kf_out_text(out, "state", view->state);
    kf_out_int(out, "priority", view->priority);
    kf_out_int(out, "attempts", view->attempts);
    kf_out_int(out, "max_attempts", view->max_attempts);
    kf_out_number(out, "progress", view->progress);
    kf_out_text(out, "stage", view->stage);
    kf_out_flag(out, "cancel_requested", view->cancel_requested);
    if (view->error_code[0]) {
        kf_out_object(out, "error");
        kf_out_text(out, "code", view->error_code);
        kf_out_text(out, "detail", view->error_detail);
        kf_out_close(out);
    } else {
        kf_out_null(out, "error");
    }
    kf_out_raw(out, "inputs", view->inputs);
    kf_out_raw(out, "report", view->report);
    kf_out_time(out, "created_at", view->created_ms);
    kf_out_time(out, "started_at", view->started_ms);
    kf_out_time(out, "finished_at", view->finished_ms);
    kf_out_time(out, "acknowledged_at", view->acknowledged_ms);
    kf_out_close(out);
}

static int is_job_state(const char *state)
{
    static const char *const states[] = {"queued", "running", "done", "failed", "dead", "cancelled"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(states[i], state) == 0)
            return 1;
    return 0;
}

static enum kf_status reply_jobs(struct kf_request *request, struct kf_response *response, const char *case_id,
                                 const char *state, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_job_view *views;
    struct kf_page page;
    size_t count;
    struct kf_out out = {0};
    enum kf_status status = kf_page_of(request, &page, err);
    if (status == KF_OK && state && !is_job_state(state))
        status = kf_error_set(err, KF_INVALID, "invalid_query", "The query's state is not a state of a job.");
    if (status == KF_OK)
        status = kf_app_job_list(call.thread, &call.actor, case_id, state, page.after, page.limit + 1, &request->arena,
                                 &views, &count, err);
    if (status != KF_OK)
        return status;
    int more = count > (size_t)page.limit;
    size_t shown = more ? (size_t)page.limit : count;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < shown; i++)
        out_job(&out, &views[i]);
    kf_page_close(&out, more, more ? views[shown - 1].created_us : 0, more ? views[shown - 1].id : NULL);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_case_jobs(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *id;
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    return status == KF_OK ? reply_jobs(request, response, id, NULL, err) : status;
}

enum kf_status kf_route_job_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    return reply_jobs(request, response, NULL, kf_request_query(request, "state"), err);
}

static enum kf_status reply_job(struct kf_request *request, struct kf_response *response, int http_status,
                                const char *id, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_job_view view;
    struct kf_out out = {0};
    enum kf_status status = kf_app_job_read(call.thread, &call.actor, id, &request->arena, &view, err);
    if (status != KF_OK)
        return status;
    out_job(&out, &view);
    return kf_reply(response, http_status, &out, err);
}

enum kf_status kf_route_job_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *id;
    enum kf_status status = kf_path_id(request, "job_id", &id, err);
    return status == KF_OK ? reply_job(request, response, 200, id, err) : status;
}

enum kf_status kf_route_job_cancel(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "job_id", &id, err);
    if (status == KF_OK)
        status = kf_app_job_cancel(call.thread, &call.actor, id, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status == KF_OK ? reply_job(request, response, 202, id, err) : status;
}

enum kf_status kf_route_job_retry(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "job_id", &id, err);
    if (status == KF_OK)
        status = kf_app_job_retry(call.thread, &call.actor, id, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status == KF_OK ? reply_job(request, response, 202, id, err) : status;
}

enum kf_status kf_route_job_acknowledge(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "job_id", &id, err);
    if (status == KF_OK)
        status = kf_app_job_acknowledge(call.thread, &call.actor, id, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status == KF_OK ? reply_job(request, response, 200, id, err) : status;
}

// ---------------------------------------------------------------------------------------------------- asking for one
static enum kf_status check_params(struct kf_request *request, json_t *params, struct kf_error *err)
{
    const char *name;
    json_t *value;
    char pointer[96];
    if (params && json_object_size(params) > 64)
        return kf_body_fault(request, "/params", "has too many members", err);
    json_object_foreach(params, name, value)
    {
        int good = json_is_number(value) || json_is_string(value) || json_is_boolean(value);
        snprintf(pointer, sizeof pointer, "/params/%.64s", name);
        if (!good)
            return kf_body_fault(request, pointer, "must be a number, a text, true or false", err);
        if (strlen(name) > 64 || (json_is_string(value) && json_string_length(value) > 1024))
            return kf_body_fault(request, pointer, "is too long", err);
    }
    return KF_OK;
}

static enum kf_status read_inputs(struct kf_request *request, json_t *inputs, const char **ids, struct kf_error *err)
{
    size_t i;
    json_t *input;
    char pointer[32];
    json_array_foreach(inputs, i, input)
    {
        snprintf(pointer, sizeof pointer, "/inputs/%zu", i);
        if (!json_is_string(input) || !kf_id_valid(json_string_value(input)))
            return kf_body_fault(request, pointer, "must be the id of an artefact", err);
        ids[i] = json_string_value(input);
    }
    return KF_OK;
}

static enum kf_status read_roles(struct kf_request *request, json_t *roles, size_t inputs, const char **names,
                                 struct kf_error *err)
{
    size_t i;
    json_t *role;
    char pointer[32];
    if (roles && json_array_size(roles) != inputs)
        return kf_body_fault(request, "/roles", "must name every input", err);
    json_array_foreach(roles, i, role)
    {
        snprintf(pointer, sizeof pointer, "/roles/%zu", i);
        if (!json_is_string(role) || json_string_length(role) < 1 || json_string_length(role) > 64)
            return kf_body_fault(request, pointer, "must be the name of an input", err);
        names[i] = json_string_value(role);
    }
    return KF_OK;
}

enum kf_status kf_route_job_kinds(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *text = kf_job_kinds_text();
    (void)request;
    if (!text)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the kinds of jobs.");
    kf_response_bytes(response, "application/json", (const unsigned char *)text, strlen(text));
    return KF_OK;
}

enum kf_status kf_route_job_create(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    json_t *params = NULL, *inputs = NULL, *roles = NULL, *root = NULL;
    struct kf_app_job_request ask = {0};
    const struct kf_member members[] = {
        {.name = "kind", .type = KF_MEMBER_TEXT, .required = 1, .least = 1, .most = 64, .to = &ask.kind},
        {.name = "params", .type = KF_MEMBER_OBJECT, .to = &params},
        {.name = "inputs", .type = KF_MEMBER_ARRAY, .required = 1, .least = 1, .most = KF_JOB_INPUTS_MOST,
         .to = &inputs},
        {.name = "roles", .type = KF_MEMBER_ARRAY, .least = 1, .most = KF_JOB_INPUTS_MOST, .to = &roles},
    };
    const char *ids[KF_JOB_INPUTS_MOST], *names[KF_JOB_INPUTS_MOST];
    struct kf_queued queued;
    enum kf_status status = kf_path_id(request, "case_id", &ask.case_id, err);
    if (status == KF_OK)
        status = kf_body_read(request, members, sizeof members / sizeof *members, &root, err);
    if (status == KF_OK)
        status = check_params(request, params, err);
    if (status == KF_OK)
        status = read_inputs(request, inputs, ids, err);
    if (status == KF_OK)
        status = read_roles(request, roles, json_array_size(inputs), names, err);
    ask.params = params;
    ask.artefact_ids = ids;
    ask.roles = roles ? names : NULL;
    ask.artefact_count = json_array_size(inputs);
    if (status == KF_OK)
        status = kf_app_job_ask(call.thread, &call.actor, &ask, &queued, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    json_decref(root);
    if (status != KF_OK)
        return status;
    char *location = kf_arena_printf(&request->arena, "/api/v1/jobs/%s", queued.job_id);
    if (location)
        kf_response_header(request, response, "Location", location);
    return reply_job(request, response, 202, queued.job_id, err);
}
