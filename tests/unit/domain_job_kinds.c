// What a person may ask for: inputs by order and by role, parameters by range, defaults left out.
#include "server/base/test.h"
#include "server/domain/job_kinds.h"

#include <string.h>

KF_TEST(inputs_in_the_kinds_own_order)
{
    struct kf_error err;
    const char *volumes[] = {"volume", "volume"}, *mesh[] = {"mesh"}, *labels[] = {"segmentation", "volume", "volume"};
    const char *names[3] = {"", "", ""};
    KF_CHECK(kf_job_request_check("segment.bone", NULL, volumes, 1, names, &err) == KF_OK);
    KF_CHECK_STR(names[0], "volume");
    KF_CHECK(kf_job_request_check("segment.bone", NULL, volumes, 2, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "input_count");
    KF_CHECK(kf_job_request_check("segment.bone", NULL, volumes, 0, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("segment.bone", NULL, mesh, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "wrong_input");
    KF_CHECK(kf_job_request_check("mesh", NULL, labels, 1, names, &err) == KF_OK);
    KF_CHECK(kf_job_request_check("mesh", NULL, labels, 2, names, &err) == KF_OK);
    KF_CHECK_STR(names[1], "volume");
    KF_CHECK(kf_job_request_check("mesh", NULL, labels, 3, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("import", NULL, volumes, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "unknown_kind");
    KF_CHECK_EQ(kf_job_kind_version("rm -rf"), 0);
    KF_CHECK(kf_job_kind_version("import") > 0);
}

KF_TEST(inputs_by_role)
{
    struct kf_error err;
    const char *volumes[] = {"volume", "volume"}, *names[2] = {"", ""};
    const char *turned[] = {"moving", "fixed"}, *twice[] = {"fixed", "fixed"}, *strange[] = {"fixed", "sideways"};
    KF_CHECK(kf_job_request_check("register", turned, volumes, 2, names, &err) == KF_OK);
    KF_CHECK_STR(names[0], "moving");
    KF_CHECK(kf_job_request_check("register", twice, volumes, 2, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "wrong_input");
    KF_CHECK(kf_job_request_check("register", strange, volumes, 2, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK(kf_job_request_check("register", turned, volumes, 1, names, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "input_count");
}

static enum kf_status params(const char *text, json_t **out, struct kf_error *err)
{
    json_t *given;
    enum kf_status status = kf_json_parse(text, strlen(text), &given, err);
    if (!status)
        status = kf_job_params_check("segment.bone", given, out, err);
    json_decref(given);
    return status;
}

KF_TEST(parameters_are_held_against_the_table)
{
    struct kf_error err;
    json_t *out;
    KF_CHECK(params("{\"threshold_hu\": 250, \"body_only\": true}", &out, &err) == KF_OK);
    KF_CHECK_EQ(json_object_size(out), 0); // defaults spelled out are no other work
    json_decref(out);
    KF_CHECK(params("{\"threshold_hu\": 300}", &out, &err) == KF_OK);
    KF_CHECK(json_is_real(json_object_get(out, "threshold_hu")));
    json_decref(out);
    static const char *const bad[] = {"{\"threshold_hu\": 4001}", "{\"threshold_hu\": \"250\"}", "{\"body_only\": 1}",
                                      "{\"no_such\": 1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        KF_CHECK(params(bad[i], &out, &err) == KF_UNPROCESSABLE);
        KF_CHECK_STR(err.code, "bad_parameter");
        KF_CHECK(!out);
    }
}

KF_TEST(a_text_is_one_of_the_choices_that_the_kind_names)
{
    struct kf_error err;
    json_t *out, *given = json_pack("{s:s}", "model", "affine");
    KF_CHECK(kf_job_params_check("register", given, &out, &err) == KF_OK);
    json_decref(out);
    json_object_set_new(given, "model", json_string("elastic band"));
    KF_CHECK(kf_job_params_check("register", given, &out, &err) == KF_UNPROCESSABLE);
    KF_CHECK_STR(err.code, "bad_parameter");
    json_decref(given);
}

KF_TEST(every_preset_fits_its_kind)
{
    json_t *all, *out;
    struct kf_error err;
    const char *text = kf_job_kinds_text();
    KF_CHECK(text && kf_json_parse(text, strlen(text), &all, &err) == KF_OK);
    const json_t *presets = json_object_get(all, "presets");
    KF_CHECK(json_array_size(presets) >= 5);
    for (size_t i = 0; i < json_array_size(presets); i++) {
        const json_t *preset = json_array_get(presets, i);
        const char *kind = kf_json_text(preset, "kind", "");
        KF_CHECK(kf_job_params_check(kind, json_object_get(preset, "params"), &out, &err) == KF_OK);
        json_decref(out);
        for (const char *const *said = (const char *const[]){"detail", "needs", "yields", "takes", NULL}; *said; said++)
            KF_CHECK(*kf_json_text(preset, *said, ""));
    }
    json_decref(all);
}

KF_TEST_MAIN(KF_RUN(inputs_in_the_kinds_own_order); KF_RUN(inputs_by_role);
             KF_RUN(parameters_are_held_against_the_table);
             KF_RUN(a_text_is_one_of_the_choices_that_the_kind_names); KF_RUN(every_preset_fits_its_kind);)
