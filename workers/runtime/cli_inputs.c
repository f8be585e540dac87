// Files and folders that a person names become inputs of a job; a folder of DICOM becomes the volume that `import`
// makes.
#include "workers/runtime/context.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct path_list {
    char **paths;
    size_t count, capacity;
    int failed;
};

static struct path_list *walk_into; // nftw has no user pointer; the program is single threaded here

static int walk_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type != FTW_F)
        return 0;
    struct path_list *list = walk_into;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **paths = realloc(list->paths, capacity * sizeof *paths);
        if (!paths)
            return list->failed = 1;
        list->paths = paths;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return list->failed = 1;
    list->paths[list->count++] = copy;
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum kf_status kf_job_input_folder(struct kf_job_context *job, const char *name, const char *folder,
                                   struct kf_error *err)
{
    struct path_list list = {0};
    walk_into = &list;
    errno = 0;
    enum kf_status status = KF_OK;
    if (nftw(folder, walk_one, 16, FTW_PHYS) && !list.failed)
        status = kf_error_errno(err, errno, "cannot read the input folder");
    if (list.failed)
        status = kf_error_set(err, KF_NOMEM, NULL, "no memory for the list of input files");
    if (list.count)
        qsort(list.paths, list.count, sizeof *list.paths, compare_paths);
    for (size_t i = 0; !status && i < list.count; i++)
        status = kf_job_input_add(job, &(struct kf_job_input){.name = name, .path = list.paths[i], .length = -1}, err);
    for (size_t i = 0; i < list.count; i++)
        free(list.paths[i]);
    free(list.paths);
    if (!status && !list.count)
        status = kf_error_set(err, KF_INVALID, "empty_input", "there is no file in the input folder");
    return status;
}

enum kf_status kf_job_input_file(struct kf_job_context *job, const char *name, const char *path, struct kf_error *err)
{
    if (access(path, R_OK))
        return kf_error_errno(err, errno, "cannot read the input file");
    char real[PATH_MAX];
    if (!realpath(path, real))
        return kf_error_errno(err, errno, "cannot read the input file");
    return kf_job_input_add(job, &(struct kf_job_input){.name = name, .path = real, .length = -1}, err);
}

// ---- a folder of DICOM in place of an image ----

static int takes_volumes(const struct kf_job_kind *kind, const char *input)
{
    for (const struct kf_cli_flag *f = kind->cli->flags; f && f->flag; f++)
        if (f->role == KF_CLI_VOLUME && strcmp(f->input, input) == 0)
            return 1;
    return 0;
}

static int is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

// Runs `import` over the folder that is job->inputs[index], as a job inside the job, with a folder of its own.
static enum kf_status import_into(struct kf_job_context *import, struct kf_job_context *job, int index,
                                  struct kf_error *err)
{
    const char *folder = job->inputs[index].path;
    int n = snprintf(import->out, sizeof import->out, "%s/import.%d", job->out, index);
    if (n < 0 || (size_t)n >= sizeof import->out)
        return kf_error_set(err, KF_INVALID, NULL, "the scratch path is too long");
    if (mkdir(import->out, 0700))
        return kf_error_errno(err, errno, "cannot make a scratch folder");
    import->threads = job->threads;
    import->options = json_pack("{s:s, s:s}", "--in", folder, "--image", folder);
    if (!import->options)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    enum kf_status status = kf_job_params_set(import, NULL, err);
    if (!status)
        status = kf_job_input_folder(import, "instance", folder, err);
    if (!status)
        status = import->kind->run(import, err);
    if (!status && kf_job_output_count(import) == 0)
        return kf_error_set(err, KF_INVALID, "no_volume", "the folder holds no DICOM image that could be a volume");
    if (!status && kf_job_output_count(import) > 1)
        return kf_error_set(err, KF_INVALID, "several_volumes",
                            "the folder's series holds %d volumes: `kerf-job import --in FOLDER --out NAME.nii.gz` "
                            "writes each into a file of its own; pass the one that is meant",
                            kf_job_output_count(import));
    return status;
}

// Puts the imported volume in the folder's place. Its metadata and the import's report live on in the job.
static enum kf_status take_volume(struct kf_job_context *job, int index, const struct kf_job_context *import,
                                  struct kf_error *err)
{
    struct kf_job_output_view volume = kf_job_output_at(import, 0);
    struct kf_job_input *input = &job->inputs[index];
    char key[80];
    snprintf(key, sizeof key, "import.%.64s", input->name);
    if (!job->spec)
        job->spec = json_array();
    input->path = kf_arena_strdup(&job->arena, volume.path);
    input->meta = json_object_get(json_array_get(import->outputs, 0), "meta");
    if (!input->path || json_array_append(job->spec, json_array_get(import->outputs, 0)))
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for an input");
    kf_job_report(job, key, json_incref(import->report));
    return KF_OK;
}

enum kf_status kf_job_input_import(struct kf_job_context *job, const struct kf_job_kind *const *kinds,
                                   struct kf_error *err)
{
    while (*kinds && strcmp((*kinds)->name, "import") != 0)
        kinds++;
    enum kf_status status = KF_OK;
    for (int i = 0; *kinds && i < job->input_count && !status; i++) {
        if (!takes_volumes(job->kind, job->inputs[i].name) || !is_folder(job->inputs[i].path))
            continue;
        struct kf_job_context import;
        kf_job_context_init(&import, *kinds);
        status = import_into(&import, job, i, err);
        if (!status)
            status = take_volume(job, i, &import, err);
        kf_job_context_release(&import);
    }
    return status;
}
