// What the parts of kernel_everywhere share: the input, where kernels write, and the sum of what they gave.
#ifndef KERF_TESTS_KERNEL_EVERYWHERE_H
#define KERF_TESTS_KERNEL_EVERYWHERE_H

#include "workers/kernels/bits.h"
#include "workers/kernels/mesh.h"

enum { I = 53, J = 46, K = 41, VOXELS = I * J * K };
#define SLICE ((int64_t)I * J)

extern const struct kf_grid grid;

// What kernels work on; made anew before every run.
struct everywhere {
    struct kf_volume image, moving, real, byte, labels; // int16, int16, float32, uint8, uint8
    struct kf_bits bits, other;
    uint8_t *seeds;
    int32_t *terminal;
};
extern struct everywhere in;
// Where they write: a value per voxel each.
extern float *floats;
extern uint8_t *bytes;
extern uint32_t *words;

// Adds to the sum of a run.
void add(const void *data, int64_t count);
void add_number(double value);
void add_mesh(const struct kf_mesh *m);

struct kernel {
    const char *name;
    enum kf_kernel_status (*run)(const struct kf_work *w);
};
// Each ends with a row whose name is NULL.
extern const struct kernel kernels_of_images[], kernels_of_surfaces[], kernels_of_registration[];

// A further call, unless one before went wrong.
#define THEN(status, call)                                                                                             \
    do {                                                                                                               \
        if (!(status))                                                                                                 \
            (status) = (call);                                                                                         \
    } while (0)

#endif
