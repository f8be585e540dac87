// Looks at a finished case the way a browser would, and believes nothing: every artefact is fetched over HTTP and hashed,
// every GLB is decoded, and its bounds must lie inside the volume it came from.
#ifndef KERF_MAIN_CHECK_CASE_H
#define KERF_MAIN_CHECK_CASE_H

#include "server/base/net/client.h"

#define KF_CHECK_TRIANGLES 1000 // every GLB has at least as many

struct kf_check_counts {
    long long instances, volumes, segments, meshes;
};

// Waits until no job of the case waits or runs any more, telling its progress on standard error. *detail is the case
// (owned: json_decref). KF_TIMEOUT after timeout_s; KF_UNPROCESSABLE with the code of the failed job when one has failed.
KF_MUST_USE enum kf_status kf_check_wait(struct kf_net_client *client, const char *case_id, long long instances,
                                         int timeout_s, json_t **detail, struct kf_error *err);

// Fetches and verifies everything the case holds. Errors: KF_UNPROCESSABLE hash_mismatch, glb_small, glb_outside,
// no_volume, no_segment, no_mesh.
KF_MUST_USE enum kf_status kf_check_artefacts(struct kf_net_client *client, const char *case_id,
                                              struct kf_check_counts *counts, struct kf_error *err);

#endif
