// The mandible: basal body, alveolar process, rami, coronoid and condylar processes, nerve canals; tumour. Frame:
// head.c.
#include "workers/jobs/phantom/anatomy.h"

static const struct kf_v3 none = {0, 0, 0};

// The middle of what --resected takes, and how the body runs there.
#define RESECTED_X        33.0
#define RESECTED_TURN_DEG -25.7

// Path of the inferior alveolar nerve, mandibular foramen to mental foramen, left side.
static const struct kf_station canal_path[] = {
    {43.6, -20, -34, 2.4, 2.4},   {45.4, -22, -41, 1.7, 1.7},   {45.3, -25, -53, 1.5, 1.5},
    {42.5, -33, -65, 1.5, 1.5},   {37, -45, -73.5, 1.5, 1.5},   {31.5, -57, -79, 1.5, 1.5},
    {26.5, -67, -81.5, 1.5, 1.5}, {26.2, -72, -80.5, 1.5, 1.5}, {30.5, -76.5, -78, 1.9, 1.9}};

// A slab across the left body, along which the body runs from (39.5, -43) to (26, -71).
// Takes the resected piece off the current part, a slab across the left body.
static void cut_resection(const struct kf_anatomy *a, struct kf_scene *s)
{
    if (!(a->resected_mm > 0) || s->frame.side < 0)
        return;
    kf_scene_group(s, KF_SUBTRACT, 0);
    kf_scene_box(s, KF_UNION, 0, KF_V(RESECTED_X, KF_RESECTED_Y, -75), KF_V(16, a->resected_mm / 2, 30), 0,
                 KF_V(0, 0, RESECTED_TURN_DEG));
}

static void body(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    const struct kf_station basal[] = {
        {-46.5, -17, -60, 4, 10.67},   {-44, -28, -68, 4.7, 10.67},    {-39.5, -43, -75.5, 5.22, 9.7},
        {-34, -58, -81.5, 5.22, 9.21}, {-26, -71, -86.5, 5.22, 8.73},  {-13.5, -79.5, -88, 5.57, 8.73},
        {0, -82, -88.5, 5.92, 8.92},   {13.5, -79.5, -88, 5.57, 8.73}, {26, -71, -86.5, 5.22, 8.73},
        {34, -58, -81.5, 5.22, 9.21},  {39.5, -43, -75.5, 5.22, 9.7},  {44, -28, -68, 4.7, 10.67},
        {46.5, -17, -60, 4, 10.67}};
    struct kf_station ridge[] = {
        {-39, -31, -58, 4, 8.37},     {-32.5, -40, -64, 5.22, 8.84}, {-28.5, -51, -68, 5.57, 9.77},
        {-25, -62, -71, 5.22, 10.23}, {-20, -74, -73, 4.26, 10.23},  {-11, -82, -74, 3.74, 10.23},
        {0, -85, -74, 3.57, 10.23},   {11, -82, -74, 3.74, 10.23},   {20, -74, -73, 4.26, 10.23},
        {25, -62, -71, 5.22, 10.23},  {28.5, -51, -68, 5.57, 9.77},  {32.5, -40, -64, 5.22, 8.84},
        {39, -31, -58, 4, 8.37}};
    kf_scene_group(s, KF_UNION, 0);
    kf_scene_tube(s, KF_UNION, 0, basal, 13, KF_V(0, 0, 1), 0.85, 0, 3);
    double lost = kf_ridge_lost_mm(a, 1);
    for (int n = 0; n < 13; n++)
        ridge[n].z -= lost / 2, ridge[n].along -= lost / 2;
    kf_scene_group(s, KF_UNION, 6);
    kf_scene_tube(s, KF_UNION, 0, ridge, 13, KF_V(0, 0, 1), 0.8, 0, 3);
    kf_root_eminences(a, 1);
    kf_scene_group(s, KF_UNION, 4); // chin
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(0, -87, -89.5), KF_V(9, 3.6, 7), none);
    kf_scene_ellipsoid(s, KF_UNION, 3, KF_V(10, -84.5, -93), KF_V(6, 4, 4), none);
    kf_scene_ellipsoid(s, KF_UNION, 3, KF_V(-10, -84.5, -93), KF_V(6, 4, 4), none);
    kf_scene_group(s, KF_UNION, 1.5); // mental spines
    kf_scene_cone(s, KF_UNION, 0, KF_V(0, -77, -88), KF_V(0, -73, -88), 1.6, 0.8);
}

static void ramus(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    double up = 0.8 * kf_anatomy_vary(a, s->frame.side > 0 ? 60 : 61);
    const struct kf_station plate[] = {{46.6, -19.5, -62, 4, 13.6},
                                       {47.6, -20.5, -50, 3.6, 15.8},
                                       {48.4, -21.5, -38, 3.3, 15.9},
                                       {48.6, -22.5, -27, 3, 15.2},
                                       {48.6, -23, -20, 2.8, 14.3}};
    const struct kf_station coronoid[] = {
        {48, -31.5, -30, 3.2, 7.5}, {47.5, -34.5, -18, 2.8, 6.4}, {47, -36, -9, 2, 4}, {46.8, -36.5, -5.5, 1.2, 2}};
    const struct kf_station neck[] = {
        {48.8, -14, -34, 3.6, 8}, {49.3, -12, -24, 4.3, 5}, {49.8, -11.2, -16, 5.8, 3.6}, {50, -12.2, -10, 8, 4}};
    kf_scene_group(s, KF_UNION, 5);
    kf_scene_tube(s, KF_UNION, 0, plate, 5, KF_V(0, 1, 0), 0.8, 0, 4);
    kf_scene_group(s, KF_UNION, 4); // angle, with its masseteric flare
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(47.8, -13.5, -62), KF_V(4.4, 8.5, 8.5), KF_V(-35, 0, 0));
    kf_scene_group(s, KF_SUBTRACT, 3); // sigmoid notch
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(48.5, -25, -12), KF_V(16, 8, 13), none);
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, coronoid, 4, KF_V(0, 1, 0), 1, 0, 4);
    kf_scene_group(s, KF_UNION, 3);
    kf_scene_tube(s, KF_UNION, 0, neck, 4, KF_V(0, 1, 0), 1, 0, 4);
    kf_scene_group(s, KF_UNION, 2);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(50, -13, -8.4 + 0.3 * up), KF_V(9.8, 4.5, 5.2), KF_V(0, 0, -12));
    kf_scene_group(s, KF_UNION, 3); // external oblique line, mylohyoid line, temporal crest
    const struct kf_station oblique[] = {
        {46, -37, -40, 2.2, 2.2}, {43, -39, -55, 2.4, 2.4}, {37.5, -48, -66, 2, 2}, {33, -58, -72, 1.2, 1.2}};
    const struct kf_station mylohyoid[] = {
        {37, -33, -60, 1.4, 1.4}, {28, -48, -71, 1.6, 1.6}, {20, -60, -77, 1.4, 1.4}};
    kf_scene_tube(s, KF_UNION, 0, oblique, 4, KF_V(0, 1, 0.1), 1, 0, 3);
    kf_scene_tube(s, KF_UNION, 0, mylohyoid, 3, KF_V(0, 0, 1), 1, 0, 3);
    kf_scene_group(s, KF_UNION, 1.5); // lingula
    kf_scene_cone(s, KF_UNION, 0, KF_V(44.4, -23.5, -38), KF_V(43.4, -23, -34), 1.6, 0.9);
    kf_scene_group(s, KF_SUBTRACT, 0.6); // the two foramina
    kf_scene_cone(s, KF_UNION, 0, KF_V(41, -19, -30), KF_V(45, -21.5, -40), 2.6, 1.6);
    kf_scene_cone(s, KF_UNION, 0, KF_V(33, -79, -77), KF_V(27, -72.5, -80.3), 2.1, 1.6);
}

// A tumour of the left body and what it has eaten of the bone, nerve canal included.
static void tumour_shape(struct kf_scene *s, enum kf_sdf_op op, double grow)
{
    kf_scene_group(s, op, 1);
    kf_scene_ellipsoid(s, KF_UNION, 0, KF_V(33, -58, -75), KF_V(12.5 + grow, 13 + grow, 12 + grow), KF_V(0, 0, 30));
    kf_scene_ellipsoid(s, KF_UNION, 4, KF_V(37.5, -48, -72), KF_V(8 + grow, 9 + grow, 7 + grow), none);
}

static void canals(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        for (int layer = 0; layer < 2; layer++) {
            struct kf_station path[9];
            for (int i = 0; i < 9; i++) {
                path[i] = canal_path[i];
                path[i].across += layer ? -0.1 : 0.6;
                path[i].along += layer ? -0.1 : 0.6;
            }
            kf_scene_part(s, layer ? "Inferior alveolar canal" : "Canal wall",
                          layer ? (side > 0 ? KF_L_CANAL_LEFT : KF_L_CANAL_RIGHT) : KF_L_MANDIBLE,
                          layer ? KF_T_NERVE : KF_T_WALL);
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_tube(s, KF_UNION, 0, path + (layer ? 0 : 2), layer ? 9 : 6, KF_V(0, 0.3, 1), 1, 0, 4);
            if (a->defect && side > 0)
                tumour_shape(s, KF_SUBTRACT, 0);
            cut_resection(a, s);
        }
        for (int i = 1; i < 8; i++)
            kf_anatomy_landmark(a, side > 0 ? KF_L_CANAL_LEFT : KF_L_CANAL_RIGHT,
                                KF_V(canal_path[i].x, canal_path[i].y, canal_path[i].z), "alveolar_canal_%s_%d",
                                side > 0 ? "left" : "right", i);
    }
    s->frame.side = 1;
}

static void tumour(struct kf_anatomy *a)
{
    struct kf_sdf_part *part = kf_scene_part(&a->scene, "Tumour", KF_L_TUMOUR, KF_T_TUMOUR);
    part->rough = 1.2;
    part->rough_wavelength = 6;
    tumour_shape(&a->scene, KF_UNION, 0.6);
    kf_anatomy_landmark(a, KF_L_TUMOUR, KF_V(33, -58, -75), "tumour_centre");
}

static void landmarks(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(0, -112, -89.5), KF_V(0, -80, -89.5), "pogonion");
    kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(0, -83, -115), KF_V(0, -83, -85), "menton");
    kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(0, -102, -109), KF_V(0, -80, -87), "gnathion");
    kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(0, -112, -78), KF_V(0, -78, -78), "B_point");
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        const char *word = side > 0 ? "left" : "right";
        kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(50, -13, 4), KF_V(50, -13, -12), "condylion_%s", word);
        kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(68, -15.2, -8.4), KF_V(48, -15.2, -8.4), "condyle_lateral_pole_%s",
                           word);
        kf_anatomy_surface(a, KF_L_MANDIBLE, KF_V(48, 4, -76), KF_V(47, -16, -58), "gonion_%s", word);
        kf_anatomy_landmark(a, KF_L_MANDIBLE, KF_V(46.8, -36.5, -5), "coronion_%s", word);
        kf_anatomy_landmark(a, 0, KF_V(29, -75.4, -79), "mental_foramen_%s", word);
        kf_anatomy_landmark(a, 0, KF_V(44, -20.5, -36), "mandibular_foramen_%s", word);
    }
    s->frame.side = 1;
}

void kf_build_mandible(struct kf_anatomy *a)
{
    struct kf_scene *s = &a->scene;
    if (a->defect)
        tumour(a);
    struct kf_sdf_part *part = kf_scene_part(s, "Mandible", KF_L_MANDIBLE, KF_T_JAW);
    part->rough = 0.25;
    part->rough_wavelength = 6;
    body(a);
    for (int side = -1; side <= 1; side += 2) {
        s->frame.side = side;
        ramus(a);
    }
    s->frame.side = 1;
    if (a->defect) {
        part->rough = 0.5; // the eaten edge
        tumour_shape(s, KF_SUBTRACT, 0);
    }
    cut_resection(a, s);
    canals(a);
    landmarks(a);
}
