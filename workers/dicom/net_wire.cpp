#include "workers/dicom/net_wire.h"

#include "dcmtk/dcmnet/dul.h"
#include "dcmtk/oflog/oflog.h"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace {

bool closed;

class connection : public DcmTCPConnection {
  public:
    explicit connection(DcmNativeSocketType socket) : DcmTCPConnection(socket) {}

    ssize_t read(void *buffer, size_t length) override
    {
        // The kernel falls back to delayed acknowledgements by itself: TCP_QUICKACK has to be set again and again.
        int on = 1;
        (void)setsockopt(getSocket(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
        ssize_t n = recv(getSocket(), buffer, length, 0);
        closed |= n == 0 || (n < 0 && errno != EINTR);
        return n;
    }

    ssize_t write(void *buffer, size_t length) override
    {
        const unsigned char p_data = 0x04;
        bool header = length == 12 && *static_cast<unsigned char *>(buffer) == p_data;
        return send(getSocket(), buffer, length, MSG_NOSIGNAL | (header ? MSG_MORE : 0));
    }
};

} // namespace

void kf_wire_setup()
{
    (void)setenv("TCP_NODELAY", "1", 1);
    dcmDisableGethostbyaddr.set(OFTrue);
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
}

bool kf_wire_closed()
{
    return closed;
}

DcmTransportConnection *kf_wire_layer::createConnection(DcmNativeSocketType socket, OFBool secure)
{
    return secure ? nullptr : new connection(socket);
}

bool kf_wire_send(T_ASC_Association *association, unsigned char context_id, const void *bytes, std::size_t length,
                  bool command, bool last)
{
    DUL_PDV pdv;
    std::memset(&pdv, 0, sizeof pdv);
    pdv.fragmentLength = length;
    pdv.presentationContextID = context_id;
    pdv.pdvType = command ? DUL_COMMANDPDV : DUL_DATASETPDV;
    pdv.lastPDV = last;
    pdv.data = const_cast<void *>(bytes); // DUL only reads it
    DUL_PDVLIST list;
    std::memset(&list, 0, sizeof list);
    list.count = 1;
    list.pdv = &pdv;
    return DUL_WritePDVs(&association->DULassociation, &list).good();
}
