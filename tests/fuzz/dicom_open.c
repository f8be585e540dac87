// libFuzzer: everything that happens to a stranger's object at receipt: opening, hashing, JSON, frame offsets.
#include "workers/dicom/image.h"
#include "workers/dicom/index.h"
#include "workers/dicom/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct kf_dicom *d;
    struct kf_dicom_index index;
    struct kf_dicom_image image;
    struct kf_str json = {0};
    struct kf_dicom_limits limits = kf_dicom_limits_default;
    limits.inflated_bytes = 1 << 20;
    if (kf_dicom_open_memory(bytes, length, &limits, &d, NULL) != KF_OK)
        return 0;
    const struct kf_dicom_layout *layout = kf_dicom_layout(d);
    if (layout->dataset_offset < 0 || layout->dataset_offset + layout->dataset_length != (int64_t)length)
        abort();
    if (kf_dicom_json(d, &json, NULL) != KF_OK || json.length < 2 || json.data[json.length - 1] != '}')
        abort();
    if (kf_dicom_index_build(d, NULL, &index, NULL) == KF_OK) {
        for (size_t i = 0; i + 16 <= index.frame_offsets.length; i += 16) {
            uint64_t span[2];
            __builtin_memcpy(span, index.frame_offsets.data + i, sizeof span);
            if (span[0] > length || span[1] > length - span[0])
                abort(); // a frame must lie within the object
        }
        kf_dicom_index_release(&index);
    }
    if (kf_dicom_image(d, &image, NULL) == KF_OK && image.frames <= 64) {
        struct kf_dicom_frame frames[64];
        (void)!kf_dicom_frame_places(d, frames, image.frames, NULL);
    }
    kf_str_release(&json);
    kf_dicom_free(d);
    return 0;
}
