// One association, from A-ASSOCIATE-RQ to its end. PDVs are taken from the upper layer (DUL) as they come and command
// sets are read by net_command.c, so that no data set passes through DCMTK's parser on its way to the disk.
#include "workers/dicom/net_scp.h"
#include "workers/dicom/net_command.h"
#include "workers/dicom/net_part10.h"
#include "workers/dicom/net_policy.h"
#include "workers/dicom/net_tls.h"
#include "workers/dicom/net_wire.h"

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/cond.h"
#include "dcmtk/dcmnet/dcmtrans.h"
#include "dcmtk/dcmnet/dul.h"
#include "dcmtk/dcmtls/tlslayer.h"
#include "dcmtk/oflog/oflog.h"
#include <cstdio>
#include <cstring>
#include <exception>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

const char application_context[] = "1.2.840.10008.3.1.1.1";

struct context_row {
    bool accepted;
    enum kf_net_class kind;
    char abstract_syntax[KF_DIMSE_UID];
    char transfer_syntax[KF_DIMSE_UID];
};

struct association {
    T_ASC_Network *network = nullptr;
    T_ASC_Association *dul = nullptr;
    const kf_scp_options *options = nullptr;
    const kf_scp_handler *handler = nullptr;
    const volatile int *cut = nullptr;
    kf_scp_report *report = nullptr;
    context_row contexts[256] = {}; // by presentation context id, which is one byte on the wire
};

void end_with(association &a, enum kf_scp_outcome outcome, const char *reason)
{
    a.report->outcome = outcome;
    std::snprintf(a.report->reason, sizeof a.report->reason, "%s", reason);
}

// The peer broke the protocol: say so on the wire and remember why.
void abort_malformed(association &a, const char *reason)
{
    if (a.dul)
        (void)ASC_abortAssociation(a.dul);
    end_with(a, KF_SCP_MALFORMED, reason);
}

// An AE title for logs and look-ups: PS3.5 allows printable ASCII without backslash; anything else becomes '?'.
void copy_title(char to[KF_AE_TITLE], const char *from)
{
    while (*from == ' ')
        from++;
    size_t n = strnlen(from, KF_AE_TITLE - 1);
    while (n > 0 && from[n - 1] == ' ')
        n--;
    for (size_t i = 0; i < n; i++)
        to[i] = from[i] >= ' ' && from[i] < 127 && from[i] != '\\' && from[i] != '"' ? from[i] : '?';
    to[n] = 0;
}

// ---------------------------------------------------------------------------------------------- negotiation

bool reject(association &a, T_ASC_RejectParametersResult result, T_ASC_RejectParametersSource source,
            T_ASC_RejectParametersReason reason, const char *code)
{
    T_ASC_RejectParameters parameters = {result, source, reason};
    (void)ASC_rejectAssociation(a.dul, &parameters);
    end_with(a, KF_SCP_REJECTED, code);
    return false;
}

bool admit(association &a)
{
    DUL_ASSOCIATESERVICEPARAMETERS &p = a.dul->params->DULparams;
    if (std::strcmp(p.applicationContextName, application_context) != 0)
        return reject(a, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                      ASC_REASON_SU_APPCONTEXTNAMENOTSUPPORTED, "application_context");
    kf_scp_peer peer;
    copy_title(peer.calling_ae, p.callingAPTitle);
    copy_title(peer.called_ae, p.calledAPTitle);
    copy_title(peer.implementation, a.dul->params->theirImplementationVersionName);
    switch (a.handler->admit(a.handler->context, &peer)) {
    case KF_SCP_ADMIT:
        return true;
    case KF_SCP_UNKNOWN_CALLING:
        return reject(a, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                      ASC_REASON_SU_CALLINGAETITLENOTRECOGNIZED, "calling_ae_title");
    case KF_SCP_UNKNOWN_CALLED:
        return reject(a, ASC_RESULT_REJECTEDPERMANENT, ASC_SOURCE_SERVICEUSER,
                      ASC_REASON_SU_CALLEDAETITLENOTRECOGNIZED, "called_ae_title");
    case KF_SCP_BUSY:
        break;
    }
    return reject(a, ASC_RESULT_REJECTEDTRANSIENT, ASC_SOURCE_SERVICEPROVIDER_PRESENTATION_RELATED,
                  ASC_REASON_SP_PRES_TEMPORARYCONGESTION, "congestion");
}

bool offers(const association &a, enum kf_net_class kind)
{
    return kind == KF_CLASS_VERIFICATION || kind == KF_CLASS_STORAGE ||
           (kind == KF_CLASS_UNKNOWN && a.options->set_aside_unknown);
}

// Answers one proposed presentation context.
OFCondition answer_context(association &a, const T_ASC_PresentationContext &proposed)
{
    context_row &row = a.contexts[proposed.presentationContextID];
    row.kind = kf_net_class(proposed.abstractSyntax);
    if (!offers(a, row.kind)) {
        a.report->contexts_refused++;
        return ASC_refusePresentationContext(a.dul->params, proposed.presentationContextID,
                                             ASC_P_ABSTRACTSYNTAXNOTSUPPORTED);
    }
    const char *syntaxes[DICOM_MAXTRANSFERSYNTAXES];
    int count = proposed.transferSyntaxCount;
    for (int i = 0; i < count; i++)
        syntaxes[i] = proposed.proposedTransferSyntaxes[i];
    int chosen = kf_net_choose(syntaxes, count);
    if (chosen < 0) {
        a.report->contexts_refused++;
        return ASC_refusePresentationContext(a.dul->params, proposed.presentationContextID,
                                             ASC_P_TRANSFERSYNTAXESNOTSUPPORTED);
    }
    row.accepted = true;
    std::snprintf(row.abstract_syntax, sizeof row.abstract_syntax, "%s", proposed.abstractSyntax);
    std::snprintf(row.transfer_syntax, sizeof row.transfer_syntax, "%s", syntaxes[chosen]);
    a.report->contexts_accepted++;
    return ASC_acceptPresentationContext(a.dul->params, proposed.presentationContextID, syntaxes[chosen],
                                         ASC_SC_ROLE_DEFAULT, OFTrue);
}

bool negotiate(association &a)
{
    int count = ASC_countPresentationContexts(a.dul->params);
    for (int i = 0; i < count; i++) {
        T_ASC_PresentationContext proposed;
        OFCondition cond = ASC_getPresentationContext(a.dul->params, i, &proposed);
        if (cond.good())
            cond = answer_context(a, proposed);
        if (cond.bad()) {
            abort_malformed(a, "presentation_context");
            return false;
        }
    }
    std::snprintf(a.dul->params->ourImplementationClassUID, sizeof a.dul->params->ourImplementationClassUID, "%s",
                  KF_IMPLEMENTATION_UID);
    std::snprintf(a.dul->params->ourImplementationVersionName, sizeof a.dul->params->ourImplementationVersionName,
                  "%s", KF_IMPLEMENTATION_VERSION);
    if (ASC_acknowledgeAssociation(a.dul).bad()) {
        end_with(a, *a.cut ? KF_SCP_CUT : KF_SCP_CLOSED, "acknowledge");
        return false;
    }
    return true;
}

// ---------------------------------------------------------------------------------------------- PDVs

// The next PDV of the association; false when the association has ended (and the report says how).
bool next_pdv(association &a, DUL_PDV &pdv)
{
    if (DUL_NextPDV(&a.dul->DULassociation, &pdv).good()) {
        a.handler->alive(a.handler->context);
        return true;
    }
    OFCondition cond = DUL_ReadPDVs(&a.dul->DULassociation, nullptr, DUL_BLOCK, 0);
    if (*a.cut) {
        (void)ASC_abortAssociation(a.dul);
        end_with(a, KF_SCP_CUT, "deadline");
        return false;
    }
    if (cond == DUL_PDATAPDUARRIVED && DUL_NextPDV(&a.dul->DULassociation, &pdv).good()) {
        a.handler->alive(a.handler->context);
        return true;
    }
    if (cond == DUL_PEERREQUESTEDRELEASE) {
        (void)ASC_acknowledgeRelease(a.dul);
        end_with(a, KF_SCP_RELEASED, "");
    } else if (cond == DUL_PEERABORTEDASSOCIATION) {
        end_with(a, kf_wire_closed() ? KF_SCP_CLOSED : KF_SCP_ABORTED, "");
    } else if (cond == DUL_NETWORKCLOSED || cond == DUL_READTIMEOUT || kf_wire_closed()) {
        end_with(a, KF_SCP_CLOSED, "");
    } else {
        abort_malformed(a, "pdu");
    }
    return false;
}

// Reads the PDVs of one command set. False when the association has ended.
bool read_command(association &a, unsigned char &context_id, kf_dimse_command &command)
{
    unsigned char bytes[KF_DIMSE_COMMAND];
    size_t length = 0;
    for (;;) {
        DUL_PDV pdv;
        if (!next_pdv(a, pdv))
            return false;
        if (pdv.pdvType != DUL_COMMANDPDV) {
            abort_malformed(a, "data_before_command");
            return false;
        }
        if (length > 0 && pdv.presentationContextID != context_id) {
            abort_malformed(a, "context_changed");
            return false;
        }
        context_id = pdv.presentationContextID;
        if (pdv.fragmentLength > sizeof bytes - length) {
            abort_malformed(a, "command_too_long");
            return false;
        }
        std::memcpy(bytes + length, pdv.data, pdv.fragmentLength);
        length += pdv.fragmentLength;
        if (pdv.lastPDV)
            break;
    }
    kf_error err = {};
    if (kf_dimse_parse(bytes, length, &command, &err) != KF_OK) {
        abort_malformed(a, err.code);
        return false;
    }
    return true;
}

// Reads the data set that follows a command and feeds it to the handler while *status is success. False when the
// association has ended inside it.
bool read_data_set(association &a, unsigned char context_id, uint16_t &status)
{
    int64_t length = 0;
    for (;;) {
        DUL_PDV pdv;
        if (!next_pdv(a, pdv))
            return false;
        if (pdv.pdvType != DUL_DATASETPDV || pdv.presentationContextID != context_id) {
            abort_malformed(a, "data_set_interrupted");
            return false;
        }
        length += static_cast<int64_t>(pdv.fragmentLength);
        a.report->bytes += static_cast<int64_t>(pdv.fragmentLength);
        if (length > a.options->object_limit) {
            if (status == KF_DIMSE_SUCCESS) {
                a.handler->cut(a.handler->context);
                status = KF_DIMSE_OUT_OF_RESOURCES;
            }
            if (length / 2 > a.options->object_limit) {
                abort_malformed(a, "object_too_large");
                return false;
            }
        }
        if (status == KF_DIMSE_SUCCESS)
            status = a.handler->data(a.handler->context, static_cast<unsigned char *>(pdv.data), pdv.fragmentLength);
        if (pdv.lastPDV)
            return true;
    }
}

// ---------------------------------------------------------------------------------------------- messages

bool respond(association &a, unsigned char context_id, const kf_dimse_command &request, uint16_t status)
{
    kf_dimse_command response = request;
    response.field = static_cast<uint16_t>(request.field | KF_DIMSE_RESPONSE);
    response.data_set_type = KF_DIMSE_NO_DATA;
    response.status = status;
    unsigned char bytes[512];
    size_t length = kf_dimse_encode(&response, bytes, sizeof bytes);
    if (!kf_wire_send(a.dul, context_id, bytes, length, true)) {
        end_with(a, *a.cut ? KF_SCP_CUT : KF_SCP_CLOSED, "response");
        return false;
    }
    return true;
}

// What is wrong with a C-STORE-RQ before its data set is looked at; success when nothing is.
uint16_t check_store(const context_row &row, const kf_dimse_command &request)
{
    if (row.kind == KF_CLASS_VERIFICATION || !request.sop_class[0])
        return KF_DIMSE_CLASS_NOT_SUPPORTED;
    if (std::strcmp(row.abstract_syntax, request.sop_class) != 0)
        return KF_DIMSE_CLASS_MISMATCH;
    return request.sop_instance[0] ? KF_DIMSE_SUCCESS : KF_DIMSE_INVALID_INSTANCE;
}

bool serve_store(association &a, unsigned char context_id, const kf_dimse_command &request)
{
    const context_row &row = a.contexts[context_id];
    uint16_t status = check_store(row, request);
    if (request.data_set_type == KF_DIMSE_NO_DATA) {
        status = status ? status : static_cast<uint16_t>(KF_DIMSE_CANNOT_UNDERSTAND);
    } else {
        bool begun = false;
        if (status == KF_DIMSE_SUCCESS) {
            kf_scp_object object = {request.sop_class, request.sop_instance, row.transfer_syntax,
                                    row.kind == KF_CLASS_UNKNOWN};
            status = a.handler->begin(a.handler->context, &object);
            begun = status == KF_DIMSE_SUCCESS;
        }
        if (!read_data_set(a, context_id, status)) {
            if (begun && status == KF_DIMSE_SUCCESS)
                a.handler->cut(a.handler->context);
            return false;
        }
        if (status == KF_DIMSE_SUCCESS)
            status = a.handler->end(a.handler->context);
    }
    a.report->stores++;
    a.report->failures += status != KF_DIMSE_SUCCESS;
    return respond(a, context_id, request, status);
}

bool serve_message(association &a, unsigned char context_id, const kf_dimse_command &request)
{
    if (!a.contexts[context_id].accepted) {
        abort_malformed(a, "context_not_accepted");
        return false;
    }
    switch (request.field) {
    case KF_DIMSE_STORE_RQ:
        return serve_store(a, context_id, request);
    case KF_DIMSE_ECHO_RQ:
        if (request.data_set_type == KF_DIMSE_NO_DATA) {
            a.report->echoes++;
            return respond(a, context_id, request, KF_DIMSE_SUCCESS);
        }
        abort_malformed(a, "echo_with_data");
        return false;
    case KF_DIMSE_CANCEL:
        return true;
    default: {
        if (request.field & KF_DIMSE_RESPONSE) {
            abort_malformed(a, "unasked_response");
            return false;
        }
        uint16_t drop = KF_DIMSE_UNRECOGNIZED_OPERATION;
        if (request.data_set_type != KF_DIMSE_NO_DATA && !read_data_set(a, context_id, drop))
            return false;
        return respond(a, context_id, request, KF_DIMSE_UNRECOGNIZED_OPERATION);
    }
    }
}

void serve(association &a, int fd)
{
    kf_wire_setup();
    dcmExternalSocketHandle.set(fd);
    DUL_markProcessAsForkedChild(); // the listening socket is somebody else's
    if (ASC_initializeNetwork(NET_ACCEPTOR, 0, 30, &a.network).bad()) {
        end_with(a, KF_SCP_CLOSED, "network");
        return;
    }
    kf_wire_layer plain;
    DcmTransportLayer *layer = a.options->tls ? kf_scp_tls_layer(a.options->tls) : &plain;
    (void)ASC_setTransportLayer(a.network, layer, 0);
    OFCondition cond = ASC_receiveAssociation(a.network, &a.dul, static_cast<long>(a.options->pdu_bytes), nullptr,
                                              nullptr, a.options->tls != nullptr, DUL_NOBLOCK, 30);
    if (cond.bad()) {
        bool gone = cond == DUL_NETWORKCLOSED || cond == DUL_PEERABORTEDASSOCIATION || kf_wire_closed();
        end_with(a, *a.cut ? KF_SCP_CUT : gone ? KF_SCP_CLOSED : KF_SCP_MALFORMED,
                 a.options->tls ? "association_request_or_tls" : "association_request");
        return;
    }
    // A connection that closes without a word counts as received without error; nothing has been asked then.
    if (!a.dul->params->DULparams.applicationContextName[0] && !a.dul->params->DULparams.requestedPresentationContext) {
        end_with(a, *a.cut ? KF_SCP_CUT : KF_SCP_CLOSED, "");
        return;
    }
    if (!admit(a) || !negotiate(a))
        return;
    unsigned char context_id = 0;
    kf_dimse_command request;
    while (read_command(a, context_id, request) && serve_message(a, context_id, request)) {
    }
}

} // namespace

const char *kf_scp_outcome_name(enum kf_scp_outcome outcome)
{
    switch (outcome) {
    case KF_SCP_RELEASED:
        return "released";
    case KF_SCP_REJECTED:
        return "rejected";
    case KF_SCP_ABORTED:
        return "aborted";
    case KF_SCP_CLOSED:
        return "closed";
    case KF_SCP_CUT:
        return "cut";
    case KF_SCP_MALFORMED:
        return "malformed";
    }
    return "unknown";
}

void kf_scp_serve(int fd, const struct kf_scp_options *options, const struct kf_scp_handler *handler,
                  const volatile int *cut, struct kf_scp_report *report)
{
    std::memset(report, 0, sizeof *report);
    association a;
    a.options = options;
    a.handler = handler;
    a.cut = cut;
    a.report = report;
    try {
        serve(a, fd);
    } catch (const std::bad_alloc &) {
        end_with(a, KF_SCP_MALFORMED, "out_of_memory");
    } catch (...) {
        end_with(a, KF_SCP_MALFORMED, "exception");
    }
    if (a.dul) {
        (void)ASC_dropAssociation(a.dul);
        (void)ASC_destroyAssociation(&a.dul);
    }
    if (a.network)
        (void)ASC_dropNetwork(&a.network);
}
