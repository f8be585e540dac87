// What follows from what: the jobs that the arrival of a series sets going, as a table. The app turns it into the
// queue's `follow` lists.
//
//   import ─┬─ each volume ──────────▶ view
//           └─ each CT volume ───────▶ segment.bone ─ each segmentation ─┬─▶ view
//                                                                        └─▶ mesh
#ifndef KERF_DOMAIN_PIPELINE_H
#define KERF_DOMAIN_PIPELINE_H

#include "server/base/error.h"

struct kf_pipeline_step {
    const char *after;       // the kind whose outputs are looked at
    const char *output_kind; // which of its outputs start this step
    const char *modality;    // and of which modality in the output's meta; NULL: any
    const char *kind;        // the job to queue, one for each such output
    const char *input;       // the name under which that job knows its input
    const char *also;        // the finished job's own input of this name comes along under it; NULL: none
};

extern const struct kf_pipeline_step kf_pipeline[]; // ends with a row whose kind is NULL
#define KF_PIPELINE_START "import"

// The version of a job kind that is queued today. A part of every artefact key: it must equal the version that the kind
// itself declares (workers/jobs); the tests hold the two together. 0 for a kind that does not exist.
int kf_job_kind_version(const char *kind);

// Jobs that a person may ask for by hand (POST /cases/{id}/jobs): one artefact of the kind that such a job takes, and
// for some a second one. names[i] is the name under which the job knows input i. KF_UNPROCESSABLE "unknown_kind",
// "wrong_input" or "input_count".
KF_MUST_USE enum kf_status kf_job_request_check(const char *kind, const char *const *input_kinds, int input_count,
                                                const char **names, struct kf_error *err);

// Waiting people come first: priority of what a person asked for, of the first picture, and of everything else.
enum { KF_PRIORITY_ASKED = 20, KF_PRIORITY_FIRST = 10, KF_PRIORITY_REST = 0 };
int kf_job_kind_priority(const char *kind);

#endif
