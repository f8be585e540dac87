// What the image and mesh jobs have in common: reading their volume, kernel work that reports progress, grid metadata.
#ifndef KERF_JOBS_SHARED_H
#define KERF_JOBS_SHARED_H

#include "workers/io/image_file.h"
#include "workers/kernels/mesh.h"
#include "workers/runtime/cli.h"

// Kernel work whose progress is a share of the job's: 0…1 of a kernel is from…from + span of the job.
struct kf_job_work {
    struct kf_work work; // first: what kernels get
    struct kf_job_context *job;
    double from, span;
    const char *stage;
};

void kf_job_work_init(struct kf_job_work *w, struct kf_job_context *job);
// Says which stage comes next and which share of the job it is.
void kf_job_work_stage(struct kf_job_work *w, const char *stage, double from, double to);

// The input "volume" of a kind that works on a CT, borrowed into *input: KF_INVALID "input_missing", KF_UNPROCESSABLE
// "not_ct". *is_hu 0, with a warning "not_hu", when its values are not Hounsfield units. `what` begins the refusal.
KF_MUST_USE enum kf_status kf_job_ct_input(struct kf_job_context *job, const char *what,
                                           const struct kf_job_input **input, int *is_hu, struct kf_error *err);

// Reads an input (never NULL), which an error names: NIfTI, NRRD or MetaImage; detached MetaImage only where a person
// named the file. *out is owned: kf_volume_release.
KF_MUST_USE enum kf_status kf_job_read_volume(const struct kf_work *work, const struct kf_job_input *input,
                                              enum kf_nifti_want want, struct kf_volume *out, struct kf_error *err);

// Reads a mesh, PLY, GLB or STL as its first bytes say; positions in LPS mm. KF_INVALID "mesh_far" beyond 1000 km.
// *mesh is owned: kf_mesh_release with `work`.
KF_MUST_USE enum kf_status kf_job_read_mesh(const struct kf_work *work, const struct kf_job_input *input,
                                            struct kf_mesh *mesh, struct kf_error *err);

// Parses an input as JSON of at most 64 MiB (KF_TOO_LARGE), as kf_json_parse. *out is owned: json_decref.
KF_MUST_USE enum kf_status kf_job_read_json(const struct kf_job_input *input, json_t **out, struct kf_error *err);

// {"dim","spacing_mm","origin_lps","direction"}; a new reference, NULL without memory.
json_t *kf_grid_json(const struct kf_grid *grid);

// Whether the corners of both grids meet to a tenth of a voxel.
int kf_job_same_grid(const struct kf_grid *a, const struct kf_grid *b);

// Writes a label map as labels.nii.gz and declares it as the output "labels", with `meta` (stolen) as its table.
KF_MUST_USE enum kf_status kf_job_write_labels(struct kf_job_work *w, const struct kf_volume *labels, json_t *meta,
                                               struct kf_error *err);

// Copies those members of `from` (may be NULL) that are in `keys` (NULL at the end) into `to`.
void kf_meta_copy(json_t *to, const json_t *from, const char *const *keys);

// Command line: moves the finished NIfTI file `view` to `to`, or writes it there as the ending of `to` says (.nii.gz,
// .nii, .nrrd, .mha; "/": kf_job_place_dicom). `flag` is what the person named it by.
KF_MUST_USE enum kf_status kf_job_place_image(struct kf_job_context *job, const struct kf_job_output_view *view,
                                              const char *to, const char *flag, struct kf_error *err);
#define KF_JOB_FILE_NAMES  ".nii.gz .nii .nrrd .mha"
#define KF_JOB_IMAGE_NAMES KF_JOB_FILE_NAMES " /"
// Where the ending of an output's name begins, within `to`; NULL when it has none of KF_JOB_IMAGE_NAMES.
const char *kf_job_image_ending(const char *to);

// Command line: a name that ends in "/" is a folder of DICOM (dicom_out.c). The image or label map `view` is written
// there, with a warning "values_rounded" where 16 bits do not hold the values. Nothing is left behind on failure.
// KF_INVALID modality_unknown, modality_not_written, and those of write_derived.h.
int kf_job_wants_dicom(const char *to);
KF_MUST_USE enum kf_status kf_job_place_dicom(struct kf_job_context *job, const struct kf_job_output_view *view,
                                              const char *to, struct kf_error *err);
// "CT" or "MR": what the image's metadata (may be NULL) says, else the option --modality; borrowed. To be asked before
// any work by a kind whose image may be a file.
KF_MUST_USE enum kf_status kf_job_dicom_modality(const struct kf_job_context *job, const json_t *meta,
                                                 const char **modality, struct kf_error *err);

// Command line of a kind whose first output is a label map: --out NAME with an ending of kf_job_place_image, and its
// metadata beside it as NAME.json ("seg/" has seg.json).
KF_MUST_USE enum kf_status kf_job_place_segmentation(struct kf_job_context *job, struct kf_error *err);
extern const struct kf_cli_name kf_job_segmentation_names[];

#endif
