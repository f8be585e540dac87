#include "workers/dicom/write_shim.h"

#include "server/base/hash.h"

#include <cmath>
#include <cstdio>
#include <cstring>

namespace kerf {
namespace writing {

void check(const OFCondition &condition)
{
    if (condition.bad())
        throw Failure{condition};
}

void put(DcmItem &item, const DcmTagKey &tag, const std::string &value)
{
    check(item.putAndInsertString(tag, value.c_str()));
}

void put(DcmItem &item, const DcmTagKey &tag, Uint16 value)
{
    check(item.putAndInsertUint16(tag, value));
}

void put_double(DcmItem &item, const DcmTagKey &tag, double value)
{
    check(item.putAndInsertFloat64(tag, value));
}

std::string decimal(double value, int digits, double nothing)
{
    char text[40];
    if (std::fabs(value) < nothing)
        value = 0;
    for (; digits > 1; digits--) {
        std::snprintf(text, sizeof text, "%.*g", digits, value);
        if (std::strlen(text) <= 16)
            break;
    }
    return text;
}

std::string decimals(const double *values, int n, int digits)
{
    std::string out = decimal(values[0], digits);
    for (int i = 1; i < n; i++)
        out += "\\" + decimal(values[i], digits);
    return out;
}

std::string uid(const std::string &seed, const std::string &role)
{
    char text[65];
    kf_dicom_write_uid(text, seed.c_str(), role.c_str());
    return text;
}

static double length(const double v[3])
{
    return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

Plane::Plane(const kf_dicom_write_geometry &g) : geometry(g)
{
    for (int a = 0; a < 3; a++)
        spacing[a] = length(g.step[a]);
    for (int r = 0; r < 3; r++) {
        orientation[r] = g.step[0][r] / spacing[0];
        orientation[3 + r] = g.step[1][r] / spacing[1];
    }
    const double *u = orientation, *v = orientation + 3;
    double normal[3] = {u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]};
    thickness = std::fabs(normal[0] * g.step[2][0] + normal[1] * g.step[2][1] + normal[2] * g.step[2][2]);
}

void Plane::position(int64_t k, double p[3]) const
{
    for (int r = 0; r < 3; r++)
        p[r] = geometry.origin_lps[r] + static_cast<double>(k) * geometry.step[2][r];
}

} // namespace writing
} // namespace kerf

extern "C" void kf_dicom_write_uid(char to[65], const char *seed, const char *role)
{
    std::string text = std::string(seed) + '\n' + role;
    unsigned char digest[KF_SHA256_BYTES];
    kf_sha256(text.data(), text.size(), digest);
    char digits[40];
    int n = 0;
    for (bool any = true; any && n < 39; n++) { // long division of 16 bytes by ten
        unsigned rest = 0;
        any = false;
        for (int i = 0; i < 16; i++) {
            unsigned now = rest * 256 + digest[i];
            digest[i] = static_cast<unsigned char>(now / 10);
            rest = now % 10;
            any = any || digest[i];
        }
        digits[n] = static_cast<char>('0' + rest);
    }
    std::memcpy(to, "2.25.", 6);
    for (int i = 0; i < n; i++)
        to[5 + i] = digits[n - 1 - i];
    to[5 + n] = '\0';
}
