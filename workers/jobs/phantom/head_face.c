// The facial skeleton: orbital walls, zygomas and arches, nasal bones, ethmoid, pterygoids; the maxilla with palate and
// alveolus as its own structure. Cavities are cut after the walls are built. Frame: see head.c.
#include "workers/jobs/phantom/anatomy.h"

static const struct kf_v3 none = {0, 0, 0};

static void cut_orbits(struct kf_scene *s)
{
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station orbit[] = {
            {36, -100, 17, 21, 18}, {33, -80, 17, 19.5, 17}, {29, -60, 16.5, 15.5, 15}, {20, -38, 15, 6, 7}};
        kf_scene_group(s, KF_SUBTRACT, 1);
        kf_scene_tube(s, KF_UNION, 0, orbit, 4, KF_V(0, 0, 1), 1, 0, 4);
    }
    s->frame.side = 1;
}

static void cut_nose(struct kf_scene *s)
{
    const struct kf_station lower[] = {
        {0, -110, -10, 12, 12}, {0, -92, -9, 12.5, 13}, {0, -70, -8, 14.5, 15}, {0, -40, -9, 13.5, 14}};
    const struct kf_station upper[] = {
        {0, -104, 2, 6, 9}, {0, -90, 6, 6, 10}, {0, -78, 10, 5.5, 12}, {0, -48, 10, 5, 11}};
    kf_scene_group(s, KF_SUBTRACT, 1.5);
    kf_scene_tube(s, KF_UNION, 0, lower, 4, KF_V(0, 0, 1), 0.75, 0, 4);
    kf_scene_group(s, KF_SUBTRACT, 1.5);
    kf_scene_tube(s, KF_UNION, 0, upper, 4, KF_V(0, 0, 1), 1, 0, 4);
}

static void orbit_frame(struct kf_scene *s)
{
    const struct kf_station brow[] = {{2, -89, 33, 5, 6},
                                      {18, -88.5, 37, 5, 5},
                                      {34, -84.5, 37, 5, 4.5},
                                      {47, -76, 31, 5, 5},
                                      {51, -71, 22, 4.5, 4.5}};
    const struct kf_station lateral[] = {
        {51, -71, 24, 4.5, 4.5}, {52, -67, 14, 4, 4}, {51, -68, 3, 5, 4.5}, {49, -70, -6, 7, 7}};
    const struct kf_station lower[] = {
        {51, -69, 3, 4.5, 4}, {43, -77, -1.5, 4.5, 3.6}, {32, -81, -2, 4, 3.4}, {22, -83, 2, 3.8, 3.4}};
    const struct kf_station wall[] = {
        {52.5, -67, 13, 2.4, 14}, {45, -55, 13, 2.6, 14.5}, {36, -47, 13, 3, 13}, {27, -41, 13, 3, 11}};
    const struct kf_station roof[] = {{32, -86, 36.5, 19, 2}, {29, -66, 34, 17, 1.8}, {22, -44, 27, 10, 1.8}};
    kf_scene_group(s, KF_UNION, 8); // the frontal bone above the orbit, down into the temporal line
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(24, -74, 44), KF_V(22, 11, 10), KF_V(0, 0, 22));
    kf_scene_ellipsoid(s, KF_UNION, 8, KF_V(44, -63, 35), KF_V(8, 10, 8), KF_V(0, 0, 40));
    kf_scene_group(s, KF_UNION, 7);
    kf_scene_tube(s, KF_UNION, 0, brow, 5, KF_V(0, 0.2, 1), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_tube(s, KF_UNION, 0, lateral, 4, KF_V(0, 1, 0), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_tube(s, KF_UNION, 0, lower, 4, KF_V(0, 0, 1), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, wall, 4, KF_V(0, 0, 1), 0.9, 0, 4);
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_tube(s, KF_UNION, 0, roof, 3, KF_V(0, 0, 1), 0.9, 0, 3);
}

static void zygoma(struct kf_scene *s)
{
    const struct kf_station arch[] = {{53, -63, -8, 4.5, 8},
                                      {61, -50, -8, 2.8, 5.2},
                                      {65, -36, -6.5, 2.3, 4.2},
                                      {65.5, -22, -3.5, 2.4, 4.2},
                                      {63, -10, 0, 3.4, 4}};
    kf_scene_group(s, KF_UNION, 5);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(48, -69, -9), KF_V(10, 7, 11), KF_V(0, 0, 40));
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_tube(s, KF_UNION, 0, arch, 5, KF_V(0, 0, 1), 1, 0, 4);
}

static void pterygoids(struct kf_scene *s)
{
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_box(s, KF_UNION, 0, KF_V(18.5, -36, -13), KF_V(1.1, 7, 15), 0.9, KF_V(12, 0, -18));
    kf_scene_group(s, KF_UNION, 1.5);
    kf_scene_box(s, KF_UNION, 0, KF_V(13, -38, -13), KF_V(0.9, 6, 15), 0.8, KF_V(12, 0, 4));
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(15.5, -41, -12), KF_V(4, 3.5, 13), KF_V(10, 0, 0));
    kf_scene_group(s, KF_UNION, 1); // hamulus
    kf_scene_cone(s, KF_UNION, 0, KF_V(12.5, -39, -26), KF_V(14, -36, -30), 1.3, 0.9);
    kf_scene_group(s, KF_UNION, 4); // root at the sphenoid, greater wing below the middle fossa
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(17, -34, 2), KF_V(8, 8, 6), none);
}

static void facial_bones(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "Facial skeleton", KF_L_SKULL, KF_T_BONE);
    part->rough = 0.25;
    part->rough_wavelength = 7;
    kf_scene_group(s, KF_UNION, 0); // ethmoid block, cut into cells later
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -63, 11), KF_V(14, 24, 16), 3, none);
    kf_scene_group(s, KF_UNION, 3); // glabella and nasal root
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -86, 35), KF_V(17, 8, 13), none);
    const struct kf_station bridge[] = {{0, -85, 26, 8.5, 6.5}, {0, -88, 17, 9.5, 8}, {0, -92, 8, 11, 9}};
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, bridge, 3, KF_V(0, 1, 0.3), 1, KF_TUBE_FLAT_END, 4);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        orbit_frame(s);
        zygoma(s);
        pterygoids(s);
    }
    s->frame.side = 1;
    kf_cut_brain_cavity(s);
    cut_orbits(s);
    cut_nose(s);
    kf_scene_group(s, KF_SUBTRACT, 1); // hollow of the nasal bridge
    const struct kf_station hollow[] = {{0, -82, 20, 5, 4}, {0, -86, 14, 7.2, 6.5}, {0, -90.5, 4, 9.2, 8}};
    kf_scene_tube(s, KF_UNION, 0, hollow, 3, KF_V(0, 1, 0.3), 1, 0, 3);
}

static void nasal_skeleton(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    double bend = 1.6 * kf_anatomy_vary(a, 50);
    kf_scene_part(s, "Nasal septum and conchae", KF_L_SKULL, KF_T_PLATE);
    const struct kf_station septum[] = {{0, -86, 8, 0.55, 12}, {bend, -68, 0, 0.6, 22}, {0, -44, -6, 0.8, 17}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, septum, 3, KF_V(0, 0, 1), 0.9, 0, 4);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station lower[] = {{9.5, -84, -13, 0.7, 3}, {8.5, -66, -14, 0.8, 4.5}, {8.5, -48, -12, 0.7, 3}};
        const struct kf_station middle[] = {{5.5, -78, 2, 0.6, 4}, {6.5, -62, 0, 0.7, 6}, {6.5, -50, -2, 0.6, 4}};
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, lower, 3, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 0);
        kf_scene_tube(s, KF_UNION, 0, middle, 3, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 0); // their roots at the lateral wall
        kf_scene_box(s, KF_UNION, 0, KF_V(11.5, -66, -10.5), KF_V(3, 17, 0.5), 0.4, KF_V(0, 20, 0));
    }
    s->frame.side = 1;
}

static void maxilla(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "Maxilla", KF_L_MAXILLA, KF_T_BONE);
    part->rough = 0.25;
    part->rough_wavelength = 6;
    part->shell_scale = 0.9;
    kf_scene_group(s, KF_UNION, 0);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        kf_scene_ellipsoid(s, KF_UNION, 2, KF_V(30, -65, -14.5), KF_V(16.4, 18.6, 15), KF_V(0, 0, 14));
        kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(23, -74, -21), KF_V(12, 11, 11), none);
    }
    s->frame.side = 1;
    // Alveolar process: the arch of the upper teeth.
    struct kf_station arch[] = {{-29, -44, -32, 6.4, 8.6}, {-28, -54, -33.6, 6.4, 8.6}, {-26.5, -64, -34.5, 6, 8.8},
                                {-22, -77, -35, 5, 8.8},   {-16.5, -84.5, -35, 4.6, 9}, {-7.5, -89.5, -35, 4.2, 9.2},
                                {0, -90.8, -35, 4, 9.2},   {7.5, -89.5, -35, 4.2, 9.2}, {16.5, -84.5, -35, 4.6, 9},
                                {22, -77, -35, 5, 8.8},    {26.5, -64, -34.5, 6, 8.8},  {28, -54, -33.6, 6.4, 8.6},
                                {29, -44, -32, 6.4, 8.6}};
    double lost = kf_ridge_lost_mm(a, 0);
    for (int n = 0; n < 13; n++)
        arch[n].z += lost / 2, arch[n].along -= lost / 2;
    kf_scene_group(s, KF_UNION, 9);
    kf_scene_tube(s, KF_UNION, 0, arch, 13, KF_V(0, 0, 1), 0.8, 0, 3);
    kf_root_eminences(a, 0);
    kf_scene_group(s, KF_UNION, 3); // hard palate
    kf_scene_box(s, KF_UNION, 0, KF_V(0, -67, -25), KF_V(26, 23, 2.4), 2, KF_V(-1.5, 0, 0));
    kf_scene_group(s, KF_UNION, 2); // anterior and posterior nasal spines
    kf_scene_cone(s, KF_UNION, 0, KF_V(0, -88, -25), KF_V(0, -97.5, -24.5), 3.4, 0.9);
    kf_scene_cone(s, KF_UNION, 0, KF_V(0, -48, -25), KF_V(0, -43, -24.5), 2.2, 0.9);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const struct kf_station frontal_process[] = {
            {15, -85, -14, 4, 5}, {13.5, -86, 0, 3, 5}, {11.5, -85, 12, 2.4, 4.5}, {9.5, -84, 22, 2.4, 4}};
        const struct kf_station buttress[] = {{38, -66, -20, 6, 7}, {45, -68, -13, 6, 8}, {48, -69, -9, 5, 8}};
        kf_scene_group(s, KF_UNION, 4);
        kf_scene_tube(s, KF_UNION, 0, frontal_process, 4, KF_V(0, 1, 0), 1, 0, 3);
        kf_scene_group(s, KF_UNION, 4);
        kf_scene_tube(s, KF_UNION, 0, buttress, 3, KF_V(0, 0, 1), 1, 0, 3);
        kf_scene_group(s, KF_SUBTRACT, 4); // canine fossa
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(30, -92, -18), KF_V(9, 7, 9), none);
        const struct kf_station canal[] = {
            {30, -66, -1.5, 1.4, 1.4}, {30, -76, -4, 1.4, 1.4}, {28, -90, -10, 1.8, 1.8}};
        kf_scene_group(s, KF_SUBTRACT, 0.5); // infraorbital canal
        kf_scene_tube(s, KF_UNION, 0, canal, 3, KF_V(0, 0, 1), 1, 0, 2);
    }
    s->frame.side = 1;
    kf_scene_group(s, KF_SUBTRACT, 0.5); // incisive canal
    kf_scene_cone(s, KF_UNION, 0, KF_V(0, -83, -20), KF_V(0, -85.5, -34), 1.6, 2);
    cut_orbits(s);
    cut_nose(s);
}

static void landmarks(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_anatomy_surface(a, KF_L_SKULL, KF_V(0, -112, 25), KF_V(0, -80, 25), "nasion");
    kf_anatomy_surface(a, KF_L_SKULL, KF_V(0, -112, 36), KF_V(0, -80, 36), "glabella");
    kf_anatomy_surface(a, KF_L_MAXILLA, KF_V(0, -112, -24.5), KF_V(0, -80, -24.5), "ANS");
    kf_anatomy_landmark(a, KF_L_MAXILLA, KF_V(0, -43, -24.5), "PNS");
    kf_anatomy_surface(a, KF_L_MAXILLA, KF_V(0, -112, -31), KF_V(0, -80, -31), "A_point");
    kf_anatomy_landmark(a, 0, KF_V(0, -85.5, -33), "incisive_foramen");
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const char *word = side > 0 ? "left" : "right";
        kf_anatomy_surface(a, KF_L_SKULL, KF_V(34, -82, 8), KF_V(34, -81, -6), "orbitale_%s", word);
        kf_anatomy_landmark(a, 0, KF_V(28.5, -86, -8.5), "infraorbital_foramen_%s", word);
        kf_anatomy_landmark(a, KF_L_SKULL, KF_V(52.5, -68, 14), "lateral_orbit_%s", word);
    }
    s->frame.side = 1;
}

void kf_build_face(struct kf_anatomy *a)
{
    facial_bones(a);
    maxilla(a);
    nasal_skeleton(a);
    landmarks(a);
}
