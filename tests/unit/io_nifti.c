// NIfTI in and out: what is written reads back, geometry survives, hostile headers end in a status.
#include "server/base/test.h"
#include "tests/unit/io_sample.h"
#include "workers/io/file.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"

#include <stdint.h>
#include <unistd.h>

static void round_trip(const char *name, enum kf_voxel_type type, enum kf_nifti_want want)
{
    struct kf_volume v, back = {0};
    struct kf_error err;
    sample(type, &v);
    int64_t n = kf_grid_voxels(&v.grid);
    KF_CHECK(!kf_nifti_write(NULL, temporary(name), &v, &err));
    KF_CHECK(!kf_nifti_read(NULL, temporary(name), 0, -1, want, &back, &err));
    KF_REQUIRE(back.data);
    KF_CHECK_EQ(back.type, type);
    check_grid(&v.grid, &back.grid, 1e-12); // float32 alone would be 1e-5 off
    KF_CHECK(memcmp(v.data, back.data, (size_t)(n * kf_voxel_bytes(type))) == 0);
    kf_volume_release(&v);
    kf_volume_release(&back);
}

KF_TEST(written_volumes_read_back_equal)
{
    round_trip("a.nii", KF_VOXEL_INT16, KF_NIFTI_IMAGE);
    round_trip("a.nii.gz", KF_VOXEL_INT16, KF_NIFTI_IMAGE);
    round_trip("b.nii", KF_VOXEL_FLOAT32, KF_NIFTI_IMAGE);
    round_trip("b.nii.gz", KF_VOXEL_FLOAT32, KF_NIFTI_IMAGE);
    round_trip("c.nii", KF_VOXEL_UINT8, KF_NIFTI_LABELS);
    round_trip("c.nii.gz", KF_VOXEL_UINT8, KF_NIFTI_LABELS);
}

static void put(unsigned char *h, int at, int size, int64_t value, int big)
{
    for (int i = 0; i < size; i++)
        h[at + (big ? size - 1 - i : i)] = (unsigned char)((uint64_t)value >> (8 * i));
}

static void put_f32(unsigned char *h, int at, float value, int big)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put(h, at, 4, bits, big);
}

// A NIfTI-1 file of 2×2×2 voxels with an identity-like sform; `big` swaps every field.
static int64_t tiny(unsigned char bytes[512], int type, int bits, int big)
{
    memset(bytes, 0, 512);
    put(bytes, 0, 4, 348, big);
    put(bytes, 40, 2, 3, big);
    for (int i = 1; i <= 7; i++)
        put(bytes, 40 + 2 * i, 2, i <= 3 ? 2 : 1, big);
    put(bytes, 70, 2, type, big);
    put(bytes, 72, 2, bits, big);
    for (int i = 1; i <= 3; i++)
        put_f32(bytes, 76 + 4 * i, 2.0f, big);
    put_f32(bytes, 108, 352, big);
    put(bytes, 254, 2, 1, big);
    put_f32(bytes, 280, 2, big);
    put_f32(bytes, 300, 2, big);
    put_f32(bytes, 320, 2, big);
    put_f32(bytes, 292, 10, big);
    memcpy(bytes + 344, "n+1", 4);
    return 352 + bits; // 8 voxels of bits/8 bytes
}

// Read by what NIfTI-1 says of its bytes, since kf_nifti_read takes only scalars.
KF_TEST(vectors_are_a_fifth_dimension_in_planes)
{
    struct kf_grid grid = oblique(5, 4, 3);
    float xyz[180];
    struct kf_volume back = {0};
    struct kf_error err;
    unsigned char bytes[KF_NIFTI_DATA + sizeof xyz + 1];
    for (int i = 0; i < 180; i++)
        xyz[i] = (float)i * 0.37f - 5;
    KF_CHECK(!kf_nifti_write_vectors(NULL, temporary("vectors.nii"), &grid, xyz, &err));
    FILE *f = fopen(temporary("vectors.nii"), "rb");
    KF_REQUIRE(f);
    KF_CHECK_EQ(fread(bytes, 1, sizeof bytes, f), sizeof bytes - 1);
    fclose(f);
    int16_t dim[8], intent;
    memcpy(dim, bytes + 40, sizeof dim);
    memcpy(&intent, bytes + 68, sizeof intent);
    KF_CHECK(dim[0] == 5 && dim[1] == 5 && dim[2] == 4 && dim[3] == 3 && dim[4] == 1 && dim[5] == 3 && intent == 1007);
    KF_CHECK(memcmp(bytes + KF_NIFTI_DATA, xyz, sizeof xyz) == 0);
    KF_CHECK_EQ(kf_nifti_read(NULL, temporary("vectors.nii"), 0, -1, KF_NIFTI_IMAGE, &back, &err), KF_INVALID);
    KF_CHECK(!back.data);
}

KF_TEST(every_type_and_byte_order_is_read)
{
    static const int types[][2] = {{2, 8},   {4, 16},   {8, 32},   {16, 32},   {64, 64},
                                   {256, 8}, {512, 16}, {768, 32}, {1024, 64}, {1280, 64}};
    for (int t = 0; t < 10; t++)
        for (int big = 0; big < 2; big++) {
            unsigned char bytes[512];
            int64_t length = tiny(bytes, types[t][0], types[t][1], big);
            for (int i = 0; i < 8; i++) {
                if (types[t][0] == 16)
                    put_f32(bytes, 352 + 4 * i, (float)i, big);
                else if (types[t][0] == 64) {
                    double value = i;
                    int64_t raw;
                    memcpy(&raw, &value, 8);
                    put(bytes, 352 + 8 * i, 8, raw, big);
                } else
                    put(bytes, 352 + types[t][1] / 8 * i, types[t][1] / 8, i, big);
            }
            struct kf_volume v;
            struct kf_error err;
            KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err));
            KF_CHECK_EQ(v.type, KF_VOXEL_INT16);
            KF_CHECK_EQ(((int16_t *)v.data)[7], 7);
            KF_CHECK_NEAR(v.grid.spacing_mm[2], 2, 0);
            KF_CHECK_NEAR(v.grid.direction[0], -1, 0); // RAS +x is LPS -x
            KF_CHECK_NEAR(v.grid.origin_lps[0], -10, 0);
            kf_volume_release(&v);
        }
}

KF_TEST(scaling_is_exact_or_float)
{
    unsigned char bytes[512];
    int64_t length = tiny(bytes, 4, 16, 0);
    put_f32(bytes, 112, 2, 0);
    put_f32(bytes, 116, -1024, 0);
    put(bytes, 352, 2, 100, 0);
    struct kf_volume v;
    struct kf_error err;
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err));
    KF_CHECK_EQ(v.type, KF_VOXEL_INT16);
    KF_CHECK_EQ(((int16_t *)v.data)[0], -824);
    kf_volume_release(&v);
    put_f32(bytes, 112, 0.5f, 0);
    put(bytes, 352, 2, 101, 0);
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err));
    KF_CHECK_EQ(v.type, KF_VOXEL_FLOAT32);
    KF_CHECK_NEAR(((float *)v.data)[0], -973.5, 0);
    kf_volume_release(&v);
    KF_CHECK_EQ(kf_nifti_parse(NULL, bytes, length, KF_NIFTI_LABELS, &v, &err), KF_INVALID);
    KF_CHECK_STR(err.code, "labels_range");
}

static void refused(unsigned char *bytes, int64_t length, enum kf_status status, const char *code)
{
    struct kf_volume v;
    struct kf_error err;
    KF_CHECK_EQ(kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err), status);
    KF_CHECK_STR(err.code, code);
    KF_CHECK(v.data == NULL);
}

KF_TEST(hostile_headers_are_refused_by_name)
{
    unsigned char bytes[512];
    int64_t length = tiny(bytes, 4, 16, 0);
    for (int64_t cut = 0; cut < length; cut++)
        refused(bytes, cut, KF_INVALID, cut < 348 ? "nifti_header" : "nifti_truncated");
    put(bytes, 42, 2, -3, 0);
    refused(bytes, length, KF_INVALID, "nifti_dimensions");
    put(bytes, 42, 2, 32767, 0);
    refused(bytes, length, KF_TOO_LARGE, "too_large");
    length = tiny(bytes, 128, 24, 0); // RGB
    refused(bytes, length, KF_INVALID, "nifti_type");
    length = tiny(bytes, 4, 16, 0);
    put_f32(bytes, 284, 2, 0); // shear
    refused(bytes, length, KF_INVALID, "nifti_geometry");
    length = tiny(bytes, 4, 16, 0);
    put_f32(bytes, 280, 0, 0); // singular
    refused(bytes, length, KF_INVALID, "nifti_geometry");
    length = tiny(bytes, 4, 16, 0);
    put_f32(bytes, 108, -1e30f, 0);
    refused(bytes, length, KF_INVALID, "nifti_header");
    length = tiny(bytes, 4, 16, 0);
    memcpy(bytes + 344, "ni1", 4);
    refused(bytes, length, KF_INVALID, "nifti_header");
}

// Integers that float32 cannot hold are refused by name, never rounded; those it can hold are read.
KF_TEST(integers_are_never_rounded)
{
    static const struct {
        int type, bytes;
        int64_t value;
        int fits;
    } cases[] = {
        {8, 4, 16777216, 1},     {8, 4, 16777217, 0},           {8, 4, -16777217, 0},
        {768, 4, 16777216, 1},   {768, 4, 4294967295, 0},       {1024, 8, 16777216, 1},
        {1024, 8, -16777217, 0}, {1024, 8, (1LL << 53) + 1, 0}, {1280, 8, -1, 0},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int scaled = 0; scaled < 2; scaled++) {
            unsigned char bytes[512];
            int64_t length = tiny(bytes, cases[c].type, 8 * cases[c].bytes, 0);
            if (scaled)
                put_f32(bytes, 112, 0.5f, 0);
            put(bytes, 352 + 3 * cases[c].bytes, cases[c].bytes, cases[c].value, 0);
            struct kf_volume v;
            struct kf_error err = {0};
            enum kf_status status = kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err);
            KF_CHECK_EQ(status, cases[c].fits ? KF_OK : KF_INVALID);
            KF_CHECK_STR(err.code, cases[c].fits ? "" : "integers_range");
            if (!status) {
                KF_CHECK_EQ(v.type, KF_VOXEL_FLOAT32);
                KF_CHECK_NEAR(((float *)v.data)[3], (double)cases[c].value * (scaled ? 0.5 : 1), 0);
            }
            kf_volume_release(&v);
            KF_CHECK_EQ(kf_nifti_parse(NULL, bytes, length, KF_NIFTI_LABELS, &v, &err), KF_INVALID);
            KF_CHECK_STR(err.code, "labels_range");
        }
}

KF_TEST(integers_in_float64_are_never_rounded)
{
    static const double values[] = {16777217, 33554432, 16777217.25, 1e300, (double)INFINITY};
    static const int fits[] = {0, 1, 1, 0, 1}; // 2^25 has no digit to lose; fractions round; infinity stays
    for (int i = 0; i < 5; i++) {
        unsigned char bytes[512];
        int64_t length = tiny(bytes, 64, 64, 0), raw;
        memcpy(&raw, &values[i], 8);
        put(bytes, 352, 8, raw, 0);
        struct kf_volume v;
        struct kf_error err = {0};
        KF_CHECK_EQ(kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err), fits[i] ? KF_OK : KF_INVALID);
        KF_CHECK_STR(err.code, fits[i] ? "" : "integers_range");
        kf_volume_release(&v);
    }
}

KF_TEST(stored_floats_stay_floats_when_asked)
{
    unsigned char bytes[512];
    int64_t length = tiny(bytes, 16, 32, 0);
    struct kf_volume v;
    struct kf_error err;
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_AS_STORED, &v, &err));
    KF_CHECK_EQ(v.type, KF_VOXEL_FLOAT32);
    kf_volume_release(&v);
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_EITHER, &v, &err));
    KF_CHECK_EQ(v.type, KF_VOXEL_INT16);
    kf_volume_release(&v);
}

KF_TEST(qform_agrees_with_sform)
{
    struct kf_grid grid = oblique(4, 3, 2);
    for (int mirrored = 0; mirrored < 2; mirrored++) {
        for (int r = 0; r < 3 && mirrored; r++)
            grid.direction[3 * r + 2] = -grid.direction[3 * r + 2];
        struct kf_volume v, back;
        struct kf_error err;
        KF_REQUIRE(!kf_volume_alloc(&v, &grid, KF_VOXEL_UINT8, &err));
        memset(v.data, 0, (size_t)kf_grid_voxels(&grid));
        KF_CHECK(!kf_nifti_write(NULL, temporary("q.nii"), &v, &err));
        int64_t length = -1;
        void *bytes;
        KF_REQUIRE(!kf_file_load(NULL, temporary("q.nii"), 0, &length, &bytes, &err));
        put(bytes, 254, 2, 0, 0); // no sform: the quaternion must tell the same, as well as float32 can
        KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &back, &err));
        check_grid(&grid, &back.grid, 1e-4);
        kf_memory_release(bytes);
        kf_volume_release(&v);
        kf_volume_release(&back);
    }
}

// The doubles of our extension count as long as the header says the same, and only then.
KF_TEST(a_sform_that_somebody_changed_is_believed)
{
    struct kf_volume v, back;
    struct kf_error err;
    sample(KF_VOXEL_INT16, &v);
    KF_CHECK(!kf_nifti_write(NULL, temporary("q.nii"), &v, &err));
    int64_t length = -1;
    void *bytes;
    KF_REQUIRE(!kf_file_load(NULL, temporary("q.nii"), 0, &length, &bytes, &err));
    float moved = 17.25f;
    KF_CHECK(memcmp((char *)bytes + 344, "n+1", 4) == 0);
    put_f32(bytes, 280 + 12, moved, 0);
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &back, &err));
    KF_CHECK(back.grid.origin_lps[0] == -17.25);
    KF_CHECK(back.grid.origin_lps[1] == v.grid.origin_lps[1]); // exact in float32
    KF_CHECK(back.grid.spacing_mm[1] != v.grid.spacing_mm[1]); // not, and the extension is out of date
    KF_CHECK_NEAR(back.grid.spacing_mm[1], v.grid.spacing_mm[1], 1e-6);
    kf_volume_release(&back);
    // An extension of another size or name is somebody else's.
    put_f32(bytes, 280 + 12, (float)-v.grid.origin_lps[0], 0);
    for (int at = 352; at <= 360; at += 4) {
        ((unsigned char *)bytes)[at] ^= 1;
        KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &back, &err));
        KF_CHECK(back.grid.spacing_mm[1] != v.grid.spacing_mm[1]);
        kf_volume_release(&back);
        ((unsigned char *)bytes)[at] ^= 1;
    }
    KF_REQUIRE(!kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &back, &err));
    KF_CHECK_NEAR(back.grid.spacing_mm[1], v.grid.spacing_mm[1], 1e-15);
    kf_volume_release(&back);
    kf_memory_release(bytes);
    kf_volume_release(&v);
}

KF_TEST(what_float32_cannot_place_is_nifti_2)
{
    struct kf_grid grid = oblique(4, 3, 2);
    struct kf_volume v, back;
    struct kf_error err;
    unsigned char header[KF_NIFTI_DATA];
    grid.origin_lps[0] = 987654.321; // float32: 20 µm off
    KF_REQUIRE(!kf_volume_alloc(&v, &grid, KF_VOXEL_UINT8, &err));
    memset(v.data, 0, (size_t)kf_grid_voxels(&grid));
    KF_CHECK(!kf_nifti_write(NULL, temporary("q.nii"), &v, &err));
    kf_nifti_header(&v, header);
    KF_CHECK(memcmp(header + 4, "n+2", 4) == 0);
    KF_REQUIRE(!kf_nifti_read(NULL, temporary("q.nii"), 0, -1, KF_NIFTI_LABELS, &back, &err));
    check_grid(&grid, &back.grid, 1e-12);
    kf_volume_release(&back);
    v.grid.origin_lps[0] = 1e39;
    kf_nifti_header(&v, header);
    KF_CHECK(memcmp(header + 4, "n+2", 4) == 0);
    v.grid.origin_lps[0] = 0;
    kf_nifti_header(&v, header);
    KF_CHECK(memcmp(header + 344, "n+1", 4) == 0);
    v.grid.dim[1] = 32767;
    v.grid.spacing_mm[1] = 0.001;
    kf_nifti_header(&v, header);
    KF_CHECK(memcmp(header + 344, "n+1", 4) == 0);
    v.grid.dim[1] = 32768;
    kf_nifti_header(&v, header);
    KF_CHECK(memcmp(header + 4, "n+2", 4) == 0);
    kf_volume_release(&v);
}

KF_TEST(a_scale_that_float32_cannot_hold_is_refused)
{
    static const struct {
        int type, bits;
        float slope, inter;
        double stored;
        int fits;
    } cases[] = {{4, 16, 1e38f, 0, 3, 1},     {4, 16, 1e38f, 0, 4, 0},  {4, 16, -3e38f, -3e38f, 1, 0},
                 {16, 32, 2.5f, 0, 3e38, 0},  {16, 32, 0.5f, 0, 3e38, 1}, {16, 32, 2.5f, 0, (double)INFINITY, 1},
                 {64, 64, 1e38f, 0, 1e10, 0}, {2, 8, 1e30f, 5, 255, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        unsigned char bytes[512];
        int64_t length = tiny(bytes, cases[c].type, cases[c].bits, 0), raw;
        put_f32(bytes, 112, cases[c].slope, 0);
        put_f32(bytes, 116, cases[c].inter, 0);
        if (cases[c].type == 16) {
            put_f32(bytes, 352 + 12, (float)cases[c].stored, 0);
        } else {
            memcpy(&raw, &cases[c].stored, 8);
            put(bytes, 352 + 3 * cases[c].bits / 8, cases[c].bits / 8,
                cases[c].type == 64 ? raw : (int64_t)cases[c].stored, 0);
        }
        struct kf_volume v;
        struct kf_error err = {0};
        KF_CHECK_EQ(kf_nifti_parse(NULL, bytes, length, KF_NIFTI_IMAGE, &v, &err), cases[c].fits ? KF_OK : KF_INVALID);
        KF_CHECK_STR(err.code, cases[c].fits ? "" : "scale_range");
        kf_volume_release(&v);
    }
}

KF_TEST(real_files_are_read)
{
    const char *data = kf_test_data();
    if (!data)
        KF_SKIP("KERF_TEST_DATA is not set");
    static const char *const names[] = {"spine_ct/thoracic_1mm.nii.gz", "abdomen_ct/example_ct.nii.gz"};
    for (int i = 0; i < 2; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", data, names[i]);
        struct kf_volume v;
        struct kf_error err = {0};
        KF_CHECK(!kf_nifti_read(NULL, path, 0, -1, KF_NIFTI_IMAGE, &v, &err));
        KF_CHECK_EQ(v.type, KF_VOXEL_INT16);
        if (err.status)
            fprintf(stderr, "%s: %s\n", names[i], err.detail);
        kf_volume_release(&v);
    }
}

int main(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/kf_nifti.XXXXXX");
    if (!mkdtemp(scratch))
        return 1;
    KF_RUN(written_volumes_read_back_equal);
    KF_RUN(vectors_are_a_fifth_dimension_in_planes);
    KF_RUN(every_type_and_byte_order_is_read);
    KF_RUN(scaling_is_exact_or_float);
    KF_RUN(hostile_headers_are_refused_by_name);
    KF_RUN(integers_are_never_rounded);
    KF_RUN(integers_in_float64_are_never_rounded);
    KF_RUN(stored_floats_stay_floats_when_asked);
    KF_RUN(qform_agrees_with_sform);
    KF_RUN(a_sform_that_somebody_changed_is_believed);
    KF_RUN(what_float32_cannot_place_is_nifti_2);
    KF_RUN(a_scale_that_float32_cannot_hold_is_refused);
    KF_RUN(real_files_are_read);
    static const char *const names[] = {"a.nii", "a.nii.gz", "b.nii", "b.nii.gz", "c.nii", "c.nii.gz", "q.nii"};
    for (int i = 0; i < 7; i++)
        unlink(temporary(names[i]));
    rmdir(scratch);
    return kf_test_failures ? 1 : 0;
}
