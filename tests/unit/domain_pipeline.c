// What follows from what, and what a person may ask for.
#include "server/base/test.h"
#include "server/domain/pipeline.h"

KF_TEST(every_step_hangs_below_the_import)
{
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++) {
        KF_CHECK(kf_job_kind_version(step->kind) > 0);
        KF_CHECK(kf_job_kind_version(step->after) > 0);
        int reached = strcmp(step->after, KF_PIPELINE_START) == 0;
        for (const struct kf_pipeline_step *above = kf_pipeline; !reached && above != step; above++)
            reached = strcmp(above->kind, step->after) == 0; // listed above: so there is no circle
        const char *volume[] = {"volume"}, *name = "";
        struct kf_error err;
        KF_CHECK(reached || kf_job_request_check(step->after, volume, 1, &name, &err) == KF_OK); // or a person asks for it
    }
}

KF_TEST(bone_is_only_sought_in_ct)
{
    for (const struct kf_pipeline_step *step = kf_pipeline; step->kind; step++)
        if (strcmp(step->kind, "segment.bone") == 0)
            KF_CHECK_STR(step->modality, "CT");
}

KF_TEST(what_a_person_asks_for_is_checked)
{
    struct kf_error err;
    const char *volumes[] = {"volume", "volume"}, *mesh[] = {"mesh"}, *labels[] = {"segmentation", "volume", "volume"};
    const char *names[3] = {"", "", ""};
    KF_CHECK(kf_job_request_check("segment.bone", volumes, 1, names, &err) == KF_OK);
    KF_CHECK_STR(names[0], "volume");
    KF_CHECK(kf_job_request_check("segment.bone", volumes, 2, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "input_count");
    KF_CHECK(kf_job_request_check("segment.bone", volumes, 0, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("segment.bone", mesh, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "wrong_input");
    KF_CHECK(kf_job_request_check("mesh", labels, 1, names, &err) == KF_OK);
    KF_CHECK(kf_job_request_check("mesh", labels, 2, names, &err) == KF_OK);
    KF_CHECK_STR(names[0], "labels");
    KF_CHECK_STR(names[1], "volume");
    KF_CHECK(kf_job_request_check("mesh", labels, 3, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("mesh", volumes, 2, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("import", volumes, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "unknown_kind");
    KF_CHECK(kf_job_request_check("rm -rf", volumes, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_EQ(kf_job_kind_version("rm -rf"), 0);
}

KF_TEST_MAIN(KF_RUN(every_step_hangs_below_the_import); KF_RUN(bone_is_only_sought_in_ct);
             KF_RUN(what_a_person_asks_for_is_checked);)
