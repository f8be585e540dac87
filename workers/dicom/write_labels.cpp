// A label map as a binary segmentation (write_derived.h). libdcmseg makes everything but the pixels: where a frame is
// no whole number of bytes, DCMTK 3.6.7 puts the frames after it in the wrong place. It gets frames of one byte
// instead, and Rows, Columns and Pixel Data are written over them; so the frames are in memory once, too.
#include "workers/dicom/write_content.h"

#include "dcmtk/dcmfg/fgfracon.h"
#include "dcmtk/dcmfg/fgpixmsr.h"
#include "dcmtk/dcmfg/fgplanor.h"
#include "dcmtk/dcmfg/fgplanpo.h"
#include "dcmtk/dcmfg/fgseg.h"
#include "dcmtk/dcmiod/cielabutil.h"
#include "dcmtk/dcmseg/segdoc.h"
#include "dcmtk/dcmseg/segment.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

using namespace kerf::writing;

namespace {

// Type 1 in this object, so something must stand there; no job knows what day it is.
const char NO_DATE[] = "19700101", NO_TIME[] = "000000";
const int64_t MOST_BYTES = INT64_C(4294967294); // the greatest length of Pixel Data

OFString of(const std::string &text)
{
    return OFString(text.c_str());
}

// At most 64 bytes, whole characters of UTF-8 (VR LO).
std::string short_text(const std::string &text)
{
    size_t n = text.size() < 64 ? text.size() : 64;
    while (n < text.size() && n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80)
        n--;
    return text.substr(0, n);
}

Uint16 rounded(double value)
{
    return static_cast<Uint16>(std::floor(value + 0.5));
}

class Writer : Plane {
  public:
    Writer(const kf_dicom_write_labels &labels, struct kf_error *err)
        : Plane(geometry_of(labels.volume->grid)), labels(labels), err(err), uids(content(), labels.origin.frame_uid),
          size(geometry.dim[0] * geometry.dim[1]), voxels(static_cast<const uint8_t *>(labels.volume->data))
    {
    }

    void write(const std::string &path)
    {
        find();
        create();
        for (int n = 0; n < labels.segment_count; n++)
            add_segment(labels.segments[n]);
        shared_groups();
        for (int n = 0; n < labels.segment_count; n++)
            for (int64_t k = 0; k < geometry.dim[2]; k++)
                if (lies_in(n, k))
                    add_frame(static_cast<Uint16>(n + 1), k);
        DcmFileFormat file;
        DcmDataset &d = *file.getDataset();
        check(seg->writeDataset(d));
        seg.reset();
        settle(d);
        pixels(d);
        step(labels.origin, frames, frames, err);
        save(file, path);
    }

  private:
    const kf_dicom_write_labels &labels;
    struct kf_error *err;
    Uids uids;
    int64_t size; // of a slice
    const uint8_t *voxels;
    std::unique_ptr<DcmSegmentation> seg;
    std::vector<std::vector<bool>> lies; // [label][slice]: there is a voxel
    int64_t frames = 0, done = 0;

    std::string content() const
    {
        Content c;
        c.add(maker(labels.origin));
        for (int n = 0; n < labels.segment_count; n++) {
            const kf_dicom_write_segment &s = labels.segments[n];
            c.add(s.label);
            for (const char *text : {s.name, s.scheme, s.value, s.meaning})
                c.add(std::string(text ? text : ""));
            c.add(s.side);
            c.add(s.has_colour ? s.rgb[0] * 65536 + s.rgb[1] * 256 + s.rgb[2] : -1);
        }
        c.add(*labels.volume, *this);
        return c.finish();
    }

    // Where each label lies, and that each has a segment.
    void find()
    {
        bool known[256] = {true};
        for (int n = 0; n < labels.segment_count; n++)
            known[labels.segments[n].label] = true;
        lies.assign(256, std::vector<bool>(static_cast<size_t>(geometry.dim[2])));
        for (int64_t k = 0; k < geometry.dim[2]; k++) {
            bool here[256] = {false};
            for (int64_t i = 0; i < size; i++)
                here[voxels[size * k + i]] = true;
            for (size_t label = 1; label < 256; label++) {
                if (here[label] && !known[label])
                    throw Refusal{kf_error_set(err, KF_INVALID, "label_unknown",
                                               "label %d of the label map is no segment of its table",
                                               static_cast<int>(label))};
                lies[label][static_cast<size_t>(k)] = here[label];
                frames += here[label];
            }
        }
        if (!frames)
            throw Refusal{kf_error_set(err, KF_INVALID, "labels_empty", "there is no labelled voxel to write")};
        if ((size * frames + 7) / 8 > MOST_BYTES)
            throw Refusal{kf_error_set(err, KF_TOO_LARGE, "too_many_frames",
                                       "the segments fill more slices than one DICOM object can hold")};
    }

    void create()
    {
        IODGeneralEquipmentModule::EquipmentInfo equipment("Kerf", "Kerf", "1", KERF_VERSION);
        ContentIdentificationMacro identification("1", "SEGMENTATION", of(short_text(maker(labels.origin))), "");
        DcmSegmentation *made = nullptr;
        check(DcmSegmentation::createBinarySegmentation(made, 1, 8, equipment, identification));
        seg.reset(made);
        seg->setCheckFGOnWrite(OFFalse); // what we add is all alike; the checks are slow
        seg->setCheckDimensionsOnWrite(OFFalse);
        check(seg->getStudy().setStudyInstanceUID(of(uids.study)));
        check(seg->getSeries().setSeriesInstanceUID(of(uids.series)));
        check(seg->getSeries().setSeriesNumber("1"));
        check(seg->getSeries().setSeriesDescription(of(short_text(maker(labels.origin)))));
        check(seg->getSOPCommon().setSOPInstanceUID(of(uid(uids.seed, "segmentation"))));
        check(seg->getSOPCommon().setSpecificCharacterSet("ISO_IR 192"));
        check(seg->getFrameOfReference().setFrameOfReferenceUID(of(uids.frame)));
        OFString dimension = of(uid(uids.seed, "dimension"));
        check(seg->getDimensions().addDimensionIndex(DCM_ReferencedSegmentNumber, dimension,
                                                     DCM_SegmentIdentificationSequence, "Segment"));
        check(seg->getDimensions().addDimensionIndex(DCM_ImagePositionPatient, dimension, DCM_PlanePositionSequence,
                                                     "Slice"));
    }

    // Category and type. A thing is none of the anatomy; what has no code of its own is said in general.
    void add_segment(const kf_dicom_write_segment &s)
    {
        CodeSequenceMacro anatomy("123037004", "SCT", "Anatomical Structure"),
            thing("260787004", "SCT", "Physical object");
        CodeSequenceMacro type = anatomy;
        if (s.value)
            type = CodeSequenceMacro(s.value, s.scheme, s.meaning);
        bool is_thing = s.value && std::strcmp(s.value, "260787004") == 0;
        DcmSegment *made = nullptr;
        check(DcmSegment::create(made, of(short_text(s.name)), is_thing ? thing : anatomy, type,
                                 DcmSegTypes::SAT_AUTOMATIC, of(short_text(maker(labels.origin)))));
        std::unique_ptr<DcmSegment> owned(made);
        check(made->setSegmentDescription(of("label " + std::to_string(s.label))));
        if (s.side)
            made->getSegmentedPropertyTypeModifierCode().push_back(
                s.side == 'L' ? new CodeSequenceMacro("7771000", "SCT", "Left")
                              : new CodeSequenceMacro("24028007", "SCT", "Right"));
        if (s.has_colour) {
            double l, a, b;
            IODCIELabUtil::rgb2DicomLab(l, a, b, s.rgb[0] / 255.0, s.rgb[1] / 255.0, s.rgb[2] / 255.0);
            check(made->setRecommendedDisplayCIELabValue(rounded(l), rounded(a), rounded(b)));
        }
        Uint16 number;
        check(seg->addSegment(made, number));
        owned.release();
    }

    void shared_groups()
    {
        FGPixelMeasures measures;
        double pair[2] = {spacing[1], spacing[0]}; // between rows, between columns
        check(measures.setPixelSpacing(of(decimals(pair, 2, DIGITS))));
        check(measures.setSliceThickness(of(decimal(thickness, DIGITS))));
        check(measures.setSpacingBetweenSlices(of(decimal(thickness, DIGITS))));
        OFString axis[6];
        for (int r = 0; r < 6; r++)
            axis[r] = of(decimal(orientation[r], DIGITS));
        std::unique_ptr<FGPlaneOrientationPatient> turn(
            FGPlaneOrientationPatient::createMinimal(axis[0], axis[1], axis[2], axis[3], axis[4], axis[5]));
        if (!turn)
            throw std::bad_alloc();
        check(seg->addForAllFrames(measures));
        check(seg->addForAllFrames(*turn));
    }

    bool lies_in(int n, int64_t k) const
    {
        return lies[static_cast<size_t>(labels.segments[n].label)][static_cast<size_t>(k)];
    }

    void add_frame(Uint16 number, int64_t k)
    {
        Uint8 nothing[8] = {0};
        double p[3];
        position(k, p);
        FGFrameContent place;
        FGSegmentation segment;
        std::unique_ptr<FGPlanePosPatient> plane(FGPlanePosPatient::createMinimal(
            of(decimal(p[0], DIGITS)), of(decimal(p[1], DIGITS)), of(decimal(p[2], DIGITS))));
        if (!plane)
            throw std::bad_alloc();
        check(place.setDimensionIndexValues(number, 0));
        check(place.setDimensionIndexValues(static_cast<Uint32>(k + 1), 1));
        check(segment.setReferencedSegmentNumber(number));
        OFVector<FGBase *> groups;
        groups.push_back(&place);
        groups.push_back(plane.get());
        groups.push_back(&segment);
        check(seg->addFrame(nothing, number, groups));
    }

    // The frames, one bit a pixel, the first in the lowest bit, without a gap between them (PS3.5 section 8.1.1).
    void pixels(DcmDataset &d)
    {
        std::unique_ptr<DcmPixelData> element(new DcmPixelData(DCM_PixelData));
        Uint8 *bytes = nullptr;
        Uint32 length = static_cast<Uint32>((size * frames + 7) / 8);
        element->setVR(EVR_OB);
        check(element->createUint8Array(length, bytes));
        std::memset(bytes, 0, length);
        for (int n = 0; n < labels.segment_count; n++)
            for (int64_t k = 0; k < geometry.dim[2]; k++) {
                if (!lies_in(n, k))
                    continue;
                step(labels.origin, done, frames, err);
                pack(voxels + size * k, static_cast<uint8_t>(labels.segments[n].label), bytes, size * done++);
            }
        check(d.insert(element.get(), OFTrue));
        element.release();
        put(d, DCM_Rows, static_cast<Uint16>(geometry.dim[1]));
        put(d, DCM_Columns, static_cast<Uint16>(geometry.dim[0]));
    }

    void pack(const uint8_t *slice, uint8_t label, Uint8 *bytes, int64_t bit) const
    {
        for (int64_t i = 0; i < size; i++, bit++)
            if (slice[i] == label)
                bytes[bit >> 3] = static_cast<Uint8>(bytes[bit >> 3] | 1 << (bit & 7));
    }

    // What the library takes from a clock, or leaves out.
    void settle(DcmDataset &d)
    {
        put(d, DCM_ContentDate, NO_DATE);
        put(d, DCM_ContentTime, NO_TIME);
        for (const DcmTagKey &clock :
             {DCM_InstanceCreationDate, DCM_InstanceCreationTime, DCM_SeriesDate, DCM_SeriesTime})
            delete d.remove(clock);
    }
};

} // namespace

extern "C" enum kf_status kf_dicom_write_segmentation(const struct kf_dicom_write_labels *labels, const char *dir,
                                                      struct kf_dicom_write_facts *facts, struct kf_error *err)
{
    *facts = kf_dicom_write_facts{};
    enum kf_status status = guarded(err, [&] {
        begin(labels->volume->grid, err);
        Writer(*labels, err).write(std::string(dir) + "/SEG.dcm");
    });
    facts->files = status == KF_OK;
    return status;
}
