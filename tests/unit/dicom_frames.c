// Where frames lie: native, one fragment each, by offset table, by the start of a stream.
#include "server/base/test.h"
#include "tests/unit/dicom_bytes.h"
#include "workers/dicom/index.h"

#define EXPLICIT "1.2.840.10008.1.2.1"
#define JPEG     "1.2.840.10008.1.2.4.70"

// The code of kf_dicom_frames, "" when it went well.
static const char *frames(const struct dicom_bytes *b, struct kf_dicom_span **spans, int64_t *count)
{
    static struct kf_error err;
    struct kf_dicom *d;
    err = (struct kf_error){0};
    *spans = NULL;
    *count = 0;
    if (kf_dicom_open_memory(b->out.data, b->out.length, NULL, &d, &err) == KF_OK) {
        if (kf_dicom_frames(d, spans, count, &err) == KF_OK)
            err.code[0] = 0;
        kf_dicom_free(d);
    }
    return err.code;
}

static void put_head(struct dicom_bytes *b, const char *syntax, const char *frame_count)
{
    put_meta(b, syntax);
    put_identity(b);
    put_us(b, 0x00280002, 1);
    put_text(b, 0x00280004, "CS", "MONOCHROME2");
    if (frame_count)
        put_text(b, 0x00280008, "IS", frame_count);
    put_us(b, 0x00280010, 2);
    put_us(b, 0x00280011, 3);
    put_us(b, 0x00280100, 16);
    put_us(b, 0x00280101, 16);
    put_us(b, 0x00280102, 15);
    put_us(b, 0x00280103, 0);
}

KF_TEST(native_frames_follow_each_other)
{
    struct dicom_bytes b = {0};
    struct kf_dicom_span *spans;
    int64_t count;
    put_head(&b, EXPLICIT, "3");
    put_bytes(&b, 0x7FE00010, "OW", "123456789012345678901234567890123456", 36);
    KF_CHECK_STR(frames(&b, &spans, &count), "");
    KF_REQUIRE(count == 3);
    for (int i = 0; i < 3; i++) {
        KF_CHECK_EQ(spans[i].length, 12);
        KF_CHECK_EQ(spans[i].offset, (long long)b.out.length - 36 + 12 * i);
    }
    free(spans);
    kf_str_release(&b.out);
}

KF_TEST(native_pixels_too_short_are_refused)
{
    static const struct {
        const char *frames, *code;
    } cases[] = {
        {"1", ""}, {"3", "truncated"}, {"0", "frame_count"}, {"-1", "frame_count"}, {"999999999", "frame_count"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dicom_bytes b = {0};
        struct kf_dicom_span *spans;
        int64_t count;
        put_head(&b, EXPLICIT, cases[i].frames);
        put_bytes(&b, 0x7FE00010, "OW", "123456789012", 12);
        KF_CHECK_STR(frames(&b, &spans, &count), cases[i].code);
        free(spans);
        kf_str_release(&b.out);
    }
}

// Three frames as five fragments, with the given basic offset table.
static void put_five(struct dicom_bytes *b, const void *table, size_t table_bytes, int with_markers)
{
    put_head(b, JPEG, "3");
    put_header(b, 0x7FE00010, "OB", UNDEFINED_LENGTH);
    put_fragment(b, table, table_bytes);
    put_fragment(b,
                 with_markers ? "\xFF\xD8"
                                "aa"
                              : "bbaa",
                 4);
    put_fragment(b, "cccc", 4);
    put_fragment(b,
                 with_markers ? "\xFF\xD8"
                                "dd"
                              : "bbdd",
                 4);
    put_fragment(b, "eeee", 4);
    put_fragment(b,
                 with_markers ? "\xFF\xD8"
                                "ff"
                              : "bbff",
                 4);
    put_sequence_end(b);
}

static void check_five(const struct dicom_bytes *b)
{
    struct kf_dicom_span *spans;
    int64_t count;
    KF_CHECK_STR(frames(b, &spans, &count), "");
    KF_REQUIRE(count == 3);
    uint64_t first = b->out.length - 8 - 5 * 12;
    KF_CHECK(spans[0].offset == first && spans[0].length == 24);
    KF_CHECK(spans[1].offset == first + 24 && spans[1].length == 24);
    KF_CHECK(spans[2].offset == first + 48 && spans[2].length == 12);
    free(spans);
}

KF_TEST(frames_by_offset_table)
{
    struct dicom_bytes b = {0};
    put_five(&b, "\0\0\0\0\x18\0\0\0\x30\0\0\0", 12, 0);
    check_five(&b);
    kf_str_release(&b.out);
}

KF_TEST(frames_by_the_start_of_a_stream)
{
    static const struct {
        const char *table;
        size_t length;
    } tables[] = {{"", 0}, {"\0\0\0\0\x19\0\0\0\x30\0\0\0", 12}, {"\0\0\0\0\x18\0\0\0", 8}}; // none, wrong, too short
    for (int i = 0; i < 3; i++) {
        struct dicom_bytes b = {0};
        put_five(&b, tables[i].table, tables[i].length, 1);
        check_five(&b);
        kf_str_release(&b.out);
    }
}

KF_TEST(fragments_that_cannot_be_told_apart_are_refused)
{
    struct dicom_bytes b = {0};
    struct kf_dicom_span *spans;
    int64_t count;
    put_five(&b, "", 0, 0);
    KF_CHECK_STR(frames(&b, &spans, &count), "frame_count");
    kf_str_release(&b.out);
}

KF_TEST(broken_fragments_are_refused)
{
    struct dicom_bytes b = {0};
    struct kf_dicom_span *spans;
    int64_t count;
    put_head(&b, JPEG, NULL);
    put_header(&b, 0x7FE00010, "OB", UNDEFINED_LENGTH);
    put_fragment(&b, "", 0);
    put_item(&b, 4000000000u);
    kf_str_add_text(&b.out, "abcd");
    KF_CHECK_STR(frames(&b, &spans, &count), "truncated");
    kf_str_release(&b.out);
    struct dicom_bytes none = {0};
    put_head(&none, JPEG, NULL);
    put_header(&none, 0x7FE00010, "OB", UNDEFINED_LENGTH);
    put_sequence_end(&none);
    KF_CHECK_STR(frames(&none, &spans, &count), "bad_structure");
    kf_str_release(&none.out);
}

KF_TEST(index_holds_offsets_as_little_endian_pairs)
{
    struct dicom_bytes b = {0};
    struct kf_dicom *d;
    struct kf_dicom_index index;
    put_five(&b, "", 0, 1);
    KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL) == KF_OK);
    KF_REQUIRE(kf_dicom_index_build(d, NULL, &index, NULL) == KF_OK);
    KF_CHECK_EQ(index.frame_offsets.length, 48);
    uint64_t first;
    memcpy(&first, index.frame_offsets.data, 8);
    KF_CHECK_EQ(first, b.out.length - 8 - 60);
    KF_CHECK_STR(index.frames_code, "");
    KF_CHECK_STR(index.set_aside, "");
    kf_dicom_index_release(&index);
    kf_dicom_free(d);
    kf_str_release(&b.out);
}

KF_TEST(an_image_cut_before_its_pixels_is_refused)
{
    struct dicom_bytes b = {0};
    struct kf_dicom *d;
    struct kf_dicom_index index;
    struct kf_error err;
    put_meta(&b, EXPLICIT);
    put_identity(&b); // a CT without Pixel Data
    KF_REQUIRE(kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL) == KF_OK);
    KF_CHECK(kf_dicom_index_build(d, NULL, &index, &err) == KF_INVALID);
    KF_CHECK_STR(err.code, "no_pixel_data");
    kf_dicom_free(d);
    kf_str_release(&b.out);
}

KF_TEST_MAIN(KF_RUN(native_frames_follow_each_other); KF_RUN(native_pixels_too_short_are_refused);
             KF_RUN(frames_by_offset_table); KF_RUN(frames_by_the_start_of_a_stream);
             KF_RUN(fragments_that_cannot_be_told_apart_are_refused); KF_RUN(broken_fragments_are_refused);
             KF_RUN(index_holds_offsets_as_little_endian_pairs); KF_RUN(an_image_cut_before_its_pixels_is_refused);)
