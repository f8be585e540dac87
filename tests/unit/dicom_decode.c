// Real samples in every transfer syntax: the lossless ones bit for bit, the lossy ones within their bounds.
#include "server/base/test.h"
#include "tests/unit/dicom_bytes.h"
#include "workers/dicom/decode.h"

#include <fcntl.h>
#include <unistd.h>

struct picture {
    struct kf_dicom_image image;
    uint16_t *values; // of the first frame; owned
    struct kf_error err;
};

static struct picture decode(const char *folder, const char *file, int frame)
{
    struct picture p = {0};
    char path[4096];
    struct kf_dicom *d = NULL;
    struct kf_dicom_span *spans = NULL;
    int64_t count = 0;
    snprintf(path, sizeof path, "%s/dicom/%s/%s", kf_test_data(), folder, file);
    int fd = open(path, O_RDONLY);
    enum kf_status status = kf_dicom_open(fd, 0, -1, NULL, &d, &p.err);
    if (status == KF_OK)
        status = kf_dicom_image(d, &p.image, &p.err);
    if (status == KF_OK)
        status = kf_dicom_frames_inside(d, &spans, &count, &p.err);
    if (status == KF_OK && frame < count) {
        p.values = malloc(2 * (size_t)p.image.rows * (size_t)p.image.columns);
        status = kf_dicom_decode(d, fd, &p.image, &spans[frame], p.values, &p.err);
    }
    if (status != KF_OK) {
        free(p.values);
        p.values = NULL;
    }
    free(spans);
    kf_dicom_free(d);
    close(fd);
    return p;
}

#define PREFIX "CTImage.dcm_"

// The largest difference from the plain file, -1 when it could not be read.
static int difference(const struct picture *plain, const char *file)
{
    struct picture p = decode("syntaxes", file, 0);
    int most = -1;
    if (p.values && p.image.rows == plain->image.rows && p.image.columns == plain->image.columns) {
        most = 0;
        for (int i = 0; i < p.image.rows * p.image.columns; i++) {
            int d = abs((int16_t)p.values[i] - (int16_t)plain->values[i]);
            most = d > most ? d : most;
        }
    } else {
        fprintf(stderr, "%s: %s %s\n", file, p.err.code, p.err.detail);
    }
    free(p.values);
    return most;
}

KF_TEST(lossless_syntaxes_are_bit_for_bit)
{
    static const char *const files[] = {
        PREFIX "LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm",
        PREFIX "LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
        PREFIX "BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
        PREFIX "DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
        PREFIX "RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
        PREFIX "JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
        PREFIX "JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
        PREFIX "JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
        PREFIX "JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
    };
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    struct picture plain = decode("syntaxes", "CTImage.dcm", 0);
    KF_REQUIRE(plain.values);
    int distinct = 0;
    for (int i = 1; i < 512 * 512; i++)
        distinct += plain.values[i] != plain.values[0];
    KF_CHECK(distinct > 10000); // a picture, not a blank
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        KF_CHECK_EQ(difference(&plain, files[i]), 0);
    free(plain.values);
}

KF_TEST(lossy_syntaxes_are_within_bounds)
{
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    struct picture plain = decode("syntaxes", "CTImage.dcm", 0);
    KF_REQUIRE(plain.values);
    int j2k = difference(&plain, PREFIX "JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm");
    int jls = difference(&plain, PREFIX "JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm");
    KF_CHECK(j2k >= 1 && j2k <= 5);
    KF_CHECK(jls >= 1 && jls <= 1);
    free(plain.values);
}

KF_TEST(lossy_jpeg_decodes)
{
    static const char *const files[] = {"CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm",
                                        "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
                                        "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm",
                                        "CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm",
                                        "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
                                        "CT1_J2KR",
                                        "CT2_J2KR"};
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct picture p = decode("syntaxes", files[i], 0);
        KF_CHECK(p.values != NULL);
        if (!p.values)
            fprintf(stderr, "%s: %s\n", files[i], p.err.detail);
        free(p.values);
    }
}

// Two frames in many fragments without an offset table.
KF_TEST(frames_in_many_fragments)
{
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    struct picture a = decode("syntaxes", "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm", 0);
    struct picture b = decode("syntaxes", "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm", 1);
    KF_REQUIRE(a.values && b.values);
    KF_CHECK_EQ(a.image.frames, 2);
    free(a.values);
    free(b.values);
}

KF_TEST(one_mr_slice_in_seven_syntaxes)
{
    static const char *const files[] = {
        "MR_small_RLE.dcm",          "MR_small_bigendian.dcm",        "MR_small_expb.dcm",  "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm"};
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    struct picture plain = decode("odd_files", "MR_small.dcm", 0);
    KF_REQUIRE(plain.values);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct picture p = decode("odd_files", files[i], 0);
        KF_CHECK(p.values && memcmp(p.values, plain.values, 2 * 64 * 64) == 0);
        free(p.values);
    }
    free(plain.values);
}

// The codestream says unsigned, the header says signed: the header is right. Air outside the field of view is -2000.
KF_TEST(header_decides_the_sign_of_j2k)
{
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    struct picture p = decode("odd_files", "J2K_pixelrep_mismatch.dcm", 0);
    KF_REQUIRE(p.values);
    KF_CHECK_EQ(p.image.is_signed, 1);
    KF_CHECK_EQ((int16_t)p.values[0], -2000);
    int low = 0, high = 0;
    for (int i = 0; i < p.image.rows * p.image.columns; i++) {
        int v = (int16_t)p.values[i];
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    KF_CHECK(low >= -2048 && high <= 4095 && high > 100);
    free(p.values);
}

KF_TEST(what_cannot_be_read_is_named)
{
    static const struct {
        const char *uid, *code, *name;
    } cases[] = {
        {"1.2.840.10008.1.2.4.201", "htj2k", "High-Throughput"},
        {"1.2.840.10008.1.2.4.202", "htj2k", "High-Throughput"},
        {"1.2.840.10008.1.2.4.203", "htj2k", "High-Throughput"},
        {"1.2.840.10008.1.2.4.102", "video", "H.264"},
        {"1.2.840.10008.1.2.4.92", "jpeg2000_part2", "Part 2"},
        {"1.2.3.4.5", "transfer_syntax_unknown", "1.2.3.4.5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kf_error err;
        KF_CHECK(kf_dicom_can_decode(cases[i].uid, &err) == KF_UNSUPPORTED);
        KF_CHECK_STR(err.code, cases[i].code);
        KF_CHECK(strstr(err.detail, cases[i].name) != NULL);
    }
    KF_CHECK(kf_dicom_can_decode("1.2.840.10008.1.2.4.90", NULL) == KF_OK);
}

// A native image with chosen bits: 2×2 of 16 allocated.
static enum kf_status decode_bits(int stored, int high, int sign, const char *pixels, uint16_t to[4])
{
    struct dicom_bytes b = {0};
    struct kf_dicom *d;
    struct kf_dicom_image image;
    struct kf_dicom_span *spans = NULL;
    int64_t count;
    put_meta(&b, "1.2.840.10008.1.2.1");
    put_identity(&b);
    put_us(&b, 0x00280002, 1);
    put_text(&b, 0x00280004, "CS", "MONOCHROME2");
    put_us(&b, 0x00280010, 2);
    put_us(&b, 0x00280011, 2);
    put_us(&b, 0x00280100, 16);
    put_us(&b, 0x00280101, (uint32_t)stored);
    put_us(&b, 0x00280102, (uint32_t)high);
    put_us(&b, 0x00280103, (uint32_t)sign);
    put_bytes(&b, 0x7FE00010, "OW", pixels, 8);
    enum kf_status status = kf_dicom_open_memory(b.out.data, b.out.length, NULL, &d, NULL);
    if (status == KF_OK) {
        status = kf_dicom_image(d, &image, NULL);
        if (status == KF_OK)
            status = kf_dicom_frames_inside(d, &spans, &count, NULL);
        if (status == KF_OK)
            status = kf_dicom_decode(d, -1, &image, spans, to, NULL);
        kf_dicom_free(d);
    }
    free(spans);
    kf_str_release(&b.out);
    return status;
}

KF_TEST(stored_bits_alone_count)
{
    static const char pixels[] = "\xFF\xFF\x00\xF8\x00\x08\x34\x12";
    uint16_t v[4];
    KF_REQUIRE(decode_bits(12, 11, 0, pixels, v) == KF_OK); // overlay bits above are masked
    KF_CHECK(v[0] == 0x0FFF && v[1] == 0x0800 && v[2] == 0x0800 && v[3] == 0x0234);
    KF_REQUIRE(decode_bits(12, 11, 1, pixels, v) == KF_OK);
    KF_CHECK((int16_t)v[0] == -1 && (int16_t)v[1] == -2048 && (int16_t)v[2] == -2048 && (int16_t)v[3] == 0x0234);
    KF_REQUIRE(decode_bits(12, 15, 0, pixels, v) == KF_OK); // stored in the upper bits
    KF_CHECK(v[0] == 0x0FFF && v[1] == 0x0F80 && v[2] == 0x0080 && v[3] == 0x0123);
    KF_REQUIRE(decode_bits(16, 15, 1, pixels, v) == KF_OK);
    KF_CHECK((int16_t)v[0] == -1 && (int16_t)v[1] == -2048);
    KF_CHECK(decode_bits(17, 16, 0, pixels, v) == KF_INVALID);
    KF_CHECK(decode_bits(12, 10, 0, pixels, v) == KF_INVALID);
}

KF_TEST(damaged_j2k_is_an_error)
{
    char path[4096];
    if (!kf_test_data())
        KF_SKIP("KERF_TEST_DATA is not set");
    snprintf(path, sizeof path, "%s/dicom/odd_files/MR_small_jp2klossless.dcm", kf_test_data());
    FILE *f = fopen(path, "rb");
    KF_REQUIRE(f);
    static unsigned char bytes[16384], copy[16384];
    size_t n = fread(bytes, 1, sizeof bytes, f), start = 0;
    fclose(f);
    while (start + 4 < n && memcmp(bytes + start, "\xFF\x4F\xFF\x51", 4) != 0)
        start++;
    KF_REQUIRE(start + 4 < n);
    static uint16_t to[64 * 64];
    struct kf_error err;
    KF_CHECK(kf_dicom_decode_j2k(bytes + start, n - start, 64, 64, 1, to, &err) == KF_OK);
    KF_CHECK(kf_dicom_decode_j2k(bytes + start, n - start, 64, 65, 1, to, &err) == KF_INVALID);
    KF_CHECK_STR(err.code, "frame_mismatch");
    KF_CHECK(kf_dicom_decode_j2k(bytes + start, 40, 64, 64, 1, to, &err) == KF_INVALID);
    KF_CHECK(kf_dicom_decode_j2k(bytes + start, 0, 64, 64, 1, to, &err) == KF_INVALID);
    for (size_t i = 0; i < 200; i++) { // the main header, byte by byte
        memcpy(copy, bytes + start, n - start);
        copy[i] ^= 0xA5;
        enum kf_status status = kf_dicom_decode_j2k(copy, n - start, 64, 64, 1, to, &err);
        KF_CHECK(status == KF_OK || status == KF_INVALID);
    }
}

KF_TEST_MAIN(KF_RUN(lossless_syntaxes_are_bit_for_bit); KF_RUN(lossy_syntaxes_are_within_bounds);
             KF_RUN(lossy_jpeg_decodes); KF_RUN(frames_in_many_fragments); KF_RUN(one_mr_slice_in_seven_syntaxes);
             KF_RUN(header_decides_the_sign_of_j2k); KF_RUN(what_cannot_be_read_is_named);
             KF_RUN(stored_bits_alone_count); KF_RUN(damaged_j2k_is_an_error);)
