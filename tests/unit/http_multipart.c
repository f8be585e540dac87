// The streaming multipart parser: parts come out whole however the bytes are cut, and nothing malformed gets through.
#include "server/base/str.h"
#include "server/base/test.h"
#include "server/http/multipart.h"

struct seen {
    struct kf_str text; // "<name|file|type>bytes</>" of all parts
    int fail_at_part;
};

static enum kf_status on_begin(void *context, const struct kf_multipart_part *part, struct kf_error *err)
{
    struct seen *seen = context;
    if (seen->fail_at_part && (int)part->index == seen->fail_at_part)
        return kf_error_set(err, KF_NOSPACE, NULL, "no room");
    kf_str_printf(&seen->text, "<%s|%s|%s>", part->name, part->file_name, part->content_type);
    return KF_OK;
}

static enum kf_status on_data(void *context, const void *bytes, size_t length, struct kf_error *err)
{
    (void)err;
    kf_str_add(&((struct seen *)context)->text, bytes, length);
    return KF_OK;
}

static enum kf_status on_end(void *context, struct kf_error *err)
{
    (void)err;
    kf_str_add_text(&((struct seen *)context)->text, "</>");
    return KF_OK;
}

static const struct kf_multipart_events events = {on_begin, on_data, on_end};

// Feeds `body` in pieces of `step` bytes (0: at once). Returns the first failure or the status of finish.
static enum kf_status parse(const char *boundary, const char *body, size_t length, size_t step, struct seen *seen,
                            struct kf_error *err)
{
    struct kf_multipart *parser = NULL;
    kf_str_clear(&seen->text);
    enum kf_status status = kf_multipart_new(boundary, 50, &events, seen, &parser, err);
    for (size_t i = 0; status == KF_OK && i < length;) {
        size_t n = step && step < length - i ? step : length - i;
        char *piece = malloc(n); // exact, so that a sanitizer sees a read beyond it
        memcpy(piece, body + i, n);
        status = kf_multipart_feed(parser, piece, n, err);
        free(piece);
        i += n;
    }
    if (status == KF_OK)
        status = kf_multipart_finish(parser, err);
    kf_multipart_free(parser);
    return status;
}

KF_TEST(parts_come_out_whole_in_any_cut)
{
    static const char body[] = "ignored preamble\r\n"
                               "--b.1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nplain\r\n"
                               "--b.1 \t\r\nContent-Type: Application/DICOM; x=y\r\n"
                               "Content-Disposition: form-data; name=f; filename=\"C:\\\\dir\\\\x.dcm\"\r\n\r\n"
                               "\r\n--b.\r\r\n--b\n--b.1\r-\r\n-\r\n"
                               "--b.1\r\n\r\n\r\n"
                               "--b.1--\r\nepilogue --b.1\r\n";
    static const char wanted[] = "<a||>plain</><f|x.dcm|application/dicom>\r\n--b.\r\r\n--b\n--b.1\r-\r\n-</><||></>";
    struct seen seen = {0};
    for (size_t step = 0; step < sizeof body; step++) {
        struct kf_error err = {0};
        KF_CHECK_EQ(parse("b.1", body, sizeof body - 1, step, &seen, &err), KF_OK);
        KF_CHECK_STR(kf_str_text(&seen.text), wanted);
    }
    kf_str_release(&seen.text);
}

KF_TEST(malformed_bodies_are_refused)
{
    static const struct {
        const char *body, *code;
    } cases[] = {
        {"", "truncated_multipart"},
        {"no boundary at all", "truncated_multipart"},
        {"--b\r\n\r\nabc", "truncated_multipart"},
        {"--b\r\n\r\nabc\r\n--b", "truncated_multipart"},
        {"--b\r\n\r\nabc\r\n--b-", "truncated_multipart"},
        {"--b\r\nX: y", "truncated_multipart"},
        {"--b\nX: y\r\n\r\n", "invalid_delimiter"},
        {"--bx\r\n\r\n", "invalid_delimiter"},
        {"--b\r\n\r\nabc\r\n--b-x", "invalid_delimiter"},
        {"--b\r\nno colon\r\n\r\n", "invalid_part_header"},
        {"--b\r\n: empty\r\n\r\n", "invalid_part_header"},
        {"--b\r\nA: b\nC: d\r\n\r\n", "invalid_part_header"},
        {"--b\r\nA: b\r\n folded\r\n\r\n", "invalid_part_header"},
    };
    struct seen seen = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 0; step < 3; step++) {
            struct kf_error err = {0};
            KF_CHECK_EQ(parse("b", cases[i].body, strlen(cases[i].body), step, &seen, &err), KF_INVALID);
            KF_CHECK_STR(err.code, cases[i].code);
        }
    struct kf_error err = {0};
    KF_CHECK_EQ(parse("b", "--b\r\nA: \0\r\n\r\n", 14, 0, &seen, &err), KF_INVALID);
    kf_str_release(&seen.text);
}

KF_TEST(boundaries_are_checked)
{
    static const char *const bad[] = {
        "", " ", "a ", "a\r", "a\"b", "a\n", "0123456789012345678901234567890123456789012345678901234567890123456789x"};
    struct kf_multipart *parser = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        KF_CHECK_EQ(kf_multipart_new(bad[i], 0, &events, NULL, &parser, NULL), KF_INVALID);
    KF_CHECK_EQ(kf_multipart_new(NULL, 0, &events, NULL, &parser, NULL), KF_INVALID);
}

KF_TEST(limits_hold_and_failures_stick)
{
    struct seen seen = {0};
    struct kf_str body = {0};
    kf_str_add_text(&body, "--b\r\nX: ");
    for (int i = 0; i < KF_MULTIPART_HEADER_BYTES; i++)
        kf_str_add_char(&body, 'x');
    struct kf_error err = {0};
    KF_CHECK_EQ(parse("b", body.data, body.length, 0, &seen, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "part_header_too_long");
    kf_str_clear(&body);
    for (int i = 0; i < 51; i++)
        kf_str_add_text(&body, "--b\r\n\r\nx\r\n");
    kf_str_add_text(&body, "--b--");
    KF_CHECK_EQ(parse("b", body.data, body.length, 0, &seen, &err), KF_TOO_LARGE);
    seen.fail_at_part = 2;
    KF_CHECK_EQ(parse("b", body.data, body.length, 7, &seen, &err), KF_NOSPACE);
    KF_CHECK_STR(kf_str_text(&seen.text), "<||>x</><||>x</>");
    kf_str_release(&body);
    kf_str_release(&seen.text);
}

KF_TEST(binary_data_survives)
{
    enum { N = 20000 };
    struct kf_str body = {0};
    unsigned state = 1;
    unsigned char *data = malloc(N);
    KF_REQUIRE(data);
    for (int i = 0; i < N; i++) {
        state = state * 1664525u + 1013904223u;
        // Mostly delimiter bytes, so that near misses are common.
        data[i] = (unsigned char)"\r\n--bb\r\0"[(state >> 24) % 8];
    }
    kf_str_add_text(&body, "--bbbb\r\n\r\n");
    kf_str_add(&body, data, N);
    kf_str_add_text(&body, "\r\n--bbbb--");
    struct seen seen = {0};
    for (size_t step = 0; step < 100; step += 7) {
        struct kf_error err = {0};
        KF_CHECK_EQ(parse("bbbb", body.data, body.length, step, &seen, &err), KF_OK);
        KF_CHECK_EQ(seen.text.length, N + 7);
        KF_CHECK(seen.text.length == N + 7 && memcmp(seen.text.data + 4, data, N) == 0);
    }
    free(data);
    kf_str_release(&body);
    kf_str_release(&seen.text);
}

KF_TEST_MAIN(KF_RUN(parts_come_out_whole_in_any_cut); KF_RUN(malformed_bodies_are_refused);
             KF_RUN(boundaries_are_checked); KF_RUN(limits_hold_and_failures_stick); KF_RUN(binary_data_survives);)
