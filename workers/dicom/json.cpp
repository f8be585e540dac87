// DICOM JSON (PS3.18 Annex F) straight from DCMTK's tree into one string.
#include "workers/dicom/json.h"

#include "workers/dicom/shim.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <libdeflate.h>
#include <memory>

namespace {

const size_t INLINE_BYTES = 1024;

class Writer {
  public:
    explicit Writer(const kf_dicom &dicom) : d(dicom), mode(dicom.text_mode)
    {
    }

    void dataset(std::string &to)
    {
        out.swap(to);
        out.reserve(8192);
        item(const_cast<DcmDataset &>(d.dataset), true);
        out.swap(to);
    }

  private:
    const kf_dicom &d;
    TextMode mode;
    std::string out;
    std::string utf8; // reused

    void quoted(const char *from, size_t length)
    {
        utf8.clear();
        kerf::append_utf8(utf8, from, length, mode);
        out.push_back('"');
        for (unsigned char c : utf8) {
            if (c == '"' || c == '\\') {
                out.push_back('\\');
                out.push_back(static_cast<char>(c));
            } else if (c < 0x20 || c == 0x7F) {
                char escaped[8];
                snprintf(escaped, sizeof escaped, "\\u%04x", c);
                out += escaped;
            } else {
                out.push_back(static_cast<char>(c));
            }
        }
        out.push_back('"');
    }

    void key(uint32_t tag, const char *vr, bool &first)
    {
        char text[32];
        snprintf(text, sizeof text, "%s\"%08X\":{\"vr\":\"%.2s\"", first ? "" : ",", static_cast<unsigned>(tag), vr);
        out += text;
        first = false;
    }

    // Shortest decimal that reads back as the same number; JSON has no infinities.
    void number(double value)
    {
        char text[40];
        for (int digits = 6; digits <= 17; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            if (std::strtod(text, nullptr) == value)
                break;
        }
        out += text;
    }

    void not_finite(double value)
    {
        out += std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
    }

    // RFC 8259 section 6. Most DS and IS values already are JSON numbers and go out as they are.
    static bool is_json_number(const char *p, size_t length)
    {
        const char *end = p + length;
        auto digits = [&] {
            const char *from = p;
            while (p < end && *p >= '0' && *p <= '9')
                p++;
            return p > from;
        };
        if (p < end && *p == '-')
            p++;
        if (p < end && *p == '0')
            p++;
        else if (!digits())
            return false;
        if (p < end && *p == '.' && (p++, !digits()))
            return false;
        if (p < end && (*p == 'e' || *p == 'E')) {
            p++;
            if (p < end && (*p == '+' || *p == '-'))
                p++;
            if (end - p > 2 || !digits()) // beyond the range of a double there is none
                return false;
        }
        return p == end;
    }

    void number_text(const char *from, size_t length)
    {
        if (length <= 16 && is_json_number(from, length)) {
            out.append(from, length);
            return;
        }
        char text[80];
        if (length == 0 || length >= sizeof text) {
            quoted(from, length);
            return;
        }
        memcpy(text, from, length);
        text[length] = 0;
        char *end = nullptr;
        double value = std::strtod(text, &end);
        // strtod also takes hexadecimal and names, which DS and IS do not.
        if (*end || !std::isfinite(value) || strspn(text, "0123456789+-.eE") != length)
            quoted(from, length);
        else
            number(value);
    }

    void person_name(const char *from, size_t length)
    {
        static const char *const groups[] = {"Alphabetic", "Ideographic", "Phonetic"};
        out.push_back('{');
        bool first = true;
        const char *end = from + length;
        for (const char *group : groups) {
            const char *next = static_cast<const char *>(memchr(from, '=', static_cast<size_t>(end - from)));
            const char *stop = next ? next : end;
            if (stop > from) {
                out += first ? "\"" : ",\"";
                out += group;
                out += "\":";
                quoted(from, static_cast<size_t>(stop - from));
                first = false;
            }
            if (!next)
                break;
            from = next + 1;
        }
        out.push_back('}');
    }

    void one_text(DcmEVR vr, const char *from, size_t length)
    {
        bool keeps_front = vr == EVR_LT || vr == EVR_ST || vr == EVR_UT || vr == EVR_UC || vr == EVR_UR;
        while (!keeps_front && length && *from == ' ') {
            from++;
            length--;
        }
        while (length && (from[length - 1] == ' ' || from[length - 1] == '\0'))
            length--;
        if (length == 0)
            out += "null";
        else if (vr == EVR_PN)
            person_name(from, length);
        else if (vr == EVR_DS || vr == EVR_IS)
            number_text(from, length);
        else
            quoted(from, length);
    }

    void texts(DcmElement &element, DcmEVR vr)
    {
        std::string all = kerf::raw_text(element);
        bool single = vr == EVR_LT || vr == EVR_ST || vr == EVR_UT || vr == EVR_UR;
        size_t visible = all.find_last_not_of(std::string(" \0", 2));
        if (visible == std::string::npos)
            return;
        out += ",\"Value\":[";
        for (size_t begin = 0;;) {
            size_t next = single ? std::string::npos : all.find('\\', begin);
            size_t end = next == std::string::npos ? all.size() : next;
            one_text(vr, all.data() + begin, end - begin);
            if (next == std::string::npos)
                break;
            out.push_back(',');
            begin = next + 1;
        }
        out.push_back(']');
    }

    template <typename Get> void values(unsigned long count, Get get)
    {
        if (count == 0)
            return;
        out += ",\"Value\":[";
        for (unsigned long i = 0; i < count; i++) {
            if (i)
                out.push_back(',');
            get(i);
        }
        out.push_back(']');
    }

    void integer(long long value)
    {
        char text[24];
        snprintf(text, sizeof text, "%lld", value);
        out += text;
    }

    void binary_numbers(DcmElement &element, DcmEVR vr)
    {
        unsigned long count = element.getNumberOfValues();
        values(count, [&](unsigned long i) {
            Uint64 u64 = 0;
            Sint64 s64 = 0;
            double value = 0;
            char text[24];
            if (vr == EVR_UV && element.getUint64(u64, i).good()) {
                snprintf(text, sizeof text, "%llu", static_cast<unsigned long long>(u64));
                out += text;
            } else if (vr == EVR_SV && element.getSint64(s64, i).good()) {
                integer(s64);
            } else if (vr == EVR_SS) {
                // The tree holds an implicit "US or SS" as unsigned.
                Sint16 s16 = 0;
                Uint16 u16 = 0;
                if (element.getSint16(s16, i).bad() && element.getUint16(u16, i).good())
                    s16 = static_cast<Sint16>(u16);
                integer(s16);
            } else if (vr == EVR_FL) {
                Float32 f32 = 0;
                (void)element.getFloat32(f32, i);
                float_number(f32);
            } else if (vr == EVR_FD) {
                (void)element.getFloat64(value, i);
                std::isfinite(value) ? number(value) : not_finite(value);
            } else if (kerf::number_at(element, i, value)) {
                number(value);
            } else {
                out += "null";
            }
        });
    }

    void float_number(Float32 value)
    {
        char text[40];
        if (!std::isfinite(value)) {
            not_finite(static_cast<double>(value));
            return;
        }
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
            if (std::strtof(text, nullptr) == value)
                break;
        }
        out += text;
    }

    void tags(DcmElement &element)
    {
        values(element.getNumberOfValues(), [&](unsigned long i) {
            DcmTagKey tag;
            char text[16] = "null";
            if (static_cast<DcmAttributeTag &>(element).getTagVal(tag, i).good())
                snprintf(text, sizeof text, "\"%04X%04X\"", tag.getGroup(), tag.getElement());
            out += text;
        });
    }

    void base64(const unsigned char *p, size_t n)
    {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        out += ",\"InlineBinary\":\"";
        for (size_t i = 0; i < n; i += 3) {
            unsigned v = static_cast<unsigned>(p[i]) << 16;
            if (i + 1 < n)
                v |= static_cast<unsigned>(p[i + 1]) << 8;
            if (i + 2 < n)
                v |= p[i + 2];
            out.push_back(digits[v >> 18]);
            out.push_back(digits[v >> 12 & 63]);
            out.push_back(i + 1 < n ? digits[v >> 6 & 63] : '=');
            out.push_back(i + 2 < n ? digits[v & 63] : '=');
        }
        out.push_back('"');
    }

    // Little-endian, as PS3.18 F.2.7 asks; the tree holds words in this machine's order, which is the same.
    void binary(DcmElement &element)
    {
        size_t length = element.getLengthField();
        if (length == 0 || length > INLINE_BYTES)
            return;
        Uint8 *bytes = nullptr;
        Uint16 *words = nullptr;
        Uint32 *longs = nullptr;
        Float32 *floats = nullptr;
        Float64 *doubles = nullptr;
        const void *p = nullptr;
        if (element.getUint8Array(bytes).good() && bytes)
            p = bytes;
        else if (element.getUint16Array(words).good() && words)
            p = words;
        else if (element.getUint32Array(longs).good() && longs)
            p = longs;
        else if (element.getFloat32Array(floats).good() && floats)
            p = floats;
        else if (element.getFloat64Array(doubles).good() && doubles)
            p = doubles;
        if (p)
            base64(static_cast<const unsigned char *>(p), length);
    }

    void sequence(DcmSequenceOfItems &sequence)
    {
        DcmObject *object = nullptr;
        bool first = true;
        while ((object = sequence.nextInContainer(object))) {
            out += first ? ",\"Value\":[" : ",";
            first = false;
            item(static_cast<DcmItem &>(*object), false);
        }
        if (!first)
            out.push_back(']');
    }

    // "US or SS" follows Pixel Representation; the other two-fold VRs have one sensible answer.
    DcmEVR settled(DcmElement &element)
    {
        DcmEVR vr = element.getVR();
        if (vr != EVR_xs)
            return DcmVR(vr).getValidEVR();
        double sign = 0;
        (void)kerf::numbers(const_cast<DcmDataset *>(&d.dataset), KF_TAG(0x0028, 0x0103), &sign, 1);
        return sign > 0 ? EVR_SS : EVR_US;
    }

    void element(DcmElement &element, bool &first)
    {
        uint32_t tag = static_cast<uint32_t>(element.getGTag()) << 16 | element.getETag();
        if ((tag & 0xFFFF) == 0 || tag == KF_TAG(0xFFFC, 0xFFFC) || tag == KF_TAG(0x0008, 0x0001))
            return; // group lengths and padding
        DcmEVR vr = settled(element);
        if (vr == EVR_UNKNOWN || vr == EVR_UNKNOWN2B)
            vr = EVR_UN;
        key(tag, DcmVR(vr).getValidVRName(), first);
        if (tag == KF_TAG(0x0008, 0x0005))
            out += ",\"Value\":[\"ISO_IR 192\"]";
        else if (element.ident() == EVR_SQ)
            sequence(static_cast<DcmSequenceOfItems &>(element));
        else if (vr == EVR_AT)
            tags(element);
        else if (vr == EVR_OB || vr == EVR_OW || vr == EVR_OF || vr == EVR_OD || vr == EVR_OL || vr == EVR_OV ||
                 vr == EVR_UN)
            binary(element);
        else if (element.isaString())
            texts(element, vr);
        else
            binary_numbers(element, vr);
        out.push_back('}');
    }

    // Members that the tree lacks: values left in the file, the stored syntax, Pixel Data.
    void extra(uint32_t tag, const char *vr, const char *value, bool &first)
    {
        key(tag, vr, first);
        if (value) {
            out += ",\"Value\":[\"";
            out += value;
            out += "\"]";
        }
        out.push_back('}');
    }

    void skipped_vr(const kf_dicom_skipped &skipped, char vr[3])
    {
        if (skipped.vr[0] >= 'A' && skipped.vr[0] <= 'Z' && skipped.vr[1] >= 'A' && skipped.vr[1] <= 'Z') {
            memcpy(vr, skipped.vr, 3);
            return;
        }
        DcmTag tag(static_cast<Uint16>(skipped.tag >> 16), static_cast<Uint16>(skipped.tag & 0xFFFF));
        snprintf(vr, 3, "%.2s", DcmVR(tag.getEVR()).getValidVRName());
    }

    void extras_below(uint32_t tag, int64_t &skipped, bool &syntax, bool &first)
    {
        const uint32_t SYNTAX = KF_TAG(0x0008, 0x3002);
        while (true) {
            bool have = skipped < d.scan.skipped_count;
            uint32_t next = have ? d.scan.skipped[skipped].tag : 0xFFFFFFFF;
            if (!syntax && SYNTAX < tag && SYNTAX < next) {
                extra(SYNTAX, "UI", d.scan.transfer_syntax, first);
                syntax = true;
            } else if (have && next < tag) {
                char vr[3];
                skipped_vr(d.scan.skipped[skipped], vr);
                extra(next, vr, nullptr, first);
                skipped++;
            } else {
                return;
            }
        }
    }

    void item(DcmItem &container, bool top)
    {
        bool first = true, syntax = false;
        int64_t skipped = 0;
        out.push_back('{');
        DcmObject *object = nullptr;
        while ((object = container.nextInContainer(object))) {
            DcmElement &next = static_cast<DcmElement &>(*object);
            uint32_t tag = static_cast<uint32_t>(next.getGTag()) << 16 | next.getETag();
            if (top)
                extras_below(tag, skipped, syntax, first);
            if (!top || tag != KF_TAG(0x0008, 0x3002)) // ours says how it is stored
                element(next, first);
        }
        if (top) {
            extras_below(0xFFFFFFFF, skipped, syntax, first);
            if (d.scan.layout.has_pixels)
                extra(KF_TAG(0x7FE0, 0x0010), strcmp(d.scan.pixel_vr, "OB") == 0 ? "OB" : "OW", nullptr, first);
        }
        out.push_back('}');
    }
};

} // namespace

extern "C" enum kf_status kf_dicom_json(const struct kf_dicom *dicom, struct kf_str *out, struct kf_error *err)
{
    return kerf::guarded(err, [&] {
        std::string text;
        Writer(*dicom).dataset(text);
        kf_str_add(out, text.data(), text.size());
        return out->failed ? kf_error_set(err, KF_NOMEM, nullptr, "no memory for DICOM JSON") : KF_OK;
    });
}

extern "C" enum kf_status kf_dicom_json_deflated(const struct kf_dicom *dicom, struct kf_str *out, struct kf_error *err)
{
    return kerf::guarded(
        err, [&]() -> enum kf_status {
            std::string text;
            Writer(*dicom).dataset(text);
            // One compressor per thread: this runs for every image received, and making one costs as much as using it.
            thread_local std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor *)> compressor(
                libdeflate_alloc_compressor(4), libdeflate_free_compressor);
            if (!compressor)
                return kf_error_set(err, KF_NOMEM, nullptr, "no memory to deflate DICOM JSON");
            std::string packed(libdeflate_deflate_compress_bound(compressor.get(), text.size()), '\0');
            size_t length =
                libdeflate_deflate_compress(compressor.get(), text.data(), text.size(), &packed[0], packed.size());
            if (length == 0)
                return kf_error_set(err, KF_INTERNAL, nullptr, "DICOM JSON could not be deflated");
            kf_str_add(out, packed.data(), length);
            return out->failed ? kf_error_set(err, KF_NOMEM, nullptr, "no memory for DICOM JSON") : KF_OK;
        });
}
