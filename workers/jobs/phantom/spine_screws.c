// Pedicle screws of 6.5 × 45 mm and rods of 5.5 mm, as a fusion from L3 to L5 has them. The screws follow the pedicles
// and converge as Magerl's do (1984); their tips stay in the bodies. Frames: see spine.h.
#include "workers/jobs/phantom/spine.h"

#define FIRST     5 // L3 … L5
#define LAST      7
#define LENGTH_MM 45.0
#define SCREW_MM  3.25 // radii
#define HEAD_MM   6.0
#define ROD_MM    2.75

void kf_build_screws(struct kf_anatomy *a, const struct kf_spine *spine)
{
    static const double converge_deg[LAST - FIRST + 1] = {10, 13, 18};
    struct kf_scene *s = &a->scene;
    kf_scene_part(s, "Screws and rods", KF_L_METAL, KF_T_METAL);
    for (int side = -1; side <= 1; side += 2) {
        struct kf_v3 head[LAST - FIRST + 1];
        for (int i = FIRST; i <= LAST; i++) {
            const struct kf_vertebra *v = &spine->v[i];
            double angle = converge_deg[i - FIRST] * KF_PI / 180, lateral = kf_sin(angle), back = kf_cos(angle);
            double isthmus = v->half_depth + 2, behind = 12, x = v->pedicle_x; // mm from the isthmus to the entry
            struct kf_v3 entry = kf_spine_at(spine, i, side * (x + behind * lateral), isthmus + behind * back,
                                             0.2 * v->height),
                         tip = kf_spine_at(spine, i, side * (x - (LENGTH_MM - behind) * lateral),
                                           isthmus - (LENGTH_MM - behind) * back, 0.2 * v->height);
            head[i - FIRST] = kf_spine_at(spine, i, side * (x + (behind + HEAD_MM) * lateral),
                                          isthmus + (behind + HEAD_MM) * back, 0.2 * v->height);
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_cone(s, KF_UNION, 0, entry, tip, SCREW_MM, SCREW_MM);
            kf_scene_cone(s, KF_UNION, 0, entry, head[i - FIRST], SCREW_MM, HEAD_MM);
        }
        for (int n = 0; n < LAST - FIRST; n++) {
            kf_scene_group(s, KF_UNION, 0);
            kf_scene_cone(s, KF_UNION, 0, head[n], head[n + 1], ROD_MM, ROD_MM);
        }
    }
}
