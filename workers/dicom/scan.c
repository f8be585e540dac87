// One forward walk with a stack of open sequences and items (limits->depth), a 64 kB window over the file, and no
// allocation that a length field alone can cause.
#include "workers/dicom/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define WINDOW          65536 // bytes of the file held at once
#define UNDEFINED       INT64_MAX
#define BULK_BYTES      65536 // a top-level value above this stays in the file
#define MOST_DEPTH      64
#define TAG_ITEM        KF_TAG(0xFFFE, 0xE000)
#define TAG_ITEM_END    KF_TAG(0xFFFE, 0xE00D)
#define TAG_SEQ_END     KF_TAG(0xFFFE, 0xE0DD)
#define TAG_PIXELS      KF_TAG(0x7FE0, 0x0010)
#define DEFLATED_SYNTAX "1.2.840.10008.1.2.1.99"

const struct kf_dicom_limits kf_dicom_limits_default = {
    .depth = 32, .elements = 2000000, .header_bytes = 128LL << 20, .inflated_bytes = 2LL << 30};

enum open_kind { OPEN_SEQUENCE = 1, OPEN_ITEM, OPEN_FRAGMENTS };

struct element {
    uint32_t tag;
    char vr[3];     // "" in implicit encoding
    int64_t length; // UNDEFINED where the file says 0xFFFFFFFF
    int64_t at;     // where it begins
    int64_t value;  // where its value begins
};

struct open_part {
    enum open_kind kind;
    int64_t end; // UNDEFINED: until its delimiter
    int implicit;
    int guess; // entered only because the bytes looked like a sequence: what is wrong inside is no error
    struct element guessed;
};

struct walker {
    const struct kf_dicom_bytes *bytes;
    const struct kf_dicom_limits *limits;
    struct kf_dicom_scan *scan;
    struct kf_error *err;
    unsigned char *window;
    int64_t window_at, window_length;
    struct open_part stack[MOST_DEPTH * 2];
    int depth;
    int64_t at;
    int64_t run; // start of the header bytes not yet copied
    int big;
};

static uint32_t get16(const unsigned char *p, int big)
{
    return big ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t get32(const unsigned char *p, int big)
{
    return big ? get16(p, 1) << 16 | get16(p + 2, 1) : get16(p + 2, 0) << 16 | get16(p, 0);
}

static uint32_t get_tag(const unsigned char *p, int big)
{
    return get16(p, big) << 16 | get16(p + 2, big);
}

static enum kf_status truncated(struct kf_error *err, int64_t at)
{
    return kf_error_set(err, KF_INVALID, "truncated", "the bytes end inside an element (offset %lld)", (long long)at);
}

static enum kf_status bad_structure(struct kf_error *err, int64_t at, const char *what)
{
    return kf_error_set(err, KF_INVALID, "bad_structure", "%s (offset %lld)", what, (long long)at);
}

int kf_dicom_uid_valid(const char *uid)
{
    size_t n = strspn(uid, "0123456789.");
    return n >= 1 && n <= 64 && uid[n] == 0;
}

enum kf_status kf_dicom_read_at(const struct kf_dicom_bytes *bytes, int64_t at, void *to, size_t length,
                                struct kf_error *err)
{
    if (at < 0 || at > bytes->length || (int64_t)length > bytes->length - at)
        return truncated(err, at);
    if (bytes->memory) {
        memcpy(to, bytes->memory + at, length);
        return KF_OK;
    }
    char *next = to;
    while (length) {
        ssize_t got = pread(bytes->fd, next, length, (off_t)(bytes->offset + at));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kf_error_errno(err, errno, "reading a DICOM instance");
        if (got == 0)
            return truncated(err, at);
        next += got;
        at += got;
        length -= (size_t)got;
    }
    return KF_OK;
}

// Points *out at `length` (≤ WINDOW) bytes from `at`.
static enum kf_status peek(struct walker *w, int64_t at, int64_t length, const unsigned char **out)
{
    if (at > w->bytes->length || length > w->bytes->length - at)
        return truncated(w->err, at);
    if (w->bytes->memory) {
        *out = w->bytes->memory + at;
        return KF_OK;
    }
    if (at < w->window_at || at + length > w->window_at + w->window_length) {
        int64_t n = w->bytes->length - at < WINDOW ? w->bytes->length - at : WINDOW;
        enum kf_status status = kf_dicom_read_at(w->bytes, at, w->window, (size_t)n, w->err);
        if (status != KF_OK)
            return status;
        w->window_at = at;
        w->window_length = n;
    }
    *out = w->window + (at - w->window_at);
    return KF_OK;
}

// Appends [w->run, to) to the header.
static enum kf_status keep_header(struct walker *w, int64_t to)
{
    struct kf_str *header = &w->scan->header;
    while (w->run < to) {
        int64_t n = to - w->run < WINDOW ? to - w->run : WINDOW;
        if ((int64_t)header->length + n > w->limits->header_bytes)
            return kf_error_set(w->err, KF_TOO_LARGE, "header_too_large", "the header is over %lld bytes",
                                (long long)w->limits->header_bytes);
        const unsigned char *p;
        enum kf_status status = peek(w, w->run, n, &p);
        if (status != KF_OK)
            return status;
        kf_str_add(header, p, (size_t)n);
        w->run += n;
    }
    return header->failed ? kf_error_set(w->err, KF_NOMEM, NULL, "no memory for a DICOM header") : KF_OK;
}

static int vr_upper(const unsigned char *p)
{
    return p[0] >= 'A' && p[0] <= 'Z' && p[1] >= 'A' && p[1] <= 'Z';
}

static int vr_in(const char *vr, const char *list)
{
    for (; *list; list += 2)
        if (vr[0] == list[0] && vr[1] == list[1])
            return 1;
    return 0;
}

#define SHORT_VRS "AEASATCSDADSDTFLFDISLOLTPNSHSLSSSTTMUIULUS"
#define LONG_VRS  "OBODOFOLOVOWSQSVUCUNURUTUV"

// PS3.5 section 7.1.2: which explicit VRs have a 32-bit length. As DCMTK, a VR of two capital letters that is not known
// counts as a future one (32 bits), any other as an old one (16 bits).
static int vr_is_long(const char *vr)
{
    if (vr_in(vr, LONG_VRS))
        return 1;
    return vr_upper((const unsigned char *)vr) && !vr_in(vr, SHORT_VRS);
}

static enum kf_status read_element(struct walker *w, int implicit, struct element *e)
{
    const unsigned char *p;
    *e = (struct element){0};
    enum kf_status status = peek(w, w->at, 8, &p);
    if (status != KF_OK)
        return status;
    e->tag = get_tag(p, w->big);
    e->at = w->at;
    e->value = w->at + 8;
    uint32_t length;
    if (implicit || e->tag >> 16 == 0xFFFE) {
        length = get32(p + 4, w->big);
    } else {
        memcpy(e->vr, p + 4, 2);
        length = get16(p + 6, w->big);
        if (vr_is_long(e->vr)) {
            if ((status = peek(w, w->at + 8, 4, &p)) != KF_OK)
                return status;
            length = get32(p, w->big);
            e->value = w->at + 12;
        } else if (length == 0xFFFF) { // some writers mean "undefined" here; no value is that long and odd
            return bad_structure(w->err, w->at, "a short value has the length 65535");
        }
    }
    e->length = length == 0xFFFFFFFFu ? UNDEFINED : length;
    return KF_OK;
}

static enum kf_status push(struct walker *w, enum open_kind kind, int64_t end, int implicit, int guess)
{
    int most = w->limits->depth < MOST_DEPTH ? w->limits->depth : MOST_DEPTH;
    if (w->depth >= 2 * most)
        return kf_error_set(w->err, KF_INVALID, "too_deep", "sequences are nested over %d deep", most);
    w->stack[w->depth++] = (struct open_part){.kind = kind, .end = end, .implicit = implicit, .guess = guess};
    return KF_OK;
}

static int64_t enclosing_end(const struct walker *w)
{
    int64_t end = w->bytes->length;
    for (int i = w->depth - 1; i >= 0; i--)
        if (w->stack[i].end < end)
            return w->stack[i].end;
    return end;
}

static int looks_like_sequence(struct walker *w, const struct element *e, int implicit)
{
    const unsigned char *p;
    if (e->length < 8 || (!implicit && strcmp(e->vr, "UN") != 0) || e->value + 8 > w->bytes->length)
        return 0;
    return peek(w, e->value, 8, &p) == KF_OK && get_tag(p, w->big) == TAG_ITEM;
}

static enum kf_status grow(void **list, int64_t count, size_t size, struct kf_error *err)
{
    if (count & (count - 1)) // grows at 0, 1, 2, 4, 8, …
        return KF_OK;
    void *bigger = realloc(*list, (size_t)(count ? 2 * count : 1) * size);
    if (!bigger)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a DICOM index");
    *list = bigger;
    return KF_OK;
}

static enum kf_status skip_bulk(struct walker *w, const struct element *e)
{
    struct kf_dicom_scan *scan = w->scan;
    enum kf_status status = keep_header(w, w->at);
    if (status == KF_OK)
        status = grow((void **)&scan->skipped, scan->skipped_count, sizeof *scan->skipped, w->err);
    if (status != KF_OK)
        return status;
    struct kf_dicom_skipped *skipped = &scan->skipped[scan->skipped_count++];
    *skipped = (struct kf_dicom_skipped){.tag = e->tag, .at = e->value, .length = e->length};
    memcpy(skipped->vr, e->vr, sizeof skipped->vr);
    w->run = w->at = e->value + e->length;
    return KF_OK;
}

// An element of the dataset or of an item.
static enum kf_status enter_element(struct walker *w, const struct element *e, int implicit)
{
    if (e->length == UNDEFINED) {
        if (implicit || strcmp(e->vr, "SQ") == 0 || strcmp(e->vr, "UN") == 0) {
            // An undefined length under UN means implicit little endian inside (PS3.5 section 6.2.2, note 2).
            w->at = e->value;
            return push(w, OPEN_SEQUENCE, UNDEFINED, implicit || strcmp(e->vr, "UN") == 0, 0);
        }
        if (strcmp(e->vr, "OB") == 0 || strcmp(e->vr, "OW") == 0) {
            w->at = e->value;
            return push(w, OPEN_FRAGMENTS, UNDEFINED, 0, 0);
        }
        return bad_structure(w->err, w->at, "a value that is no sequence has an undefined length");
    }
    if (e->length > enclosing_end(w) - e->value)
        return truncated(w->err, w->at);
    // DCMTK goes by its dictionary where the file gives no VR, so what it will take for a sequence must be a sound one.
    int unnamed = implicit || strcmp(e->vr, "UN") == 0;
    int sequence = unnamed ? e->length > 0 && kf_dicom_tag_is_sequence(e->tag) : strcmp(e->vr, "SQ") == 0;
    if (sequence || looks_like_sequence(w, e, implicit)) {
        w->at = e->value;
        enum kf_status status = push(w, OPEN_SEQUENCE, e->value + e->length, unnamed, !sequence);
        if (status == KF_OK && !sequence)
            w->stack[w->depth - 1].guessed = *e;
        return status;
    }
    if (w->depth == 0 && e->length > BULK_BYTES)
        return skip_bulk(w, e);
    w->at = e->value + e->length;
    return KF_OK;
}

static enum kf_status step_in_sequence(struct walker *w, const struct open_part *part, const struct element *e)
{
    if (e->tag == TAG_SEQ_END && (part->end == UNDEFINED)) {
        w->at = e->value;
        w->depth--;
        return KF_OK;
    }
    if (e->tag != TAG_ITEM)
        return bad_structure(w->err, w->at, "a sequence holds something that is no item");
    if (e->length != UNDEFINED && e->length > enclosing_end(w) - e->value)
        return truncated(w->err, w->at);
    w->at = e->value;
    if (part->kind == OPEN_SEQUENCE)
        return push(w, OPEN_ITEM, e->length == UNDEFINED ? UNDEFINED : e->value + e->length, part->implicit, 0);
    if (e->length == UNDEFINED)
        return bad_structure(w->err, w->at, "a fragment has an undefined length");
    w->at += e->length;
    return KF_OK;
}

static enum kf_status step(struct walker *w, int implicit, int *pixels, struct element *e)
{
    struct open_part *part = w->depth ? &w->stack[w->depth - 1] : NULL;
    if (part)
        implicit = part->implicit;
    enum kf_status status = read_element(w, implicit, e);
    if (status != KF_OK)
        return status;
    if (++w->scan->elements > w->limits->elements)
        return kf_error_set(w->err, KF_INVALID, "too_many_elements", "more than %lld elements",
                            (long long)w->limits->elements);
    if (part && part->kind != OPEN_ITEM)
        return step_in_sequence(w, part, e);
    if (e->tag == TAG_ITEM_END && part && part->end == UNDEFINED) {
        w->at = e->value;
        w->depth--;
        return KF_OK;
    }
    if (e->tag >> 16 == 0xFFFE)
        return bad_structure(w->err, w->at, "a delimiter where an element should be");
    if (!part && e->tag == TAG_PIXELS) {
        *pixels = 1;
        return KF_OK;
    }
    return enter_element(w, e, implicit);
}

// What went wrong inside a guessed sequence makes it an opaque value again. Returns 1 when there was such a guess.
// A private value may be a sequence to DCMTK, whose dictionary knows some creators: at the top level it stays in the
// file, unparsed; inside a sequence nothing can be left out, and the guess stands.
static int undo_guess(struct walker *w, enum kf_status *status)
{
    if (*status != KF_INVALID || (w->err && strcmp(w->err->code, "too_deep") == 0))
        return 0;
    for (int i = 0; i < w->depth; i++) {
        const struct open_part *part = &w->stack[i];
        if (!part->guess)
            continue;
        int private = part->guessed.tag >> 16 & 1;
        if (private && i > 0)
            return 0;
        w->depth = i;
        w->at = private ? part->guessed.at : part->end;
        *status = private ? skip_bulk(w, &part->guessed) : KF_OK;
        return *status == KF_OK;
    }
    return 0;
}

// Trailing zeros after the last element are padding of careless writers.
static int only_zeros_left(struct walker *w)
{
    const unsigned char *p;
    int64_t left = w->bytes->length - w->at;
    if (left > 4096 || peek(w, w->at, left, &p) != KF_OK)
        return 0;
    for (int64_t i = 0; i < left; i++)
        if (p[i])
            return 0;
    return 1;
}

static enum kf_status walk_fragments(struct walker *w, const struct element *e)
{
    struct kf_dicom_scan *scan = w->scan;
    int64_t at = e->value;
    for (int64_t n = 0;; n++) {
        const unsigned char *p;
        enum kf_status status = peek(w, at, 8, &p);
        if (status != KF_OK)
            return status;
        uint32_t tag = get_tag(p, 0);
        int64_t length = get32(p + 4, 0);
        if (tag == TAG_SEQ_END) {
            scan->layout.pixel_length = at - e->value;
            return n ? KF_OK : bad_structure(w->err, at, "encapsulated Pixel Data lacks its offset table");
        }
        if (tag != TAG_ITEM)
            return bad_structure(w->err, at, "encapsulated Pixel Data holds something that is no fragment");
        if (length > w->bytes->length - at - 8)
            return truncated(w->err, at);
        struct kf_dicom_fragment fragment = {.item = at, .length = length};
        if (n == 0) {
            scan->offset_table = fragment;
        } else {
            if (++scan->elements > w->limits->elements)
                return kf_error_set(w->err, KF_INVALID, "too_many_elements", "too many fragments");
            status = grow((void **)&scan->fragments, scan->fragment_count, sizeof fragment, w->err);
            if (status != KF_OK)
                return status;
            scan->fragments[scan->fragment_count++] = fragment;
        }
        at += 8 + length;
    }
}

static enum kf_status note_pixels(struct walker *w, const struct element *e)
{
    struct kf_dicom_layout *layout = &w->scan->layout;
    memcpy(w->scan->pixel_vr, e->vr, sizeof e->vr);
    layout->pixel_offset = e->value;
    layout->encapsulated = e->length == UNDEFINED;
    if (layout->encapsulated) {
        layout->has_pixels = 1;
        return walk_fragments(w, e);
    }
    if (e->length > w->bytes->length - e->value)
        return truncated(w->err, e->value);
    layout->pixel_length = e->length;
    layout->has_pixels = e->length > 0;
    return KF_OK;
}

static enum kf_status walk_dataset(struct walker *w, int64_t start)
{
    int implicit = w->scan->encoding == KF_DICOM_IMPLICIT_LE, pixels = 0;
    w->big = w->scan->encoding == KF_DICOM_EXPLICIT_BE;
    w->at = w->run = start;
    struct element e;
    for (;;) {
        while (w->depth && w->at >= w->stack[w->depth - 1].end)
            w->depth--;
        if (w->depth == 0 && w->at >= w->bytes->length)
            break;
        int64_t before = w->at;
        enum kf_status status = step(w, implicit, &pixels, &e);
        if (status != KF_OK && undo_guess(w, &status))
            continue;
        if (status != KF_OK) {
            w->at = before;
            if (w->depth == 0 && w->scan->elements > 0 && only_zeros_left(w))
                break;
            return status;
        }
        if (pixels)
            break;
    }
    enum kf_status status = keep_header(w, w->at);
    return status == KF_OK && pixels ? note_pixels(w, &e) : status;
}

// ---- file meta, and what the dataset is when there is none ----

// The encoding that the first eight bytes of a dataset show, or 0.
static enum kf_dicom_encoding guess_encoding(const unsigned char *p, int64_t left)
{
    uint32_t little = get16(p, 0), big = get16(p, 1);
    int known = vr_in((const char *)p + 4, SHORT_VRS) || vr_in((const char *)p + 4, LONG_VRS);
    if (little >= 0x0004 && little <= 0x0020)
        return known                     ? KF_DICOM_EXPLICIT_LE
               : get32(p + 4, 0) <= left ? KF_DICOM_IMPLICIT_LE
                                         : (enum kf_dicom_encoding)0;
    if (big >= 0x0004 && big <= 0x0020 && known)
        return KF_DICOM_EXPLICIT_BE;
    return (enum kf_dicom_encoding)0;
}

static void take_uid(char to[65], const unsigned char *value, int64_t length)
{
    int64_t n = length < 64 ? length : 64;
    while (n > 0 && (value[n - 1] == 0 || value[n - 1] == ' '))
        n--;
    memcpy(to, value, (size_t)n);
    to[n] = 0;
}

// Walks group 0002 (explicit little endian) without trusting its group length; *end is where the dataset begins.
static enum kf_status walk_meta(struct walker *w, int64_t start, int64_t *end)
{
    w->at = start;
    w->big = 0;
    for (int n = 0; n < 1000 && w->at + 8 <= w->bytes->length; n++) {
        const unsigned char *p;
        struct element e;
        enum kf_status status = peek(w, w->at, 8, &p);
        if (status != KF_OK)
            return status;
        if (get16(p, 0) != 0x0002)
            break;
        if ((status = read_element(w, 0, &e)) != KF_OK)
            return status;
        if (e.length > w->bytes->length - e.value)
            return truncated(w->err, w->at);
        char *uid = e.tag == KF_TAG(0x0002, 0x0010)   ? w->scan->transfer_syntax
                    : e.tag == KF_TAG(0x0002, 0x0002) ? w->scan->meta_sop_class
                    : e.tag == KF_TAG(0x0002, 0x0003) ? w->scan->meta_sop_uid
                                                      : NULL;
        if (uid && e.length <= 128) {
            if ((status = peek(w, e.value, e.length, &p)) != KF_OK)
                return status;
            take_uid(uid, p, e.length);
        }
        w->at = e.value + e.length;
    }
    *end = w->at;
    return KF_OK;
}

static enum kf_status find_start(struct walker *w, int64_t *dataset)
{
    const unsigned char *p;
    struct kf_dicom_layout *layout = &w->scan->layout;
    static const char none[] = "this is not a DICOM object";
    if (w->bytes->length < 16)
        return kf_error_set(w->err, KF_INVALID, "not_dicom", none);
    int64_t start = -1;
    enum kf_status status;
    if (w->bytes->length >= 132) {
        if ((status = peek(w, 128, 4, &p)) != KF_OK)
            return status;
        if (memcmp(p, "DICM", 4) == 0)
            start = 132;
    }
    if (start < 0) {
        if ((status = peek(w, 0, 8, &p)) != KF_OK)
            return status;
        if (memcmp(p, "\2\0\0\0UL", 6) == 0)
            start = 0;
        else if (!guess_encoding(p, w->bytes->length))
            return kf_error_set(w->err, KF_INVALID, "not_dicom", none);
    }
    *dataset = 0;
    if (start >= 0 && (status = walk_meta(w, start, dataset)) != KF_OK)
        return status;
    layout->has_meta = start >= 0 && *dataset > start;
    layout->dataset_offset = *dataset;
    layout->dataset_length = w->bytes->length - *dataset;
    if (layout->dataset_length < 8)
        return truncated(w->err, *dataset);
    return KF_OK;
}

// The encoding that the syntax names, unless the first element plainly shows another one.
static enum kf_status settle_encoding(struct walker *w, int64_t dataset)
{
    static const struct {
        const char *uid;
        enum kf_dicom_encoding encoding;
    } named[] = {{"1.2.840.10008.1.2", KF_DICOM_IMPLICIT_LE}, {"1.2.840.10008.1.2.2", KF_DICOM_EXPLICIT_BE}};
    static const char *const guessed[] = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"};
    const unsigned char *p;
    struct kf_dicom_scan *scan = w->scan;
    enum kf_status status = peek(w, dataset, 8, &p);
    if (status != KF_OK)
        return status;
    enum kf_dicom_encoding seen = guess_encoding(p, w->bytes->length - dataset);
    if (!scan->transfer_syntax[0]) {
        if (!seen)
            return kf_error_set(w->err, KF_INVALID, "not_dicom", "the transfer syntax is not said and cannot be seen");
        kf_str_copy(scan->transfer_syntax, sizeof scan->transfer_syntax, guessed[seen]);
    }
    if (!kf_dicom_uid_valid(scan->transfer_syntax))
        return kf_error_set(w->err, KF_INVALID, "bad_uid", "the transfer syntax is not a UID");
    if (strcmp(scan->transfer_syntax, "1.2.840.113619.5.2") == 0)
        return kf_error_set(w->err, KF_UNSUPPORTED, "transfer_syntax_unknown",
                            "the dataset is in GE's private implicit big endian syntax");
    scan->encoding = KF_DICOM_EXPLICIT_LE;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(scan->transfer_syntax, named[i].uid) == 0)
            scan->encoding = named[i].encoding;
    if (seen && seen != scan->encoding && scan->encoding != KF_DICOM_EXPLICIT_BE && seen != KF_DICOM_EXPLICIT_BE)
        scan->encoding = seen;
    return KF_OK;
}

// ---- deflated datasets ----

static enum kf_status inflate_dataset(struct walker *w, int64_t dataset)
{
    struct kf_str *out = &w->scan->inflated;
    z_stream z = {0};
    unsigned char piece[WINDOW / 2];
    enum kf_status status = KF_OK;
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return kf_error_set(w->err, KF_NOMEM, NULL, "no memory to inflate a dataset");
    int64_t at = dataset;
    int rc = Z_OK;
    while (rc != Z_STREAM_END) {
        if (z.avail_in == 0) {
            int64_t left = w->bytes->length - at, n = left < WINDOW ? left : WINDOW;
            const unsigned char *p;
            if (n == 0) {
                status = truncated(w->err, at);
                goto done;
            }
            if ((status = peek(w, at, n, &p)) != KF_OK)
                goto done;
            z.next_in = (z_const Bytef *)(uintptr_t)p;
            z.avail_in = (uInt)n;
            at += n;
        }
        z.next_out = piece;
        z.avail_out = sizeof piece;
        rc = inflate(&z, Z_NO_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
            status = kf_error_set(w->err, KF_INVALID, "bad_deflate", "the deflated dataset is damaged");
            goto done;
        }
        kf_str_add(out, piece, sizeof piece - z.avail_out);
        if ((int64_t)out->length > w->limits->inflated_bytes) {
            status = kf_error_set(w->err, KF_TOO_LARGE, "deflate_bomb", "the dataset inflates to over %lld bytes",
                                  (long long)w->limits->inflated_bytes);
            goto done;
        }
        if (out->failed) {
            status = kf_error_set(w->err, KF_NOMEM, NULL, "no memory to inflate a dataset");
            goto done;
        }
    }
done:
    inflateEnd(&z);
    return status;
}

static enum kf_status scan_inflated(struct walker *w, int64_t dataset)
{
    struct kf_dicom_scan *scan = w->scan;
    enum kf_status status = inflate_dataset(w, dataset);
    if (status != KF_OK)
        return status;
    scan->layout.deflated = 1;
    scan->pixels = (struct kf_dicom_bytes){.memory = (const unsigned char *)kf_str_text(&scan->inflated),
                                           .fd = -1,
                                           .length = (int64_t)scan->inflated.length};
    w->bytes = &scan->pixels;
    scan->encoding = KF_DICOM_EXPLICIT_LE;
    return walk_dataset(w, 0);
}

enum kf_status kf_dicom_scan(const struct kf_dicom_bytes *bytes, const struct kf_dicom_limits *limits,
                             struct kf_dicom_scan *scan, struct kf_error *err)
{
    struct kf_error own = {0};
    struct walker w = {.bytes = bytes,
                       .limits = limits ? limits : &kf_dicom_limits_default,
                       .scan = scan,
                       .err = err ? err : &own,
                       .window_at = -1};
    *scan = (struct kf_dicom_scan){.pixels = *bytes, .layout.bytes = bytes->length};
    if (!bytes->memory && !(w.window = malloc(WINDOW)))
        return kf_error_set(err, KF_NOMEM, NULL, "no memory to read DICOM");
    int64_t dataset = 0;
    enum kf_status status = find_start(&w, &dataset);
    if (status == KF_OK && strcmp(scan->transfer_syntax, DEFLATED_SYNTAX) == 0)
        status = scan_inflated(&w, dataset);
    else if (status == KF_OK && (status = settle_encoding(&w, dataset)) == KF_OK)
        status = walk_dataset(&w, dataset);
    free(w.window);
    if (status != KF_OK)
        kf_dicom_scan_release(scan);
    return status;
}

void kf_dicom_scan_release(struct kf_dicom_scan *scan)
{
    kf_str_release(&scan->header);
    kf_str_release(&scan->inflated);
    free(scan->fragments);
    free(scan->skipped);
    *scan = (struct kf_dicom_scan){0};
}
