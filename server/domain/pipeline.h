// What follows from what: the jobs that the arrival of a series sets going, and what hangs below a job that a person
// asked for, as a table. The app turns it into the queue's `follow` lists.
//
//   import ── each CT volume ─▶ segment.bone
//   any job (but those that only make something to look at) ─┬─ each volume ───────▶ view
//                                                            └─ each segmentation ─▶ view, mesh
#ifndef KERF_DOMAIN_PIPELINE_H
#define KERF_DOMAIN_PIPELINE_H

#include "server/domain/job_kinds.h"

struct kf_pipeline_step {
    const char *after;       // the kind whose outputs are looked at, or KF_PIPELINE_ANY
    const char *output_kind; // which of its outputs start this step
    const char *modality;    // and of which modality in the output's meta; NULL: any
    const char *kind;        // the job to queue, one for each such output
    const char *input;       // the name under which that job knows its input
    const char *also;        // the finished job's own input of this name comes along under it; NULL: none
};

extern const struct kf_pipeline_step kf_pipeline[]; // ends with a row whose kind is NULL
#define KF_PIPELINE_START "import"
#define KF_PIPELINE_ANY   "*"

// Whether this step hangs below jobs of this kind.
int kf_pipeline_follows(const struct kf_pipeline_step *step, const char *kind);

// Waiting people come first: priority of what a person asked for, of the first picture, and of everything else.
enum { KF_PRIORITY_ASKED = 20, KF_PRIORITY_FIRST = 10, KF_PRIORITY_REST = 0 };
int kf_job_kind_priority(const char *kind);

#endif
