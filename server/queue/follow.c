// Follow-ups: rules over the outputs of a finished job, see queue.h.
#include "server/queue/internal.h"

#include "server/base/str.h"
#include <stdlib.h>
#include <string.h>

#define MOST_GENERATIONS 8 // of jobs below one another: the pipeline has three
#define MOST_RULES       64 // of one job

// ------------------------------------------------------------------------------------------------ reading
static enum kf_status bad(struct kf_error *err, const char *why)
{
    return kf_error_set(err, KF_INVALID, "bad_follow", "A follow rule cannot be read: %s.", why);
}

static int has_only(const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        const char *const *at = known;
        while (*at && strcmp(*at, key) != 0)
            at++;
        if (!*at)
            return 0;
    }
    return 1;
}

static enum kf_status check_inputs(const json_t *inputs, int has_when, struct kf_error *err)
{
    static const char *const known[] = {"name", "output", "output_kind", "input", NULL};
    if (!json_is_array(inputs) || json_array_size(inputs) == 0)
        return bad(err, "inputs is not a list with members");
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *one = json_array_get(inputs, i);
        if (!json_is_object(one) || !has_only(one, known) || json_object_size(one) != 2)
            return bad(err, "an input takes name and one of output, output_kind, input");
        if (!*kf_json_text(one, "name", ""))
            return bad(err, "an input has no name");
        const char *output = kf_json_text(one, "output", NULL);
        if (output && (strcmp(output, "$match") != 0 || !has_when))
            return bad(err, "output can only be $match, and only with when");
        if (!output && !kf_json_text(one, "output_kind", NULL) && !kf_json_text(one, "input", NULL))
            return bad(err, "an input names nothing");
    }
    return KF_OK;
}

static enum kf_status check_list(const json_t *follow, int generation, struct kf_error *err);

static enum kf_status check_rule(const json_t *rule, int generation, struct kf_error *err)
{
    static const char *const known[] = {"kind", "version", "params", "priority", "when", "inputs", "follow", NULL};
    static const char *const known_when[] = {"output_kind", "meta", NULL};
    const json_t *when = json_object_get(rule, "when"), *params = json_object_get(rule, "params");
    if (!json_is_object(rule) || !has_only(rule, known))
        return bad(err, "it has members that are not known");
    if (!*kf_json_text(rule, "kind", "") || !json_is_integer(json_object_get(rule, "version")))
        return bad(err, "kind or version is missing");
    if (params && !json_is_object(params))
        return bad(err, "params is not an object");
    if (when && (!json_is_object(when) || !has_only(when, known_when) || !*kf_json_text(when, "output_kind", "")))
        return bad(err, "when takes output_kind and meta");
    enum kf_status status = check_inputs(json_object_get(rule, "inputs"), when != NULL, err);
    const json_t *deeper = json_object_get(rule, "follow");
    return status || !deeper ? status : check_list(deeper, generation + 1, err);
}

static enum kf_status check_list(const json_t *follow, int generation, struct kf_error *err)
{
    if (generation > MOST_GENERATIONS)
        return bad(err, "it goes on for too many generations");
    if (!json_is_array(follow) || json_array_size(follow) > MOST_RULES)
        return bad(err, "it is not a list of a reasonable length");
    for (size_t i = 0; i < json_array_size(follow); i++) {
        enum kf_status status = check_rule(json_array_get(follow, i), generation, err);
        if (status)
            return status;
    }
    return KF_OK;
}

enum kf_status kf_follow_check(const json_t *follow, struct kf_error *err)
{
    return check_list(follow, 1, err);
}

// ------------------------------------------------------------------------------------------------ matching
// 1 when `whole` holds everything that `part` asks for: objects member by member, everything else by equality.
static int contains(const json_t *whole, const json_t *part)
{
    if (!json_is_object(part))
        return json_equal(whole, part);
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)part, key, value) {
        const json_t *ours = json_object_get(whole, key);
        if (!ours || !contains(ours, value))
            return 0;
    }
    return json_is_object(whole);
}

static int matches(const struct kf_artefact_row *output, const json_t *when)
{
    const json_t *meta = json_object_get(when, "meta");
    return strcmp(output->kind, kf_json_text(when, "output_kind", "")) == 0 && (!meta || contains(output->meta, meta));
}

struct inputs {
    struct kf_queue_input *list;
    size_t count, room;
};

static int push(struct inputs *inputs, struct kf_queue_input one)
{
    if (inputs->count == inputs->room) {
        size_t room = inputs->room ? 2 * inputs->room : 8;
        struct kf_queue_input *list = realloc(inputs->list, room * sizeof *list);
        if (!list)
            return -1;
        inputs->list = list;
        inputs->room = room;
    }
    inputs->list[inputs->count++] = one;
    return 0;
}

static int push_output(struct inputs *inputs, const char *name, const struct kf_artefact_row *output)
{
    struct kf_queue_input one = {.name = name, .media_type = output->media_type, .meta = output->meta};
    memcpy(one.sha256, output->sha256, sizeof one.sha256);
    return push(inputs, one);
}

static int push_inputs_of(struct inputs *inputs, const char *name, const json_t *given, const char *wanted)
{
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *input = json_array_get(given, i);
        if (strcmp(kf_json_text(input, "name", ""), wanted) != 0)
            continue;
        const json_t *meta = json_object_get(input, "meta");
        struct kf_queue_input one = {.name = name, .media_type = kf_json_text(input, "media_type", ""),
                                     .meta = json_is_null(meta) ? NULL : meta};
        if (kf_hex_decode(one.sha256, sizeof one.sha256, kf_json_text(input, "sha256", "")) || push(inputs, one))
            return -1;
    }
    return 0;
}

struct finished {
    const struct kf_job_row *job;
    const struct kf_artefact_row *outputs;
    size_t count;
};

static int collect(struct inputs *inputs, const json_t *rule, const struct finished *done,
                   const struct kf_artefact_row *match)
{
    const json_t *wanted = json_object_get(rule, "inputs");
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        const json_t *one = json_array_get(wanted, i);
        const char *name = kf_json_text(one, "name", "");
        const char *kind = kf_json_text(one, "output_kind", NULL), *input = kf_json_text(one, "input", NULL);
        int failed = 0;
        if (input)
            failed = push_inputs_of(inputs, name, done->job->inputs, input);
        else if (!kind)
            failed = match ? push_output(inputs, name, match) : 0;
        for (size_t j = 0; kind && j < done->count && !failed; j++)
            if (strcmp(done->outputs[j].kind, kind) == 0)
                failed = push_output(inputs, name, &done->outputs[j]);
        if (failed)
            return -1;
    }
    return 0;
}

// ------------------------------------------------------------------------------------------------ queueing
static enum kf_status queue_one(struct kf_store *store, const json_t *rule, const struct finished *done,
                                const struct kf_artefact_row *match, int depth, struct kf_error *err)
{
    struct inputs inputs = {0};
    struct kf_queued queued;
    enum kf_status status = KF_OK;
    if (collect(&inputs, rule, done, match))
        status = kf_error_set(err, KF_NOMEM, NULL, "Not enough memory for a follow-up job.");
    if (!status && inputs.count) {
        struct kf_queue_job job = {
            .case_id = done->job->case_id,
            .series_id = *done->job->series_id ? done->job->series_id : NULL,
            .kind = kf_json_text(rule, "kind", ""),
            .version = (int)kf_json_integer(rule, "version", 0),
            .params = json_object_get(rule, "params"),
            .inputs = inputs.list,
            .input_count = inputs.count,
            .follow = json_object_get(rule, "follow"),
            .priority = (int)kf_json_integer(rule, "priority", done->job->priority),
            .max_attempts = done->job->max_attempts,
        };
        status = kf_queue_add_within(store, done->job->organisation_id, &job, depth, &queued, err);
    }
    free(inputs.list);
    return status;
}

static enum kf_status apply_rule(struct kf_store *store, const json_t *rule, const struct finished *done, int depth,
                                 struct kf_error *err)
{
    const json_t *when = json_object_get(rule, "when");
    if (!when)
        return queue_one(store, rule, done, NULL, depth, err);
    enum kf_status status = KF_OK;
    for (size_t i = 0; i < done->count && !status; i++)
        if (matches(&done->outputs[i], when))
            status = queue_one(store, rule, done, &done->outputs[i], depth, err);
    return status;
}

enum kf_status kf_follow_apply(struct kf_store *store, const struct kf_job_row *job, const json_t *follow, int depth,
                               struct kf_error *err)
{
    if (!follow)
        follow = job->follow;
    if (json_array_size(follow) == 0)
        return KF_OK;
    if (depth > 2 * MOST_GENERATIONS || kf_follow_check(follow, NULL))
        return kf_error_set(err, KF_INTERNAL, "bad_follow", "The follow-ups of a %s job cannot be read.", job->kind);
    struct kf_artefact_row *outputs;
    size_t count;
    enum kf_status status =
        kf_store_artefacts_of_job(store, job->organisation_id, job->id, &outputs, &count, err);
    struct finished done = {job, outputs, count};
    for (size_t i = 0; i < json_array_size(follow) && !status; i++)
        status = apply_rule(store, json_array_get(follow, i), &done, depth, err);
    kf_artefact_rows_release(outputs, count);
    return status;
}
