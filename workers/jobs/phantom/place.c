#include "workers/jobs/phantom/place.h"

// A sum of sines with wavelengths of 130 to 260 mm: |∇u| ≤ 2π·amplitude·(1/150 + …) stays below 0.3 for 4 mm.
static struct kf_v3 warp(const struct kf_place *place, struct kf_v3 p)
{
    if (place->warp_mm <= 0)
        return KF_V(0, 0, 0);
    double a = place->warp_mm, phase[6];
    for (uint64_t i = 0; i < 6; i++)
        phase[i] = KF_PI * kf_ph_uniform(place->seed + 4242, i);
    return KF_V(a * (0.7 * kf_sin(p.z / 27 + phase[0]) + 0.3 * kf_sin(p.y / 22 + phase[1])),
                a * (0.7 * kf_sin(p.z / 33 + phase[2]) + 0.3 * kf_sin(p.x / 25 + phase[3])),
                a * (0.4 * kf_sin(p.z / 41 + phase[4]) + 0.4 * kf_sin(p.y / 30 + phase[5])));
}

struct kf_v3 kf_place_to_scene(const struct kf_place *place, struct kf_v3 p_lps)
{
    struct kf_v3 q = kf_v_sub(kf_v_sub(p_lps, place->centre), place->shift);
    q = kf_v_add(kf_m_apply_transposed(&place->turn, q), place->centre);
    return kf_v_add(q, warp(place, p_lps));
}

struct kf_v3 kf_place_to_lps(const struct kf_place *place, struct kf_v3 p)
{
    struct kf_v3 x = p;
    for (int i = 0; i < 60; i++) {
        struct kf_v3 q = kf_v_sub(kf_v_sub(p, warp(place, x)), place->centre);
        x = kf_v_add(kf_v_add(kf_m_apply(&place->turn, q), place->centre), place->shift);
    }
    return x;
}

struct kf_v3 kf_place_grid_to_scene(const void *context, struct kf_v3 p)
{
    const struct kf_place *place = context;
    double y = p.y - place->centre.y;
    p.y = place->centre.y + y * place->tilt_cosine;
    p.z += y * place->tilt_cosine * place->tilt_tangent;
    return kf_place_to_scene(place, p);
}

double kf_place_stretch(const struct kf_place *place)
{
    return (1 + 0.075 * place->warp_mm) * (1 + fabs(place->tilt_tangent));
}
