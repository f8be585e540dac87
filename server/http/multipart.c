// A state machine over a small window. Delimiters are found with memchr on CR: inside a part, everything up to a CR
// that could begin "\r\n--boundary" is passed on at once, straight from the caller's buffer; only bytes that may belong
// to a delimiter are held back, as a count: what they are is known.
#include "server/http/multipart.h"

#include "server/http/internal.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum state {
    PREAMBLE, // before the first delimiter
    LINE_END, // behind a delimiter: CRLF starts a part, "--" ends everything
    HEADERS,  // collecting header lines
    DATA,     // inside a part
    EPILOGUE, // behind the closing delimiter: ignored
};

struct kf_multipart {
    const struct kf_multipart_events *events;
    void *context;
    size_t most_parts;
    size_t parts;
    enum state state;
    struct kf_error failure;
    enum kf_status failed;
    char delimiter[KF_MULTIPART_BOUNDARY + 5]; // "\r\n--boundary"
    size_t delimiter_length;
    size_t matched; // bytes of the delimiter seen so far (they are not in any buffer: the delimiter is known)
    char line[4];   // what stands behind a delimiter
    size_t line_length;
    char headers[KF_MULTIPART_HEADER_BYTES];
    size_t header_length;
};

// RFC 2046 section 5.1.1: bchars, not ending in a space.
static int boundary_ok(const char *boundary)
{
    size_t length = strlen(boundary);
    if (length < 1 || length > KF_MULTIPART_BOUNDARY || boundary[length - 1] == ' ')
        return 0;
    for (size_t i = 0; i < length; i++) {
        char c = boundary[i];
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("'()+_,-./:=? ", c))
            return 0;
    }
    return 1;
}

enum kf_status kf_multipart_new(const char *boundary, size_t most_parts, const struct kf_multipart_events *events,
                                void *context, struct kf_multipart **out, struct kf_error *err)
{
    *out = NULL;
    if (!boundary || !boundary_ok(boundary))
        return kf_error_set(err, KF_INVALID, "invalid_boundary", "The Content-Type has no valid multipart boundary.");
    struct kf_multipart *parser = calloc(1, sizeof *parser);
    if (!parser)
        return kf_error_set(err, KF_NOMEM, NULL, "Out of memory.");
    parser->events = events;
    parser->context = context;
    parser->most_parts = most_parts;
    memcpy(parser->delimiter, "\r\n--", 4);
    memcpy(parser->delimiter + 4, boundary, strlen(boundary));
    parser->delimiter_length = 4 + strlen(boundary);
    parser->matched = 2; // the first delimiter needs no line break before it
    *out = parser;
    return KF_OK;
}

void kf_multipart_free(struct kf_multipart *parser)
{
    free(parser);
}

static enum kf_status fail(const char *code, const char *detail, struct kf_error *err)
{
    return kf_error_set(err, KF_INVALID, code, "%s", detail);
}

// Drops folders of any system and control characters.
static void clean_file_name(char *name)
{
    char *base = name;
    for (char *at = name; *at; at++)
        if (*at == '/' || *at == '\\')
            base = at + 1;
    char *to = name;
    for (const char *at = base; *at; at++)
        if ((unsigned char)*at >= 0x20 && *at != 0x7f)
            *to++ = *at;
    *to = 0;
}

static void trim(char *text)
{
    size_t length = strlen(text);
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = 0;
}

struct part_text {
    char name[256], file_name[512], content_type[128], location[512];
};

static void copy_cut(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    if (length >= size)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = 0;
}

static void take_header(struct part_text *text, const char *name, char *value)
{
    trim(value);
    if (strcasecmp(name, "content-disposition") == 0) {
        if (kf_http_media_parameter(value, "name", text->name, sizeof text->name))
            text->name[0] = 0;
        if (kf_http_media_parameter(value, "filename", text->file_name, sizeof text->file_name))
            text->file_name[0] = 0;
        clean_file_name(text->file_name);
    } else if (strcasecmp(name, "content-type") == 0) {
        value[strcspn(value, "; \t")] = 0;
        copy_cut(text->content_type, sizeof text->content_type, value);
        for (char *at = text->content_type; *at; at++)
            if (*at >= 'A' && *at <= 'Z')
                *at = (char)(*at - 'A' + 'a');
    } else if (strcasecmp(name, "content-location") == 0) {
        copy_cut(text->location, sizeof text->location, value);
    }
}

// The header block is complete (it ends with an empty line): splits it and announces the part.
static enum kf_status begin_part(struct kf_multipart *parser, struct kf_error *err)
{
    struct part_text text = {0};
    char *at = parser->headers, *end = at + parser->header_length;
    *end = 0;
    if (memchr(at, 0, parser->header_length))
        return fail("invalid_part_header", "A part header holds a NUL.", err);
    while (at < end) {
        char *line_end = strstr(at, "\r\n");
        if (!line_end)
            break;
        *line_end = 0;
        char *colon = strchr(at, ':');
        if (!colon || colon == at || *at == ' ' || *at == '\t')
            return fail("invalid_part_header", "A part header is no header line.", err);
        *colon = 0;
        trim(at);
        take_header(&text, at, colon + 1 + strspn(colon + 1, " \t"));
        at = line_end + 2;
    }
    if (parser->most_parts && parser->parts == parser->most_parts)
        return kf_error_set(err, KF_TOO_LARGE, "too_many_parts", "The body has more than %zu parts.",
                            parser->most_parts);
    struct kf_multipart_part part = {parser->parts++, text.name, text.file_name, text.content_type, text.location};
    parser->header_length = 0;
    parser->state = DATA;
    parser->matched = 0;
    return parser->events->part_begin ? parser->events->part_begin(parser->context, &part, err) : KF_OK;
}

static enum kf_status emit(struct kf_multipart *parser, const void *bytes, size_t length, struct kf_error *err)
{
    if (!length || parser->state != DATA || !parser->events->part_data)
        return KF_OK;
    return parser->events->part_data(parser->context, bytes, length, err);
}

static enum kf_status delimiter_found(struct kf_multipart *parser, struct kf_error *err)
{
    int inside = parser->state == DATA;
    parser->state = LINE_END;
    parser->line_length = 0;
    parser->matched = 0;
    return inside && parser->events->part_end ? parser->events->part_end(parser->context, err) : KF_OK;
}

// PREAMBLE and DATA. Consumes at least one byte; *used says how many.
static enum kf_status scan(struct kf_multipart *parser, const char *bytes, size_t length, size_t *used,
                           struct kf_error *err)
{
    if (parser->matched == 0) {
        const char *cr = memchr(bytes, '\r', length);
        size_t plain = cr ? (size_t)(cr - bytes) : length;
        *used = plain;
        enum kf_status status = emit(parser, bytes, plain, err);
        if (status != KF_OK || !cr)
            return status;
        parser->matched = 1;
        *used = plain + 1;
        return KF_OK;
    }
    size_t i = 0;
    while (i < length && parser->matched < parser->delimiter_length && bytes[i] == parser->delimiter[parser->matched]) {
        i++;
        parser->matched++;
    }
    *used = i;
    if (parser->matched == parser->delimiter_length)
        return delimiter_found(parser, err);
    if (i == length)
        return KF_OK;
    // It was none. CR occurs in a delimiter only at its start, so that nothing inside what matched can begin another
    // one.
    size_t given_back = parser->matched;
    parser->matched = 0;
    return emit(parser, parser->delimiter, given_back, err);
}

// Behind a delimiter: optional spaces, then CRLF, or "--" for the end.
static enum kf_status line_end(struct kf_multipart *parser, char c, struct kf_error *err)
{
    if (parser->line_length == 0 && (c == ' ' || c == '\t'))
        return KF_OK;
    parser->line[parser->line_length++] = c;
    if (parser->line_length < 2)
        return c == '\r' || c == '-' ? KF_OK : fail("invalid_delimiter", "A boundary line does not end.", err);
    if (parser->line[0] == '\r' && c == '\n') {
        parser->state = HEADERS;
        parser->header_length = 0;
        return KF_OK;
    }
    if (parser->line[0] == '-' && c == '-') {
        parser->state = EPILOGUE;
        return KF_OK;
    }
    return fail("invalid_delimiter", "A boundary line does not end.", err);
}

static enum kf_status header_byte(struct kf_multipart *parser, char c, struct kf_error *err)
{
    if (parser->header_length + 1 >= sizeof parser->headers)
        return fail("part_header_too_long", "The headers of a part are too long.", err);
    parser->headers[parser->header_length++] = c;
    size_t n = parser->header_length;
    const char *h = parser->headers;
    if (c == '\n' && (n < 2 || h[n - 2] != '\r'))
        return fail("invalid_part_header", "A part header line ends without a carriage return.", err);
    if ((n == 2 && memcmp(h, "\r\n", 2) == 0) || (n >= 4 && memcmp(h + n - 4, "\r\n\r\n", 4) == 0)) {
        parser->header_length -= 2; // the empty line
        return begin_part(parser, err);
    }
    return KF_OK;
}

static enum kf_status feed(struct kf_multipart *parser, const char *bytes, size_t length, struct kf_error *err)
{
    enum kf_status status = KF_OK;
    for (size_t i = 0; status == KF_OK && i < length;) {
        size_t used = 1;
        switch (parser->state) {
        case PREAMBLE:
        case DATA:
            status = scan(parser, bytes + i, length - i, &used, err);
            break;
        case LINE_END:
            status = line_end(parser, bytes[i], err);
            break;
        case HEADERS:
            status = header_byte(parser, bytes[i], err);
            break;
        default:
            used = length - i;
        }
        i += used;
    }
    return status;
}

enum kf_status kf_multipart_feed(struct kf_multipart *parser, const void *bytes, size_t length, struct kf_error *err)
{
    struct kf_error local = {0};
    if (parser->failed == KF_OK) {
        parser->failed = feed(parser, bytes, length, &local);
        parser->failure = local;
    }
    if (parser->failed != KF_OK && err)
        *err = parser->failure;
    return parser->failed;
}

enum kf_status kf_multipart_finish(struct kf_multipart *parser, struct kf_error *err)
{
    if (parser->failed != KF_OK) {
        if (err)
            *err = parser->failure;
        return parser->failed;
    }
    if (parser->state != EPILOGUE)
        return kf_error_set(err, KF_INVALID, "truncated_multipart", "The body ends before its closing boundary.");
    return KF_OK;
}
