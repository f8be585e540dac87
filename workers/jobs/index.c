// index: what kerf-server must know of uploaded files, found out behind the sandbox. It parses DICOM and archives; the
// server does neither.
//
// Inputs "file" × N: a DICOM object or a zip (or tar) of them; meta {"file": "name as uploaded"} is optional. Output
// index.jsonl (application/x-ndjson): one line per object found, in the order found:
//
//   {"file":"scan.zip!/a/b.dcm", "input":0, "path":"/…/out/extracted", "offset":0, "bytes":526336, "extracted":true,
//    "sop_uid","sop_class","transfer_syntax","study_uid","series_uid","frame_of_reference_uid","modality","body_part",
//    "series_number":2|null, "instance_number":1|null, "series_description","study_description","study_date",
//    "study_time","accession", "patient":{"id","issuer","name","birth_date","sex"},
//    "content_sha256", "blob_sha256" (hex; the second over all bytes), "set_aside":"" or why it takes no part in
//    volumes, "frames_code":"" or why there are no frame offsets, "dicom_json":base64 of raw deflate,
//    "frame_offsets":base64}
// or
//   {"file", "input", "refused":{"code","detail"}}.
//
// Bytes that came out of an archive lie one behind the other in one file of the job's folder ("extracted"); those of
// refused objects are taken back out. An archive that breaks off keeps what was read of it, and a last row says
// "truncated_zip". Everything is read in one pass with flat memory.
#include "workers/dicom/index.h"
#include "workers/dicom/meta.h"
#include "workers/io/archive.h"
#include "workers/runtime/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1 << 20)

struct indexer {
    struct kf_job_context *job;
    FILE *out;
    int rows;
    int extracted_fd; // -1 until the first archive
    const char *extracted_path;
    int64_t extracted_bytes;
    char *piece;
};

struct part { // one object's bytes and where it came from
    const char *file;
    int input;
    const char *path;
    int fd;
    int64_t offset, length;
    int extracted;
};

static void prepare(void)
{
    struct kf_error err;
    if (kf_dicom_init(&err) != KF_OK)
        fprintf(stderr, "kerf-job: %s\n", err.detail);
}

// ---- rows ----

static json_t *base64(const struct kf_str *bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)kf_str_text(bytes);
    size_t n = bytes->length, length = 4 * ((n + 2) / 3);
    char *text = malloc(length + 1);
    if (!text)
        return NULL;
    char *to = text;
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)p[i] << 16 | (i + 1 < n ? (unsigned)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        *to++ = digits[v >> 18];
        *to++ = digits[v >> 12 & 63];
        *to++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *to++ = i + 2 < n ? digits[v & 63] : '=';
    }
    json_t *json = json_stringn_nocheck(text, length);
    free(text);
    return json;
}

static json_t *hex(const unsigned char digest[KF_SHA256_BYTES])
{
    char text[KF_SHA256_HEX];
    kf_hex_encode(text, digest, KF_SHA256_BYTES);
    return json_string(text);
}

// Writes one row; `row` is stolen. One at a time goes to the file, so that memory does not grow with the upload.
static enum kf_status add_row(struct indexer *ix, json_t *row, struct kf_error *err)
{
    if (!row)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an index row");
    int bad = json_dumpf(row, ix->out, JSON_COMPACT) != 0 || fputc('\n', ix->out) == EOF;
    ix->rows++;
    json_decref(row);
    return bad ? kf_error_errno(err, errno ? errno : EIO, "writing the index") : KF_OK;
}

// File names are a stranger's bytes: what is not UTF-8 is shown as "?".
static json_t *file_name(const char *name)
{
    json_t *json = json_string(name);
    if (json)
        return json;
    char *plain = strdup(name);
    for (char *c = plain; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    json = plain ? json_string(plain) : NULL;
    free(plain);
    return json;
}

static enum kf_status add_refusal(struct indexer *ix, const char *file, int input, const struct kf_error *why,
                                  struct kf_error *err)
{
    return add_row(ix,
                   json_pack("{s:o, s:i, s:{s:s, s:s}}", "file", file_name(file), "input", input, "refused", "code",
                             why->code, "detail", why->detail),
                   err);
}

static json_t *number_or_null(int has, int number)
{
    return has ? json_integer(number) : json_null();
}

static json_t *describe(const struct part *part, const struct kf_dicom *dicom, const struct kf_dicom_index *index,
                        const unsigned char blob[KF_SHA256_BYTES])
{
    const struct kf_dicom_identity *id = kf_dicom_identity(dicom);
    json_t *row = json_pack("{s:o, s:i, s:s, s:I, s:I, s:b}", "file", file_name(part->file), "input", part->input,
                            "path", part->path, "offset", (json_int_t)part->offset, "bytes", (json_int_t)part->length,
                            "extracted", part->extracted);
    json_t *who = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "sop_uid",
                            id->sop_uid, "sop_class", id->sop_class, "transfer_syntax", id->transfer_syntax,
                            "study_uid", id->study_uid, "series_uid", id->series_uid, "frame_of_reference_uid",
                            id->frame_of_reference_uid, "modality", id->modality, "body_part", id->body_part,
                            "series_description", id->series_description, "study_description", id->study_description,
                            "study_date", id->study_date, "study_time", id->study_time, "accession", id->accession,
                            "series_number", number_or_null(id->has_series_number, id->series_number),
                            "instance_number", number_or_null(id->has_instance_number, id->instance_number));
    json_t *patient = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id->patient_id, "issuer", id->patient_issuer, "name",
                                id->patient_name, "birth_date", id->birth_date, "sex", id->sex);
    json_t *stored =
        json_pack("{s:o, s:o, s:s, s:s, s:o, s:o}", "content_sha256", hex(index->content_sha256), "blob_sha256",
                  hex(blob), "set_aside", index->set_aside, "frames_code", index->frames_code, "dicom_json",
                  base64(&index->json_deflated), "frame_offsets", base64(&index->frame_offsets));
    int bad = !row || !who || !patient || !stored || json_object_update(row, who) || json_object_update(row, stored) ||
              json_object_set(row, "patient", patient);
    json_decref(who);
    json_decref(patient);
    json_decref(stored);
    if (!bad)
        return row;
    json_decref(row);
    return NULL;
}

// ---- objects ----

// Indexes one object. *kept: 0 when it was refused (its row is written either way).
static enum kf_status index_part(struct indexer *ix, const struct part *part, int *kept, struct kf_error *err)
{
    struct kf_dicom *dicom = NULL;
    struct kf_dicom_index index = {0};
    struct kf_error why = {0};
    unsigned char blob[KF_SHA256_BYTES];
    *kept = 0;
    enum kf_status status = kf_dicom_open(part->fd, part->offset, part->length, NULL, &dicom, &why);
    if (status == KF_OK)
        status = kf_dicom_index_build(dicom, NULL, &index, &why);
    if (status == KF_OK)
        status = kf_sha256_fd(part->fd, part->offset, part->length, blob, &why);
    if (status == KF_OK) {
        *kept = 1;
        status = add_row(ix, describe(part, dicom, &index, blob), err);
    } else if (kf_status_retryable(status)) {
        if (err)
            *err = why;
    } else {
        status = add_refusal(ix, part->file, part->input, &why, err);
    }
    kf_dicom_index_release(&index);
    kf_dicom_free(dicom);
    return status;
}

static enum kf_status open_extracted(struct indexer *ix, struct kf_error *err)
{
    if (ix->extracted_fd >= 0)
        return KF_OK;
    ix->extracted_path = kf_job_output_path(ix->job, "extracted");
    if (!ix->extracted_path)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a path");
    ix->extracted_fd = open(ix->extracted_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return ix->extracted_fd < 0 ? kf_error_errno(err, errno, "making a file for unpacked objects") : KF_OK;
}

static enum kf_status write_all(struct indexer *ix, const char *bytes, size_t n, struct kf_error *err)
{
    while (n) {
        ssize_t done = pwrite(ix->extracted_fd, bytes, n, (off_t)ix->extracted_bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return kf_error_errno(err, done < 0 ? errno : EIO, "writing an unpacked object");
        bytes += done;
        n -= (size_t)done;
        ix->extracted_bytes += done;
    }
    return KF_OK;
}

// Appends the current entry's bytes to "extracted". A fault of the archive goes to *why, one of the machine to *err.
static enum kf_status unpack(struct indexer *ix, struct kf_archive *archive, struct kf_error *why, struct kf_error *err)
{
    for (;;) {
        size_t got;
        enum kf_status status = kf_archive_read(archive, ix->piece, PIECE, &got, why);
        if (status != KF_OK || got == 0)
            return status;
        status = write_all(ix, ix->piece, got, err);
        if (status != KF_OK)
            return status;
    }
}

static enum kf_status take_back(struct indexer *ix, int64_t to, struct kf_error *err)
{
    ix->extracted_bytes = to;
    return ftruncate(ix->extracted_fd, (off_t)to) == 0 ? KF_OK
                                                       : kf_error_errno(err, errno, "dropping a refused object");
}

// Things that packers add and nobody wants to read a refusal about.
static int is_clutter(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strncmp(path, "__MACOSX/", 9) == 0 || strcmp(name, ".DS_Store") == 0 || strcmp(name, "Thumbs.db") == 0;
}

static enum kf_status index_entry(struct indexer *ix, struct kf_archive *archive, const char *file, int input,
                                  struct kf_error *why, struct kf_error *err)
{
    int64_t start = ix->extracted_bytes;
    int kept = 0;
    enum kf_status status = unpack(ix, archive, why, err);
    if (why->status != KF_OK) { // the archive is broken: what came of this object is not it
        enum kf_status after = take_back(ix, start, err);
        return after == KF_OK ? status : after;
    }
    if (status != KF_OK)
        return status;
    struct part part = {.file = file,
                        .input = input,
                        .path = ix->extracted_path,
                        .fd = ix->extracted_fd,
                        .offset = start,
                        .length = ix->extracted_bytes - start,
                        .extracted = 1};
    status = index_part(ix, &part, &kept, err);
    return status == KF_OK && !kept ? take_back(ix, start, err) : status;
}

static enum kf_status index_archive(struct indexer *ix, const struct part *part, struct kf_error *err)
{
    struct kf_archive *archive = NULL;
    struct kf_error why = {0};
    enum kf_status status = open_extracted(ix, err);
    if (status != KF_OK)
        return status;
    status = kf_archive_open(part->fd, part->offset, part->length, NULL, &archive, &why);
    while (status == KF_OK) {
        struct kf_archive_entry entry;
        int more = 0;
        status = kf_archive_next(archive, &entry, &more, &why);
        if (status != KF_OK || !more)
            break;
        if (is_clutter(entry.path))
            continue;
        char file[1200];
        snprintf(file, sizeof file, "%.600s!/%s", part->file, entry.path);
        status = index_entry(ix, archive, file, part->input, &why, err);
        if (kf_job_cancelled(ix->job))
            status = kf_error_set(err, KF_CANCELLED, NULL, "index was cancelled");
    }
    kf_archive_close(archive);
    if (why.status == KF_OK || kf_status_retryable(why.status)) {
        if (why.status != KF_OK && err)
            *err = why;
        return status;
    }
    return add_refusal(ix, part->file, part->input, &why, err); // the rows so far stand
}

static int is_archive(const struct part *part)
{
    unsigned char head[8] = {0};
    char magic[6] = {0};
    if (part->length >= 8 && pread(part->fd, head, sizeof head, (off_t)part->offset) == 8 &&
        kf_archive_is_zip(head, sizeof head))
        return 1;
    return part->length >= 512 && pread(part->fd, magic, 5, (off_t)part->offset + 257) == 5 &&
           memcmp(magic, "ustar", 5) == 0;
}

static enum kf_status index_input(struct indexer *ix, int i, struct kf_error *err)
{
    const struct kf_job_input *in = kf_job_input_at(ix->job, i);
    struct part part = {
        .file = kf_json_text(in->meta, "file", NULL), .input = i, .path = in->path, .offset = in->offset};
    if (!part.file) {
        const char *slash = strrchr(in->path, '/');
        part.file = slash ? slash + 1 : in->path;
    }
    part.fd = open(in->path, O_RDONLY | O_CLOEXEC);
    if (part.fd < 0)
        return kf_error_errno(err, errno, "opening an uploaded file");
    off_t end = lseek(part.fd, 0, SEEK_END);
    part.length = in->length < 0 ? (int64_t)end - in->offset : in->length;
    int kept;
    enum kf_status status = is_archive(&part) ? index_archive(ix, &part, err) : index_part(ix, &part, &kept, err);
    close(part.fd);
    return status;
}

// ---- the job ----

static enum kf_status index_all(struct indexer *ix, struct kf_error *err)
{
    int count = kf_job_input_count(ix->job);
    enum kf_status status = KF_OK;
    for (int i = 0; status == KF_OK && i < count; i++) {
        status = index_input(ix, i, err);
        kf_job_progress(ix->job, (double)(i + 1) / count, "reading headers");
        if (status == KF_OK && kf_job_cancelled(ix->job))
            status = kf_error_set(err, KF_CANCELLED, NULL, "index was cancelled");
    }
    if (status == KF_OK && fflush(ix->out) != 0)
        status = kf_error_errno(err, errno, "writing the index");
    return status;
}

static enum kf_status run(struct kf_job_context *job, struct kf_error *err)
{
    struct indexer ix = {.job = job, .extracted_fd = -1, .piece = malloc(PIECE)};
    prepare();
    const char *path = kf_job_output_path(job, "index.jsonl");
    if (!ix.piece || !path) {
        free(ix.piece);
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an index");
    }
    ix.out = fopen(path, "we");
    enum kf_status status = ix.out ? index_all(&ix, err) : kf_error_errno(err, errno, "making the index");
    if (ix.out && fclose(ix.out) != 0 && status == KF_OK)
        status = kf_error_errno(err, errno, "writing the index");
    if (ix.extracted_fd >= 0)
        close(ix.extracted_fd);
    free(ix.piece);
    kf_job_report(job, "rows", json_integer(ix.rows));
    return status == KF_OK ? kf_job_output(job, "index", "index", "index.jsonl", "application/x-ndjson", json_object())
                           : status;
}

static enum kf_status place(struct kf_job_context *job, struct kf_error *err)
{
    const char *out = kf_job_option(job, "--out");
    struct kf_job_output_view view = kf_job_output_at(job, 0);
    if (out)
        return kf_job_place_file(view.path, out, err);
    FILE *in = fopen(view.path, "re");
    char line[8192];
    while (in && fgets(line, sizeof line, in))
        fputs(line, stdout);
    if (in)
        fclose(in);
    return in ? KF_OK : kf_error_errno(err, errno, "reading the index");
}

static const struct kf_cli_flag flags[] = {
    {"--in", KF_CLI_INPUT_DIR, "file", 1, "A DICOM file, a zip of them, or a folder of either."},
    {0},
};

static const struct kf_job_cli cli = {
    .flags = flags,
    .place = place,
    .examples = "  kerf-job index --in upload.zip --out index.jsonl\n",
};

static const struct kf_job_param params[] = {{0}};

const struct kf_job_kind kf_job_index = {
    .name = "index",
    .version = 1,
    .bitwise = 0, // rows name paths
    .profile = KF_SANDBOX_DCMTK,
    .memory_limit_bytes = 4LL << 30,
    .time_limit_s = 1800,
    .summary = "Lists what DICOM objects files and archives hold, with what is stored of each.",
    .params = params,
    .run = run,
    .prepare = prepare,
    .cli = &cli,
};
