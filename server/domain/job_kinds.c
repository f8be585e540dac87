#include "server/domain/job_kinds.h"

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

extern const unsigned char kf_job_kinds_json[], kf_job_presets_json[];
extern const unsigned long kf_job_kinds_json_length, kf_job_presets_json_length;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static json_t *described; // api/job_kinds.json
static json_t *offered;   // what people are shown
static char *offered_text;

// ------------------------------------------------------------------------------------------------ reading, once
static json_t *kind_in(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(kf_json_text(json_array_get(list, i), "name", ""), name) == 0)
            return json_array_get(list, i);
    return NULL;
}

static int listed(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) && strcmp(json_string_value(json_array_get(list, i)), text) == 0)
            return 1;
    return 0;
}

// Those of the known choices that the kind's own help names: a build without one does not offer it.
static void offer_choices(json_t *param, const json_t *values)
{
    json_t *list = json_array();
    for (size_t i = 0; i < json_array_size(values); i++)
        if (strstr(kf_json_text(param, "help", ""), json_string_value(json_array_get(values, i))))
            json_array_append(list, json_array_get(values, i));
    if (json_array_size(list))
        json_object_set(param, "choices", list);
    json_decref(list);
}

// A kind as people are shown it: only inputs that an artefact fits. NULL when a required one has none.
static json_t *offer(const json_t *kind, const json_t *rules)
{
    const char *name = kf_json_text(kind, "name", "");
    json_t *out = json_deep_copy(kind), *inputs = json_array();
    const json_t *choices = json_object_get(json_object_get(rules, "choices"), name);
    int usable = 1;
    for (size_t i = 0; i < json_array_size(json_object_get(kind, "inputs")); i++) {
        json_t *input = json_array_get(json_object_get(out, "inputs"), i);
        json_t *artefact =
            json_object_get(json_object_get(rules, "artefact_of_input"), kf_json_text(input, "name", ""));
        if (!artefact) {
            usable = usable && !kf_json_flag(input, "required", 0);
            continue;
        }
        json_object_set(input, "artefact", artefact);
        json_array_append(inputs, input);
    }
    usable = usable && json_array_size(inputs) > 0;
    json_object_set_new(out, "inputs", inputs);
    json_object_set_new(out, "title", json_string(kf_json_text(json_object_get(rules, "titles"), name, name)));
    for (size_t i = 0; i < json_array_size(json_object_get(out, "params")); i++) {
        json_t *param = json_array_get(json_object_get(out, "params"), i);
        offer_choices(param, json_object_get(choices, kf_json_text(param, "name", "")));
    }
    if (usable)
        return out;
    json_decref(out);
    return NULL;
}

// A preset with the first of its kinds that exists; NULL when none does.
static json_t *settle_preset(const json_t *preset, const json_t *kinds)
{
    const json_t *wanted = json_object_get(preset, "kinds");
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const char *kind = json_string_value(json_array_get(wanted, i));
        if (!kind || !kind_in(kinds, kind))
            continue;
        json_t *params = json_object_get(json_object_get(preset, "params"), kind);
        json_t *given = params ? json_incref(params) : json_object();
        return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "id", kf_json_text(preset, "id", ""),
                         "title", kf_json_text(preset, "title", ""), "detail", kf_json_text(preset, "detail", ""),
                         "needs", kf_json_text(preset, "needs", ""), "yields", kf_json_text(preset, "yields", ""),
                         "takes", kf_json_text(preset, "takes", ""), "modality", kf_json_text(preset, "modality", ""),
                         "kind", kind, "fallback", i > 0, "params", given);
    }
    return NULL;
}

static void read_all(void)
{
    json_t *rules = NULL, *kinds = json_array(), *presets = json_array();
    if (kf_json_parse((const char *)kf_job_kinds_json, kf_job_kinds_json_length, &described, NULL) ||
        kf_json_parse((const char *)kf_job_presets_json, kf_job_presets_json_length, &rules, NULL))
        goto done;
    const json_t *all = json_object_get(described, "kinds"), *wanted = json_object_get(rules, "presets");
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *kind = json_array_get(all, i);
        json_t *shown =
            listed(json_object_get(rules, "internal"), kf_json_text(kind, "name", "")) ? NULL : offer(kind, rules);
        if (shown)
            json_array_append_new(kinds, shown);
    }
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        json_t *preset = settle_preset(json_array_get(wanted, i), kinds);
        if (preset)
            json_array_append_new(presets, preset);
    }
    offered = json_pack("{s:O, s:O}", "kinds", kinds, "presets", presets);
    offered_text = offered ? json_dumps(offered, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
done:
    json_decref(rules);
    json_decref(kinds);
    json_decref(presets);
}

static const json_t *offered_kind(const char *name)
{
    pthread_once(&once, read_all);
    return kind_in(json_object_get(offered, "kinds"), name);
}

const char *kf_job_kinds_text(void)
{
    pthread_once(&once, read_all);
    return offered_text;
}

int kf_job_kind_version(const char *name)
{
    pthread_once(&once, read_all);
    return (int)kf_json_integer(kind_in(json_object_get(described, "kinds"), name), "version", 0);
}

// ------------------------------------------------------------------------------------------------ inputs
static enum kf_status check_input(const json_t *inputs, const char *role, const char *artefact, int at,
                                  const char **names, struct kf_error *err)
{
    const json_t *input = role ? kind_in(inputs, role) : json_array_get(inputs, (size_t)at);
    const char *wanted = kf_json_text(input, "artefact", "");
    if (!input)
        return kf_error_set(err, KF_UNPROCESSABLE, "wrong_input", "Input %d has a role that this job does not know.",
                            at + 1);
    names[at] = kf_json_text(input, "name", "");
    for (int i = 0; i < at; i++)
        if (strcmp(names[i], names[at]) == 0)
            return kf_error_set(err, KF_UNPROCESSABLE, "wrong_input", "The input %s is given twice.", names[at]);
    if (strcmp(artefact, wanted) != 0)
        return kf_error_set(err, KF_UNPROCESSABLE, "wrong_input", "Input %d of this job is of kind %s.", at + 1,
                            wanted);
    return KF_OK;
}

enum kf_status kf_job_request_check(const char *name, const char *const *roles, const char *const *input_kinds,
                                    int input_count, const char **names, struct kf_error *err)
{
    const json_t *kind = offered_kind(name), *inputs = json_object_get(kind, "inputs");
    int most = (int)json_array_size(inputs);
    if (!kind)
        return kf_error_set(err, KF_UNPROCESSABLE, "unknown_kind", "There is no job of this kind to ask for.");
    if (input_count < 1 || input_count > most)
        return kf_error_set(err, KF_UNPROCESSABLE, "input_count", "This kind of job takes 1 to %d inputs.", most);
    for (int i = 0; i < input_count; i++) {
        enum kf_status status = check_input(inputs, roles ? roles[i] : NULL, input_kinds[i], i, names, err);
        if (status)
            return status;
    }
    for (int i = 0; i < most; i++) {
        const json_t *input = json_array_get(inputs, (size_t)i);
        int given = 0;
        for (int j = 0; j < input_count; j++)
            given |= strcmp(names[j], kf_json_text(input, "name", "")) == 0;
        if (!given && kf_json_flag(input, "required", 0))
            return kf_error_set(err, KF_UNPROCESSABLE, "input_count", "The input %s is missing.",
                                kf_json_text(input, "name", ""));
    }
    return KF_OK;
}

// ------------------------------------------------------------------------------------------------ parameters
static enum kf_status check_number(const json_t *param, const char *name, double value, struct kf_error *err)
{
    const json_t *low = json_object_get(param, "minimum"), *high = json_object_get(param, "maximum");
    if (isfinite(value) && (!low || (value >= json_number_value(low) && value <= json_number_value(high))))
        return KF_OK;
    const char *unit = kf_json_text(param, "unit", "1");
    return kf_error_set(err, KF_UNPROCESSABLE, "bad_parameter", "%s must lie between %g and %g%s%s.", name,
                        json_number_value(low), json_number_value(high), strcmp(unit, "1") ? " " : "",
                        strcmp(unit, "1") ? unit : "");
}

// *out: the value as the job's table wants it (owned).
static enum kf_status check_param(const json_t *param, const json_t *value, json_t **out, struct kf_error *err)
{
    const char *name = kf_json_text(param, "name", ""), *type = kf_json_text(param, "type", "");
    const json_t *choices = json_object_get(param, "choices");
    int number = strcmp(type, "number") == 0, whole = strcmp(type, "integer") == 0, text = strcmp(type, "text") == 0;
    double size = json_number_value(value);
    int good = number  ? json_is_number(value)
               : whole ? json_is_number(value) && floor(size) == size
               : text  ? json_is_string(value)
                       : json_is_boolean(value);
    *out = NULL;
    if (!good)
        return kf_error_set(err, KF_UNPROCESSABLE, "bad_parameter", "%s must be %s.", name,
                            number  ? "a number"
                            : whole ? "a whole number"
                            : text  ? "a text"
                                    : "true or false");
    if (text && choices && !listed(choices, json_string_value(value)))
        return kf_error_set(err, KF_UNPROCESSABLE, "bad_parameter", "%s is not one of the values that it may have.",
                            name);
    enum kf_status status = number || whole ? check_number(param, name, size, err) : KF_OK;
    if (status)
        return status;
    *out = number ? json_real(size) : whole ? json_integer((json_int_t)size) : json_copy((json_t *)(uintptr_t)value);
    return *out ? KF_OK : kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for the parameters of a job.");
}

enum kf_status kf_job_params_check(const char *name, const json_t *given, json_t **out, struct kf_error *err)
{
    const json_t *kind = offered_kind(name);
    const char *key;
    json_t *value;
    enum kf_status status = KF_OK;
    *out = json_object();
    if (!kind || !*out)
        status = kf_error_set(err, kind ? KF_NOMEM : KF_UNPROCESSABLE, kind ? NULL : "unknown_kind",
                              "There is no job of this kind to ask for.");
    if (status == KF_OK && given)
        json_object_foreach((json_t *)(uintptr_t)given, key, value)
        {
            const json_t *param = kind_in(json_object_get(kind, "params"), key);
            json_t *checked = NULL;
            status = param ? check_param(param, value, &checked, err)
                           : kf_error_set(err, KF_UNPROCESSABLE, "bad_parameter",
                                          "This kind of job has no parameter of the name %.60s.", key);
            if (status)
                break;
            if (json_equal(checked, json_object_get(param, "default")))
                json_decref(checked);
            else
                json_object_set_new(*out, key, checked);
        }
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}
