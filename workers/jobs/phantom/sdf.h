// Anatomy as signed distances: a scene is a list of parts, a part a sequence of groups, a group a sequence of
// primitives, each combined with what came before by a (smooth) union, difference or intersection. Distances are in
// millimetres, negative inside, near 1-Lipschitz close to the surface. A later part lies over an earlier one.
// Smooth minimum after I. Quilez, "smooth minimum" (polynomial form); the ellipsoid's first-order distance from the
// same.
//
// A scene is built by one thread through the calls of "build" below and read by many afterwards.
#ifndef KERF_PHANTOM_SDF_H
#define KERF_PHANTOM_SDF_H

#include "server/base/error.h"
#include "workers/jobs/phantom/vec.h"
#include <stdint.h>

enum kf_sdf_op { KF_UNION, KF_SUBTRACT, KF_INTERSECT };
enum kf_sdf_shape { KF_ELLIPSOID, KF_BOX, KF_SEGMENT, KF_HALFSPACE };

#define KF_SDF_FAR     1e6
#define KF_LABEL_BELOW (-1)

struct kf_sdf_prim {
    enum kf_sdf_shape shape;
    enum kf_sdf_op op;
    int group;
    double k;             // blending radius, mm
    double corner;        // BOX: edge radius, mm; SEGMENT: corner radius over the smaller radius, ≥ 1 is an ellipse
    struct kf_v3 lo, hi;  // bounds, scene mm
    struct kf_v3 a, b;    // centre (ELLIPSOID, BOX), ends (SEGMENT), a point (HALFSPACE)
    struct kf_v3 r;       // radii or half edges; SEGMENT: (ru, rv) at a
    double ru1, rv1;      // SEGMENT: at b
    struct kf_v3 u, v, w; // axes of ELLIPSOID and BOX; SEGMENT: u and v at a, w unused; HALFSPACE: u = outward normal
    struct kf_v3 u1, v1;  // SEGMENT: at b
};

struct kf_sdf_group {
    enum kf_sdf_op op;
    int part, first, count; // primitives
    double k;
    double grow; // mm added to every side
};

// How a tissue looks inside: `shell` mm of `hu_shell` under the surface, then `hu` with a texture of the given
// amplitude and wavelength, in which a `mixed` share of the room is `hu_mixed` (fat in muscle, air in mastoid cells).
struct kf_material {
    const char *name;
    double hu, hu_shell, shell_mm;
    double texture_hu, texture_mm;
    double hu_mixed, mixed, mixed_mm;
    double t2, t2_shell, t2_mixed; // T2-weighted MR intensity, 0…1000
};

struct kf_sdf_part {
    char name[40];
    int label; // of the truth; KF_LABEL_BELOW: what lies below shows
    int material;
    double rough, rough_wavelength; // surface relief, mm
    double shell_scale;             // factor on the material's shell
    double band[4], shell_ends;     // long bones: the factor is shell_ends below scene z band[0] and above band[3], and
                                    // shell_scale from band[1] to band[2]; all 0: shell_scale everywhere
    int first, count;               // groups
    struct kf_v3 lo, hi;            // bounds, scene mm
};

#define KF_SDF_PRIMS  12000
#define KF_SDF_GROUPS 4000
#define KF_SDF_PARTS  512

struct kf_frame { // local → scene: p = origin + scale · axes · (side·x, y, z)
    struct kf_v3 origin;
    struct kf_m3 axes;
    double scale, side;
};

struct kf_scene {
    struct kf_sdf_prim *prims;
    struct kf_sdf_group *groups;
    struct kf_sdf_part *parts;
    int prim_count, group_count, part_count;
    const struct kf_material *materials;
    struct kf_frame frame; // of the build calls
    float *lattice;        // 32³ uniform numbers in [−1, 1], for kf_scene_noise
    int full;              // 1: an array overflowed, the scene is unusable
};

KF_MUST_USE enum kf_status kf_scene_init(struct kf_scene *scene, const struct kf_material *materials, uint64_t seed,
                                         struct kf_error *err); // owned: kf_scene_release
void kf_scene_release(struct kf_scene *scene);

// ---- build; lengths in mm, points in the local frame ----
struct kf_v3 kf_scene_point(const struct kf_scene *scene, struct kf_v3 local); // local → scene
struct kf_sdf_part *kf_scene_part(struct kf_scene *scene, const char *name, int label, int material);
void kf_scene_group(struct kf_scene *scene, enum kf_sdf_op op, double k);
void kf_scene_grow(struct kf_scene *scene, double grow); // of the group just begun; before its first primitive
void kf_scene_ellipsoid(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 centre, struct kf_v3 radii,
                        struct kf_v3 turn_deg);
void kf_scene_box(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 centre, struct kf_v3 half,
                  double corner, struct kf_v3 turn_deg);
void kf_scene_cone(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 a, struct kf_v3 b, double ra,
                   double rb); // round ends
void kf_scene_halfspace(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 point, struct kf_v3 outward);

// One station of a swept tube: centre, radius across (along tangent × up) and radius along `up`.
struct kf_station {
    double x, y, z, across, along;
};
#define KF_TUBE_FLAT_START 1
#define KF_TUBE_FLAT_END   2

// A tube along the Catmull–Rom spline through `count` stations, `steps` pieces each. corner ≥ 1: elliptic section. A
// flat end cuts everything that its group holds so far.
void kf_scene_tube(struct kf_scene *scene, enum kf_sdf_op op, double k, const struct kf_station *stations, int count,
                   struct kf_v3 up, double corner, int flags, int steps);

// The point of the same spline at station index + fraction `at`, local frame; beyond the ends along the last piece.
struct kf_v3 kf_station_point(const struct kf_station *stations, int count, double at);

// ---- read ----
double kf_scene_noise(const struct kf_scene *scene, struct kf_v3 p, double wavelength); // in [−1, 1], C¹
// Signed distance of a part: over the primitives in list[0..n), or over all when list is NULL.
double kf_part_distance(const struct kf_scene *scene, int part, const uint16_t *list, int n, struct kf_v3 p);

#endif
