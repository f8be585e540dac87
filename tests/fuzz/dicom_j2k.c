// libFuzzer: a JPEG 2000 codestream from a stranger. The first two bytes say the size that the header would claim.
#include "workers/dicom/decode.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint16_t pixels[256 * 256 + 8];
    if (length < 2)
        return 0;
    int columns = bytes[0] + 1, rows = bytes[1] + 1;
    size_t n = (size_t)columns * (size_t)rows;
    for (int i = 0; i < 8; i++)
        pixels[n + (size_t)i] = 0xA55A;
    (void)!kf_dicom_decode_j2k(bytes + 2, length - 2, columns, rows, length & 1, pixels, NULL);
    for (int i = 0; i < 8; i++)
        if (pixels[n + (size_t)i] != 0xA55A)
            abort();
    return 0;
}
