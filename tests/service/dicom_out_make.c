// dicom_out_make KIND DIR NAME.nii: writes a small volume of a kind that is easily written wrongly with the writer of
// what jobs make, into the folder DIR and as NIfTI, and prints how far a value was rounded. `seg` is a label map.
// "cancelled" is stopped by its watcher half-way.
#include "workers/dicom/write_derived.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 23 // no multiple of 8: frames of one bit do not end with a byte
#define ROWS    19
#define SLICES  9

static const struct kind {
    const char *name, *modality;
    enum kf_voxel_type type;
    double low, high; // values lie between, and reach both
    int whole;        // they are whole numbers
    enum { UPRIGHT, OBLIQUE, SAGITTAL, FLIPPED, LEFT_HANDED } lies;
} kinds[] = {
    {"ct", "CT", KF_VOXEL_INT16, -1024, 3071, 1, UPRIGHT},
    {"all-of-int16", "CT", KF_VOXEL_INT16, -32768, 32767, 1, OBLIQUE},
    {"sagittal", "CT", KF_VOXEL_INT16, -1000, 1000, 1, SAGITTAL},
    {"flipped", "MR", KF_VOXEL_INT16, 0, 900, 1, FLIPPED},
    {"left-handed", "CT", KF_VOXEL_INT16, -1000, 1000, 1, LEFT_HANDED},
    {"mr-high", "MR", KF_VOXEL_INT16, 0, 20000, 1, OBLIQUE},
    {"mr-negative", "MR", KF_VOXEL_INT16, -3000, 5000, 1, OBLIQUE},
    {"bytes", "MR", KF_VOXEL_UINT8, 0, 255, 1, UPRIGHT},
    {"unsigned", "MR", KF_VOXEL_UINT16, 0, 65535, 1, UPRIGHT},
    {"shifted", "MR", KF_VOXEL_FLOAT32, 100000, 165535, 1, UPRIGHT},
    {"whole-floats", "CT", KF_VOXEL_FLOAT32, -1000, 3000, 1, OBLIQUE},
    {"fractions", "MR", KF_VOXEL_FLOAT32, -0.75, 1234.5, 0, OBLIQUE},
    {"tiny", "MR", KF_VOXEL_FLOAT32, 1e-12, 3e-9, 0, UPRIGHT},
    {"huge", "CT", KF_VOXEL_FLOAT32, -3e30, 3e30, 0, UPRIGHT},
    {"constant", "MR", KF_VOXEL_FLOAT32, 0.5, 0.5, 0, UPRIGHT},
    {"nan", "CT", KF_VOXEL_FLOAT32, 0, 1, 0, UPRIGHT},
    {"pet", "PT", KF_VOXEL_INT16, 0, 1000, 1, UPRIGHT},
    {"cancelled", "CT", KF_VOXEL_INT16, 0, 1000, 1, UPRIGHT},
    {"seg", "SEG", KF_VOXEL_UINT8, 0, 3, 1, OBLIQUE},
    {"seg-empty", "SEG", KF_VOXEL_UINT8, 0, 0, 1, OBLIQUE},
    {"seg-unknown", "SEG", KF_VOXEL_UINT8, 0, 4, 1, OBLIQUE},
};

static void lay(const struct kind *kind, struct kf_grid *g)
{
    const double a = 0.3, b = 0.2;
    const double x[3] = {cos(a) * cos(b), sin(a) * cos(b), -sin(b)}, y[3] = {-sin(a), cos(a), 0};
    const double z[3] = {x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]};
    static const double ways[][9] = {[UPRIGHT] = {1, 0, 0, 0, 1, 0, 0, 0, 1},
                                     [SAGITTAL] = {0, 0, -1, 1, 0, 0, 0, -1, 0},
                                     [FLIPPED] = {-1, 0, 0, 0, -1, 0, 0, 0, 1},
                                     [LEFT_HANDED] = {1, 0, 0, 0, 1, 0, 0, 0, -1}};
    *g = (struct kf_grid){.dim = {COLUMNS, ROWS, SLICES},
                          .spacing_mm = {0.7031250123, 0.6, 1.0 / 3},
                          .origin_lps = {-117.53217890123, 21.25, 1234.0 / 7}};
    memcpy(g->direction, ways[kind->lies == OBLIQUE ? UPRIGHT : kind->lies], sizeof g->direction);
    for (int r = 0; r < 3 && kind->lies == OBLIQUE; r++) {
        g->direction[3 * r] = x[r];
        g->direction[3 * r + 1] = y[r];
        g->direction[3 * r + 2] = z[r];
    }
}

static void fill(const struct kind *kind, struct kf_volume *v)
{
    unsigned r = 7;
    int64_t n = kf_grid_voxels(&v->grid);
    for (int64_t i = 0; i < n; i++) {
        r = r * 1664525u + 1013904223u;
        double share = i == 0 ? 0 : i == n - 1 ? 1 : (r >> 8) / 16777216.0;
        double value = kind->low + (kind->high - kind->low) * share;
        if (kind->whole)
            value = floor(value + 0.5);
        if (strncmp(kind->name, "seg", 3) == 0 && value == 3)
            value = 203; // labels need not follow each other
        if (strcmp(kind->name, "nan") == 0 && i == n / 2)
            value = NAN;
        switch (kind->type) {
        case KF_VOXEL_UINT8:
            ((uint8_t *)v->data)[i] = (uint8_t)value;
            break;
        case KF_VOXEL_UINT16:
            ((uint16_t *)v->data)[i] = (uint16_t)value;
            break;
        case KF_VOXEL_FLOAT32:
            ((float *)v->data)[i] = (float)value;
            break;
        default:
            ((int16_t *)v->data)[i] = (int16_t)value;
        }
    }
}

static double said;

static void progress(void *context, double fraction)
{
    (void)context;
    said = fraction;
}

static int cancelled(void *context)
{
    return strcmp(context, "cancelled") == 0 && said > 0.5;
}

static enum kf_status write_labels(const struct kf_dicom_write_origin *origin, const struct kf_volume *volume,
                                   const char *dir, struct kf_dicom_write_facts *facts, struct kf_error *err)
{
    static const struct kf_dicom_write_segment segments[] = {
        {.label = 1,
         .name = "Bone",
         .scheme = "SCT",
         .value = "272673000",
         .meaning = "Bone",
         .has_colour = 1,
         .rgb = {255, 0, 0}},
        {.label = 2,
         .name = "Tibia",
         .scheme = "SCT",
         .value = "12611008",
         .meaning = "Bone structure of tibia",
         .side = 'R'},
        {.label = 77, .name = "Nothing of it is there"},
        {.label = 203, .name = "Implants", .scheme = "SCT", .value = "260787004", .meaning = "Physical object"},
    };
    struct kf_dicom_write_labels labels = {
        .origin = *origin, .segments = segments, .segment_count = 4, .volume = volume};
    return kf_dicom_write_segmentation(&labels, dir, facts, err);
}

int main(int argc, char **argv)
{
    size_t k = 0, count = sizeof kinds / sizeof *kinds;
    struct kf_volume volume;
    struct kf_grid grid;
    struct kf_error err = {0};
    struct kf_dicom_write_facts facts;
    while (argc == 4 && k < count && strcmp(kinds[k].name, argv[1]) != 0)
        k++;
    if (argc != 4 || k == count)
        return 2;
    const struct kind *kind = &kinds[k];
    lay(kind, &grid);
    if (kf_volume_alloc(&volume, &grid, kind->type, &err))
        return 2;
    fill(kind, &volume);
    struct kf_dicom_write_origin origin = {
        .made_by = "test 1", .frame_uid = "1.2.3.4", .progress = progress, .cancelled = cancelled, .context = argv[1]};
    struct kf_dicom_write_image image = {.origin = origin, .modality = kind->modality, .in_hu = 1, .volume = &volume};
    enum kf_status status = strcmp(kind->modality, "SEG") == 0 ? write_labels(&origin, &volume, argv[2], &facts, &err)
                                                               : kf_dicom_write_slices(&image, argv[2], &facts, &err);
    if (!status)
        status = kf_nifti_write(NULL, argv[3], &volume, &err);
    kf_volume_release(&volume);
    if (status)
        fprintf(stderr, "%s [%s]\n", err.detail, err.code);
    else
        printf("%.17g\n", facts.rounded);
    return status != KF_OK;
}
