#include "workers/jobs/phantom/vec.h"

struct kf_m3 kf_m_euler(double x_deg, double y_deg, double z_deg)
{
    double a = x_deg * KF_PI / 180, b = y_deg * KF_PI / 180, c = z_deg * KF_PI / 180;
    double cx = kf_cos(a), sx = kf_sin(a), cy = kf_cos(b), sy = kf_sin(b);
    double cz = kf_cos(c), sz = kf_sin(c);
    return (struct kf_m3){{cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx, sz * cy, sz * sy * sx + cz * cx,
                           sz * sy * cx - cz * sx, -sy, cy * sx, cy * cx}};
}
