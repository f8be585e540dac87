#include "server/domain/pipeline.h"

#include <stddef.h>
#include <string.h>

const struct kf_pipeline_step kf_pipeline[] = {
    {"import", "volume", "CT", "segment.bone", "volume", NULL},
    {KF_PIPELINE_ANY, "volume", NULL, "view", "volume", NULL},
    {KF_PIPELINE_ANY, "segmentation", NULL, "view", "volume", NULL},
    {KF_PIPELINE_ANY, "segmentation", NULL, "mesh", "labels", "volume"}, // grey values place the surface within a voxel
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

int kf_pipeline_follows(const struct kf_pipeline_step *step, const char *kind)
{
    static const char *const ends[] = {"view", "mesh", "compare"}; // nothing follows from what is only looked at
    if (strcmp(step->after, KF_PIPELINE_ANY) != 0)
        return strcmp(step->after, kind) == 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (strcmp(ends[i], kind) == 0)
            return 0;
    return 1;
}

int kf_job_kind_priority(const char *kind)
{
    int first = strcmp(kind, "import") == 0 || strcmp(kind, "view") == 0 || strcmp(kind, "index") == 0;
    return first ? KF_PRIORITY_FIRST : KF_PRIORITY_REST;
}
