// libFuzzer: any bytes as a NIfTI file, plain or compressed.
#include "workers/io/memory.h"
#include "workers/io/nifti.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_volume volume;
    struct kf_error err;
    for (int want = KF_NIFTI_IMAGE; want <= KF_NIFTI_EITHER; want++)
        if (!kf_nifti_parse(NULL, data, (int64_t)size, (enum kf_nifti_want)want, &volume, &err))
            kf_volume_release(&volume);
    return 0;
}
