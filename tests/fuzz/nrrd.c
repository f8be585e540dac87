// libFuzzer: any bytes as the header of an NRRD file, without its voxels.
#include "workers/io/nrrd.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kf_stored stored;
    struct kf_error err;
    if (!kf_nrrd_header(data, (int64_t)size, &stored, &err) && kf_stored_data_bytes(&stored) <= 0)
        __builtin_trap();
    return 0;
}
