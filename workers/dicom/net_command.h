// DIMSE command sets (PS3.7 annex E): the few hundred bytes in front of every message. Pure functions over bytes, no
// DCMTK: this is the first thing a stranger's bytes reach after the association is made, so it has its own fuzz target.
#ifndef KERF_DICOM_NET_COMMAND_H
#define KERF_DICOM_NET_COMMAND_H

#include "server/base/error.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KF_DIMSE_UID      65        // a UID's 64 characters and a NUL
#define KF_DIMSE_COMMAND  (16 << 10) // no honest command set is longer, in bytes
#define KF_DIMSE_NO_DATA  0x0101    // value of data_set_type when no data set follows
#define KF_DIMSE_STORE_RQ 0x0001
#define KF_DIMSE_ECHO_RQ  0x0030
#define KF_DIMSE_CANCEL   0x0fff
#define KF_DIMSE_RESPONSE 0x8000    // set in the command field of every response

// Status codes of the storage service (PS3.4 table B.2-1, PS3.7 annex C).
enum kf_dimse_status {
    KF_DIMSE_SUCCESS = 0x0000,
    KF_DIMSE_INVALID_INSTANCE = 0x0117,
    KF_DIMSE_CLASS_NOT_SUPPORTED = 0x0122,
    KF_DIMSE_UNRECOGNIZED_OPERATION = 0x0211,
    KF_DIMSE_OUT_OF_RESOURCES = 0xa700,
    KF_DIMSE_CLASS_MISMATCH = 0xa900,
    KF_DIMSE_CANNOT_UNDERSTAND = 0xc000,
    KF_DIMSE_STORAGE_FAILED = 0xc001,
};

struct kf_dimse_command {
    uint16_t field;         // (0000,0100)
    uint16_t message_id;    // (0000,0110); of a response (0000,0120)
    uint16_t data_set_type; // (0000,0800)
    uint16_t status;        // (0000,0900)
    int has_status;
    char sop_class[KF_DIMSE_UID];    // (0000,0002) or (0000,0003), "" when absent
    char sop_instance[KF_DIMSE_UID]; // (0000,1000) or (0000,1001)
};

// Reads a whole command set (implicit little endian). KF_INVALID, with the reason, when it is not one: an element
// outside group 0000, a length that runs out of the bytes, a field of the wrong size, no command field.
KF_MUST_USE enum kf_status kf_dimse_parse(const unsigned char *bytes, size_t length, struct kf_dimse_command *out,
                                          struct kf_error *err);

// Writes the command set of `command` into `to`; returns its length, 0 when size is too small (512 is enough).
size_t kf_dimse_encode(const struct kf_dimse_command *command, unsigned char *to, size_t size);

// 1 when text is a UID as PS3.5 section 9 has it: 1–64 characters, digits parted by single dots. Leading zeros in a
// component are let through, since devices in the field write them.
int kf_dimse_uid_valid(const char *text);

#ifdef __cplusplus
}
#endif

#endif
