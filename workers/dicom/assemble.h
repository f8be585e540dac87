// Instances opened for one series, and their pixels put together on the grid that kf_series_plan found.
#ifndef KERF_DICOM_ASSEMBLE_H
#define KERF_DICOM_ASSEMBLE_H

#include "workers/dicom/decode.h"
#include "workers/dicom/series.h"

// One input. The caller sets path, offset and length (borrowed); kf_instance_open fills the rest.
struct kf_instance {
    const char *path;
    int64_t offset, length; // length -1: to the end of the file
    struct kf_dicom *dicom; // opened, attributes given back; NULL when it is no DICOM
    struct kf_dicom_image image;
    struct kf_dicom_span *spans; // image.frames of each
    struct kf_dicom_frame *frames;
    char set_aside[48];      // why it takes no part though nothing is wrong with it, or ""
    struct kf_error problem; // why it cannot be used, status KF_OK when it can
    int has_window;          // Window Centre and Width of the header
    double window_centre, window_width;
};

// Opens one instance. What is wrong with the instance itself goes into instance->problem; the return value is for what
// trying again may help (KF_IO, KF_NOMEM). Owned until kf_instance_release. Thread safe on different instances.
KF_MUST_USE enum kf_status kf_instance_open(struct kf_instance *instance, struct kf_error *err);
void kf_instance_release(struct kf_instance *instance);

// Stored values of one frame (kf_dicom_decode).
KF_MUST_USE enum kf_status kf_instance_decode(const struct kf_instance *instance, int frame, uint16_t *to,
                                              struct kf_error *err);

// What was seen while the pixels were read, in rescaled units and without padding.
struct kf_pixel_facts {
    double lowest, highest;
    int has_padding;
    double padding; // the rescaled padding value; voxels keep it
};

typedef void kf_assemble_progress(void *context, double fraction);

// Reads the stack: int16 where every value is exact after the rescale, else float32. One block of memory, slices
// decoded in parallel into their place. *out is owned: kf_volume_release. out->grid is stack->in. Errors: those of
// kf_dicom_decode, naming the slice; KF_TOO_LARGE; KF_CANCELLED when `cancelled` (may be NULL) says so.
KF_MUST_USE enum kf_status kf_stack_read(const struct kf_instance *instances, const struct kf_slice *slices,
                                         const struct kf_stack *stack, int threads, kf_assemble_progress *progress,
                                         void *context, struct kf_volume *out, struct kf_pixel_facts *facts,
                                         struct kf_error *err);

// Where kf_stack_stream puts a volume. `begin` comes first, and once more when the values turned out not to fit int16:
// what was written before is void then. `write` takes slices [first, first + count), from several threads at once and
// in any order.
struct kf_slab_writer {
    enum kf_status (*begin)(void *context, enum kf_voxel_type type, struct kf_error *err);
    enum kf_status (*write)(void *context, int first, int count, const void *data, struct kf_error *err);
    void *context;
};

// As kf_stack_read, but hands the volume on a few slices at a time: memory is 2 MiB or one slice per thread, however
// large the volume is; KF_TOO_LARGE "too_many_voxels" over 2^31. *type is what the last round was. `progress` is called
// by one thread at a time.
KF_MUST_USE enum kf_status kf_stack_stream(const struct kf_instance *instances, const struct kf_slice *slices,
                                           const struct kf_stack *stack, int threads, kf_assemble_progress *progress,
                                           void *context, const struct kf_slab_writer *writer, enum kf_voxel_type *type,
                                           struct kf_pixel_facts *facts, struct kf_error *err);

// Replaces *volume by the stack on an orthogonal, regular grid: in the plane a Catmull-Rom shift, along the normal
// linear between neighbours. The grid grows so that nothing is cut off; where no slice reaches lies `outside`. Padding
// is replaced by `outside` first, so that it does not bleed. int16 stays int16, rounded to nearest. *facts is brought
// up to date: interpolation may overshoot, and there is no padding any more. Based on: Keys, "Cubic convolution
// interpolation for digital image processing", 1981 (a = -1/2).
KF_MUST_USE enum kf_status kf_stack_regrid(const struct kf_stack *stack, double outside, int threads,
                                           struct kf_volume *volume, struct kf_pixel_facts *facts,
                                           struct kf_error *err);

#endif
