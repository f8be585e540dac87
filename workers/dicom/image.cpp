#include "workers/dicom/image.h"

#include "workers/dicom/index.h"
#include "workers/dicom/shim.h"

#include <cmath>
#include <cstring>

extern "C" const char *const kf_dicom_split_names[KF_SPLIT_COUNT] = {
    "image_type", "slice_thickness", "echo",     "temporal_position", "trigger_time", "b_value",
    "gradient",   "kernel",          "tube_kvp", "inversion_time",    "stack",        "acquisition"};

namespace {

const char *const VOLUME_CLASSES[] = {
    "1.2.840.10008.5.1.4.1.1.2",      // CT
    "1.2.840.10008.5.1.4.1.1.2.1",    // enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",    // legacy converted enhanced CT
    "1.2.840.10008.5.1.4.1.1.4",      // MR
    "1.2.840.10008.5.1.4.1.1.4.1",    // enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",    // legacy converted enhanced MR
    "1.2.840.10008.5.1.4.1.1.13.1.1", // X-ray 3D angiographic
    "1.2.840.10008.5.1.4.1.1.13.1.2", // X-ray 3D craniofacial (cone beam)
    "1.2.840.10008.5.1.4.1.1.128",    // PET
    "1.2.840.10008.5.1.4.1.1.128.1",  // legacy converted enhanced PET
    "1.2.840.10008.5.1.4.1.1.130",    // enhanced PET
};

int integer(kf_dicom *d, uint32_t tag, int otherwise)
{
    double value = kf_dicom_number(d, tag, otherwise);
    return value == std::floor(value) && std::fabs(value) < 1e9 ? static_cast<int>(value) : -1;
}

// Padding is stored in the pixels' own representation, whatever VR the writer chose.
int32_t stored_value(double value, const struct kf_dicom_image &image)
{
    int64_t v = static_cast<int64_t>(value) & 0xFFFF;
    return static_cast<int32_t>(image.is_signed && v >= 0x8000 ? v - 0x10000 : v);
}

void read_padding(kf_dicom *d, struct kf_dicom_image &image)
{
    double low, high;
    if (kf_dicom_numbers(d, KF_TAG(0x0028, 0x0120), &low, 1) < 1)
        return;
    image.has_padding = 1;
    image.padding_low = image.padding_high = stored_value(low, image);
    if (kf_dicom_numbers(d, KF_TAG(0x0028, 0x0121), &high, 1) >= 1)
        image.padding_high = stored_value(high, image);
    if (image.padding_high < image.padding_low)
        std::swap(image.padding_low, image.padding_high);
}

DcmItem *shared_groups(kf_dicom *d)
{
    return kerf::first_item(&d->dataset, KF_TAG(0x5200, 0x9229));
}

void read_units(kf_dicom *d, struct kf_dicom_image &image)
{
    DcmItem *transformation = kerf::first_item(shared_groups(d), KF_TAG(0x0028, 0x9145));
    std::string type = kerf::text(&d->dataset, KF_TAG(0x0028, 0x1054), 0);
    if (type.empty())
        type = kerf::text(transformation, KF_TAG(0x0028, 0x1054), 0);
    bool ct = strncmp(d->identity.sop_class, "1.2.840.10008.5.1.4.1.1.2", 25) == 0 &&
              (d->identity.sop_class[25] == 0 || d->identity.sop_class[25] == '.');
    image.in_hu = ct && (type.empty() || type == "HU");
    kf_str_copy(image.units, sizeof image.units, type.c_str());
}

enum kf_status read_image(kf_dicom *d, struct kf_dicom_image &image, struct kf_error *err)
{
    if (!d->scan.layout.has_pixels || !kf_dicom_has(d, KF_TAG(0x0028, 0x0010)))
        return kf_error_set(err, KF_INVALID, "not_an_image", "the object has no Pixel Data");
    image.rows = integer(d, KF_TAG(0x0028, 0x0010), 0);
    image.columns = integer(d, KF_TAG(0x0028, 0x0011), 0);
    image.frames = integer(d, KF_TAG(0x0028, 0x0008), 1);
    image.samples = integer(d, KF_TAG(0x0028, 0x0002), 1);
    image.bits_allocated = integer(d, KF_TAG(0x0028, 0x0100), 0);
    image.bits_stored = integer(d, KF_TAG(0x0028, 0x0101), image.bits_allocated);
    image.high_bit = integer(d, KF_TAG(0x0028, 0x0102), image.bits_stored - 1);
    image.is_signed = integer(d, KF_TAG(0x0028, 0x0103), 0) == 1;
    std::string photometric = kerf::text(&d->dataset, KF_TAG(0x0028, 0x0004), 0);
    image.inverted = photometric == "MONOCHROME1";
    if (image.rows < 1 || image.rows > 65535 || image.columns < 1 || image.columns > 65535 || image.frames < 1 ||
        image.frames > 1000000)
        return kf_error_set(err, KF_INVALID, "bad_image", "rows, columns or number of frames make no sense");
    if (image.samples != 1 || (photometric != "MONOCHROME2" && photometric != "MONOCHROME1"))
        return kf_error_set(err, KF_UNSUPPORTED, "colour_image", "the image is in colour, not in grey values");
    if (image.bits_allocated != 8 && image.bits_allocated != 16)
        return kf_error_set(err, KF_UNSUPPORTED, "bits_allocated",
                            "%d bits allocated per value: only 8 and 16 are read", image.bits_allocated);
    if (image.bits_stored < 1 || image.bits_stored > image.bits_allocated || image.high_bit < image.bits_stored - 1 ||
        image.high_bit >= image.bits_allocated)
        return kf_error_set(err, KF_INVALID, "bad_image", "bits stored and high bit contradict each other");
    if (kf_dicom_has(d, KF_TAG(0x0028, 0x3000)))
        return kf_error_set(err, KF_UNSUPPORTED, "modality_lut",
                            "values go through a modality table; only a linear rescale is read");
    read_padding(d, image);
    read_units(d, image);
    return KF_OK;
}

// ---- frames ----

// FNV-1a: only equality matters.
int64_t text_key(const std::string &text)
{
    uint64_t hash = 14695981039346656037ULL;
    for (unsigned char c : text)
        hash = (hash ^ c) * 1099511628211ULL;
    return text.empty() ? 0 : static_cast<int64_t>(hash >> 1);
}

int64_t number_key(double value)
{
    return std::fabs(value) < 1e12 ? std::llround(value * 1000) : 0;
}

// Where the attributes of a frame are: its own functional groups, the shared ones, the top level.
struct Places {
    DcmItem *own, *shared, *top;

    DcmItem *macro(uint32_t sequence) const
    {
        DcmItem *item = kerf::first_item(own, sequence);
        return item ? item : kerf::first_item(shared, sequence);
    }
    // Values of an attribute in a macro, else at the top level.
    int numbers(uint32_t sequence, uint32_t tag, double *to, int max) const
    {
        int n = sequence ? kerf::numbers(macro(sequence), tag, to, max) : 0;
        return n ? n : kerf::numbers(top, tag, to, max);
    }
    std::string text(uint32_t sequence, uint32_t tag, unsigned long index = 0) const
    {
        std::string value = sequence ? kerf::text(macro(sequence), tag, index) : std::string();
        return value.empty() ? kerf::text(top, tag, index) : value;
    }
    int64_t key(uint32_t sequence, uint32_t tag, uint32_t top_tag) const
    {
        double value;
        if (sequence && kerf::numbers(macro(sequence), tag, &value, 1) >= 1)
            return number_key(value);
        return kerf::numbers(top, top_tag, &value, 1) >= 1 ? number_key(value) : 0;
    }
};

void read_splits(const Places &p, kf_dicom_frame &f)
{
    std::string type;
    for (unsigned long i = 0; i < 6; i++) {
        std::string value = p.text(0x00189329, KF_TAG(0x0008, 0x9007), i);
        if (value.empty())
            value = p.text(0x00189226, KF_TAG(0x0008, 0x9007), i);
        type += (value.empty() ? kerf::text(p.top, KF_TAG(0x0008, 0x0008), i) : value) + "\\";
    }
    f.split[KF_SPLIT_IMAGE_TYPE] = text_key(type);
    f.split[KF_SPLIT_THICKNESS] = number_key(f.thickness_mm);
    f.split[KF_SPLIT_ECHO] = p.key(0x00189114, KF_TAG(0x0018, 0x9082), KF_TAG(0x0018, 0x0081));
    f.split[KF_SPLIT_TEMPORAL] = p.key(0x00209111, KF_TAG(0x0020, 0x9128), KF_TAG(0x0020, 0x0100));
    f.split[KF_SPLIT_TRIGGER] = p.key(0x00189118, KF_TAG(0x0020, 0x9153), KF_TAG(0x0018, 0x1060));
    f.split[KF_SPLIT_B_VALUE] = p.key(0x00189117, KF_TAG(0x0018, 0x9087), KF_TAG(0x0018, 0x9087));
    double gradient[3];
    if (kerf::numbers(p.top, KF_TAG(0x0018, 0x9089), gradient, 3) == 3)
        f.split[KF_SPLIT_GRADIENT] =
            number_key(gradient[0]) + 2003 * number_key(gradient[1]) + 4012009 * number_key(gradient[2]);
    f.split[KF_SPLIT_KERNEL] = text_key(p.text(0x00189314, KF_TAG(0x0018, 0x1210)));
    f.split[KF_SPLIT_KVP] = p.key(0x00189325, KF_TAG(0x0018, 0x0060), KF_TAG(0x0018, 0x0060));
    f.split[KF_SPLIT_INVERSION] = p.key(0, 0, KF_TAG(0x0018, 0x0082));
    f.split[KF_SPLIT_STACK] = text_key(p.text(0x00209111, KF_TAG(0x0020, 0x9056)));
    f.split[KF_SPLIT_ACQUISITION] = p.key(0x00209111, KF_TAG(0x0020, 0x9156), KF_TAG(0x0020, 0x0012));
}

enum kf_status read_frame(const Places &p, kf_dicom_frame &f, struct kf_error *err)
{
    double orientation[6], spacing[2];
    f = kf_dicom_frame{};
    f.has_place = p.numbers(0x00209113, KF_TAG(0x0020, 0x0032), f.position_lps, 3) == 3 &&
                  p.numbers(0x00209116, KF_TAG(0x0020, 0x0037), orientation, 6) == 6;
    if (f.has_place) {
        memcpy(f.row_lps, orientation, sizeof f.row_lps);
        memcpy(f.column_lps, orientation + 3, sizeof f.column_lps);
    }
    if (p.numbers(0x00289110, KF_TAG(0x0028, 0x0030), spacing, 2) == 2 && spacing[0] > 0 && spacing[1] > 0) {
        f.has_spacing = 1;
        f.spacing_mm[0] = spacing[1]; // the file says rows first
        f.spacing_mm[1] = spacing[0];
    }
    if (p.numbers(0x00289110, KF_TAG(0x0018, 0x0050), &f.thickness_mm, 1) < 1 || f.thickness_mm < 0)
        f.thickness_mm = 0;
    f.slope = 1;
    if (p.numbers(0x00289145, KF_TAG(0x0028, 0x1053), &f.slope, 1) < 0 ||
        p.numbers(0x00289145, KF_TAG(0x0028, 0x1052), &f.intercept, 1) < 0 || f.slope == 0)
        return kf_error_set(err, KF_INVALID, "bad_rescale", "rescale slope and intercept are not usable numbers");
    read_splits(p, f);
    return KF_OK;
}

enum kf_status read_frames(kf_dicom *d, kf_dicom_frame *to, int count, struct kf_error *err)
{
    DcmSequenceOfItems *per_frame = nullptr;
    (void)d->dataset.findAndGetSequence(DcmTagKey(0x5200, 0x9230), per_frame, OFFalse);
    if (per_frame && per_frame->card() < static_cast<unsigned long>(count))
        return kf_error_set(err, KF_INVALID, "functional_groups", "there are fewer functional groups than frames");
    Places places{nullptr, shared_groups(d), &d->dataset};
    DcmObject *object = nullptr;
    for (int i = 0; i < count; i++) {
        if (per_frame)
            places.own = static_cast<DcmItem *>(object = per_frame->nextInContainer(object));
        if (i > 0 && !per_frame) { // all frames of a classic multi-frame image share one place, which is then none
            to[i] = to[0];
            to[i].has_place = 0;
            continue;
        }
        enum kf_status status = read_frame(places, to[i], err);
        if (status != KF_OK)
            return status;
    }
    if (!per_frame && count > 1)
        to[0].has_place = 0;
    return KF_OK;
}

bool is_class(const kf_dicom *d, const char *uid)
{
    return strcmp(d->identity.sop_class, uid) == 0;
}

bool is_localizer(kf_dicom *d)
{
    std::string third = kerf::text(&d->dataset, KF_TAG(0x0008, 0x0008), 2);
    return third == "LOCALIZER" || third == "SCOUT" || third == "TOPOGRAM";
}

} // namespace

extern "C" enum kf_status kf_dicom_image(struct kf_dicom *dicom, struct kf_dicom_image *out, struct kf_error *err)
{
    *out = (struct kf_dicom_image){};
    enum kf_status status = kerf::guarded(err, [&] { return read_image(dicom, *out, err); });
    if (status != KF_OK)
        *out = (struct kf_dicom_image){};
    return status;
}

extern "C" enum kf_status kf_dicom_frame_places(struct kf_dicom *dicom, struct kf_dicom_frame *to, int count,
                                                struct kf_error *err)
{
    return kerf::guarded(err, [&] { return read_frames(dicom, to, count, err); });
}

extern "C" int kf_dicom_lacks_pixels(const struct kf_dicom *dicom)
{
    if (dicom->scan.layout.has_pixels)
        return 0;
    for (const char *uid : VOLUME_CLASSES)
        if (is_class(dicom, uid)) // Pixel Data Provider URL: the pixels are elsewhere (JPIP)
            return !kf_dicom_has(const_cast<kf_dicom *>(dicom), KF_TAG(0x0028, 0x7FE0));
    return 0;
}

extern "C" const char *kf_dicom_set_aside(const struct kf_dicom *dicom)
{
    const char *sop_class = dicom->identity.sop_class;
    if (!dicom->scan.layout.has_pixels)
        return "not_an_image";
    if (is_class(dicom, "1.2.840.10008.5.1.4.1.1.66.4") || is_class(dicom, "1.2.840.10008.5.1.4.1.1.66.7"))
        return "segmentation";
    if (is_class(dicom, "1.2.840.10008.5.1.4.1.1.481.2"))
        return "dose";
    if (strncmp(sop_class, "1.2.840.10008.5.1.4.1.1.7", 25) == 0 && (sop_class[25] == 0 || sop_class[25] == '.'))
        return "secondary_capture";
    try {
        for (const char *uid : VOLUME_CLASSES)
            if (is_class(dicom, uid))
                return is_localizer(const_cast<kf_dicom *>(dicom)) ? "localizer" : "";
    } catch (...) {
        return "unsupported_class";
    }
    return "unsupported_class";
}
