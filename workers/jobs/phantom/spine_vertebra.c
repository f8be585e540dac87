// Bone of the spine: T10 to L5 with arches, processes and facets; ribs; sacrum. Frames: see spine.h. Each facet joint
// is laid once, between two vertebrae; the lower articular process is what remains of the upper vertebra after the
// upper articular process of the one below, grown by the joint space, is taken away: congruent faces that never touch.
#include "workers/jobs/phantom/spine.h"
#include <stdio.h>

#define JOINT_SPACE_MM 2.0

static const struct kf_v3 none = {0, 0, 0};

// The joint below vertebra i on one side: its middle and the direction from the upper articular process of the vertebra
// below to the lower one of this (medial and backwards).
struct joint {
    struct kf_v3 middle, normal, across, up;
};

static struct joint joint_of(const struct kf_spine *spine, int i, int side)
{
    const struct kf_vertebra *v = &spine->v[i];
    struct kf_m3 axes;
    struct kf_v3 disc = kf_spine_disc(spine, i, &axes);
    double angle = v->facet_deg * KF_PI / 180, c = kf_cos(angle), n = kf_sin(angle);
    double y = v->half_depth + 2 * v->canal_y - 1.5 - 3.2 * c;
    struct joint j;
    j.middle = kf_v_add(disc, kf_m_apply(&axes, KF_V(side * v->facet_x, y, 1.5)));
    j.normal = kf_m_apply(&axes, KF_V(-side * c, n, 0));
    j.across = kf_m_apply(&axes, KF_V(side * n, c, 0));
    j.up = kf_m_apply(&axes, KF_V(0, 0, 1));
    return j;
}

static struct kf_v3 from_joint(const struct joint *j, double normal, double across, double up)
{
    return kf_v_along(kf_v_along(kf_v_along(j->middle, normal, j->normal), across, j->across), up, j->up);
}

static struct kf_station station(struct kf_v3 p, double across, double along)
{
    return (struct kf_station){p.x, p.y, p.z, across, along};
}

// The upper articular process of vertebra i + 1, one group of the current part.
static void upper_process(struct kf_scene *s, const struct kf_spine *spine, int i, int side, enum kf_sdf_op op,
                          double k, double grow)
{
    const struct kf_vertebra *below = &spine->v[i + 1];
    struct joint j = joint_of(spine, i, side);
    double size = i < 2 ? 0.85 : 1;
    struct kf_v3 root =
        kf_spine_at(spine, i + 1, side * (below->pedicle_x + 0.3 * below->pedicle_half), below->half_depth + 7,
                    i + 1 == KF_LEVELS - 1 ? 0.36 * below->height : 0.2 * below->height);
    const struct kf_station process[] = {station(root, 4.6 * size, 6 * size),
                                         station(from_joint(&j, -4.2, 0.6, -7), 4.2 * size, 6.4 * size),
                                         station(from_joint(&j, -3.9, 0, 0), 3.3 * size, 6.6 * size),
                                         station(from_joint(&j, -3.6, -0.3, 6.2), 2.5 * size, 4.6 * size)};
    kf_scene_group(s, op, k);
    kf_scene_grow(s, grow);
    kf_scene_tube(s, KF_UNION, 0, process, 4, j.across, 1, 0, 4);
}

// The lower articular process of vertebra i: from the pars down behind the joint.
static void lower_process(struct kf_scene *s, const struct kf_spine *spine, int i, int side)
{
    const struct kf_vertebra *v = &spine->v[i];
    struct joint j = joint_of(spine, i, side);
    double size = i < 2 ? 0.85 : 1;
    struct kf_v3 pars =
        kf_spine_at(spine, i, side * (v->pedicle_x - 1.5), v->half_depth + v->canal_y + 2.5, -0.12 * v->height);
    const struct kf_station process[] = {station(pars, 3.8, 5.2),
                                         station(from_joint(&j, 4.6, -0.5, 9.5), 3.6 * size, 5.6 * size),
                                         station(from_joint(&j, 3.6, 0, 1), 3.7 * size, 6 * size),
                                         station(from_joint(&j, 3.2, 0, -5.2), 3 * size, 4.6 * size)};
    kf_scene_group(s, KF_UNION, 2.5);
    kf_scene_tube(s, KF_UNION, 0, process, 4, j.across, 1, 0, 4);
}

// Takes room for the tip of the lower process of vertebra i, behind the joint, out of the one below.
static void lower_tip(struct kf_scene *s, const struct kf_spine *spine, int i, int side)
{
    struct joint j = joint_of(spine, i, side);
    const struct kf_station tip[] = {station(from_joint(&j, 4.2, 0, 2), 3.4, 6),
                                     station(from_joint(&j, 3.4, 0, -5.2), 3, 4.6)};
    kf_scene_group(s, KF_SUBTRACT, 0.5);
    kf_scene_grow(s, 1.8);
    kf_scene_tube(s, KF_UNION, 0, tip, 2, j.across, 1, 0, 2);
}

static void body(struct kf_anatomy *a, const struct kf_vertebra *v)
{
    struct kf_scene *s = &a->scene;
    double h = 0.5 * v->height, w = v->half_width, d = v->half_depth;
    const struct kf_station shape[] = {{0, 0, h, w, d},
                                       {0, 0, 0.72 * h, 0.965 * w, 0.965 * d},
                                       {0, -0.4, 0, 0.86 * w, 0.88 * d},
                                       {0, 0, -0.72 * h, 0.975 * w, 0.965 * d},
                                       {0, 0, -h, 1.015 * w, d}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, shape, 5, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START | KF_TUBE_FLAT_END, 4);
    kf_scene_group(s, KF_SUBTRACT, 2); // concave end plates inside the ring apophysis
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1, h + 2.2), KF_V(0.78 * w, 0.74 * d, 3.8), none);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1.5, -h - 2.2), KF_V(0.78 * w, 0.72 * d, 4.2), none);
}

static void pedicle_and_lamina(struct kf_scene *s, const struct kf_vertebra *v)
{
    double d = v->half_depth, h = v->height, p = v->pedicle_x, c = v->canal_y;
    const struct kf_station pedicle[] = {{0.94 * p, d - 8, 0.22 * h, v->pedicle_half + 2.4, 0.3 * h},
                                         {p, d - 1, 0.2 * h, v->pedicle_half, 0.27 * h},
                                         {p, d + 4, 0.19 * h, v->pedicle_half + 0.2, 0.27 * h},
                                         {p, d + 9, 0.15 * h, v->pedicle_half + 0.8, 0.25 * h}};
    const struct kf_station lamina[] = {{p - 0.5, d + 9, 0.1 * h, 4, 6.5},
                                        {0.72 * p, d + c + 5, -0.06 * h, 3.2, 0.3 * h},
                                        {0.36 * p, d + 2 * c + 0.6, -0.16 * h, 3, 0.31 * h},
                                        {0, d + 2 * c + 4.2, -0.22 * h, 3.2, 0.29 * h}};
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, pedicle, 4, KF_V(0, 0, 1), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 2.5);
    kf_scene_tube(s, KF_UNION, 0, lamina, 4, KF_V(0, 0, 1), 0.9, 0, 4);
}

static void spinous(struct kf_scene *s, const struct kf_vertebra *v, int i)
{
    double y = v->half_depth + 2 * v->canal_y + 3, h = v->height;
    double slope = i == 0 ? 0.85 : i == 1 ? 0.6 : i == 2 ? 0.3 : 0.1; // thoracic ones point down
    double reach = i < 3 ? 22 + 2 * i : i == 7 ? 22 : 29;
    double tall = i < 2 ? 0.2 * h : i == 7 ? 0.28 * h : 0.36 * h;
    const struct kf_station blade[] = {{0, y, -0.2 * h, 3.4, 0.28 * h},
                                       {0, y + 0.5 * reach, -0.26 * h - 0.5 * slope * reach, 2.7, 0.85 * tall},
                                       {0, y + reach, -0.3 * h - slope * reach, 3.6, tall}};
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, blade, 3, KF_V(0, slope, 1), 0.9, 0, 4);
}

// Wings like a sacrum's: a fifth lumbar vertebra that is half a part of it (Castellvi 1984, type III).
static void wing(struct kf_scene *s, const struct kf_vertebra *v)
{
    double d = v->half_depth;
    const struct kf_station ala[] = {
        {v->pedicle_x, d - 12, 0.1 * v->height, 9, 11}, {34, d - 7, -2, 11, 12}, {48, d, -8, 10, 12}};
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_tube(s, KF_UNION, 0, ala, 3, KF_V(0, 0, 1), 1, 0, 4);
}

static void transverse(struct kf_scene *s, const struct kf_vertebra *v, int i)
{
    static const double reach[8] = {25, 23, 20, 34, 39, 44, 40, 38};
    double d = v->half_depth, h = v->height, p = v->pedicle_x;
    kf_scene_group(s, KF_UNION, 2.5);
    if (i < 3) { // clubs; T12 has three small tubercles
        double r = i == 2 ? 3 : 3.8;
        kf_scene_cone(s, KF_UNION, 0, KF_V(p, d + 9, 0.15 * h), KF_V(reach[i], d + 16 - 2 * i, 0.16 * h), r + 1.2, r);
        if (i == 2)
            kf_scene_cone(s, KF_UNION, 1, KF_V(p + 2, d + 12, 0.1 * h), KF_V(p + 3, d + 16, 0.42 * h), 3, 2.4);
        return;
    }
    double thick = i == 7 ? 5.5 : 2.6, tall = i == 7 ? 7.5 : 5;
    const struct kf_station wing[] = {{p + 1, d + 5, 0.14 * h, thick + 1.6, tall + 1},
                                      {0.5 * (p + reach[i]), d + 8, 0.12 * h, thick, tall},
                                      {reach[i], d + (i == 7 ? 6 : 11), 0.16 * h, thick - 0.6, tall - 1.4}};
    kf_scene_tube(s, KF_UNION, 0, wing, 3, KF_V(0, 0, 1), 1, 0, 4);
    kf_scene_cone(s, KF_UNION, 1.5, KF_V(p + 4, d + 10, 0.16 * h), KF_V(p + 6, d + 14.5, 0.26 * h), 3,
                  2); // mammillary process
}

// The canal through the bone: what the vertebrae leave free.
static void cut_canal(struct kf_anatomy *a, const struct kf_spine *spine, int from, int to)
{
    struct kf_station path[KF_LEVELS * 2];
    int n = 0;
    for (double at = from; at <= to + 0.01; at += 0.5, n++) {
        int i = (int)(at + 0.5);
        struct kf_v3 p = kf_spine_canal(spine, at);
        path[n] = station(p, spine->v[i].canal_x, spine->v[i].canal_y);
    }
    kf_scene_group(&a->scene, KF_SUBTRACT, 1.5);
    kf_scene_tube(&a->scene, KF_UNION, 0, path, n, KF_V(0, 1, 0), 1, 0, 3);
}

static void landmarks(struct kf_anatomy *a, const struct kf_vertebra *v)
{
    double h = 0.5 * v->height;
    kf_anatomy_landmark(a, v->label, KF_V(0, 0, 0), "%s_centre", v->name);
    kf_anatomy_surface(a, v->label, KF_V(0, 0, h + 6), KF_V(0, 0, 0), "%s_upper_plate", v->name);
    kf_anatomy_surface(a, v->label, KF_V(0, 0, -h - 6), KF_V(0, 0, 0), "%s_lower_plate", v->name);
    kf_anatomy_landmark(a, v->label, KF_V(v->pedicle_x, v->half_depth + 2, 0.2 * v->height), "%s_pedicle_left",
                        v->name);
    kf_anatomy_landmark(a, v->label, KF_V(-v->pedicle_x, v->half_depth + 2, 0.2 * v->height), "%s_pedicle_right",
                        v->name);
    kf_anatomy_surface(a, v->label,
                       KF_V(0, 90,
                            -0.34 * v->height - (v->label < KF_L_T12    ? 16
                                                 : v->label == KF_L_T12 ? 8
                                                                        : 2)),
                       KF_V(0, 20, -0.34 * v->height), "%s_spinous_tip", v->name);
}

static void rib(struct kf_anatomy *a, const struct kf_vertebra *v, int i)
{
    struct kf_scene *s = &a->scene;
    double w = v->half_width, d = v->half_depth, h = v->height;
    const struct kf_station path[] = {{w + 6.4, d - 4.5, 0.27 * h, 3.2, 4.2}, {w + 12.5, d + 1, 0.22 * h, 2.8, 3.8},
                                      {w + 20, d + 7, 0.1 * h, 3, 4.4},       {w + 36, d + 10, -0.3 * h, 3.2, 5},
                                      {w + 56, d + 4, -0.9 * h, 3.2, 5.4},    {w + 72, d - 10, -1.5 * h, 3.2, 5.4}};
    char name[8];
    snprintf(name, sizeof name, "Rib %d", 10 + i);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_part(s, name, KF_L_RIB_T10 + i, KF_T_BONE);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, path, i >= 2 ? 4 : 6, KF_V(0, 0, 1), 1, 0, 4);
    }
    s->frame.side = 1;
}

void kf_build_vertebrae(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    struct kf_frame home = s->frame;
    for (int i = KF_LEVELS - 2; i >= 0; i--) {
        const struct kf_vertebra *v = &spine->v[i];
        struct kf_frame own = home;
        own.origin = v->origin;
        own.axes = v->axes;
        struct kf_sdf_part *part = kf_scene_part(s, v->name, v->label, KF_T_VERTEBRA);
        part->rough = 0.3;
        part->rough_wavelength = 6;
        s->frame = own;
        body(a, v);
        for (int side = -1; side <= 1; side += 2) {
            s->frame.side = side;
            pedicle_and_lamina(s, v);
            transverse(s, v, i);
            if (a->sacralised && i == 7)
                wing(s, v);
        }
        s->frame.side = 1;
        spinous(s, v, i);
        s->frame = home;
        for (int side = -1; side <= 1; side += 2) {
            lower_process(s, spine, i, side);
            if (i > 0)
                upper_process(s, spine, i - 1, side, KF_UNION, 2.5, 0);
        }
        cut_canal(a, spine, i > 0 ? i - 1 : 0, i + 1);
        for (int side = -1; side <= 1; side += 2) {
            upper_process(s, spine, i, side, KF_SUBTRACT, 0.3, JOINT_SPACE_MM);
            if (i > 0)
                lower_tip(s, spine, i - 1, side);
        }
        s->frame = own;
        landmarks(a, v);
        if (i < (a->eleven_ribs ? 2 : a->lumbar_rib ? 4 : 3))
            rib(a, v, i);
    }
    s->frame = home;
}

// Fused bodies of the sacrum; those of the upper plate and the foramina are taken off later.
static void sacral_column(struct kf_scene *s, const struct kf_vertebra *v, enum kf_sdf_op op, double grow)
{
    double h = 0.5 * v->height, w = v->half_width, d = v->half_depth;
    const struct kf_station column[] = {{0, 0, h, w, d},
                                        {0, 0.5, 0.6 * h, 0.94 * w, 0.92 * d},
                                        {0, 3, -h, 0.78 * w, 0.62 * d},
                                        {0, 9, -h - 22, 0.62 * w, 0.46 * d},
                                        {0, 11, -h - 42, 0.5 * w, 0.38 * d},
                                        {0, 7, -h - 60, 0.42 * w, 0.32 * d},
                                        {0, -3, -h - 76, 0.34 * w, 0.28 * d}};
    kf_scene_group(s, op, 0);
    kf_scene_grow(s, grow);
    kf_scene_tube(s, KF_UNION, 0, column, 7, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START, 4);
    if (op == KF_SUBTRACT)
        return;
    kf_scene_group(s, KF_SUBTRACT, 2);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1, h + 2.4), KF_V(0.78 * w, 0.74 * d, 3.6), none);
}

void kf_sacral_mass(struct kf_scene *s, const struct kf_vertebra *v, enum kf_sdf_op op, double grow)
{
    double h = 0.5 * v->height, d = v->half_depth;
    sacral_column(s, v, op, grow);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station ala[] = {{16, 4, 0.25 * h, 11, 13}, {32, 9, -2, 12, 14}, {46, 17, -10, 11, 16}};
        const struct kf_station lateral[] = {
            {45, 19, -10, 11, 12}, {40, 23, -28, 9, 9}, {30, 24, -48, 7, 7}, {20, 19, -68, 6, 5}, {10, 8, -86, 5, 4}};
        kf_scene_group(s, op, 6);
        kf_scene_grow(s, grow);
        kf_scene_tube(s, KF_UNION, 0, ala, 3, KF_V(0, 0, 1), 1, 0, 4);
        kf_scene_group(s, op, 5);
        kf_scene_grow(s, grow);
        kf_scene_tube(s, KF_UNION, 0, lateral, 5, KF_V(0, 1, 0), 1, 0, 4);
        kf_scene_group(s, op, 4); // laminae and intermediate crest
        kf_scene_grow(s, grow);
        const struct kf_station crest[] = {
            {20, d + 8, 0.2 * h, 5, 8}, {17, d + 13, -14, 5, 9}, {14, d + 15, -34, 4, 9}, {11, d + 10, -54, 3.5, 7}};
        kf_scene_tube(s, KF_UNION, 0, crest, 4, KF_V(0, 0, 1), 1, 0, 4);
    }
    s->frame.side = 1;
    const struct kf_station web[] = {
        {0, 4, -4, 40, 7}, {0, 12, -24, 38, 6}, {0, 14, -46, 29, 5}, {0, 8, -68, 18, 4.5}, {0, 0, -82, 11, 4}};
    kf_scene_group(s, op, 4); // what joins the bodies to the lateral masses, pierced by the foramina
    kf_scene_grow(s, grow);
    kf_scene_tube(s, KF_UNION, 0, web, 5, KF_V(0, 1, 0.2), 1, 0, 4);
}

// The sacrum in the frame of S1: five fused bodies on a curve, alae, crests, foramina.
static void sacral_body(struct kf_anatomy *a, const struct kf_vertebra *v)
{
    struct kf_scene *s = &a->scene;
    double d = v->half_depth;
    kf_sacral_mass(s, v, KF_UNION, 0);
    const struct kf_station back[] = {{0, d + 2 * v->canal_y + 2, -2, 15, 3.5},
                                      {0, d + 2 * v->canal_y + 3, -18, 14, 3.6},
                                      {0, d + 2 * v->canal_y + 1, -38, 12, 3.4},
                                      {0, d + 2 * v->canal_y - 6, -58, 9, 3}};
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_tube(s, KF_UNION, 0, back, 4, KF_V(0, 1, 0), 0.9, 0, 4);
    for (int n = 0; n < 3; n++) { // median crest
        kf_scene_group(s, KF_UNION, 3);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, d + 2 * v->canal_y + 7 - 1.5 * n, -8 - 20 * n), KF_V(2.6, 7 - n, 7),
                           none);
    }
}

static void sacral_holes(struct kf_anatomy *a, const struct kf_vertebra *v)
{
    struct kf_scene *s = &a->scene;
    double d = v->half_depth;
    const struct kf_station canal[] = {{0, d + v->canal_y - 1.5, 30, v->canal_x, v->canal_y},
                                       {0, d + v->canal_y - 1.5, 4, v->canal_x, v->canal_y},
                                       {0, d + v->canal_y - 1, -16, 11, 7},
                                       {0, d + v->canal_y - 2, -36, 8, 5},
                                       {0, d + v->canal_y - 7, -58, 5, 3.5}};
    kf_scene_group(s, KF_SUBTRACT, 1);
    kf_scene_tube(s, KF_UNION, 0, canal, 5, KF_V(0, 1, 0), 1, 0, 4);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        for (int n = 0; n < 4; n++) { // foramina, in front and behind, out of the canal
            double z = -13 - 19 * n, x = 19 - 2.2 * n, y = 6 + 3 * n - (n == 3 ? 6 : 0);
            const struct kf_station front[] = {{x + 8, y - 16, z - 8, 6 - 0.6 * n, 7 - 0.8 * n},
                                               {x, y + 2, z, 4.6 - 0.4 * n, 5 - 0.4 * n},
                                               {8 - n, d + v->canal_y + 1.5 * n, z + 6, 3.4, 3.6}};
            kf_scene_group(s, KF_SUBTRACT, 1);
            kf_scene_tube(s, KF_UNION, 0, front, 3, KF_V(0, 0, 1), 1, 0, 3);
            kf_scene_group(s, KF_SUBTRACT, 1);
            kf_scene_cone(s, KF_UNION, 0, KF_V(x, y + 4, z), KF_V(x + 1, y + 50, z - 6), 3, 3.2);
        }
    }
    s->frame.side = 1;
}

void kf_build_sacrum(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    struct kf_frame home = s->frame;
    const struct kf_vertebra *v = &spine->v[KF_LEVELS - 1];
    struct kf_sdf_part *part = kf_scene_part(s, "Sacrum", KF_L_SACRUM, KF_T_VERTEBRA);
    part->rough = 0.35;
    part->rough_wavelength = 8;
    s->frame.origin = v->origin;
    s->frame.axes = v->axes;
    sacral_body(a, v);
    s->frame = home;
    for (int side = -1; side <= 1; side += 2)
        upper_process(s, spine, KF_LEVELS - 2, side, KF_UNION, 3, 0);
    s->frame.origin = v->origin;
    s->frame.axes = v->axes;
    sacral_holes(a, v);
    kf_anatomy_landmark(a, KF_L_SACRUM, KF_V(0, 0, 4), "S1_centre");
    kf_anatomy_surface(a, KF_L_SACRUM, KF_V(0, 0, 22), KF_V(0, 0, 0), "S1_upper_plate");
    kf_anatomy_surface(a, KF_L_SACRUM, KF_V(0, -30, 0.42 * v->height), KF_V(0, 0, 0.36 * v->height),
                       "sacral_promontory");
    kf_anatomy_landmark(a, KF_L_SACRUM, KF_V(44, 16, -10), "sacral_ala_left");
    kf_anatomy_landmark(a, KF_L_SACRUM, KF_V(-44, 16, -10), "sacral_ala_right");
    s->frame = home;
}
