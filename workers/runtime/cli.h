// The command-line face of a job kind: how `kerf-job KIND --image a.nii.gz --out b.nii.gz` becomes inputs and outputs.
#ifndef KERF_RUNTIME_CLI_H
#define KERF_RUNTIME_CLI_H

#include "workers/runtime/job.h"

enum kf_cli_role {
    KF_CLI_INPUT = 1, // a file: one input of the given name
    KF_CLI_VOLUME,    // the same for an image, or a folder of DICOM: `import` makes its one volume first
    KF_CLI_INPUT_DIR, // a folder (or one file): every regular file below it, in path order, is an input of that name
    KF_CLI_OPTION,    // any value: `run` and `place` read it with kf_job_option
    KF_CLI_SWITCH,    // takes no value; kf_job_option gives "1"
};

struct kf_cli_flag {
    const char *flag; // "--image"
    enum kf_cli_role role;
    const char *input; // name of the input(s) it makes; NULL for options
    int required;
    const char *help; // a whole sentence
};

// What a person may call an output by, so that a name that will not do is refused before any work is done.
struct kf_cli_name {
    const char *flag;    // "--out" or a KF_CLI_OPTION
    const char *endings; // separated by blanks; NULL: any name. "/": a folder, which must be new or empty
    int required;
};

struct kf_job_cli {
    const struct kf_cli_flag *flags; // ends with a row whose flag is NULL
    const struct kf_cli_name *names; // ends with a row whose flag is NULL; NULL: all names will do
    // Puts the finished outputs where the person asked. NULL: --out is taken as the folder that gets every output file.
    enum kf_status (*place)(struct kf_job_context *job, struct kf_error *err);
    const char *examples; // lines for --help
};

// ---- for `place`, and for a `run` that behaves differently on the command line ----
const struct kf_job_kind *kf_job_kind_of(const struct kf_job_context *job);
// The value given for a flag, or NULL (always NULL in the service).
const char *kf_job_option(const struct kf_job_context *job, const char *flag);

struct kf_job_output_view {
    const char *name, *kind, *file, *path, *media_type; // `file` is the bare name, `path` where it lies now
    const json_t *meta;
};
int kf_job_output_count(const struct kf_job_context *job);
struct kf_job_output_view kf_job_output_at(const struct kf_job_context *job, int index);

// Moves (or copies across file systems) a finished output to a path that a person named.
KF_MUST_USE enum kf_status kf_job_place_file(const char *from, const char *to, struct kf_error *err);

// `kerf-job …`: the whole program over a list of kinds; returns the exit code.
int kf_job_main(int argc, char **argv, const struct kf_job_kind *const *kinds);

#endif
