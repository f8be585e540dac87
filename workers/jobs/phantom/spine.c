// The spine from T10 to the sacrum with discs, canal and the soft tissue around. Canonical frame: LPS mm, origin in the
// middle of L2–L3, patient supine. Sizes follow Panjabi et al. 1991/1992 (vertebral and pedicle means) and Zhou et al.
// 2000 (discs); lordosis L1–S1 near 45°, kyphosis above T12.
#include "workers/jobs/phantom/spine.h"
#include <stdio.h>

static const struct kf_v3 none = {0, 0, 0};

//   name, label, height, half width, half depth, disc, canal x, y, pedicle x, half, facet x, facet angle, …, tilt
static const struct kf_vertebra means[KF_LEVELS] = {
    {"T10", KF_L_T10, 22.5, 15.0, 13.8, 4.6, 8.8, 8.0, 12.4, 3.3, 11.0, 78, {0, 0, 0}, {{0}}, -5, 0, 0},
    {"T11", KF_L_T11, 23.8, 16.4, 14.4, 5.2, 9.2, 8.2, 13.2, 3.9, 11.0, 66, {0, 0, 0}, {{0}}, -8, 0, 0},
    {"T12", KF_L_T12, 25.2, 18.4, 15.0, 6.2, 10.2, 8.6, 14.6, 4.1, 11.6, 34, {0, 0, 0}, {{0}}, -10, 0, 0},
    {"L1", KF_L_L1, 26.4, 20.4, 15.8, 7.6, 11.0, 8.8, 15.4, 4.0, 12.6, 26, {0, 0, 0}, {{0}}, -10, 0, 0},
    {"L2", KF_L_L2, 27.0, 21.4, 16.4, 8.8, 11.2, 8.6, 15.8, 4.3, 13.4, 30, {0, 0, 0}, {{0}}, -6, 0, 0},
    {"L3", KF_L_L3, 27.2, 22.6, 16.8, 9.8, 11.6, 8.4, 16.8, 5.0, 15.0, 36, {0, 0, 0}, {{0}}, 0, 0, 0},
    {"L4", KF_L_L4, 27.0, 23.8, 17.2, 10.8, 12.2, 8.6, 18.4, 6.0, 17.4, 44, {0, 0, 0}, {{0}}, 8, 0, 0},
    {"L5", KF_L_L5, 26.6, 25.0, 17.2, 10.4, 13.4, 9.0, 21.4, 7.8, 20.6, 52, {0, 0, 0}, {{0}}, 21, 0, 0},
    {"S1", KF_L_SACRUM, 28.0, 25.0, 16.6, 0, 14.0, 8.6, 23.0, 9.0, 0, 0, {0, 0, 0}, {{0}}, 37, 0, 0},
};

struct kf_v3 kf_spine_at(const struct kf_spine *spine, int i, double x, double y, double z)
{
    const struct kf_vertebra *v = &spine->v[i];
    return kf_v_add(v->origin, kf_m_apply(&v->axes, KF_V(x, y, z)));
}

// The axes half way between two vertebrae.
static struct kf_m3 between(const struct kf_vertebra *above, const struct kf_vertebra *below)
{
    return kf_m_euler(0.5 * (above->tilt_deg + below->tilt_deg), 0.5 * (above->roll_deg + below->roll_deg),
                      0.5 * (above->turn_deg + below->turn_deg));
}

struct kf_v3 kf_spine_disc(const struct kf_spine *spine, int i, struct kf_m3 *axes)
{
    const struct kf_vertebra *above = &spine->v[i], *below = above + 1;
    *axes = between(above, below);
    struct kf_v3 a = kf_spine_at(spine, i, 0, 0, -0.5 * above->height);
    struct kf_v3 b = kf_spine_at(spine, i + 1, 0, 0, 0.5 * below->height);
    return kf_v_mix(a, b, 0.5);
}

struct kf_v3 kf_spine_canal(const struct kf_spine *spine, double at)
{
    struct kf_station path[KF_LEVELS];
    for (int i = 0; i < KF_LEVELS; i++) {
        const struct kf_vertebra *v = &spine->v[i];
        struct kf_v3 p = kf_spine_at(spine, i, 0, v->half_depth + v->canal_y - 1.5, 0);
        path[i] = (struct kf_station){p.x, p.y, p.z, 1, 1};
    }
    return kf_station_point(path, KF_LEVELS, at);
}

// Of a scoliosis, by vertebra: lean in the coronal plane as a share of its Cobb angle, which is that between T11 and L4;
// turn about the axis as a share of the greatest, which the apex has.
static const double roll[KF_LEVELS] = {0.42, 0.5, 0.36, 0.14, -0.1, -0.33, -0.5, -0.28, 0},
                    turn[KF_LEVELS] = {0.2, 0.4, 0.7, 0.95, 1, 0.8, 0.45, 0.15, 0};
#define AXIAL 0.4 // of the Cobb angle

static void lay_vertebrae(const struct kf_anatomy *a, struct kf_spine *spine)
{
    double size = 1 + 0.04 * kf_anatomy_vary(a, 500), lordosis = 1 + 0.15 * kf_anatomy_vary(a, 501);
    for (int i = 0; i < KF_LEVELS; i++) {
        struct kf_vertebra *v = &spine->v[i];
        *v = means[i];
        double own = size * (1 + 0.015 * kf_anatomy_vary(a, (uint64_t)(510 + i)));
        v->height *= own, v->half_width *= own, v->half_depth *= own;
        v->disc *= size * (1 + 0.08 * kf_anatomy_vary(a, (uint64_t)(520 + i)));
        v->canal_x *= size, v->canal_y *= size, v->pedicle_x *= size, v->pedicle_half *= own, v->facet_x *= size;
        v->facet_deg += 4 * kf_anatomy_vary(a, (uint64_t)(530 + i));
        v->tilt_deg = v->tilt_deg * lordosis + 0.8 * kf_anatomy_vary(a, (uint64_t)(540 + i));
        // A positive tilt leans the upper plate's normal forwards: a turn about +x, which takes z to −y.
        // A scoliosis is convex to the right, where the bodies turn to as well; to the left when it is negative.
        v->roll_deg = a->scoliosis_deg * roll[i];
        v->turn_deg = -AXIAL * a->scoliosis_deg * turn[i];
        v->axes = kf_m_euler(v->tilt_deg, v->roll_deg, v->turn_deg + 1.2 * kf_anatomy_vary(a, (uint64_t)(550 + i)));
        if (i == 0)
            continue;
        const struct kf_vertebra *above = v - 1;
        struct kf_m3 half_way = between(above, v);
        struct kf_v3 p = kf_v_add(above->origin, kf_m_apply(&above->axes, KF_V(0, 0, -0.5 * above->height)));
        p = kf_v_add(p, kf_m_apply(&half_way, KF_V(0, 0, -above->disc)));
        v->origin = kf_v_add(p, kf_m_apply(&v->axes, KF_V(0, 0, -0.5 * v->height)));
    }
    struct kf_v3 middle = kf_v_mix(spine->v[4].origin, spine->v[5].origin, 0.5);
    for (int i = 0; i < KF_LEVELS; i++) {
        struct kf_v3 p = kf_v_sub(spine->v[i].origin, middle);
        spine->v[i].origin = KF_V(p.x, p.y - 34, p.z + 12); // the field of view's middle
    }
    spine->conus = 3.25 + 0.45 * kf_anatomy_vary(a, 560);
}

// A tube along the column: one station a level, in each vertebra's frame.
static void along_column(struct kf_anatomy *a, const struct kf_spine *spine, int from, int to, const double (*at)[4])
{
    struct kf_station path[KF_LEVELS];
    for (int i = from; i <= to; i++) {
        struct kf_v3 p = kf_spine_at(spine, i, at[i - from][0], spine->v[i].half_depth + at[i - from][1], 0);
        path[i - from] = (struct kf_station){p.x, p.y, p.z, at[i - from][2], at[i - from][3]};
    }
    kf_scene_group(&a->scene, KF_UNION, 0);
    kf_scene_tube(&a->scene, KF_UNION, 0, path, to - from + 1, KF_V(0, 1, 0), 1, 0, 4);
}

static void muscles(struct kf_anatomy *a, const struct kf_spine *spine)
{
    static const double erector[9][4] = {{24, 32, 21, 16}, {26, 32, 22, 17}, {29, 33, 24, 18},
                                         {31, 34, 26, 19}, {33, 34, 27, 20}, {34, 34, 27, 20},
                                         {35, 33, 26, 20}, {33, 32, 23, 17}, {27, 28, 17, 12}};
    static const double multifidus[9][4] = {{9, 26, 8, 10},   {10, 27, 8, 11},  {11, 28, 9, 11},
                                            {11, 29, 9, 12},  {12, 29, 10, 12}, {13, 29, 11, 13},
                                            {14, 29, 13, 13}, {16, 28, 15, 13}, {16, 25, 14, 10}};
    static const double psoas[6][4] = {{27, -14, 5, 6},   {31, -15, 8, 10},  {35, -16, 12, 14},
                                       {40, -18, 15, 18}, {46, -22, 18, 20}, {54, -32, 20, 20}};
    static const double quadratus[5][4] = {
        {44, 10, 6, 8}, {50, 8, 9, 9}, {56, 6, 12, 8}, {61, 4, 14, 7}, {66, 2, 12, 6}};
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Paraspinal muscles", KF_L_MUSCLE, KF_T_MUSCLE);
    for (int side = -1; side <= 1; side += 2) {
        double m[9][4];
        const struct {
            const double (*at)[4];
            int from, to;
        } list[] = {{erector, 0, 8}, {multifidus, 0, 8}, {psoas, 3, 8}, {quadratus, 3, 7}};
        for (int n = 0; n < 4; n++) {
            for (int i = 0; i <= list[n].to - list[n].from; i++)
                for (int c = 0; c < 4; c++)
                    m[i][c] = c == 0 ? side * list[n].at[i][c] : list[n].at[i][c];
            along_column(a, spine, list[n].from, list[n].to, (const double(*)[4])m);
        }
    }
}

static void abdomen(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Bowel", KF_LABEL_BELOW, KF_T_BOWEL);
    for (int n = 0; n < 9; n++) {
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0,
                           KF_V(70 * kf_anatomy_vary(a, (uint64_t)(600 + n)),
                                -86 + 8 * kf_anatomy_vary(a, (uint64_t)(620 + n)), -110 + 22 * n),
                           KF_V(30, 24, 18), KF_V(0, 0, 40 * n));
    }
    for (int side = -1; side <= 1; side += 2) {
        kf_scene_part(s, "Lung base", KF_LABEL_BELOW, KF_T_LUNG);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(74 * side, 10, 168), KF_V(46, 62, 62), none);
        kf_scene_part(s, "Kidney", KF_L_KIDNEY, KF_T_KIDNEY);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(66 * side, -18, side > 0 ? 42 : 34), KF_V(25, 21, 50),
                           KF_V(12, -10.0 * side, 0));
        kf_scene_group(s, KF_SUBTRACT, 4);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(46 * side, -26, side > 0 ? 42 : 34), KF_V(10, 9, 13), none);
    }
    static const double aorta[7][4] = {{10, -43, 9.5, 9.5}, {9, -44, 9.3, 9.3}, {8, -45, 9, 9},    {7, -46, 8.6, 8.6},
                                       {6, -47, 8.2, 8.2},  {4, -48, 8, 8},     {2, -49, 7.5, 7.5}};
    static const double cava[8][4] = {{-16, -58, 11, 9}, {-16, -54, 11, 9}, {-16, -50, 11, 9}, {-16, -48, 11, 9},
                                      {-15, -47, 11, 9}, {-15, -47, 11, 8}, {-13, -48, 11, 8}, {-9, -49, 10, 7}};
    kf_scene_part(s, "Aorta", KF_L_AORTA, KF_T_VESSEL);
    along_column(a, spine, 0, 6, aorta);
    for (int side = -1; side <= 1; side += 2) { // common iliac arteries
        struct kf_v3 p = kf_spine_at(spine, 6, 2, spine->v[6].half_depth - 49, -6),
                     q = kf_spine_at(spine, 8, 34 * side, -40, 0);
        kf_scene_group(s, KF_UNION, 2);
        kf_scene_cone(s, KF_UNION, 0, p, q, 5.5, 5);
    }
    kf_scene_part(s, "Inferior vena cava", KF_L_CAVA, KF_T_VESSEL);
    along_column(a, spine, 0, 7, cava);
}

static void discs(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    struct kf_frame home = s->frame;
    char name[40];
    for (int i = 0; i + 1 < KF_LEVELS; i++) {
        const struct kf_vertebra *v = &spine->v[i], *below = v + 1;
        s->frame.origin = kf_v_add(home.origin, kf_spine_disc(spine, i, &s->frame.axes));
        double w = 0.5 * (v->half_width + below->half_width) * 1.01,
               d = 0.5 * (v->half_depth + below->half_depth) * 1.01;
        double h = 0.5 * v->disc + 2.2;
        snprintf(name, sizeof name, "Disc %s-%s", v->name, below->name);
        kf_scene_part(s, name, KF_L_DISC_T10T11 + i, KF_T_ANNULUS);
        const struct kf_station ring[] = {
            {0, 0, h, w * 0.97, d * 0.97}, {0, 0.2, 0, w * 1.03, d * 1.03}, {0, 0, -h, w * 0.97, d * 0.97}};
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, ring, 3, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START | KF_TUBE_FLAT_END, 2);
        kf_scene_part(s, "Nucleus", KF_L_DISC_T10T11 + i, KF_T_NUCLEUS);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1.5, 0), KF_V(0.55 * w, 0.52 * d, 0.42 * v->disc + 0.8), none);
        kf_anatomy_landmark(a, KF_L_DISC_T10T11 + i, KF_V(0, 0, 0), "disc_%s_%s_centre", v->name, below->name);
    }
    s->frame = home;
}

void kf_build_spine(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_spine spine;
    lay_vertebrae(a, &spine);
    const struct kf_station trunk[] = {{0, -26, 320, 165, 122},  {0, -28, 150, 165, 118},  {0, -42, 10, 165, 118},
                                       {0, -32, -100, 166, 120}, {0, -16, -190, 168, 124}, {0, -16, -320, 168, 124}};
    kf_scene_part(s, "Body", KF_L_BODY, KF_T_BODY);
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, trunk, 6, KF_V(0, 1, 0), 1, 0, 3);
    abdomen(a, &spine);
    muscles(a, &spine);
    kf_build_neural(a, &spine);
    discs(a, &spine);
    if (a->joint_mm > 0)
        kf_build_ilia(a, &spine);
    kf_build_sacrum(a, &spine);
    kf_build_vertebrae(a, &spine);
    if (a->metal)
        kf_build_screws(a, &spine);
}
