// kerf job: what has failed for good, and what to do about it.
#include "server/main/admin.h"
#include "server/queue/queue.h"
#include "server/store/read.h"
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "kerf job list [--state STATE]   STATE: dead (default), failed, queued, running, done, cancelled or all\n"
    "kerf job retry ID               a dead, failed or cancelled job waits again with fresh attempts\n"
    "kerf job acknowledge ID         a dead or failed job's case asks for attention on its account no more\n"
    "kerf job cancel ID\n\n"
    "All take --data DIR and --organisation NAME.\n";

enum { MOST_LISTED = 500 };

static enum kf_status list(struct kf_admin *admin, const char *state, struct kf_error *err)
{
    struct kf_arena arena = {0};
    struct kf_job_view *jobs;
    size_t count;
    if (!state)
        state = "dead";
    enum kf_status status =
        kf_store_job_list(admin->store, admin->organisation, NULL, strcmp(state, "all") == 0 ? NULL : state, NULL,
                          MOST_LISTED, &arena, &jobs, &count, err);
    for (size_t i = 0; !status && i < count; i++) {
        char created[32];
        kf_time_rfc3339(created, jobs[i].created_ms);
        printf("%s\t%s\t%s\t%s\t%d/%d%s%s%s%s\n", jobs[i].id, jobs[i].kind, jobs[i].state, created, jobs[i].attempts,
               jobs[i].max_attempts, *jobs[i].error_code ? "\t" : "", jobs[i].error_code,
               *jobs[i].error_code ? ": " : "", jobs[i].error_detail);
    }
    if (!status && count == MOST_LISTED)
        printf("… and older ones\n");
    kf_arena_release(&arena);
    return status;
}

int kf_command_job(int argc, char **argv)
{
    struct kf_admin admin;
    const char *state = NULL;
    const struct kf_admin_option options[] = {{"--state", &state, NULL}, {0}};
    int code = kf_admin_open(&admin, argc, argv, usage, options);
    if (code >= 0)
        return code;
    struct kf_error err;
    enum kf_status status = KF_OK;
    const char *verb = admin.word_count ? admin.words[0] : "";
    int known = 1;
    if (admin.word_count == 1 && strcmp(verb, "list") == 0)
        status = list(&admin, state, &err);
    else if (admin.word_count == 2 && strcmp(verb, "retry") == 0)
        status = kf_queue_retry(admin.store, admin.organisation, admin.words[1], &err);
    else if (admin.word_count == 2 && strcmp(verb, "acknowledge") == 0)
        status = kf_queue_acknowledge(admin.store, admin.organisation, admin.words[1], NULL, &err);
    else if (admin.word_count == 2 && strcmp(verb, "cancel") == 0)
        status = kf_queue_cancel(admin.store, admin.organisation, admin.words[1], &err);
    else
        known = 0;
    kf_admin_close(&admin);
    if (!known) {
        fputs(usage, stderr);
        return KF_EXIT_USAGE;
    }
    return status ? kf_command_failed("job", &err) : KF_EXIT_OK;
}
