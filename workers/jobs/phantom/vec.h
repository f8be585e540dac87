// Points, rotations and counter-based random numbers for the phantom. No libm function but sqrt, fabs, floor, fmin and
// fmax is called (glibc picks others by CPU; the rest is workers/kernels/math.h), so that the same options give the
// same bytes everywhere.
#ifndef KERF_PHANTOM_VEC_H
#define KERF_PHANTOM_VEC_H

#include "workers/kernels/math.h"
#include <math.h>
#include <stdint.h>

struct kf_v3 {
    double x, y, z;
};

#define KF_V(x, y, z) ((struct kf_v3){(x), (y), (z)})

static inline struct kf_v3 kf_v_add(struct kf_v3 a, struct kf_v3 b)
{
    return KF_V(a.x + b.x, a.y + b.y, a.z + b.z);
}

static inline struct kf_v3 kf_v_sub(struct kf_v3 a, struct kf_v3 b)
{
    return KF_V(a.x - b.x, a.y - b.y, a.z - b.z);
}

static inline struct kf_v3 kf_v_scale(struct kf_v3 a, double s)
{
    return KF_V(a.x * s, a.y * s, a.z * s);
}

// a + s·b
static inline struct kf_v3 kf_v_along(struct kf_v3 a, double s, struct kf_v3 b)
{
    return KF_V(a.x + s * b.x, a.y + s * b.y, a.z + s * b.z);
}

static inline struct kf_v3 kf_v_mix(struct kf_v3 a, struct kf_v3 b, double t)
{
    return KF_V(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y), a.z + t * (b.z - a.z));
}

static inline double kf_v_dot(struct kf_v3 a, struct kf_v3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline struct kf_v3 kf_v_cross(struct kf_v3 a, struct kf_v3 b)
{
    return KF_V(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

static inline double kf_v_length(struct kf_v3 a)
{
    return sqrt(kf_v_dot(a, a));
}

static inline struct kf_v3 kf_v_unit(struct kf_v3 a)
{
    double length = kf_v_length(a);
    return length > 0 ? kf_v_scale(a, 1 / length) : KF_V(0, 0, 1);
}

static inline double kf_clamp(double x, double lo, double hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

// 0 below a, 1 above b, smooth in between.
static inline double kf_ramp(double x, double a, double b)
{
    double t = kf_clamp((x - a) / (b - a), 0, 1);
    return t * t * (3 - 2 * t);
}

// A row-major rotation matrix.
struct kf_m3 {
    double m[9];
};

// Rz(z)·Ry(y)·Rx(x), degrees.
struct kf_m3 kf_m_euler(double x_deg, double y_deg, double z_deg);

static inline struct kf_v3 kf_m_apply(const struct kf_m3 *r, struct kf_v3 v)
{
    const double *m = r->m;
    return KF_V(m[0] * v.x + m[1] * v.y + m[2] * v.z, m[3] * v.x + m[4] * v.y + m[5] * v.z,
                m[6] * v.x + m[7] * v.y + m[8] * v.z);
}

static inline struct kf_v3 kf_m_apply_transposed(const struct kf_m3 *r, struct kf_v3 v)
{
    const double *m = r->m;
    return KF_V(m[0] * v.x + m[3] * v.y + m[6] * v.z, m[1] * v.x + m[4] * v.y + m[7] * v.z,
                m[2] * v.x + m[5] * v.y + m[8] * v.z);
}

// SplitMix64's finaliser (Steele, Lea, Flood 2014): a counter becomes 64 well mixed bits.
static inline uint64_t kf_ph_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// A uniform number in [−1, 1) named by (seed, counter).
static inline double kf_ph_uniform(uint64_t seed, uint64_t counter)
{
    return (double)(kf_ph_mix(seed ^ kf_ph_mix(counter)) >> 11) * 0x1p-52 - 1;
}

// Nearly normal, mean 0, variance 1: the sum of eight 16-bit uniforms (Irwin–Hall), |value| < 4.9.
static inline double kf_ph_normal(uint64_t seed, uint64_t counter)
{
    uint64_t a = kf_ph_mix(seed ^ kf_ph_mix(counter));
    uint64_t b = kf_ph_mix(a ^ 0xd1b54a32d192ed03u);
    uint64_t even = 0x0000ffff0000ffffu;
    uint64_t sum = (a & even) + ((a >> 16) & even) + (b & even) + ((b >> 16) & even);
    double total = (double)((sum & 0xffffffffu) + (sum >> 32)); // mean 8·32767.5, sd 65536·√(8/12)
    return (total - 8 * 32767.5) * (1 / 53509.919);
}

#endif
