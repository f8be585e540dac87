#include "server/base/log.h"

#include "server/base/str.h"
#include "server/base/timeid.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *program_name = "kerf";
static enum kf_log_level least_level = KF_LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void kf_log_init(const char *program, enum kf_log_level least)
{
    program_name = program;
    least_level = least;
}

static void add_string(struct kf_str *line, const char *text, size_t length)
{
    kf_str_add_char(line, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            kf_str_add_char(line, '\\');
            kf_str_add_char(line, (char)c);
        } else if (c < 0x20 || c >= 0x7f) {
            // Bytes of strangers may be no UTF-8: a log line stays plain ASCII.
            kf_str_printf(line, "\\u%04x", c);
        } else {
            kf_str_add_char(line, (char)c);
        }
    }
    kf_str_add_char(line, '"');
}

// 1 when the text is a JSON number as it stands.
static int is_number(const char *text, size_t length)
{
    size_t i = 0, digits = 0;
    if (i < length && text[i] == '-')
        i++;
    size_t first = i;
    while (i < length && text[i] >= '0' && text[i] <= '9')
        i++, digits++;
    if (!digits || digits > 15 || (text[first] == '0' && digits > 1))
        return 0;
    if (i < length && text[i] == '.') {
        size_t before = ++i;
        while (i < length && text[i] >= '0' && text[i] <= '9')
            i++;
        if (i == before)
            return 0;
    }
    return i == length;
}

static void add_fields(struct kf_str *line, const char *fields)
{
    for (const char *at = fields; *at;) {
        size_t word = strcspn(at, " ");
        const char *equals = memchr(at, '=', word);
        if (equals) {
            const char *value = equals + 1;
            size_t length = (size_t)(at + word - value);
            kf_str_add_char(line, ',');
            add_string(line, at, (size_t)(equals - at));
            kf_str_add_char(line, ':');
            if (is_number(value, length))
                kf_str_add(line, value, length);
            else
                add_string(line, value, length);
        }
        at += word;
        at += *at == ' ';
    }
}

static void begin(struct kf_str *line, enum kf_log_level level, const char *event)
{
    char now[32];
    kf_time_rfc3339(now, kf_time_unix_ms());
    kf_str_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":", now, level_names[level]);
    add_string(line, program_name, strlen(program_name));
    kf_str_printf(line, ",\"pid\":%d,\"event\":", (int)getpid());
    add_string(line, event, strlen(event));
}

// One write call a line, so that lines of several threads and processes do not mix.
static void end(struct kf_str *line)
{
    kf_str_add_text(line, "}\n");
    if (!line->failed) {
        const char *at = line->data;
        size_t left = line->length;
        while (left) {
            ssize_t n = write(STDERR_FILENO, at, left);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                break;
            at += n;
            left -= (size_t)n;
        }
    }
    kf_str_release(line);
}

void kf_log(enum kf_log_level level, const char *event, const char *fields, ...)
{
    if (level < least_level)
        return;
    struct kf_str line = {0};
    begin(&line, level, event);
    va_list args, again;
    va_start(args, fields);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fields, args);
    va_end(args);
    char *formatted = length < 0 ? NULL : malloc((size_t)length + 1);
    if (formatted) {
        vsnprintf(formatted, (size_t)length + 1, fields, again);
        add_fields(&line, formatted);
        free(formatted);
    }
    va_end(again);
    end(&line);
}

void kf_log_text(enum kf_log_level level, const char *event, const char *detail)
{
    if (level < least_level)
        return;
    struct kf_str line = {0};
    begin(&line, level, event);
    kf_str_add_text(&line, ",\"detail\":");
    add_string(&line, detail, strlen(detail));
    end(&line);
}

void kf_log_error(enum kf_log_level level, const char *event, const struct kf_error *err)
{
    if (level < least_level)
        return;
    struct kf_str line = {0};
    begin(&line, level, event);
    kf_str_printf(&line, ",\"status\":\"%s\",\"code\":", kf_status_wire(err->status));
    add_string(&line, err->code, strlen(err->code));
    kf_str_add_text(&line, ",\"detail\":");
    add_string(&line, err->detail, strlen(err->detail));
    end(&line);
}
