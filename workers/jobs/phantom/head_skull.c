// The cranium: vault, base with its fossae and foramina, temporal bones, zygomas, nasal bones. Frame: see head.c.
#include "workers/jobs/phantom/anatomy.h"

static const struct kf_v3 none = {0, 0, 0};

static void vault(struct kf_scene *s)
{
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 0, 46), KF_V(71, 90, 71), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, 24, 44), KF_V(70.5, 66, 66), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, -40, 52), KF_V(53, 54, 58), none);
    kf_scene_ellipsoid(s, KF_UNION, 14, KF_V(0, 44, 6), KF_V(55, 46, 38), none);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_ellipsoid(s, KF_UNION, 8, KF_V(41, -17, 17), KF_V(29, 36.5, 21), none);
    }
    s->frame.side = 1;
    // What lies below the cranial base is not skull.
    kf_scene_group(s, KF_SUBTRACT, 8);
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -46, -40), KF_V(64, 40, 40), 18, none);
    for (int side = -1; side <= 1; side += 2) { // infratemporal and temporal fossa
        s->frame.side = side;
        kf_scene_group(s, KF_SUBTRACT, 5);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(66, -56, -8), KF_V(20, 15, 32), KF_V(0, 0, 18));
    }
    s->frame.side = 1;
}

void kf_cut_brain_cavity(struct kf_scene *s)
{
    kf_scene_group(s, KF_SUBTRACT, 3);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 0, 50), KF_V(65.5, 84, 62), none);
    kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(0, 24, 45), KF_V(64.5, 60, 60), none);
    kf_scene_ellipsoid(s, KF_UNION, 10, KF_V(0, -34, 53), KF_V(48, 53, 54), none);
    kf_scene_halfspace(s, KF_INTERSECT, 10, KF_V(0, -25, 25), KF_V(0, -0.26, -0.97));
    kf_scene_group(s, KF_SUBTRACT, 4);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 42, 6), KF_V(51, 42, 32), none);
    kf_scene_group(s, KF_SUBTRACT, 4);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(40, -13, 18), KF_V(25, 30, 17), none);
    }
    s->frame.side = 1;
}

// Sphenoid, clivus, petrous ridges, temporal bone below the fossa, occipital condyles.
static void base(struct kf_scene *s)
{
    const struct kf_station clivus[] = {
        {0, -24, 16, 11, 7}, {0, -13, 2, 12, 6}, {0, -3, -16, 13, 4.5}, {0, 0, -21, 13, 3}};
    kf_scene_group(s, KF_UNION, 5);
    kf_scene_tube(s, KF_UNION, 0, clivus, 4, KF_V(0, 1, 0.4), 0.8, 0, 4);
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -32, 8), KF_V(13, 15, 12), none);
    kf_scene_group(s, KF_UNION, 2); // dorsum and tuberculum sellae
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -12.5, 20), KF_V(8, 1.8, 5), 1.5, KF_V(20, 0, 0));
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -29, 20), KF_V(10, 3, 2), 1.5, none);
    kf_scene_group(s, KF_SUBTRACT, 2); // sella turcica
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -20, 20), KF_V(7, 5.5, 5), none);
    kf_scene_group(s, KF_UNION, 2); // crista galli
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -76, 36), KF_V(1.5, 7, 6), 1.2, KF_V(-20, 0, 0));
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station petrous[] = {
            {63, 9, -2, 11, 10}, {44, 3, 0, 10, 9.5}, {26, -6, 2, 8, 7.5}, {13, -14, 3, 5, 5}};
        const struct kf_station lesser_wing[] = {{4, -33, 23, 2.5, 3}, {22, -40, 27, 1.8, 4}, {44, -48, 32, 2, 4}};
        const struct kf_station mastoid[] = {
            {58, 14, 2, 10, 14}, {57, 12, -14, 9.5, 12}, {54, 8, -27, 7, 8.5}, {52, 5, -33, 4, 5}};
        kf_scene_group(s, KF_UNION, 4);
        kf_scene_tube(s, KF_UNION, 0, petrous, 4, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 2);
        kf_scene_tube(s, KF_UNION, 0, lesser_wing, 3, KF_V(0, 1, 0), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 9);
        kf_scene_tube(s, KF_UNION, 0, mastoid, 4, KF_V(0, 1, 0), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 3); // roof of the joint, root of the arch
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(52, -13, 2), KF_V(14, 18, 7), none);
        kf_scene_group(s, KF_UNION, 3); // articular eminence
        kf_scene_cone(s, KF_UNION, 0, KF_V(61, -25, -5), KF_V(41, -23, -4), 4.3, 4);
        kf_scene_group(s, KF_UNION, 3); // occipital condyle
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(17.5, 10, -25), KF_V(6, 11, 6), KF_V(0, 10, -24));
    }
    s->frame.side = 1;
}

static void holes(struct kf_scene *s)
{
    const struct kf_station magnum[] = {
        {0, 12, 16, 14, 14}, {0, 16, -8, 15, 17}, {0, 18, -26, 15, 17.5}, {0, 20, -44, 15, 18}};
    kf_scene_group(s, KF_SUBTRACT, 2);
    kf_scene_tube(s, KF_UNION, 0, magnum, 4, KF_V(0, 1, 0), 1, 0, 3);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_SUBTRACT, 1); // mandibular fossa: the condyle and its joint space
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(50, -13, -8.5), KF_V(13, 7.6, 8.2), KF_V(0, 0, -12));
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        const struct kf_station ear[] = {{90, 3, -4.5, 4.5, 4.5}, {63, 1, -4.5, 4, 4.5}, {44, -3, -4, 3.8, 4}};
        kf_scene_tube(s, KF_UNION, 0, ear, 3, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        const struct kf_station jugular[] = {{26, 22, 2, 4, 4}, {25, 14, -12, 5, 4}, {25, 8, -30, 5, 4.5}};
        kf_scene_tube(s, KF_UNION, 0, jugular, 3, KF_V(0, 1, 0), 1, 0, 2);
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        const struct kf_station carotid[] = {
            {27, -2, -22, 3, 3}, {27, -3, -6, 2.8, 2.8}, {18, -14, 2, 2.8, 2.8}, {9, -20, 8, 2.6, 2.6}};
        kf_scene_tube(s, KF_UNION, 0, carotid, 4, KF_V(0.1, 1, 0), 1, 0, 3);
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        kf_scene_cone(s, KF_UNION, 0, KF_V(25, -20, 12), KF_V(25, -20, -14), 2.6, 2.6); // ovale
        kf_scene_cone(s, KF_UNION, 0, KF_V(33, -14, 12), KF_V(33, -14, -14), 1.3, 1.3); // spinosum
        kf_scene_cone(s, KF_UNION, 0, KF_V(14, 12, -14), KF_V(26, 3, -26), 1.8, 1.8);   // hypoglossal
        kf_scene_cone(s, KF_UNION, 0, KF_V(19, 8, 2), KF_V(32, 1, 2), 2, 2);            // internal meatus
        kf_scene_cone(s, KF_UNION, 0, KF_V(3, -24, 20), KF_V(20, -38, 16), 2.4, 2.4);   // optic canal
        kf_scene_group(s, KF_SUBTRACT, 0.5);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(42, -4, -1), KF_V(4, 3.5, 6), none); // middle ear
    }
    s->frame.side = 1;
}

static void styloids(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_group(s, KF_UNION, 1.5);
        kf_scene_cone(s, KF_UNION, 0, KF_V(45, 3, -10), KF_V(38, -8, -41 + 4 * kf_anatomy_vary(a, 40)), 2.4, 0.9);
    }
    s->frame.side = 1;
}

static void dense_and_airy(struct kf_scene *s)
{
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_part(s, "Mastoid cells", KF_L_SKULL, KF_T_CELLS);
        kf_scene_group(s, KF_UNION, 0);
        const struct kf_station cells[] = {{59, 12, 2, 6, 8}, {57, 12, -14, 6, 8.5}, {54, 8, -26, 3.6, 5}};
        kf_scene_tube(s, KF_UNION, 0, cells, 3, KF_V(0, 1, 0), 1, 0, 3);
        kf_scene_cone(s, KF_UNION, 3, KF_V(56, 8, 0), KF_V(36, 3, 2), 4.5, 2.5);
        kf_scene_part(s, "Otic capsule", KF_L_SKULL, KF_T_OTIC);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(35, 2, 2.5), KF_V(6, 5, 5), KF_V(0, 0, 30));
        kf_scene_ellipsoid(s, KF_UNION, 2, KF_V(29, -3, 1), KF_V(4, 4, 4), none);
        kf_scene_part(s, "Inner ear", KF_L_SKULL, KF_T_CSF);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(33, 0.5, 2), KF_V(2, 1.5, 2.5), none);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(29, -3, 1), KF_V(1.8, 1.8, 1.4), none);
        for (int c = 0; c < 12; c++) { // superior and lateral semicircular canal
            double t = c * KF_PI / 6, co = 3.2 * kf_cos(t), si = 3.2 * kf_sin(t);
            double t1 = t + KF_PI / 6, co1 = 3.2 * kf_cos(t1), si1 = 3.2 * kf_sin(t1);
            kf_scene_cone(s, KF_UNION, 0, KF_V(36 + 0.6 * co, 2 - 0.8 * co, 4 + si),
                          KF_V(36 + 0.6 * co1, 2 - 0.8 * co1, 4 + si1), 0.55, 0.55);
            kf_scene_cone(s, KF_UNION, 0, KF_V(37 + co, 4 + si, 2), KF_V(37 + co1, 4 + si1, 2), 0.55, 0.55);
        }
        kf_scene_part(s, side > 0 ? "Middle ear left" : "Middle ear right", KF_L_SINUS, KF_T_AIR);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(42, -3, -1), KF_V(2.6, 2.8, 5), none);
        const struct kf_station ear[] = {{90, 3, -4.5, 3.4, 3.6}, {63, 1, -4.5, 3, 3.4}, {45.6, -3, -4, 2.8, 3}};
        kf_scene_part(s, "External ear canal", KF_L_AIRWAY, KF_T_AIR);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, ear, 3, KF_V(0, 0, 1), 1, KF_TUBE_FLAT_END, 3);
    }
    s->frame.side = 1;
}

static void landmarks(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_anatomy_surface(a, KF_L_SKULL, KF_V(0, 12, -26), KF_V(0, -6, -16), "basion");
    kf_anatomy_surface(a, KF_L_SKULL, KF_V(0, 24, -30), KF_V(0, 60, -29), "opisthion");
    kf_anatomy_landmark(a, 0, KF_V(0, -20, 20), "sella");
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const char *word = side > 0 ? "left" : "right";
        kf_anatomy_landmark(a, KF_L_SKULL, KF_V(62, 1, 0.6), "porion_%s", word);
        kf_anatomy_landmark(a, KF_L_SKULL, KF_V(65.5, -27, -5), "zygion_%s", word);
        kf_anatomy_landmark(a, KF_L_SKULL, KF_V(52, 5, -36), "mastoidale_%s", word);
    }
    s->frame.side = 1;
}

void kf_build_skull(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "Skull", KF_L_SKULL, KF_T_VAULT);
    part->rough = 0.35;
    part->rough_wavelength = 9;
    vault(s);
    kf_cut_brain_cavity(s);
    base(s);
    kf_scene_group(s, KF_UNION, 6); // external occipital protuberance
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 86.5, -2), KF_V(9, 5, 5), none);
    holes(s);
    styloids(a);
    // Orbits and the nose are cut out of the vault's front here; face.c builds their walls.
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station orbit[] = {
            {36, -100, 17, 21, 18}, {33, -80, 17, 19.5, 17}, {29, -60, 16.5, 15.5, 15}, {20, -38, 15, 6, 7}};
        kf_scene_group(s, KF_SUBTRACT, 1);
        kf_scene_tube(s, KF_UNION, 0, orbit, 4, KF_V(0, 0, 1), 1, 0, 4);
    }
    s->frame.side = 1;
    dense_and_airy(s);
    landmarks(a);
}
