#include "server/base/json.h"

#include "server/base/str.h"
#include "server/base/timeid.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DEPTH 32
#define LOAD_MOST ((size_t)64 << 20) // of a file; some are written by children that have read foreign bytes

// Jansson's own limit is 2048 levels; a stranger gets 32. Returns the byte at which the text goes deeper, or -1.
static long too_deep_at(const char *text, size_t length)
{
    int depth = 0, in_string = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '{' || c == '[') {
            if (++depth > MAX_DEPTH)
                return (long)i;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return -1;
}

enum kf_status kf_json_parse(const char *text, size_t length, json_t **out, struct kf_error *err)
{
    *out = NULL;
    long deep = too_deep_at(text, length);
    if (deep >= 0)
        return kf_error_set(err, KF_INVALID, "json_too_deep", "JSON nests deeper than %d levels at byte %ld.",
                            MAX_DEPTH, deep);
    json_error_t where;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    if (!value) {
        if (json_error_code(&where) == json_error_out_of_memory)
            return kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to read JSON of %zu bytes.", length);
        const char *code = json_error_code(&where) == json_error_duplicate_key ? "json_duplicate_key" : "json_syntax";
        return kf_error_set(err, KF_INVALID, code, "JSON cannot be read: line %d, column %d.", where.line,
                            where.column);
    }
    *out = value;
    return KF_OK;
}

static enum kf_status read_all(int fd, struct kf_str *into, const char *path, struct kf_error *err)
{
    char buffer[65536];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kf_error_errno(err, errno, path);
        if (n == 0)
            return into->failed ? kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to read %s.", path) : KF_OK;
        if (into->length + (size_t)n > LOAD_MOST)
            return kf_error_set(err, KF_TOO_LARGE, "json_too_large", "%s is larger than %zu MiB.", path, LOAD_MOST >> 20);
        kf_str_add(into, buffer, (size_t)n);
    }
}

enum kf_status kf_json_load(const char *path, json_t **out, struct kf_error *err)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kf_error_errno(err, errno, path);
    struct kf_str text = {0};
    enum kf_status status = read_all(fd, &text, path, err);
    close(fd);
    if (!status)
        status = kf_json_parse(kf_str_text(&text), text.length, out, err);
    kf_str_release(&text);
    return status;
}

// ------------------------------------------------------------------------------------------------ canonical bytes
static void write_string(struct kf_str *to, const char *text, size_t length)
{
    static const char *const shorthand[] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f",
                                            ['\r'] = "\\r", ['"'] = "\\\"", ['\\'] = "\\\\"};
    kf_str_add_char(to, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < sizeof shorthand / sizeof *shorthand && shorthand[c])
            kf_str_add_text(to, shorthand[c]);
        else if (c < 0x20)
            kf_str_printf(to, "\\u%04x", c);
        else
            kf_str_add_char(to, (char)c);
    }
    kf_str_add_char(to, '"');
}

// A double without a fraction is written as an integer, so that 1 and 1.0 (which other writers mix up) hash alike.
static void write_real(struct kf_str *to, double value)
{
    if (value == floor(value) && fabs(value) < 9007199254740992.0) {
        kf_str_printf(to, "%" PRId64, (int64_t)value);
        return;
    }
    char text[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, value);
        if (strtod(text, NULL) == value)
            break;
    }
    kf_str_add_text(to, text);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_value(struct kf_str *to, const json_t *value);

static void write_object(struct kf_str *to, const json_t *object)
{
    size_t count = json_object_size(object), n = 0;
    const char **keys = calloc(count + 1, sizeof *keys);
    if (!keys) {
        to->failed = 1;
        return;
    }
    // Jansson's iterators take a non-const object but change nothing.
    json_t *members = (json_t *)(uintptr_t)object;
    for (void *it = json_object_iter(members); it && n < count; it = json_object_iter_next(members, it))
        keys[n++] = json_object_iter_key(it);
    qsort(keys, n, sizeof *keys, compare_keys);
    kf_str_add_char(to, '{');
    for (size_t i = 0; i < n; i++) {
        if (i)
            kf_str_add_char(to, ',');
        write_string(to, keys[i], strlen(keys[i]));
        kf_str_add_char(to, ':');
        write_value(to, json_object_get(object, keys[i]));
    }
    kf_str_add_char(to, '}');
    free(keys);
}

static void write_array(struct kf_str *to, const json_t *array)
{
    kf_str_add_char(to, '[');
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i)
            kf_str_add_char(to, ',');
        write_value(to, json_array_get(array, i));
    }
    kf_str_add_char(to, ']');
}

static void write_value(struct kf_str *to, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(to, value);
        return;
    case JSON_ARRAY:
        write_array(to, value);
        return;
    case JSON_STRING:
        write_string(to, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        kf_str_printf(to, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        write_real(to, json_real_value(value));
        return;
    case JSON_TRUE:
        kf_str_add_text(to, "true");
        return;
    case JSON_FALSE:
        kf_str_add_text(to, "false");
        return;
    case JSON_NULL:
        kf_str_add_text(to, "null");
        return;
    }
}

char *kf_json_canonical(const json_t *value)
{
    struct kf_str text = {0};
    if (!value)
        return NULL;
    write_value(&text, value);
    if (text.failed)
        kf_str_release(&text);
    return text.data;
}

// ------------------------------------------------------------------------------------------------ members
const char *kf_json_text(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

double kf_json_number(const json_t *object, const char *key, double otherwise)
{
    const json_t *member = json_object_get(object, key);
    return json_is_number(member) ? json_number_value(member) : otherwise;
}

json_int_t kf_json_integer(const json_t *object, const char *key, json_int_t otherwise)
{
    const json_t *member = json_object_get(object, key);
    return json_is_integer(member) ? json_integer_value(member) : otherwise;
}

int kf_json_flag(const json_t *object, const char *key, int otherwise)
{
    const json_t *member = json_object_get(object, key);
    return json_is_boolean(member) ? json_is_true(member) : otherwise;
}

static enum kf_status write_all(int fd, const char *bytes, size_t length, const char *path, struct kf_error *err)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kf_error_errno(err, errno, path);
        bytes += n;
        length -= (size_t)n;
    }
    return KF_OK;
}

enum kf_status kf_json_save(const char *path, const json_t *value, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    struct kf_str temporary = {0};
    char id[KF_ID_TEXT];
    int fd = -1, made = 0;
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    kf_id_new(id);
    kf_str_printf(&temporary, "%s.%s", path, id);
    if (!text || temporary.failed) {
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory to write %s.", path);
        goto done;
    }
    // Not mkstemp: the file gets the mode that the caller's umask says.
    fd = open(temporary.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = kf_error_errno(err, errno, path);
        goto done;
    }
    made = 1;
    status = write_all(fd, text, strlen(text), path, err);
    if (!status)
        status = write_all(fd, "\n", 1, path, err);
    if (!status && fsync(fd))
        status = kf_error_errno(err, errno, path);
    if (close(fd) && !status)
        status = kf_error_errno(err, errno, path);
    if (!status && rename(temporary.data, path))
        status = kf_error_errno(err, errno, path);
    if (!status)
        made = 0;
done:
    if (made)
        unlink(temporary.data);
    kf_str_release(&temporary);
    free(text);
    return status;
}
