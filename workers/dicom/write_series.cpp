#include "dcmtk/config/osconfig.h"

#include "dcmtk/dcmdata/dcrleerg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djencode.h"
#include "dcmtk/dcmjpls/djencode.h"
#include "dcmtk/oflog/oflog.h"

#include "server/base/hash.h"
#include "workers/dicom/write_series.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace {

struct Syntax {
    const char *name;
    E_TransferSyntax id;
};

const Syntax SYNTAXES[KF_WRITE_SYNTAX_COUNT] = {
    {"explicit", EXS_LittleEndianExplicit},
    {"implicit", EXS_LittleEndianImplicit},
    {"big-endian", EXS_BigEndianExplicit},
    {"deflated", EXS_DeflatedLittleEndianExplicit},
    {"rle", EXS_RLELossless},
    {"jpeg-lossless", EXS_JPEGProcess14SV1},
    {"jpeg-ls", EXS_JPEGLSLossless},
};

struct Failure {
    OFCondition condition;
};

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

// A decimal string (VR DS): at most 16 characters, as many digits as fit.
std::string decimal(double value)
{
    char text[40];
    if (std::fabs(value) < 1e-9)
        value = 0;
    for (int digits = 12; digits > 1; digits--) {
        std::snprintf(text, sizeof text, "%.*g", digits, value);
        if (std::strlen(text) <= 16)
            break;
    }
    return text;
}

std::string decimals(const double *values, int n)
{
    std::string out = decimal(values[0]);
    for (int i = 1; i < n; i++)
        out += "\\" + decimal(values[i]);
    return out;
}

double length(const double v[3])
{
    return std::sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
}

std::string uid(const kf_dicom_write_series &s, const std::string &role)
{
    char text[65];
    kf_dicom_write_uid(text, s.uid_seed, role.c_str());
    return text;
}

class Writer {
  public:
    Writer(const kf_dicom_write_series &series, const char *dir) : s(series), dir(dir)
    {
        const kf_dicom_write_geometry &g = s.geometry;
        ct = std::strcmp(s.modality, "CT") == 0;
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

    int write_slices()
    {
        int64_t count = s.geometry.dim[2];
        for (int64_t n = 0; n < count; n++) {
            DcmFileFormat file;
            DcmDataset &d = *file.getDataset();
            int64_t k = s.reversed ? count - 1 - n : n;
            common(d, ct ? UID_CTImageStorage : UID_MRImageStorage, "instance " + std::to_string(n + 1));
            put(d, DCM_InstanceNumber, std::to_string(n + 1));
            put(d, DCM_AcquisitionNumber, "1");
            slice_modules(d, k);
            pixel_module(d);
            pixels(d, k, 1);
            char name[32];
            std::snprintf(name, sizeof name, "IM%06d.dcm", static_cast<int>(n + 1));
            save(file, name);
        }
        return static_cast<int>(count);
    }

    int write_enhanced()
    {
        DcmFileFormat file;
        DcmDataset &d = *file.getDataset();
        int64_t count = s.geometry.dim[2];
        common(d, ct ? UID_EnhancedCTImageStorage : UID_EnhancedMRImageStorage, "enhanced");
        put(d, DCM_InstanceNumber, "1");
        put(d, DCM_ContentDate, s.date);
        put(d, DCM_ContentTime, s.time);
        put(d, DCM_AcquisitionDateTime, std::string(s.date) + s.time);
        put(d, DCM_NumberOfFrames, std::to_string(count));
        put(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
        put(d, DCM_PixelPresentation, "MONOCHROME");
        put(d, DCM_VolumetricProperties, "VOLUME");
        put(d, DCM_VolumeBasedCalculationTechnique, "NONE");
        put(d, DCM_PresentationLUTShape, "IDENTITY");
        put(d, DCM_BurnedInAnnotation, "NO");
        put(d, DCM_LossyImageCompression, "00");
        if (!ct)
            enhanced_mr(d);
        dimensions(d);
        shared_groups(d);
        for (int64_t n = 0; n < count; n++)
            frame_groups(d, n);
        pixel_module(d);
        pixels(d, 0, count);
        save(file, "ENHANCED.dcm");
        return 1;
    }

  private:
    const kf_dicom_write_series &s;
    std::string dir;
    bool ct = true;
    double spacing[3], orientation[6], thickness;

    void position(int64_t k, double p[3]) const
    {
        for (int r = 0; r < 3; r++)
            p[r] = s.geometry.origin_lps[r] + static_cast<double>(k) * s.geometry.step[2][r];
    }

    // Patient, study, series, frame of reference, equipment and SOP common modules.
    void common(DcmDataset &d, const char *sop_class, const std::string &role)
    {
        put(d, DCM_SpecificCharacterSet, "ISO_IR 192");
        put(d, DCM_SOPClassUID, sop_class);
        put(d, DCM_SOPInstanceUID, uid(s, role));
        put(d, DCM_InstanceCreationDate, s.date);
        put(d, DCM_InstanceCreationTime, s.time);
        put(d, DCM_StudyDate, s.date);
        put(d, DCM_SeriesDate, s.date);
        put(d, DCM_AcquisitionDate, s.date);
        put(d, DCM_ContentDate, s.date);
        put(d, DCM_StudyTime, s.time);
        put(d, DCM_SeriesTime, s.time);
        put(d, DCM_AcquisitionTime, s.time);
        put(d, DCM_ContentTime, s.time);
        put(d, DCM_AccessionNumber, "");
        put(d, DCM_ReferringPhysicianName, "");
        put(d, DCM_Modality, s.modality);
        put(d, DCM_Manufacturer, "Kerf");
        put(d, DCM_ManufacturerModelName, "Phantom");
        put(d, DCM_DeviceSerialNumber, "1");
        put(d, DCM_SoftwareVersions, KERF_VERSION);
        put(d, DCM_StudyDescription, s.study_description);
        put(d, DCM_SeriesDescription, s.series_description);
        put(d, DCM_ProtocolName, s.protocol);
        put(d, DCM_PatientName, s.patient_name);
        put(d, DCM_PatientID, s.patient_id);
        put(d, DCM_IssuerOfPatientID, "KERF-PHANTOM");
        put(d, DCM_PatientBirthDate, s.birth_date);
        put(d, DCM_PatientSex, s.sex);
        put(d, DCM_BodyPartExamined, s.body_part);
        put(d, DCM_PatientPosition, "HFS");
        put(d, DCM_StudyID, s.study_id);
        put(d, DCM_SeriesNumber, std::to_string(s.series_number));
        put(d, DCM_StudyInstanceUID, s.study_uid ? std::string(s.study_uid) : uid(s, "study"));
        put(d, DCM_SeriesInstanceUID, uid(s, "series"));
        put(d, DCM_FrameOfReferenceUID, s.frame_uid ? std::string(s.frame_uid) : uid(s, "frame of reference"));
        put(d, DCM_PositionReferenceIndicator, "");
    }

    // Image plane and CT or MR image modules.
    void slice_modules(DcmDataset &d, int64_t k)
    {
        double p[3];
        position(k, p);
        put(d, DCM_ImageType, ct ? "ORIGINAL\\PRIMARY\\AXIAL" : "ORIGINAL\\PRIMARY\\M\\SE");
        put(d, DCM_ImagePositionPatient, decimals(p, 3));
        put(d, DCM_ImageOrientationPatient, decimals(orientation, 6));
        double pair[2] = {spacing[1], spacing[0]}; // between rows, between columns
        put(d, DCM_PixelSpacing, decimals(pair, 2));
        put(d, DCM_SliceThickness, decimal(thickness));
        put(d, DCM_SliceLocation, decimal(p[2]));
        if (ct) {
            put(d, DCM_KVP, "120");
            put(d, DCM_ConvolutionKernel, "PHANTOM");
            put(d, DCM_GantryDetectorTilt, decimal(s.gantry_tilt_deg));
            put(d, DCM_RescaleIntercept, "-1024");
            put(d, DCM_RescaleSlope, "1");
            put(d, DCM_RescaleType, "HU");
        } else {
            put(d, DCM_ScanningSequence, "SE");
            put(d, DCM_SequenceVariant, "SK");
            put(d, DCM_ScanOptions, "");
            put(d, DCM_MRAcquisitionType, "3D");
            put(d, DCM_RepetitionTime, "3200");
            put(d, DCM_EchoTime, "105");
            put(d, DCM_EchoTrainLength, "16");
            put(d, DCM_MagneticFieldStrength, "1.5");
            put(d, DCM_SpacingBetweenSlices, decimal(thickness));
        }
        put(d, DCM_WindowCenter, decimal(s.window_centre));
        put(d, DCM_WindowWidth, decimal(s.window_width));
    }

    void pixel_module(DcmDataset &d)
    {
        put(d, DCM_SamplesPerPixel, Uint16{1});
        put(d, DCM_PhotometricInterpretation, "MONOCHROME2");
        put(d, DCM_Rows, static_cast<Uint16>(s.geometry.dim[1]));
        put(d, DCM_Columns, static_cast<Uint16>(s.geometry.dim[0]));
        put(d, DCM_BitsAllocated, Uint16{16});
        put(d, DCM_BitsStored, Uint16{12});
        put(d, DCM_HighBit, Uint16{11});
        put(d, DCM_PixelRepresentation, Uint16{0});
    }

    void pixels(DcmDataset &d, int64_t k, int64_t count)
    {
        int64_t plane = s.geometry.dim[0] * s.geometry.dim[1], n = plane * count;
        std::vector<Uint16> stored(static_cast<size_t>(n));
        const int16_t *from = s.values + plane * k;
        int shift = ct ? 1024 : 0;
        for (int64_t i = 0; i < n; i++) {
            int v = from[i] + shift;
            stored[static_cast<size_t>(i)] = static_cast<Uint16>(v < 0 ? 0 : v > 4095 ? 4095 : v);
        }
        check(d.putAndInsertUint16Array(DCM_PixelData, stored.data(), static_cast<unsigned long>(n)));
    }

    void enhanced_mr(DcmDataset &d)
    {
        put(d, DCM_PulseSequenceName, "PHANTOM");
        put(d, DCM_MRAcquisitionType, "3D");
        put(d, DCM_EchoPulseSequence, "SPIN");
        put(d, DCM_ContentQualification, "RESEARCH");
        put(d, DCM_ResonantNucleus, "1H");
        put(d, DCM_ComplexImageComponent, "MAGNITUDE");
        put(d, DCM_AcquisitionContrast, "T2");
        put_double(d, DCM_MagneticFieldStrength, 1.5);
    }

    void dimensions(DcmDataset &d)
    {
        DcmItem *item = nullptr;
        std::string dimension = uid(s, "dimension");
        check(d.findOrCreateSequenceItem(DCM_DimensionOrganizationSequence, item, -2));
        put(*item, DCM_DimensionOrganizationUID, dimension);
        check(d.findOrCreateSequenceItem(DCM_DimensionIndexSequence, item, -2));
        put(*item, DCM_DimensionOrganizationUID, dimension);
        check(item->putAndInsertTagKey(DCM_DimensionIndexPointer, DCM_InStackPositionNumber));
        check(item->putAndInsertTagKey(DCM_FunctionalGroupPointer, DCM_FrameContentSequence));
    }

    DcmItem &group(DcmItem &in, const DcmTagKey &sequence)
    {
        DcmItem *item = nullptr;
        check(in.findOrCreateSequenceItem(sequence, item, -2));
        return *item;
    }

    void shared_groups(DcmDataset &d)
    {
        DcmItem &shared = group(d, DCM_SharedFunctionalGroupsSequence);
        DcmItem &measures = group(shared, DCM_PixelMeasuresSequence);
        double pair[2] = {spacing[1], spacing[0]};
        put(measures, DCM_SliceThickness, decimal(thickness));
        put(measures, DCM_PixelSpacing, decimals(pair, 2));
        put(group(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient, decimals(orientation, 6));
        DcmItem &window = group(shared, DCM_FrameVOILUTSequence);
        put(window, DCM_WindowCenter, decimal(s.window_centre));
        put(window, DCM_WindowWidth, decimal(s.window_width));
        DcmItem &rescale = group(shared, DCM_PixelValueTransformationSequence);
        put(rescale, DCM_RescaleIntercept, ct ? "-1024" : "0");
        put(rescale, DCM_RescaleSlope, "1");
        put(rescale, DCM_RescaleType, ct ? "HU" : "US");
        DcmItem &type = group(shared, ct ? DCM_CTImageFrameTypeSequence : DCM_MRImageFrameTypeSequence);
        put(type, DCM_FrameType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
        put(type, DCM_PixelPresentation, "MONOCHROME");
        put(type, DCM_VolumetricProperties, "VOLUME");
        put(type, DCM_VolumeBasedCalculationTechnique, "NONE");
        if (ct)
            put_double(group(shared, DCM_CTGeometrySequence), DCM_GantryDetectorTilt, s.gantry_tilt_deg);
    }

    void frame_groups(DcmDataset &d, int64_t n)
    {
        double p[3];
        position(n, p);
        DcmItem &frame = group(d, DCM_PerFrameFunctionalGroupsSequence);
        DcmItem &content = group(frame, DCM_FrameContentSequence);
        put(content, DCM_StackID, "1");
        check(content.putAndInsertUint32(DCM_InStackPositionNumber, static_cast<Uint32>(n + 1)));
        check(content.putAndInsertUint32(DCM_DimensionIndexValues, static_cast<Uint32>(n + 1)));
        put(group(frame, DCM_PlanePositionSequence), DCM_ImagePositionPatient, decimals(p, 3));
    }

    void save(DcmFileFormat &file, const char *name)
    {
        E_TransferSyntax syntax = SYNTAXES[s.syntax].id;
        if (s.syntax >= KF_WRITE_RLE) {
            check(file.getDataset()->chooseRepresentation(syntax, nullptr));
            if (!file.getDataset()->canWriteXfer(syntax))
                throw Failure{EC_CannotChangeRepresentation};
        }
        std::string path = dir + "/" + name;
        check(file.saveFile(path.c_str(), syntax, EET_ExplicitLength, EGL_recalcGL, EPD_noChange));
    }
};

} // namespace

extern "C" enum kf_dicom_write_syntax kf_dicom_write_syntax_find(const char *name)
{
    int i = 0;
    while (i < KF_WRITE_SYNTAX_COUNT && std::strcmp(name, SYNTAXES[i].name) != 0)
        i++;
    return static_cast<enum kf_dicom_write_syntax>(i);
}

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

extern "C" enum kf_status kf_dicom_write(const struct kf_dicom_write_series *series, const char *dir, int *files,
                                         struct kf_error *err)
{
    *files = 0;
    const int64_t *dim = series->geometry.dim;
    if (dim[0] < 1 || dim[1] < 1 || dim[2] < 1 || dim[0] > 65535 || dim[1] > 65535 || dim[2] > 99999)
        return kf_error_set(err, KF_INVALID, "dimensions", "A series needs 1 to 65535 rows and columns.");
    if (std::strcmp(series->modality, "CT") != 0 && std::strcmp(series->modality, "MR") != 0)
        return kf_error_set(err, KF_INVALID, "modality", "Only CT and MR can be written.");
    if (series->enhanced && series->syntax >= KF_WRITE_RLE)
        return kf_error_set(err, KF_UNSUPPORTED, "syntax", "Multi-frame objects are written uncompressed only.");
    try {
        OFLog::configure(OFLogger::WARN_LOG_LEVEL);
        DcmRLEEncoderRegistration::registerCodecs();
        DJEncoderRegistration::registerCodecs(ECC_lossyYCbCr, EUC_never);
        DJLSEncoderRegistration::registerCodecs();
        Writer writer(*series, dir);
        *files = series->enhanced ? writer.write_enhanced() : writer.write_slices();
        return KF_OK;
    } catch (const Failure &failure) {
        enum kf_status status = errno == ENOSPC ? KF_NOSPACE : KF_IO;
        return kf_error_set(err, status, nullptr, "The series was not written: %s.", failure.condition.text());
    } catch (const std::bad_alloc &) {
        return kf_error_set(err, KF_NOMEM, nullptr, "No memory to write the series.");
    } catch (...) {
        return kf_error_set(err, KF_INTERNAL, nullptr, "The DICOM library failed while writing.");
    }
}
