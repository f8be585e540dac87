// Images of every format through one door: what is written reads back, foreign spellings mean what their documents say,
// hostile headers end in a status.
#include "server/base/test.h"
#include "tests/unit/io_sample.h"
#include "workers/io/file.h"
#include "workers/io/image_file.h"
#include "workers/io/memory.h"

#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>
#include <zlib.h>

KF_TEST(every_format_keeps_voxels_and_place)
{
    static const char *const names[] = {"v.nii", "v.nii.gz", "v.nrrd", "v.mha"};
    static const enum kf_voxel_type types[] = {KF_VOXEL_UINT8, KF_VOXEL_INT16, KF_VOXEL_FLOAT32};
    for (int n = 0; n < 4; n++)
        for (int t = 0; t < 3; t++) {
            struct kf_volume v, back;
            sample(types[t], &v);
            struct kf_error err;
            KF_REQUIRE(!kf_image_write(NULL, temporary(names[n]), &v, &err));
            KF_REQUIRE(!kf_image_read(NULL, temporary(names[n]), 0, -1, KF_NIFTI_AS_STORED, &back, &err));
            KF_CHECK_EQ(back.type, types[t]);
            check_grid(&v.grid, &back.grid, 1e-12);
            size_t bytes = (size_t)(kf_grid_voxels(&v.grid) * kf_voxel_bytes(v.type));
            KF_CHECK(memcmp(v.data, back.data, bytes) == 0);
            kf_volume_release(&v);
            kf_volume_release(&back);
        }
}

KF_TEST(same_volume_same_bytes_for_any_threads)
{
    static const char *const names[] = {"v.nrrd", "v.mha"};
    for (int n = 0; n < 2; n++) {
        struct kf_volume v;
        sample(KF_VOXEL_INT16, &v);
        struct kf_error err;
        void *first = NULL;
        int64_t first_length = -1;
        for (int threads = 1; threads <= 7; threads += 2) {
            void *bytes;
            int64_t length = -1;
            struct kf_work work;
            kf_work_init(&work, threads);
            KF_REQUIRE(!kf_image_write(&work, temporary(names[n]), &v, &err));
            KF_REQUIRE(!kf_file_load(NULL, temporary(names[n]), 0, &length, &bytes, &err));
            if (first) {
                KF_CHECK_EQ(length, first_length);
                KF_CHECK(memcmp(first, bytes, (size_t)length) == 0);
                kf_memory_release(bytes);
            } else {
                first = bytes;
                first_length = length;
            }
        }
        kf_memory_release(first);
        kf_volume_release(&v);
    }
}

KF_TEST(the_ending_says_the_format)
{
    static const char *const good[] = {"a.nii", "x/b.nii.gz", "c.seg.nrrd", "d.mha"};
    static const char *const bad[] = {"a", "a.mhd", ".nrrd", "x.nrrd/a", "a.nii.bz2", "nrrd", ""};
    for (int i = 0; i < 4; i++)
        KF_CHECK(kf_image_ending(good[i]) != NULL);
    for (int i = 0; i < 7; i++)
        KF_CHECK(kf_image_ending(bad[i]) == NULL);
    KF_CHECK_STR(kf_image_ending("x.y/b.nii.gz"), ".nii.gz");
    struct kf_volume v;
    sample(KF_VOXEL_UINT8, &v);
    struct kf_error err;
    KF_CHECK_EQ(kf_image_write(NULL, temporary("v.mhd"), &v, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "image_ending");
    kf_volume_release(&v);
}

// ---- hand-made files of 2 × 3 × 2 voxels ----

#define VOXELS 12

static void put(unsigned char *to, int size, uint64_t value, int big)
{
    for (int i = 0; i < size; i++)
        to[big ? size - 1 - i : i] = (unsigned char)(value >> (8 * i));
}

// Voxel i holds i.
static int64_t ramp(unsigned char *to, int size, int real, int big)
{
    for (int i = 0; i < VOXELS; i++) {
        uint64_t bits = (uint64_t)i;
        if (real && size == 4) {
            float f = (float)i;
            uint32_t b;
            memcpy(&b, &f, 4);
            bits = b;
        } else if (real) {
            double d = i;
            memcpy(&bits, &d, 8);
        }
        put(to + i * size, size, bits, big);
    }
    return (int64_t)VOXELS * size;
}

static int64_t nrrd(unsigned char *to, const char *fields, int size, int real, int big)
{
    int n =
        sprintf((char *)to, "NRRD0005\n# a comment\nanyone:=anything: else\ndimension: 3\nsizes: 2 3 2\n%s\n", fields);
    return n + ramp(to + n, size, real, big);
}

#define LPS "space: left-posterior-superior\nspace directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (10,20,30)\n"

static void read_as(const unsigned char *bytes, int64_t length, struct kf_volume *v)
{
    struct kf_error err = {0};
    KF_CHECK(!kf_image_parse(NULL, bytes, length, KF_NIFTI_IMAGE, v, &err));
    if (err.status)
        fprintf(stderr, "%s: %s\n", err.code, err.detail);
    KF_REQUIRE(v->data != NULL);
    KF_CHECK_EQ(v->type, KF_VOXEL_INT16);
    for (int i = 0; i < VOXELS; i++)
        KF_CHECK_EQ(((int16_t *)v->data)[i], i);
}

KF_TEST(every_nrrd_type_and_byte_order_is_read)
{
    static const struct {
        const char *name;
        int size, real;
    } types[] = {{"signed char", 1, 0},
                 {"uchar", 1, 0},
                 {"uint8", 1, 0},
                 {"short", 2, 0},
                 {"unsigned short int", 2, 0},
                 {"int", 4, 0},
                 {"uint32_t", 4, 0},
                 {"longlong", 8, 0},
                 {"unsigned long long int", 8, 0},
                 {"float", 4, 1},
                 {"double", 8, 1}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int big = 0; big < 2; big++) {
            unsigned char bytes[1024];
            char fields[512];
            snprintf(fields, sizeof fields, "type: %s\nendian: %s\nencoding: raw\n" LPS, types[t].name,
                     big ? "big" : "little");
            struct kf_volume v;
            read_as(bytes, nrrd(bytes, fields, types[t].size, types[t].real, big), &v);
            KF_CHECK_NEAR(v.grid.spacing_mm[1], 3, 0);
            KF_CHECK_NEAR(v.grid.origin_lps[2], 30, 0);
            kf_volume_release(&v);
        }
}

KF_TEST(nrrd_spaces_become_lps)
{
    static const struct {
        const char *name;
        double sign[3];
    } spaces[] = {{"left-posterior-superior", {1, 1, 1}},
                  {"LPS", {1, 1, 1}},
                  {"right-anterior-superior", {-1, -1, 1}},
                  {"RAS", {-1, -1, 1}},
                  {"left-anterior-superior", {1, -1, 1}}};
    for (size_t s = 0; s < sizeof spaces / sizeof *spaces; s++) {
        unsigned char bytes[1024];
        char fields[512];
        // The first axis lies oblique in x and y, 5 mm long.
        snprintf(fields, sizeof fields,
                 "type: uchar\nencoding: raw\nspace: %s\nspace directions: (3,4,0) (-8,6,0) (0,0,2)\n"
                 "space origin: (1,2,3)\nspace units: \"mm\" \"mm\" \"mm\"\n",
                 spaces[s].name);
        struct kf_volume v;
        read_as(bytes, nrrd(bytes, fields, 1, 0, 0), &v);
        static const double columns[3][3] = {{0.6, 0.8, 0}, {-0.8, 0.6, 0}, {0, 0, 1}}, spacing[3] = {5, 10, 2};
        for (int c = 0; c < 3; c++) {
            KF_CHECK_NEAR(v.grid.spacing_mm[c], spacing[c], 1e-12);
            for (int r = 0; r < 3; r++)
                KF_CHECK_NEAR(v.grid.direction[3 * r + c], spaces[s].sign[r] * columns[c][r], 1e-12);
            KF_CHECK_NEAR(v.grid.origin_lps[c], spaces[s].sign[c] * (c + 1), 0);
        }
        kf_volume_release(&v);
    }
}

KF_TEST(nrrd_spacings_and_skips_are_honoured)
{
    unsigned char bytes[1024];
    struct kf_volume v;
    read_as(bytes, nrrd(bytes, "type: uchar\nencoding: raw\nspacings: 1 2 3\n", 1, 0, 0), &v);
    KF_CHECK_NEAR(v.grid.spacing_mm[2], 3, 0);
    kf_volume_release(&v);
    // byte skip -1: the samples are the last bytes; byte skip 4: behind four others.
    for (int back = 0; back < 2; back++) {
        char fields[256];
        snprintf(fields, sizeof fields, "type: uchar\nencoding: raw\nbyte skip: %d\n" LPS, back ? -1 : 4);
        int64_t length = nrrd(bytes, fields, 1, 0, 0);
        memmove(bytes + length - VOXELS + 4, bytes + length - VOXELS, VOXELS);
        read_as(bytes, length + 4, &v);
        kf_volume_release(&v);
    }
}

static void refused(const unsigned char *bytes, int64_t length, const char *code)
{
    struct kf_volume v;
    struct kf_error err = {0};
    KF_CHECK(kf_image_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err) != KF_OK);
    KF_CHECK_STR(err.code, code);
    KF_CHECK(v.data == NULL);
}

KF_TEST(hostile_nrrd_is_refused_by_name)
{
    static const struct {
        const char *fields, *code;
    } cases[] = {
        {"type: block\nencoding: raw\n" LPS, "nrrd_type"},
        {"encoding: raw\n" LPS, "nrrd_type"},
        {"type: short\nencoding: raw\n" LPS, "nrrd_endian"},
        {"type: uchar\nencoding: ascii\n" LPS, "nrrd_encoding"},
        {"type: uchar\nencoding: bzip2\n" LPS, "nrrd_encoding"},
        {"type: uchar\nencoding: raw\nspace: scanner-xyz\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n", "nrrd_space"},
        {"type: uchar\nencoding: raw\nspace: LPS\nspace directions: (1,0,0) none (0,0,1)\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\nspace: LPS\nspace directions: (1,0,0) (0,1,0)\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\nspace: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,nan)\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\nspace: LPS\nspace directions: (1,0,0) (1,1,0) (0,0,1)\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\nspace: LPS\nspace directions: (0,0,0) (0,1,0) (0,0,1)\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\nspace units: \"m\" \"m\" \"m\"\n" LPS, "nrrd_space"},
        {"type: uchar\nencoding: raw\n", "nrrd_geometry"},
        {"type: uchar\nencoding: raw\naxis mins: 1 2 3\nspacings: 1 1 1\n", "nrrd_space"},
        {"type: uchar\nencoding: raw\ndata file: x.raw\n" LPS, "nrrd_detached"},
        {"type: uchar\nencoding: raw\nbyte skip: -2\n" LPS, "nrrd_header"},
        {"type: uchar\nencoding: raw\nbyte skip: 900000\n" LPS, "image_truncated"},
        {"type: uchar\nencoding: raw\ntype: uchar\n" LPS, "nrrd_header"},
        {"type: uchar\nencoding: gzip\n" LPS, "image_truncated"},
        {"type uchar\n" LPS, "nrrd_header"},
        {"sizes: 2 3 2\n", "nrrd_header"},
    };
    unsigned char bytes[1024];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        refused(bytes, nrrd(bytes, cases[c].fields, 1, 0, 0), cases[c].code);
    static const char *const shapes[][2] = {{"dimension: 4\nsizes: 3 2 3 2\n", "nrrd_dimensions"},
                                            {"dimension: 3\nsizes: 2 -3 2\n", "nrrd_dimensions"},
                                            {"dimension: 3\nsizes: 2048 2048 2048\n", "too_large"},
                                            {"dimension: 3\nsizes: 9999999999999999999 1 1\n", "nrrd_header"},
                                            {"dimension: 3\nsizes: 2000 1000 1000\n", "image_truncated"}};
    for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
        int n = sprintf((char *)bytes, "NRRD0004\n%stype: uchar\nencoding: gzip\n" LPS "\n", shapes[c][0]);
        refused(bytes, n + 20, shapes[c][1]);
    }
    int64_t length = nrrd(bytes, "type: uchar\nencoding: raw\n" LPS, 1, 0, 0);
    for (int64_t cut = 8; cut < length; cut++)
        refused(bytes, cut, cut < length - VOXELS ? "nrrd_header" : "image_truncated");
}

// ---- MetaImage ----

static int64_t meta(unsigned char *to, const char *keys, const char *file, int size, int real, int big)
{
    int n = sprintf((char *)to, "ObjectType = Image\nNDims = 3\nDimSize = 2 3 2\n%sElementDataFile = %s\n", keys, file);
    return n + ramp(to + n, size, real, big);
}

KF_TEST(every_metaimage_type_and_byte_order_is_read)
{
    static const struct {
        const char *name;
        int size, real;
    } types[] = {{"MET_CHAR", 1, 0},      {"MET_UCHAR", 1, 0},      {"MET_SHORT", 2, 0}, {"MET_USHORT", 2, 0},
                 {"MET_INT", 4, 0},       {"MET_UINT", 4, 0},       {"MET_LONG", 4, 0},  {"MET_ULONG", 4, 0},
                 {"MET_LONG_LONG", 8, 0}, {"MET_ULONG_LONG", 8, 0}, {"MET_FLOAT", 4, 1}, {"MET_DOUBLE", 8, 1}};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (int big = 0; big < 2; big++) {
            unsigned char bytes[1024];
            char keys[512];
            snprintf(keys, sizeof keys,
                     "BinaryData = True\r\nBinaryDataByteOrderMSB = %s\nElementSpacing = 2 3 4\n"
                     "TransformMatrix = 0.6 0.8 0 -0.8 0.6 0 0 0 1\nOffset = 10 20 30\nElementType = %s\n",
                     big ? "True" : "False", types[t].name);
            struct kf_volume v;
            read_as(bytes, meta(bytes, keys, "LOCAL", types[t].size, types[t].real, big), &v);
            // The first three numbers of the matrix are the direction of the first axis.
            KF_CHECK_NEAR(v.grid.direction[0], 0.6, 1e-12);
            KF_CHECK_NEAR(v.grid.direction[3], 0.8, 1e-12);
            KF_CHECK_NEAR(v.grid.direction[1], -0.8, 1e-12);
            KF_CHECK_NEAR(v.grid.spacing_mm[2], 4, 0);
            KF_CHECK_NEAR(v.grid.origin_lps[1], 20, 0);
            kf_volume_release(&v);
        }
}

KF_TEST(compressed_metaimage_is_a_zlib_stream)
{
    unsigned char plain[64], bytes[1024];
    uLongf packed = 512;
    ramp(plain, 1, 0, 0);
    for (int sized = 0; sized < 2; sized++) {
        char keys[256];
        unsigned char stream[512];
        packed = sizeof stream;
        KF_REQUIRE(compress(stream, &packed, plain, VOXELS) == Z_OK);
        snprintf(keys, sizeof keys, "BinaryData = True\nCompressedData = True\nElementType = MET_UCHAR\n");
        if (sized)
            snprintf(keys + strlen(keys), sizeof keys - strlen(keys), "CompressedDataSize = %lu\n", packed);
        int64_t length = meta(bytes, keys, "LOCAL", 1, 0, 0) - VOXELS;
        memcpy(bytes + length, stream, packed);
        struct kf_volume v;
        read_as(bytes, length + (int64_t)packed, &v);
        kf_volume_release(&v);
        refused(bytes, length + (int64_t)packed - 6, "image_truncated");
        bytes[length + 4] ^= 0x7f;
        refused(bytes, length + (int64_t)packed, "image_truncated");
    }
}

static void write_file(const char *name, const void *bytes, int64_t length)
{
    struct kf_error err;
    int fd;
    KF_REQUIRE(!kf_file_create(temporary(name), &fd, &err));
    KF_REQUIRE(!kf_file_close(fd, kf_file_write(NULL, fd, bytes, length, &err), &err));
}

KF_TEST(a_detached_header_is_followed_only_when_a_person_named_it)
{
    unsigned char header[512], data[VOXELS];
    int64_t length = meta(header, "BinaryData = True\nElementType = MET_UCHAR\n", "v.raw", 1, 0, 0) - VOXELS;
    ramp(data, 1, 0, 0);
    write_file("v.raw", data, VOXELS);
    write_file("v.mhd", header, length);
    struct kf_volume v;
    struct kf_error err;
    KF_REQUIRE(!kf_image_read_named(NULL, temporary("v.mhd"), KF_NIFTI_IMAGE, &v, &err));
    KF_CHECK_EQ(((int16_t *)v.data)[7], 7);
    kf_volume_release(&v);
    KF_CHECK_EQ(kf_image_read(NULL, temporary("v.mhd"), 0, -1, KF_NIFTI_IMAGE, &v, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "meta_detached");
    refused(header, length, "meta_detached");
    static const char *const elsewhere[] = {"../v.raw", "/etc/passwd", "sub/v.raw",
                                            ".hidden",  "LIST",        "v%03d.raw 1 2 1"};
    for (int i = 0; i < 6; i++) {
        length = meta(header, "BinaryData = True\nElementType = MET_UCHAR\n", elsewhere[i], 1, 0, 0) - VOXELS;
        write_file("v.mhd", header, length);
        KF_CHECK_EQ(kf_image_read_named(NULL, temporary("v.mhd"), KF_NIFTI_IMAGE, &v, &err), KF_INVALID);
        KF_CHECK_STR(err.code, "meta_data_file");
    }
}

KF_TEST(hostile_metaimage_is_refused_by_name)
{
    static const struct {
        const char *keys, *code;
    } cases[] = {
        {"BinaryData = True\nElementType = MET_STRING\n", "meta_type"},
        {"BinaryData = True\n", "meta_type"},
        {"BinaryData = False\nElementType = MET_UCHAR\n", "meta_encoding"},
        {"BinaryData = True\nElementType = MET_UCHAR\nElementNumberOfChannels = 3\n", "meta_dimensions"},
        {"BinaryData = True\nElementType = MET_UCHAR\nElementSpacing = 1 1\n", "meta_geometry"},
        {"BinaryData = True\nElementType = MET_UCHAR\nElementSpacing = 1 0 1\n", "meta_geometry"},
        {"BinaryData = True\nElementType = MET_UCHAR\nTransformMatrix = 1 0 0 1 0 0 0 0 1\n", "meta_geometry"},
        {"BinaryData = True\nElementType = MET_UCHAR\nTransformMatrix = 2 0 0 0 2 0 0 0 2\n", "meta_geometry"},
        {"BinaryData = True\nElementType = MET_UCHAR\nOffset = inf 0 0\n", "meta_geometry"},
        {"BinaryData = True\nElementType = MET_UCHAR\nHeaderSize = 8\n", "meta_header"},
        {"BinaryData = True\nElementType = MET_UCHAR\nCompressedData = True\nCompressedDataSize = 9000\n",
         "image_truncated"},
        {"BinaryData = True\nElementType = MET_UCHAR\nCompressedData = True\nCompressedDataSize = -5\n", "meta_header"},
        {"BinaryData = True\nElementType = MET_UCHAR\nElementToIntensityFunctionSlope = 2\n", "meta_type"},
        {"nonsense\n", "meta_header"},
    };
    unsigned char bytes[1024];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        refused(bytes, meta(bytes, cases[c].keys, "LOCAL", 1, 0, 0), cases[c].code);
    int n = sprintf((char *)bytes, "ObjectType = Image\nNDims = 3\nDimSize = 2000 1000 1000\nBinaryData = True\n"
                                   "CompressedData = True\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n");
    refused(bytes, n + 20, "image_truncated");
    int64_t length = meta(bytes, "BinaryData = True\nElementType = MET_UCHAR\n", "LOCAL", 1, 0, 0);
    for (int64_t cut = 12; cut < length; cut++)
        refused(bytes, cut, cut < length - VOXELS ? "meta_header" : "image_truncated");
}

int main(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/kf_image.XXXXXX");
    if (!mkdtemp(scratch))
        return 1;
    KF_RUN(every_format_keeps_voxels_and_place);
    KF_RUN(same_volume_same_bytes_for_any_threads);
    KF_RUN(the_ending_says_the_format);
    KF_RUN(every_nrrd_type_and_byte_order_is_read);
    KF_RUN(nrrd_spaces_become_lps);
    KF_RUN(nrrd_spacings_and_skips_are_honoured);
    KF_RUN(hostile_nrrd_is_refused_by_name);
    KF_RUN(every_metaimage_type_and_byte_order_is_read);
    KF_RUN(compressed_metaimage_is_a_zlib_stream);
    KF_RUN(a_detached_header_is_followed_only_when_a_person_named_it);
    KF_RUN(hostile_metaimage_is_refused_by_name);
    static const char *const names[] = {"v.nii", "v.nii.gz", "v.nrrd", "v.mha", "v.mhd", "v.raw"};
    for (int i = 0; i < 6; i++)
        unlink(temporary(names[i]));
    rmdir(scratch);
    return kf_test_failures ? 1 : 0;
}
