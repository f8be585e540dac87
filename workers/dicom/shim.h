// What the C++ files of this folder share: the inside of struct kf_dicom. Not for anybody else.
#ifndef KERF_DICOM_SHIM_H
#define KERF_DICOM_SHIM_H

#include "dcmtk/config/osconfig.h"

#include "dcmtk/dcmdata/dctk.h"

#include "workers/dicom/scan.h"

#include <deque>
#include <new>
#include <string>

enum class TextMode { Utf8, Latin1 }; // how the dataset's text lies in `dataset`

struct kf_dicom {
    kf_dicom_bytes bytes{};
    struct kf_dicom_scan scan {};
    DcmDataset dataset;
    TextMode text_mode = TextMode::Utf8;
    struct kf_dicom_identity identity {};
    std::deque<std::string> texts; // what identity points into
    std::string scratch;           // what kf_dicom_text returned last
};

namespace kerf {

// The element, or nullptr when it is absent or empty. Top level of `item` only.
DcmElement *find(DcmItem &item, uint32_t tag);
// The first item of a sequence in `item`, or nullptr.
DcmItem *first_item(DcmItem *item, uint32_t tag);
// Value `index` of any numeric or number-string element; false when it is not a finite number.
bool number_at(DcmElement &element, unsigned long index, double &value);
// As kf_dicom_numbers, within one item; item may be nullptr (0 values).
int numbers(DcmItem *item, uint32_t tag, double *to, int max);
// Value `index` as raw text without padding; "" when absent.
std::string text(DcmItem *item, uint32_t tag, unsigned long index);
// Number of backslash-parted values of a text element.
std::string raw_text(DcmElement &element);

// Appends text as valid UTF-8: Latin-1 is converted, bytes that are not UTF-8 become U+FFFD.
void append_utf8(std::string &to, const char *from, size_t length, TextMode mode);

// Japanese text (japanese.cpp). load_japanese: before a sandbox closes; false when the C library has no EUC-JP.
// is_japanese: whether a Specific Character Set is one that DCMTK cannot convert and we can. convert_japanese: brings
// every text of a dataset or an item, and of the items in it, to UTF-8; what is of no character becomes U+FFFD. An item
// that names another character set stays as it is.
bool load_japanese();
bool is_japanese(const std::string &charset);
void convert_japanese(DcmObject &object);

// Runs `body`; an exception becomes a status.
template <typename Body> enum kf_status guarded(struct kf_error *err, Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return kf_error_set(err, KF_NOMEM, nullptr, "no memory for a DICOM object");
    } catch (...) {
        return kf_error_set(err, KF_INTERNAL, nullptr, "the DICOM library failed");
    }
}

} // namespace kerf

#endif
