#include "server/http/json_out.h"

#include "server/base/timeid.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_escape(struct kf_str *to, unsigned char c)
{
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    if (c == '"' || c == '\\') {
        kf_str_add_char(to, '\\');
        kf_str_add_char(to, (char)c);
    } else if (c < sizeof shorts / sizeof *shorts && shorts[c]) {
        kf_str_add_text(to, shorts[c]);
    } else {
        kf_str_printf(to, "\\u%04x", c);
    }
}

static void add_quoted(struct kf_str *to, const char *value)
{
    const char *at = value, *plain = at, *end = at + strlen(value);
    kf_str_add_char(to, '"');
    while (at < end) {
        size_t length = kf_utf8_sequence(at, (size_t)(end - at));
        unsigned char c = (unsigned char)*at;
        if (length > 1 || (length == 1 && c >= 0x20 && c != '"' && c != '\\')) {
            at += length;
            continue;
        }
        kf_str_add(to, plain, (size_t)(at - plain));
        if (length == 0)
            kf_str_add_text(to, "\xEF\xBF\xBD");
        else
            add_escape(to, c);
        plain = ++at;
    }
    kf_str_add(to, plain, (size_t)(end - plain));
    kf_str_add_char(to, '"');
}

static void begin(struct kf_out *out, const char *key)
{
    if (out->comma)
        kf_str_add_char(&out->text, ',');
    out->comma = 1;
    if (key) {
        kf_str_add_char(&out->text, '"');
        kf_str_add_text(&out->text, key);
        kf_str_add(&out->text, "\":", 2);
    }
}

static void open_level(struct kf_out *out, const char *key, char bracket, char close)
{
    assert(out->depth < KF_OUT_DEPTH);
    begin(out, key);
    kf_str_add_char(&out->text, bracket);
    out->close[out->depth++] = close;
    out->comma = 0;
}

void kf_out_object(struct kf_out *out, const char *key)
{
    open_level(out, key, '{', '}');
}

void kf_out_array(struct kf_out *out, const char *key)
{
    open_level(out, key, '[', ']');
}

void kf_out_close(struct kf_out *out)
{
    assert(out->depth > 0);
    kf_str_add_char(&out->text, out->close[--out->depth]);
    out->comma = 1;
}

void kf_out_text(struct kf_out *out, const char *key, const char *value)
{
    if (!value) {
        kf_out_null(out, key);
        return;
    }
    begin(out, key);
    add_quoted(&out->text, value);
}

void kf_out_int(struct kf_out *out, const char *key, int64_t value)
{
    char digits[24];
    begin(out, key);
    kf_str_add(&out->text, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)value));
}

void kf_out_number(struct kf_out *out, const char *key, double value)
{
    if (!isfinite(value)) {
        kf_out_null(out, key);
        return;
    }
    char digits[40];
    begin(out, key);
    kf_str_add(&out->text, digits, (size_t)snprintf(digits, sizeof digits, "%.9g", value));
}

void kf_out_flag(struct kf_out *out, const char *key, int value)
{
    begin(out, key);
    kf_str_add_text(&out->text, value ? "true" : "false");
}

void kf_out_null(struct kf_out *out, const char *key)
{
    begin(out, key);
    kf_str_add(&out->text, "null", 4);
}

void kf_out_raw(struct kf_out *out, const char *key, const char *json)
{
    begin(out, key);
    kf_str_add_text(&out->text, json && *json ? json : "{}");
}

void kf_out_time(struct kf_out *out, const char *key, int64_t unix_ms)
{
    if (unix_ms == 0) {
        kf_out_null(out, key);
        return;
    }
    char text[32];
    kf_time_rfc3339(text, unix_ms);
    begin(out, key);
    kf_str_add_char(&out->text, '"');
    kf_str_add_text(&out->text, text);
    kf_str_add_char(&out->text, '"');
}
