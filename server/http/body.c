#include "server/http/body.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

// "Z" or "+hh:mm" → seconds east; -1 in *good when it is neither.
static int zone_s(const char *text, int *good)
{
    int hours, minutes, end = 0;
    *good = 1;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return 0;
    if ((text[0] == '+' || text[0] == '-') && sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &end) == 2 && end == 5 &&
        !text[6] && hours < 24 && minutes < 60)
        return (text[0] == '-' ? -60 : 60) * (hours * 60 + minutes);
    *good = 0;
    return 0;
}

int64_t kf_time_parse(const char *text)
{
    struct tm tm = {0};
    int end = 0, good;
    if (strspn(text, "0123456789") != 4 ||
        sscanf(text, "%4d-%2d-%2d%*1[Tt]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &end) != 6 ||
        end != 19)
        return 0;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > days_in_month(tm.tm_year, tm.tm_mon) ||
        tm.tm_hour < 0 || tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
        return 0;
    const char *at = text + end;
    int64_t fraction_ms = 0;
    if (*at == '.') {
        size_t digits = strspn(++at, "0123456789");
        for (size_t i = 0; i < 3; i++)
            fraction_ms = fraction_ms * 10 + (i < digits ? at[i] - '0' : 0);
        if (digits == 0 || digits > 9)
            return 0;
        at += digits;
    }
    int east = zone_s(at, &good);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return good ? ((int64_t)timegm(&tm) - east) * 1000 + fraction_ms : 0;
}

enum kf_status kf_body_fault(struct kf_request *request, const char *pointer, const char *detail, struct kf_error *err)
{
    kf_request_invalid(request, pointer, detail);
    return kf_error_set(err, KF_INVALID, "invalid_body", "The request body does not fit; see errors.");
}

static const struct kf_member *find(const struct kf_member *members, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

static const char *take_text(struct kf_request *request, const struct kf_member *member, const json_t *value)
{
    if (!json_is_string(value))
        return "must be a string";
    size_t length = json_string_length(value);
    const char *text = json_string_value(value);
    if (memchr(text, 0, length))
        return "must not hold a NUL";
    if ((int64_t)length < member->least)
        return "is too short";
    if ((int64_t)length > member->most)
        return "is too long";
    if (member->type == KF_MEMBER_TIME) {
        int64_t unix_ms = kf_time_parse(text);
        *(int64_t *)member->to = unix_ms;
        return unix_ms ? NULL : "must be a date and time (RFC 3339)";
    }
    const char *copy = kf_arena_strndup(&request->arena, text, length);
    *(const char **)member->to = copy;
    return copy ? NULL : "cannot be held in memory";
}

// NULL, or what is wrong with the value.
static const char *take(struct kf_request *request, const struct kf_member *member, json_t *value)
{
    switch (member->type) {
    case KF_MEMBER_TEXT:
    case KF_MEMBER_TIME:
        return take_text(request, member, value);
    case KF_MEMBER_INT:
        if (!json_is_integer(value))
            return "must be an integer";
        if (json_integer_value(value) < member->least || json_integer_value(value) > member->most)
            return "is out of range";
        *(int64_t *)member->to = json_integer_value(value);
        return NULL;
    case KF_MEMBER_FLAG:
        if (!json_is_boolean(value))
            return "must be true or false";
        *(int *)member->to = json_is_true(value);
        return NULL;
    case KF_MEMBER_OBJECT:
        if (!json_is_object(value))
            return "must be an object";
        *(json_t **)member->to = value;
        return NULL;
    case KF_MEMBER_ARRAY:
        if (!json_is_array(value))
            return "must be an array";
        if ((int64_t)json_array_size(value) < member->least || (int64_t)json_array_size(value) > member->most)
            return "has too few or too many elements";
        *(json_t **)member->to = value;
        return NULL;
    }
    return "is not understood";
}

// A name that a stranger chose, escaped as a JSON pointer segment and cut to a sensible length.
static void pointer_of(char *to, size_t size, const char *name)
{
    size_t at = 0;
    to[at++] = '/';
    for (; *name && at + 3 < size; name++) {
        if (*name == '~' || *name == '/') {
            to[at++] = '~';
            to[at++] = *name == '~' ? '0' : '1';
        } else {
            to[at++] = *name;
        }
    }
    to[at] = 0;
}

static int read_members(struct kf_request *request, const struct kf_member *members, size_t count, json_t *root)
{
    int faults = 0;
    const char *name;
    json_t *value;
    char pointer[96];
    json_object_foreach(root, name, value)
    {
        const struct kf_member *member = find(members, count, name);
        const char *fault = NULL;
        if (!member)
            fault = "is not a member of this request";
        else if (!json_is_null(value) || !member->nullable)
            fault = take(request, member, value);
        if (member && member->present)
            *member->present = 1;
        if (fault && faults++ < 20) {
            pointer_of(pointer, sizeof pointer, name);
            kf_request_invalid(request, pointer, fault);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].required && !json_object_get(root, members[i].name)) {
            pointer_of(pointer, sizeof pointer, members[i].name);
            kf_request_invalid(request, pointer, "is missing");
            faults++;
        }
    }
    return faults;
}

enum kf_status kf_body_read(struct kf_request *request, const struct kf_member *members, size_t count, json_t **root,
                            struct kf_error *err)
{
    json_t *body = NULL;
    if (root)
        *root = NULL;
    if (strcmp(kf_request_content_type(request), "application/json") != 0)
        return kf_error_set(err, KF_UNSUPPORTED, NULL, "The body must be application/json.");
    enum kf_status status = kf_json_parse((const char *)request->body, request->body_length, &body, err);
    if (status == KF_NOMEM)
        return status;
    if (status != KF_OK)
        return kf_error_set(err, KF_INVALID, "invalid_json", "The body is not JSON as we read it.");
    if (!json_is_object(body))
        status = kf_error_set(err, KF_INVALID, "invalid_body", "The body must be a JSON object.");
    else if (read_members(request, members, count, body) > 0)
        status = kf_error_set(err, KF_INVALID, "invalid_body", "The request body does not fit; see errors.");
    if (status == KF_OK && root)
        *root = body;
    else
        json_decref(body);
    return status;
}
