// Elementary functions that give the same bits everywhere: plain double arithmetic, no libm (glibc picks other code by
// processor), shared with WebAssembly. Errors are below 2 units in the last place in the ranges named.
#ifndef KERF_KERNELS_MATH_H
#define KERF_KERNELS_MATH_H

#define KF_PI 3.14159265358979323846

double kf_exp(double x);              // underflows to 0 below -745, infinity above 709.8
double kf_ln(double x);               // natural; -infinity at 0, NaN below
double kf_pow(double x, double y);    // x > 0 (0 for x = 0 and y > 0); error grows with |y log x|
double kf_sin(double x_rad);          // |x| < 1e6; NaN beyond
double kf_cos(double x_rad);
double kf_tan(double x_rad);
double kf_atan(double x);
double kf_atan2(double y, double x);  // (-π, π]; 0 at the origin
double kf_acos(double x);             // |x| ≤ 1, values a little beyond are clamped

#endif
