// Who named the vertebrae of a segmentation how, and what that comes to.
#include "server/app/levels.h"
#include "server/domain/levels.h"
#include "server/http/routes_common.h"
#include <string.h>

// The rows of one segmentation.
static void out_review(struct kf_out *out, const struct kf_level_row *rows, size_t count, const char **levels)
{
    for (size_t i = 0; i < count; i++)
        levels[i] = rows[i].levels;
    enum kf_level_verdict verdict = count > 1 ? kf_levels_verdict(levels, count) : KF_LEVELS_ONCE;
    kf_out_object(out, NULL);
    kf_out_text(out, "artefact_id", rows[0].artefact_id);
    kf_out_text(out, "state", kf_level_verdict_wire(verdict));
    if (verdict == KF_LEVELS_CONFIRMED)
        kf_out_raw(out, "levels", rows[0].levels);
    else
        kf_out_null(out, "levels");
    kf_out_array(out, "statements");
    for (size_t i = 0; i < count; i++) {
        kf_out_object(out, NULL);
        kf_out_text(out, "account_id", rows[i].account_id);
        kf_out_text(out, "name", rows[i].name);
        if (rows[i].levels)
            kf_out_raw(out, "levels", rows[i].levels);
        else
            kf_out_null(out, "levels");
        kf_out_time(out, "stated_at", rows[i].stated_ms);
        kf_out_close(out);
    }
    kf_out_close(out);
    kf_out_close(out);
}

// only: the id of the one segmentation to answer with, or NULL for a list of all.
static enum kf_status reply_reviews(struct kf_request *request, struct kf_response *response, int http_status,
                                    const char *case_id, const char *only, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_level_row *rows;
    struct kf_out out = {0};
    size_t count, next;
    enum kf_status status = kf_app_level_list(call.thread, &call.actor, case_id, &request->arena, &rows, &count, err);
    if (status != KF_OK)
        return status;
    const char **levels = kf_arena_alloc(&request->arena, (count + 1) * sizeof *levels);
    if (!levels)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a list.");
    if (!only) {
        kf_out_object(&out, NULL);
        kf_out_array(&out, "items");
    }
    for (size_t i = 0; i < count; i = next) {
        for (next = i + 1; next < count && strcmp(rows[next].artefact_id, rows[i].artefact_id) == 0; next++)
            ;
        if (!only || strcmp(only, rows[i].artefact_id) == 0)
            out_review(&out, &rows[i], next - i, levels);
    }
    if (!only) {
        kf_out_close(&out);
        kf_out_close(&out);
    }
    return kf_reply(response, http_status, &out, err);
}

enum kf_status kf_route_level_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *id;
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    return status == KF_OK ? reply_reviews(request, response, 200, id, NULL, err) : status;
}

enum kf_status kf_route_level_state(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *case_id, *artefact_id = "";
    json_t *levels = NULL, *root = NULL;
    const struct kf_member members[] = {
        {.name = "artefact_id", .type = KF_MEMBER_TEXT, .required = 1, .least = 36, .most = 36, .to = &artefact_id},
        {.name = "levels", .type = KF_MEMBER_OBJECT, .required = 1, .to = &levels},
    };
    enum kf_status status = kf_path_id(request, "case_id", &case_id, err);
    if (status == KF_OK)
        status = kf_body_read(request, members, sizeof members / sizeof *members, &root, err);
    if (status == KF_OK)
        status = kf_app_level_state(call.thread, &call.actor, case_id, artefact_id, levels, err);
    json_decref(root);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status == KF_OK ? reply_reviews(request, response, 201, case_id, artefact_id, err) : status;
}
