// Cases, studies, series and instances.
#include "server/domain/cases.h"
#include "server/domain/text.h"
#include "server/http/routes_common.h"
#include <string.h>

#define SEARCH_WORDS      12
#define SEARCH_CHARACTERS 200

static void out_series(struct kf_out *out, const struct kf_series_view *series)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", series->id);
    kf_out_text(out, "case_id", series->case_id);
    kf_out_text(out, "study_id", series->study_id);
    kf_out_text(out, "series_uid", series->series_uid);
    kf_out_text(out, "modality", series->modality);
    if (series->has_number)
        kf_out_int(out, "number", series->number);
    else
        kf_out_null(out, "number");
    kf_out_text(out, "description", series->description);
    kf_out_text(out, "body_part", series->body_part);
    kf_out_int(out, "instance_count", series->instance_count);
    kf_out_time(out, "changed_at", series->changed_ms);
    kf_out_close(out);
}

static void out_study(struct kf_out *out, const struct kf_study_view *study)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", study->id);
    kf_out_text(out, "case_id", study->case_id);
    kf_out_text(out, "study_uid", study->study_uid);
    kf_out_text(out, "date", study->date);
    kf_out_text(out, "time", study->time);
    kf_out_text(out, "description", study->description);
    kf_out_text(out, "accession", study->accession);
    kf_out_time(out, "created_at", study->created_ms);
    kf_out_array(out, "series");
    for (size_t i = 0; i < study->series_count; i++)
        out_series(out, &study->series[i]);
    kf_out_close(out);
    kf_out_close(out);
}

// "CT,MR" → ["CT","MR"]
static void out_modalities(struct kf_out *out, const char *list)
{
    char one[32];
    kf_out_array(out, "modalities");
    while (*list) {
        size_t length = strcspn(list, ",");
        size_t kept = length < sizeof one ? length : sizeof one - 1;
        memcpy(one, list, kept);
        one[kept] = 0;
        kf_out_text(out, NULL, one);
        list += length + (list[length] == ',');
    }
    kf_out_close(out);
}

static void out_counts(struct kf_out *out, const struct kf_case_view *view)
{
    kf_out_object(out, "counts");
    kf_out_int(out, "studies", view->studies);
    kf_out_int(out, "series", view->series);
    kf_out_int(out, "instances", view->instances);
    kf_out_int(out, "volumes", view->volumes);
    kf_out_int(out, "segmentations", view->segmentations);
    kf_out_int(out, "meshes", view->meshes);
    kf_out_close(out);
    out_modalities(out, view->modalities);
    kf_out_object(out, "progress");
    kf_out_int(out, "running", view->jobs_running);
    kf_out_int(out, "queued", view->jobs_queued);
    kf_out_int(out, "failed", view->jobs_failed);
    kf_out_number(out, "fraction", view->fraction);
    kf_out_close(out);
}

// Leaves the object open.
static void out_case(struct kf_out *out, const struct kf_case_view *view)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", view->id);
    kf_out_int(out, "number", view->number);
    kf_out_text(out, "title", view->title);
    kf_out_text(out, "state", view->state);
    kf_out_object(out, "patient");
    kf_out_text(out, "id", view->patient_id);
    kf_out_text(out, "issuer", view->patient_issuer);
    kf_out_text(out, "name", view->patient_name);
    kf_out_text(out, "birth_date", view->birth_date);
    kf_out_text(out, "sex", view->sex);
    kf_out_close(out);
    kf_out_time(out, "created_at", view->created_ms);
    kf_out_time(out, "updated_at", view->updated_ms);
    kf_out_int(out, "revision", view->revision);
    out_counts(out, view);
}

// Splits q at white space into the arena. KF_INVALID when there are too many words or it is too long.
static enum kf_status read_words(struct kf_request *request, const char *q, const char **words, size_t *count,
                                 struct kf_error *err)
{
    long characters = kf_text_characters(q, strlen(q));
    if (characters < 0 || characters > SEARCH_CHARACTERS)
        return kf_body_fault(request, "/q", "is too long", err);
    char *copy = kf_arena_strdup(&request->arena, q), *rest = NULL;
    if (!copy)
        return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a search.");
    *count = 0;
    for (char *word = strtok_r(copy, " \t\r\n^", &rest); word; word = strtok_r(NULL, " \t\r\n^", &rest)) {
        if (*count == SEARCH_WORDS)
            return kf_body_fault(request, "/q", "has too many words", err);
        words[(*count)++] = word;
    }
    return KF_OK;
}

static enum kf_status reply_cases(struct kf_request *request, struct kf_response *response,
                                  struct kf_case_filter *filter, const struct kf_page *page, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_case_view *views;
    size_t count;
    filter->after = page->after;
    filter->limit = page->limit + 1;
    enum kf_status status = kf_app_case_list(call.thread, &call.actor, filter, &request->arena, &views, &count, err);
    if (status != KF_OK)
        return status;
    struct kf_out out = {0};
    int more = count > (size_t)page->limit;
    size_t shown = more ? (size_t)page->limit : count;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < shown; i++) {
        out_case(&out, &views[i]);
        kf_out_close(&out);
    }
    kf_page_close(&out, more, more ? views[shown - 1].updated_us : 0, more ? views[shown - 1].id : NULL);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_case_list(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_case_filter filter = {.state = kf_request_query(request, "state")};
    enum kf_case_state state;
    struct kf_page page;
    // To overlook a search would answer more than was asked for, and whoever sends one should hear that it must stop.
    if (kf_request_query(request, "q"))
        return kf_error_set(err, KF_INVALID, "invalid_query",
                            "Patient data does not belong in a URL: search with POST /api/v1/cases/search.");
    if (filter.state && !*filter.state)
        filter.state = NULL;
    enum kf_status status = kf_page_of(request, &page, err);
    if (status == KF_OK && filter.state && kf_case_state_parse(filter.state, &state) != KF_OK)
        status = kf_error_set(err, KF_INVALID, "invalid_query", "The query's state is not a state of a case.");
    return status == KF_OK ? reply_cases(request, response, &filter, &page, err) : status;
}

// Names and patient IDs are searched for in a body: URLs stay in histories and in the logs of what lies between.
enum kf_status kf_route_case_search(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *q = NULL, *cursor = NULL, *words[SEARCH_WORDS];
    int64_t limit = KF_PAGE_ITEMS;
    struct kf_case_filter filter = {.words = words};
    const struct kf_member members[] = {
        {.name = "q", .type = KF_MEMBER_TEXT, .least = 0, .most = (int64_t)SEARCH_CHARACTERS * 4, .to = &q},
        {.name = "state", .type = KF_MEMBER_TEXT, .least = 1, .most = 20, .to = &filter.state},
        {.name = "limit", .type = KF_MEMBER_INT, .least = 1, .most = KF_PAGE_MOST, .to = &limit},
        {.name = "cursor", .type = KF_MEMBER_TEXT, .least = 1, .most = 400, .to = &cursor},
    };
    enum kf_case_state state;
    struct kf_page page;
    enum kf_status status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK)
        status = kf_page_at(&page, (int)limit, cursor, err);
    if (status == KF_OK && q)
        status = read_words(request, q, words, &filter.word_count, err);
    if (status == KF_OK && filter.state && kf_case_state_parse(filter.state, &state) != KF_OK)
        status = kf_body_fault(request, "/state", "is not a state of a case", err);
    return status == KF_OK ? reply_cases(request, response, &filter, &page, err) : status;
}

static enum kf_status reply_case(struct kf_request *request, struct kf_response *response, const char *id,
                                 struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_case_detail detail;
    struct kf_view_ticket ticket;
    if (kf_view_serve(request, response, "case_read", id, &ticket))
        return KF_OK;
    enum kf_status status = kf_app_case_read(call.thread, &call.actor, id, &request->arena, &detail, err);
    if (status != KF_OK)
        return status;
    struct kf_out out = {0};
    out_case(&out, &detail.view);
    kf_out_array(&out, "studies");
    for (size_t i = 0; i < detail.study_count; i++)
        out_study(&out, &detail.studies[i]);
    kf_out_close(&out);
    kf_out_close(&out);
    int settled = strcmp(detail.view.state, "ready") == 0 || strcmp(detail.view.state, "attention") == 0;
    // The revision is what a change is based on; it does not cover counts and progress, so it must not answer 304.
    return kf_view_reply(request, response, &ticket, detail.view.revision, settled, &out, err);
}

enum kf_status kf_route_case_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    const char *id;
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    return status == KF_OK ? reply_case(request, response, id, err) : status;
}

enum kf_status kf_route_case_change(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id, *title = NULL, *state = NULL;
    const struct kf_member members[] = {
        {.name = "title", .type = KF_MEMBER_TEXT, .least = 0, .most = 800, .to = &title},
        {.name = "state", .type = KF_MEMBER_TEXT, .least = 1, .most = 20, .to = &state},
    };
    int64_t revision;
    enum kf_case_state wanted;
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    if (status == KF_OK)
        status = kf_request_if_match_revision(request, &revision, err);
    if (status == KF_OK)
        status = kf_body_read(request, members, sizeof members / sizeof *members, NULL, err);
    if (status == KF_OK && !title && !state)
        status = kf_body_fault(request, "", "changes nothing", err);
    if (status == KF_OK && title)
        status = kf_text_line_check(title, 0, 200, err);
    if (status == KF_OK && state && kf_case_state_parse(state, &wanted) != KF_OK)
        status = kf_body_fault(request, "/state", "is not a state of a case", err);
    if (status == KF_OK)
        status = kf_app_case_change(call.thread, &call.actor, id, title, state, revision, err);
    kf_views_forget(call.routes, call.actor.organisation_id);
    return status == KF_OK ? reply_case(request, response, id, err) : status;
}

enum kf_status kf_route_case_studies(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_study_view *studies;
    size_t count;
    const char *id;
    struct kf_out out = {0};
    enum kf_status status = kf_path_id(request, "case_id", &id, err);
    if (status == KF_OK)
        status = kf_app_case_studies(call.thread, &call.actor, id, &request->arena, &studies, &count, err);
    if (status != KF_OK)
        return status;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < count; i++)
        out_study(&out, &studies[i]);
    kf_page_close(&out, 0, 0, NULL);
    return kf_reply(response, 200, &out, err);
}

static enum kf_status load_study(struct kf_request *request, struct kf_study_view *study, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    const char *id;
    enum kf_status status = kf_path_id(request, "study_id", &id, err);
    return status == KF_OK ? kf_app_study_read(call.thread, &call.actor, id, &request->arena, study, err) : status;
}

enum kf_status kf_route_study_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_study_view study;
    struct kf_out out = {0};
    enum kf_status status = load_study(request, &study, err);
    if (status != KF_OK)
        return status;
    out_study(&out, &study);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_study_series(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_study_view study;
    struct kf_out out = {0};
    enum kf_status status = load_study(request, &study, err);
    if (status != KF_OK)
        return status;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < study.series_count; i++)
        out_series(&out, &study.series[i]);
    kf_page_close(&out, 0, 0, NULL);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_series_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_series_view series;
    struct kf_view_ticket ticket;
    const char *id;
    struct kf_out out = {0};
    enum kf_status status = kf_path_id(request, "series_id", &id, err);
    if (status == KF_OK && kf_view_serve(request, response, "series_read", id, &ticket))
        return KF_OK;
    if (status == KF_OK)
        status = kf_app_series_read(call.thread, &call.actor, id, &request->arena, &series, err);
    if (status != KF_OK)
        return status;
    out_series(&out, &series);
    return kf_view_reply(request, response, &ticket, -1, series.settled, &out, err);
}

static void out_instance(struct kf_out *out, const struct kf_instance_view *view)
{
    kf_out_object(out, NULL);
    kf_out_text(out, "id", view->id);
    kf_out_text(out, "sop_uid", view->sop_uid);
    kf_out_text(out, "sop_class", view->sop_class);
    kf_out_text(out, "transfer_syntax", view->transfer_syntax);
    kf_out_int(out, "bytes", view->bytes);
    if (view->has_number)
        kf_out_int(out, "instance_number", view->number);
    else
        kf_out_null(out, "instance_number");
    kf_out_flag(out, "conflict", view->conflict);
    kf_out_text(out, "set_aside", view->set_aside);
    kf_out_time(out, "received_at", view->received_ms);
    kf_out_text(out, "content_sha256", view->content_sha256);
    kf_out_text(out, "source", view->source);
    kf_out_close(out);
}

enum kf_status kf_route_series_instances(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_call call = kf_call_of(request);
    struct kf_instance_view *views;
    struct kf_page page;
    size_t count;
    const char *id;
    struct kf_out out = {0};
    enum kf_status status = kf_path_id(request, "series_id", &id, err);
    if (status == KF_OK)
        status = kf_page_of(request, &page, err);
    if (status == KF_OK)
        status = kf_app_instance_list(call.thread, &call.actor, id, page.after, page.limit + 1, &request->arena, &views,
                                      &count, err);
    if (status != KF_OK)
        return status;
    int more = count > (size_t)page.limit;
    size_t shown = more ? (size_t)page.limit : count;
    kf_out_object(&out, NULL);
    kf_out_array(&out, "items");
    for (size_t i = 0; i < shown; i++)
        out_instance(&out, &views[i]);
    const struct kf_instance_view *last = more ? &views[shown - 1] : NULL;
    kf_page_close(&out, more, !last ? 0 : last->has_number ? last->number : INT32_MAX, last ? last->id : NULL);
    return kf_reply(response, 200, &out, err);
}
