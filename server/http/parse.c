// Parsing of what strangers send in the request line and in header values. Pure functions.
#include "server/http/internal.h"

#include "server/base/str.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define PATH_BYTES   2048
#define QUERY_FIELDS 64

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int text_ok(const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return 0;
        size_t n = kf_utf8_sequence(text + i, length - i);
        if (!n)
            return 0;
        i += n;
    }
    return 1;
}

char *kf_http_decode(struct kf_arena *arena, const char *text, size_t length, int plus)
{
    char *to = kf_arena_alloc(arena, length + 1);
    if (!to)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '%') {
            int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < length ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return NULL;
            to[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            to[n++] = plus && text[i] == '+' ? ' ' : text[i];
        }
    }
    to[n] = 0;
    return text_ok(to, n) ? to : NULL;
}

// 1 when a raw segment is ".", "..", or one of their percent-encoded spellings, or hides a separator or a NUL.
static int segment_bad(const char *segment, size_t length)
{
    char plain[4];
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        char c = segment[i];
        if (c == '%') {
            int high = i + 2 < length ? hex_digit(segment[i + 1]) : -1;
            int low = i + 2 < length ? hex_digit(segment[i + 2]) : -1;
            if (high < 0 || low < 0)
                return 1;
            c = (char)(high * 16 + low);
            if (c == '/' || c == '\\' || c == 0)
                return 1;
            i += 2;
        }
        if (n < sizeof plain)
            plain[n] = c;
        n++;
    }
    return (n == 1 && plain[0] == '.') || (n == 2 && plain[0] == '.' && plain[1] == '.');
}

int kf_http_path_ok(const char *path)
{
    size_t length = strlen(path);
    if (path[0] != '/' || length > PATH_BYTES)
        return 0;
    for (size_t i = 0; i < length; i++)
        if (path[i] <= 0x20 || path[i] >= 0x7f || strchr("\\#\"<>^`{|}", path[i]))
            return 0;
    for (const char *at = path + 1; *at;) {
        size_t n = strcspn(at, "/");
        if (n == 0 || segment_bad(at, n))
            return 0;
        at += n;
        at += *at == '/';
    }
    return 1;
}

enum kf_status kf_http_parse_query(struct kf_request *request, struct kf_error *err)
{
    const char *at = request->query_text;
    if (!*at)
        return KF_OK;
    request->query = kf_arena_alloc(&request->arena, QUERY_FIELDS * sizeof *request->query);
    if (!request->query)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    while (*at) {
        size_t length = strcspn(at, "&");
        const char *equals = memchr(at, '=', length);
        size_t name = equals ? (size_t)(equals - at) : length;
        if (length) {
            if (request->query_count == QUERY_FIELDS)
                return kf_error_set(err, KF_INVALID, "too_many_parameters", "The query has more than %d parameters.",
                                    QUERY_FIELDS);
            struct kf_field *field = &request->query[request->query_count];
            field->name = kf_http_decode(&request->arena, at, name, 1);
            field->value = equals ? kf_http_decode(&request->arena, equals + 1, length - name - 1, 1) : "";
            if (!field->name || !field->value)
                return kf_error_set(err, KF_INVALID, "invalid_query", "The query is not percent-encoded UTF-8.");
            request->query_count++;
        }
        at += length;
        at += *at == '&';
    }
    return KF_OK;
}

// Digits only, at most 18 of them. Returns -1 when there are none or too many.
static int64_t parse_digits(const char **at)
{
    int64_t value = 0;
    int digits = 0;
    while (**at >= '0' && **at <= '9') {
        if (++digits > 18)
            return -1;
        value = value * 10 + (**at - '0');
        (*at)++;
    }
    return digits ? value : -1;
}

int kf_http_parse_range(const char *value, int64_t size, struct kf_range *range)
{
    if (!value || strncasecmp(value, "bytes=", 6) != 0)
        return 0;
    const char *at = value + 6;
    if (strchr(at, ','))
        return 0;
    if (*at == '-') {
        at++;
        int64_t suffix = parse_digits(&at);
        if (suffix < 0 || *at)
            return 0;
        if (suffix == 0 || size == 0)
            return -1;
        *range = (struct kf_range){suffix >= size ? 0 : size - suffix, size - 1};
        return 1;
    }
    int64_t first = parse_digits(&at);
    if (first < 0 || *at++ != '-')
        return 0;
    int64_t last = *at ? parse_digits(&at) : INT64_MAX;
    if (last < 0 || *at || last < first)
        return 0;
    if (first >= size)
        return -1;
    *range = (struct kf_range){first, last >= size ? size - 1 : last};
    return 1;
}

int kf_http_etag_listed(const char *value, const char *etag)
{
    if (strcmp(value, "*") == 0)
        return 1;
    if (strncmp(etag, "W/", 2) == 0)
        etag += 2;
    size_t length = strlen(etag);
    for (const char *at = value; *at;) {
        at += strspn(at, " \t,");
        if (strncmp(at, "W/", 2) == 0)
            at += 2;
        if (*at != '"')
            return 0;
        const char *close = strchr(at + 1, '"');
        if (!close)
            return 0;
        if ((size_t)(close + 1 - at) == length && memcmp(at, etag, length) == 0)
            return 1;
        at = close + 1;
    }
    return 0;
}

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void kf_http_date(char to[32], int64_t unix_s)
{
    time_t clock = (time_t)unix_s;
    struct tm parts;
    if (!gmtime_r(&clock, &parts))
        memset(&parts, 0, sizeof parts);
    // The names come from the arrays, not from strftime: a locale must not change them.
    strftime(to, 32, "AAA, %d BBB %Y %H:%M:%S GMT", &parts);
    memcpy(to, days + 3 * (parts.tm_wday % 7), 3);
    memcpy(to + 8, months + 3 * (parts.tm_mon % 12), 3);
}

int64_t kf_http_parse_date(const char *text)
{
    if (strlen(text) != 29 || strcmp(text + 25, " GMT") != 0 || text[3] != ',')
        return -1;
    static const char shape[] = "AAA, 00 AAA 0000 00:00:00 GMT";
    for (int i = 0; i < 29; i++)
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : shape[i] != 'A' && shape[i] != text[i] && i < 25)
            return -1;
    struct tm parts = {0};
    int month = 0;
    while (month < 12 && memcmp(months + 3 * (size_t)month, text + 8, 3) != 0)
        month++;
    if (month == 12)
        return -1;
    parts.tm_mday = atoi(text + 5);
    parts.tm_mon = month;
    parts.tm_year = atoi(text + 12) - 1900;
    parts.tm_hour = atoi(text + 17);
    parts.tm_min = atoi(text + 20);
    parts.tm_sec = atoi(text + 23);
    return (int64_t)timegm(&parts);
}

// Copies a quoted string (at points behind the opening quote) without its backslashes; returns behind the closing one.
static const char *unquote(const char *at, char *to, size_t size)
{
    size_t n = 0;
    while (*at && *at != '"') {
        if (*at == '\\' && at[1])
            at++;
        if (n + 1 >= size)
            return NULL;
        to[n++] = *at++;
    }
    if (*at != '"')
        return NULL;
    to[n] = 0;
    return at + 1;
}

int kf_http_media_parameter(const char *value, const char *name, char *to, size_t size)
{
    const char *at = value + strcspn(value, ";");
    size_t wanted = strlen(name);
    while (*at == ';') {
        at += 1 + strspn(at + 1, " \t");
        size_t n = strcspn(at, "=; \t");
        int match = n == wanted && strncasecmp(at, name, n) == 0;
        at += n;
        at += strspn(at, " \t");
        if (*at != '=') {
            at += strcspn(at, ";");
            continue;
        }
        at += 1 + strspn(at + 1, " \t");
        char skipped[512];
        if (*at == '"') {
            at = unquote(at + 1, match ? to : skipped, match ? size : sizeof skipped);
            if (!at)
                return -1;
            if (match)
                return 0;
        } else {
            n = strcspn(at, "; \t");
            if (match) {
                if (n >= size || n == 0)
                    return -1;
                memcpy(to, at, n);
                to[n] = 0;
                return 0;
            }
            at += n;
        }
        at += strcspn(at, ";");
    }
    return -1;
}

// The 16 bytes of an address; IPv4 as ::ffff:a.b.c.d. 0 when text is none.
static int address_bytes(const char *text, unsigned char to[16])
{
    if (inet_pton(AF_INET6, text, to) == 1)
        return 128;
    memset(to, 0, 10);
    memset(to + 10, 0xff, 2);
    return inet_pton(AF_INET, text, to + 12) == 1 ? 32 : 0;
}

int kf_http_address_in(const char *address, const char *network)
{
    if (strcmp(network, "loopback") == 0)
        return kf_http_address_in(address, "127.0.0.0/8") || kf_http_address_in(address, "::1");
    char base[64];
    size_t length = strcspn(network, "/");
    if (length >= sizeof base)
        return 0;
    memcpy(base, network, length);
    base[length] = 0;
    unsigned char a[16], b[16];
    int width = address_bytes(base, b);
    if (!width || !address_bytes(address, a))
        return 0;
    long bits = width;
    if (network[length]) {
        char *end = NULL;
        bits = strtol(network + length + 1, &end, 10);
        if (end == network + length + 1 || *end || bits < 0 || bits > width)
            return 0;
    }
    bits += 128 - width;
    for (int i = 0; i < 16 && bits > 0; i++, bits -= 8) {
        unsigned char mask = bits >= 8 ? 0xff : (unsigned char)(0xff00 >> bits);
        if ((a[i] ^ b[i]) & mask)
            return 0;
    }
    return 1;
}

int kf_http_token_equal(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

int kf_http_value_ok(const char *value)
{
    for (const unsigned char *at = (const unsigned char *)value; *at; at++)
        if ((*at < 0x20 && *at != '\t') || *at == 0x7f)
            return 0;
    return 1;
}

int kf_http_accepts_coding(const char *header, const char *coding)
{
    size_t wanted = strlen(coding);
    for (const char *at = header; at && *at;) {
        at += strspn(at, " \t,");
        size_t length = strcspn(at, ",");
        size_t name = strcspn(at, "; \t,");
        if (name == wanted && strncasecmp(at, coding, wanted) == 0) {
            const char *q = memchr(at, '=', length);
            return !q || strtod(q + 1, NULL) > 0;
        }
        at += length;
    }
    return 0;
}
