// A volume as CT or MR slices (write_derived.h).
#include "workers/dicom/write_content.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

using namespace kerf::writing;

namespace {

// How a voxel becomes 16 bits: value = stored · slope + intercept.
struct Storing {
    bool is_signed = true;
    double slope = 1, intercept = 0; // as their decimal strings say
    double low = 0, high = 0;        // of the volume
    double rounded = 0;
};

template <typename Voxel> void look(const Voxel *from, int64_t n, Storing &s, bool &whole, bool &finite)
{
    Voxel low = from[0], high = from[0];
    for (int64_t i = 0; i < n; i++) {
        low = from[i] < low ? from[i] : low;
        high = from[i] > high ? from[i] : high;
    }
    for (int64_t i = 0; i < n && std::is_floating_point<Voxel>::value; i++) {
        double v = static_cast<double>(from[i]);
        finite = finite && std::isfinite(v);
        whole = whole && v == std::floor(v);
    }
    s.low = static_cast<double>(low);
    s.high = static_cast<double>(high);
}

int64_t stored_of(const Storing &s, double value)
{
    double v = std::floor((value - s.intercept) / s.slope + 0.5), least = s.is_signed ? -32768 : 0;
    return static_cast<int64_t>(std::min(std::max(v, least), least + 65535));
}

template <typename Voxel> void store(const Voxel *from, int64_t n, const Storing &s, Uint16 *to)
{
    if (std::is_integral<Voxel>::value && s.slope == 1 && s.intercept == 0) // the common case is a copy
        for (int64_t i = 0; i < n; i++)
            to[i] = static_cast<Uint16>(from[i]);
    else
        for (int64_t i = 0; i < n; i++)
            to[i] = static_cast<Uint16>(stored_of(s, static_cast<double>(from[i])));
}

template <typename Voxel> double farthest(const Voxel *from, int64_t n, const Storing &s)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = static_cast<double>(from[i]);
        most = std::max(most, std::fabs(static_cast<double>(stored_of(s, v)) * s.slope + s.intercept - v));
    }
    return most;
}

std::string number(double value)
{
    return decimal(value, DIGITS, 0);
}

double as_written(double value)
{
    return std::strtod(number(value).c_str(), nullptr);
}

template <typename Voxel> Storing storing_of(const Voxel *from, int64_t n, struct kf_error *err)
{
    Storing s;
    bool whole = true, finite = true;
    look(from, n, s, whole, finite);
    if (!finite)
        throw Refusal{kf_error_set(err, KF_INVALID, "values_not_finite",
                                   "a value of the image is no number or infinite, which DICOM cannot say")};
    if (whole && s.low >= -32768 && s.high <= 32767)
        return s;
    s.is_signed = false;
    s.intercept = whole && s.low >= 0 && s.high <= 65535 ? 0 : as_written(s.low);
    if (whole && s.high - s.intercept <= 65535)
        return s;
    if (s.high > s.low)
        s.slope = as_written((s.high - s.low) / 65535);
    s.rounded = farthest(from, n, s);
    return s;
}

// Calls body(pointer to the voxels, of their type).
template <typename Body> auto with_voxels(const kf_volume &v, Body body)
{
    switch (v.type) {
    case KF_VOXEL_UINT8:
        return body(static_cast<const uint8_t *>(v.data));
    case KF_VOXEL_UINT16:
        return body(static_cast<const uint16_t *>(v.data));
    case KF_VOXEL_FLOAT32:
        return body(static_cast<const float *>(v.data));
    default:
        return body(static_cast<const int16_t *>(v.data));
    }
}

std::string content_of(const kf_dicom_write_image &image, const Plane &plane)
{
    Content content;
    content.add(maker(image.origin));
    content.add(image.modality);
    content.add(image.in_hu);
    content.add(image.has_window ? image.window_centre : 0);
    content.add(image.has_window ? image.window_width : 0);
    content.add(image.has_padding ? image.padding : 0);
    content.add(*image.volume, plane);
    return content.finish();
}

class Writer : Plane {
  public:
    Writer(const kf_dicom_write_image &image, const char *dir, struct kf_error *err)
        : Plane(geometry_of(image.volume->grid)), image(image), dir(dir), err(err),
          ct(std::strcmp(image.modality, "CT") == 0), uids(content_of(image, *this), image.origin.frame_uid)
    {
        int64_t n = kf_grid_voxels(&image.volume->grid);
        storing = with_voxels(*image.volume, [&](auto *from) { return storing_of(from, n, this->err); });
    }

    void write(kf_dicom_write_facts &facts)
    {
        for (int64_t k = 0; k < geometry.dim[2]; k++) {
            step(image.origin, k, geometry.dim[2], err);
            DcmFileFormat file;
            DcmDataset &d = *file.getDataset();
            identity(d, k);
            plane(d, k);
            if (ct)
                ct_module(d);
            else
                mr_module(d);
            window(d);
            pixel_module(d);
            pixels(d, k);
            char name[32];
            std::snprintf(name, sizeof name, "/IM%06d.dcm", static_cast<int>(k + 1));
            save(file, dir + name);
            facts.files++;
        }
        facts.rounded = storing.rounded;
    }

  private:
    const kf_dicom_write_image &image;
    std::string dir;
    struct kf_error *err;
    bool ct;
    Uids uids;
    Storing storing;
    std::vector<Uint16> stored;

    // Patient, study, series, frame of reference, equipment, general image and SOP common modules.
    void identity(DcmDataset &d, int64_t k)
    {
        std::string number = std::to_string(k + 1);
        put(d, DCM_SpecificCharacterSet, "ISO_IR 192");
        put(d, DCM_ImageType, ct ? "DERIVED\\SECONDARY\\AXIAL" : "DERIVED\\SECONDARY\\OTHER");
        put(d, DCM_SOPClassUID, ct ? UID_CTImageStorage : UID_MRImageStorage);
        put(d, DCM_SOPInstanceUID, uid(uids.seed, "instance " + number));
        for (const DcmTagKey &empty :
             {DCM_StudyDate, DCM_StudyTime, DCM_AccessionNumber, DCM_ReferringPhysicianName, DCM_PatientName,
              DCM_PatientID, DCM_PatientBirthDate, DCM_PatientSex, DCM_StudyID, DCM_Laterality,
              DCM_PositionReferenceIndicator, DCM_PatientPosition, DCM_AcquisitionNumber})
            put(d, empty, "");
        put(d, DCM_Modality, image.modality);
        put(d, DCM_Manufacturer, "Kerf");
        put(d, DCM_SoftwareVersions, KERF_VERSION);
        put(d, DCM_SeriesDescription, maker(image.origin));
        put(d, DCM_DerivationDescription, derivation());
        put(d, DCM_StudyInstanceUID, uids.study);
        put(d, DCM_SeriesInstanceUID, uids.series);
        put(d, DCM_FrameOfReferenceUID, uids.frame);
        put(d, DCM_SeriesNumber, "1");
        put(d, DCM_InstanceNumber, number);
    }

    std::string derivation() const
    {
        if (storing.rounded == 0)
            return maker(image.origin);
        char text[64];
        std::snprintf(text, sizeof text, "; values rounded by at most %.3g", storing.rounded);
        return maker(image.origin) + text;
    }

    void plane(DcmDataset &d, int64_t k)
    {
        double p[3], pair[2] = {spacing[1], spacing[0]}; // between rows, between columns
        position(k, p);
        put(d, DCM_ImagePositionPatient, decimals(p, 3, DIGITS));
        put(d, DCM_ImageOrientationPatient, decimals(orientation, 6, DIGITS));
        put(d, DCM_PixelSpacing, decimals(pair, 2, DIGITS));
        put(d, DCM_SliceThickness, decimal(thickness, DIGITS));
    }

    void rescale(DcmDataset &d)
    {
        put(d, DCM_RescaleIntercept, number(storing.intercept));
        put(d, DCM_RescaleSlope, number(storing.slope));
        put(d, DCM_RescaleType, ct && image.in_hu ? "HU" : "US");
    }

    void ct_module(DcmDataset &d)
    {
        put(d, DCM_KVP, "");
        rescale(d);
    }

    // How it was acquired is nothing that we know. The MR module has no rescale; where values need one, it is added, as
    // scanners do.
    void mr_module(DcmDataset &d)
    {
        put(d, DCM_ScanningSequence, "RM");
        put(d, DCM_SequenceVariant, "NONE");
        for (const DcmTagKey &empty :
             {DCM_ScanOptions, DCM_MRAcquisitionType, DCM_RepetitionTime, DCM_EchoTime, DCM_EchoTrainLength})
            put(d, empty, "");
        put(d, DCM_SpacingBetweenSlices, decimal(thickness, DIGITS));
        if (storing.slope != 1 || storing.intercept != 0)
            rescale(d);
    }

    void window(DcmDataset &d)
    {
        double width = image.has_window ? image.window_width : storing.high - storing.low;
        double centre = image.has_window ? image.window_centre : (storing.high + storing.low) / 2;
        put(d, DCM_WindowCenter, number(centre));
        put(d, DCM_WindowWidth, number(width > 0 ? width : 1));
    }

    void pixel_module(DcmDataset &d)
    {
        put(d, DCM_SamplesPerPixel, Uint16{1});
        put(d, DCM_PhotometricInterpretation, "MONOCHROME2");
        put(d, DCM_Rows, static_cast<Uint16>(geometry.dim[1]));
        put(d, DCM_Columns, static_cast<Uint16>(geometry.dim[0]));
        put(d, DCM_BitsAllocated, Uint16{16});
        put(d, DCM_BitsStored, Uint16{16});
        put(d, DCM_HighBit, Uint16{15});
        put(d, DCM_PixelRepresentation, Uint16{storing.is_signed});
        if (!image.has_padding)
            return;
        int64_t padding = stored_of(storing, image.padding);
        if (storing.is_signed)
            check(d.putAndInsertSint16(DCM_PixelPaddingValue, static_cast<Sint16>(padding)));
        else
            put(d, DCM_PixelPaddingValue, static_cast<Uint16>(padding));
    }

    void pixels(DcmDataset &d, int64_t k)
    {
        int64_t n = geometry.dim[0] * geometry.dim[1];
        stored.resize(static_cast<size_t>(n));
        with_voxels(*image.volume, [&](auto *from) { store(from + n * k, n, storing, stored.data()); });
        check(d.putAndInsertUint16Array(DCM_PixelData, stored.data(), static_cast<unsigned long>(n)));
    }
};

} // namespace

extern "C" enum kf_status kf_dicom_write_slices(const struct kf_dicom_write_image *image, const char *dir,
                                                struct kf_dicom_write_facts *facts, struct kf_error *err)
{
    *facts = kf_dicom_write_facts{};
    if (std::strcmp(image->modality, "CT") != 0 && std::strcmp(image->modality, "MR") != 0)
        return kf_error_set(err, KF_INVALID, "modality", "only CT and MR are written as DICOM slices");
    return guarded(err, [&] {
        begin(image->volume->grid, err);
        Writer(*image, dir, err).write(*facts);
    });
}
