// What follows from what, and what a person may ask for.
#include "server/base/test.h"
#include "server/domain/pipeline.h"

#include <string.h>

KF_TEST(every_step_hangs_below_the_import)
{
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++) {
        KF_CHECK(kf_job_kind_version(step->kind) > 0);
        int any = strcmp(step->after, KF_PIPELINE_ANY) == 0;
        KF_CHECK(any || kf_job_kind_version(step->after) > 0);
        int reached = any || strcmp(step->after, KF_PIPELINE_START) == 0;
        for (const struct kf_pipeline_step *above = kf_pipeline; !reached && above != step; above++)
            reached = strcmp(above->kind, step->after) == 0; // listed above: so there is no circle
        KF_CHECK(reached);
    }
}

KF_TEST(bone_is_only_sought_in_ct)
{
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++)
        if (strcmp(step->kind, "segment.bone") == 0)
            KF_CHECK_STR(step->modality, "CT");
}

KF_TEST(what_is_only_looked_at_ends_the_chain)
{
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++) {
        KF_CHECK(!kf_pipeline_follows(step, "view"));
        KF_CHECK(!kf_pipeline_follows(step, "mesh"));
        if (strcmp(step->after, KF_PIPELINE_ANY) == 0)
            KF_CHECK(kf_pipeline_follows(step, "register") && kf_pipeline_follows(step, "segment.bone"));
        else
            KF_CHECK(!kf_pipeline_follows(step, "register"));
    }
}

KF_TEST_MAIN(KF_RUN(every_step_hangs_below_the_import); KF_RUN(bone_is_only_sought_in_ct);
             KF_RUN(what_is_only_looked_at_ends_the_chain);)
