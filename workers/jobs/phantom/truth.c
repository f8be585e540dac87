#include "workers/jobs/phantom/truth.h"
#include "server/base/json.h"
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
#include "workers/jobs/phantom/paint.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void path_of(char to[4096], const char *dir, const char *file)
{
    snprintf(to, 4096, "%s/%s", dir, file);
}

static enum kf_status closed(FILE *file, struct kf_error *err, const char *what)
{
    int bad = ferror(file);
    bad |= fclose(file);
    return bad ? kf_error_errno(err, errno ? errno : EIO, what) : KF_OK;
}

void kf_truth_snap(struct kf_anatomy *a)
{
    for (int i = 0; i < a->landmark_count; i++) {
        struct kf_landmark *mark = &a->landmarks[i];
        if (!mark->ray)
            continue;
        struct kf_v3 from = mark->p, way = kf_v_sub(mark->to, from);
        double length = kf_v_length(way);
        for (double t = 0; t <= length; t += 0.05) {
            struct kf_v3 p = kf_v_along(from, t / length, way);
            if (kf_paint_label(&a->scene, p) == mark->label) {
                mark->p = p;
                mark->ray = 0;
                break;
            }
        }
    }
}

static json_t *label_row(const struct kf_label_name *name, int64_t voxels, double voxel_ml)
{
    json_t *code = name->snomed
                       ? json_pack("{s:s,s:s,s:s}", "scheme", "SCT", "value", name->snomed, "meaning", name->meaning)
                       : json_null();
    return json_pack("{s:i,s:s,s:s,s:o,s:s,s:I,s:f}", "label", name->label, "name", name->name, "meaning",
                     name->meaning, "code", code, "colour", name->colour, "voxels", (json_int_t)voxels, "volume_ml",
                     (double)voxels * voxel_ml);
}

enum kf_status kf_truth_labels(const char *dir, const struct kf_volume *labels, int threads, int *count,
                               struct kf_error *err)
{
    char path[4096];
    path_of(path, dir, "labels.nii.gz");
    struct kf_work work;
    kf_work_init(&work, threads);
    enum kf_status status = kf_nifti_write(&work, path, labels, err);
    if (status != KF_OK)
        return status;
    int64_t tally[256] = {0}, n = kf_grid_voxels(&labels->grid);
    for (int64_t i = 0; i < n; i++)
        tally[((const uint8_t *)labels->data)[i]]++;
    const double *s = labels->grid.spacing_mm;
    int rows = 0;
    const struct kf_label_name *names = kf_label_names(&rows);
    json_t *list = json_array();
    *count = 0;
    for (int i = 0; i < rows; i++)
        if (tally[names[i].label]) {
            json_array_append_new(list, label_row(&names[i], tally[names[i].label], s[0] * s[1] * s[2] / 1000));
            ++*count;
        }
    path_of(path, dir, "labels.json");
    status = kf_json_save(path, list, err);
    json_decref(list);
    return status;
}

enum kf_status kf_truth_landmarks(const char *dir, const struct kf_anatomy *a, const struct kf_place *place,
                                  struct kf_error *err)
{
    char path[4096];
    path_of(path, dir, "landmarks.csv");
    FILE *file = fopen(path, "w");
    if (!file)
        return kf_error_errno(err, errno, "landmarks.csv");
    fprintf(file, "name,x,y,z,label\n");
    for (int i = 0; i < a->landmark_count; i++) {
        const struct kf_landmark *mark = &a->landmarks[i];
        struct kf_v3 p = kf_place_to_lps(place, mark->p);
        fprintf(file, "%s,%.4f,%.4f,%.4f,%d\n", mark->name, p.x, p.y, p.z, mark->label);
    }
    return closed(file, err, "landmarks.csv");
}

static enum kf_status write_pairs(const char *dir, const struct kf_anatomy *a, const struct kf_place *place,
                                  struct kf_error *err)
{
    char path[4096];
    path_of(path, dir, "pairs.csv");
    FILE *file = fopen(path, "w");
    if (!file)
        return kf_error_errno(err, errno, "pairs.csv");
    fprintf(file, "name,mr_x,mr_y,mr_z,ct_x,ct_y,ct_z\n");
    for (int i = 0; i < a->landmark_count; i++) {
        struct kf_v3 q = a->landmarks[i].p, p = kf_place_to_lps(place, q);
        fprintf(file, "%s,%.4f,%.4f,%.4f,%.4f,%.4f,%.4f\n", a->landmarks[i].name, p.x, p.y, p.z, q.x, q.y, q.z);
    }
    return closed(file, err, "pairs.csv");
}

static enum kf_status write_component(const char *dir, int axis, const struct kf_place *place,
                                      const struct kf_grid *grid, int threads, struct kf_error *err)
{
    struct kf_volume field;
    enum kf_status status = kf_volume_alloc(&field, grid, KF_VOXEL_FLOAT32, err);
    if (status != KF_OK)
        return status;
    float *to = field.data;
    for (int64_t k = 0; k < grid->dim[2]; k++)
        for (int64_t j = 0; j < grid->dim[1]; j++)
            for (int64_t i = 0; i < grid->dim[0]; i++) {
                double ijk[3] = {(double)i, (double)j, (double)k}, p[3];
                kf_grid_to_lps(grid, ijk, p);
                struct kf_v3 q = kf_place_to_scene(place, KF_V(p[0], p[1], p[2]));
                *to++ = (float)(axis == 0 ? q.x - p[0] : axis == 1 ? q.y - p[1] : q.z - p[2]);
            }
    char path[4096], file[32];
    snprintf(file, sizeof file, "displacement_%c.nii.gz", "xyz"[axis]);
    path_of(path, dir, file);
    struct kf_work work;
    kf_work_init(&work, threads);
    status = kf_nifti_write(&work, path, &field, err);
    kf_volume_release(&field);
    return status;
}

enum kf_status kf_truth_transform(const char *dir, const struct kf_anatomy *a, const struct kf_place *place,
                                  const struct kf_grid *grid, int threads, struct kf_error *err)
{
    struct kf_grid coarse = *grid;
    for (int i = 0; i < 3; i++) {
        double extent = (double)(grid->dim[i] - 1) * grid->spacing_mm[i];
        coarse.spacing_mm[i] = 4;
        coarse.dim[i] = (int64_t)floor(extent / 4) + 2;
    }
    enum kf_status status = write_pairs(dir, a, place, err);
    for (int axis = 0; status == KF_OK && axis < 3; axis++)
        status = write_component(dir, axis, place, &coarse, threads, err);
    return status;
}
