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

// The one step that starts `kind` from outputs of the kind `output`; NULL: there is none, or more than one.
static const struct kf_pipeline_step *step_of(const char *kind, const char *output)
{
    const struct kf_pipeline_step *found = NULL;
    int count = 0;
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++)
        if (strcmp(step->kind, kind) == 0 && strcmp(step->output_kind, output) == 0)
            found = step, count++;
    return count == 1 ? found : NULL;
}

KF_TEST(bone_is_sought_in_each_ct_and_in_nothing_else)
{
    const struct kf_pipeline_step *step = step_of("segment.bone", "volume");
    KF_REQUIRE(step);
    KF_CHECK_STR(step->modality, "CT");
    KF_CHECK_STR(step->after, "import");
}

KF_TEST(whatever_is_made_is_shown_and_what_is_found_becomes_surfaces)
{
    KF_REQUIRE(step_of("view", "volume") && step_of("view", "segmentation"));
    KF_CHECK(!step_of("view", "volume")->modality && !step_of("view", "segmentation")->modality);
    const struct kf_pipeline_step *mesh = step_of("mesh", "segmentation");
    KF_REQUIRE(mesh);
    KF_CHECK_STR(mesh->input, "labels");
    KF_CHECK_STR(mesh->also, "volume"); // for surfaces within a voxel
    KF_CHECK(!mesh->modality && kf_pipeline_follows(mesh, "segment.spine"));
}

KF_TEST(what_a_person_waits_to_see_comes_first)
{
    static const char *const first[] = {"import", "index", "view"}, *const rest[] = {"segment.bone", "mesh", "register"};
    for (int i = 0; i < 3; i++) {
        KF_CHECK_EQ(kf_job_kind_priority(first[i]), KF_PRIORITY_FIRST);
        KF_CHECK_EQ(kf_job_kind_priority(rest[i]), KF_PRIORITY_REST);
    }
    KF_CHECK(KF_PRIORITY_ASKED > KF_PRIORITY_FIRST && KF_PRIORITY_FIRST > KF_PRIORITY_REST);
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

KF_TEST_MAIN(KF_RUN(every_step_hangs_below_the_import); KF_RUN(bone_is_sought_in_each_ct_and_in_nothing_else);
             KF_RUN(whatever_is_made_is_shown_and_what_is_found_becomes_surfaces);
             KF_RUN(what_a_person_waits_to_see_comes_first);
             KF_RUN(what_is_only_looked_at_ends_the_chain);)
