#include "dcmtk/config/osconfig.h"

#include "dcmtk/dcmdata/dcrleerg.h"
#include "dcmtk/dcmdata/dctk.h"
#include "dcmtk/dcmjpeg/djencode.h"
#include "dcmtk/dcmjpls/djencode.h"
#include "dcmtk/oflog/oflog.h"

#include "workers/dicom/write_series.h"
#include "workers/dicom/write_shim.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

using namespace kerf::writing;

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

class Writer : Plane {
  public:
    Writer(const kf_dicom_write_series &series, const char *dir)
        : Plane(series.geometry), s(series), dir(dir), ct(std::strcmp(series.modality, "CT") == 0)
    {
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
    bool ct;

    // Patient, study, series, frame of reference, equipment and SOP common modules.
    void common(DcmDataset &d, const char *sop_class, const std::string &role)
    {
        put(d, DCM_SpecificCharacterSet, "ISO_IR 192");
        put(d, DCM_SOPClassUID, sop_class);
        put(d, DCM_SOPInstanceUID, uid(s.uid_seed, role));
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
        put(d, DCM_StudyInstanceUID, s.study_uid ? std::string(s.study_uid) : uid(s.uid_seed, "study"));
        put(d, DCM_SeriesInstanceUID, uid(s.uid_seed, "series"));
        put(d, DCM_FrameOfReferenceUID, s.frame_uid ? std::string(s.frame_uid) : uid(s.uid_seed, "frame of reference"));
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
        std::string dimension = uid(s.uid_seed, "dimension");
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
    return guarded(err, [&] {
        OFLog::configure(OFLogger::WARN_LOG_LEVEL);
        DcmRLEEncoderRegistration::registerCodecs();
        DJEncoderRegistration::registerCodecs(ECC_lossyYCbCr, EUC_never);
        DJLSEncoderRegistration::registerCodecs();
        Writer writer(*series, dir);
        *files = series->enhanced ? writer.write_enhanced() : writer.write_slices();
    });
}
