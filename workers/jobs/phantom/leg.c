// The lower leg with knee and ankle. Canonical frame: LPS mm, origin in the middle of the tibial plafond, z up the
// leg. Built as a left leg (lateral is +x); side -1 mirrors it into a right one. Tibia 365 mm, fibula 380 mm (means of
// adult series: 360 and 370, sd 25); the fibula is behind and lateral of the tibia and nowhere touches it.
#include "workers/jobs/phantom/anatomy.h"

static const struct kf_v3 none = {0, 0, 0};

static void tube(struct kf_scene *s, double k, const struct kf_station *path, int count, int steps)
{
    kf_scene_group(s, KF_UNION, k);
    kf_scene_tube(s, KF_UNION, 0, path, count, KF_V(0, 1, 0), 1, 0, steps);
}

static void soft(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    const struct kf_station skin[] = {
        {1, 8, -40, 35, 46},  {1, 10, 0, 38, 44},  {1, 12, 50, 36, 43}, {1, 13, 110, 41, 46}, {2, 16, 190, 52, 56},
        {1, 16, 260, 57, 62}, {0, 8, 320, 56, 60}, {0, 0, 375, 60, 64}, {0, -2, 430, 66, 66}, {0, -2, 480, 72, 70}};
    const struct kf_station foot[] = {
        {0, 44, -50, 30, 24}, {0, 10, -48, 33, 28}, {-2, -40, -48, 38, 26}, {-4, -120, -56, 44, 18}};
    kf_scene_part(s, "Body", KF_L_BODY, KF_T_BODY);
    tube(s, 0, skin, 10, 5);
    kf_scene_group(s, KF_UNION, 14);
    kf_scene_tube(s, KF_UNION, 0, foot, 4, KF_V(0, 0, 1), 0.9, 0, 4);
    const struct kf_station soleus[] = {
        {4, 30, 60, 12, 9}, {6, 30, 120, 28, 18}, {6, 32, 200, 38, 22}, {8, 28, 280, 30, 15}, {16, 24, 330, 14, 8}};
    const struct kf_station medial_head[] = {{-10, 44, 130, 12, 7},
                                             {-22, 46, 190, 22, 17},
                                             {-23, 44, 260, 23, 21},
                                             {-19, 34, 330, 16, 15},
                                             {-18, 26, 400, 9, 9}};
    const struct kf_station lateral_head[] = {
        {16, 44, 140, 12, 7}, {26, 44, 200, 20, 15}, {26, 42, 265, 21, 18}, {20, 33, 330, 15, 14}, {19, 26, 400, 9, 9}};
    const struct kf_station front[] = {
        {8, -20, 20, 6, 5}, {15, -14, 80, 9, 9}, {20, -10, 160, 13, 15}, {22, -8, 250, 14, 17}, {24, -6, 320, 10, 11}};
    const struct kf_station peroneal[] = {
        {29, 18, 10, 4, 4}, {33, 14, 90, 5, 8}, {39, 10, 180, 9, 13}, {42, 12, 270, 8, 12}, {42, 12, 330, 5, 6}};
    const struct kf_station deep[] = {
        {-6, 22, 30, 12, 7}, {4, 17, 110, 15, 8}, {6, 18, 200, 17, 9}, {6, 20, 290, 16, 8}};
    const struct kf_station achilles[] = {
        {2, 48, -40, 9, 4}, {3, 45, 10, 7, 4}, {3, 46, 70, 8, 4}, {4, 48, 130, 14, 4}};
    const struct kf_station thigh[] = {{0, -4, 420, 48, 40}, {0, -4, 520, 58, 54}};
    kf_scene_part(s, "Muscles", KF_L_MUSCLE, KF_T_MUSCLE);
    tube(s, 0, soleus, 5, 5);
    tube(s, 0, medial_head, 5, 5);
    tube(s, 0, lateral_head, 5, 5);
    tube(s, 0, front, 5, 5);
    tube(s, 0, peroneal, 5, 5);
    tube(s, 0, deep, 4, 5);
    tube(s, 0, achilles, 4, 4);
    tube(s, 0, thigh, 2, 4);
    kf_scene_part(s, "Vessels", KF_LABEL_BELOW, KF_T_VESSEL);
    const struct kf_station tibial[] = {{-16, 22, -10, 2, 2},   {-8, 26, 60, 2.2, 2.2}, {2, 26, 180, 2.6, 2.6},
                                        {2, 28, 290, 3.4, 3.4}, {2, 32, 370, 4.4, 4.4}, {0, 30, 480, 4.6, 4.6}};
    const struct kf_station fibular[] = {{20, 20, 20, 1.3, 1.3},
                                         {20, 23, 110, 1.7, 1.7},
                                         {20, 24, 210, 2, 2},
                                         {8, 26, 280, 2.2, 2.2},
                                         {2, 28, 300, 2.4, 2.4}};
    const struct kf_station anterior[] = {{0, -19, 10, 1.7, 1.7},
                                          {11, -5, 120, 1.9, 1.9},
                                          {16, 4, 260, 2, 2},
                                          {10, 18, 312, 2.2, 2.2},
                                          {3, 28, 330, 2.4, 2.4}};
    tube(s, 0, tibial, 6, 5);
    tube(s, 0, fibular, 5, 5);
    tube(s, 0, anterior, 5, 5);
}

static void long_bone(struct kf_sdf_part *part, double lower, double shaft_from, double shaft_to, double upper)
{
    part->rough = 0.3;
    part->rough_wavelength = 9;
    part->shell_ends = 0.36;
    part->band[0] = lower, part->band[1] = shaft_from, part->band[2] = shaft_to, part->band[3] = upper;
}

static void tibia(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "Tibia", KF_L_TIBIA, KF_T_LONG);
    long_bone(part, 15, 80, 270, 335);
    part->shell_scale = 1.35;
    const struct kf_station shaft[] = {{-3, 0, 0, 19, 16.5},    {-3, 0, 12, 18, 16},   {-2, 1, 36, 13.5, 13.5},
                                       {-1, 2, 80, 11.6, 12},   {0, 2, 140, 12, 12.5}, {0, 3, 210, 13.2, 14},
                                       {0, 5, 275, 15.6, 16.5}, {0, 5, 318, 22, 20},   {0, 5, 342, 32, 22.5},
                                       {0, 5, 356, 36, 24},     {0, 5, 364, 36.5, 24}};
    const struct kf_station crest[] = {{-1, -7, 70, 4, 5},    {0, -10.5, 140, 4.6, 6.5}, {2, -13, 210, 5, 8},
                                       {3.5, -14, 275, 6, 9}, {4, -17, 318, 8, 8},       {4, -16, 334, 8, 6}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, shaft, 11, KF_V(0, 1, 0), 1, KF_TUBE_FLAT_START | KF_TUBE_FLAT_END, 5);
    tube(s, 6, crest, 6, 5);
    kf_scene_group(s, KF_SUBTRACT, 2); // plafond, fibular notch, the two condyles of the plateau
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-1, 1, -17), KF_V(24, 21, 19), none);
    kf_scene_group(s, KF_SUBTRACT, 3);
    kf_scene_cone(s, KF_UNION, 0, KF_V(28, 6, -10), KF_V(25.6, 8, 46), 12, 10);
    kf_scene_group(s, KF_SUBTRACT, 2); // facet of the fibular head
    kf_scene_cone(s, KF_UNION, 0, KF_V(37.5, 18, 326), KF_V(37.6, 18.5, 370), 13.2, 13.2);
    kf_scene_group(s, KF_SUBTRACT, 2);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-20, 4, 372), KF_V(15, 20, 9.5), none);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(20, 4, 372), KF_V(14.5, 18, 9), none);
    kf_scene_group(s, KF_UNION, 3); // eminence, medial malleolus
    kf_scene_cone(s, KF_UNION, 0, KF_V(-4, 4, 359), KF_V(-4, 3, 368), 4.5, 1.6);
    kf_scene_cone(s, KF_UNION, 2, KF_V(4, 5, 359), KF_V(4, 5, 367), 4.5, 1.6);
    kf_scene_group(s, KF_UNION, 4);
    kf_scene_cone(s, KF_UNION, 0, KF_V(-20.5, -2, 12), KF_V(-22, -3, -12), 7, 4.6);
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(-22, -3, -30), KF_V(-22, -3, 0), "medial_malleolus_tip");
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(-1, 1, -8), KF_V(-1, 1, 12), "tibial_plafond_centre");
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(4, -40, 324), KF_V(4, 0, 324), "tibial_tuberosity");
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(-20, 4, 380), KF_V(-20, 4, 340), "tibial_plateau_medial");
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(20, 4, 380), KF_V(20, 4, 340), "tibial_plateau_lateral");
    kf_anatomy_surface(a, KF_L_TIBIA, KF_V(-4, 3, 385), KF_V(-4, 3, 340), "tibial_eminence");
    kf_scene_part(s, "Medullary cavity of the tibia", KF_L_MARROW, KF_T_MARROW);
    const struct kf_station marrow[] = {{-1, 2, 66, 3, 3},       {-0.5, 2, 100, 6, 6}, {0, 1, 150, 6.2, 7},
                                        {0, 1.5, 210, 7.2, 8.5}, {0, 3, 262, 8, 9.5},  {0, 4, 296, 4, 5}};
    tube(s, 0, marrow, 6, 5);
}

static void fibula(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    struct kf_sdf_part *part = kf_scene_part(s, "Fibula", KF_L_FIBULA, KF_T_LONG);
    long_bone(part, 10, 60, 300, 335);
    part->shell_scale = 0.85;
    const struct kf_station shaft[] = {{27.3, 6, -18, 4.5, 6.5},  {27.3, 5.5, -8, 6.2, 8.6}, {27, 6, 6, 6.2, 8.8},
                                       {26.6, 8, 30, 5.4, 7.2},   {27, 11, 70, 5.2, 6.4},    {29.5, 14, 130, 5.6, 7},
                                       {31.5, 16, 200, 6.2, 7.4}, {34, 17, 270, 5.8, 6.8},   {36, 18, 318, 5.6, 6.2},
                                       {37.5, 18, 335, 8.5, 9},   {37.5, 18, 346, 9, 10}};
    const struct kf_station ridge[] = {
        {27, 6, 56, 0.8, 1}, {28, 6.5, 130, 1.6, 2.8}, {29, 9, 200, 1.6, 3}, {31, 11.5, 270, 1.5, 2.2}};
    const struct kf_station lateral[] = {
        {29, 13, 74, 0.8, 1}, {35, 17, 150, 2.2, 2.6}, {37, 20, 230, 2, 2.4}, {38, 20, 300, 1.6, 2}};
    tube(s, 0, shaft, 11, 5);
    tube(s, 2.5, ridge, 4, 5);
    tube(s, 2.5, lateral, 4, 5);
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_cone(s, KF_UNION, 0, KF_V(38.5, 20, 345), KF_V(38, 23, 355), 6, 3);
    kf_scene_group(s, KF_SUBTRACT, 1.5); // fossa of the malleolus
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(21, 13, -14), KF_V(3.6, 4.5, 6), none);
    kf_anatomy_surface(a, KF_L_FIBULA, KF_V(26.5, 6, -40), KF_V(26.5, 6, 0), "lateral_malleolus_tip");
    kf_anatomy_surface(a, KF_L_FIBULA, KF_V(38, 23, 375), KF_V(38, 22.5, 335), "fibular_head_apex");
    for (int i = 0; i <= 6; i++) {
        struct kf_v3 p = kf_station_point(shaft, 11, 3 + i);
        kf_anatomy_landmark(a, 0, p, "fibula_axis_%d", i);
    }
    kf_scene_part(s, "Medullary cavity of the fibula", KF_L_MARROW, KF_T_MARROW);
    const struct kf_station marrow[] = {{27.2, 11, 74, 1.3, 1.6},
                                        {29.5, 13.6, 130, 1.9, 2.5},
                                        {31.5, 15.6, 200, 2.3, 2.8},
                                        {34, 16.8, 270, 2, 2.4},
                                        {35.4, 17.6, 305, 1.3, 1.5}};
    tube(s, 0, marrow, 5, 5);
}

static void knee(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Cartilage and menisci", KF_LABEL_BELOW, KF_T_CARTILAGE);
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-20, 5, 366), KF_V(17, 22, 6), none);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(20, 5, 366), KF_V(16.5, 20, 6), none);
    struct kf_sdf_part *part = kf_scene_part(s, "Femur", KF_L_FEMUR, KF_T_LONG);
    part->shell_scale = 1.2, part->shell_ends = 0.35;
    part->band[0] = 400, part->band[1] = 470, part->band[2] = 800, part->band[3] = 900;
    const struct kf_station shaft[] = {{0, -6, 388, 34, 20},  {0, -8, 405, 36, 20},  {0, -10, 425, 28, 18},
                                       {1, -12, 455, 19, 16}, {3, -14, 500, 15, 15}, {4, -15, 540, 14, 14}};
    tube(s, 0, shaft, 6, 4);
    kf_scene_group(s, KF_UNION, 6);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-22, 4, 391), KF_V(13.5, 30, 22.5), KF_V(-12, 0, -6));
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(22, 3, 391), KF_V(13.5, 29, 22), KF_V(-12, 0, 6));
    kf_scene_group(s, KF_SUBTRACT, 4); // notch and trochlear groove
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 20, 382), KF_V(9.5, 28, 19), none);
    kf_scene_group(s, KF_SUBTRACT, 5);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(1, -36, 394), KF_V(9, 11, 24), none);
    kf_scene_part(s, "Patella", KF_L_PATELLA, KF_T_BONE);
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(1, -43, 399), KF_V(21, 8.5, 19), none);
    kf_scene_ellipsoid(s, KF_UNION, 6, KF_V(1, -42, 385), KF_V(9, 6, 12), none);
    kf_scene_part(s, "Patellar tendon", KF_LABEL_BELOW, KF_T_FLAVUM);
    const struct kf_station tendon[] = {{1, -43, 376, 12, 2.6}, {3, -36, 348, 11, 2.6}, {4, -27, 328, 9, 2.6}};
    tube(s, 0, tendon, 3, 3);
}

static void ankle(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Talus", KF_L_TALUS, KF_T_BONE);
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1, -15), KF_V(15, 21, 13), none);
    kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(-5, -26, -21), KF_V(11, 12, 9.5), none);
    kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(0, 19, -22), KF_V(8, 7, 6), none);
    kf_scene_group(s, KF_SUBTRACT, 2);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -4, -36), KF_V(7, 20, 9), none);
    kf_scene_part(s, "Calcaneus", KF_L_CALCANEUS, KF_T_BONE);
    const struct kf_station heel[] = {
        {6, -28, -41, 10, 9}, {5, -8, -41, 13, 11.5}, {3, 14, -41, 13, 14}, {2, 40, -47, 14, 16}, {2, 46, -50, 12, 13}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, heel, 5, KF_V(0, 0, 1), 0.9, 0, 4);
    kf_scene_group(s, KF_SUBTRACT, 1); // below the talus, with its joint space
    kf_scene_grow(s, 1.6);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, 1, -15), KF_V(15, 21, 13), none);
    kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(-5, -26, -21), KF_V(11, 12, 9.5), none);
    kf_scene_ellipsoid(s, KF_UNION, 5, KF_V(0, 19, -22), KF_V(8, 7, 6), none);
    struct kf_sdf_part *part = kf_scene_part(s, "Midfoot", KF_L_MIDFOOT, KF_T_BONE);
    part->shell_scale = 0.9;
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-8, -44, -25), KF_V(14, 5.5, 11), none);  // navicular
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(12, -50, -43), KF_V(11, 10.5, 10), none); // cuboid
    for (int n = 0; n < 3; n++)                                                       // cuneiforms
        kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(-18 + 11.5 * n, -60, -31 - 3 * n), KF_V(5, 9, 9), none);
    for (int n = 0; n < 5; n++) { // metatarsals, out of the picture
        double x = -21 + 11.0 * n, z = -36 - 4.0 * n;
        kf_scene_cone(s, KF_UNION, 0, KF_V(x, -77 + 3.0 * n, z), KF_V(1.35 * x, -140, z - 14), 6.5 - 0.6 * n, 4.6);
    }
}

void kf_build_leg(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    s->frame.side = a->side;
    s->frame.scale = 1 + 0.05 * kf_anatomy_vary(a, 700);
    soft(a);
    knee(a);
    ankle(a);
    tibia(a);
    fibula(a);
    s->frame.side = s->frame.scale = 1;
}
