// Skin, fat, muscles, brain, eyes. The head's frame: see head.c.
#include "workers/jobs/phantom/anatomy.h"

static const struct kf_v3 none = {0, 0, 0};

static void cranial_blobs(struct kf_scene *s, double grow)
{
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 0, 46), KF_V(71 + grow, 90 + grow, 71 + grow), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, 24, 44), KF_V(70 + grow, 66 + grow, 66 + grow), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, -40, 52), KF_V(54 + grow, 54 + grow, 58 + grow), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, 44, 8), KF_V(54 + grow, 46 + grow, 38 + grow), none);
}

static void outline(struct kf_scene *s, double in)
{
    kf_scene_group(s, KF_UNION, 0);
    cranial_blobs(s, 6 - in);
    kf_scene_group(s, KF_UNION, 22);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -54, -18), KF_V(62 - in, 46 - in, 56 - in), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, -46, -66), KF_V(53 - in, 46 - in, 38 - in), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, -80, -84), KF_V(22 - in, 18 - in, 20 - in), none);
    const struct kf_station neck[] = {
        {0, 10, -44, 57 - in, 63 - in}, {0, 8, -100, 56 - in, 58 - in}, {0, 14, -170, 62 - in, 58 - in}};
    kf_scene_group(s, KF_UNION, 20);
    kf_scene_tube(s, KF_UNION, 0, neck, 3, KF_V(0, 1, 0), 1, 0, 4);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_UNION, 12); // cheek, with the zygoma beneath
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(45, -62, -16), KF_V(24 - in, 22 - in, 30 - in), KF_V(0, 0, 20));
        kf_scene_group(s, KF_UNION, 8); // brow and lids
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(31, -77, 19), KF_V(22 - in, 17 - in, 20 - in), none);
        kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(24, -72, 36), KF_V(36 - in, 24 - in, 20 - in), KF_V(0, 0, 18));
        kf_scene_group(s, KF_UNION, 12); // temple, cheek bone and arch, jaw muscles, mastoid
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(58, -32, 20), KF_V(22 - in, 42 - in, 44 - in), none);
        kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(53, -36, -8), KF_V(20 - in, 42 - in, 28 - in), none);
        kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(50, -30, -46), KF_V(17 - in, 32 - in, 36 - in), none);
        kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(50, 12, -16), KF_V(22 - in, 26 - in, 34 - in), none);
        kf_scene_group(s, KF_UNION, 14); // below the chin
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(16, -48, -92), KF_V(28 - in, 42 - in, 20 - in), none);
    }
    s->frame.side = 1;
}

static void nose_and_lips(struct kf_scene *s)
{
    const struct kf_station ridge[] = {
        {0, -90, 28, 8, 9}, {0, -101, 12, 8, 8}, {0, -106, -1, 8.5, 8.5}, {0, -108, -10, 9, 7.5}};
    kf_scene_group(s, KF_UNION, 9);
    kf_scene_tube(s, KF_UNION, 0, ridge, 4, KF_V(0, 1, 0), 1, 0, 4);
    kf_scene_group(s, KF_UNION, 10);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -95, -43), KF_V(23, 8.5, 7), none);
    kf_scene_ellipsoid(s, KF_UNION, 2, KF_V(0, -93.5, -58), KF_V(21, 8.5, 7), none);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_UNION, 5);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(11, -100, -14), KF_V(7, 8, 7), none);
        // Auricle: a tilted plate with a rim, hollowed in front of the concha.
        kf_scene_group(s, KF_UNION, 3);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(77, 10, 4), KF_V(3.4, 15, 30), KF_V(-12, -10, 28));
        kf_scene_group(s, KF_SUBTRACT, 2);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(76, 1, 2), KF_V(5.5, 7, 12), KF_V(0, 0, 28));
        const struct kf_station canal[] = {{84, 2, -4, 4, 4}, {66, 0, -4, 3.4, 3.4}, {44, -4, -4, 3.2, 3.2}};
        kf_scene_group(s, KF_SUBTRACT, 1);
        kf_scene_tube(s, KF_UNION, 0, canal, 3, KF_V(0, 0, 1), 1, 0, 2);
        const struct kf_station nostril[] = {{7, -104, -26, 4, 5}, {6.5, -100, -15, 4, 5.5}, {6, -95, -8, 4, 8}};
        kf_scene_group(s, KF_SUBTRACT, 1);
        kf_scene_tube(s, KF_UNION, 0, nostril, 3, KF_V(0, 1, 0), 1, 0, 3);
    }
    s->frame.side = 1;
}

static void chewing_muscles(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    const struct kf_station masseter[] = {
        {58, -52, -10, 4, 10}, {57, -42, -30, 7, 14}, {54, -26, -54, 6, 13}, {51, -18, -66, 3, 9}};
    const struct kf_station temporalis[] = {
        {45, -37, -18, 3, 7}, {55, -38, 0, 6.5, 11}, {63, -34, 26, 5, 19}, {67, -22, 46, 2.5, 20}};
    const struct kf_station medial_pt[] = {{17, -38, -12, 5, 6}, {28, -32, -34, 5.5, 8}, {42, -18, -58, 4, 9}};
    const struct kf_station lateral_pt[] = {{20, -42, -4, 5, 9}, {34, -30, -6, 5.5, 8}, {46, -17, -10, 4, 4}};
    const struct kf_station scm[] = {
        {57, 14, -24, 5, 9}, {52, 2, -70, 6, 12}, {40, -18, -130, 6, 13}, {30, -34, -170, 6, 13}};
    const struct kf_station digastric[] = {
        {48, 12, -24, 4, 4}, {36, -14, -82, 4, 4}, {22, -44, -106, 3, 3}, {8, -74, -98, 4, 5}};
    kf_scene_part(s, "Muscles of mastication and neck", KF_L_MUSCLE, KF_T_MUSCLE);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct {
            const struct kf_station *path;
            int count;
        } muscles[] = {{masseter, 4}, {temporalis, 4}, {medial_pt, 3}, {lateral_pt, 3}, {scm, 4}, {digastric, 4}};
        for (unsigned i = 0; i < sizeof muscles / sizeof *muscles; i++) {
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, muscles[i].path, muscles[i].count, KF_V(0, 1, 0.2), 1, 0, 4);
        }
        kf_scene_group(s, KF_UNION, 0); // splenius and semispinalis
        const struct kf_station nape[] = {{14, 54, -30, 10, 11}, {15, 46, -70, 12, 13}, {17, 48, -170, 13, 15}};
        kf_scene_tube(s, KF_UNION, 0, nape, 3, KF_V(0, 1, 0), 1, 0, 4);
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station lateral[] = {{36, 32, -32, 8, 13}, {36, 28, -90, 10, 17}, {40, 30, -170, 11, 20}};
        kf_scene_tube(s, KF_UNION, 0, lateral, 3, KF_V(0, 1, 0), 1, 0, 4);
        kf_scene_group(s, KF_UNION, 0); // longus colli
        const struct kf_station longus[] = {{9, -10, -30, 6, 5}, {10, -9, -170, 7, 5}};
        kf_scene_tube(s, KF_UNION, 0, longus, 2, KF_V(0, 1, 0), 1, 0, 2);
    }
    s->frame.side = 1;
    kf_scene_part(s, "Tongue and floor of mouth", KF_L_MUSCLE, KF_T_MUSCLE);
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -56, -50), KF_V(21, 30, 17), none);
    kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(0, -40, -66), KF_V(20, 20, 26), none);
    kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(0, -60, -78), KF_V(18, 18, 14), none);
}

static void brain(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    for (int layer = 0; layer < 2; layer++) {
        double in = layer ? 3.2 : 0;
        struct kf_sdf_part *part = kf_scene_part(s, layer ? "Brain" : "Cerebrospinal fluid",
                                                 layer ? KF_L_BRAIN : KF_L_CSF, layer ? KF_T_BRAIN : KF_T_CSF);
        if (layer) {
            part->rough = 2.2;
            part->rough_wavelength = 10;
        }
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 0, 50), KF_V(66 - in, 84.5 - in, 62.5 - in), none);
        kf_scene_halfspace(s, KF_INTERSECT, 8, KF_V(0, -25, 24 + in), KF_V(0, -0.26, -0.97));
        kf_scene_group(s, KF_UNION, 4);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 42, 6), KF_V(52.5 - in, 42.5 - in, 32.5 - in), none);
        for (int side = -1; side <= 1; side += 2) {
            s->frame.side = side;
            kf_scene_ellipsoid(s, KF_UNION, 3, KF_V(40, -13, 18), KF_V(25.5 - in, 30.5 - in, 17.5 - in), none);
        }
        s->frame.side = 1;
        kf_scene_group(s, KF_UNION, 6); // brain stem and cord
        const struct kf_station stem[] = {{0, 6, 24, 15 - in, 12 - in},    {0, 9, 4, 16 - in, 13 - in},
                                          {0, 16, -24, 12 - in, 12 - in},  {0, 19, -50, 10.5 - in, 9 - in},
                                          {0, 20, -110, 9.5 - in, 8 - in}, {0, 24, -180, 9.5 - in, 8 - in}};
        kf_scene_tube(s, KF_UNION, 0, stem, 6, KF_V(0, 1, 0), 1, 0, 3);
        if (layer) { // longitudinal fissure and tentorium
            kf_scene_group(s, KF_SUBTRACT, 1.5);
            kf_scene_box(s, KF_UNION, 0, KF_V(0, 0, 92), KF_V(1.0, 90, 34), 0.5, none);
            kf_scene_group(s, KF_SUBTRACT, 1.5);
            kf_scene_box(s, KF_UNION, 0, KF_V(0, 56, 27), KF_V(50, 30, 1.2), 0.5, KF_V(-8, 0, 0));
        }
    }
    kf_scene_part(s, "Ventricles", KF_L_CSF, KF_T_CSF);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station lateral[] = {{6, -32, 44, 3.5, 6}, {8, -10, 54, 5, 5}, {14, 20, 52, 5, 5.5},
                                             {24, 34, 40, 6, 7},   {32, 22, 26, 3, 4}, {34, 2, 18, 2.5, 2.5}};
        kf_scene_tube(s, KF_UNION, 0, lateral, 6, KF_V(0.3, 0.2, 1), 1, 0, 3);
    }
    s->frame.side = 1;
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -4, 34), KF_V(2.2, 12, 9), none);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 28, 8), KF_V(7, 4, 8), none);
}

static void eyes(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_part(s, "Orbital fat", KF_LABEL_BELOW, KF_T_FAT);
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station cone[] = {{33, -83, 17, 19, 16.5}, {30, -66, 16.5, 17, 15.5}, {20, -37, 15, 6, 7}};
        kf_scene_tube(s, KF_UNION, 0, cone, 3, KF_V(0, 0, 1), 1, 0, 5);
        kf_scene_part(s, "Extraocular muscles", KF_L_MUSCLE, KF_T_MUSCLE);
        for (int m = 0; m < 4; m++) {
            double c = kf_cos(m * KF_PI / 2), n = kf_sin(m * KF_PI / 2);
            const struct kf_station muscle[] = {{20 + 2.5 * c, -38, 15 + 2.5 * n, 1, 1},
                                                {27 + 9.5 * c, -56, 16 + 9.5 * n, 2.6, 2.6},
                                                {31 + 12.5 * c, -75, 17 + 12.5 * n, 1.3, 1.3}};
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, muscle, 3, KF_V(0, 0.3, 1), 1, 0, 3);
        }
        kf_scene_part(s, "Optic nerve", KF_LABEL_BELOW, KF_T_NERVE);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_cone(s, KF_UNION, 0, KF_V(30, -68, 17), KF_V(19, -36, 15), 2.3, 2.1);
        kf_scene_part(s, side > 0 ? "Globe left" : "Globe right", KF_L_EYE, KF_T_GLOBE);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(32, -77.5, 17), KF_V(12.1, 12.1, 12.1), none);
        kf_scene_ellipsoid(s, KF_UNION, 1, KF_V(32.5, -84, 17), KF_V(6.6, 7, 6.6), none);
        kf_scene_part(s, "Lens", KF_L_EYE, KF_T_LENS);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(32.5, -85, 17), KF_V(4.6, 2.1, 4.6), none);
    }
    s->frame.side = 1;
}

void kf_build_head_soft(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Body", KF_L_BODY, KF_T_BODY);
    outline(s, 0);
    nose_and_lips(s);
    kf_scene_part(s, "Deep soft tissue", KF_L_BODY, KF_T_SOFT);
    outline(s, 6.5);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_part(s, "Buccal and parapharyngeal fat", KF_LABEL_BELOW, KF_T_FAT);
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station pad[] = {{40, -70, -40, 7, 9}, {44, -54, -26, 7, 10}, {40, -40, -8, 5, 8}};
        kf_scene_tube(s, KF_UNION, 0, pad, 3, KF_V(0, 1, 0.1), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(26, -16, -36), KF_V(6, 8, 18), none);
    }
    s->frame.side = 1;
    chewing_muscles(a);
    brain(a);
    eyes(a);
    if (a->table) {
        kf_scene_part(s, "Head rest", KF_L_TABLE, KF_T_TABLE);
        const struct kf_station rest[] = {
            {-82, 62, 0, 200, 5}, {-50, 98, 0, 200, 5}, {0, 110, 0, 200, 5}, {50, 98, 0, 200, 5}, {82, 62, 0, 200, 5}};
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, rest, 5, KF_V(0, 1, 0), 0.9, 0, 5);
    }
}
