// Follow-up rules: whatever JSON comes, the check answers and a rule that passes has what applying it needs.
#include "server/base/json.h"
#include "server/queue/internal.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value;
    if (kf_json_parse((const char *)data, size, &value, NULL))
        return 0;
    if (kf_follow_check(value, NULL) == KF_OK) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *rule = json_array_get(value, i);
            if (!*kf_json_text(rule, "kind", "") || json_array_size(json_object_get(rule, "inputs")) == 0)
                abort();
        }
    }
    json_decref(value);
    return 0;
}
