// C1 to C4, the hyoid, larynx, and all air of the head: nose, sinuses, pharynx. Frame: see head.c.
#include "workers/jobs/phantom/anatomy.h"
#include <stdio.h>

static const struct kf_v3 none = {0, 0, 0};

static void atlas(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "C1", KF_L_C1, KF_T_ARCH);
    part->rough = 0.25;
    const struct kf_station front[] = {{-15, 6, -39, 3, 5},
                                       {-8, -1.5, -40, 2.8, 5},
                                       {0, -3.8, -40, 3.2, 5.6},
                                       {8, -1.5, -40, 2.8, 5},
                                       {15, 6, -39, 3, 5}};
    const struct kf_station back[] = {{-20, 16, -40, 3.4, 4.4},
                                      {-16, 30, -40, 2.6, 3.8},
                                      {0, 40, -41, 3.2, 4.4},
                                      {16, 30, -40, 2.6, 3.8},
                                      {20, 16, -40, 3.4, 4.4}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, front, 5, KF_V(0, 0, 1), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_tube(s, KF_UNION, 0, back, 5, KF_V(0, 0, 1), 1, 0, 3);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_UNION, 3);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(20, 11, -40), KF_V(7.4, 9.5, 7), KF_V(0, 0, -20));
        kf_scene_group(s, KF_UNION, 3);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(32, 14, -41), KF_V(8.5, 5.5, 4), none);
        kf_scene_group(s, KF_SUBTRACT, 1.5); // seat of the occipital condyle
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(17.5, 10, -25), KF_V(7.8, 12.5, 7.8), KF_V(0, 10, -24));
        kf_scene_group(s, KF_SUBTRACT, 0.5); // transverse foramen
        kf_scene_cone(s, KF_UNION, 0, KF_V(30.5, 13, -30), KF_V(30.5, 13, -50), 3, 3);
    }
    s->frame.side = 1;
    kf_anatomy_landmark(a, KF_L_C1, KF_V(0, -4.5, -40), "C1_anterior_tubercle");
}

static void dens(struct kf_scene *s)
{
    const struct kf_station peg[] = {
        {0, 6, -58, 6.5, 6}, {0, 5.2, -46, 4.8, 5}, {0, 5, -38, 5.2, 5.2}, {0, 5.4, -31.5, 3.4, 3.4}};
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_tube(s, KF_UNION, 0, peg, 4, KF_V(0, 1, 0), 1, 0, 3);
}

// A cervical vertebra with its body centre at (0, y, z); C2 also carries the dens.
static void cervical(struct kf_anatomy *a, int level, double y, double z)
{
    struct kf_scene *s = &a->scene;
    char name[8];
    snprintf(name, sizeof name, "C%d", level);
    struct kf_sdf_part *part = kf_scene_part(s, name, KF_L_C1 + level - 1, KF_T_ARCH);
    part->rough = 0.2;
    double half = level == 2 ? 7.6 : 6.2;
    const struct kf_station body[] = {{0, y, z + half, 9.5, 8}, {0, y, z, 8.4, 7.2}, {0, y + 0.3, z - half, 9.8, 8.2}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, body, 3, KF_V(0, 1, 0), 0.8, KF_TUBE_FLAT_START | KF_TUBE_FLAT_END, 3);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station arch[] = {{9, y + 4, z + 1, 3, 3.6},
                                          {14.5, y + 10, z, 3, 4.4},
                                          {14, y + 18, z - 1, 3, 5.6},
                                          {7, y + 27, z - 3, 2.6, 6},
                                          {0, y + 32, z - 4, 2.6, 5.4}};
        kf_scene_group(s, KF_UNION, 2);
        kf_scene_tube(s, KF_UNION, 0, arch, 5, KF_V(0, 0, 1), 0.9, 0, 3);
        // Articular pillar, cut above and below along the slope of the facets.
        kf_scene_group(s, KF_UNION, 2);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(19, y + 11, z), KF_V(6.4, 6.6, 11), KF_V(30, 0, 0));
        if (level > 2)
            kf_scene_halfspace(s, KF_INTERSECT, 1, KF_V(19, y + 11, z + 6.4), KF_V(0, 0.6, 0.8));
        kf_scene_halfspace(s, KF_INTERSECT, 1, KF_V(19, y + 11, z - 7.2), KF_V(0, -0.6, -0.8));
        if (level == 2)
            kf_scene_halfspace(s, KF_INTERSECT, 1, KF_V(19, y + 8, z + 8.2), KF_V(0.25, 0, 0.97));
        kf_scene_group(s, KF_UNION, 1.5);
        kf_scene_cone(s, KF_UNION, 0, KF_V(11, y, z), KF_V(25, y + 2, z - 3), 3.2, 2.6);
        kf_scene_cone(s, KF_UNION, 0, KF_V(18, y + 8, z), KF_V(26, y + 5, z - 3), 3, 2.6);
        kf_scene_group(s, KF_UNION, 1.5); // uncinate process
        if (level > 2)
            kf_scene_cone(s, KF_UNION, 0, KF_V(9, y + 2, z + 4), KF_V(10, y + 2.5, z + 8), 2.2, 1.2);
        else
            kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(15, y + 6, z + 4), KF_V(8.5, 8, 5), KF_V(0, 15, 0));
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        kf_scene_cone(s, KF_UNION, 0, KF_V(18.5, y + 2.5, z - 20), KF_V(18.5, y + 2.5, z + 20), 2.7, 2.7);
        kf_scene_group(s, KF_UNION, 2); // bifid spinous process
        kf_scene_cone(s, KF_UNION, 0, KF_V(0, y + 31, z - 4), KF_V(4, y + (level == 2 ? 46 : 40), z - 9), 3.6, 2.6);
    }
    s->frame.side = 1;
    if (level == 2)
        dens(s);
    kf_anatomy_landmark(a, KF_L_C1 + level - 1, KF_V(0, y, z), "C%d_body", level);
}

static void hyoid_and_larynx(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Hyoid", KF_L_HYOID, KF_T_BONE);
    const struct kf_station bow[] = {{-19, -20, -106, 1.5, 2}, {-17, -34, -108, 1.6, 2.4}, {-9, -46, -110, 2, 4},
                                     {0, -49, -110.5, 2.4, 5}, {9, -46, -110, 2, 4},       {17, -34, -108, 1.6, 2.4},
                                     {19, -20, -106, 1.5, 2}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, bow, 7, KF_V(0, 0, 1), 1, 0, 3);
    kf_anatomy_landmark(a, KF_L_HYOID, KF_V(0, -49, -110.5), "hyoid_body");
    kf_scene_part(s, "Larynx", KF_LABEL_BELOW, KF_T_CARTILAGE);
    const struct kf_station wing[] = {{-18, -14, -132, 1.4, 14},
                                      {-14, -34, -134, 1.4, 12},
                                      {0, -48, -133, 1.6, 9},
                                      {14, -34, -134, 1.4, 12},
                                      {18, -14, -132, 1.4, 14}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, wing, 5, KF_V(0, 0, 1), 0.9, 0, 3);
    kf_scene_part(s, "Epiglottis", KF_LABEL_BELOW, KF_T_CARTILAGE);
    const struct kf_station leaf[] = {{0, -27, -88, 8, 1}, {0, -33, -102, 6, 1.1}, {0, -38, -116, 3, 1.4}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, leaf, 3, KF_V(0, 1, 0), 0.9, 0, 3);
}

void kf_build_neck(struct kf_anatomy *a)
{
    atlas(a);
    cervical(a, 2, 7, -64);
    cervical(a, 3, 7.5, -83);
    cervical(a, 4, 8, -100.5);
    struct kf_scene *s = &a->scene;
    for (int d = 0; d < 2; d++) {
        kf_scene_part(s, d ? "Disc C3-C4" : "Disc C2-C3", KF_LABEL_BELOW, KF_T_ANNULUS);
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station disc[] = {{0, 7.4, d ? -89.4 : -71.8, 9.2, 7.8}, {0, 7.4, d ? -94.2 : -76.6, 9.2, 7.8}};
        kf_scene_tube(s, KF_UNION, 0, disc, 2, KF_V(0, 1, 0), 1, 3, 1);
    }
    hyoid_and_larynx(a);
}

// ---- air ----

static void sinuses(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        double v = kf_anatomy_vary(a, side > 0 ? 80 : 81);
        kf_scene_part(s, side > 0 ? "Sinuses left" : "Sinuses right", KF_L_SINUS, KF_T_AIR);
        kf_scene_group(s, KF_UNION, 0); // maxillary
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(30.2, -64.5, -14), KF_V(14, 16, 12.2), KF_V(0, 0, 14));
        kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(28, -62, -24), KF_V(9, 12, 6.5), none);
        kf_scene_group(s, KF_UNION, 0); // frontal, its scalloped top
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(8.5, -87.5, 36), KF_V(6.8, 3.4, 7.5 + 1.5 * v), none);
        kf_scene_ellipsoid(s, KF_UNION, 2, KF_V(16, -86.8, 38.5 + v), KF_V(5.4, 2.9, 5), none);
        kf_scene_group(s, KF_UNION, 0); // sphenoid
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(5.6 + v, -34, 8), KF_V(5, 10, 7.6), none);
        kf_scene_group(s, KF_UNION, 0); // ethmoid cells
        for (int c = 0; c < 10; c++) {
            int row = c / 5, column = c % 5;
            kf_scene_ellipsoid(
                s, KF_UNION, 0,
                KF_V(9.6, -80 + 8.2 * column, 7 + 9.6 * row + 1.2 * kf_anatomy_vary(a, (uint64_t)(300 + c))),
                KF_V(2.9, 3.7, 4.3), none);
        }
    }
    s->frame.side = 1;
}

static void nose_air(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Nasal airway", KF_L_AIRWAY, KF_T_AIR);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station lower[] = {{6, -95, -10, 3.4, 8},
                                           {6.8, -84, -9, 4, 11},
                                           {7.2, -66, -8, 5, 12.6},
                                           {7, -46, -9, 5.4, 11},
                                           {4, -36, -10, 5, 9}};
        const struct kf_station upper[] = {{3, -88, 5, 1.4, 8}, {2.6, -74, 9, 1.3, 10}, {2.6, -52, 8, 1.3, 9}};
        const struct kf_station nostril[] = {{7.5, -103, -27, 3.4, 4.4}, {6.6, -99, -16, 3.4, 5}, {6, -94, -9, 3.4, 8}};
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, lower, 5, KF_V(0, 0, 1), 0.9, 0, 4);
        kf_scene_group(s, KF_UNION, 1);
        kf_scene_tube(s, KF_UNION, 0, upper, 3, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 1);
        kf_scene_tube(s, KF_UNION, 0, nostril, 3, KF_V(0, 1, 0.4), 1, 0, 3);
        // Conchae with their mucosa stand in the air.
        const struct kf_station inferior[] = {
            {9.8, -84, -13, 2.4, 4}, {8.8, -66, -14, 3.6, 6}, {8.8, -48, -12, 3, 4.5}};
        const struct kf_station middle[] = {{5.6, -78, 2, 1.6, 5}, {6.6, -62, 0, 2.2, 7}, {6.6, -50, -2, 1.8, 5}};
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        kf_scene_tube(s, KF_UNION, 0, inferior, 3, KF_V(0, 0, 1), 1, 0, 4);
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        kf_scene_tube(s, KF_UNION, 0, middle, 3, KF_V(0, 0, 1), 1, 0, 4);
    }
    s->frame.side = 1;
    kf_scene_group(s, KF_SUBTRACT, 0.5);
    const struct kf_station septum[] = {
        {0, -104, -8, 1.6, 14}, {1.6 * kf_anatomy_vary(a, 50), -68, 0, 1.5, 26}, {0, -46, -6, 1.8, 20}};
    kf_scene_tube(s, KF_UNION, 0, septum, 3, KF_V(0, 0, 1), 0.9, KF_TUBE_FLAT_END, 4);
}

void kf_build_head_air(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    sinuses(a);
    nose_air(a);
    kf_scene_part(s, "Pharynx", KF_L_AIRWAY, KF_T_AIR);
    const struct kf_station pharynx[] = {{0, -37, -10, 11, 8},   {0, -27, -22, 13, 6.5}, {0, -20, -42, 10, 3.6},
                                         {0, -19, -62, 11, 4.5}, {0, -18, -84, 13, 6},   {0, -22, -104, 11, 6},
                                         {0, -24, -122, 6, 8},   {0, -24, -138, 4, 9},   {0, -24, -170, 8.5, 9}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, pharynx, 9, KF_V(0, 1, 0), 1, 0, 4);
    kf_scene_group(s, KF_SUBTRACT, 1); // the epiglottis stands free
    const struct kf_station leaf[] = {{0, -26.5, -87, 9, 1.7}, {0, -32, -100, 7, 1.9}};
    kf_scene_tube(s, KF_UNION, 0, leaf, 2, KF_V(0, 1, 0), 0.9, 0, 2);
    kf_scene_part(s, "Mouth", KF_L_AIRWAY, KF_T_AIR);
    const struct kf_station mouth[] = {{0, -84, -40, 10, 1.2}, {0, -66, -32.5, 15, 1.5}, {0, -48, -31.5, 12, 1.5}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, mouth, 3, KF_V(0, 0, 1), 1, 0, 3);
    const struct kf_station lips[] = {
        {-18, -93.5, -50.5, 1.2, 0.6}, {0, -103, -50, 2, 0.7}, {18, -93.5, -50.5, 1.2, 0.6}};
    kf_scene_tube(s, KF_UNION, 0, lips, 3, KF_V(0, 0, 1), 1, 0, 4);
}
