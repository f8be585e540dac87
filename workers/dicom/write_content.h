// UIDs from content, for what write_derived.h writes. C++, not for anybody else.
#ifndef KERF_DICOM_WRITE_CONTENT_H
#define KERF_DICOM_WRITE_CONTENT_H

#include "workers/dicom/write_derived.h"
#include "workers/dicom/write_shim.h"

#include <string>

struct kf_sha256;

namespace kerf {
namespace writing {

const int DIGITS = 16; // of a geometry: as many as a decimal string has room for, so that a grid comes back as it was

// What is hashed, in the order in which it is added.
class Content {
  public:
    Content();
    ~Content();
    Content(const Content &) = delete;
    Content &operator=(const Content &) = delete;
    void add(const void *bytes, size_t length);
    void add(const std::string &text); // with an end that no text holds
    void add(double number);
    void add(const kf_volume &volume, const Plane &plane); // type, grid as it is written, voxels
    std::string finish();                                  // hex

  private:
    kf_sha256 *stream;
};

struct Uids {
    std::string seed, frame, study, series;
    Uids(const std::string &content, const char *frame_uid);
};

// Before anything else: DCMTK's log, which prints values, is off. Throws KF_INVALID "dimensions".
void begin(const kf_grid &grid, struct kf_error *err);

kf_dicom_write_geometry geometry_of(const kf_grid &grid);

// "Kerf segment.bone 2", for descriptions.
std::string maker(const kf_dicom_write_origin &origin);

// Says how far the work is; throws KF_CANCELLED.
void step(const kf_dicom_write_origin &origin, int64_t done, int64_t of, struct kf_error *err);

// What every file is written by: explicit little-endian.
void save(DcmFileFormat &file, const std::string &path);

} // namespace writing
} // namespace kerf

#endif
