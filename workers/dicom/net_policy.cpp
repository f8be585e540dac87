#include "workers/dicom/net_policy.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcuid.h"
#include <cstring>

namespace {

// Storage classes that came after the tables of the oldest DCMTK we build with.
const char *const newer_storage_classes[] = {
    "1.2.840.10008.5.1.4.1.1.6.3",     // Photoacoustic Image
    "1.2.840.10008.5.1.4.1.1.9.1.4",   // General 32-bit ECG Waveform
    "1.2.840.10008.5.1.4.1.1.9.100.1", // Waveform Presentation State
    "1.2.840.10008.5.1.4.1.1.9.100.2", // Waveform Acquisition Presentation State
    "1.2.840.10008.5.1.4.1.1.11.12",   // Variable Modality LUT Softcopy Presentation State
    "1.2.840.10008.5.1.4.1.1.66.7",    // Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.66.8",    // Height Map Segmentation
    "1.2.840.10008.5.1.4.1.1.77.1.5.7", // Ophthalmic Optical Coherence Tomography En Face
    "1.2.840.10008.5.1.4.1.1.77.1.8",  // Confocal Microscopy Image
    "1.2.840.10008.5.1.4.1.1.77.1.9",  // Confocal Microscopy Tiled Pyramidal Image
    "1.2.840.10008.5.1.4.1.1.91.1",    // Microscopy Bulk Simple Annotations
    "1.2.840.10008.5.1.4.1.1.104.4",   // Encapsulated OBJ
    "1.2.840.10008.5.1.4.1.1.104.5",   // Encapsulated MTL
    "1.2.840.10008.5.1.4.1.1.481.22",  // Enhanced RT Image
    "1.2.840.10008.5.1.4.1.1.481.23",
    "1.2.840.10008.5.1.4.1.1.481.24",  // Enhanced Continuous RT Image
    "1.2.840.10008.5.1.4.1.1.481.25",  // RT Patient Position Acquisition Instruction
};

enum syntax_kind {
    KF_SYNTAX_UNKNOWN,  // not accepted
    KF_SYNTAX_LOSSLESS, // native, or a coding that never loses anything
    KF_SYNTAX_LOSSY,    // a coding that loses or may lose (JPEG 2000 .91, JPEG-LS .81, HTJ2K .203 among them)
};

struct syntax_row {
    const char *uid;
    syntax_kind kind;
};

const syntax_row syntaxes[] = {
    {"1.2.840.10008.1.2", KF_SYNTAX_LOSSLESS},          // implicit little endian
    {"1.2.840.10008.1.2.1", KF_SYNTAX_LOSSLESS},        // explicit little endian
    {"1.2.840.10008.1.2.2", KF_SYNTAX_LOSSLESS},        // explicit big endian
    {"1.2.840.10008.1.2.1.99", KF_SYNTAX_LOSSLESS},     // deflated
    {"1.2.840.10008.1.2.1.98", KF_SYNTAX_LOSSLESS},     // encapsulated uncompressed
    {"1.2.840.10008.1.2.5", KF_SYNTAX_LOSSLESS},        // RLE
    {"1.2.840.10008.1.2.4.57", KF_SYNTAX_LOSSLESS},     // JPEG lossless
    {"1.2.840.10008.1.2.4.70", KF_SYNTAX_LOSSLESS},     // JPEG lossless SV1
    {"1.2.840.10008.1.2.4.80", KF_SYNTAX_LOSSLESS},     // JPEG-LS
    {"1.2.840.10008.1.2.4.90", KF_SYNTAX_LOSSLESS},     // JPEG 2000
    {"1.2.840.10008.1.2.4.92", KF_SYNTAX_LOSSLESS},     // JPEG 2000 part 2
    {"1.2.840.10008.1.2.4.110", KF_SYNTAX_LOSSLESS},    // JPEG XL
    {"1.2.840.10008.1.2.4.201", KF_SYNTAX_LOSSLESS},    // HTJ2K
    {"1.2.840.10008.1.2.4.202", KF_SYNTAX_LOSSLESS},    // HTJ2K RPCL
    {"1.2.840.10008.1.2.4.50", KF_SYNTAX_LOSSY},        // JPEG baseline
    {"1.2.840.10008.1.2.4.51", KF_SYNTAX_LOSSY},        // JPEG extended
    {"1.2.840.10008.1.2.4.53", KF_SYNTAX_LOSSY},        // JPEG spectral selection (retired)
    {"1.2.840.10008.1.2.4.55", KF_SYNTAX_LOSSY},        // JPEG progressive (retired)
    {"1.2.840.10008.1.2.4.81", KF_SYNTAX_LOSSY},        // JPEG-LS near lossless
    {"1.2.840.10008.1.2.4.91", KF_SYNTAX_LOSSY},        // JPEG 2000
    {"1.2.840.10008.1.2.4.93", KF_SYNTAX_LOSSY},        // JPEG 2000 part 2
    {"1.2.840.10008.1.2.4.111", KF_SYNTAX_LOSSY},       // JPEG XL recompression
    {"1.2.840.10008.1.2.4.112", KF_SYNTAX_LOSSY},       // JPEG XL
    {"1.2.840.10008.1.2.4.203", KF_SYNTAX_LOSSY},       // HTJ2K
    {"1.2.840.10008.1.2.4.100", KF_SYNTAX_LOSSY},       // MPEG-2
    {"1.2.840.10008.1.2.4.100.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.101", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.101.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.102", KF_SYNTAX_LOSSY},       // MPEG-4 AVC
    {"1.2.840.10008.1.2.4.102.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.103", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.103.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.104", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.104.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.105", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.105.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.106", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.106.1", KF_SYNTAX_LOSSY},
    {"1.2.840.10008.1.2.4.107", KF_SYNTAX_LOSSY},       // HEVC
    {"1.2.840.10008.1.2.4.108", KF_SYNTAX_LOSSY},
};

bool has_prefix(const char *text, const char *prefix)
{
    return std::strncmp(text, prefix, std::strlen(prefix)) == 0;
}

} // namespace

enum kf_net_class kf_net_class(const char *uid)
{
    if (std::strcmp(uid, UID_VerificationSOPClass) == 0)
        return KF_CLASS_VERIFICATION;
    if (dcmIsaStorageSOPClassUID(uid, ESSC_Patient))
        return KF_CLASS_STORAGE;
    for (const char *known : newer_storage_classes) {
        if (std::strcmp(uid, known) == 0)
            return KF_CLASS_STORAGE;
    }
    if (dcmIsaStorageSOPClassUID(uid, ESSC_NonPatient))
        return KF_CLASS_OTHER;
    if (!has_prefix(uid, "1.2.840.10008."))
        return KF_CLASS_UNKNOWN;
    // Composite storage is registered under this root; .200 and .201 hold protocols and inventories, without a patient.
    if (has_prefix(uid, "1.2.840.10008.5.1.4.1.1.") && !has_prefix(uid, "1.2.840.10008.5.1.4.1.1.200.") &&
        !has_prefix(uid, "1.2.840.10008.5.1.4.1.1.201."))
        return KF_CLASS_UNKNOWN;
    return KF_CLASS_OTHER;
}

static syntax_kind kind_of(const char *uid)
{
    for (const syntax_row &row : syntaxes) {
        if (std::strcmp(uid, row.uid) == 0)
            return row.kind;
    }
    return KF_SYNTAX_UNKNOWN;
}

int kf_net_choose(const char *const *proposed, int count)
{
    int lossy = -1;
    for (int i = 0; i < count; i++) {
        switch (kind_of(proposed[i])) {
        case KF_SYNTAX_LOSSLESS:
            return i;
        case KF_SYNTAX_LOSSY:
            lossy = lossy < 0 ? i : lossy;
            break;
        case KF_SYNTAX_UNKNOWN:
            break;
        }
    }
    return lossy;
}
