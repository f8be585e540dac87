// The job contract. A job is a pure function (kind, version, parameters, inputs) → outputs over files: no network, no
// database, no clock, no random numbers. The same `run` serves the sandboxed child of kerf-workerd, the command line
// and the tests.
//
// In the service, kerf-workerd writes a specification and starts `kerf-job KIND --spec FILE` in a scratch directory:
//
//   { "kind": "import", "version": 1, "params": {…},
//     "inputs": [ { "name": "instance", "path": "/…/segment", "offset": 0, "length": 526336, "sha256": "…",
//                   "media_type": "application/dicom", "meta": {…} }, … ],
//     "out": "/…/scratch/out", "threads": 2, "progress_fd": 7 }
//
// An input is bytes [offset, offset+length) of path, read only. Progress goes to the inherited descriptor progress_fd as
// lines {"progress":0.42,"stage":"decoding"}. The result is out/result.json, written last:
//
//   { "outputs": [ { "name": "volume.0", "kind": "volume", "file": "volume.0.nii", "media_type": "…", "meta": {…} } ],
//     "report": {…} }
//
// Failure is a non-zero exit and out/error.json {"code","detail"}. Exit codes: 0 done, 1 failed for good (the input
// will not get better), 2 wrong usage, 75 worth trying again; a signal counts as worth trying again.
#ifndef KERF_RUNTIME_JOB_H
#define KERF_RUNTIME_JOB_H

#include "server/base/json.h"
#include <stdint.h>

struct kf_job_context; // opaque; one job, one thread (kernels use OpenMP below it)

struct kf_job_input {
    const char *name;       // role, for example "instance", "volume", "labels"
    const char *path;       // borrowed, as all members
    int64_t offset;
    int64_t length;         // bytes; -1 on the command line means: to the end of the file
    const char *sha256;     // hex, or "" on the command line
    const char *media_type;
    const json_t *meta;     // what the job that made it said of it; may be NULL
};

enum kf_param_type { KF_PARAM_DOUBLE = 1, KF_PARAM_INTEGER, KF_PARAM_BOOLEAN, KF_PARAM_TEXT };

// One parameter: the --help text, the check and the canonical default come from this one row.
struct kf_job_param {
    const char *name; // snake_case with its unit, for example "threshold_hu"
    enum kf_param_type type;
    double minimum, maximum; // numbers only; both 0: no limits
    double number;           // default of DOUBLE, INTEGER, BOOLEAN
    const char *text;        // default of TEXT
    const char *unit;        // "HU", "mm", "1", …
    const char *help;        // a whole sentence
};

// Which system calls and limits the sandboxed child gets (workers/runtime/sandbox.h).
enum kf_sandbox_profile { KF_SANDBOX_PLAIN = 1, KF_SANDBOX_DCMTK, KF_SANDBOX_OPENMP, KF_SANDBOX_ONEDNN, KF_SANDBOX_MESA };

struct kf_job_kind {
    const char *name; // "segment.bone"
    int version;      // part of the artefact key: raise it whenever output bytes may change
    int bitwise;      // 1: replay must give the same bytes; 0: recorded
    enum kf_sandbox_profile profile;
    int64_t memory_limit_bytes;   // most the child may use
    int time_limit_s;
    const char *summary;          // one line for --help
    const struct kf_job_param *params; // ends with a row whose name is NULL
    enum kf_status (*run)(struct kf_job_context *job, struct kf_error *err);
    // Loads what a library reads from disk (dictionaries, character sets) before the sandbox closes; may be NULL.
    void (*prepare)(void);
    // Command line: turns --in/--image/--out … into inputs and places outputs; NULL when the kind is service only.
    // See kf_job_cli in workers/runtime/cli.h.
    const struct kf_job_cli *cli;
};

// ---- what `run` calls ----
int kf_job_input_count(const struct kf_job_context *job);
const struct kf_job_input *kf_job_input_at(const struct kf_job_context *job, int index);
const struct kf_job_input *kf_job_input_named(const struct kf_job_context *job, const char *name); // first, or NULL

double kf_job_double(const struct kf_job_context *job, const char *param); // after defaults and checks
int64_t kf_job_integer(const struct kf_job_context *job, const char *param);
int kf_job_boolean(const struct kf_job_context *job, const char *param);
const char *kf_job_text(const struct kf_job_context *job, const char *param);
int kf_job_threads(const struct kf_job_context *job);

// Never goes backwards; cheap enough to call per slice. `stage` is a short word for people ("decoding slices"), UTF-8
// without quotes, cut after at most 60 bytes at the border of a character; the first call of a stage is always told of,
// the others of it at most ten times a second.
void kf_job_progress(struct kf_job_context *job, double fraction, const char *stage);
int kf_job_cancelled(const struct kf_job_context *job); // 1: return KF_CANCELLED soon

// Absolute path of a new output file (in the scratch directory); borrowed until the job ends.
const char *kf_job_output_path(struct kf_job_context *job, const char *file);
// Declares a finished output. `meta` is stolen. `name` is unique within the job ("mesh.0.lod1"), `kind` is one of the
// artefact kinds of schema/ ("volume", "volume.view", "segmentation", "segmentation.view", "mesh", "mesh.view", …).
KF_MUST_USE enum kf_status kf_job_output(struct kf_job_context *job, const char *name, const char *kind,
                                         const char *file, const char *media_type, json_t *meta);
// Merges into the result's "report": findings for the planner, warnings with codes. `value` is stolen.
void kf_job_report(struct kf_job_context *job, const char *key, json_t *value);
// Appends {"code","detail"} to report.warnings.
void kf_job_warn(struct kf_job_context *job, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// ---- the registry: workers/jobs/kinds.c lists every kind ----
extern const struct kf_job_kind *const kf_job_kinds[]; // ends with NULL

#endif
