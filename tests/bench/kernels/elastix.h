// elastix as a peer: a folder of images and parameter files, and runs in it. The parameters are those that it publishes
// as defaults: 4 resolutions, 2048 samples, 32 bins, adaptive stochastic gradient descent.
#ifndef KERF_TESTS_BENCH_KERNELS_ELASTIX_H
#define KERF_TESTS_BENCH_KERNELS_ELASTIX_H

#include "workers/io/nifti.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char elastix_folder[] = "/tmp/kerf-bench-elastix.XXXXXX";

// Makes the folder; 0 on success.
static inline int elastix_begin(void)
{
    return mkdtemp(elastix_folder) ? 0 : -1;
}

static inline int elastix_end(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", elastix_folder);
    return system(command) ? -1 : 0;
}

static inline int elastix_is_there(void)
{
    return system("elastix --version >/dev/null 2>&1") == 0;
}

static inline FILE *elastix_open(const char *name, const char *ending, const char *mode)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s%s", elastix_folder, name, ending);
    return fopen(path, mode);
}

// Writes NAME.nii for us and NAME.mha, its frame in doubles, for elastix. int16, along the axes of the
// patient.
static inline int elastix_image(const char *name, const struct kf_volume *v)
{
    char path[256];
    struct kf_error err;
    const struct kf_grid *g = &v->grid;
    snprintf(path, sizeof path, "%s/%s.nii", elastix_folder, name);
    enum kf_status status = kf_nifti_write(NULL, path, v, &err);
    FILE *f = elastix_open(name, ".mha", "wb");
    if (!f || status)
        return -1;
    fprintf(f,
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
            "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = %.17g %.17g %.17g\nElementSpacing = %.17g %.17g %.17g\n"
            "DimSize = %d %d %d\nElementType = MET_SHORT\nElementDataFile = LOCAL\n",
            g->origin_lps[0], g->origin_lps[1], g->origin_lps[2], g->spacing_mm[0], g->spacing_mm[1], g->spacing_mm[2],
            (int)g->dim[0], (int)g->dim[1], (int)g->dim[2]);
    size_t voxels = (size_t)kf_grid_voxels(g), written = fwrite(v->data, 2, voxels, f);
    return fclose(f) || written != voxels ? -1 : 0;
}

// Reads NAME.nii back; *v is owned: kf_volume_release.
static inline int elastix_image_read(const char *name, struct kf_volume *v)
{
    char path[256];
    struct kf_error err;
    snprintf(path, sizeof path, "%s/%s.nii", elastix_folder, name);
    return kf_nifti_read(NULL, path, 0, -1, KF_NIFTI_IMAGE, v, &err) == KF_OK ? 0 : -1;
}

// NAME.txt. `more` is further lines, or "".
static inline int elastix_parameters(const char *name, const char *transform, const char *metric, int iterations,
                                     const char *more)
{
    FILE *f = elastix_open(name, ".txt", "w");
    if (!f)
        return -1;
    fprintf(f,
            "(FixedInternalImagePixelType \"float\")\n(MovingInternalImagePixelType \"float\")\n"
            "(UseDirectionCosines \"true\")\n(Registration \"MultiResolutionRegistration\")\n"
            "(Interpolator \"BSplineInterpolator\")\n(ResampleInterpolator \"FinalBSplineInterpolator\")\n"
            "(Resampler \"DefaultResampler\")\n(FixedImagePyramid \"FixedRecursiveImagePyramid\")\n"
            "(MovingImagePyramid \"MovingRecursiveImagePyramid\")\n"
            "(Optimizer \"AdaptiveStochasticGradientDescent\")\n(Transform \"%s\")\n(Metric \"%s\")\n"
            "(AutomaticScalesEstimation \"true\")\n(AutomaticTransformInitialization \"%s\")\n"
            "(HowToCombineTransforms \"Compose\")\n(NumberOfHistogramBins 32)\n(ErodeMask \"false\")\n"
            "(NumberOfResolutions 4)\n(MaximumNumberOfIterations %d)\n(NumberOfSpatialSamples 2048)\n"
            "(NewSamplesEveryIteration \"true\")\n(ImageSampler \"Random\")\n(BSplineInterpolationOrder 1)\n"
            "(FinalBSplineInterpolationOrder 3)\n(DefaultPixelValue 0)\n(WriteResultImage \"false\")\n%s",
            transform, metric, more[0] ? "false" : "true", iterations, more);
    return fclose(f);
}

// Registers MOVING.mha to fixed.mha with NAME.txt and, when it is not NULL, then with SECOND.txt; results lie in out/.
static inline int elastix_run(const char *moving, const char *name, const char *second, int threads)
{
    char command[1600], more[300] = "";
    const char *at = elastix_folder;
    if (second)
        snprintf(more, sizeof more, "-p %s/%s.txt", at, second);
    snprintf(command, sizeof command,
             "rm -rf %s/out && mkdir %s/out && elastix -f %s/fixed.mha -m %s/%s.mha -p %s/%s.txt %s -out %s/out "
             "-threads %d >%s/log 2>&1",
             at, at, at, at, moving, at, name, more, at, threads, at);
    return system(command) ? -1 : 0;
}

#endif
