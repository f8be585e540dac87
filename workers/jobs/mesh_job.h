// Inside of the job "mesh": what it works on, and which segments it makes surfaces of.
#ifndef KERF_JOBS_MESH_JOB_H
#define KERF_JOBS_MESH_JOB_H

#include "workers/jobs/shared.h"
#include "workers/kernels/surface_labels.h"

struct kf_mesh_segment {
    int label;
    char name[64];
    char file[80]; // base of the output files, unique within the job
    char colour[8];
    double rgb[3];
    const char *smoothing; // where the sub-voxel position came from
    double level;
    int touches_border;
    int64_t box[2][3]; // voxels of the label, [least, greatest + 1)
};

struct kf_mesh_job {
    struct kf_job_work w;
    struct kf_volume labels; // data NULL when the surface is that of a grey value
    struct kf_volume image;  // data NULL when there is none
    int shared;
    struct kf_surface_labels net; // shared only: the surfaces between all labels
    struct kf_mesh_segment *segments;
    int count;
    int made;
    const char *only; // command line: "ply", "stl", "glb" or NULL for all
    json_t *report;   // what was made, file by file
};

// Lists the labels that occur, with names and colours of `table` (may be NULL), or the one surface of a grey value.
// KF_UNPROCESSABLE "no_labels". m->segments is owned: kf_memory_release.
KF_MUST_USE enum kf_status kf_mesh_job_segments(struct kf_mesh_job *m, const json_t *table, struct kf_error *err);

#endif
