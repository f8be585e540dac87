// What handlers ask of a request.
#include "server/http/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *field_value(const struct kf_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].value;
    return NULL;
}

const char *kf_request_header(const struct kf_request *request, const char *name)
{
    return field_value(request->headers, request->header_count, name);
}

const char *kf_request_param(const struct kf_request *request, const char *name)
{
    return field_value(request->params, request->param_count, name);
}

const char *kf_request_query(const struct kf_request *request, const char *name)
{
    return field_value(request->query, request->query_count, name);
}

// RFC 6265 section 5.4: "a=b; c=d". A name that comes twice is taken as absent: we cannot know which one is ours.
const char *kf_request_cookie(const struct kf_request *request, const char *name)
{
    size_t wanted = strlen(name);
    const char *found = NULL;
    size_t found_length = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        if (strcmp(request->headers[i].name, "cookie") != 0)
            continue;
        for (const char *at = request->headers[i].value; *at;) {
            at += strspn(at, " \t;");
            size_t length = strcspn(at, ";");
            if (length > wanted && at[wanted] == '=' && memcmp(at, name, wanted) == 0) {
                if (found)
                    return NULL;
                found = at + wanted + 1;
                found_length = length - wanted - 1;
            }
            at += length;
        }
    }
    if (!found)
        return NULL;
    while (found_length && (found[found_length - 1] == ' ' || found[found_length - 1] == '\t'))
        found_length--;
    if (found_length >= 2 && found[0] == '"' && found[found_length - 1] == '"') {
        found++;
        found_length -= 2;
    }
    return kf_arena_strndup(&request->exchange->request.arena, found, found_length);
}

const char *kf_request_content_type(struct kf_request *request)
{
    const char *value = kf_request_header(request, "content-type");
    if (!value)
        return "";
    size_t length = strcspn(value, "; \t");
    char *type = kf_arena_strndup(&request->arena, value, length);
    if (!type)
        return "";
    for (char *at = type; *at; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return type;
}

const char *kf_request_content_parameter(struct kf_request *request, const char *name)
{
    const char *value = kf_request_header(request, "content-type");
    char text[256];
    if (!value || kf_http_media_parameter(value, name, text, sizeof text))
        return NULL;
    return kf_arena_strdup(&request->arena, text);
}

enum kf_status kf_request_query_int(struct kf_request *request, const char *name, int64_t least, int64_t most,
                                    int64_t otherwise, int64_t *out, struct kf_error *err)
{
    *out = otherwise;
    const char *text = kf_request_query(request, name);
    if (!text)
        return KF_OK;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || strchr(" \t+", *text) || value < least || value > most) {
        kf_request_invalid(request, name, "is not a number in range");
        return kf_error_set(err, KF_INVALID, "invalid_parameter",
                            "The parameter %s must be a number from %lld to %lld.", name, (long long)least,
                            (long long)most);
    }
    *out = value;
    return KF_OK;
}

void kf_request_invalid(struct kf_request *request, const char *pointer, const char *detail)
{
    enum { MOST = 32 };
    if (!request->problems)
        request->problems = kf_arena_alloc(&request->arena, MOST * sizeof *request->problems);
    if (!request->problems || request->problem_count == MOST)
        return;
    struct kf_field problem = {kf_arena_strdup(&request->arena, pointer), kf_arena_strdup(&request->arena, detail)};
    if (problem.name && problem.value)
        request->problems[request->problem_count++] = problem;
}

const char *kf_etag_revision(struct kf_request *request, int64_t revision)
{
    return kf_arena_printf(&request->arena, "\"%lld\"", (long long)revision);
}

const char *kf_etag_text(struct kf_request *request, const char *text)
{
    return kf_arena_printf(&request->arena, "\"%s\"", text);
}

enum kf_status kf_request_if_match_revision(const struct kf_request *request, int64_t *revision, struct kf_error *err)
{
    *revision = -1;
    const char *value = kf_request_header(request, "if-match");
    if (!value)
        return kf_error_set(err, KF_PRECONDITION_REQUIRED, NULL, "Say with If-Match which revision you have seen.");
    if (strcmp(value, "*") == 0)
        return KF_OK;
    char *end = NULL;
    errno = 0;
    long long number = value[0] == '"' ? strtoll(value + 1, &end, 10) : -1;
    if (number < 0 || errno || !end || strcmp(end, "\"") != 0 || value[1] < '0' || value[1] > '9')
        return kf_error_set(err, KF_PRECONDITION_FAILED, NULL, "If-Match names no revision of this resource.");
    *revision = number;
    return KF_OK;
}

enum kf_status kf_request_if_match(const struct kf_request *request, int64_t revision, struct kf_error *err)
{
    int64_t named = -1;
    enum kf_status status = kf_request_if_match_revision(request, &named, err);
    if (status != KF_OK || named < 0 || named == revision)
        return status;
    return kf_error_set(err, KF_PRECONDITION_FAILED, NULL, "The resource has been changed since it was read.");
}
