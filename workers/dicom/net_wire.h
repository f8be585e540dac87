// What the accepting and the sending side share below the association: the plain transport and the sending of PDVs.
// C++ only, private to net_*.cpp.
#ifndef KERF_DICOM_NET_WIRE_H
#define KERF_DICOM_NET_WIRE_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/assoc.h"
#include "dcmtk/dcmnet/dcmlayer.h"
#include "dcmtk/dcmnet/dcmtrans.h"
#include <cstddef>

// Process-wide settings of DCMTK's network layer: no reverse look-ups, no Nagle, no logging (its log prints what it
// receives). Idempotent.
void kf_wire_setup();

// Plain TCP as DCMTK has it, and two cures for Nagle's algorithm meeting delayed acknowledgements (a stock sender stands
// still for 40 ms an image otherwise): acknowledge at once whatever we read, and send a P-DATA header together with the
// data that follows it.
class kf_wire_layer : public DcmTransportLayer {
  public:
    DcmTransportConnection *createConnection(DcmNativeSocketType socket, OFBool secure) override;
};

// 1 once the peer has closed a plain connection of this process, or it broke. DCMTK reports that as an abort of the peer's.
bool kf_wire_closed();

// Sends one command or data set fragment stream as P-DATA. `last` marks the end of the message part.
bool kf_wire_send(T_ASC_Association *association, unsigned char context_id, const void *bytes, std::size_t length,
                  bool command, bool last = true);

#endif
