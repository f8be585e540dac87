// What an index child found becomes blobs and rows. The child is not believed: the bytes of an instance are either a
// file that we staged ourselves or a plain file below its own out folder, and are hashed again as they are stored.
#include "server/app/receive_internal.h"

#include "server/base/hash.h"
#include "server/base/log.h"
#include "server/base/str.h"
#include "server/domain/text.h"
#include "server/store/instance.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES ((size_t)256 << 10)
#define SYNC_MOST  32 // instances between two syncs
#define LINE_MOST  ((size_t)16 << 20)

// One instance whose bytes are in the segment and wait for the sync.
struct pending {
    json_t *found; // owned
    size_t order;
    struct kf_blob_written written;
    struct kf_instance_stored stored;
};

struct storing {
    struct kf_batch *batch;
    const struct kf_staged *files;
    int count;
    const char *folder;
    struct kf_app_thread *thread;
    struct kf_blob_segment *segment;
    struct pending pending[SYNC_MOST];
    int pending_count;
    size_t order;                      // of the finding that is being looked at
    unsigned char seen[KF_BATCH_FILES]; // files that something was said about
    char container[KF_BLOB_CONTAINER]; // of the last object
    int container_used;                // a row refers to it, or may
    unsigned char *buffer;
};

static const char *text(const json_t *found, const char *key)
{
    return kf_json_text(found, key, "");
}

static void refuse(struct storing *s, const json_t *found, size_t order, const char *reason, const char *detail,
                   int ours)
{
    struct kf_received item = {.file = text(found, "file"),
                               .sop_uid = text(found, "sop_uid"),
                               .sop_class = text(found, "sop_class"),
                               .study_uid = text(found, "study_uid"),
                               .status = KF_RECEIVED_REFUSED,
                               .reason = reason,
                               .detail = detail,
                               .ours = ours,
                               .order = order};
    kf_batch_add(s->batch, &item);
}

static void refuse_error(struct storing *s, const json_t *found, size_t order, const struct kf_error *err)
{
    int ours = err->status != KF_UNPROCESSABLE && err->status != KF_INVALID && err->status != KF_CONFLICT;
    refuse(s, found, order, err->code, err->detail, ours);
}

// ---------------------------------------------------------------------------------------------------- base64
static int base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// RFC 4648 §4 with padding. Owned (free); NULL for bad text or want of memory.
static unsigned char *base64_decode(const char *from, size_t *length)
{
    size_t n = strlen(from), at = 0;
    unsigned char *to = malloc(n / 4 * 3 + 1);
    *length = 0;
    while (n > 0 && from[n - 1] == '=')
        n--;
    unsigned value = 0;
    for (size_t i = 0; to && i < n; i++) {
        int digit = base64_value((unsigned char)from[i]);
        if (digit < 0) {
            free(to);
            return NULL;
        }
        value = value << 6 | (unsigned)digit;
        if (i % 4 == 3) {
            to[at++] = (unsigned char)(value >> 16);
            to[at++] = (unsigned char)(value >> 8);
            to[at++] = (unsigned char)value;
        }
    }
    if (to && n % 4 == 3) {
        to[at++] = (unsigned char)(value >> 10);
        to[at++] = (unsigned char)(value >> 2);
    } else if (to && n % 4 == 2) {
        to[at++] = (unsigned char)(value >> 4);
    }
    *length = at;
    return to;
}

// ---------------------------------------------------------------------------------------------------- bytes
// Opens what the child says holds the instance: the staged file, or a plain file below FOLDER/out, by components that
// are neither links nor dots.
static int open_found(const struct storing *s, const json_t *found)
{
    char path[4096];
    json_int_t input = kf_json_integer(found, "input", -1);
    if (input < 0 || input >= s->count)
        return -1;
    if (!kf_json_flag(found, "extracted", 0)) {
        snprintf(path, sizeof path, "%s/%d", s->batch->folder, s->files[input].number);
        return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    }
    int length = snprintf(path, sizeof path, "%s/out/", s->folder);
    const char *named = text(found, "path");
    if (strncmp(named, path, (size_t)length) != 0)
        return -1;
    char real[4096];
    if (!realpath(named, real) || strcmp(real, named) != 0)
        return -1;
    return open(named, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static enum kf_status copy_bytes(struct storing *s, int fd, int64_t offset, int64_t length, struct kf_error *err)
{
    enum kf_status status = kf_blob_segment_begin(s->segment, err);
    while (status == KF_OK && length > 0) {
        size_t room = length < (int64_t)COPY_BYTES ? (size_t)length : COPY_BYTES;
        ssize_t n = pread(fd, s->buffer, room, offset);
        if (n <= 0)
            return kf_error_set(err, KF_IO, NULL, "A staged file ended early.");
        status = kf_blob_segment_add(s->segment, s->buffer, (size_t)n, err);
        offset += n;
        length -= n;
    }
    return status;
}

// Leaves a container that no row came to refer to.
static void leave_container(struct storing *s)
{
    if (s->container[0] && !s->container_used && kf_blob_remove(s->thread->app->blobs, s->container, NULL) != KF_OK)
        kf_log(KF_LOG_WARN, "upload.container_left", "container=%s", s->container);
    s->container[0] = 0;
    s->container_used = 0;
}

static enum kf_status append(struct storing *s, const json_t *found, struct kf_blob_written *written,
                             struct kf_error *err)
{
    struct stat info;
    unsigned char expected[KF_SHA256_BYTES];
    int64_t offset = kf_json_integer(found, "offset", 0), length = kf_json_integer(found, "bytes", -1);
    if (!s->segment) {
        enum kf_status status =
            kf_blob_segment_open(s->thread->app->blobs, s->batch->upload->organisation, &s->segment, err);
        if (status != KF_OK)
            return status;
    }
    int fd = open_found(s, found);
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || offset < 0 || length <= 0 ||
        offset > info.st_size || length > info.st_size - offset) {
        if (fd >= 0)
            close(fd);
        return kf_error_set(err, KF_INTERNAL, "bad_index", "The index of an upload names bytes that are not there.");
    }
    enum kf_status status = copy_bytes(s, fd, offset, length, err);
    close(fd);
    if (status == KF_OK)
        status = kf_blob_segment_end(s->segment, written, err);
    if (status == KF_OK && (kf_hex_decode(expected, sizeof expected, text(found, "blob_sha256")) != 0 ||
                            memcmp(expected, written->sha256, sizeof expected) != 0))
        status =
            kf_error_set(err, KF_INTERNAL, "bad_index", "The index of an upload gives another hash than its bytes.");
    if (status != KF_OK)
        kf_blob_segment_undo(s->segment);
    return status;
}

// ---------------------------------------------------------------------------------------------------- rows
static enum kf_status fill_row(struct storing *s, const struct pending *pending, struct kf_instance_new *row,
                               struct kf_error *err)
{
    const json_t *found = pending->found, *patient = json_object_get(found, "patient");
    const json_t *series_number = json_object_get(found, "series_number");
    const json_t *instance_number = json_object_get(found, "instance_number");
    *row = (struct kf_instance_new){
        .patient_id = text(patient, "id"),
        .patient_issuer = text(patient, "issuer"),
        .patient_name = text(patient, "name"),
        .birth_date = text(patient, "birth_date"),
        .sex = text(patient, "sex"),
        .study_uid = text(found, "study_uid"),
        .study_date = text(found, "study_date"),
        .study_time = text(found, "study_time"),
        .study_description = text(found, "study_description"),
        .accession = text(found, "accession"),
        .series_uid = text(found, "series_uid"),
        .modality = text(found, "modality"),
        .series_description = text(found, "series_description"),
        .body_part = text(found, "body_part"),
        .has_series_number = json_is_integer(series_number),
        .series_number = (int)json_integer_value(series_number),
        .sop_uid = text(found, "sop_uid"),
        .sop_class = text(found, "sop_class"),
        .transfer_syntax = text(found, "transfer_syntax"),
        .set_aside = text(found, "set_aside"),
        .has_instance_number = json_is_integer(instance_number),
        .instance_number = (int)json_integer_value(instance_number),
        .source = s->batch->upload->source,
        .peer_address = s->batch->upload->address,
        .association_id = s->batch->upload->id,
        .bytes = pending->written.bytes,
        .container = pending->written.container,
        .location_offset = pending->written.offset,
    };
    memcpy(row->blob_sha256, pending->written.sha256, sizeof row->blob_sha256);
    if (kf_hex_decode(row->content_sha256, sizeof row->content_sha256, text(found, "content_sha256")) != 0)
        return kf_error_set(err, KF_INTERNAL, "bad_index", "The index of an upload has no content hash.");
    return KF_OK;
}

static void take_outcome(struct storing *s, const json_t *found, size_t order, const struct kf_instance_stored *stored)
{
    struct kf_received item = {.file = text(found, "file"),
                               .sop_uid = text(found, "sop_uid"),
                               .sop_class = text(found, "sop_class"),
                               .study_uid = text(found, "study_uid"),
                               .reason = text(found, "set_aside"),
                               .order = order};
    if (stored->patient_differs)
        item.reason = "patient_mismatch";
    if (stored->outcome == KF_INSTANCE_DUPLICATE)
        item.status = KF_RECEIVED_DUPLICATE;
    else if (stored->outcome == KF_INSTANCE_CONFLICT)
        item.status = KF_RECEIVED_CONFLICT;
    else
        item.status = *item.reason ? KF_RECEIVED_SET_ASIDE : KF_RECEIVED_STORED;
    if (stored->blob_used)
        s->container_used = 1;
    kf_batch_grew(s->batch, stored->series_id, stored->case_id);
    kf_batch_add(s->batch, &item);
}

static enum kf_status receive_row(struct storing *s, struct pending *pending, struct kf_error *err)
{
    struct kf_instance_new row;
    size_t json_bytes, offset_bytes;
    unsigned char *json = base64_decode(text(pending->found, "dicom_json"), &json_bytes);
    unsigned char *offsets = base64_decode(text(pending->found, "frame_offsets"), &offset_bytes);
    enum kf_status status = json && offsets ? fill_row(s, pending, &row, err)
                                            : kf_error_set(err, KF_INTERNAL, "bad_index", "The index is not readable.");
    if (status == KF_OK) {
        row.dicom_json = json;
        row.dicom_json_bytes = json_bytes;
        row.frame_offsets = offsets;
        row.frame_offsets_bytes = offset_bytes;
        status =
            kf_store_instance_receive(s->thread->store, s->batch->upload->organisation, &row, &pending->stored, err);
    }
    free(json);
    free(offsets);
    return status;
}

// All that waits in one transaction: one flush of the database's log instead of one for each. 1 when it was committed.
// *doubtful: the commit may have happened, and rows may refer to our containers.
static int receive_together(struct storing *s, int *doubtful)
{
    if (s->pending_count < 2 || kf_store_begin(s->thread->store, s->batch->upload->organisation, NULL) != KF_OK)
        return 0;
    enum kf_status status = KF_OK;
    for (int i = 0; i < s->pending_count && status == KF_OK; i++)
        status = receive_row(s, &s->pending[i], NULL);
    if (status == KF_OK) {
        status = kf_store_commit(s->thread->store, NULL);
        *doubtful = status != KF_OK;
        return status == KF_OK;
    }
    kf_store_rollback(s->thread->store);
    return 0;
}

// One by one, when they would not go together: then each gets its own answer. Receiving again what an unknown commit
// had stored is harmless: it is found to be there.
static void receive_alone(struct storing *s, struct pending *pending)
{
    struct kf_error err = {0};
    enum kf_status status = receive_row(s, pending, &err);
    if (status != KF_OK)
        s->container_used = 1; // its row may be there all the same, and then a second try says duplicate
    if (status == KF_DB)
        status = receive_row(s, pending, &err);
    if (status == KF_OK)
        take_outcome(s, pending->found, pending->order, &pending->stored);
    else
        refuse_error(s, pending->found, pending->order, &err);
}

// Makes what waits durable, then its rows.
static void flush(struct storing *s)
{
    struct kf_error err = {0};
    enum kf_status status = s->pending_count > 0 ? kf_blob_segment_sync(s->segment, &err) : KF_OK;
    int doubtful = 0, together = status == KF_OK && receive_together(s, &doubtful);
    for (int i = 0; i < s->pending_count; i++) {
        struct pending *pending = &s->pending[i];
        if (strcmp(s->container, pending->written.container) != 0) {
            leave_container(s);
            memcpy(s->container, pending->written.container, sizeof s->container);
        }
        s->container_used |= doubtful;
        if (together)
            take_outcome(s, pending->found, pending->order, &pending->stored);
        else if (status == KF_OK)
            receive_alone(s, pending);
        else
            refuse_error(s, pending->found, pending->order, &err);
        json_decref(pending->found);
    }
    s->pending_count = 0;
}

// ---------------------------------------------------------------------------------------------------- findings
static int uids_are_good(const json_t *found)
{
    return kf_uid_valid(text(found, "sop_uid")) && kf_uid_valid(text(found, "sop_class")) &&
           kf_uid_valid(text(found, "study_uid")) && kf_uid_valid(text(found, "series_uid"));
}

// Takes over `found`.
static void take_found(struct storing *s, json_t *found)
{
    struct kf_error err = {0};
    const json_t *refused = json_object_get(found, "refused");
    const char *wanted = s->batch->upload->study_uid;
    struct pending *pending = &s->pending[s->pending_count];
    if (json_is_object(refused)) {
        refuse(s, found, s->order, text(refused, "code"), text(refused, "detail"), 0);
    } else if (!uids_are_good(found)) {
        refuse(s, found, s->order, "bad_uid", "A UID that identifies the instance is missing or malformed.", 0);
    } else if (*wanted && strcmp(wanted, text(found, "study_uid")) != 0) {
        refuse(s, found, s->order, "other_study", "The instance belongs to another study than the one addressed.", 0);
    } else if (append(s, found, &pending->written, &err) != KF_OK) {
        refuse_error(s, found, s->order, &err);
    } else {
        pending->found = found;
        pending->order = s->order;
        if (++s->pending_count == SYNC_MOST)
            flush(s);
        return;
    }
    json_decref(found);
}

// The next line without its end, at most LINE_MOST bytes of it: what a child writes must not fill our memory. *length is
// that of the whole line. 0 at the end of the file.
static int next_line(FILE *file, struct kf_str *line, size_t *length)
{
    int c = getc_unlocked(file), any = c != EOF;
    kf_str_clear(line);
    for (*length = 0; c != EOF && c != '\n'; c = getc_unlocked(file))
        if ((*length)++ < LINE_MOST)
            kf_str_add_char(line, (char)c);
    return any;
}

// What the child did not say a word about is refused, not forgotten.
static void refuse_unseen(struct storing *s)
{
    for (int i = 0; i < s->count; i++) {
        struct kf_received item = {.file = s->files[i].name,
                                   .status = KF_RECEIVED_REFUSED,
                                   .reason = "nothing_found",
                                   .detail = "There is nothing in this file.",
                                   .order = s->order + 1};
        if (!s->seen[i])
            kf_batch_add(s->batch, &item);
    }
}

static void read_findings(struct storing *s, FILE *file)
{
    struct kf_str line = {0};
    size_t length;
    struct kf_error err = {0};
    while (next_line(file, &line, &length)) {
        json_t *found = NULL;
        if (length > LINE_MOST || line.failed || kf_json_parse(kf_str_text(&line), length, &found, &err) != KF_OK ||
            !json_is_object(found)) {
            json_decref(found);
            kf_batch_refuse(s->batch, "", "bad_index", "A part of the upload's index cannot be read.", 1);
            continue;
        }
        json_int_t input = kf_json_integer(found, "input", -1);
        if (input >= 0 && input < s->count)
            s->seen[input] = 1;
        s->order++;
        take_found(s, found);
    }
    kf_str_release(&line);
    flush(s);
    refuse_unseen(s);
}

// Refusals are known before the instances around them are stored; people read them in the order of arrival.
static int by_order(const void *a, const void *b)
{
    size_t one = ((const struct kf_received *)a)->order, other = ((const struct kf_received *)b)->order;
    return one < other ? -1 : one > other;
}

void kf_index_store(struct kf_batch *batch, const struct kf_staged *files, int count, const char *folder,
                    struct kf_app_thread *thread)
{
    struct storing *s = calloc(1, sizeof *s);
    size_t before = batch->item_count;
    char path[800];
    snprintf(path, sizeof path, "%s/out/index.jsonl", folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (s)
        *s = (struct storing){.batch = batch,
                              .files = files,
                              .count = count,
                              .folder = folder,
                              .thread = thread,
                              .buffer = malloc(COPY_BYTES)};
    if (s && s->buffer && file) {
        read_findings(s, file);
        if (s->segment)
            kf_blob_segment_close(s->segment);
        leave_container(s);
        if (batch->item_count > before)
            qsort(batch->items + before, batch->item_count - before, sizeof *batch->items, by_order);
    } else {
        for (int i = 0; i < count; i++)
            kf_batch_refuse(batch, files[i].name, "index_failed",
                            "The file could not be read: its reader left nothing.", 1);
    }
    if (file)
        fclose(file);
    else if (fd >= 0)
        close(fd);
    if (s)
        free(s->buffer);
    free(s);
}
