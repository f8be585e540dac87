// JSON of strangers: parsing never crashes, and canonical bytes read back to the same canonical bytes.
#include "server/base/json.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again;
    struct kf_error err;
    if (kf_json_parse((const char *)data, size, &value, &err))
        return 0;
    char *bytes = kf_json_canonical(value);
    json_decref(value);
    if (!bytes || kf_json_parse(bytes, strlen(bytes), &again, &err))
        abort();
    char *second = kf_json_canonical(again);
    json_decref(again);
    if (!second || strcmp(bytes, second) != 0)
        abort();
    free(bytes);
    free(second);
    return 0;
}
