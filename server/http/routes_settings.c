// What anybody may know: the version, the rules for passwords, the interface itself.
#include "server/base/config.h"
#include "server/domain/signin.h"
#include "server/http/routes_common.h"

// api/openapi.yaml, embedded by the build.
extern const unsigned char kf_openapi_yaml[];
extern const unsigned long kf_openapi_yaml_length;

enum kf_status kf_route_settings_public(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_out out = {0};
    (void)request;
    kf_out_object(&out, NULL);
    kf_out_text(&out, "version", KERF_VERSION);
    kf_out_int(&out, "password_min_characters", KF_PASSWORD_MIN_CHARACTERS);
    kf_out_close(&out);
    return kf_reply(response, 200, &out, err);
}

static void out_port(struct kf_out *out, const char *key, int64_t port)
{
    if (port > 0)
        kf_out_int(out, key, port);
    else
        kf_out_null(out, key);
}

enum kf_status kf_route_settings_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    struct kf_out out = {0};
    (void)request;
    kf_out_object(&out, NULL);
    kf_out_object(&out, "dicom");
    kf_out_text(&out, "ae_title", kf_config_text("KERF_DICOM_AE"));
    out_port(&out, "port", kf_config_integer("KERF_DICOM_PORT"));
    out_port(&out, "tls_port", kf_config_integer("KERF_DICOM_TLS_PORT"));
    kf_out_close(&out);
    kf_out_close(&out);
    return kf_reply(response, 200, &out, err);
}

enum kf_status kf_route_openapi_read(struct kf_request *request, struct kf_response *response, struct kf_error *err)
{
    (void)request;
    (void)err;
    kf_response_bytes(response, "application/yaml", kf_openapi_yaml, kf_openapi_yaml_length);
    return KF_OK;
}
