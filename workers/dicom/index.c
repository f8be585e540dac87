#include "workers/dicom/index.h"

#include "workers/dicom/json.h"
#include "workers/dicom/decode.h"
#include "workers/dicom/scan.h"

#include <stdlib.h>
#include <string.h>

#define MOST_FRAMES 1000000

static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

static enum kf_status bad_count(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INVALID, "frame_count", "%s", what);
}

static int64_t whole(struct kf_dicom *d, uint32_t tag, int64_t otherwise)
{
    double value = kf_dicom_number(d, tag, (double)otherwise);
    return value >= 0 && value <= 1e9 ? (int64_t)value : -1;
}

static enum kf_status native_frames(struct kf_dicom *d, int64_t count, struct kf_dicom_span *spans,
                                    struct kf_error *err)
{
    const struct kf_dicom_layout *layout = kf_dicom_layout(d);
    int64_t rows = whole(d, KF_TAG(0x0028, 0x0010), 0), columns = whole(d, KF_TAG(0x0028, 0x0011), 0);
    int64_t samples = whole(d, KF_TAG(0x0028, 0x0002), 1), bits = whole(d, KF_TAG(0x0028, 0x0100), 16);
    if (rows < 1 || rows > 65535 || columns < 1 || columns > 65535 || samples < 1 || samples > 4 || bits < 1 ||
        bits > 64)
        return kf_error_set(err, KF_INVALID, "bad_image", "the image description is not usable");
    int64_t frame_bits = rows * columns * samples * bits;
    // YBR_FULL_422 and _PARTIAL_422 keep one pair of colour samples for two pixels (PS3.3 section C.7.6.3.1.2).
    if (strstr(kf_dicom_text(d, KF_TAG(0x0028, 0x0004), 0), "_422") && samples == 3)
        frame_bits = rows * columns * 2 * bits;
    if (frame_bits / 8 > layout->pixel_length / count || (frame_bits * count + 7) / 8 > layout->pixel_length)
        return kf_error_set(err, KF_INVALID, "truncated", "Pixel Data is shorter than its frames");
    if (frame_bits % 8 && count > 1) // bit-packed frames need not begin on a byte (segmentations)
        return bad_count(err, "the frames do not begin on whole bytes");
    for (int64_t i = 0; i < count; i++)
        spans[i] = (struct kf_dicom_span){.offset = (uint64_t)(layout->pixel_offset + i * (frame_bits / 8)),
                                          .length = (uint64_t)((frame_bits + 7) / 8)};
    return KF_OK;
}

static uint64_t fragment_end(const struct kf_dicom_fragment *f)
{
    return (uint64_t)(f->item + 8 + f->length);
}

// `starts` are the items at which frames begin, as indexes into the fragments.
static void spans_from_starts(const struct kf_dicom_scan *scan, const int64_t *starts, int64_t count,
                              struct kf_dicom_span *spans)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t last = (i + 1 < count ? starts[i + 1] : scan->fragment_count) - 1;
        spans[i].offset = (uint64_t)scan->fragments[starts[i]].item;
        spans[i].length = fragment_end(&scan->fragments[last]) - spans[i].offset;
    }
}

// Finds the fragment that begins at `offset` from the first fragment's item; -1 when none does.
static int64_t fragment_at(const struct kf_dicom_scan *scan, uint64_t offset)
{
    int64_t low = 0, high = scan->fragment_count - 1;
    uint64_t first = (uint64_t)scan->fragments[0].item;
    while (low <= high) {
        int64_t middle = (low + high) / 2;
        uint64_t here = (uint64_t)scan->fragments[middle].item - first;
        if (here == offset)
            return middle;
        if (here < offset)
            low = middle + 1;
        else
            high = middle - 1;
    }
    return -1;
}

// Offsets (32 or 64 bits wide) from the basic or the extended table. 0 when the table does not fit the fragments:
// wrong tables are common, and the fragments themselves are then asked.
static int starts_from_table(const struct kf_dicom_scan *scan, const unsigned char *table, int width, int64_t count,
                             int64_t *starts)
{
    for (int64_t i = 0; i < count; i++) {
        starts[i] = fragment_at(scan, little(table + i * width, width));
        if (starts[i] < 0 || (i == 0 && starts[i] != 0) || (i > 0 && starts[i] <= starts[i - 1]))
            return 0;
    }
    return 1;
}

static int use_basic_table(const struct kf_dicom_scan *scan, int64_t count, int64_t *starts)
{
    if (scan->offset_table.length != 4 * count || count > MOST_FRAMES)
        return 0;
    unsigned char *table = malloc((size_t)(4 * count));
    int fits =
        table &&
        kf_dicom_read_at(&scan->pixels, scan->offset_table.item + 8, table, (size_t)(4 * count), NULL) == KF_OK &&
        starts_from_table(scan, table, 4, count, starts);
    free(table);
    return fits;
}

// A fragment that begins a stream: JPEG and JPEG-LS (FF D8), JPEG 2000 codestream (FF 4F) or file (00 00 00 0C).
static int begins_stream(const struct kf_dicom_scan *scan, int64_t index)
{
    unsigned char head[4];
    if (scan->fragments[index].length < 4 ||
        kf_dicom_read_at(&scan->pixels, scan->fragments[index].item + 8, head, 4, NULL) != KF_OK)
        return 0;
    return (head[0] == 0xFF && (head[1] == 0xD8 || head[1] == 0x4F)) || memcmp(head, "\0\0\0\x0c", 4) == 0;
}

static int starts_from_streams(const struct kf_dicom_scan *scan, int64_t count, int64_t *starts)
{
    int64_t n = 0;
    for (int64_t i = 0; i < scan->fragment_count; i++)
        if (begins_stream(scan, i)) {
            if (n == count)
                return 0;
            starts[n++] = i;
        }
    return n == count && starts[0] == 0;
}

static enum kf_status encapsulated_frames(const struct kf_dicom_scan *scan, int64_t count, struct kf_dicom_span *spans,
                                          struct kf_error *err)
{
    if (scan->fragment_count < count)
        return bad_count(err, "there are fewer fragments than frames");
    int64_t *starts = calloc((size_t)count, sizeof *starts);
    if (!starts)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for frame offsets");
    enum kf_status status = KF_OK;
    if (scan->fragment_count == count)
        for (int64_t i = 0; i < count; i++)
            starts[i] = i;
    else if (count > 1 && !use_basic_table(scan, count, starts) && !starts_from_streams(scan, count, starts))
        status = bad_count(err, "the fragments cannot be told apart into frames");
    if (status == KF_OK)
        spans_from_starts(scan, starts, count, spans);
    free(starts);
    return status;
}

// Frames by their place in whatever layout.pixel_offset counts in, so that decoding can use it for deflated data too.
enum kf_status kf_dicom_frames_inside(const struct kf_dicom *dicom, struct kf_dicom_span **spans, int64_t *count,
                                      struct kf_error *err)
{
    *spans = NULL;
    *count = 0;
    // Reading an attribute fills DCMTK's caches, nothing that the caller could see.
    struct kf_dicom *d = (struct kf_dicom *)(uintptr_t)dicom;
    const struct kf_dicom_scan *scan = kf_dicom_scanned(dicom);
    if (!scan->layout.has_pixels)
        return KF_OK;
    int64_t frames = kf_dicom_has(d, KF_TAG(0x0028, 0x0008)) ? whole(d, KF_TAG(0x0028, 0x0008), 1) : 1;
    if (frames < 1 || frames > MOST_FRAMES)
        return bad_count(err, "Number of Frames is not a usable number");
    *spans = calloc((size_t)frames, sizeof **spans);
    if (!*spans)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for frame offsets");
    enum kf_status status = scan->layout.encapsulated ? encapsulated_frames(scan, frames, *spans, err)
                                                      : native_frames(d, frames, *spans, err);
    if (status != KF_OK) {
        free(*spans);
        *spans = NULL;
        return status;
    }
    *count = frames;
    return KF_OK;
}

enum kf_status kf_dicom_frames(const struct kf_dicom *dicom, struct kf_dicom_span **spans, int64_t *count,
                               struct kf_error *err)
{
    if (!kf_dicom_layout(dicom)->deflated)
        return kf_dicom_frames_inside(dicom, spans, count, err);
    *spans = NULL;
    *count = 0;
    return KF_OK;
}

static void add_little64(struct kf_str *to, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    kf_str_add(to, bytes, sizeof bytes);
}

static enum kf_status add_frames(const struct kf_dicom *dicom, struct kf_dicom_index *out, struct kf_error *err)
{
    struct kf_dicom_span *spans;
    int64_t count;
    struct kf_error why = {0};
    enum kf_status status = kf_dicom_frames(dicom, &spans, &count, &why);
    if (status == KF_INVALID) {
        kf_str_copy(out->frames_code, sizeof out->frames_code, why.code);
        return KF_OK;
    }
    if (status != KF_OK) {
        if (err)
            *err = why;
        return status;
    }
    for (int64_t i = 0; i < count; i++) {
        add_little64(&out->frame_offsets, spans[i].offset);
        add_little64(&out->frame_offsets, spans[i].length);
    }
    free(spans);
    return out->frame_offsets.failed ? kf_error_set(err, KF_NOMEM, NULL, "no memory for frame offsets") : KF_OK;
}

enum kf_status kf_dicom_index_build(const struct kf_dicom *dicom, const unsigned char content_sha256[KF_SHA256_BYTES],
                                    struct kf_dicom_index *out, struct kf_error *err)
{
    *out = (struct kf_dicom_index){0};
    enum kf_status status = kf_dicom_check_place(dicom, err);
    if (status != KF_OK)
        return status;
    if (kf_dicom_lacks_pixels(dicom))
        return kf_error_set(err, KF_INVALID, "no_pixel_data",
                            "an image of this class has Pixel Data: it was cut short");
    if (content_sha256)
        memcpy(out->content_sha256, content_sha256, KF_SHA256_BYTES);
    else
        status = kf_dicom_content_hash(dicom, out->content_sha256, err);
    if (status == KF_OK)
        status = add_frames(dicom, out, err);
    if (status == KF_OK)
        status = kf_dicom_json_deflated(dicom, &out->json_deflated, err);
    if (status == KF_OK)
        kf_str_copy(out->set_aside, sizeof out->set_aside, kf_dicom_set_aside(dicom));
    else
        kf_dicom_index_release(out);
    return status;
}

void kf_dicom_index_release(struct kf_dicom_index *index)
{
    kf_str_release(&index->json_deflated);
    kf_str_release(&index->frame_offsets);
    *index = (struct kf_dicom_index){0};
}
