// The canal's content: epidural fat, dural sac, cord with its conus, cauda equina, roots through the foramina,
// ligamentum flavum. Painted before the bone, which lies over it. Frames: see spine.h.
#include "workers/jobs/phantom/spine.h"
#include <stdio.h>

static struct kf_station on_canal(const struct kf_spine *spine, double at, double x, double y, double across,
                                  double along)
{
    struct kf_v3 p = kf_spine_canal(spine, at);
    return (struct kf_station){p.x + x, p.y + y, p.z, across, along};
}

static void sheath(struct kf_anatomy *a, const struct kf_spine *spine, double in)
{
    struct kf_station path[2 * KF_LEVELS + 2];
    int n = 0;
    double last = in > 1 ? 8.6 : 8.9; // the sac ends near S2
    for (double at = -0.9; at < last; at += 0.5, n++) {
        int i = (int)kf_clamp(at + 0.5, 0, KF_LEVELS - 1);
        double taper = at > 7.4 && in > 1 ? 0.75 : 1;
        path[n] =
            on_canal(spine, at, 0, 0, taper * (spine->v[i].canal_x - in * 1.3), taper * (spine->v[i].canal_y - in));
    }
    kf_scene_group(&a->scene, KF_UNION, 0);
    kf_scene_tube(&a->scene, KF_UNION, 0, path, n, KF_V(0, 1, 0), 1, 0, 3);
}

static void cord(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Spinal cord", KF_L_CORD, KF_T_CORD);
    double end = spine->conus;
    const struct kf_station path[] = {
        on_canal(spine, -1.2, 0, -0.5, 4.2, 3.5),      on_canal(spine, 0.2, 0, -0.3, 4.3, 3.6),
        on_canal(spine, 0.45 * end, 0, 0, 4.9, 4.1),   on_canal(spine, 0.75 * end, 0, 0.6, 4.4, 3.8),
        on_canal(spine, 0.92 * end, 0, 1.4, 2.6, 2.4), on_canal(spine, end, 0, 2, 0.9, 0.9)};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, path, 6, KF_V(0, 1, 0), 1, 0, 5);
    struct kf_v3 tip = kf_spine_canal(spine, end);
    kf_anatomy_landmark(a, KF_L_CORD, KF_V(tip.x, tip.y + 2, tip.z), "conus_tip");
}

static void cauda(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Cauda equina", KF_L_CAUDA, KF_T_ROOT);
    for (int side = -1; side <= 1; side += 2)
        for (int n = 0; n < 8;
             n++) { // from the conus to the level where the root leaves, later ones run nearer the midline
            double leave = fmin(spine->conus + 0.6 + 0.65 * n, 8.4), start = spine->conus * (0.62 + 0.03 * n),
                   x = 0.55 * (8 - n);
            double back = 1.5 + 0.35 * n;
            const struct kf_station strand[] = {
                on_canal(spine, start, side * fmin(x, 3.2), 1.2, 0.5, 0.5),
                on_canal(spine, 0.6 * start + 0.4 * leave, side * (0.8 + x * 0.75), back + 0.8, 0.75, 0.75),
                on_canal(spine, 0.3 * start + 0.7 * leave, side * (1.2 + x), back, 0.75, 0.75),
                on_canal(spine, leave, side * 5.2, -1, 0.75, 0.75)};
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, strand, 4, KF_V(0, 1, 0), 1, 0, 5);
        }
}

static void roots(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    for (int i = 0; i < KF_LEVELS - 1; i++) {
        const struct kf_vertebra *v = &spine->v[i];
        kf_scene_part(s, "Nerve roots", KF_L_ROOTS, KF_T_ROOT);
        double y = v->half_depth + v->canal_y - 2,
               low = 0.2 * v->height - 0.27 * v->height; // lower edge of the pedicle
        for (int side = -1; side <= 1; side += 2) {
            const double way[6][4] = {
                {0.45 * v->canal_x, y, 0.42 * v->height, 0.9}, {0.8 * v->canal_x, y - 1, 0.12 * v->height, 1.2},
                {v->pedicle_x - 3, y - 3, low - 3.4, 1.7},     {v->pedicle_x + 2, y - 5, low - 5, 2.7},
                {v->pedicle_x + 9, y - 8, low - 8, 1.9},       {v->pedicle_x + 20, y - 12, low - 18, 1.7}};
            struct kf_station path[6];
            for (int n = 0; n < 6; n++) {
                struct kf_v3 p = kf_spine_at(spine, i, side * way[n][0], way[n][1], way[n][2]);
                path[n] = (struct kf_station){p.x, p.y, p.z, way[n][3], way[n][3]};
            }
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, path, 6, KF_V(0, 1, 0), 1, 0, 4);
            kf_anatomy_landmark(a, KF_L_ROOTS, KF_V(path[3].x, path[3].y, path[3].z), "%s_root_%s", v->name,
                                side > 0 ? "left" : "right");
        }
    }
}

static void flavum(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    struct kf_frame home = s->frame;
    for (int i = 0; i < KF_LEVELS - 1; i++) {
        const struct kf_vertebra *v = &spine->v[i];
        kf_scene_part(s, "Ligamentum flavum", KF_L_FLAVUM, KF_T_FLAVUM);
        s->frame.origin = kf_spine_disc(spine, i, &s->frame.axes);
        double back = v->half_depth + 2 * v->canal_y - 1.5, h = 0.5 * v->disc + 8;
        for (int side = -1; side <= 1; side += 2) {
            s->frame.side = side;
            const struct kf_station sheet[] = {{1.4, back + 1.4, 0, 1.5, h},
                                               {0.45 * v->canal_x, back + 0.4, 0, 1.7, h},
                                               {0.85 * v->canal_x, back - 4.5, 0, 1.6, h - 1}};
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, sheet, 3, KF_V(0, 0, 1), 0.9, 0, 3);
        }
        s->frame.side = 1;
    }
    s->frame = home;
}

void kf_build_neural(struct kf_anatomy *a, const struct kf_spine *spine)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Epidural fat", KF_L_CANAL, KF_T_EPIDURAL);
    sheath(a, spine, -0.3);
    roots(a, spine);
    kf_scene_part(s, "Dural sac", KF_L_CAUDA, KF_T_SAC);
    sheath(a, spine, 2.2);
    cauda(a, spine);
    cord(a, spine);
    flavum(a, spine);
    for (int i = 0; i < KF_LEVELS; i++) {
        struct kf_v3 p = kf_spine_canal(spine, i);
        kf_anatomy_landmark(a, 0, p, "%s_canal", spine->v[i].name);
    }
}
