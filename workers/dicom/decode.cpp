// Native pixels by pread; RLE, JPEG and JPEG-LS through DCMTK's codecs on a small dataset made for one frame; JPEG 2000
// through j2k.c.
#include "workers/dicom/decode.h"

#include "dcmtk/dcmdata/dcpixel.h"
#include "dcmtk/dcmdata/dcpixseq.h"
#include "dcmtk/dcmdata/dcpxitem.h"
#include "workers/dicom/shim.h"

#include <cstring>
#include <vector>

namespace {

enum class Way { Native, Dcmtk, J2k, Refused };

struct Syntax {
    const char *uid;
    Way way;
    const char *code; // of the refusal
    const char *name;
};

#define DICOM_SYNTAX "1.2.840.10008.1.2"
const Syntax SYNTAXES[] = {
    {DICOM_SYNTAX, Way::Native, "", "Implicit VR Little Endian"},
    {DICOM_SYNTAX ".1", Way::Native, "", "Explicit VR Little Endian"},
    {DICOM_SYNTAX ".1.99", Way::Native, "", "Deflated Explicit VR Little Endian"},
    {DICOM_SYNTAX ".2", Way::Native, "", "Explicit VR Big Endian"},
    {DICOM_SYNTAX ".5", Way::Dcmtk, "", "RLE Lossless"},
    {DICOM_SYNTAX ".4.50", Way::Dcmtk, "", "JPEG Baseline"},
    {DICOM_SYNTAX ".4.51", Way::Dcmtk, "", "JPEG Extended"},
    {DICOM_SYNTAX ".4.53", Way::Dcmtk, "", "JPEG Spectral Selection"},
    {DICOM_SYNTAX ".4.55", Way::Dcmtk, "", "JPEG Full Progression"},
    {DICOM_SYNTAX ".4.57", Way::Dcmtk, "", "JPEG Lossless"},
    {DICOM_SYNTAX ".4.70", Way::Dcmtk, "", "JPEG Lossless, First-Order Prediction"},
    {DICOM_SYNTAX ".4.80", Way::Dcmtk, "", "JPEG-LS Lossless"},
    {DICOM_SYNTAX ".4.81", Way::Dcmtk, "", "JPEG-LS Lossy"},
    {DICOM_SYNTAX ".4.90", Way::J2k, "", "JPEG 2000 Lossless"},
    {DICOM_SYNTAX ".4.91", Way::J2k, "", "JPEG 2000"},
    {DICOM_SYNTAX ".4.92", Way::Refused, "jpeg2000_part2", "JPEG 2000 Part 2 Lossless"},
    {DICOM_SYNTAX ".4.93", Way::Refused, "jpeg2000_part2", "JPEG 2000 Part 2"},
    {DICOM_SYNTAX ".4.94", Way::Refused, "jpip", "JPIP Referenced"},
    {DICOM_SYNTAX ".4.95", Way::Refused, "jpip", "JPIP Referenced Deflate"},
    {DICOM_SYNTAX ".4.100", Way::Refused, "video", "MPEG2 Main Profile / Main Level"},
    {DICOM_SYNTAX ".4.101", Way::Refused, "video", "MPEG2 Main Profile / High Level"},
    {DICOM_SYNTAX ".4.102", Way::Refused, "video", "MPEG-4 AVC/H.264 High Profile"},
    {DICOM_SYNTAX ".4.103", Way::Refused, "video", "MPEG-4 AVC/H.264 BD-compatible"},
    {DICOM_SYNTAX ".4.107", Way::Refused, "video", "HEVC/H.265 Main Profile"},
    {DICOM_SYNTAX ".4.108", Way::Refused, "video", "HEVC/H.265 Main 10 Profile"},
    {DICOM_SYNTAX ".4.201", Way::Refused, "htj2k", "High-Throughput JPEG 2000 Lossless"},
    {DICOM_SYNTAX ".4.202", Way::Refused, "htj2k", "High-Throughput JPEG 2000 RPCL Lossless"},
    {DICOM_SYNTAX ".4.203", Way::Refused, "htj2k", "High-Throughput JPEG 2000"},
};

const Syntax *find_syntax(const char *uid)
{
    for (const Syntax &syntax : SYNTAXES)
        if (strcmp(syntax.uid, uid) == 0)
            return &syntax;
    return nullptr;
}

enum kf_status bad_pixels(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INVALID, "bad_pixels", "%s", what);
}

// Leaves the stored bits, sign extended. Overlay bits above or below them go.
void settle_bits(const struct kf_dicom_image &image, uint16_t *values)
{
    int low = image.high_bit - image.bits_stored + 1;
    if (low == 0 && image.bits_stored == 16)
        return;
    size_t count = static_cast<size_t>(image.rows) * static_cast<size_t>(image.columns);
    uint32_t mask = (1u << image.bits_stored) - 1, sign = image.is_signed ? 1u << (image.bits_stored - 1) : 0;
    for (size_t i = 0; i < count; i++)
        values[i] = static_cast<uint16_t>((((static_cast<uint32_t>(values[i]) >> low) & mask) ^ sign) - sign);
}

// 8-bit cells were read into the second half of `to`: each becomes 16 bits.
void widen(const uint8_t *from, size_t count, uint16_t *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

enum kf_status decode_native(const kf_dicom &d, const kf_dicom_bytes &bytes, const struct kf_dicom_image &image,
                             const kf_dicom_span &span, uint16_t *to, struct kf_error *err)
{
    size_t count = static_cast<size_t>(image.rows) * static_cast<size_t>(image.columns);
    size_t size = count * static_cast<size_t>(image.bits_allocated) / 8;
    bool big = d.scan.encoding == KF_DICOM_EXPLICIT_BE;
    if (span.length < size)
        return kf_error_set(err, KF_INVALID, "truncated", "Pixel Data is shorter than its frames");
    uint8_t *raw = reinterpret_cast<uint8_t *>(to) + (2 * count - size);
    enum kf_status status = kf_dicom_read_at(&bytes, static_cast<int64_t>(span.offset), raw, size, err);
    if (status != KF_OK)
        return status;
    if (image.bits_allocated == 8) {
        if (big && strcmp(d.scan.pixel_vr, "OW") == 0) // bytes packed in big-endian words
            for (size_t i = 0; i + 1 < count; i += 2)
                std::swap(raw[i], raw[i + 1]);
        widen(raw, count, to);
    } else if (big) {
        for (size_t i = 0; i < count; i++)
            to[i] = __builtin_bswap16(to[i]);
    }
    settle_bits(image, to);
    return KF_OK;
}

// The payloads of the items in a span.
enum kf_status read_items(const kf_dicom_bytes &bytes, const kf_dicom_span &span,
                          std::vector<std::vector<Uint8>> &items, struct kf_error *err)
{
    std::vector<Uint8> all(span.length);
    enum kf_status status = kf_dicom_read_at(&bytes, static_cast<int64_t>(span.offset), all.data(), all.size(), err);
    for (size_t at = 0; status == KF_OK && at < all.size();) {
        if (all.size() - at < 8)
            return bad_pixels(err, "a fragment is cut off");
        const Uint8 *p = &all[at];
        size_t length = p[4] | p[5] << 8 | p[6] << 16 | static_cast<size_t>(p[7]) << 24;
        if (length > all.size() - at - 8)
            return bad_pixels(err, "a fragment is cut off");
        items.emplace_back(p + 8, p + 8 + length);
        at += 8 + length;
    }
    return status;
}

void describe(const struct kf_dicom_image &image, DcmDataset &frame)
{
    frame.putAndInsertUint16(DCM_SamplesPerPixel, 1);
    frame.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME2");
    frame.putAndInsertString(DCM_NumberOfFrames, "1");
    frame.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(image.rows));
    frame.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(image.columns));
    frame.putAndInsertUint16(DCM_BitsAllocated, static_cast<Uint16>(image.bits_allocated));
    frame.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(image.bits_stored));
    frame.putAndInsertUint16(DCM_HighBit, static_cast<Uint16>(image.high_bit));
    frame.putAndInsertUint16(DCM_PixelRepresentation, static_cast<Uint16>(image.is_signed));
    frame.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
    frame.putAndInsertString(DCM_SOPInstanceUID, "1.2.3");
}

enum kf_status decode_dcmtk(const kf_dicom &d, const kf_dicom_bytes &from, const struct kf_dicom_image &image,
                            const kf_dicom_span &span, uint16_t *to, struct kf_error *err)
{
    std::vector<std::vector<Uint8>> items;
    enum kf_status status = read_items(from, span, items, err);
    if (status != KF_OK)
        return status;
    DcmDataset frame;
    describe(image, frame);
    DcmPixelSequence *sequence = new DcmPixelSequence(DcmTag(DCM_PixelData, EVR_OB));
    DcmPixelData *pixels = new DcmPixelData(DCM_PixelData);
    pixels->putOriginalRepresentation(DcmXfer(d.scan.transfer_syntax).getXfer(), nullptr, sequence);
    frame.insert(pixels, OFTrue);
    sequence->insert(new DcmPixelItem(DcmTag(DCM_Item, EVR_OB)));
    for (const auto &item : items) {
        DcmPixelItem *fragment = new DcmPixelItem(DcmTag(DCM_Item, EVR_OB));
        sequence->insert(fragment);
        if (fragment->putUint8Array(item.data(), item.size()).bad())
            return kf_error_set(err, KF_NOMEM, nullptr, "no memory for a coded frame");
    }
    if (frame.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad())
        return bad_pixels(err, "the coded frame is damaged");
    size_t count = static_cast<size_t>(image.rows) * static_cast<size_t>(image.columns);
    const Uint16 *words = nullptr;
    const Uint8 *bytes = nullptr;
    unsigned long have = 0;
    Uint16 bits = 0;
    (void)frame.findAndGetUint16(DCM_BitsAllocated, bits);
    if (frame.findAndGetUint8Array(DCM_PixelData, bytes, &have).good() && bytes && bits == 8 && have >= count) {
        widen(bytes, count, to);
    } else if (frame.findAndGetUint16Array(DCM_PixelData, words, &have).good() && words && bits == 8 &&
               2 * have >= count) {
        widen(reinterpret_cast<const uint8_t *>(words), count, to);
    } else if (words && bits == 16 && have >= count) {
        memcpy(to, words, 2 * count);
    } else {
        return kf_error_set(err, KF_INVALID, "frame_mismatch", "the coded frame has another size than the header says");
    }
    settle_bits(image, to);
    return KF_OK;
}

enum kf_status decode_j2k(const kf_dicom_bytes &from, const struct kf_dicom_image &image, const kf_dicom_span &span,
                          uint16_t *to, struct kf_error *err)
{
    std::vector<std::vector<Uint8>> items;
    enum kf_status status = read_items(from, span, items, err);
    if (status != KF_OK)
        return status;
    if (items.empty())
        return bad_pixels(err, "the frame has no fragment");
    for (size_t i = 1; i < items.size(); i++)
        items[0].insert(items[0].end(), items[i].begin(), items[i].end());
    return kf_dicom_decode_j2k(items[0].data(), items[0].size(), image.columns, image.rows, image.is_signed, to, err);
}

} // namespace

extern "C" enum kf_status kf_dicom_can_decode(const char *transfer_syntax, struct kf_error *err)
{
    const Syntax *syntax = find_syntax(transfer_syntax);
    if (!syntax)
        return kf_error_set(err, KF_UNSUPPORTED, "transfer_syntax_unknown", "transfer syntax %s is not known",
                            transfer_syntax);
    if (syntax->way == Way::Refused)
        return kf_error_set(err, KF_UNSUPPORTED, syntax->code, "transfer syntax %s (%s) cannot be decoded", syntax->uid,
                            syntax->name);
    return KF_OK;
}

extern "C" enum kf_status kf_dicom_decode(const struct kf_dicom *dicom, int fd, const struct kf_dicom_image *image,
                                          const struct kf_dicom_span *span, uint16_t *to, struct kf_error *err)
{
    enum kf_status status = kf_dicom_can_decode(dicom->scan.transfer_syntax, err);
    if (status != KF_OK)
        return status;
    return kerf::guarded(
        err, [&]() -> enum kf_status {
            Way way = find_syntax(dicom->scan.transfer_syntax)->way;
            kf_dicom_bytes bytes = dicom->scan.pixels;
            bytes.fd = fd;
            if (!dicom->scan.layout.encapsulated) // some writers say a compressed syntax over native pixels
                return decode_native(*dicom, bytes, *image, *span, to, err);
            if (way == Way::Native)
                return bad_pixels(err, "encapsulated pixels under an uncompressed transfer syntax");
            return way == Way::J2k ? decode_j2k(bytes, *image, *span, to, err)
                                   : decode_dcmtk(*dicom, bytes, *image, *span, to, err);
        });
}
