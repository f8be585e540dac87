#include "workers/dicom/write_content.h"

#include "dcmtk/oflog/oflog.h"

#include "server/base/hash.h"

#include <cstring>

namespace kerf {
namespace writing {

Content::Content()
{
    if (kf_sha256_new(&stream) != KF_OK)
        throw std::bad_alloc();
}

Content::~Content()
{
    kf_sha256_free(stream);
}

void Content::add(const void *bytes, size_t length)
{
    kf_sha256_add(stream, bytes, length);
}

void Content::add(const std::string &text)
{
    add(text.c_str(), text.size() + 1);
}

void Content::add(double number)
{
    number = number == 0 ? 0 : number; // one zero
    add(&number, sizeof number);
}

// The grid by its decimal strings, so that two of the same name are the same to the last byte.
void Content::add(const kf_volume &volume, const Plane &plane)
{
    add(volume.type);
    for (int64_t n : volume.grid.dim)
        add(static_cast<double>(n));
    add(decimals(plane.spacing, 2, DIGITS));
    add(decimals(plane.orientation, 6, DIGITS));
    for (int64_t k = 0; k < volume.grid.dim[2]; k++) {
        double p[3];
        plane.position(k, p);
        add(decimals(p, 3, DIGITS));
    }
    add(volume.data, static_cast<size_t>(kf_grid_voxels(&volume.grid) * kf_voxel_bytes(volume.type)));
}

std::string Content::finish()
{
    unsigned char digest[KF_SHA256_BYTES];
    static const char digits[] = "0123456789abcdef";
    std::string hex;
    kf_sha256_finish(stream, digest);
    for (unsigned char byte : digest) {
        hex += digits[byte >> 4];
        hex += digits[byte & 15];
    }
    return hex;
}

// PS3.5 section 9.1; what a stranger's file says is looked at before it is passed on.
static bool is_uid(const char *text)
{
    size_t n = text ? std::strlen(text) : 0;
    return n > 0 && n <= 64 && std::strspn(text, "0123456789.") == n && text[0] != '.' && text[n - 1] != '.' &&
           !std::strstr(text, "..");
}

Uids::Uids(const std::string &content, const char *frame_uid)
    : seed("kerf content " + content), frame(is_uid(frame_uid) ? frame_uid : uid(seed, "frame of reference")),
      study(uid("kerf study of " + frame, "study")), series(uid(seed, "series"))
{
}

void begin(const kf_grid &grid, struct kf_error *err)
{
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    if (grid.dim[0] > 65535 || grid.dim[1] > 65535 || grid.dim[2] > 999999)
        throw Refusal{kf_error_set(err, KF_INVALID, "dimensions", "a DICOM slice has at most 65535 rows and columns")};
}

kf_dicom_write_geometry geometry_of(const kf_grid &grid)
{
    kf_dicom_write_geometry g;
    for (int a = 0; a < 3; a++) {
        g.dim[a] = grid.dim[a];
        g.origin_lps[a] = grid.origin_lps[a];
        for (int r = 0; r < 3; r++)
            g.step[a][r] = grid.direction[3 * r + a] * grid.spacing_mm[a];
    }
    return g;
}

std::string maker(const kf_dicom_write_origin &origin)
{
    return std::string("Kerf ") + origin.made_by;
}

void step(const kf_dicom_write_origin &origin, int64_t done, int64_t of, struct kf_error *err)
{
    if (origin.cancelled && origin.cancelled(origin.context))
        throw Refusal{kf_error_set(err, KF_CANCELLED, nullptr, "writing DICOM: cancelled")};
    if (origin.progress)
        origin.progress(origin.context, static_cast<double>(done) / static_cast<double>(of));
}

void save(DcmFileFormat &file, const std::string &path)
{
    check(file.saveFile(path.c_str(), EXS_LittleEndianExplicit, EET_ExplicitLength, EGL_recalcGL, EPD_noChange));
}

} // namespace writing
} // namespace kerf
