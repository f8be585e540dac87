// Based on: Cody and Waite, "Software Manual for the Elementary Functions", 1980: argument reduction with a split
// constant, then a short power series. Everything is ordinary IEEE double arithmetic in a fixed order.
#include "workers/kernels/math.h"

#include <stdint.h>
#include <string.h>

#define LN2_HIGH 6.93147180369123816490e-01 // the low 33 bits of the fraction are zero: k · LN2_HIGH is exact
#define LN2_LOW  1.90821492927058770002e-10

static double from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double not_a_number(void)
{
    return from_bits(0x7ff8000000000000u);
}

static double infinity(void)
{
    return from_bits(0x7ff0000000000000u);
}

double kf_exp(double x)
{
    if (x != x)
        return x;
    if (x > 709.782712893384)
        return infinity();
    if (x < -745.2)
        return 0;
    double scaled = x * 1.44269504088896338700;
    int k = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    double high = x - k * LN2_HIGH, low = k * LN2_LOW;
    double r = high - low;
    double sum = 1.0 / 6227020800.0; // 1/13!
    static const double inverse_factorial[] = {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0,
                                               1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,     1.0 / 120.0,
                                               1.0 / 24.0,        1.0 / 6.0,        0.5};
    for (int i = 0; i < 11; i++)
        sum = sum * r + inverse_factorial[i];
    double value = 1.0 + (r + (r * r * sum + (high - r - low)));
    // 2^k in two factors, so that results below the normal range come out right.
    int half = k / 2;
    return value * from_bits((uint64_t)(half + 1023) << 52) * from_bits((uint64_t)(k - half + 1023) << 52);
}

double kf_ln(double x)
{
    if (x != x || x < 0)
        return not_a_number();
    if (x == 0)
        return -infinity();
    if (x > 1.7976931348623157e308)
        return x;
    int exponent = 0;
    if (x < 2.2250738585072014e-308) {
        x *= 18014398509481984.0; // 2^54
        exponent = -54;
    }
    uint64_t bits = to_bits(x);
    exponent += (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 1.41421356237309504880) {
        m *= 0.5;
        exponent++;
    }
    // log m = 2 artanh s with s = (m - 1) / (m + 1) = f - (f²/2 - s·(f²/2 + series))
    double f = m - 1, s = f / (m + 1), z = s * s, sum = 0;
    for (int n = 25; n >= 3; n -= 2)
        sum = sum * z + 2.0 / n;
    sum *= z;
    double half = 0.5 * f * f;
    return exponent * LN2_HIGH - ((half - (s * (half + sum) + exponent * LN2_LOW)) - f);
}

double kf_pow(double x, double y)
{
    if (y == 0)
        return 1;
    return x == 0 && y > 0 ? 0 : kf_exp(y * kf_ln(x));
}

static double sin_series(double r)
{
    double z = r * r, sum = 1.0 / 355687428096000.0; // 1/17!
    sum = sum * z - 1.0 / 1307674368000.0;
    sum = sum * z + 1.0 / 6227020800.0;
    sum = sum * z - 1.0 / 39916800.0;
    sum = sum * z + 1.0 / 362880.0;
    sum = sum * z - 1.0 / 5040.0;
    sum = sum * z + 1.0 / 120.0;
    sum = sum * z - 1.0 / 6.0;
    return r + r * z * sum;
}

static double cos_series(double r)
{
    double z = r * r, sum = 1.0 / 20922789888000.0; // 1/16!
    sum = sum * z - 1.0 / 87178291200.0;
    sum = sum * z + 1.0 / 479001600.0;
    sum = sum * z - 1.0 / 3628800.0;
    sum = sum * z + 1.0 / 40320.0;
    sum = sum * z - 1.0 / 720.0;
    sum = sum * z + 1.0 / 24.0;
    return 1 - (0.5 * z - z * z * sum);
}

// sin(x + quarter · π/2)
static double circular(double x, int quarter)
{
    if (!(x > -1e6 && x < 1e6))
        return not_a_number();
    double turns = x * 0.63661977236758134308;
    int64_t n = (int64_t)(turns < 0 ? turns - 0.5 : turns + 0.5);
    double k = (double)n;
    double r = x - k * 1.57079632673412561417e+00; // π/2 in three parts of 33 bits
    r -= k * 6.07710050630396597660e-11;
    r -= k * 2.02226624879595063154e-21;
    switch ((n + quarter) & 3) {
    case 0:
        return sin_series(r);
    case 1:
        return cos_series(r);
    case 2:
        return -sin_series(r);
    default:
        return -cos_series(r);
    }
}

double kf_sin(double x_rad)
{
    return circular(x_rad, 0);
}

double kf_cos(double x_rad)
{
    return circular(x_rad, 1);
}

double kf_tan(double x_rad)
{
    return kf_sin(x_rad) / kf_cos(x_rad);
}

double kf_atan(double x)
{
    if (x != x)
        return x;
    if (x < 0)
        return -kf_atan(-x);
    if (x > 1)
        return 0.5 * KF_PI - kf_atan(1 / x);
    // Moves x next to one of 0, 1/4, 1/2, 3/4, 1 by atan x = atan c + atan((x - c) / (1 + x c)); |t| ≤ 1/8.
    static const double at[] = {0, 0.24497866312686415417, 0.46364760900080611621, 0.64350110879328438680,
                                0.78539816339744830962};
    int nearest = (int)(x * 4 + 0.5);
    double c = nearest * 0.25, t = (x - c) / (1 + x * c), z = t * t, sum = 0;
    for (int n = 19; n >= 3; n -= 2)
        sum = z * (1.0 / n - sum);
    return at[nearest] + (t - t * sum);
}

double kf_atan2(double y, double x)
{
    if (x == 0 && y == 0)
        return 0;
    if (x == 0)
        return y > 0 ? 0.5 * KF_PI : -0.5 * KF_PI;
    double angle = kf_atan(y / x);
    if (x > 0)
        return angle;
    return y >= 0 ? angle + KF_PI : angle - KF_PI;
}

double kf_acos(double x)
{
    if (x >= 1)
        return 0;
    if (x <= -1)
        return KF_PI;
    return kf_atan2(__builtin_sqrt((1 - x) * (1 + x)), x);
}
