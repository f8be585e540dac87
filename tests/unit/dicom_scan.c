// Opening hostile, broken and odd bytes: a code for each, and never a crash.
#include "server/base/test.h"
#include "tests/unit/dicom_bytes.h"
#include "workers/dicom/meta.h"

#include <zlib.h>

#define EXPLICIT "1.2.840.10008.1.2.1"
#define IMPLICIT "1.2.840.10008.1.2"
#define BIG      "1.2.840.10008.1.2.2"
#define DEFLATED "1.2.840.10008.1.2.1.99"

// Opens and closes; returns the code, "ok" when it opened.
static const char *opens(const struct dicom_bytes *b, size_t length, const struct kf_dicom_limits *limits)
{
    static struct kf_error err;
    struct kf_dicom *d = NULL;
    err = (struct kf_error){0};
    // A copy of exactly this size, so that a sanitizer sees every byte read past the end.
    char *copy = malloc(length ? length : 1);
    memcpy(copy, kf_str_text(&b->out), length);
    enum kf_status status = kf_dicom_open_memory(copy, length, limits, &d, &err);
    kf_dicom_free(d);
    free(copy);
    return status == KF_OK ? "ok" : err.code;
}

static const char *opens_all(const struct dicom_bytes *b)
{
    return opens(b, b->out.length, NULL);
}

// A dataset with the shapes that walking must understand: defined and undefined sequences, nested ones, UN.
static void put_sequences(struct dicom_bytes *b)
{
    put_header(b, 0x00081110, "SQ", UNDEFINED_LENGTH);
    put_item(b, UNDEFINED_LENGTH);
    put_text(b, 0x00081150, "UI", "1.2");
    put_header(b, 0x00081199, "SQ", UNDEFINED_LENGTH);
    put_item(b, 12);
    put_text(b, 0x00081155, "UI", "1.20");
    put_sequence_end(b);
    put_item_end(b);
    put_sequence_end(b);
}

static void put_file(struct dicom_bytes *b, const char *syntax)
{
    b->implicit = strcmp(syntax, IMPLICIT) == 0;
    b->big = strcmp(syntax, BIG) == 0;
    put_meta(b, syntax);
    put_text(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(b, 0x00080018, "UI", "1.2.3.4");
    put_sequences(b);
    put_text(b, 0x0020000D, "UI", "1.2.3");
    put_text(b, 0x0020000E, "UI", "1.2.3.1");
    put_image(b, 2, 2, 16);
    put_bytes(b, 0x7FE00010, "OW", "\1\0\2\0\3\0\4\0", 8);
}

KF_TEST(every_encoding_opens)
{
    static const char *const syntaxes[] = {EXPLICIT, IMPLICIT, BIG};
    for (int i = 0; i < 3; i++) {
        struct dicom_bytes b = {0};
        put_file(&b, syntaxes[i]);
        KF_CHECK_STR(opens_all(&b), "ok");
        struct kf_dicom *d;
        KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL) == KF_OK);
        KF_CHECK_STR(kf_dicom_identity(d)->series_uid, "1.2.3.1");
        KF_CHECK_STR(kf_dicom_identity(d)->transfer_syntax, syntaxes[i]);
        const struct kf_dicom_layout *layout = kf_dicom_layout(d);
        KF_CHECK_EQ(layout->pixel_offset, (long long)b.out.length - 8);
        KF_CHECK_EQ(layout->pixel_length, 8);
        KF_CHECK_EQ(layout->dataset_offset + layout->dataset_length, b.out.length);
        KF_CHECK_NEAR(kf_dicom_number(d, KF_TAG(0x0028, 0x0010), 0), 2, 0);
        kf_dicom_free(d);
        kf_str_release(&b.out);
    }
}

KF_TEST(every_prefix_is_refused_or_whole)
{
    static const char *const syntaxes[] = {EXPLICIT, IMPLICIT, BIG};
    for (int s = 0; s < 3; s++) {
        struct dicom_bytes b = {0};
        put_file(&b, syntaxes[s]);
        int opened = 0;
        for (size_t n = 0; n < b.out.length; n++)
            if (strcmp(opens(&b, n, NULL), "ok") == 0)
                opened++; // a cut between two elements cannot be seen
        // Thirteen boundaries from the preamble to Pixel Data; in big endian also one zero byte after each.
        KF_CHECK(opened >= 12 && opened <= 26);
        KF_CHECK_STR(opens(&b, b.out.length - 1, NULL), "truncated"); // within Pixel Data it can
        kf_str_release(&b.out);
    }
}

KF_TEST(every_single_byte_change_is_survived)
{
    struct dicom_bytes b = {0};
    put_file(&b, EXPLICIT);
    for (size_t i = 128; i < b.out.length; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.out.data[i] = (char)(b.out.data[i] ^ 1 << bit);
            opens_all(&b);
            b.out.data[i] = (char)(b.out.data[i] ^ 1 << bit);
        }
    KF_CHECK_STR(opens_all(&b), "ok");
    kf_str_release(&b.out);
}

KF_TEST(datasets_without_meta_are_recognised)
{
    for (int kind = 0; kind < 3; kind++) {
        struct dicom_bytes b = {.implicit = kind == 1, .big = kind == 2};
        put_identity(&b);
        KF_CHECK_STR(opens_all(&b), "ok");
        struct kf_dicom *d;
        KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL) == KF_OK);
        KF_CHECK_STR(kf_dicom_identity(d)->transfer_syntax, kind == 0 ? EXPLICIT : kind == 1 ? IMPLICIT : BIG);
        KF_CHECK_EQ(kf_dicom_layout(d)->has_meta, 0);
        kf_dicom_free(d);
        kf_str_release(&b.out);
    }
}

KF_TEST(what_is_not_dicom_is_said_so)
{
    static const char *const others[] = {"", "x", "PK\3\4aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                         "%PDF-1.7 and so on and so on"};
    for (int i = 0; i < 4; i++) {
        struct dicom_bytes b = {0};
        kf_str_add_text(&b.out, others[i]);
        KF_CHECK_STR(opens_all(&b), "not_dicom");
        kf_str_release(&b.out);
    }
    struct dicom_bytes zeros = {0};
    for (int i = 0; i < 4096; i++)
        kf_str_add_char(&zeros.out, 0);
    KF_CHECK_STR(opens_all(&zeros), "not_dicom");
    kf_str_release(&zeros.out);
}

static void put_nest(struct dicom_bytes *b, int depth)
{
    for (int i = 0; i < depth; i++) {
        put_header(b, 0x00081110, "SQ", UNDEFINED_LENGTH);
        put_item(b, UNDEFINED_LENGTH);
    }
    for (int i = 0; i < depth; i++) {
        put_item_end(b);
        put_sequence_end(b);
    }
}

KF_TEST(deep_nesting_is_refused)
{
    static const struct {
        int depth;
        const char *code;
    } cases[] = {{1, "ok"}, {32, "ok"}, {33, "too_deep"}, {100000, "too_deep"}};
    for (int implicit = 0; implicit < 2; implicit++)
        for (int i = 0; i < 4; i++) {
            struct dicom_bytes b = {.implicit = implicit};
            put_meta(&b, implicit ? IMPLICIT : EXPLICIT);
            put_text(&b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
            put_text(&b, 0x00080018, "UI", "1.2.3.4");
            put_nest(&b, cases[i].depth);
            put_text(&b, 0x0020000D, "UI", "1.2.3");
            put_text(&b, 0x0020000E, "UI", "1.2.3.1");
            KF_CHECK_STR(opens_all(&b), cases[i].code);
            kf_str_release(&b.out);
        }
}

// Nested in sequences of defined length, which a reader may be tempted to pass over unseen.
KF_TEST(deep_nesting_of_defined_length_is_refused)
{
    for (int implicit = 0; implicit < 2; implicit++) {
        struct dicom_bytes inner = {.implicit = implicit};
        for (int i = 0; i < 40; i++) {
            struct dicom_bytes outer = {.implicit = implicit};
            put_header(&outer, 0x00081110, "SQ", (uint32_t)inner.out.length + 8);
            put_item(&outer, (uint32_t)inner.out.length);
            kf_str_add(&outer.out, kf_str_text(&inner.out), inner.out.length);
            kf_str_release(&inner.out);
            inner = outer;
        }
        struct dicom_bytes b = {.implicit = implicit};
        put_meta(&b, implicit ? IMPLICIT : EXPLICIT);
        put_text(&b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
        put_text(&b, 0x00080018, "UI", "1.2.3.4");
        kf_str_add(&b.out, inner.out.data, inner.out.length);
        KF_CHECK_STR(opens_all(&b), "too_deep");
        kf_str_release(&inner.out);
        kf_str_release(&b.out);
    }
}

KF_TEST(limits_are_kept)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    for (uint32_t i = 0; i < 1000; i++)
        put_text(&b, 0x00290000 + 0x1000 + i, "LO", "a private text of some length");
    struct kf_dicom_limits few = kf_dicom_limits_default, small = kf_dicom_limits_default;
    few.elements = 500;
    small.header_bytes = 8192;
    KF_CHECK_STR(opens_all(&b), "ok");
    KF_CHECK_STR(opens(&b, b.out.length, &few), "too_many_elements");
    KF_CHECK_STR(opens(&b, b.out.length, &small), "header_too_large");
    kf_str_release(&b.out);
}

KF_TEST(a_length_beyond_the_end_costs_nothing)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    put_header(&b, 0x00420011, "OB", 0xFFFFFFF0u);
    kf_str_add_text(&b.out, "short");
    KF_CHECK_STR(opens_all(&b), "truncated");
    kf_str_release(&b.out);
}

KF_TEST(a_bad_vr_is_survived)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    put_header(&b, 0x00280103, "??", 2); // read as an old VR: 16-bit length
    put16(&b, 1);
    put_text(&b, 0x00400253, "SH", "after");
    KF_CHECK_STR(opens_all(&b), "ok");
    kf_str_release(&b.out);
}

// DCMTK reads "px" as a name of its own with a 32-bit length, which would be 3.5 GB here (found by fuzzing).
KF_TEST(a_vr_that_only_dcmtk_knows_cannot_claim_memory)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    put_header(&b, 0x00280101, "px", 2);
    put16(&b, 0x2800);
    put_header(&b, 0xD30C0001, "US", 2);
    put16(&b, 1);
    KF_CHECK_STR(opens_all(&b), "bad_structure");
    kf_str_release(&b.out);
}

KF_TEST(binary_that_looks_like_a_sequence_stays_binary)
{
    struct dicom_bytes b = {.implicit = 1};
    put_meta(&b, IMPLICIT);
    put_identity(&b);
    put_bytes(&b, 0x00291010, "UN", "\xFE\xFF\x00\xE0 this is no item at all", 26);
    put_text(&b, 0x00400253, "SH", "after");
    KF_CHECK_STR(opens_all(&b), "ok");
    kf_str_release(&b.out);
}

// DCMTK takes such a value for a sequence by its dictionary, and would allocate what the element inside claims (found
// by fuzzing: 2.4 GB from 366 bytes).
KF_TEST(a_broken_sequence_that_only_the_dictionary_names_is_refused)
{
    static const char *const vrs[] = {"", "UN"};
    for (int i = 0; i < 2; i++) {
        struct dicom_bytes inner = {.implicit = 1}, b = {.implicit = i == 0};
        put_header(&inner, 0xFFFEE000, "", UNDEFINED_LENGTH);
        put_header(&inner, 0x00016061, "", 0x91B00E00);
        put_text(&inner, 0x00081155, "UI", "1.2.3");
        put_meta(&b, i == 0 ? IMPLICIT : EXPLICIT);
        put_identity(&b);
        size_t sound = b.out.length;
        put_bytes(&b, 0x00081110, vrs[i], inner.out.data, inner.out.length);
        KF_CHECK_STR(opens_all(&b), "truncated");
        b.out.length = sound;
        put_bytes(&b, 0x00291010, vrs[i], inner.out.data, inner.out.length); // private: kept unread
        KF_CHECK_STR(opens_all(&b), "ok");
        kf_str_release(&inner.out);
        kf_str_release(&b.out);
    }
}

KF_TEST(trailing_zeros_are_forgiven)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    for (int i = 0; i < 37; i++)
        kf_str_add_char(&b.out, 0);
    KF_CHECK_STR(opens_all(&b), "ok");
    kf_str_release(&b.out);
}

static void put_deflated(struct dicom_bytes *b, const struct kf_str *dataset)
{
    z_stream z = {0};
    KF_REQUIRE(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&z, dataset->length);
    char *packed = malloc(room);
    z.next_in = (unsigned char *)dataset->data;
    z.avail_in = (uInt)dataset->length;
    z.next_out = (unsigned char *)packed;
    z.avail_out = (uInt)room;
    KF_CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
    kf_str_add(&b->out, packed, room - z.avail_out);
    deflateEnd(&z);
    free(packed);
}

KF_TEST(deflated_datasets_and_bombs)
{
    struct dicom_bytes data = {0}, b = {0};
    put_identity(&data);
    put_image(&data, 64, 64, 16);
    char *pixels = calloc(1, 8192);
    put_bytes(&data, 0x7FE00010, "OW", pixels, 8192);
    free(pixels);
    put_meta(&b, DEFLATED);
    put_deflated(&b, &data.out);
    KF_CHECK_STR(opens_all(&b), "ok");
    struct kf_dicom_limits tight = kf_dicom_limits_default;
    tight.inflated_bytes = 4096;
    KF_CHECK_STR(opens(&b, b.out.length, &tight), "deflate_bomb");
    KF_CHECK_STR(opens(&b, b.out.length - 4, NULL), "truncated");
    b.out.data[b.out.length / 2 + 100] ^= 0x55;
    opens_all(&b); // raw deflate has no checksum: damage may go unseen, but must not crash
    kf_str_release(&data.out);
    kf_str_release(&b.out);
}

KF_TEST(identity_is_required)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_text(&b, 0x00080060, "CS", "CT");
    struct kf_dicom *d;
    struct kf_error err;
    // The dataset lacks both SOP UIDs, the file meta group has them.
    KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, &err) == KF_OK);
    KF_CHECK_STR(kf_dicom_identity(d)->sop_uid, "1.2.3.4");
    KF_CHECK(kf_dicom_check_place(d, &err) == KF_INVALID);
    KF_CHECK_STR(err.code, "no_study_uid");
    kf_dicom_free(d);
    kf_str_release(&b.out);
    struct dicom_bytes bad = {0};
    put_text(&bad, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(&bad, 0x00080018, "UI", "1.2.x");
    KF_CHECK_STR(opens_all(&bad), "bad_uid");
    kf_str_release(&bad.out);
    struct dicom_bytes directory = {0};
    put_meta(&directory, EXPLICIT);
    put_text(&directory, 0x00041130, "CS", "MEDIA");
    KF_CHECK_STR(opens_all(&directory), "dicomdir");
    kf_str_release(&directory.out);
}

KF_TEST(content_hash_leaves_out_the_meta)
{
    struct dicom_bytes one = {0}, two = {0};
    unsigned char a[KF_SHA256_BYTES], b[KF_SHA256_BYTES], c[KF_SHA256_BYTES];
    put_file(&one, EXPLICIT);
    put_identity(&two); // the same dataset without any meta
    two.out.length = 0;
    struct kf_dicom *d;
    KF_REQUIRE(kf_dicom_open_memory(one.out.data, one.out.length, NULL, &d, NULL) == KF_OK);
    KF_CHECK(kf_dicom_content_hash(d, a, NULL) == KF_OK);
    int64_t from = kf_dicom_layout(d)->dataset_offset;
    kf_dicom_free(d);
    kf_str_add(&two.out, one.out.data + from, one.out.length - (size_t)from);
    KF_REQUIRE(kf_dicom_open_memory(two.out.data, two.out.length, NULL, &d, NULL) == KF_OK);
    KF_CHECK(kf_dicom_content_hash(d, b, NULL) == KF_OK);
    kf_dicom_free(d);
    struct kf_sha256 *stream;
    KF_REQUIRE(kf_dicom_content_hash_begin(EXPLICIT, &stream) == KF_OK);
    kf_sha256_add(stream, two.out.data, 5);
    kf_sha256_add(stream, two.out.data + 5, two.out.length - 5);
    kf_sha256_finish(stream, c);
    kf_sha256_free(stream);
    KF_CHECK(memcmp(a, b, sizeof a) == 0);
    KF_CHECK(memcmp(a, c, sizeof a) == 0);
    two.out.data[two.out.length - 1] ^= 1;
    KF_REQUIRE(kf_dicom_open_memory(two.out.data, two.out.length, NULL, &d, NULL) == KF_OK);
    KF_CHECK(kf_dicom_content_hash(d, b, NULL) == KF_OK);
    kf_dicom_free(d);
    KF_CHECK(memcmp(a, b, sizeof a) != 0);
    kf_str_release(&one.out);
    kf_str_release(&two.out);
}

KF_TEST(a_large_value_stays_in_the_file)
{
    struct dicom_bytes b = {0};
    put_meta(&b, EXPLICIT);
    put_identity(&b);
    size_t n = 3000000;
    char *value = calloc(1, n);
    put_bytes(&b, 0x00420011, "OB", value, n);
    put_text(&b, 0x00420012, "LO", "application/pdf");
    free(value);
    struct kf_dicom_limits small = kf_dicom_limits_default;
    small.header_bytes = 65536;
    KF_CHECK_STR(opens(&b, b.out.length, &small), "ok");
    kf_str_release(&b.out);
}

KF_TEST_MAIN(KF_RUN(every_encoding_opens); KF_RUN(every_prefix_is_refused_or_whole);
             KF_RUN(every_single_byte_change_is_survived); KF_RUN(datasets_without_meta_are_recognised);
             KF_RUN(what_is_not_dicom_is_said_so); KF_RUN(deep_nesting_is_refused);
             KF_RUN(deep_nesting_of_defined_length_is_refused); KF_RUN(limits_are_kept);
             KF_RUN(a_length_beyond_the_end_costs_nothing); KF_RUN(a_bad_vr_is_survived);
             KF_RUN(a_vr_that_only_dcmtk_knows_cannot_claim_memory);
             KF_RUN(binary_that_looks_like_a_sequence_stays_binary);
             KF_RUN(a_broken_sequence_that_only_the_dictionary_names_is_refused); KF_RUN(trailing_zeros_are_forgiven);
             KF_RUN(deflated_datasets_and_bombs); KF_RUN(identity_is_required);
             KF_RUN(content_hash_leaves_out_the_meta); KF_RUN(a_large_value_stays_in_the_file);)
