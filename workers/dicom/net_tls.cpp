#include "workers/dicom/net_tls.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmtls/tlslayer.h"
#include <new>

struct kf_scp_tls {
    DcmTLSTransportLayer *layer;
};

namespace {

enum kf_status configure(DcmTLSTransportLayer &layer, const char *certificate, const char *key, const char *ca,
                         int require_client, struct kf_error *err)
{
    if (layer.setPrivateKeyFile(key, DCF_Filetype_PEM).bad())
        return kf_error_set(err, KF_INVALID, "dicom_tls_key", "The DICOM TLS private key cannot be read.");
    if (layer.setCertificateFile(certificate, DCF_Filetype_PEM).bad())
        return kf_error_set(err, KF_INVALID, "dicom_tls_certificate", "The DICOM TLS certificate cannot be read.");
    if (!layer.checkPrivateKeyMatchesCertificate())
        return kf_error_set(err, KF_INVALID, "dicom_tls_mismatch",
                            "The DICOM TLS private key does not belong to the certificate.");
    if (ca && *ca && layer.addTrustedCertificateFile(ca, DCF_Filetype_PEM).bad())
        return kf_error_set(err, KF_INVALID, "dicom_tls_ca", "The DICOM TLS certificate authority cannot be read.");
    if (require_client && (!ca || !*ca))
        return kf_error_set(err, KF_INVALID, "dicom_tls_ca",
                            "Client certificates are required, but no certificate authority is named.");
    if (layer.setTLSProfile(TSP_Profile_BCP195).bad() || layer.activateCipherSuites().bad())
        return kf_error_set(err, KF_INTERNAL, "dicom_tls_profile", "The BCP 195 TLS profile cannot be set up.");
    layer.setCertificateVerification(require_client ? DCV_requireCertificate : DCV_checkCertificate);
    return KF_OK;
}

} // namespace

DcmTransportLayer *kf_scp_tls_layer(const struct kf_scp_tls *tls)
{
    return tls->layer;
}

enum kf_status kf_scp_tls_new(const char *certificate, const char *key, const char *ca, int require_client,
                              struct kf_scp_tls **out, struct kf_error *err)
{
    *out = nullptr;
    try {
        DcmTLSTransportLayer *layer = new DcmTLSTransportLayer(NET_ACCEPTOR, nullptr, OFTrue);
        enum kf_status status = configure(*layer, certificate, key, ca, require_client, err);
        if (status != KF_OK) {
            delete layer;
            return status;
        }
        *out = new kf_scp_tls{layer};
        return KF_OK;
    } catch (...) {
        return kf_error_set(err, KF_NOMEM, nullptr, "Memory ran out while TLS was set up.");
    }
}

void kf_scp_tls_free(struct kf_scp_tls *tls)
{
    if (!tls)
        return;
    delete tls->layer;
    delete tls;
}
