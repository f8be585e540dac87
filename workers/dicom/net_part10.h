// The front of a Part 10 file (PS3.10 section 7.1) for an object that came without one: preamble, "DICM" and file
// meta information. The data set's bytes follow exactly as the sender wrote them.
#ifndef KERF_DICOM_NET_PART10_H
#define KERF_DICOM_NET_PART10_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KF_PART10_HEADER 1024 // bytes that always suffice

// Our Implementation Class UID: the root 2.25 with a UUID drawn once for Kerf (PS3.5 annex B.2).
#define KF_IMPLEMENTATION_UID     "2.25.190168031161314375262941539825720557273"
#define KF_IMPLEMENTATION_VERSION "KERF_0_1"

// Writes the header into `to` and returns its length, or 0 when `size` is too small or a UID is empty or too long.
// source_ae: the calling AE title for (0002,0016), or "" to leave it out.
size_t kf_part10_header(const char *sop_class, const char *sop_instance, const char *transfer_syntax,
                        const char *source_ae, unsigned char *to, size_t size);

#ifdef __cplusplus
}
#endif

#endif
