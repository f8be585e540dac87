// kernel_everywhere: images and landmarks that are registered, displacement fields, and elementary functions.
#include "tests/kernel/everywhere.h"
#include "workers/kernels/field_rigid.h"
#include "workers/kernels/math.h"
#include "workers/kernels/register_deform.h"

#include <stddef.h>

// ---- registration ----

static enum kf_kernel_status run_images(const struct kf_work *w)
{
    enum kf_kernel_status status = KF_KERNEL_OK;
    for (int kind = 0; kind < 3 && !status; kind++) {
        struct kf_affine found;
        struct kf_register_report report = {0};
        const struct kf_register how = {.model = kind == 1 ? KF_REGISTER_AFFINE : KF_REGISTER_RIGID,
                                        .metric = kind == 2 ? KF_REGISTER_MSD : KF_REGISTER_MI,
                                        .samples = 6000,
                                        .fixed_mask = kind == 1 ? &in.labels : NULL,
                                        .both_ways = kind == 0};
        status = kf_register_images(w, kind == 1 ? &in.real : &in.image, &in.moving, &how, &found, &report);
        if (!status)
            add(&found, sizeof found);
        add(&report, offsetof(struct kf_register_report, converged) + sizeof report.converged);
    }
    return status;
}

static void add_deform_report(const struct kf_register_deform_report *r)
{
    add(&r->dropped, sizeof r->dropped);
    add(&r->jacobian, (int64_t)(sizeof *r - offsetof(struct kf_register_deform_report, jacobian)));
}

static void add_field(const struct kf_field *f)
{
    add(f->xyz, 3 * kf_grid_voxels(&f->grid) * (int64_t)sizeof *f->xyz);
}

static enum kf_kernel_status run_deform(const struct kf_work *w)
{
    struct kf_affine still;
    struct kf_field field = {.xyz = NULL};
    struct kf_register_deform_report report = {0};
    kf_affine_identity(&still);
    const struct kf_register_deform how = {.linear = &still, .both_ways = 1, .grid_mm = 4};
    enum kf_kernel_status status = kf_register_deform(w, &in.image, &in.moving, &how, &field, &report);
    if (!status)
        add_field(&field);
    add_deform_report(&report);
    kf_field_release(w, &field);
    return status;
}

// A smooth displacement with a fold in it.
static enum kf_kernel_status bend(const struct kf_work *w, struct kf_field *f)
{
    struct kf_grid coarse = grid;
    for (int a = 0; a < 3; a++) {
        coarse.dim[a] = (grid.dim[a] + 1) / 2;
        coarse.spacing_mm[a] = 2 * grid.spacing_mm[a];
    }
    enum kf_kernel_status status = kf_field_take(w, &coarse, f);
    int64_t nodes = kf_grid_voxels(&coarse);
    for (int64_t n = 0; n < 3 * nodes && !status; n++) {
        int64_t at = n % nodes, i = at % coarse.dim[0], k = at / coarse.dim[0] / coarse.dim[1];
        double x = (double)(i - 13) / 13, z = (double)(k - 10) / 10;
        f->xyz[n] = (float)((1 - x * x) * (1 - z * z) * (n < nodes ? 2 : 1) + (i == 20 ? 0.9 : 0));
    }
    return status;
}

static enum kf_kernel_status run_fields(const struct kf_work *w)
{
    struct kf_field f = {.xyz = NULL}, g = {.xyz = NULL}, inverse = {.xyz = NULL};
    struct kf_register_deform_report report = {0};
    struct kf_affine still;
    enum kf_kernel_status status = bend(w, &f);
    THEN(status, bend(w, &g));
    THEN(status, kf_field_unfold(w, &f, NULL, 0.3));
    if (!status)
        add_field(&f);
    THEN(status, kf_field_compose(w, &f, &g));
    if (!status)
        add_field(&g);
    THEN(status, kf_field_invert(w, &f, &inverse));
    if (!status) {
        add_field(&inverse);
        struct kf_field_range range = kf_field_jacobian(w, &f);
        add(&range, sizeof range);
    }
    THEN(status, kf_register_deform_judge(w, &f, &report));
    add_deform_report(&report);
    kf_affine_identity(&still);
    const struct kf_volume of[] = {in.image, in.real, in.labels};
    for (int n = 0; n < 3 && !status; n++) {
        struct kf_volume out = {grid, of[n].type, floats};
        status = kf_field_warp(w, &f, &still, &of[n], n == 2, -5, &out);
        add(floats, VOXELS * kf_voxel_bytes(out.type));
    }
    kf_field_release(w, &inverse);
    kf_field_release(w, &g);
    kf_field_release(w, &f);
    return status;
}

static enum kf_kernel_status run_rigid_parts(const struct kf_work *w)
{
    static struct kf_rigid_part parts[KF_RIGID_PARTS];
    struct kf_field f = {.xyz = NULL};
    int count = 0;
    enum kf_kernel_status status = bend(w, &f);
    THEN(status, kf_field_unfold(w, &f, NULL, 0.5));
    for (int64_t v = 0; v < VOXELS; v++) { // two blocks with room between them
        int64_t i = v % I, k = v / SLICE;
        ((uint8_t *)in.labels.data)[v] = (uint8_t)(i > 5 && i < 20 && k > 8 ? 4 : i > 32 && i < 40 && k > 8 ? 6 : 0);
    }
    THEN(status, kf_field_keep_rigid(w, &in.labels, 6, 0.1, &f, parts, &count));
    if (!status)
        add_field(&f);
    for (int n = 0; n < count && !status; n++)
        add(&parts[n].voxels, (int64_t)(sizeof parts[n] - offsetof(struct kf_rigid_part, voxels)));
    kf_field_release(w, &f);
    return status;
}

static enum kf_kernel_status run_numbers(const struct kf_work *w)
{
    (void)w;
    double fixed[30], moving[30], rms = 0;
    struct kf_affine found, inverse;
    for (int n = 0; n < 400; n++) {
        double x = -20 + 0.1 * n, y = 0.01 + 0.05 * n;
        const double f[] = {kf_exp(x), kf_ln(y), kf_pow(y, x / 9), kf_sin(x), kf_cos(x), kf_tan(x), kf_atan(x),
                            kf_atan2(x, y - 3), kf_acos(x / 21)};
        add(f, sizeof f);
    }
    for (int n = 0; n < 30; n++)
        fixed[n] = n * n % 17;
    for (int n = 0; n < 30; n++) // turned by 120° about (1, 1, 1)
        moving[n] = fixed[n - n % 3 + (n + 1) % 3] + 0.01 * (n % 5) + 4;
    enum kf_kernel_status status = kf_register_points(fixed, moving, NULL, 10, &found, &rms);
    if (!status) {
        add_number(kf_affine_invert(&found, &inverse));
        add(&found, sizeof found);
        add(&inverse, sizeof inverse);
        add_number(rms);
    }
    return status;
}

const struct kernel kernels_of_registration[] = {
    {"two images", run_images},
    {"deform", run_deform},
    {"fields", run_fields},
    {"rigid parts", run_rigid_parts},
    {"numbers", run_numbers},
    {NULL, NULL}};
