// Writes an axial CT series of COUNT slices with noise for pixels: something to send, as large and as many as a test
// needs. Deterministic: the same arguments give the same bytes.
//
//   intake_series DIR COUNT [ROWS COLUMNS [SEED]]        (512 × 512 and seed 1 by default: 526 kB a slice)
#include "workers/dicom/net_part10.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct buffer {
    unsigned char bytes[8192];
    size_t length;
};

static void put_le(struct buffer *b, uint32_t value, int n)
{
    for (int i = 0; i < n; i++)
        b->bytes[b->length++] = (unsigned char)(value >> (8 * i));
}

static void put_text(struct buffer *b, uint16_t group, uint16_t element, const char vr[3], const char *text)
{
    size_t n = strlen(text), padded = n + (n & 1);
    put_le(b, group, 2);
    put_le(b, element, 2);
    memcpy(b->bytes + b->length, vr, 2);
    b->length += 2;
    put_le(b, (uint32_t)padded, 2);
    memcpy(b->bytes + b->length, text, n);
    b->length += n;
    if (padded > n)
        b->bytes[b->length++] = strcmp(vr, "UI") == 0 ? 0 : ' ';
}

static void put_us(struct buffer *b, uint16_t element, uint16_t value)
{
    put_le(b, 0x0028, 2);
    put_le(b, element, 2);
    memcpy(b->bytes + b->length, "US", 2);
    b->length += 2;
    put_le(b, 2, 2);
    put_le(b, value, 2);
}

static void put_header(struct buffer *b, int slice, unsigned rows, unsigned columns, unsigned seed)
{
    char instance[64], study[64], series[64], text[64];
    snprintf(study, sizeof study, "2.25.7000%u", seed);
    snprintf(series, sizeof series, "2.25.7000%u.1", seed);
    snprintf(instance, sizeof instance, "2.25.7000%u.1.%d", seed, slice + 1);
    const char *ct = "1.2.840.10008.5.1.4.1.1.2";
    b->length = kf_part10_header(ct, instance, "1.2.840.10008.1.2.1", "", b->bytes, sizeof b->bytes);
    put_text(b, 0x0008, 0x0016, "UI", ct);
    put_text(b, 0x0008, 0x0018, "UI", instance);
    put_text(b, 0x0008, 0x0020, "DA", "20260101");
    put_text(b, 0x0008, 0x0060, "CS", "CT");
    snprintf(text, sizeof text, "Series^Number%u", seed);
    put_text(b, 0x0010, 0x0010, "PN", text);
    snprintf(text, sizeof text, "TEST%u", seed);
    put_text(b, 0x0010, 0x0020, "LO", text);
    put_text(b, 0x0018, 0x0050, "DS", "1");
    put_text(b, 0x0020, 0x000d, "UI", study);
    put_text(b, 0x0020, 0x000e, "UI", series);
    put_text(b, 0x0020, 0x0011, "IS", "1");
    snprintf(text, sizeof text, "%d", slice + 1);
    put_text(b, 0x0020, 0x0013, "IS", text);
    snprintf(text, sizeof text, "-120\\-120\\%d", slice);
    put_text(b, 0x0020, 0x0032, "DS", text);
    put_text(b, 0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0");
    snprintf(text, sizeof text, "2.25.7000%u.2", seed);
    put_text(b, 0x0020, 0x0052, "UI", text);
    put_us(b, 0x0002, 1);
    put_text(b, 0x0028, 0x0004, "CS", "MONOCHROME2");
    put_us(b, 0x0010, (uint16_t)rows);
    put_us(b, 0x0011, (uint16_t)columns);
    put_text(b, 0x0028, 0x0030, "DS", "0.5\\0.5");
    put_us(b, 0x0100, 16);
    put_us(b, 0x0101, 16);
    put_us(b, 0x0102, 15);
    put_us(b, 0x0103, 1);
    put_text(b, 0x0028, 0x1052, "DS", "0");
    put_text(b, 0x0028, 0x1053, "DS", "1");
    put_le(b, 0x7fe0, 2);
    put_le(b, 0x0010, 2);
    memcpy(b->bytes + b->length, "OW\0\0", 4);
    b->length += 4;
    put_le(b, rows * columns * 2, 4);
}

static int write_slice(const char *folder, int slice, unsigned rows, unsigned columns, unsigned seed, int16_t *pixels)
{
    struct buffer header;
    put_header(&header, slice, rows, columns, seed);
    uint64_t state = (uint64_t)seed * 1000003u + (uint64_t)slice + 1;
    for (size_t i = 0; i < (size_t)rows * columns; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        pixels[i] = (int16_t)((int)(state >> 53) - 1024);
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/%05d.dcm", folder, slice);
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    int bad = fwrite(header.bytes, 1, header.length, f) != header.length ||
              fwrite(pixels, 2, (size_t)rows * columns, f) != (size_t)rows * columns;
    return fclose(f) || bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: intake_series DIR COUNT [ROWS COLUMNS [SEED]]\n");
        return 2;
    }
    unsigned rows = argc > 4 ? (unsigned)atoi(argv[3]) : 512, columns = argc > 4 ? (unsigned)atoi(argv[4]) : 512;
    unsigned seed = argc > 5 ? (unsigned)atoi(argv[5]) : 1;
    int count = atoi(argv[2]);
    if (rows < 1 || columns < 1 || rows > 65535 || columns > 65535)
        return 2;
    int16_t *pixels = malloc((size_t)rows * columns * 2);
    mkdir(argv[1], 0755);
    for (int i = 0; i < count; i++) {
        if (!pixels || write_slice(argv[1], i, rows, columns, seed, pixels)) {
            fprintf(stderr, "intake_series: cannot write into %s\n", argv[1]);
            return 1;
        }
    }
    free(pixels);
    return 0;
}
