// What an association may carry: which SOP classes are storage, and which transfer syntax to accept of those proposed.
#ifndef KERF_DICOM_NET_POLICY_H
#define KERF_DICOM_NET_POLICY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kf_net_class {
    KF_CLASS_VERIFICATION = 1, // C-ECHO
    KF_CLASS_STORAGE,          // a patient's composite object of PS3.4 annex B.5: images, SR, SEG, RT, PR, KO, documents …
    KF_CLASS_UNKNOWN,          // looks like storage but is in no table of ours: private, retired, or newer than we are
    KF_CLASS_OTHER,            // a service we do not offer: query, print, worklist, objects without a patient
};

enum kf_net_class kf_net_class(const char *abstract_syntax);

// Index of the transfer syntax to accept among `count` proposed in one presentation context, or -1. The sender's order is
// its wish (most list first what the object is stored in), so the first known one wins, except that lossy codings
// wait until nothing lossless is there: a sender that offers both must not be talked into losing anything.
int kf_net_choose(const char *const *proposed, int count);

#ifdef __cplusplus
}
#endif

#endif
