#include "server/domain/pipeline.h"

#include <stddef.h>
#include <string.h>

const struct kf_pipeline_step kf_pipeline[] = {
    {"import", "volume", NULL, "view", "volume"},
    {"import", "volume", "CT", "segment.bone", "volume"},
    {"segment.bone", "segmentation", NULL, "view", "volume"},
    {"segment.bone", "segmentation", NULL, "mesh", "labels"},
    {NULL, NULL, NULL, NULL, NULL},
};

struct kind {
    const char *name;
    int version;
    int priority;
    const char *asked_input; // artefact kind when a person may ask for it, else NULL
    const char *asked_name;
};

static const struct kind kinds[] = {
    {"import", 1, KF_PRIORITY_FIRST, NULL, NULL},
    {"view", 1, KF_PRIORITY_FIRST, "volume", "volume"},
    {"segment.bone", 1, KF_PRIORITY_REST, "volume", "volume"},
    {"mesh", 1, KF_PRIORITY_REST, "segmentation", "labels"},
    {"index", 1, KF_PRIORITY_FIRST, NULL, NULL}, // run by the app itself, never queued
};

static const struct kind *find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

int kf_job_kind_version(const char *name)
{
    const struct kind *kind = find(name);
    return kind ? kind->version : 0;
}

int kf_job_kind_priority(const char *name)
{
    const struct kind *kind = find(name);
    return kind ? kind->priority : KF_PRIORITY_REST;
}

const char *kf_job_request_input(const char *name)
{
    const struct kind *kind = find(name);
    return kind ? kind->asked_name : NULL;
}

enum kf_status kf_job_request_check(const char *name, const char *const *input_kinds, int input_count,
                                    struct kf_error *err)
{
    const struct kind *kind = find(name);
    if (!kind || !kind->asked_input)
        return kf_error_set(err, KF_UNPROCESSABLE, "unknown_kind", "There is no job of this kind to ask for.");
    if (input_count != 1)
        return kf_error_set(err, KF_UNPROCESSABLE, "input_count", "This kind of job takes exactly one input.");
    if (strcmp(input_kinds[0], kind->asked_input) != 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "wrong_input", "This kind of job takes an artefact of kind %s.",
                            kind->asked_input);
    return KF_OK;
}
