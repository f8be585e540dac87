// libFuzzer: a command set from a stranger, and what comes back out of the encoder.
#include "workers/dicom/net_command.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct kf_dimse_command command, again;
    if (kf_dimse_parse(bytes, length, &command, NULL) != KF_OK)
        return 0;
    unsigned char encoded[512];
    size_t n = kf_dimse_encode(&command, encoded, sizeof encoded);
    if (n == 0 || kf_dimse_parse(encoded, n, &again, NULL) != KF_OK)
        abort();
    if (again.field != command.field || again.message_id != command.message_id ||
        strcmp(again.sop_class, command.sop_class) != 0 || strcmp(again.sop_instance, command.sop_instance) != 0)
        abort();
    return 0;
}
