#include "workers/intake/study.h"
#include "server/base/str.h"
#include "workers/dicom/meta.h"
#include "workers/io/archive.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDER_DEPTH = 32, COPY_BYTES = 1 << 18 };

// ---------------------------------------------------------------------------------------------- objects

static enum kf_status add_context(struct kf_study *study, const char *sop_class, const char *syntax, int *index)
{
    for (size_t i = 0; i < study->context_count; i++) {
        if (strcmp(study->contexts[i].sop_class, sop_class) == 0 &&
            strcmp(study->contexts[i].transfer_syntax, syntax) == 0) {
            *index = (int)i;
            return KF_OK;
        }
    }
    struct kf_study_context *grown =
        realloc(study->contexts, (study->context_count + 1) * sizeof *study->contexts);
    if (!grown)
        return KF_NOMEM;
    study->contexts = grown;
    *index = (int)study->context_count;
    struct kf_study_context *context = &study->contexts[study->context_count++];
    kf_str_copy(context->sop_class, sizeof context->sop_class, sop_class);
    kf_str_copy(context->transfer_syntax, sizeof context->transfer_syntax, syntax);
    return KF_OK;
}

static enum kf_status add_object(struct kf_study *study, const struct kf_dicom *dicom, const char *path,
                                 int64_t offset, struct kf_error *err)
{
    const struct kf_dicom_identity *identity = kf_dicom_identity(dicom);
    const struct kf_dicom_layout *layout = kf_dicom_layout(dicom);
    if (study->count == study->capacity) {
        size_t capacity = study->capacity ? study->capacity * 2 : 256;
        struct kf_study_object *grown = realloc(study->objects, capacity * sizeof *grown);
        if (!grown)
            return kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
        study->objects = grown;
        study->capacity = capacity;
    }
    struct kf_study_object *object = &study->objects[study->count];
    *object = (struct kf_study_object){
        .path = path ? strdup(path) : NULL,
        .offset = offset + layout->dataset_offset,
        .length = layout->dataset_length,
    };
    kf_str_copy(object->sop_class, sizeof object->sop_class, identity->sop_class);
    kf_str_copy(object->sop_instance, sizeof object->sop_instance, identity->sop_uid);
    if ((path && !object->path) ||
        add_context(study, identity->sop_class, identity->transfer_syntax, &object->context) != KF_OK) {
        free(object->path);
        return kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    }
    study->count++;
    return KF_OK;
}

static void note_study(struct kf_send_report *report, const char *study_uid)
{
    for (int i = 0; i < report->studies; i++)
        if (strcmp(report->study_uids[i], study_uid) == 0)
            return;
    if (report->studies < KF_SEND_STUDIES)
        kf_str_copy(report->study_uids[report->studies++], sizeof report->study_uids[0], study_uid);
}

// Opens bytes of fd; what is no DICOM object is counted and passed over.
static enum kf_status take_bytes(struct kf_study *study, int fd, int64_t offset, int64_t length, const char *path,
                                 int *taken, struct kf_send_report *report, struct kf_error *err)
{
    struct kf_dicom *dicom = NULL;
    struct kf_error why = {0};
    enum kf_status status = kf_dicom_open(fd, offset, length, NULL, &dicom, &why);
    report->files++;
    *taken = 0;
    if (status == KF_NOMEM)
        return kf_error_set(err, status, NULL, "Memory ran out.");
    if (status != KF_OK) {
        report->skipped++;
        if (!report->skipped_code[0] && strcmp(why.code, "not_dicom") != 0 && strcmp(why.code, "dicomdir") != 0)
            kf_str_copy(report->skipped_code, sizeof report->skipped_code, why.code);
        return KF_OK;
    }
    status = add_object(study, dicom, path, offset, err);
    note_study(report, kf_dicom_identity(dicom)->study_uid);
    kf_dicom_free(dicom);
    report->objects += status == KF_OK;
    *taken = status == KF_OK;
    return status;
}

static enum kf_status take_file(struct kf_study *study, const char *path, struct kf_send_report *report,
                                struct kf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        report->files++;
        report->skipped++;
        if (!report->skipped_code[0])
            kf_str_copy(report->skipped_code, sizeof report->skipped_code, "unreadable_file");
        return KF_OK;
    }
    int taken;
    enum kf_status status = take_bytes(study, fd, 0, -1, path, &taken, report, err);
    close(fd);
    return status;
}

// ---------------------------------------------------------------------------------------------- folders

static int visible(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static enum kf_status take_folder(struct kf_study *study, const char *path, int depth, struct kf_send_report *report,
                                  struct kf_error *err)
{
    if (depth > FOLDER_DEPTH)
        return kf_error_set(err, KF_INVALID, "too_deep", "The folder is nested more than %d deep.", FOLDER_DEPTH);
    struct dirent **entries;
    int count = scandir(path, &entries, visible, alphasort);
    if (count < 0)
        return kf_error_errno(err, errno, "The folder cannot be read");
    enum kf_status status = KF_OK;
    for (int i = 0; i < count; i++) {
        struct kf_str child = {0};
        kf_str_printf(&child, "%s/%s", path, entries[i]->d_name);
        struct stat info, link;
        if (child.failed)
            status = kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
        if (status == KF_OK && lstat(child.data, &link) == 0 && stat(child.data, &info) == 0) {
            if (S_ISDIR(info.st_mode) && !S_ISLNK(link.st_mode)) // a linked folder could lead in a circle
                status = take_folder(study, child.data, depth + 1, report, err);
            else if (S_ISREG(info.st_mode))
                status = take_file(study, child.data, report, err);
        }
        kf_str_release(&child);
        free(entries[i]);
    }
    free(entries);
    return status;
}

// ---------------------------------------------------------------------------------------------- zips

static int open_scratch(void)
{
    const char *folder = getenv("TMPDIR");
    folder = folder && folder[0] ? folder : "/tmp";
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    char name[4096];
    if (snprintf(name, sizeof name, "%s/kerf-import.XXXXXX", folder) >= (int)sizeof name)
        return -1;
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

// Appends the archive's current file to the scratch file; *length of it.
static enum kf_status unpack(struct kf_archive *archive, int scratch, int64_t at, int64_t *length, struct kf_error *err)
{
    unsigned char *buffer = malloc(COPY_BYTES);
    if (!buffer)
        return kf_error_set(err, KF_NOMEM, NULL, "Memory ran out.");
    *length = 0;
    enum kf_status status;
    size_t got;
    while ((status = kf_archive_read(archive, buffer, COPY_BYTES, &got, err)) == KF_OK && got > 0) {
        for (size_t done = 0; done < got && status == KF_OK;) {
            ssize_t n = pwrite(scratch, buffer + done, got - done, at + *length + (int64_t)done);
            if (n < 0 && errno != EINTR)
                status = kf_error_errno(err, errno, "The archive cannot be unpacked");
            done += n > 0 ? (size_t)n : 0;
        }
        if (status != KF_OK)
            break;
        *length += (int64_t)got;
    }
    free(buffer);
    return status;
}

static enum kf_status take_archive(struct kf_study *study, int fd, struct kf_send_report *report, struct kf_error *err)
{
    study->scratch = open_scratch();
    if (study->scratch < 0)
        return kf_error_errno(err, errno, "A scratch file cannot be made");
    struct kf_archive *archive = NULL;
    enum kf_status status = kf_archive_open(fd, 0, -1, NULL, &archive, err);
    int more = 1;
    for (int64_t at = 0; status == KF_OK;) {
        struct kf_archive_entry entry;
        status = kf_archive_next(archive, &entry, &more, err);
        if (status != KF_OK || !more)
            break;
        int64_t length = 0;
        int taken = 0;
        status = unpack(archive, study->scratch, at, &length, err);
        if (status == KF_OK)
            status = take_bytes(study, study->scratch, at, length, NULL, &taken, report, err);
        at += taken ? length : 0; // what was no DICOM is written over
    }
    kf_archive_close(archive);
    return status;
}

static enum kf_status take_one(struct kf_study *study, const char *path, struct kf_send_report *report,
                               struct kf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kf_error_errno(err, errno, "The study cannot be opened");
    unsigned char front[4] = {0};
    ssize_t n = pread(fd, front, sizeof front, 0);
    enum kf_status status;
    int taken;
    if (n == 0)
        status = KF_OK; // an empty file: nothing in it
    else if (n > 0 && kf_archive_is_zip(front, (size_t)n))
        status = take_archive(study, fd, report, err);
    else
        status = take_bytes(study, fd, 0, -1, path, &taken, report, err);
    close(fd);
    return status;
}

enum kf_status kf_study_open(const char *path, struct kf_study *out, struct kf_send_report *report,
                             struct kf_error *err)
{
    *out = (struct kf_study){.scratch = -1};
    struct stat info;
    if (stat(path, &info) != 0)
        return kf_error_set(err, KF_NOT_FOUND, "no_such_study", "There is no folder or file of that name.");
    enum kf_status status = S_ISDIR(info.st_mode) ? take_folder(out, path, 0, report, err)
                                                  : take_one(out, path, report, err);
    if (status == KF_OK && report->files == 0)
        status = kf_error_set(err, KF_INVALID, "empty_study", "There is no file in the study.");
    if (status == KF_OK && out->count == 0)
        status = kf_error_set(err, KF_INVALID, report->skipped_code[0] ? report->skipped_code : "not_dicom",
                              "None of the %d files is a DICOM object that can be sent.", report->files);
    if (status != KF_OK)
        kf_study_release(out);
    return status;
}

void kf_study_release(struct kf_study *study)
{
    for (size_t i = 0; i < study->count; i++)
        free(study->objects[i].path);
    free(study->objects);
    free(study->contexts);
    if (study->scratch >= 0)
        close(study->scratch);
    *study = (struct kf_study){.scratch = -1};
}
