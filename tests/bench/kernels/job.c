// kerf-job that also says, when it ends, how long it went at most without asking whether to go on, and in which stage:
// "silent MS ms in STAGE" to stderr. Time of the calling thread, as counted.h has it. Linked with kf_job_cancelled and
// kf_job_progress wrapped.
#include "workers/runtime/cli.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int __real_kf_job_cancelled(const struct kf_job_context *job);
int __wrap_kf_job_cancelled(const struct kf_job_context *job);
void __real_kf_job_progress(struct kf_job_context *job, double fraction, const char *stage);
void __wrap_kf_job_progress(struct kf_job_context *job, double fraction, const char *stage);

static double asked_ms, silence_ms;
static char stage_now[64] = "the start", stage_silent[64];

// The start and the end of the job are questions too.
static void asked(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    double ms = 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
    if (ms - asked_ms > silence_ms) {
        silence_ms = ms - asked_ms;
        memcpy(stage_silent, stage_now, sizeof stage_silent);
    }
    asked_ms = ms;
}

int __wrap_kf_job_cancelled(const struct kf_job_context *job)
{
    asked();
    return __real_kf_job_cancelled(job);
}

void __wrap_kf_job_progress(struct kf_job_context *job, double fraction, const char *stage)
{
    snprintf(stage_now, sizeof stage_now, "%s", stage);
    __real_kf_job_progress(job, fraction, stage);
}

int main(int argc, char **argv)
{
    asked();
    silence_ms = 0;
    int rc = kf_job_main(argc, argv, kf_job_kinds);
    asked();
    fprintf(stderr, "silent %.0f ms in %s\n", silence_ms, stage_silent);
    return rc;
}
