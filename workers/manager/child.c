#include "workers/manager/child.h"

#include "server/base/process.h"
#include "server/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// ---------------------------------------------------------------------------------------------- starting
static json_t *spec_json(const struct kf_child_spec *spec, int progress_fd)
{
    json_t *inputs = json_array();
    for (size_t i = 0; i < spec->input_count; i++) {
        const struct kf_child_input *in = &spec->inputs[i];
        json_array_append_new(inputs, json_pack("{s:s, s:s, s:I, s:I, s:s, s:s, s:O*}", "name", in->name, "path",
                                                in->path, "offset", (json_int_t)in->offset, "length",
                                                (json_int_t)in->length, "sha256", in->sha256, "media_type",
                                                in->media_type, "meta", (json_t *)(uintptr_t)in->meta));
    }
    char out[4096];
    snprintf(out, sizeof out, "%s/out", spec->scratch);
    return json_pack("{s:s, s:i, s:O, s:o, s:s, s:i, s:i}", "kind", spec->kind, "version", spec->version, "params",
                     (json_t *)(uintptr_t)spec->params, "inputs", inputs, "out", out, "threads", spec->threads,
                     "progress_fd", progress_fd);
}

static enum kf_status write_spec(const struct kf_child_spec *spec, int progress_fd, const char *path,
                                 struct kf_error *err)
{
    json_t *json = spec_json(spec, progress_fd);
    if (!json)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for a job's specification");
    enum kf_status status = kf_json_save(path, json, err);
    json_decref(json);
    return status;
}

static enum kf_status spawn(const struct kf_child_spec *spec, const char *spec_path, int progress_fd, pid_t *pid,
                            struct kf_error *err)
{
    char err_path[4096];
    snprintf(err_path, sizeof err_path, "%s/err.txt", spec->scratch);
    // Libraries may print what they read: never into our log.
    int err_fd = open(err_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (err_fd < 0)
        return kf_error_errno(err, errno, "cannot make a job's error file");
    const char *const argv[] = {spec->program, spec->kind, "--spec", spec_path, NULL};
    // DCMDICTPATH and friends stay out: the child gets the environment that a reproducible result needs, no more.
    static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "OMP_DYNAMIC=false",
                                      // Threads that spin while they wait would take the other jobs' processors.
                                      "OMP_WAIT_POLICY=passive", "MALLOC_ARENA_MAX=4", NULL};
    struct kf_spawn how = {
        .program = spec->program,
        .argv = argv,
        .env = env,
        .directory = spec->scratch,
        .in = -1,
        .out = -1,
        .err = err_fd,
        .keep = &progress_fd,
        .keep_count = 1,
        .death_signal = SIGKILL,
        .new_group = 1,
    };
    enum kf_status status = kf_spawn(&how, pid, err);
    close(err_fd);
    return status;
}

enum kf_status kf_child_start(const struct kf_child_spec *spec, struct kf_child *out, struct kf_error *err)
{
    *out = (struct kf_child){.pid_fd = -1, .progress_fd = -1};
    char path[4096];
    snprintf(path, sizeof path, "%s/out", spec->scratch);
    if (mkdir(path, 0700) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make a job's output folder");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return kf_error_errno(err, errno, "cannot make a job's progress pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    snprintf(path, sizeof path, "%s/spec.json", spec->scratch);
    enum kf_status status = write_spec(spec, ends[1], path, err);
    if (!status)
        status = spawn(spec, path, ends[1], &out->pid, err);
    close(ends[1]);
    if (!status) {
        out->pid_fd = (int)syscall(SYS_pidfd_open, out->pid, 0);
        if (out->pid_fd < 0) {
            status = kf_error_errno(err, errno, "cannot watch a job");
            kf_process_stop(out->pid, SIGKILL, 0);
            out->pid = 0;
        }
    }
    if (status)
        close(ends[0]);
    else
        out->progress_fd = ends[0];
    return status;
}

// ---------------------------------------------------------------------------------------------- watching
static void take_line(struct kf_child *child)
{
    child->line[child->line_length] = 0;
    json_t *line = NULL;
    if (kf_json_parse(child->line, child->line_length, &line, NULL) == KF_OK) {
        double progress = kf_json_number(line, "progress", child->progress);
        if (progress >= 0 && progress <= 1)
            child->progress = progress;
        kf_str_copy(child->stage, sizeof child->stage, kf_json_text(line, "stage", ""));
        json_decref(line);
    }
    child->line_length = 0;
}

static void read_progress(struct kf_child *child)
{
    char bytes[1024];
    ssize_t n;
    while ((n = read(child->progress_fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n')
                take_line(child);
            else if (child->line_length < sizeof child->line - 1) // a longer line is cut and will not parse
                child->line[child->line_length++] = bytes[i];
        }
    if (n == 0) { // closed: stop polling it
        close(child->progress_fd);
        child->progress_fd = -1;
    }
}

int kf_child_wait(struct kf_child *child, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = child->pid_fd, .events = POLLIN}, {.fd = child->progress_fd, .events = POLLIN}};
    if (poll(fds, 2, timeout_ms) <= 0)
        return 0;
    if (child->progress_fd >= 0 && fds[1].revents)
        read_progress(child);
    return fds[0].revents != 0;
}

int kf_child_reap(struct kf_child *child)
{
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (child->progress_fd >= 0)
        close(child->progress_fd);
    close(child->pid_fd);
    *child = (struct kf_child){.pid_fd = -1, .progress_fd = -1};
    return status;
}

void kf_child_signal(const struct kf_child *child, int signal_number)
{
    if (child->pid > 0)
        syscall(SYS_pidfd_send_signal, child->pid_fd, signal_number, NULL, 0);
}

// ---------------------------------------------------------------------------------------------- the result
static enum kf_status bad_result(struct kf_error *err, const char *what)
{
    return kf_error_set(err, KF_INTERNAL, "bad_result", "a job left a result that cannot be taken: %s", what);
}

enum kf_status kf_child_result(const char *scratch, json_t **result, struct kf_error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/out/result.json", scratch);
    enum kf_status status = kf_json_load(path, result, err);
    if (status)
        return bad_result(err, "there is no readable result.json");
    if (!json_is_array(json_object_get(*result, "outputs")) || !json_is_object(json_object_get(*result, "report"))) {
        json_decref(*result);
        *result = NULL;
        return bad_result(err, "outputs or report is missing");
    }
    return KF_OK;
}

int kf_child_output_count(const json_t *result)
{
    return (int)json_array_size(json_object_get(result, "outputs"));
}

enum kf_status kf_child_output_open(const char *scratch, const json_t *result, int index, struct kf_child_output *out,
                                    struct kf_error *err)
{
    const json_t *o = json_array_get(json_object_get(result, "outputs"), (size_t)index);
    *out = (struct kf_child_output){
        .name = kf_json_text(o, "name", ""),
        .kind = kf_json_text(o, "kind", ""),
        .media_type = kf_json_text(o, "media_type", ""),
        .meta = json_object_get(o, "meta"),
        .fd = -1,
    };
    const char *file = kf_json_text(o, "file", "");
    if (!*out->name || !*out->kind || !*out->media_type || !*file || strchr(file, '/') || !strcmp(file, ".."))
        return bad_result(err, "an output lacks a name, kind, media type or plain file name");
    char path[4096];
    snprintf(path, sizeof path, "%s/out/%s", scratch, file);
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return bad_result(err, "an output is no regular file");
    }
    out->fd = fd;
    return KF_OK;
}

static void printable(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = ' ';
}

// A code goes to the log: from a sandbox that foreign bytes have taken over it could be anything, a patient's name too.
static int is_code(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && !text[length];
}

void kf_child_failure(const char *scratch, int wait_status, struct kf_error *out, json_t **report)
{
    char path[4096], how[64];
    json_t *json = NULL;
    *report = NULL;
    snprintf(path, sizeof path, "%s/out/error.json", scratch);
    if (kf_json_load(path, &json, NULL) == KF_OK && is_code(kf_json_text(json, "code", ""))) {
        kf_error_set(out, KF_UNPROCESSABLE, kf_json_text(json, "code", ""), "%s", kf_json_text(json, "detail", ""));
        printable(out->detail);
        *report = json_incref(json_object_get(json, "report"));
    } else {
        kf_process_describe(wait_status, how, sizeof how);
        kf_error_set(out, KF_INTERNAL, "job_crashed", "the job ended without an answer (%s)", how);
    }
    json_decref(json);
}
