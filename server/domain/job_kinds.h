// The job kinds that exist, as the server knows them: api/job_kinds.json (written by `kerf-job --describe`; a test holds
// the two together) and api/job_presets.json (titles, presets, which artefact fits which input). Both are embedded and
// read once; everything here is constant afterwards and may be called from any thread.
#ifndef KERF_DOMAIN_JOB_KINDS_H
#define KERF_DOMAIN_JOB_KINDS_H

#include "server/base/json.h"

// What GET /job-kinds answers: {"kinds": […], "presets": […]}. Borrowed for good; NULL when memory ran out at the first
// call. A preset names the first of its kinds that exists; one without any is left out.
const char *kf_job_kinds_text(void);

// The version of a job kind that is queued today, a part of every artefact key. 0 for a kind that does not exist.
int kf_job_kind_version(const char *kind);

// What a person asks for by hand (POST /cases/{id}/jobs). roles: the name under which the job knows each input, or NULL:
// in the order of the kind's inputs. names[i] is that name, borrowed for good. KF_UNPROCESSABLE "unknown_kind",
// "wrong_input" (no such role, one twice, or an artefact of another kind) or "input_count" (too few or too many).
KF_MUST_USE enum kf_status kf_job_request_check(const char *kind, const char *const *roles,
                                                const char *const *input_kinds, int input_count, const char **names,
                                                struct kf_error *err);

// Parameters against the kind's table. *out (owned, json_decref) holds those that differ from their defaults, so that
// asking with a default spelled out is the same work. KF_UNPROCESSABLE "bad_parameter" names the parameter and its range.
KF_MUST_USE enum kf_status kf_job_params_check(const char *kind, const json_t *given, json_t **out,
                                               struct kf_error *err);

#endif
