// Opening: scan (C, hostile-proof), then DCMTK over the header bytes that passed, then the identity.
#include "workers/dicom/meta.h"

#include "dcmtk/dcmdata/dcistrmb.h"
#include "dcmtk/dcmdata/dcrledrg.h"
#include "dcmtk/dcmdata/dcspchrs.h"
#include "dcmtk/dcmjpeg/djdecode.h"
#include "dcmtk/dcmjpls/djdecode.h"
#include "dcmtk/oflog/oflog.h"
#include "server/base/str.h"
#include "workers/dicom/shim.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sys/stat.h>

namespace kerf {

static DcmTagKey key(uint32_t tag)
{
    return DcmTagKey(static_cast<Uint16>(tag >> 16), static_cast<Uint16>(tag & 0xFFFF));
}

DcmElement *find(DcmItem &item, uint32_t tag)
{
    DcmElement *element = nullptr;
    if (item.findAndGetElement(key(tag), element, OFFalse).bad() || !element || element->isEmpty(OFFalse))
        return nullptr;
    return element;
}

DcmItem *first_item(DcmItem *item, uint32_t tag)
{
    DcmItem *first = nullptr;
    if (!item || item->findAndGetSequenceItem(key(tag), first, 0).bad())
        return nullptr;
    return first;
}

std::string raw_text(DcmElement &element)
{
    char *value = nullptr;
    Uint32 length = 0;
    if (element.getString(value, length).bad() || !value)
        return std::string();
    return std::string(value, strnlen(value, length));
}

static std::string trimmed(const std::string &all, size_t begin, size_t end)
{
    while (begin < end && (all[begin] == ' ' || all[begin] == '\0'))
        begin++;
    while (end > begin && (all[end - 1] == ' ' || all[end - 1] == '\0'))
        end--;
    return all.substr(begin, end - begin);
}

// Value `index` of backslash-parted text; false when there are fewer.
static bool part_of(const std::string &all, unsigned long index, std::string &to)
{
    size_t begin = 0;
    for (; index; index--) {
        size_t next = all.find('\\', begin);
        if (next == std::string::npos)
            return false;
        begin = next + 1;
    }
    size_t end = all.find('\\', begin);
    to = trimmed(all, begin, end == std::string::npos ? all.size() : end);
    return true;
}

std::string text(DcmItem *item, uint32_t tag, unsigned long index)
{
    DcmElement *element = item ? find(*item, tag) : nullptr;
    std::string value;
    if (element)
        part_of(raw_text(*element), index, value);
    return value;
}

static bool number_text(const std::string &value, double &number)
{
    char *end = nullptr;
    number = std::strtod(value.c_str(), &end);
    return !value.empty() && *end == 0 && std::isfinite(number);
}

bool number_at(DcmElement &element, unsigned long index, double &value)
{
    Uint16 u16;
    Sint16 s16;
    Uint32 u32;
    Sint32 s32;
    Float32 f32;
    bool ok;
    switch (element.ident()) {
    case EVR_US:
    case EVR_xs:
        ok = element.getUint16(u16, index).good();
        value = ok ? u16 : 0;
        return ok;
    case EVR_SS:
        ok = element.getSint16(s16, index).good();
        value = ok ? s16 : 0;
        return ok;
    case EVR_UL:
        ok = element.getUint32(u32, index).good();
        value = ok ? u32 : 0;
        return ok;
    case EVR_SL:
        ok = element.getSint32(s32, index).good();
        value = ok ? s32 : 0;
        return ok;
    case EVR_FL:
        ok = element.getFloat32(f32, index).good();
        value = ok ? static_cast<double>(f32) : 0;
        return ok && std::isfinite(value);
    case EVR_FD:
        return element.getFloat64(value, index).good() && std::isfinite(value);
    case EVR_DS:
    case EVR_IS: {
        std::string part;
        return part_of(raw_text(element), index, part) && number_text(part, value);
    }
    default:
        return false;
    }
}

int numbers(DcmItem *item, uint32_t tag, double *to, int max)
{
    DcmElement *element = item ? find(*item, tag) : nullptr;
    if (!element)
        return 0;
    unsigned long count = element->getVM();
    for (unsigned long i = 0; i < count && i < static_cast<unsigned long>(max); i++)
        if (!number_at(*element, i, to[i]))
            return -1;
    return static_cast<int>(count);
}

void append_utf8(std::string &to, const char *from, size_t length, TextMode mode)
{
    const unsigned char *p = reinterpret_cast<const unsigned char *>(from);
    for (size_t i = 0; i < length;) {
        if (p[i] < 0x80) {
            to.push_back(static_cast<char>(p[i++]));
        } else if (mode == TextMode::Latin1) {
            to.push_back(static_cast<char>(0xC0 | p[i] >> 6));
            to.push_back(static_cast<char>(0x80 | (p[i++] & 0x3F)));
        } else if (size_t n = kf_utf8_sequence(from + i, length - i)) {
            to.append(from + i, n);
            i += n;
        } else {
            to.append("\xEF\xBF\xBD");
            i++;
        }
    }
}

} // namespace kerf

// The C library loads a converter of text as code when it is first asked for, which no sandbox of ours allows later: one
// of each character set of PS3.3 section C.12.1.1.2 is opened now, and kept, for what nobody uses is unloaded again.
static void load_character_sets()
{
    static const char *const terms[] = {
        "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126", "ISO_IR 138",
        "ISO_IR 148", "ISO_IR 203", "ISO_IR 13",  "ISO_IR 166", "GB18030",    "GBK",
        "ISO 2022 IR 6\\ISO 2022 IR 149", "ISO 2022 IR 6\\ISO 2022 IR 58"};
    static DcmSpecificCharacterSet *kept[sizeof terms / sizeof *terms];
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        kept[i] = new DcmSpecificCharacterSet;
        (void)kept[i]->selectCharacterSet(terms[i], "ISO_IR 192"); // this DCMTK may not know it
    }
    (void)kerf::load_japanese();
}

extern "C" enum kf_status kf_dicom_init(struct kf_error *err)
{
    static std::once_flag once;
    return kerf::guarded(err, [&] {
        std::call_once(once, [] {
            setenv("TCP_NODELAY", "1", 1); // read by dcmnet at the first connection
            OFLog::configure(OFLogger::OFF_LOG_LEVEL);
            DJDecoderRegistration::registerCodecs(EDC_never);
            DJLSDecoderRegistration::registerCodecs();
            DcmRLEDecoderRegistration::registerCodecs();
            // Gateways write standard attributes as UN (PS3.5 section 6.2.2); the dictionary knows better.
            dcmEnableUnknownVRConversion.set(OFTrue);
            load_character_sets();
        });
        if (!dcmDataDict.isDictionaryLoaded())
            return kf_error_set(err, KF_INTERNAL, "no_dictionary", "the DICOM data dictionary could not be loaded");
        return KF_OK;
    });
}

namespace {

// Brings the text of the dataset to UTF-8, or notes how it lies.
void settle_text(kf_dicom &d)
{
    DcmElement *element = kerf::find(d.dataset, KF_TAG(0x0008, 0x0005));
    std::string charset = element ? kerf::raw_text(*element) : std::string();
    while (!charset.empty() && (charset.back() == ' ' || charset.back() == '\0'))
        charset.pop_back();
    if (charset.empty() || charset == "ISO_IR 100" || charset == "ISO_IR 6") {
        // Without a character set only ASCII is allowed; what is found in practice is Latin-1.
        d.text_mode = TextMode::Latin1;
    } else if (kerf::is_japanese(charset)) {
        kerf::convert_japanese(d.dataset);
    } else if (charset != "ISO_IR 192") {
        d.text_mode = d.dataset.convertToUTF8().good() ? TextMode::Utf8 : TextMode::Latin1;
    }
}

const char *keep(kf_dicom &d, const std::string &value)
{
    if (value.empty())
        return "";
    d.texts.emplace_back();
    kerf::append_utf8(d.texts.back(), value.data(), value.size(), d.text_mode);
    return d.texts.back().c_str();
}

const char *keep_text(kf_dicom &d, uint32_t tag)
{
    return keep(d, kerf::text(&d.dataset, tag, 0));
}

int keep_integer(kf_dicom &d, uint32_t tag, int &value)
{
    double number;
    if (kerf::numbers(&d.dataset, tag, &number, 1) < 1 || number != std::floor(number) ||
        std::fabs(number) > 2147483647.0)
        return 0;
    value = static_cast<int>(number);
    return 1;
}

enum kf_status check_uid(const char *uid, const char *missing, const char *what, struct kf_error *err)
{
    if (!*uid)
        return kf_error_set(err, KF_INVALID, missing, "the object has no %s", what);
    if (!kf_dicom_uid_valid(uid))
        return kf_error_set(err, KF_INVALID, "bad_uid", "the %s is not a UID", what);
    return KF_OK;
}

enum kf_status read_identity(kf_dicom &d, struct kf_error *err)
{
    struct kf_dicom_identity &id = d.identity;
    const struct {
        const char **to;
        uint32_t tag;
    } fields[] = {
        {&id.sop_uid, KF_TAG(0x0008, 0x0018)},
        {&id.sop_class, KF_TAG(0x0008, 0x0016)},
        {&id.study_uid, KF_TAG(0x0020, 0x000D)},
        {&id.series_uid, KF_TAG(0x0020, 0x000E)},
        {&id.frame_of_reference_uid, KF_TAG(0x0020, 0x0052)},
        {&id.modality, KF_TAG(0x0008, 0x0060)},
        {&id.body_part, KF_TAG(0x0018, 0x0015)},
        {&id.patient_id, KF_TAG(0x0010, 0x0020)},
        {&id.patient_issuer, KF_TAG(0x0010, 0x0021)},
        {&id.patient_name, KF_TAG(0x0010, 0x0010)},
        {&id.birth_date, KF_TAG(0x0010, 0x0030)},
        {&id.sex, KF_TAG(0x0010, 0x0040)},
        {&id.study_date, KF_TAG(0x0008, 0x0020)},
        {&id.study_time, KF_TAG(0x0008, 0x0030)},
        {&id.study_description, KF_TAG(0x0008, 0x1030)},
        {&id.accession, KF_TAG(0x0008, 0x0050)},
        {&id.series_description, KF_TAG(0x0008, 0x103E)},
    };
    for (const auto &field : fields)
        *field.to = keep_text(d, field.tag);
    id.transfer_syntax = d.scan.transfer_syntax;
    if (kerf::find(d.dataset, KF_TAG(0x0004, 0x1130)) || kerf::find(d.dataset, KF_TAG(0x0004, 0x1212)))
        return kf_error_set(err, KF_INVALID, "dicomdir", "a DICOMDIR is a table of contents, not an instance");
    id.has_series_number = keep_integer(d, KF_TAG(0x0020, 0x0011), id.series_number);
    id.has_instance_number = keep_integer(d, KF_TAG(0x0020, 0x0013), id.instance_number);
    // Careless anonymisers blank these two in the dataset only; the file meta group must hold the same values (PS3.10).
    if (!*id.sop_class)
        id.sop_class = d.scan.meta_sop_class;
    if (!*id.sop_uid)
        id.sop_uid = d.scan.meta_sop_uid;
    enum kf_status status = check_uid(id.sop_class, "no_sop_class_uid", "SOP Class UID", err);
    if (status == KF_OK)
        status = check_uid(id.sop_uid, "no_sop_instance_uid", "SOP Instance UID", err);
    if (status == KF_OK && *id.frame_of_reference_uid && !kf_dicom_uid_valid(id.frame_of_reference_uid))
        id.frame_of_reference_uid = "";
    return status;
}

// A stream over the header bytes that makes DCMTK look before it allocates: a value over DCM_MaxReadLength is skipped,
// which fails when its bytes are not there, and read when it is asked for. Without a factory a stream in memory is read
// at once, and a length field that the scan and DCMTK understand differently (an odd VR) allocates what it claims.
class HeaderStream : public DcmInputBufferStream {
  public:
    HeaderStream(const char *bytes, size_t length) : bytes_(bytes), length_(length)
    {
        setBuffer(bytes, static_cast<offile_off_t>(length));
        setEos();
    }

    DcmInputStreamFactory *newFactory() const override
    {
        size_t at = static_cast<size_t>(tell());
        return at <= length_ ? new Factory(bytes_ + at, length_ - at) : nullptr;
    }

  private:
    class Factory : public DcmInputStreamFactory {
      public:
        Factory(const char *bytes, size_t length) : bytes_(bytes), length_(length)
        {
        }
        DcmInputStream *create() const override
        {
            return new HeaderStream(bytes_, length_);
        }
        DcmInputStreamFactory *clone() const override
        {
            return new Factory(*this);
        }
        DcmInputStreamFactoryType ident() const override
        {
            return DFT_DcmInputFileStreamFactory;
        }

      private:
        const char *bytes_; // borrowed: kf_dicom_scan.header outlives the dataset
        size_t length_;
    };

    const char *bytes_;
    size_t length_;
};

enum kf_status parse_header(kf_dicom &d, struct kf_error *err)
{
    if (d.scan.header.length == 0)
        return kf_error_set(err, KF_INVALID, "bad_structure", "the dataset holds nothing but Pixel Data");
    HeaderStream stream(d.scan.header.data, d.scan.header.length);
    E_TransferSyntax syntax = d.scan.encoding == KF_DICOM_IMPLICIT_LE   ? EXS_LittleEndianImplicit
                              : d.scan.encoding == KF_DICOM_EXPLICIT_BE ? EXS_BigEndianExplicit
                                                                        : EXS_LittleEndianExplicit;
    d.dataset.transferInit();
    OFCondition read = d.dataset.read(stream, syntax, EGL_noChange, DCM_MaxReadLength);
    d.dataset.transferEnd();
    if (read.bad())
        return kf_error_set(err, KF_INVALID, "bad_structure", "the dataset cannot be parsed (%s)", read.text());
    return KF_OK;
}

enum kf_status open_bytes(const kf_dicom_bytes &bytes, const struct kf_dicom_limits *limits, kf_dicom **out,
                          struct kf_error *err)
{
    *out = nullptr;
    kf_dicom *d = nullptr;
    enum kf_status status = kf_dicom_init(err);
    if (status != KF_OK)
        return status;
    status = kerf::guarded(err, [&] {
        d = new kf_dicom;
        d->bytes = bytes;
        enum kf_status inner = kf_dicom_scan(&d->bytes, limits, &d->scan, err);
        if (inner == KF_OK)
            inner = parse_header(*d, err);
        if (inner == KF_OK) {
            settle_text(*d);
            inner = read_identity(*d, err);
        }
        return inner;
    });
    if (status != KF_OK) {
        kf_dicom_free(d);
        return status;
    }
    *out = d;
    return KF_OK;
}

} // namespace

extern "C" enum kf_status kf_dicom_open(int fd, int64_t offset, int64_t length, const struct kf_dicom_limits *limits,
                                        struct kf_dicom **out, struct kf_error *err)
{
    struct stat st;
    *out = nullptr;
    if (fstat(fd, &st) != 0)
        return kf_error_errno(err, errno, "looking at a DICOM file");
    if (offset < 0 || offset > st.st_size || length > st.st_size - offset)
        return kf_error_set(err, KF_INVALID, "truncated", "the file is shorter than the instance should be");
    kf_dicom_bytes bytes{};
    bytes.fd = fd;
    bytes.offset = offset;
    bytes.length = length < 0 ? st.st_size - offset : length;
    return open_bytes(bytes, limits, out, err);
}

extern "C" enum kf_status kf_dicom_open_memory(const void *memory, size_t length, const struct kf_dicom_limits *limits,
                                               struct kf_dicom **out, struct kf_error *err)
{
    kf_dicom_bytes bytes{};
    bytes.memory = static_cast<const unsigned char *>(memory);
    bytes.fd = -1;
    bytes.length = static_cast<int64_t>(length);
    return open_bytes(bytes, limits, out, err);
}

extern "C" void kf_dicom_free(struct kf_dicom *dicom)
{
    if (!dicom)
        return;
    kf_dicom_scan_release(&dicom->scan);
    delete dicom;
}

extern "C" void kf_dicom_forget(struct kf_dicom *dicom)
{
    try {
        (void)dicom->dataset.clear();
    } catch (...) {
        return; // nothing was freed, nothing is lost
    }
    kf_str_release(&dicom->scan.header);
    free(dicom->scan.skipped);
    dicom->scan.skipped = nullptr;
    dicom->scan.skipped_count = 0;
}

extern "C" int kf_dicom_tag_is_sequence(uint32_t tag)
{
    return DcmTag(kerf::key(tag)).getEVR() == EVR_SQ;
}

extern "C" const struct kf_dicom_identity *kf_dicom_identity(const struct kf_dicom *dicom)
{
    return &dicom->identity;
}

extern "C" enum kf_status kf_dicom_check_place(const struct kf_dicom *dicom, struct kf_error *err)
{
    enum kf_status status = check_uid(dicom->identity.study_uid, "no_study_uid", "Study Instance UID", err);
    return status == KF_OK ? check_uid(dicom->identity.series_uid, "no_series_uid", "Series Instance UID", err)
                           : status;
}

extern "C" const struct kf_dicom_layout *kf_dicom_layout(const struct kf_dicom *dicom)
{
    return &dicom->scan.layout;
}

extern "C" const struct kf_dicom_scan *kf_dicom_scanned(const struct kf_dicom *dicom)
{
    return &dicom->scan;
}

extern "C" enum kf_status kf_dicom_content_hash_begin(const char *transfer_syntax, struct kf_sha256 **out)
{
    enum kf_status status = kf_sha256_new(out);
    if (status == KF_OK)
        kf_sha256_add(*out, transfer_syntax, strlen(transfer_syntax) + 1); // with its zero byte
    return status;
}

extern "C" enum kf_status kf_dicom_content_hash(const struct kf_dicom *dicom, unsigned char digest[KF_SHA256_BYTES],
                                                struct kf_error *err)
{
    struct kf_sha256 *stream = nullptr;
    return kerf::guarded(
        err, [&]() -> enum kf_status {
            std::string piece(size_t{1} << 18, '\0');
            enum kf_status status = kf_dicom_content_hash_begin(dicom->scan.transfer_syntax, &stream);
            const struct kf_dicom_layout &layout = dicom->scan.layout;
            for (int64_t at = layout.dataset_offset; status == KF_OK && at < layout.bytes;) {
                int64_t left = layout.bytes - at;
                size_t n = left < static_cast<int64_t>(piece.size()) ? static_cast<size_t>(left) : piece.size();
                status = kf_dicom_read_at(&dicom->bytes, at, &piece[0], n, err);
                if (status == KF_OK)
                    kf_sha256_add(stream, piece.data(), n);
                at += static_cast<int64_t>(n);
            }
            if (status == KF_OK)
                kf_sha256_finish(stream, digest);
            kf_sha256_free(stream);
            return status;
        });
}

extern "C" const char *kf_dicom_text(struct kf_dicom *dicom, uint32_t tag, int index)
{
    try {
        dicom->scratch = kerf::text(&dicom->dataset, tag, static_cast<unsigned long>(index));
        return dicom->scratch.c_str();
    } catch (...) {
        return "";
    }
}

extern "C" int kf_dicom_numbers(struct kf_dicom *dicom, uint32_t tag, double *to, int max)
{
    try {
        return kerf::numbers(&dicom->dataset, tag, to, max);
    } catch (...) {
        return -1;
    }
}

extern "C" double kf_dicom_number(struct kf_dicom *dicom, uint32_t tag, double otherwise)
{
    double value;
    return kf_dicom_numbers(dicom, tag, &value, 1) >= 1 ? value : otherwise;
}

extern "C" int kf_dicom_has(struct kf_dicom *dicom, uint32_t tag)
{
    try {
        return kerf::find(dicom->dataset, tag) != nullptr;
    } catch (...) {
        return 0;
    }
}
