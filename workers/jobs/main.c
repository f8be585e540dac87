// kerf-job: one job on files. See workers/runtime/job.h for the contract and `kerf-job --help` for the kinds.
#include "workers/runtime/cli.h"

int main(int argc, char **argv)
{
    return kf_job_main(argc, argv, kf_job_kinds);
}
