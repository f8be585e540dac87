// libFuzzer: any bytes as an image file of any format; with an NRRD or MetaImage beginning, as one of those.
#include "workers/io/image_file.h"
#include "workers/io/memory.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_volume volume;
    struct kf_error err;
    for (int want = KF_NIFTI_IMAGE; want <= KF_NIFTI_AS_STORED; want++)
        if (!kf_image_parse(NULL, data, (int64_t)size, (enum kf_nifti_want)want, &volume, &err))
            kf_volume_release(&volume);
    return 0;
}
