#include "workers/dicom/assemble.h"

#include "server/base/str.h"
#include "workers/io/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_VOXELS ((int64_t)1 << 31) // what every later step can hold (workers/io/memory.h)

// ---- instances ----

// Faults of the instance stay with it; faults of the machine are the caller's.
static enum kf_status settle(struct kf_instance *instance, enum kf_status status, const struct kf_error *why,
                             struct kf_error *err)
{
    if (status == KF_OK || !kf_status_retryable(status)) {
        if (status != KF_OK)
            instance->problem = *why;
        return KF_OK;
    }
    if (err)
        *err = *why;
    return status;
}

static void read_window(struct kf_instance *instance)
{
    double centre, width;
    if (kf_dicom_numbers(instance->dicom, KF_TAG(0x0028, 0x1050), &centre, 1) < 1 ||
        kf_dicom_numbers(instance->dicom, KF_TAG(0x0028, 0x1051), &width, 1) < 1 || width < 1)
        return;
    instance->has_window = 1;
    instance->window_centre = centre;
    instance->window_width = width;
}

static enum kf_status read_image(struct kf_instance *instance, struct kf_error *why)
{
    int64_t count;
    enum kf_status status = kf_dicom_image(instance->dicom, &instance->image, why);
    if (status == KF_OK)
        status = kf_dicom_can_decode(kf_dicom_identity(instance->dicom)->transfer_syntax, why);
    if (status == KF_OK)
        status = kf_dicom_frames_inside(instance->dicom, &instance->spans, &count, why);
    if (status != KF_OK)
        return status;
    if (count != instance->image.frames)
        return kf_error_set(why, KF_INVALID, "frame_count", "%lld frames of %d were found", (long long)count,
                            instance->image.frames);
    instance->frames = calloc((size_t)count, sizeof *instance->frames);
    if (!instance->frames)
        return kf_error_set(why, KF_NOMEM, NULL, "no memory for the frames of an instance");
    read_window(instance);
    return kf_dicom_frame_places(instance->dicom, instance->frames, instance->image.frames, why);
}

enum kf_status kf_instance_open(struct kf_instance *instance, struct kf_error *err)
{
    struct kf_error why = {0};
    int fd = open(instance->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kf_error_errno(err, errno, "opening a DICOM instance");
    enum kf_status status = kf_dicom_open(fd, instance->offset, instance->length, NULL, &instance->dicom, &why);
    if (status == KF_OK) {
        kf_str_copy(instance->set_aside, sizeof instance->set_aside, kf_dicom_set_aside(instance->dicom));
        if (kf_dicom_lacks_pixels(instance->dicom)) {
            instance->set_aside[0] = 0;
            status = kf_error_set(&why, KF_INVALID, "no_pixel_data", "the image has no Pixel Data");
        } else if (!instance->set_aside[0]) {
            status = read_image(instance, &why);
        }
        kf_dicom_forget(instance->dicom);
    }
    close(fd);
    return settle(instance, status, &why, err);
}

void kf_instance_release(struct kf_instance *instance)
{
    kf_dicom_free(instance->dicom);
    free(instance->spans);
    free(instance->frames);
    *instance = (struct kf_instance){0};
}

enum kf_status kf_instance_decode(const struct kf_instance *instance, int frame, uint16_t *to, struct kf_error *err)
{
    int fd = open(instance->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kf_error_errno(err, errno, "opening a DICOM instance");
    enum kf_status status = kf_dicom_decode(instance->dicom, fd, &instance->image, &instance->spans[frame], to, err);
    close(fd);
    return status;
}

// ---- pixels ----

struct reading {
    const struct kf_instance *instances;
    const struct kf_slice *slices;
    const struct kf_stack *stack;
    enum kf_voxel_type type;
    int64_t plane; // voxels of one slice
    int threads;
    kf_assemble_progress *progress;
    void *context;
    // Below: shared by the threads, guarded by the critical section kf_stack_read.
    double lowest, highest;
    int has_padding;
    double padding;
    int inexact; // a value does not fit int16 exactly
    int done;    // slices
    int failed;  // first slice that failed + 1, INT_MAX: not the fault of one
    struct kf_error error;
};

struct span_of_values {
    int lowest, highest; // stored, without padding; lowest > highest: nothing but padding
    int padding;         // how many
};

// A loop without branches for the compiler to vectorise; padding is looked at only where there is any.
static struct span_of_values range_signed(const int16_t *v, int64_t n)
{
    int16_t low = INT16_MAX, high = INT16_MIN;
    for (int64_t i = 0; i < n; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    return (struct span_of_values){low, high, 0};
}

static struct span_of_values range_unsigned(const uint16_t *v, int64_t n)
{
    uint16_t low = UINT16_MAX, high = 0;
    for (int64_t i = 0; i < n; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
    }
    return (struct span_of_values){low, high, 0};
}

static int stored(const struct kf_dicom_image *image, uint16_t v)
{
    return image->is_signed ? (int16_t)v : v;
}

static struct span_of_values range_of(const struct kf_dicom_image *image, const uint16_t *v, int64_t n)
{
    struct span_of_values all = image->is_signed ? range_signed((const int16_t *)v, n) : range_unsigned(v, n);
    if (!image->has_padding || all.highest < image->padding_low || all.lowest > image->padding_high)
        return all;
    struct span_of_values r = {INT32_MAX, INT32_MIN, 0};
    for (int64_t i = 0; i < n; i++) {
        int x = stored(image, v[i]);
        if (x >= image->padding_low && x <= image->padding_high) {
            r.padding++;
            continue;
        }
        r.lowest = x < r.lowest ? x : r.lowest;
        r.highest = x > r.highest ? x : r.highest;
    }
    return r;
}

static int fits_int16(double v)
{
    return v >= INT16_MIN && v <= INT16_MAX;
}

// Whether slope·x + intercept is a whole number in int16 for every x that occurs, padding included.
static int is_exact(const struct kf_dicom_image *image, const struct kf_dicom_frame *f, struct span_of_values r)
{
    if (f->slope != floor(f->slope) || f->intercept != floor(f->intercept) || fabs(f->slope) > 65536 ||
        fabs(f->intercept) > 1e6)
        return 0;
    if (r.padding && !(fits_int16(image->padding_low * f->slope + f->intercept) &&
                       fits_int16(image->padding_high * f->slope + f->intercept)))
        return 0;
    return r.lowest > r.highest ||
           (fits_int16(r.lowest * f->slope + f->intercept) && fits_int16(r.highest * f->slope + f->intercept));
}

static void rescale_int16(const struct kf_dicom_image *image, const struct kf_dicom_frame *f, uint16_t *v, int64_t n)
{
    int slope = (int)f->slope, intercept = (int)f->intercept;
    if (slope == 1 && intercept == 0)
        return; // in range as checked, so that signed and unsigned agree
    int16_t *to = (int16_t *)v;
    if (image->is_signed)
        for (int64_t i = 0; i < n; i++)
            to[i] = (int16_t)((int16_t)v[i] * slope + intercept);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = (int16_t)(v[i] * slope + intercept);
}

static void rescale_float(const struct kf_dicom_image *image, const struct kf_dicom_frame *f, const uint16_t *v,
                          int64_t n, float *to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)(stored(image, v[i]) * f->slope + f->intercept);
}

static void merge_range(struct reading *r, const struct kf_dicom_image *image, const struct kf_dicom_frame *f,
                        struct span_of_values range)
{
    if (range.lowest <= range.highest) {
        double a = range.lowest * f->slope + f->intercept, b = range.highest * f->slope + f->intercept;
        r->lowest = fmin(r->lowest, fmin(a, b));
        r->highest = fmax(r->highest, fmax(a, b));
    }
    if (range.padding) {
        r->has_padding = 1;
        r->padding = image->padding_low * f->slope + f->intercept;
    }
}

static void note_failure(struct reading *r, int slice, const struct kf_error *why)
{
#pragma omp critical(kf_stack_read)
    if (!r->failed || slice < r->failed) {
        r->failed = slice;
        r->error = *why;
    }
}

// No more slices are worth reading: one failed, or the round begins again in float.
static int is_over(struct reading *r)
{
    int over;
#pragma omp critical(kf_stack_read)
    over = r->failed || r->inexact;
    return over;
}

// Reads slice k to `to`, which holds one slice of r->type; `room` holds one of stored values when that is float.
static void read_slice(struct reading *r, int k, void *to, uint16_t *room)
{
    const struct kf_slice *slice = &r->slices[r->stack->slices[k]];
    const struct kf_instance *instance = &r->instances[slice->instance];
    int as_float = r->type == KF_VOXEL_FLOAT32, exact = 1;
    uint16_t *values = as_float ? room : to;
    struct kf_error why = {0};
    if (kf_instance_decode(instance, slice->frame, values, &why) != KF_OK) {
        note_failure(r, k + 1, &why);
        return;
    }
    struct span_of_values range = range_of(&instance->image, values, r->plane);
    if (as_float)
        rescale_float(&instance->image, &slice->place, values, r->plane, to);
    else if ((exact = is_exact(&instance->image, &slice->place, range)))
        rescale_int16(&instance->image, &slice->place, values, r->plane);
#pragma omp critical(kf_stack_read)
    {
        merge_range(r, &instance->image, &slice->place, range);
        r->inexact |= !exact;
        r->done++;
        if (r->progress && r->done % 16 == 0)
            r->progress(r->context, (double)r->done / r->stack->count);
    }
}

static void begin_round(struct reading *r, enum kf_voxel_type type)
{
    r->type = type;
    r->lowest = INFINITY;
    r->highest = -INFINITY;
    r->has_padding = r->inexact = r->done = 0;
}

static enum kf_status end_round(struct reading *r)
{
    if (!r->failed)
        return KF_OK;
    if (r->failed == INT_MAX)
        return r->error.status;
    char name[64];
    struct kf_error why = r->error;
    kf_slice_name(&r->slices[r->stack->slices[r->failed - 1]], name);
    return kf_error_set(&r->error, why.status, why.code, "%s: %.380s", name, why.detail);
}

static void *take_room(struct reading *r, int64_t bytes)
{
    void *room = bytes ? kf_memory_take(bytes) : NULL;
    struct kf_error why;
    if (bytes && !room) {
        kf_error_set(&why, KF_NOMEM, NULL, "no memory to decode slices");
        note_failure(r, INT_MAX, &why);
    }
    return room;
}

static enum kf_status read_as(struct reading *r, enum kf_voxel_type type, struct kf_volume *out)
{
    enum kf_status status = kf_volume_alloc(out, &r->stack->in, type, &r->error);
    if (status != KF_OK)
        return status;
    begin_round(r, type);
    int64_t slice_bytes = r->plane * kf_voxel_bytes(type);
#pragma omp parallel num_threads(r->threads)
    {
        uint16_t *room = take_room(r, type == KF_VOXEL_FLOAT32 ? 2 * r->plane : 0);
#pragma omp for schedule(dynamic, 1)
        for (int k = 0; k < r->stack->count; k++)
            if (!is_over(r))
                read_slice(r, k, (char *)out->data + k * slice_bytes, room);
        kf_memory_release(room);
    }
    status = end_round(r);
    if (status != KF_OK || r->inexact)
        kf_volume_release(out);
    return status;
}

// Every thread decodes a few slices into memory of its own, small enough to stay in its cache, and hands them on
// itself: one writes while another decodes, and nobody waits at a barrier.
static enum kf_status stream_as(struct reading *r, enum kf_voxel_type type, const struct kf_slab_writer *writer)
{
    begin_round(r, type);
    enum kf_status status = writer->begin(writer->context, type, &r->error);
    if (status != KF_OK)
        return status;
    int64_t slice_bytes = r->plane * kf_voxel_bytes(type), most = (2 << 20) / slice_bytes;
    int slab = most < 1 ? 1 : most > 64 ? 64 : (int)most, count = r->stack->count, slabs = (count + slab - 1) / slab;
#pragma omp parallel num_threads(r->threads)
    {
        uint16_t *room = take_room(r, type == KF_VOXEL_FLOAT32 ? 2 * r->plane : 0);
        char *to = take_room(r, slab * slice_bytes);
#pragma omp for schedule(dynamic, 1)
        for (int s = 0; s < slabs; s++) {
            int first = s * slab, end = first + slab < count ? first + slab : count;
            struct kf_error why = {0};
            for (int k = first; k < end && !is_over(r); k++)
                read_slice(r, k, to + (k - first) * slice_bytes, room);
            if (!is_over(r) && writer->write(writer->context, first, end - first, to, &why) != KF_OK)
                note_failure(r, INT_MAX, &why);
        }
        kf_memory_release(room);
        kf_memory_release(to);
    }
    return end_round(r);
}

// Whether slope and intercept of every slice are whole numbers, so that int16 is worth a try.
static int rescales_are_whole(const struct kf_slice *slices, const struct kf_stack *stack)
{
    for (int k = 0; k < stack->count; k++) {
        const struct kf_dicom_frame *f = &slices[stack->slices[k]].place;
        if (f->slope != floor(f->slope) || f->intercept != floor(f->intercept))
            return 0;
    }
    return 1;
}

static enum kf_status tell_facts(const struct reading *r, enum kf_status status, struct kf_pixel_facts *facts,
                                 struct kf_error *err)
{
    *facts = (struct kf_pixel_facts){0};
    if (status != KF_OK) {
        if (err)
            *err = r->error;
        return status;
    }
    facts->has_padding = r->has_padding;
    facts->padding = r->padding;
    facts->lowest = facts->highest = r->has_padding ? r->padding : 0; // when there is nothing but padding
    if (r->lowest <= r->highest) {
        facts->lowest = r->lowest;
        facts->highest = r->highest;
    }
    return KF_OK;
}

enum kf_status kf_stack_read(const struct kf_instance *instances, const struct kf_slice *slices,
                             const struct kf_stack *stack, int threads, kf_assemble_progress *progress, void *context,
                             struct kf_volume *out, struct kf_pixel_facts *facts, struct kf_error *err)
{
    struct reading r = {.instances = instances,
                        .slices = slices,
                        .stack = stack,
                        .plane = stack->in.dim[0] * stack->in.dim[1],
                        .threads = threads,
                        .progress = progress,
                        .context = context};
    int whole = rescales_are_whole(slices, stack);
    enum kf_status status = KF_OK;
    *out = (struct kf_volume){0};
    if (whole)
        status = read_as(&r, KF_VOXEL_INT16, out);
    if (status == KF_OK && (!whole || r.inexact))
        status = read_as(&r, KF_VOXEL_FLOAT32, out);
    return tell_facts(&r, status, facts, err);
}

enum kf_status kf_stack_stream(const struct kf_instance *instances, const struct kf_slice *slices,
                               const struct kf_stack *stack, int threads, kf_assemble_progress *progress, void *context,
                               const struct kf_slab_writer *writer, enum kf_voxel_type *type,
                               struct kf_pixel_facts *facts, struct kf_error *err)
{
    struct reading r = {.instances = instances,
                        .slices = slices,
                        .stack = stack,
                        .plane = stack->in.dim[0] * stack->in.dim[1],
                        .threads = threads,
                        .progress = progress,
                        .context = context};
    int whole = rescales_are_whole(slices, stack);
    enum kf_status status = kf_grid_check(&stack->in, &r.error);
    if (status == KF_OK && kf_grid_voxels(&stack->in) > MOST_VOXELS)
        status = kf_error_set(&r.error, KF_TOO_LARGE, "too_many_voxels", "the volume would have more than 2^31 voxels");
    if (status == KF_OK && whole)
        status = stream_as(&r, KF_VOXEL_INT16, writer);
    if (status == KF_OK && (!whole || r.inexact))
        status = stream_as(&r, KF_VOXEL_FLOAT32, writer);
    *type = r.type;
    return tell_facts(&r, status, facts, err);
}
