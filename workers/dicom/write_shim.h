// What the C++ files that write DICOM share. Not for anybody else: the doors are write_series.h and write_derived.h.
#ifndef KERF_DICOM_WRITE_SHIM_H
#define KERF_DICOM_WRITE_SHIM_H

#include "dcmtk/config/osconfig.h"

#include "dcmtk/dcmdata/dctk.h"

#include "server/base/error.h"
#include "workers/dicom/write_series.h"

#include <cerrno>
#include <new>
#include <string>

namespace kerf {
namespace writing {

struct Failure { // what DCMTK refused
    OFCondition condition;
};

struct Refusal { // what we refuse; `err` is filled
    enum kf_status status;
};

void check(const OFCondition &condition); // throws Failure
void put(DcmItem &item, const DcmTagKey &tag, const std::string &value);
void put(DcmItem &item, const DcmTagKey &tag, Uint16 value);
void put_double(DcmItem &item, const DcmTagKey &tag, double value);

// A decimal string (VR DS): at most 16 characters, and of the digits asked for as many as fit. What is under `nothing`
// is 0: a direction or a millimetre that small is rounding.
std::string decimal(double value, int digits = 12, double nothing = 1e-9);
std::string decimals(const double *values, int n, int digits = 12);

std::string uid(const std::string &seed, const std::string &role); // kf_dicom_write_uid

// How the slices of a geometry lie.
struct Plane {
    explicit Plane(const kf_dicom_write_geometry &geometry);
    void position(int64_t k, double p[3]) const; // of the first pixel of slice k, LPS mm

    const kf_dicom_write_geometry geometry;
    double spacing[3], orientation[6]; // along the steps; unit vectors of a row and of a column
    double thickness;                  // mm between slices, along their normal
};

// Runs `body`; an exception becomes a status, a full disk KF_NOSPACE.
template <typename Body> enum kf_status guarded(struct kf_error *err, Body body) noexcept
{
    try {
        errno = 0;
        body();
        return KF_OK;
    } catch (const Refusal &refusal) {
        return refusal.status;
    } catch (const Failure &failure) {
        enum kf_status status = errno == ENOSPC || errno == EDQUOT ? KF_NOSPACE : KF_IO;
        return kf_error_set(err, status, nullptr, "The series was not written: %s.", failure.condition.text());
    } catch (const std::bad_alloc &) {
        return kf_error_set(err, KF_NOMEM, nullptr, "No memory to write the series.");
    } catch (...) {
        return kf_error_set(err, KF_INTERNAL, nullptr, "The DICOM library failed while writing.");
    }
}

} // namespace writing
} // namespace kerf

#endif
