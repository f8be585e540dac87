// 32 teeth: enamel over dentine over pulp, roots in their periodontal ligament; metal fillings on request.
// Each tooth is built in its own frame: origin at the middle of the neck, +z towards the biting edge, +y outwards
// (labial, buccal), x along the arch. Sizes follow Wheeler's means (crown height, widths, root length, mm). Frame: see
// head.c.
#include "workers/jobs/phantom/anatomy.h"
#include <stdio.h>

struct tooth {
    double crown, wide, deep, root; // crown height, mesiodistal and buccolingual width, root length
    int roots, cusps;
};

static const struct tooth upper[8] = {{10.5, 8.5, 7, 13, 1, 0}, {9, 6.6, 6, 13, 1, 0},   {10, 7.6, 8, 17, 1, 1},
                                      {8.5, 7, 9, 14, 2, 2},    {8.5, 6.8, 9, 14, 1, 2}, {7.5, 10, 11, 12.5, 3, 4},
                                      {7, 9.4, 11, 11.5, 3, 4}, {6.5, 8.6, 10, 11, 1, 4}};
static const struct tooth lower[8] = {{9, 5.2, 6, 12.5, 1, 0}, {9.5, 5.6, 6.5, 14, 1, 0}, {11, 7, 7.6, 16, 1, 1},
                                      {8.5, 7, 7.5, 14, 1, 2}, {8, 7.1, 8, 14.5, 1, 2},   {7.5, 11, 10.5, 14, 2, 4},
                                      {7, 10.5, 10, 13, 2, 4}, {7, 10, 9.5, 11, 2, 4}};
// Necks of the left teeth: x, y, z.
static const double upper_neck[8][3] = {{4.3, -91.2, -44.9}, {11.8, -88.6, -44.8}, {18, -83, -44.4},
                                        {21.8, -75.8, -43},  {23.8, -68.8, -42.6}, {26, -60.2, -42},
                                        {28, -50.4, -41},    {29, -41.6, -40}};
static const double lower_neck[8][3] = {{2.7, -87.8, -61.4}, {8.2, -85.6, -61.3}, {14, -80.8, -61.6},
                                        {18.6, -74, -60.4},  {21.6, -67, -59.5},  {24.6, -57.8, -58.2},
                                        {28, -47.2, -57},    {31.6, -37.4, -55.4}};

static const struct kf_v3 none = {0, 0, 0};

#define RIDGE_LOST_MM 8.0

static void crown(struct kf_scene *s, const struct tooth *t, double in)
{
    double w = t->wide / 2 - in, d = t->deep / 2 - in, h = t->crown - in;
    kf_scene_group(s, KF_UNION, 1);
    if (t->cusps == 0) {
        const struct kf_station shovel[] = {{0, 0, -0.5, w * 0.74, d * 0.92},
                                            {0, 0.3, h * 0.35, w * 0.93, d * 0.86},
                                            {0, 0.9, h * 0.75, w, d * 0.48},
                                            {0, 1.2, h - 0.6, w * 0.97, fmax(0.7 - 0.4 * in, 0.25)}};
        kf_scene_tube(s, KF_UNION, 0, shovel, 4, KF_V(0, 1, 0), 0.8, KF_TUBE_FLAT_START, 3);
    } else if (t->cusps == 1) {
        const struct kf_station point[] = {{0, 0, -0.5, w * 0.76, d * 0.94},
                                           {0, 0.4, h * 0.4, w, d * 0.94},
                                           {0, 0.8, h * 0.75, w * 0.72, d * 0.55},
                                           {0, 1, h - 0.9, 0.8, 0.8}};
        kf_scene_tube(s, KF_UNION, 0, point, 4, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START, 3);
    } else {
        const struct kf_station drum[] = {
            {0, 0, -0.5, w * 0.82, d * 0.9}, {0, 0, h * 0.4, w, d}, {0, 0, h - 2.2, w * 0.86, d * 0.78}};
        kf_scene_tube(s, KF_UNION, 0, drum, 3, KF_V(0, 1, 0), 0.85, KF_TUBE_FLAT_START, 3);
        for (int c = 0; c < t->cusps; c++) {
            double x = t->cusps == 2 ? 0 : (c & 1 ? 0.46 : -0.46) * w, y = (c < t->cusps / 2 ? 0.45 : -0.45) * d;
            kf_scene_ellipsoid(s, KF_UNION, 0.8, KF_V(x, y, h - 2.4), KF_V(0.52 * w, 0.46 * d, 2.3), none);
        }
    }
}

static void roots(struct kf_scene *s, const struct tooth *t, double grow)
{
    double w = t->wide / 2, d = t->deep / 2, l = t->root;
    kf_scene_group(s, KF_UNION, 0.8);
    const struct kf_station trunk[] = {{0, 0, 0.8, w * 0.76 + grow, d * 0.84 + grow},
                                       {0, 0, -2.6, w * 0.72 + grow, d * 0.8 + grow}};
    kf_scene_tube(s, KF_UNION, 0, trunk, 2, KF_V(0, 1, 0), 1, 0, 2);
    for (int r = 0; r < t->roots; r++) {
        double x = 0, y = 0, rw = w * 0.72, rd = d * 0.8;
        if (t->roots == 2 && t->cusps == 4)
            x = r ? 0.5 * w : -0.5 * w, rw = w * 0.36;
        else if (t->roots == 2)
            y = r ? 0.4 * d : -0.4 * d, rd = d * 0.38;
        else if (t->roots == 3)
            x = r == 0   ? 0
                : r == 1 ? 0.45 * w
                         : -0.45 * w,
            y = r == 0 ? -0.45 * d : 0.42 * d, rw = w * 0.36, rd = d * 0.36;
        const struct kf_station taper[] = {
            {x * 0.8, y * 0.8, -2, rw + grow, rd + grow},
            {x * 1.25, y * 1.2, -0.5 * l, rw * 0.78 + grow, rd * 0.8 + grow},
            {x * 1.2 + 0.1 * w, y * 1.25, -l + 0.8, rw * 0.25 + 0.3 + grow, rd * 0.22 + 0.3 + grow}};
        kf_scene_tube(s, KF_UNION, 0, taper, 3, KF_V(0, 1, 0), 1, 0, 3);
    }
}

static void pulp(struct kf_scene *s, const struct tooth *t)
{
    double w = t->wide / 2, d = t->deep / 2, l = t->root;
    kf_scene_group(s, KF_UNION, 0.5);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 0, 0.12 * t->crown), KF_V(w * 0.34, d * 0.32, t->crown * 0.32), none);
    int n = t->roots > 1 ? t->roots : 1;
    for (int r = 0; r < n; r++) {
        double x = t->roots == 2 && t->cusps == 4 ? (r ? 0.5 * w : -0.5 * w)
                   : t->roots == 3                ? (r == 0   ? 0
                                                     : r == 1 ? 0.45 * w
                                                              : -0.45 * w)
                                                  : 0;
        double y = t->roots == 2 && t->cusps == 2 ? (r ? 0.4 * d : -0.4 * d)
                   : t->roots == 3                ? (r == 0 ? -0.45 * d : 0.42 * d)
                                                  : 0;
        kf_scene_cone(s, KF_UNION, 0, KF_V(x * 0.6, y * 0.6, -0.5), KF_V(x * 1.22, y * 1.22, -l * 0.55), 0.75, 0.5);
        kf_scene_cone(s, KF_UNION, 0, KF_V(x * 1.22, y * 1.22, -l * 0.55), KF_V(x * 1.2 + 0.1 * w, y * 1.25, -l + 1.2),
                      0.5, 0.28);
    }
}

// A rotation whose columns are the tooth's axes in the head.
static struct kf_m3 tooth_axes(struct kf_v3 out, struct kf_v3 bite)
{
    struct kf_v3 z = kf_v_unit(bite), x = kf_v_unit(kf_v_cross(out, z)), y = kf_v_cross(z, x);
    return (struct kf_m3){{x.x, y.x, z.x, x.y, y.y, z.y, x.z, y.z, z.z}};
}

static void place(struct kf_anatomy *a, int is_lower, int n, int side)
{
    struct kf_scene *s = &a->scene;
    const double(*necks)[3] = is_lower ? lower_neck : upper_neck;
    const double *p = necks[n];
    struct kf_v3 before = n ? KF_V(necks[n - 1][0], necks[n - 1][1], 0) : KF_V(-p[0], p[1], 0);
    struct kf_v3 after =
        n < 7 ? KF_V(necks[n + 1][0], necks[n + 1][1], 0) : KF_V(2 * p[0] - before.x, 2 * p[1] - before.y, 0);
    struct kf_v3 along = kf_v_unit(kf_v_sub(after, before));
    struct kf_v3 out = KF_V(-along.y, along.x, 0);
    out = out.y > 0.2 || out.x < 0 ? kf_v_scale(out, -1) : out;
    double lean[8] = {0.36, 0.3,   0.16,  0.05,
                      0,    -0.08, -0.12, -0.15}; // crowns lean outwards in front, lower molars inwards
    double tip = is_lower ? (n < 3 ? 0.22 - 0.03 * n : lean[n] * 1.4) : (n < 3 ? lean[n] : 0.06);
    tip += 0.03 * kf_anatomy_vary(a, (uint64_t)(100 + n + 10 * is_lower + 40 * (side > 0)));
    struct kf_v3 bite = KF_V(out.x * tip, out.y * tip, is_lower ? 1 : -1);
    double turn = 0.06 * kf_anatomy_vary(a, (uint64_t)(200 + n + 10 * is_lower + 40 * (side > 0)));
    out = KF_V(out.x - turn * out.y, out.y + turn * out.x, 0);
    // The frame is mirrored as a whole: axes are given for the left side, `side` mirrors local x, so mirror them here.
    struct kf_v3 origin = KF_V(side * p[0], p[1], p[2]);
    out.x *= side, bite.x *= side;
    s->frame.origin = kf_v_add(s->frame.origin, kf_m_apply(&s->frame.axes, origin));
    struct kf_m3 axes = tooth_axes(out, bite), head = s->frame.axes, both;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 3; c++)
            both.m[3 * r + c] =
                head.m[3 * r] * axes.m[c] + head.m[3 * r + 1] * axes.m[3 + c] + head.m[3 * r + 2] * axes.m[6 + c];
    s->frame.axes = both;
}

// 1: tooth n (0…7, counted from the middle) of that jaw and side (1 left, −1 right) is not there.
static int is_missing(const struct kf_anatomy *a, int is_lower, int n, int side)
{
    int quadrant = is_lower ? (side > 0 ? 3 : 4) : (side > 0 ? 2 : 1);
    if (a->missing_teeth >> (8 * (quadrant - 1) + n) & 1)
        return 1;
    if (!is_lower || side < 0)
        return 0;
    // Where the tumour is, the molars are lost; what is resected takes its teeth along.
    return (a->defect && n >= 4 && n <= 6) ||
           (a->resected_mm > 0 && fabs(lower_neck[n][1] - KF_RESECTED_Y) < 0.9 * (a->resected_mm / 2) + 4);
}

double kf_ridge_lost_mm(const struct kf_anatomy *a, int is_lower)
{
    return (a->missing_teeth >> (is_lower ? 16 : 0) & 0xffff) == 0xffff ? RIDGE_LOST_MM : 0;
}

// The bone stands out over the roots (juga alveolaria). Adds groups to the current part.
void kf_root_eminences(struct kf_anatomy *a, int is_lower)
{
    struct kf_scene *s = &a->scene;
    if ((a->missing_teeth >> (is_lower ? 16 : 0) & 0xffff) == 0xffff)
        return;
    const double(*necks)[3] = is_lower ? lower_neck : upper_neck;
    const struct tooth *sizes = is_lower ? lower : upper;
    double down = is_lower ? -1 : 1;
    kf_scene_group(s, KF_UNION, 2.5);
    for (int side = -1; side <= 1; side += 2)
        for (int n = 0; n < 8; n++) {
            if (a->missing_teeth && is_missing(a, is_lower, n, side))
                continue;
            const double *p = necks[n];
            double r = 0.5 * sizes[n].deep * (n > 4 ? 0.86 : 0.9), l = sizes[n].root, back = n < 3 ? 0.26 * l : 0;
            struct kf_v3 top = KF_V(side * p[0], p[1] + 0.3, p[2] + 2.4 * down);
            struct kf_v3 tip = KF_V(side * (p[0] - 0.3 * back), p[1] + back, p[2] + 0.72 * l * down);
            kf_scene_cone(s, KF_UNION, 0, top, tip, r, 0.62 * r);
        }
}

static void one_tooth(struct kf_anatomy *a, int is_lower, int n, int side)
{
    struct kf_scene *s = &a->scene;
    const struct tooth *t = is_lower ? &lower[n] : &upper[n];
    int fdi = (is_lower ? (side > 0 ? 30 : 40) : (side > 0 ? 20 : 10)) + n + 1;
    char name[40];
    struct kf_frame head = s->frame;
    place(a, is_lower, n, side);
    snprintf(name, sizeof name, "Ligament %d", fdi);
    kf_scene_part(s, name, KF_LABEL_BELOW, KF_T_LIGAMENT);
    roots(s, t, 0.28);
    kf_scene_group(s, KF_INTERSECT, 0);
    kf_scene_halfspace(s, KF_UNION, 0, KF_V(0, 0, -1), KF_V(0, 0, 1));
    snprintf(name, sizeof name, "Enamel %d", fdi);
    kf_scene_part(s, name, fdi, KF_T_ENAMEL);
    crown(s, t, 0);
    snprintf(name, sizeof name, "Dentine %d", fdi);
    kf_scene_part(s, name, fdi, KF_T_DENTINE);
    crown(s, t, t->cusps > 1 ? 1.3 : 0.8);
    roots(s, t, 0);
    snprintf(name, sizeof name, "Pulp %d", fdi);
    kf_scene_part(s, name, fdi, KF_T_PULP);
    pulp(s, t);
    if (a->metal && (fdi == 36 || fdi == 46 || fdi == 26 || fdi == 17 || fdi == 47)) {
        snprintf(name, sizeof name, "Filling %d", fdi);
        kf_scene_part(s, name, KF_L_METAL, KF_T_METAL);
        kf_scene_group(s, KF_UNION, 0);
        if (fdi == 46) // a full crown
            crown(s, t, -0.15);
        else
            kf_scene_box(s, KF_UNION, 0, KF_V(0, 0, t->crown - 2), KF_V(t->wide * 0.34, t->deep * 0.22, 2.2), 0.8,
                         none);
    }
    if (n == 0)
        kf_anatomy_landmark(a, fdi, KF_V(0, 1.15, t->crown - 0.4), "%s_incisal_%s", is_lower ? "L1" : "U1",
                            side > 0 ? "left" : "right");
    if (n == 5)
        kf_anatomy_landmark(a, fdi, KF_V(-0.46 * t->wide / 2, 0.45 * t->deep / 2, t->crown - 0.5), "%s_cusp_%s",
                            is_lower ? "L6" : "U6", side > 0 ? "left" : "right");
    s->frame = head;
}

void kf_build_teeth(struct kf_anatomy *a)
{
    for (int is_lower = 0; is_lower < 2; is_lower++)
        for (int side = -1; side <= 1; side += 2)
            for (int n = 0; n < 8; n++)
                if (!is_missing(a, is_lower, n, side))
                    one_tooth(a, is_lower, n, side);
}
