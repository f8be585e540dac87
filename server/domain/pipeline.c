#include "server/domain/pipeline.h"

#include <stddef.h>
#include <string.h>

const struct kf_pipeline_step kf_pipeline[] = {
    {"import", "volume", NULL, "view", "volume", NULL},
    {"import", "volume", "CT", "segment.bone", "volume", NULL},
    {"segment.bone", "segmentation", NULL, "view", "volume", NULL},
    {"segment.bone", "segmentation", NULL, "mesh", "labels", "volume"}, // grey values place the surface within a voxel
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

// An input that a person may name: the kind of artefact, and the name it has for the job.
struct asked {
    const char *kind, *name;
};

struct kind {
    const char *name;
    int version;
    int priority;
    struct asked first;  // kind NULL: nobody may ask for this job
    struct asked second; // may be left out; kind NULL: there is none
};

static const struct kind kinds[] = {
    {"import", 1, KF_PRIORITY_FIRST, {NULL, NULL}, {NULL, NULL}},
    {"view", 1, KF_PRIORITY_FIRST, {"volume", "volume"}, {NULL, NULL}},
    {"segment.bone", 1, KF_PRIORITY_REST, {"volume", "volume"}, {NULL, NULL}},
    {"segment.spine", 1, KF_PRIORITY_REST, {"volume", "volume"}, {NULL, NULL}},
    {"mesh", 2, KF_PRIORITY_REST, {"segmentation", "labels"}, {"volume", "volume"}},
    {"index", 1, KF_PRIORITY_FIRST, {NULL, NULL}, {NULL, NULL}}, // run by the app itself, never queued
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

enum kf_status kf_job_request_check(const char *name, const char *const *input_kinds, int input_count,
                                    const char **names, struct kf_error *err)
{
    const struct kind *kind = find(name);
    if (!kind || !kind->first.kind)
        return kf_error_set(err, KF_UNPROCESSABLE, "unknown_kind", "There is no job of this kind to ask for.");
    int most = kind->second.kind ? 2 : 1;
    if (input_count < 1 || input_count > most)
        return kf_error_set(err, KF_UNPROCESSABLE, "input_count", "This kind of job takes %s.",
                            most == 1 ? "exactly one input" : "one or two inputs");
    for (int i = 0; i < input_count; i++) {
        const struct asked *asked = i == 0 ? &kind->first : &kind->second;
        if (strcmp(input_kinds[i], asked->kind) != 0)
            return kf_error_set(err, KF_UNPROCESSABLE, "wrong_input", "Input %d of this job is of kind %s.", i + 1,
                                asked->kind);
        names[i] = asked->name;
    }
    return KF_OK;
}
