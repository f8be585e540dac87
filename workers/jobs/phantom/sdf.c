#include "workers/jobs/phantom/sdf.h"
#include "server/base/str.h"
#include <stdlib.h>
#include <string.h>

enum kf_status kf_scene_init(struct kf_scene *scene, const struct kf_material *materials, uint64_t seed,
                             struct kf_error *err)
{
    memset(scene, 0, sizeof *scene);
    scene->prims = calloc(KF_SDF_PRIMS, sizeof *scene->prims);
    scene->groups = calloc(KF_SDF_GROUPS, sizeof *scene->groups);
    scene->parts = calloc(KF_SDF_PARTS, sizeof *scene->parts);
    scene->lattice = malloc(32768 * sizeof *scene->lattice);
    if (!scene->prims || !scene->groups || !scene->parts || !scene->lattice) {
        kf_scene_release(scene);
        return kf_error_set(err, KF_NOMEM, NULL, "No memory for the anatomy.");
    }
    for (uint64_t i = 0; i < 32768; i++)
        scene->lattice[i] = (float)kf_ph_uniform(seed + 77, i);
    scene->materials = materials;
    scene->frame.axes = kf_m_euler(0, 0, 0);
    scene->frame.scale = scene->frame.side = 1;
    return KF_OK;
}

void kf_scene_release(struct kf_scene *scene)
{
    free(scene->prims);
    free(scene->groups);
    free(scene->parts);
    free(scene->lattice);
    memset(scene, 0, sizeof *scene);
}

// ---- build ----

struct kf_v3 kf_scene_point(const struct kf_scene *scene, struct kf_v3 local)
{
    const struct kf_frame *f = &scene->frame;
    struct kf_v3 p = KF_V(f->side * local.x, local.y, local.z);
    return kf_v_along(f->origin, f->scale, kf_m_apply(&f->axes, p));
}

static struct kf_v3 direction_out(const struct kf_scene *scene, struct kf_v3 local)
{
    const struct kf_frame *f = &scene->frame;
    return kf_m_apply(&f->axes, KF_V(f->side * local.x, local.y, local.z));
}

static void bounds_empty(struct kf_v3 *lo, struct kf_v3 *hi)
{
    *lo = KF_V(KF_SDF_FAR, KF_SDF_FAR, KF_SDF_FAR);
    *hi = KF_V(-KF_SDF_FAR, -KF_SDF_FAR, -KF_SDF_FAR);
}

static void bounds_add(struct kf_v3 *lo, struct kf_v3 *hi, struct kf_v3 p, struct kf_v3 reach)
{
    lo->x = fmin(lo->x, p.x - reach.x), hi->x = fmax(hi->x, p.x + reach.x);
    lo->y = fmin(lo->y, p.y - reach.y), hi->y = fmax(hi->y, p.y + reach.y);
    lo->z = fmin(lo->z, p.z - reach.z), hi->z = fmax(hi->z, p.z + reach.z);
}

struct kf_sdf_part *kf_scene_part(struct kf_scene *scene, const char *name, int label, int material)
{
    if (scene->part_count == KF_SDF_PARTS) {
        scene->full = 1;
        scene->part_count--;
    }
    struct kf_sdf_part *part = &scene->parts[scene->part_count++];
    memset(part, 0, sizeof *part);
    kf_str_copy(part->name, sizeof part->name, name);
    part->label = label;
    part->material = material;
    part->rough_wavelength = 8;
    part->shell_scale = 1;
    part->first = scene->group_count;
    bounds_empty(&part->lo, &part->hi);
    return part;
}

void kf_scene_group(struct kf_scene *scene, enum kf_sdf_op op, double k)
{
    if (scene->group_count == KF_SDF_GROUPS) {
        scene->full = 1;
        scene->group_count--;
    }
    struct kf_sdf_group *group = &scene->groups[scene->group_count++];
    memset(group, 0, sizeof *group);
    group->op = op;
    group->k = k * scene->frame.scale;
    group->part = scene->part_count - 1;
    group->first = scene->prim_count;
    scene->parts[group->part].count++;
}

void kf_scene_grow(struct kf_scene *scene, double grow)
{
    scene->groups[scene->group_count - 1].grow = grow * scene->frame.scale;
}

static struct kf_sdf_prim *new_prim(struct kf_scene *scene, enum kf_sdf_shape shape, enum kf_sdf_op op, double k)
{
    if (scene->prim_count == KF_SDF_PRIMS) {
        scene->full = 1;
        scene->prim_count--;
    }
    struct kf_sdf_prim *prim = &scene->prims[scene->prim_count++];
    memset(prim, 0, sizeof *prim);
    prim->shape = shape;
    prim->op = op;
    prim->k = k * scene->frame.scale;
    prim->group = scene->group_count - 1;
    bounds_empty(&prim->lo, &prim->hi);
    scene->groups[prim->group].count++;
    return prim;
}

// Enters the primitive's bounds into its part's, where it can add matter.
static void placed(struct kf_scene *scene, const struct kf_sdf_prim *prim)
{
    const struct kf_sdf_group *group = &scene->groups[prim->group];
    struct kf_sdf_part *part = &scene->parts[group->part];
    if (group->op != KF_UNION || prim->op != KF_UNION)
        return;
    double g = fmax(group->grow, 0) + 0.3 * group->k + 0.3 * prim->k;
    bounds_add(&part->lo, &part->hi, prim->lo, KF_V(g, g, g));
    bounds_add(&part->lo, &part->hi, prim->hi, KF_V(g, g, g));
}

static void set_axes(struct kf_scene *scene, struct kf_sdf_prim *prim, struct kf_v3 turn_deg)
{
    struct kf_m3 m = kf_m_euler(turn_deg.x, turn_deg.y, turn_deg.z);
    prim->u = direction_out(scene, KF_V(m.m[0], m.m[3], m.m[6]));
    prim->v = direction_out(scene, KF_V(m.m[1], m.m[4], m.m[7]));
    prim->w = direction_out(scene, KF_V(m.m[2], m.m[5], m.m[8]));
}

void kf_scene_ellipsoid(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 centre, struct kf_v3 radii,
                        struct kf_v3 turn_deg)
{
    struct kf_sdf_prim *p = new_prim(scene, KF_ELLIPSOID, op, k);
    p->a = kf_scene_point(scene, centre);
    p->r = kf_v_scale(radii, scene->frame.scale);
    set_axes(scene, p, turn_deg);
    struct kf_v3 r = p->r;
#define REACH(c) sqrt(r.x *r.x * p->u.c * p->u.c + r.y * r.y * p->v.c * p->v.c + r.z * r.z * p->w.c * p->w.c)
    bounds_add(&p->lo, &p->hi, p->a, KF_V(REACH(x), REACH(y), REACH(z)));
#undef REACH
    placed(scene, p);
}

void kf_scene_box(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 centre, struct kf_v3 half,
                  double corner, struct kf_v3 turn_deg)
{
    struct kf_sdf_prim *p = new_prim(scene, KF_BOX, op, k);
    p->a = kf_scene_point(scene, centre);
    p->r = kf_v_scale(half, scene->frame.scale);
    p->corner = fmin(corner * scene->frame.scale, fmin(p->r.x, fmin(p->r.y, p->r.z)));
    set_axes(scene, p, turn_deg);
    struct kf_v3 r = p->r;
#define REACH(c) (r.x * fabs(p->u.c) + r.y * fabs(p->v.c) + r.z * fabs(p->w.c))
    bounds_add(&p->lo, &p->hi, p->a, KF_V(REACH(x), REACH(y), REACH(z)));
#undef REACH
    placed(scene, p);
}

void kf_scene_halfspace(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 point, struct kf_v3 outward)
{
    struct kf_sdf_prim *p = new_prim(scene, KF_HALFSPACE, op, k);
    p->a = kf_scene_point(scene, point);
    p->u = kf_v_unit(direction_out(scene, outward));
    bounds_add(&p->lo, &p->hi, p->a, KF_V(KF_SDF_FAR, KF_SDF_FAR, KF_SDF_FAR));
}

struct section {
    struct kf_v3 c, u, v;
    double ru, rv;
};

static void segment(struct kf_scene *scene, enum kf_sdf_op op, double k, const struct section *a,
                    const struct section *b, double corner)
{
    struct kf_sdf_prim *p = new_prim(scene, KF_SEGMENT, op, k);
    double s = scene->frame.scale;
    p->a = kf_scene_point(scene, a->c), p->b = kf_scene_point(scene, b->c);
    p->u = direction_out(scene, a->u), p->v = direction_out(scene, a->v);
    p->u1 = direction_out(scene, b->u), p->v1 = direction_out(scene, b->v);
    p->r = KF_V(a->ru * s, a->rv * s, 0);
    p->ru1 = b->ru * s, p->rv1 = b->rv * s;
    p->corner = corner;
    double ra = fmax(p->r.x, p->r.y), rb = fmax(p->ru1, p->rv1);
    if (corner < 1) // a box's corner reaches further than its half edges
        ra *= 1.42, rb *= 1.42;
    bounds_add(&p->lo, &p->hi, p->a, KF_V(ra, ra, ra));
    bounds_add(&p->lo, &p->hi, p->b, KF_V(rb, rb, rb));
    placed(scene, p);
}

static struct section section_of(const struct kf_station *stations, int count, double at, struct kf_v3 up)
{
    int i = (int)at;
    i = i > count - 2 ? count - 2 : i;
    double t = at - i;
    const struct kf_station *s1 = &stations[i], *s2 = &stations[i + 1];
    const struct kf_station *s0 = i > 0 ? s1 - 1 : s1, *s3 = i + 2 < count ? s2 + 1 : s2;
    double t2 = t * t, t3 = t2 * t;
    double w0 = 0.5 * (-t3 + 2 * t2 - t), w1 = 0.5 * (3 * t3 - 5 * t2 + 2);
    double w2 = 0.5 * (-3 * t3 + 4 * t2 + t), w3 = 0.5 * (t3 - t2);
    double g0 = 0.5 * (-3 * t2 + 4 * t - 1), g1 = 0.5 * (9 * t2 - 10 * t);
    double g2 = 0.5 * (-9 * t2 + 8 * t + 1), g3 = 0.5 * (3 * t2 - 2 * t);
#define AT(f)    (w0 * s0->f + w1 * s1->f + w2 * s2->f + w3 * s3->f)
#define SLOPE(f) (g0 * s0->f + g1 * s1->f + g2 * s2->f + g3 * s3->f)
    struct section s = {.c = KF_V(AT(x), AT(y), AT(z)), .ru = fmax(AT(across), 0.05), .rv = fmax(AT(along), 0.05)};
    struct kf_v3 tangent = kf_v_unit(KF_V(SLOPE(x), SLOPE(y), SLOPE(z)));
#undef AT
#undef SLOPE
    s.u = kf_v_unit(kf_v_cross(tangent, up));
    s.v = kf_v_cross(s.u, tangent);
    return s;
}

struct kf_v3 kf_station_point(const struct kf_station *stations, int count, double at)
{
    double inside = kf_clamp(at, 0, count - 1);
    struct kf_v3 p = section_of(stations, count, inside, KF_V(0.3, 0.5, 0.8)).c;
    if (at == inside)
        return p;
    const struct kf_station *a = at < 0 ? &stations[0] : &stations[count - 2], *b = a + 1;
    return kf_v_along(p, at - inside, KF_V(b->x - a->x, b->y - a->y, b->z - a->z));
}

void kf_scene_tube(struct kf_scene *scene, enum kf_sdf_op op, double k, const struct kf_station *stations, int count,
                   struct kf_v3 up, double corner, int flags, int steps)
{
    int pieces = (count - 1) * steps;
    struct section start = section_of(stations, count, 0, up), before = start, now = start;
    for (int i = 1; i <= pieces; i++) {
        now = section_of(stations, count, (double)i / steps, up);
        // Inside a chain the pieces meet by plain minimum; only the whole tube blends.
        segment(scene, op, i == 1 ? k : 0, &before, &now, corner);
        before = now;
    }
    // The round ends of the inner pieces reach beyond a flat end, so the whole chain is cut.
    if (flags & KF_TUBE_FLAT_START)
        kf_scene_halfspace(scene, KF_INTERSECT, 0, start.c, kf_v_cross(start.u, start.v));
    if (flags & KF_TUBE_FLAT_END)
        kf_scene_halfspace(scene, KF_INTERSECT, 0, now.c, kf_v_cross(now.v, now.u));
}

void kf_scene_cone(struct kf_scene *scene, enum kf_sdf_op op, double k, struct kf_v3 a, struct kf_v3 b, double ra,
                   double rb)
{
    struct kf_v3 t = kf_v_unit(kf_v_sub(b, a));
    struct kf_v3 help = fabs(t.z) < 0.8 ? KF_V(0, 0, 1) : KF_V(1, 0, 0);
    struct kf_v3 u = kf_v_unit(kf_v_cross(t, help)), v = kf_v_cross(u, t);
    struct section sa = {a, u, v, ra, ra}, sb = {b, u, v, rb, rb};
    segment(scene, op, k, &sa, &sb, 1);
}

// ---- read ----

double kf_scene_noise(const struct kf_scene *scene, struct kf_v3 p, double wavelength)
{
    double f = 1 / wavelength;
    double x = p.x * f, y = p.y * f, z = p.z * f;
    double fx = floor(x), fy = floor(y), fz = floor(z);
    unsigned i = (unsigned)(int)fx & 31, j = (unsigned)(int)fy & 31, k = (unsigned)(int)fz & 31;
    unsigned i1 = (i + 1) & 31, j1 = (j + 1) & 31, k1 = (k + 1) & 31;
    x -= fx, y -= fy, z -= fz;
    x = x * x * (3 - 2 * x), y = y * y * (3 - 2 * y), z = z * z * (3 - 2 * z);
    const float *l = scene->lattice;
#define L(a, b, c) ((double)l[((c)*32 + (b)) * 32 + (a)])
    double a = L(i, j, k), b = L(i, j1, k), c = L(i, j, k1), d = L(i, j1, k1);
    a += x * (L(i1, j, k) - a), b += x * (L(i1, j1, k) - b);
    c += x * (L(i1, j, k1) - c), d += x * (L(i1, j1, k1) - d);
#undef L
    a += y * (b - a), c += y * (d - c);
    return a + z * (c - a);
}

// First order near the surface. Inside, no deeper than a thin shape is: along the axis of an ellipse with half axes
// a > b the depth is at most b·√(1 − k0²).
static double ellipsoid_distance(struct kf_v3 q, struct kf_v3 r)
{
    double x = q.x / r.x, y = q.y / r.y, z = q.z / r.z;
    double k0 = sqrt(x * x + y * y + z * z);
    double gx = x / r.x, gy = y / r.y, gz = z / r.z;
    double k1 = sqrt(gx * gx + gy * gy + gz * gz);
    double smallest = fmin(r.x, fmin(r.y, r.z));
    if (k0 >= 1)
        return k0 * (k0 - 1) / k1;
    double deepest = smallest * sqrt(1 - k0 * k0);
    return k1 > 1e-9 ? -fmin(k0 * (1 - k0) / k1, deepest) : -smallest;
}

static double box_distance(struct kf_v3 q, struct kf_v3 half, double corner)
{
    double x = fabs(q.x) - half.x + corner, y = fabs(q.y) - half.y + corner, z = fabs(q.z) - half.z + corner;
    double ox = fmax(x, 0), oy = fmax(y, 0), oz = fmax(z, 0);
    return sqrt(ox * ox + oy * oy + oz * oz) + fmin(fmax(x, fmax(y, z)), 0) - corner;
}

static double segment_distance(const struct kf_sdf_prim *s, struct kf_v3 p)
{
    struct kf_v3 axis = kf_v_sub(s->b, s->a), q = kf_v_sub(p, s->a);
    double length2 = kf_v_dot(axis, axis);
    double raw = kf_v_dot(q, axis) / length2, t = kf_clamp(raw, 0, 1);
    q = kf_v_sub(q, kf_v_scale(axis, t));
    double ru = s->r.x + t * (s->ru1 - s->r.x), rv = s->r.y + t * (s->rv1 - s->r.y);
    double x = kf_v_dot(q, kf_v_mix(s->u, s->u1, t)), y = kf_v_dot(q, kf_v_mix(s->v, s->v1, t));
    double length = sqrt(length2), z = (raw - t) * length; // beyond an end
    if (s->corner >= 1)
        return ellipsoid_distance(KF_V(x, y, z), KF_V(ru, rv, fmin(ru, rv)));
    double c = s->corner * fmin(ru, rv);
    double dx = fabs(x) - ru + c, dy = fabs(y) - rv + c;
    double ox = fmax(dx, 0), oy = fmax(dy, 0);
    return sqrt(ox * ox + oy * oy + z * z) + fmin(fmax(dx, dy), 0) - c;
}

static double prim_distance(const struct kf_sdf_prim *s, struct kf_v3 p)
{
    if (s->shape == KF_SEGMENT)
        return segment_distance(s, p);
    struct kf_v3 q = kf_v_sub(p, s->a);
    if (s->shape == KF_HALFSPACE)
        return kf_v_dot(q, s->u);
    q = KF_V(kf_v_dot(q, s->u), kf_v_dot(q, s->v), kf_v_dot(q, s->w));
    return s->shape == KF_ELLIPSOID ? ellipsoid_distance(q, s->r) : box_distance(q, s->r, s->corner);
}

static double combine(enum kf_sdf_op op, double k, double d, double e)
{
    double sign = 1;
    if (op != KF_UNION) {
        e = op == KF_SUBTRACT ? -e : e;
        d = -d, e = -e, sign = -1;
    }
    double m = fmin(d, e);
    double h = k - fabs(d - e);
    if (h > 0)
        m -= h * h / (4 * k);
    return sign * m;
}

double kf_part_distance(const struct kf_scene *scene, int part, const uint16_t *list, int n, struct kf_v3 p)
{
    const struct kf_sdf_part *owner = &scene->parts[part];
    const struct kf_sdf_group *groups = scene->groups;
    int first = 0;
    if (!list) {
        const struct kf_sdf_group *last = &groups[owner->first + owner->count - 1];
        first = groups[owner->first].first;
        n = last->first + last->count - first;
    }
    double d = KF_SDF_FAR, g = KF_SDF_FAR;
    int open = -1;
    for (int i = 0; i < n; i++) {
        const struct kf_sdf_prim *prim = &scene->prims[list ? list[i] : first + i];
        if (prim->group != open) {
            if (open >= 0)
                d = combine(groups[open].op, groups[open].k, d, g - groups[open].grow);
            open = prim->group;
            g = KF_SDF_FAR;
        }
        g = combine(prim->op, prim->k, g, prim_distance(prim, p));
    }
    if (open >= 0)
        d = combine(groups[open].op, groups[open].k, d, g - groups[open].grow);
    if (owner->rough > 0 && fabs(d) < 20)
        d += owner->rough * kf_scene_noise(scene, p, owner->rough_wavelength);
    return d;
}
