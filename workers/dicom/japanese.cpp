// Japanese text with code extensions (PS3.5 sections 6.1.2 and H; ISO/IEC 2022): DCMTK asks the C library for JIS X
// 0208 and JIS X 0212 by names that glibc does not know, and gives up. What these sets hold is EUC-JP with other bytes,
// and that glibc does know.
#include "workers/dicom/shim.h"

#include "dcmtk/ofstd/ofchrenc.h"

#include <mutex>

namespace kerf {

namespace {

enum class Set { Single, Kanji, Supplement }; // what bytes below 0x80 mean: ASCII or JIS X 0201, JIS X 0208, JIS X 0212

struct Converter {
    std::mutex lock; // guards the conversion's state
    OFCharacterEncoding euc;
    bool ready = false;
};

Converter &converter()
{
    static Converter *kept = new Converter; // never unloaded: see load_character_sets
    return *kept;
}

struct Escape {
    const char *bytes;
    Set set;
};

// JIS X 0201 is taken for ASCII, as PS3.5 has its yen sign for the backslash that parts values. G1 is always katakana.
const Escape escapes[] = {{"(B", Set::Single}, {"(J", Set::Single}, {")I", Set::Single},
                          {"$B", Set::Kanji},  {"$@", Set::Kanji},  {"$(D", Set::Supplement}};

// One character of two bytes; U+FFFD when there is none of that number.
void append_pair(std::string &to, Set set, unsigned char first, unsigned char second)
{
    const char bytes[3] = {'\x8F', static_cast<char>(first | 0x80), static_cast<char>(second | 0x80)};
    Converter &c = converter();
    std::lock_guard<std::mutex> guard(c.lock);
    OFString utf8;
    bool good =
        set == Set::Kanji ? c.euc.convertString(bytes + 1, 2, utf8).good() : c.euc.convertString(bytes, 3, utf8).good();
    to += good && !utf8.empty() ? utf8.c_str() : "\xEF\xBF\xBD";
}

// A half-width katakana or its punctuation: 0xA1 … 0xDF are U+FF61 … U+FF9F.
void append_katakana(std::string &to, unsigned char byte)
{
    unsigned code = 0xFF61u + (byte - 0xA1u);
    to.push_back(static_cast<char>(0xE0 | code >> 12));
    to.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
    to.push_back(static_cast<char>(0x80 | (code & 0x3F)));
}

bool is_pair(const std::string &from, size_t i)
{
    return i + 1 < from.size() && from[i] >= 0x21 && from[i] <= 0x7E && from[i + 1] >= 0x21 && from[i + 1] <= 0x7E;
}

std::string from_japanese(const std::string &from)
{
    std::string to;
    Set set = Set::Single;
    for (size_t i = 0; i < from.size();) {
        unsigned char byte = static_cast<unsigned char>(from[i]);
        const Escape *escape = nullptr;
        if (byte == 0x1B)
            for (const Escape &e : escapes)
                if (from.compare(i + 1, strlen(e.bytes), e.bytes) == 0)
                    escape = &e;
        if (escape) {
            set = escape->set;
            i += 1 + strlen(escape->bytes);
        } else if (byte >= 0xA1 && byte <= 0xDF) {
            append_katakana(to, byte);
            i++;
        } else if (set != Set::Single && is_pair(from, i)) {
            append_pair(to, set, byte, static_cast<unsigned char>(from[i + 1]));
            i += 2;
        } else if (byte >= 0x80 || byte == 0x1B) {
            to += "\xEF\xBF\xBD";
            i++;
        } else { // a line's end brings the first set back (PS3.5 section 6.1.2.5.3)
            set = byte < 0x20 ? Set::Single : set;
            to.push_back(static_cast<char>(byte));
            i++;
        }
    }
    return to;
}

} // namespace

bool load_japanese()
{
    Converter &c = converter();
    c.ready = c.euc.selectEncoding("EUC-JP", "UTF-8").good();
    return c.ready;
}

bool is_japanese(const std::string &charset)
{
    return converter().ready && (charset.find("ISO 2022 IR 87") != std::string::npos ||
                                 charset.find("ISO 2022 IR 159") != std::string::npos);
}

void convert_japanese(DcmObject &object)
{
    // Not by number, which would walk the list anew for each.
    for (DcmObject *next = object.nextInContainer(nullptr); next; next = object.nextInContainer(next)) {
        auto *element = dynamic_cast<DcmElement *>(next);
        auto *item = dynamic_cast<DcmItem *>(next);
        DcmElement *own = item ? find(*item, KF_TAG(0x0008, 0x0005)) : nullptr;
        if (own && !is_japanese(raw_text(*own)))
            continue; // as copied from a foreign worklist
        if (!next->isLeaf()) {
            convert_japanese(*next);
        } else if (element && element->isAffectedBySpecificCharacterSet()) {
            std::string from = raw_text(*element), to = from_japanese(from);
            if (to != from)
                (void)element->putString(to.data(), static_cast<Uint32>(to.size()));
        }
    }
}

} // namespace kerf
