#include "workers/dicom/net_scu.h"
#include "workers/dicom/net_command.h"
#include "workers/dicom/net_part10.h"
#include "workers/dicom/net_wire.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmdata/dcuid.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/cond.h"
#include "dcmtk/dcmnet/dul.h"
#include <cstdio>
#include <cstring>
#include <new>
#include <unistd.h>
#include <vector>

struct kf_scu {
    kf_wire_layer layer;
    T_ASC_Network *network = nullptr;
    T_ASC_Parameters *parameters = nullptr; // until the association owns them
    T_ASC_Association *association = nullptr;
    int timeout_s = 30;
    uint16_t message_id = 0;
    bool broken = false;
    std::vector<unsigned char> buffer;
};

namespace {

enum kf_status fail(kf_scu *scu, struct kf_error *err, enum kf_status status, const char *code, const char *sentence)
{
    scu->broken = true;
    return kf_error_set(err, status, code, "%s", sentence);
}

// Verification under id 1, then the caller's contexts.
bool propose(kf_scu *scu, const kf_scu_context *contexts, int count)
{
    const char *implicit = UID_LittleEndianImplicitTransferSyntax;
    if (ASC_addPresentationContext(scu->parameters, 1, UID_VerificationSOPClass, &implicit, 1).bad())
        return false;
    for (int i = 0; i < count; i++) {
        const char *syntax = contexts[i].transfer_syntax;
        if (ASC_addPresentationContext(scu->parameters, static_cast<T_ASC_PresentationContextID>(3 + 2 * i),
                                       contexts[i].sop_class, &syntax, 1)
                .bad())
            return false;
    }
    return true;
}

enum kf_status rejected(kf_scu *scu, struct kf_error *err)
{
    T_ASC_RejectParameters why;
    ASC_getRejectParameters(scu->parameters, &why);
    scu->broken = true;
    if (why.result == ASC_RESULT_REJECTEDTRANSIENT)
        return kf_error_set(err, KF_UNAVAILABLE, "rejected_busy", "The peer has no room for an association now.");
    if (why.reason == ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED)
        return kf_error_set(err, KF_FORBIDDEN, "rejected_calling_ae", "The peer does not know our AE title.");
    if (why.reason == ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED)
        return kf_error_set(err, KF_FORBIDDEN, "rejected_called_ae", "The peer goes by another AE title.");
    return kf_error_set(err, KF_FORBIDDEN, "rejected", "The peer rejected the association.");
}

enum kf_status connect(kf_scu *scu, const kf_scu_options *options, const kf_scu_context *contexts, int count,
                       struct kf_error *err)
{
    kf_wire_setup();
    scu->timeout_s = options->timeout_s > 0 ? options->timeout_s : 30;
    dcmConnectionTimeout.set(scu->timeout_s);
    if (ASC_initializeNetwork(NET_REQUESTOR, 0, scu->timeout_s, &scu->network).bad() ||
        ASC_setTransportLayer(scu->network, &scu->layer, 0).bad() ||
        ASC_createAssociationParameters(&scu->parameters, ASC_MAXIMUMPDUSIZE).bad())
        return fail(scu, err, KF_NOMEM, nullptr, "The association cannot be prepared.");
    char host[300];
    std::snprintf(host, sizeof host, "%s:%d", options->host, options->port);
    if (ASC_setAPTitles(scu->parameters, options->calling_ae, options->called_ae, nullptr).bad() ||
        ASC_setPresentationAddresses(scu->parameters, "localhost", host).bad() ||
        ASC_setTransportLayerType(scu->parameters, OFFalse).bad() || !propose(scu, contexts, count))
        return fail(scu, err, KF_INVALID, "negotiation", "The association's parameters are not valid.");
    std::snprintf(scu->parameters->ourImplementationClassUID, sizeof scu->parameters->ourImplementationClassUID, "%s",
                  KF_IMPLEMENTATION_UID);
    std::snprintf(scu->parameters->ourImplementationVersionName, sizeof scu->parameters->ourImplementationVersionName,
                  "%s", KF_IMPLEMENTATION_VERSION);
    OFCondition cond = ASC_requestAssociation(scu->network, scu->parameters, &scu->association, nullptr, nullptr,
                                              DUL_NOBLOCK, scu->timeout_s);
    if (cond == DUL_ASSOCIATIONREJECTED)
        return rejected(scu, err);
    if (cond.bad())
        return fail(scu, err, KF_UNAVAILABLE, "connect", "No DICOM association could be made with the peer.");
    return KF_OK;
}

// Waits for the response to the message just sent.
enum kf_status await(kf_scu *scu, uint16_t asked, kf_dimse_command &response, struct kf_error *err)
{
    unsigned char bytes[KF_DIMSE_COMMAND];
    size_t length = 0;
    for (bool last = false; !last;) {
        DUL_PDV pdv;
        if (DUL_NextPDV(&scu->association->DULassociation, &pdv).bad()) {
            OFCondition cond =
                DUL_ReadPDVs(&scu->association->DULassociation, nullptr, DUL_NOBLOCK, scu->timeout_s);
            if (cond == DUL_READTIMEOUT)
                return fail(scu, err, KF_TIMEOUT, "no_answer", "The peer did not answer in time.");
            if (cond != DUL_PDATAPDUARRIVED || DUL_NextPDV(&scu->association->DULassociation, &pdv).bad())
                return fail(scu, err, KF_UNAVAILABLE, "association_lost", "The peer ended the association.");
        }
        if (pdv.pdvType != DUL_COMMANDPDV || pdv.fragmentLength > sizeof bytes - length)
            return fail(scu, err, KF_UNAVAILABLE, "bad_answer", "The peer's answer is not a DIMSE response.");
        std::memcpy(bytes + length, pdv.data, pdv.fragmentLength);
        length += pdv.fragmentLength;
        last = pdv.lastPDV;
    }
    if (kf_dimse_parse(bytes, length, &response, nullptr) != KF_OK || !response.has_status ||
        response.field != (asked | KF_DIMSE_RESPONSE) || response.message_id != scu->message_id)
        return fail(scu, err, KF_UNAVAILABLE, "bad_answer", "The peer's answer does not belong to the request.");
    return KF_OK;
}

enum kf_status send_command(kf_scu *scu, unsigned char context_id, kf_dimse_command &command, struct kf_error *err)
{
    unsigned char bytes[512];
    command.message_id = ++scu->message_id;
    size_t length = kf_dimse_encode(&command, bytes, sizeof bytes);
    if (!kf_wire_send(scu->association, context_id, bytes, length, true))
        return fail(scu, err, KF_UNAVAILABLE, "association_lost", "The peer ended the association.");
    return KF_OK;
}

enum kf_status send_data_set(kf_scu *scu, unsigned char context_id, const kf_scu_object *object, struct kf_error *err)
{
    scu->buffer.resize(1 << 20);
    int64_t sent = 0;
    do {
        int64_t rest = object->length - sent;
        size_t want = rest < static_cast<int64_t>(scu->buffer.size()) ? static_cast<size_t>(rest) : scu->buffer.size();
        ssize_t got = pread(object->fd, scu->buffer.data(), want, object->offset + sent);
        if (got < 0 || (got == 0 && want > 0))
            return fail(scu, err, KF_IO, "file_changed", "The file cannot be read to its end.");
        sent += got;
        if (!kf_wire_send(scu->association, context_id, scu->buffer.data(), static_cast<size_t>(got), false,
                          sent == object->length))
            return fail(scu, err, KF_UNAVAILABLE, "association_lost", "The peer ended the association.");
    } while (sent < object->length);
    return KF_OK;
}

enum kf_status store(kf_scu *scu, const kf_scu_object *object, uint16_t *dimse_status, struct kf_error *err)
{
    unsigned char context_id = ASC_findAcceptedPresentationContextID(scu->association, object->sop_class,
                                                                     object->transfer_syntax);
    T_ASC_PresentationContext context;
    if (context_id == 0 || ASC_findAcceptedPresentationContext(scu->association->params, context_id, &context).bad() ||
        std::strcmp(context.acceptedTransferSyntax, object->transfer_syntax) != 0)
        return kf_error_set(err, KF_UNSUPPORTED, "context_refused",
                            "The peer does not take this SOP class in this transfer syntax.");
    kf_dimse_command command = {};
    command.field = KF_DIMSE_STORE_RQ;
    command.data_set_type = 0;
    std::snprintf(command.sop_class, sizeof command.sop_class, "%s", object->sop_class);
    std::snprintf(command.sop_instance, sizeof command.sop_instance, "%s", object->sop_instance);
    enum kf_status status = send_command(scu, context_id, command, err);
    if (status == KF_OK)
        status = send_data_set(scu, context_id, object, err);
    kf_dimse_command response;
    if (status == KF_OK)
        status = await(scu, command.field, response, err);
    if (status == KF_OK)
        *dimse_status = response.status;
    return status;
}

} // namespace

enum kf_status kf_scu_open(const struct kf_scu_options *options, const struct kf_scu_context *contexts, int count,
                           struct kf_scu **out, struct kf_error *err)
{
    *out = nullptr;
    if (count < 0 || count >= KF_SCU_CONTEXTS)
        return kf_error_set(err, KF_INVALID, "negotiation", "Too many presentation contexts for one association.");
    kf_scu *scu = nullptr;
    try {
        scu = new kf_scu;
        enum kf_status status = connect(scu, options, contexts, count, err);
        if (status == KF_OK)
            *out = scu;
        else
            kf_scu_close(scu);
        return status;
    } catch (...) {
        kf_scu_close(scu);
        return kf_error_set(err, KF_NOMEM, nullptr, "Memory ran out.");
    }
}

enum kf_status kf_scu_echo(struct kf_scu *scu, uint16_t *dimse_status, struct kf_error *err)
{
    try {
        kf_dimse_command command = {}, response;
        command.field = KF_DIMSE_ECHO_RQ;
        command.data_set_type = KF_DIMSE_NO_DATA;
        std::snprintf(command.sop_class, sizeof command.sop_class, "%s", UID_VerificationSOPClass);
        enum kf_status status = send_command(scu, 1, command, err);
        if (status == KF_OK)
            status = await(scu, command.field, response, err);
        if (status == KF_OK)
            *dimse_status = response.status;
        return status;
    } catch (...) {
        return fail(scu, err, KF_NOMEM, nullptr, "Memory ran out.");
    }
}

enum kf_status kf_scu_store(struct kf_scu *scu, const struct kf_scu_object *object, uint16_t *dimse_status,
                            struct kf_error *err)
{
    try {
        return store(scu, object, dimse_status, err);
    } catch (...) {
        return fail(scu, err, KF_NOMEM, nullptr, "Memory ran out.");
    }
}

void kf_scu_close(struct kf_scu *scu)
{
    if (!scu)
        return;
    if (scu->association) {
        (void)(scu->broken ? ASC_abortAssociation(scu->association) : ASC_releaseAssociation(scu->association));
        (void)ASC_destroyAssociation(&scu->association);
    } else if (scu->parameters) {
        (void)ASC_destroyAssociationParameters(&scu->parameters);
    }
    if (scu->network)
        (void)ASC_dropNetwork(&scu->network);
    delete scu;
}
