// What bench_regions and its peers work on, so that both see the same voxels. Plain C that C++ reads too.
#ifndef KERF_BENCH_REGIONS_INPUT_H
#define KERF_BENCH_REGIONS_INPUT_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench_input {
    int64_t dim[3], voxels;
    double spacing[3];
    int16_t *value;
};

// CLOCK_PROCESS_CPUTIME_ID for one thread on a busy machine.
#ifndef BENCH_CLOCK
#define BENCH_CLOCK CLOCK_MONOTONIC
#endif

static inline double bench_ms(void)
{
    struct timespec now;
    clock_gettime(BENCH_CLOCK, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static inline void *bench_take(int64_t bytes)
{
    void *block = malloc((size_t)bytes);
    if (!block)
        exit(1);
    return block;
}

// An int16 NIfTI file as kf_nifti_write makes it, of either version.
static inline struct bench_input bench_read(const char *path)
{
    struct bench_input in;
    unsigned char header[544];
    FILE *file = fopen(path, "rb");
    int whole = file && fread(header, 1, sizeof header, file) == sizeof header;
    if (whole && memcmp(header + 4, "n+2", 3) == 0) {
        memcpy(in.dim, header + 24, sizeof in.dim);
        memcpy(in.spacing, header + 112, sizeof in.spacing);
    } else if (whole && memcmp(header + 344, "n+1", 3) == 0) {
        int16_t dim[3];
        float spacing[3];
        memcpy(dim, header + 42, sizeof dim);
        memcpy(spacing, header + 80, sizeof spacing);
        for (int i = 0; i < 3; i++) {
            in.dim[i] = dim[i];
            in.spacing[i] = (double)spacing[i];
        }
    } else {
        fprintf(stderr, "%s is no NIfTI file\n", path);
        exit(1);
    }
    in.voxels = in.dim[0] * in.dim[1] * in.dim[2];
    in.value = (int16_t *)bench_take(in.voxels * 2);
    if (fread(in.value, 2, (size_t)in.voxels, file) != (size_t)in.voxels)
        exit(1);
    fclose(file);
    return in;
}

// A cube from the middle, as far as the volume reaches.
static inline struct bench_input bench_cube(const struct bench_input *in, int64_t edge)
{
    struct bench_input cube = *in;
    int64_t from[3];
    cube.voxels = 1;
    for (int a = 0; a < 3; a++) {
        cube.dim[a] = edge < in->dim[a] ? edge : in->dim[a];
        from[a] = (in->dim[a] - cube.dim[a]) / (a == 0 ? 6 : 2);
        cube.voxels *= cube.dim[a];
    }
    cube.value = (int16_t *)bench_take(cube.voxels * 2);
    for (int64_t k = 0; k < cube.dim[2]; k++)
        for (int64_t j = 0; j < cube.dim[1]; j++)
            memcpy(cube.value + cube.dim[0] * (j + cube.dim[1] * k),
                   in->value + from[0] + in->dim[0] * (j + from[1] + in->dim[1] * (k + from[2])), (size_t)cube.dim[0] * 2);
    return cube;
}

// Central differences over 2 mm or so: the relief of the watershed and the brake of the front.
static inline int16_t *bench_relief(const struct bench_input *in)
{
    int16_t *out = (int16_t *)bench_take(in->voxels * 2);
    const int64_t step[3] = {1, in->dim[0], in->dim[0] * in->dim[1]};
    for (int64_t v = 0; v < in->voxels; v++) {
        const int64_t at[3] = {v % in->dim[0], v / in->dim[0] % in->dim[1], v / in->dim[0] / in->dim[1]};
        double sum = 0;
        for (int a = 0; a < 3; a++) {
            int64_t before = at[a] > 0 ? v - step[a] : v, after = at[a] + 1 < in->dim[a] ? v + step[a] : v;
            double d = (in->value[after] - in->value[before]) / (2 * in->spacing[a]);
            sum += d * d;
        }
        double g = sqrt(sum);
        out[v] = (int16_t)(g < 32767 ? g : 32767);
    }
    return out;
}

static inline float *bench_speed(const struct bench_input *in)
{
    int16_t *relief = bench_relief(in);
    float *speed = (float *)bench_take(in->voxels * 4);
    for (int64_t v = 0; v < in->voxels; v++)
        speed[v] = 1.0f / (1.0f + 0.02f * (float)relief[v]);
    free(relief);
    return speed;
}

// The first arguments of all programs: VOLUME.nii NAME THREADS REPEATS EDGE; EDGE 0 takes the whole volume.
static inline struct bench_input bench_arguments(int argc, char **argv, int *threads, int *repeats)
{
    *threads = argc > 3 ? atoi(argv[3]) : 0;
    *repeats = argc > 4 ? atoi(argv[4]) : 0;
    if (*threads < 1 || *repeats < 1 || *repeats > 32) {
        fprintf(stderr, "usage: %s VOLUME.nii NAME THREADS REPEATS [EDGE]\n", argv[0]);
        exit(2);
    }
    struct bench_input in = bench_read(argv[1]);
    if (argc < 6 || atoi(argv[5]) < 1)
        return in;
    struct bench_input cube = bench_cube(&in, atoi(argv[5]));
    free(in.value);
    return cube;
}

static inline int64_t bench_middle(const struct bench_input *in)
{
    int64_t k = (int64_t)((double)in->dim[2] * 0.6);
    return in->dim[0] / 2 + in->dim[0] / 10 + in->dim[0] * (in->dim[1] / 2 + in->dim[1] * k);
}

// One voxel in `one_in`: 1 in dense bone, 2 in soft tissue and air.
static inline uint8_t *bench_seeds(const struct bench_input *in, uint32_t one_in)
{
    uint8_t *seeds = (uint8_t *)bench_take(in->voxels);
    memset(seeds, 0, (size_t)in->voxels);
    for (int64_t v = 0; v < in->voxels; v++)
        if (((uint32_t)v * 2654435761u >> 16) % one_in == 0)
            seeds[v] = in->value[v] > 700 ? 1 : in->value[v] < 150 ? 2 : 0;
    return seeds;
}

static inline int32_t *bench_terminals(const struct bench_input *in)
{
    int32_t *out = (int32_t *)bench_take(in->voxels * 4);
    for (int64_t v = 0; v < in->voxels; v++) {
        int seed = ((uint32_t)v * 2654435761u >> 16) % 250 == 0;
        out[v] = !seed ? 0 : in->value[v] > 700 ? 100000 : in->value[v] < 180 ? -100000 : 0;
    }
    return out;
}

static inline int bench_link(int difference)
{
    double d = difference / 120.0;
    return (int)(200 * exp(-d * d)) + 1;
}

static inline double bench_walk_sigma(const struct bench_input *in)
{
    double sum = 0, squares = 0, n = (double)in->voxels;
    for (int64_t v = 0; v < in->voxels; v++) {
        sum += in->value[v];
        squares += (double)in->value[v] * in->value[v];
    }
    double deviation = sqrt(squares / n - sum / n * sum / n) / 1000;
    return 1000 * sqrt(10 * deviation / 130);
}

#endif
