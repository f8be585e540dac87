#include "workers/dicom/net_part10.h"
#include <stdint.h>
#include <string.h>

struct writer {
    unsigned char *to;
    size_t size, length;
    int full;
};

static void put_bytes(struct writer *w, const void *bytes, size_t n)
{
    if (w->size - w->length < n) {
        w->full = 1;
        return;
    }
    memcpy(w->to + w->length, bytes, n);
    w->length += n;
}

static void put_le(struct writer *w, uint32_t value, size_t n)
{
    unsigned char bytes[4];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    put_bytes(w, bytes, n);
}

// A string element of group 0002 in explicit little endian, padded to even length.
static void put_text(struct writer *w, uint16_t element, const char vr[2], const char *text, char pad)
{
    size_t n = strlen(text), padded = n + (n & 1);
    put_le(w, 2, 2);
    put_le(w, element, 2);
    put_bytes(w, vr, 2);
    put_le(w, (uint32_t)padded, 2);
    put_bytes(w, text, n);
    if (padded > n)
        put_bytes(w, &pad, 1);
}

size_t kf_part10_header(const char *sop_class, const char *sop_instance, const char *transfer_syntax,
                        const char *source_ae, unsigned char *to, size_t size)
{
    const char *uids[] = {sop_class, sop_instance, transfer_syntax};
    for (size_t i = 0; i < 3; i++) {
        if (!uids[i][0] || strlen(uids[i]) > 64)
            return 0;
    }
    if (strlen(source_ae) > 16)
        return 0;
    struct writer w = {to, size, 0, 0};
    static const unsigned char preamble[128];
    put_bytes(&w, preamble, sizeof preamble);
    put_bytes(&w, "DICM", 4);
    put_le(&w, 2, 4); // (0002,0000) UL, 4 bytes: filled in below
    put_bytes(&w, "UL\4\0\0\0\0\0", 8);
    size_t body = w.length;
    put_le(&w, 0x00010002, 4); // (0002,0001) OB: file meta version 1
    put_bytes(&w, "OB\0\0\2\0\0\0\0\1", 10);
    put_text(&w, 0x0002, "UI", sop_class, 0);
    put_text(&w, 0x0003, "UI", sop_instance, 0);
    put_text(&w, 0x0010, "UI", transfer_syntax, 0);
    put_text(&w, 0x0012, "UI", KF_IMPLEMENTATION_UID, 0);
    put_text(&w, 0x0013, "SH", KF_IMPLEMENTATION_VERSION, ' ');
    if (source_ae[0])
        put_text(&w, 0x0016, "AE", source_ae, ' ');
    if (w.full)
        return 0;
    uint32_t group = (uint32_t)(w.length - body);
    for (int i = 0; i < 4; i++)
        to[body - 4 + (size_t)i] = (unsigned char)(group >> (8 * i));
    return w.length;
}
