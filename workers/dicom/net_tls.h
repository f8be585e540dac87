// The TLS layer behind struct kf_scp_tls. C++ only, private to net_*.cpp.
#ifndef KERF_DICOM_NET_TLS_H
#define KERF_DICOM_NET_TLS_H

#include "workers/dicom/net_scp.h"

class DcmTransportLayer;

DcmTransportLayer *kf_scp_tls_layer(const struct kf_scp_tls *tls); // borrowed

#endif
