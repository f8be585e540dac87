// Transforms, small eigenproblems, and landmarks.
#include "workers/kernels/math.h"
#include "workers/kernels/register.h"

#include <math.h>
#include <string.h>

void kf_affine_identity(struct kf_affine *t)
{
    *t = (struct kf_affine){{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0}};
}

void kf_affine_apply(const struct kf_affine *t, const double p[3], double q[3])
{
    const double *m = t->m;
    double x = p[0], y = p[1], z = p[2];
    for (int r = 0; r < 3; r++)
        q[r] = m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3];
}

void kf_affine_chain(const struct kf_affine *second, const struct kf_affine *first, struct kf_affine *out)
{
    struct kf_affine t;
    for (int r = 0; r < 3; r++)
        for (int c = 0; c < 4; c++) {
            double sum = c == 3 ? second->m[4 * r + 3] : 0;
            for (int n = 0; n < 3; n++)
                sum += second->m[4 * r + n] * first->m[4 * n + c];
            t.m[4 * r + c] = sum;
        }
    *out = t;
}

int kf_affine_invert(const struct kf_affine *t, struct kf_affine *out)
{
    const double *m = t->m;
    double c[9]; // cofactors
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < 3; k++) {
            int r1 = (r + 1) % 3, r2 = (r + 2) % 3, k1 = (k + 1) % 3, k2 = (k + 2) % 3;
            c[3 * r + k] = m[4 * r1 + k1] * m[4 * r2 + k2] - m[4 * r1 + k2] * m[4 * r2 + k1];
        }
    double det = m[0] * c[0] + m[1] * c[1] + m[2] * c[2];
    struct kf_affine inverse;
    kf_affine_identity(&inverse);
    int fine = fabs(det) > 1e-12 && fabs(det) < 1e12;
    for (int r = 0; r < 3 && fine; r++) {
        double shift = 0;
        for (int k = 0; k < 3; k++) {
            inverse.m[4 * r + k] = c[3 * k + r] / det;
            shift -= inverse.m[4 * r + k] * m[4 * k + 3];
        }
        inverse.m[4 * r + 3] = shift;
    }
    *out = inverse;
    return fine ? 0 : -1;
}

void kf_rotation_exp(const double w[3], double rotation[9])
{
    double square = w[0] * w[0] + w[1] * w[1] + w[2] * w[2], angle = sqrt(square);
    double s = angle > 1e-6 ? kf_sin(angle) / angle : 1 - square / 6;
    double half = angle > 1e-6 ? kf_sin(0.5 * angle) / angle : 0.5;
    double c = 2 * half * half; // (1 - cos) / angle²
    const double cross[9] = {0, -w[2], w[1], w[2], 0, -w[0], -w[1], w[0], 0};
    for (int r = 0; r < 3; r++)
        for (int k = 0; k < 3; k++) {
            double outer = w[r] * w[k] - (r == k ? square : 0);
            rotation[3 * r + k] = (r == k ? 1 : 0) + s * cross[3 * r + k] + c * outer;
        }
}

double kf_rotation_angle_rad(const double r[9])
{
    double x = r[7] - r[5], y = r[2] - r[6], z = r[3] - r[1];
    return kf_atan2(sqrt(x * x + y * y + z * z), r[0] + r[4] + r[8] - 1);
}

// Turns rows and columns p and q of `a` and the vectors so that a[p][q] becomes 0.
static void jacobi_turn(int n, double *a, double *v, int p, int q)
{
    double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int k = 0; k < n; k++) {
        double x = a[k * n + p], y = a[k * n + q];
        a[k * n + p] = c * x - s * y;
        a[k * n + q] = s * x + c * y;
    }
    for (int k = 0; k < n; k++) {
        double x = a[p * n + k], y = a[q * n + k];
        a[p * n + k] = c * x - s * y;
        a[q * n + k] = s * x + c * y;
    }
    for (int k = 0; k < n; k++) {
        double x = v[p * n + k], y = v[q * n + k];
        v[p * n + k] = c * x - s * y;
        v[q * n + k] = s * x + c * y;
    }
}

void kf_eigen_symmetric(int n, double *a, double *values, double *v)
{
    for (int i = 0; i < n * n; i++)
        v[i] = i % (n + 1) == 0;
    for (int sweep = 0; sweep < 60; sweep++) {
        double off = 0, on = 0;
        for (int p = 0; p < n; p++)
            for (int q = 0; q < n; q++)
                *(p == q ? &on : &off) += a[p * n + q] * a[p * n + q];
        if (!(off > 1e-32 * on))
            break;
        for (int p = 0; p < n; p++)
            for (int q = p + 1; q < n; q++)
                if (a[p * n + q] != 0)
                    jacobi_turn(n, a, v, p, q);
    }
    for (int p = 0; p < n; p++)
        values[p] = a[p * n + p];
    for (int p = 0; p < n; p++) // selection sort, falling
        for (int q = p + 1; q < n; q++)
            if (values[q] > values[p]) {
                double value = values[p];
                values[p] = values[q];
                values[q] = value;
                for (int k = 0; k < n; k++) {
                    double x = v[p * n + k];
                    v[p * n + k] = v[q * n + k];
                    v[q * n + k] = x;
                }
            }
}

struct pairs {
    const double *fixed, *moving, *weights;
    int64_t count;
    double sum, mean[2][3];
    double cross[9];  // Σ w (f - mean f)(m - mean m)ᵀ
    double spread[9]; // Σ w (f - mean f)(f - mean f)ᵀ
    int finite;
};

static double weight_at(const struct pairs *p, int64_t n)
{
    return p->weights ? p->weights[n] : 1;
}

static void sum_pairs(struct pairs *p)
{
    int64_t counted = 0;
    for (int64_t n = 0; n < p->count; n++) {
        double w = weight_at(p, n);
        for (int a = 0; a < 3; a++) {
            p->mean[0][a] += w * p->fixed[3 * n + a];
            p->mean[1][a] += w * p->moving[3 * n + a];
        }
        p->sum += w;
        counted += w > 0;
        p->finite &= w >= 0;
    }
    p->finite &= counted >= 3 && p->sum < 1e300;
    for (int a = 0; a < 3; a++) {
        p->mean[0][a] /= p->sum;
        p->mean[1][a] /= p->sum;
        p->finite &= fabs(p->mean[0][a]) < 1e100 && fabs(p->mean[1][a]) < 1e100;
    }
    for (int64_t n = 0; n < p->count; n++)
        for (int r = 0; r < 3; r++)
            for (int c = 0; c < 3; c++) {
                double w = weight_at(p, n), f = p->fixed[3 * n + r] - p->mean[0][r];
                p->cross[3 * r + c] += w * f * (p->moving[3 * n + c] - p->mean[1][c]);
                p->spread[3 * r + c] += w * f * (p->fixed[3 * n + c] - p->mean[0][c]);
            }
}

// Points on a line, or all in one place, leave a rotation open.
static int fixes_a_motion(const struct pairs *p)
{
    double spread[9], values[3], vectors[9];
    memcpy(spread, p->spread, sizeof spread);
    kf_eigen_symmetric(3, spread, values, vectors);
    return values[0] > 0 && values[1] > 1e-9 * values[0];
}

static void quaternion_rotation(const double q[4], double r[9])
{
    double w = q[0], x = q[1], y = q[2], z = q[3];
    const double matrix[9] = {
        w * w + x * x - y * y - z * z, 2 * (x * y - w * z),           2 * (x * z + w * y),
        2 * (x * y + w * z),           w * w - x * x + y * y - z * z, 2 * (y * z - w * x),
        2 * (x * z - w * y),           2 * (y * z + w * x),           w * w - x * x - y * y + z * z};
    memcpy(r, matrix, sizeof matrix);
}

static double residual_rms(const struct pairs *p, const struct kf_affine *t)
{
    double sum = 0;
    for (int64_t n = 0; n < p->count; n++) {
        double q[3];
        kf_affine_apply(t, p->fixed + 3 * n, q);
        for (int a = 0; a < 3; a++) {
            double d = q[a] - p->moving[3 * n + a];
            sum += weight_at(p, n) * d * d;
        }
    }
    return sqrt(sum / p->sum);
}

enum kf_kernel_status kf_register_points(const double *fixed, const double *moving, const double *weights,
                                         int64_t count, struct kf_affine *out, double *rms_mm)
{
    kf_affine_identity(out);
    struct pairs p = {.fixed = fixed, .moving = moving, .weights = weights, .count = count, .finite = count >= 3};
    if (p.finite)
        sum_pairs(&p);
    if (!p.finite || !fixes_a_motion(&p))
        return KF_KERNEL_INVALID;
    const double *s = p.cross;
    double k[16] = {s[0] + s[4] + s[8], s[5] - s[7],        s[6] - s[2],         s[1] - s[3],
                    s[5] - s[7],        s[0] - s[4] - s[8], s[1] + s[3],         s[6] + s[2],
                    s[6] - s[2],        s[1] + s[3],        -s[0] + s[4] - s[8], s[5] + s[7],
                    s[1] - s[3],        s[6] + s[2],        s[5] + s[7],         -s[0] - s[4] + s[8]};
    double values[4], vectors[16], rotation[9];
    kf_eigen_symmetric(4, k, values, vectors);
    quaternion_rotation(vectors, rotation);
    for (int r = 0; r < 3; r++) {
        double shift = p.mean[1][r];
        for (int c = 0; c < 3; c++) {
            out->m[4 * r + c] = rotation[3 * r + c];
            shift -= rotation[3 * r + c] * p.mean[0][c];
        }
        out->m[4 * r + 3] = shift;
    }
    if (rms_mm)
        *rms_mm = residual_rms(&p, out);
    return KF_KERNEL_OK;
}
