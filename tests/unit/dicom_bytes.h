// DICOM bytes written by hand, so that tests can say exactly what is wrong with them.
#ifndef KERF_TESTS_DICOM_BYTES_H
#define KERF_TESTS_DICOM_BYTES_H

#include "server/base/str.h"
#include <stdint.h>
#include <string.h>

struct dicom_bytes {
    struct kf_str out;
    int implicit, big;
};

#define UNDEFINED_LENGTH 0xFFFFFFFFu

static inline void put16(struct dicom_bytes *b, uint32_t v)
{
    unsigned char p[2] = {(unsigned char)v, (unsigned char)(v >> 8)};
    if (b->big)
        p[0] = (unsigned char)(v >> 8), p[1] = (unsigned char)v;
    kf_str_add(&b->out, p, 2);
}

static inline void put32(struct dicom_bytes *b, uint32_t v)
{
    put16(b, b->big ? v >> 16 : v & 0xFFFF);
    put16(b, b->big ? v & 0xFFFF : v >> 16);
}

static inline void put_header(struct dicom_bytes *b, uint32_t tag, const char *vr, uint32_t length)
{
    put16(b, tag >> 16);
    put16(b, tag & 0xFFFF);
    if (b->implicit || tag >> 16 == 0xFFFE) {
        put32(b, length);
        return;
    }
    kf_str_add(&b->out, vr, 2);
    if (strstr("OB OW OF OD OL OV SQ UC UN UR UT SV UV", vr)) {
        put16(b, 0);
        put32(b, length);
    } else {
        put16(b, length);
    }
}

static inline void put_bytes(struct dicom_bytes *b, uint32_t tag, const char *vr, const void *value, size_t length)
{
    put_header(b, tag, vr, (uint32_t)(length + (length & 1)));
    kf_str_add(&b->out, value, length);
    if (length & 1)
        kf_str_add_char(&b->out, strcmp(vr, "UI") == 0 || strcmp(vr, "OB") == 0 || strcmp(vr, "UN") == 0 ? 0 : ' ');
}

static inline void put_text(struct dicom_bytes *b, uint32_t tag, const char *vr, const char *value)
{
    put_bytes(b, tag, vr, value, strlen(value));
}

static inline void put_us(struct dicom_bytes *b, uint32_t tag, uint32_t value)
{
    put_header(b, tag, "US", 2);
    put16(b, value);
}

// Preamble and file meta for a transfer syntax. The group length is left out: readers must not need it.
static inline void put_meta(struct dicom_bytes *b, const char *transfer_syntax)
{
    struct dicom_bytes meta = {0};
    for (int i = 0; i < 128; i++)
        kf_str_add_char(&meta.out, 0);
    kf_str_add_text(&meta.out, "DICM");
    put_text(&meta, 0x00020002, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(&meta, 0x00020003, "UI", "1.2.3.4");
    put_text(&meta, 0x00020010, "UI", transfer_syntax);
    kf_str_add(&b->out, kf_str_text(&meta.out), meta.out.length);
    kf_str_release(&meta.out);
}

// What every instance must say of itself.
static inline void put_identity(struct dicom_bytes *b)
{
    put_text(b, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2");
    put_text(b, 0x00080018, "UI", "1.2.3.4");
    put_text(b, 0x00080060, "CS", "CT");
    put_text(b, 0x0020000D, "UI", "1.2.3");
    put_text(b, 0x0020000E, "UI", "1.2.3.1");
}

static inline void put_image(struct dicom_bytes *b, int rows, int columns, int bits)
{
    put_us(b, 0x00280002, 1);
    put_text(b, 0x00280004, "CS", "MONOCHROME2");
    put_us(b, 0x00280010, (uint32_t)rows);
    put_us(b, 0x00280011, (uint32_t)columns);
    put_us(b, 0x00280100, bits > 8 ? 16 : 8);
    put_us(b, 0x00280101, (uint32_t)bits);
    put_us(b, 0x00280102, (uint32_t)bits - 1);
    put_us(b, 0x00280103, 0);
}

static inline void put_item(struct dicom_bytes *b, uint32_t length)
{
    put_header(b, 0xFFFEE000, "", length);
}

static inline void put_item_end(struct dicom_bytes *b)
{
    put_header(b, 0xFFFEE00D, "", 0);
}

static inline void put_sequence_end(struct dicom_bytes *b)
{
    put_header(b, 0xFFFEE0DD, "", 0);
}

static inline void put_fragment(struct dicom_bytes *b, const void *bytes, size_t length)
{
    put_item(b, (uint32_t)length);
    kf_str_add(&b->out, bytes, length);
}

#endif
