// The volumes of the kernel benchmarks: `bench_phantom 256|512 OUT.nii` writes the head of `kerf phantom` as int16:
// 256×256×94 voxels of 0.9375×0.9375×2.2 mm, or 512³ of 0.469 mm. Its labels go to OUT.labels.nii.
#include "workers/io/memory.h"
#include "workers/io/nifti.h"
#include "workers/jobs/phantom/phantom.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct kf_phantom_options options;
    struct kf_volume image, labels;
    struct kf_error err;
    char labels_path[4096];
    int small = argc == 3 && strcmp(argv[1], "256") == 0;
    if (argc != 3 || !strstr(argv[2], ".nii") || (!small && strcmp(argv[1], "512") != 0)) {
        fprintf(stderr, "usage: bench_phantom 256|512 OUT.nii\n");
        return 2;
    }
    if (kf_phantom_defaults("head", &options, &err))
        return 1;
    for (int a = 0; a < 3; a++) {
        options.dim[a] = !small ? 512 : a < 2 ? 256 : 94;
        options.spacing_mm[a] = !small ? 0.46875 : a < 2 ? 0.9375 : 2.2;
    }
    options.noise = small ? 20 : 25;
    options.threads = 2;
    enum kf_status status = kf_phantom_volumes(&options, &image, &labels, &err);
    if (!status) {
        int stem = (int)(strlen(argv[2]) - strlen(".nii"));
        snprintf(labels_path, sizeof labels_path, "%.*s.labels.nii", stem, argv[2]);
        status = kf_nifti_write(NULL, argv[2], &image, &err);
        if (!status)
            status = kf_nifti_write(NULL, labels_path, &labels, &err);
        kf_volume_release(&image);
        kf_volume_release(&labels);
    }
    if (status)
        fprintf(stderr, "bench_phantom: %s\n", err.detail);
    return status ? 1 : 0;
}
