// libFuzzer: the frames of a stranger's object through every decoder.
#include "workers/dicom/decode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint16_t pixels[256 * 256 + 8];
    struct kf_dicom *d;
    struct kf_dicom_image image;
    struct kf_dicom_span *spans = NULL;
    int64_t count = 0;
    struct kf_dicom_limits limits = kf_dicom_limits_default;
    limits.inflated_bytes = 1 << 20;
    if (kf_dicom_open_memory(bytes, length, &limits, &d, NULL) != KF_OK)
        return 0;
    if (kf_dicom_image(d, &image, NULL) == KF_OK && image.rows <= 256 && image.columns <= 256 &&
        kf_dicom_frames_inside(d, &spans, &count, NULL) == KF_OK) {
        size_t n = (size_t)image.rows * (size_t)image.columns;
        for (int i = 0; i < 8; i++)
            pixels[n + (size_t)i] = 0xA55A; // canaries
        for (int64_t f = 0; f < count && f < 3; f++)
            (void)!kf_dicom_decode(d, -1, &image, &spans[f], pixels, NULL);
        for (int i = 0; i < 8; i++)
            if (pixels[n + (size_t)i] != 0xA55A)
                abort();
    }
    free(spans);
    kf_dicom_free(d);
    return 0;
}
