// kerf-job's program: help, the service form (--spec FILE) and the command-line form of every kind.
#include "workers/runtime/cli.h"

#include "server/base/str.h"
#include "workers/runtime/context.h"
#include "workers/runtime/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_TRY_AGAIN = 75 };

#define FILE_LIMIT_BYTES ((int64_t)64 << 30)

// ---------------------------------------------------------------------------------------------- help
// "--radius_mm NUMBER [mm], default 0.5, 0 to 5" and a sentence: the unit "1" of the tables is none.
static void print_params(const struct kf_job_kind *kind)
{
    static const char *const types[] = {"", "NUMBER", "INTEGER", "true|false", "TEXT"};
    for (const struct kf_job_param *p = kind->params; p && p->name; p++) {
        int number = p->type == KF_PARAM_DOUBLE || p->type == KF_PARAM_INTEGER;
        printf("  --%s %s [%s], default ", p->name, types[p->type],
               p->unit && strcmp(p->unit, "1") != 0 ? p->unit : "no unit");
        if (p->type == KF_PARAM_TEXT)
            printf("\"%s\"", p->text ? p->text : "");
        else if (p->type == KF_PARAM_BOOLEAN)
            printf("%s", p->number != 0 ? "true" : "false");
        else
            printf("%g", p->number);
        if (number && p->minimum < p->maximum)
            printf(", %g to %g", p->minimum, p->maximum);
        printf("\n      %s\n", p->help ? p->help : "");
    }
}

static void print_flags(const struct kf_job_kind *kind)
{
    static const char *const values[] = {"", " FILE", " IMAGE|DICOM_FOLDER", " FOLDER", " VALUE", ""};
    int volumes = 0;
    printf("Files:\n");
    for (const struct kf_cli_flag *f = kind->cli->flags; f && f->flag; f++) {
        printf("  %s%s%s\n      %s\n", f->flag, values[f->role], f->required ? " (required)" : "",
               f->help ? f->help : "");
        volumes |= f->role == KF_CLI_VOLUME;
    }
    const struct kf_cli_name *out = kind->cli->names;
    while (out && out->flag && strcmp(out->flag, "--out") != 0)
        out++;
    int named = out && out->flag && out->endings, folders = 0;
    for (const struct kf_cli_name *n = kind->cli->names; n && n->flag; n++)
        folders |= n->endings && strchr(n->endings, '/');
    printf("  --out PATH%s\n      Where the result goes%s%s%s.\n", out && out->flag && out->required ? " (required)" : "",
           named ? " (" : "", named ? out->endings : "", named ? ")" : "");
    if (folders)
        printf("A name that ends in / is a new or empty folder, where DICOM is written.\n");
    if (volumes)
        printf("An image is NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MetaImage (.mha, .mhd); a folder of DICOM must hold "
               "one volume.\n");
}

static void print_kind_help(const struct kf_job_kind *kind)
{
    printf("kerf-job %s (version %d, %s): %s\n\n", kind->name, kind->version, kind->bitwise ? "bitwise" : "recorded",
           kind->summary);
    if (kind->cli)
        print_flags(kind);
    if (kind->params && kind->params->name)
        printf("Parameters:\n");
    print_params(kind);
    printf("Always: --threads N (default: every core), --report FILE (the report as JSON), --quiet, --spec FILE (as the "
           "service calls it).\n");
    if (kind->cli && kind->cli->examples)
        printf("Examples:\n%s\n", kind->cli->examples);
}

static void print_help(const struct kf_job_kind *const *kinds)
{
    printf("kerf-job KIND [options]: one job on files. `kerf-job KIND --help` explains each parameter.\n"
           "kerf-job --describe: all kinds with their inputs and parameters, as JSON.\n\nKinds:\n");
    for (; *kinds; kinds++)
        printf("  %-20s %s\n", (*kinds)->name, (*kinds)->summary);
}

// ---------------------------------------------------------------------------------------------- --describe
static json_t *describe_param(const struct kf_job_param *p)
{
    static const char *const types[] = {"", "number", "integer", "boolean", "text"};
    json_t *given = p->type == KF_PARAM_TEXT      ? json_string(p->text ? p->text : "")
                    : p->type == KF_PARAM_BOOLEAN ? json_boolean(p->number != 0)
                    : p->type == KF_PARAM_INTEGER ? json_integer((json_int_t)p->number)
                                                  : json_real(p->number);
    json_t *out = json_pack("{s:s, s:s, s:o, s:s, s:s}", "name", p->name, "type", types[p->type], "default", given,
                            "unit", p->unit ? p->unit : "1", "help", p->help ? p->help : "");
    if (out && p->minimum < p->maximum) {
        json_object_set_new(out, "minimum", json_real(p->minimum));
        json_object_set_new(out, "maximum", json_real(p->maximum));
    }
    return out;
}

static json_t *describe_kind(const struct kf_job_kind *kind)
{
    json_t *params = json_array(), *inputs = json_array();
    for (const struct kf_job_param *p = kind->params; p && p->name; p++)
        json_array_append_new(params, describe_param(p));
    for (const struct kf_cli_flag *f = kind->cli ? kind->cli->flags : NULL; f && f->flag; f++)
        if (f->role == KF_CLI_INPUT || f->role == KF_CLI_VOLUME)
            json_array_append_new(inputs, json_pack("{s:s, s:b, s:s}", "name", f->input, "required", f->required,
                                                    "help", f->help ? f->help : ""));
    return json_pack("{s:s, s:i, s:s, s:o, s:o}", "name", kind->name, "version", kind->version, "summary",
                     kind->summary ? kind->summary : "", "inputs", inputs, "params", params);
}

// Every kind with its inputs and parameters: api/job_kinds.json, by which the server checks what people ask for.
static int describe(const struct kf_job_kind *const *kinds)
{
    json_t *list = json_array();
    for (; *kinds; kinds++)
        json_array_append_new(list, describe_kind(*kinds));
    json_t *all = json_pack("{s:o}", "kinds", list);
    char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(all);
    return text ? EXIT_DONE : EXIT_TRY_AGAIN;
}

// ---------------------------------------------------------------------------------------------- arguments
struct command {
    const char *out, *report;
    int quiet;
};

static const struct kf_cli_flag *find_flag(const struct kf_job_kind *kind, const char *flag)
{
    for (const struct kf_cli_flag *f = kind->cli->flags; f && f->flag; f++)
        if (strcmp(f->flag, flag) == 0)
            return f;
    return NULL;
}

static const struct kf_job_param *find_param(const struct kf_job_kind *kind, const char *flag)
{
    char name[64];
    if (strncmp(flag, "--", 2) != 0 || kf_str_copy(name, sizeof name, flag + 2))
        return NULL;
    for (char *c = name; *c; c++)
        if (*c == '-')
            *c = '_';
    for (const struct kf_job_param *p = kind->params; p && p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static enum kf_status take_flag(struct kf_job_context *job, const struct kf_cli_flag *flag, const char *value,
                                struct kf_error *err)
{
    enum kf_status status = KF_OK;
    json_object_set_new(job->options, flag->flag, json_string(value));
    if (flag->role == KF_CLI_INPUT || flag->role == KF_CLI_VOLUME)
        status = kf_job_input_file(job, flag->input, value, err);
    else if (flag->role == KF_CLI_INPUT_DIR)
        status = kf_job_input_folder(job, flag->input, value, err);
    if (status)
        kf_error_about(err, flag->flag);
    return status;
}

static enum kf_status take_threads(struct kf_job_context *job, const char *value, struct kf_error *err)
{
    char *end;
    long threads = strtol(value, &end, 10);
    if (end == value || *end || threads < 1 || threads > 1024)
        return kf_error_set(err, KF_INVALID, "bad_usage", "--threads must be a number between 1 and 1024");
    job->threads = (int)threads;
    return KF_OK;
}

// One argument and its value; *taken says how many of argv were used.
static enum kf_status take_argument(struct kf_job_context *job, struct command *command, json_t *params, char **argv,
                                    int *taken, struct kf_error *err)
{
    const char *arg = argv[0];
    const struct kf_cli_flag *flag = find_flag(job->kind, arg);
    const struct kf_job_param *param = flag ? NULL : find_param(job->kind, arg);
    *taken = 1;
    if (strcmp(arg, "--quiet") == 0) {
        command->quiet = 1;
        return KF_OK;
    }
    if (flag && flag->role == KF_CLI_SWITCH)
        return take_flag(job, flag, "1", err);
    int known = flag || param || !strcmp(arg, "--out") || !strcmp(arg, "--report") || !strcmp(arg, "--threads");
    if (!known)
        return kf_error_set(err, KF_INVALID, "bad_usage", "%s does not know %.80s; see kerf-job %s --help",
                            job->kind->name, arg, job->kind->name);
    const char *value = argv[1];
    if (!value)
        return kf_error_set(err, KF_INVALID, "bad_usage", "%s needs a value", arg);
    *taken = 2;
    if (flag)
        return take_flag(job, flag, value, err);
    if (param) {
        json_t *parsed;
        enum kf_status status = kf_job_param_parse(param, value, &parsed, err);
        return status ? status : (json_object_set_new(params, param->name, parsed) ? KF_NOMEM : KF_OK);
    }
    if (strcmp(arg, "--threads") == 0)
        return take_threads(job, value, err);
    *(strcmp(arg, "--out") == 0 ? &command->out : &command->report) = value;
    return KF_OK;
}

static int ends_in(const char *name, const char *endings)
{
    for (const char *at = endings; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " "), all = strlen(name);
        if (all > length && strncmp(name + all - length, at, length) == 0)
            return 1;
        at += length;
    }
    return 0;
}

// A folder for output is new, and can be made, or is empty.
static enum kf_status check_folder(const char *flag, const char *name, struct kf_error *err)
{
    size_t end = strlen(name);
    while (end > 0 && name[end - 1] == '/')
        end--;
    if (end == 0 || name[end - 1] == '.') // beside it may lie a file named after it
        return kf_error_set(err, KF_INVALID, "bad_usage", "%s needs a folder whose name does not end in a dot", flag);
    if (mkdir(name, 0777) == 0)
        return rmdir(name) ? kf_error_errno(err, errno, flag) : KF_OK;
    DIR *dir = errno == EEXIST ? opendir(name) : NULL;
    if (!dir)
        return kf_error_errno(err, errno, flag);
    int entries = 0;
    while (readdir(dir))
        entries++;
    closedir(dir);
    if (entries <= 2) // itself and the folder above
        return KF_OK;
    return kf_error_set(err, KF_INVALID, "folder_not_empty",
                        "%s names a folder with files in it; it must be new or empty", flag);
}

static enum kf_status check_names(const struct kf_job_context *job, struct kf_error *err)
{
    for (const struct kf_cli_name *n = job->kind->cli->names; n && n->flag; n++) {
        const char *name = kf_job_option(job, n->flag);
        if (!name && n->required)
            return kf_error_set(err, KF_INVALID, "bad_usage", "%s is missing; see kerf-job %s --help", n->flag,
                                job->kind->name);
        if (name && n->endings && !ends_in(name, n->endings))
            return kf_error_set(err, KF_INVALID, "bad_usage", "%s needs a name that ends in one of: %s", n->flag,
                                n->endings);
        enum kf_status status = name && n->endings && ends_in(name, "/") ? check_folder(n->flag, name, err) : KF_OK;
        if (status)
            return status;
    }
    return KF_OK;
}

static enum kf_status take_arguments(struct kf_job_context *job, struct command *command, char **argv,
                                     struct kf_error *err)
{
    json_t *params = json_object();
    job->options = json_object();
    enum kf_status status = params && job->options ? KF_OK : KF_NOMEM;
    while (!status && *argv) {
        int taken = 0;
        status = take_argument(job, command, params, argv, &taken, err);
        argv += taken;
    }
    if (!status)
        status = kf_job_params_set(job, params, err);
    json_decref(params);
    if (!status && command->out)
        json_object_set_new(job->options, "--out", json_string(command->out));
    for (const struct kf_cli_flag *f = job->kind->cli->flags; !status && f && f->flag; f++)
        if (f->required && !json_object_get(job->options, f->flag))
            status = kf_error_set(err, KF_INVALID, "bad_usage", "%s is missing; see kerf-job %s --help", f->flag,
                                  job->kind->name);
    return status ? status : check_names(job, err);
}

// ---------------------------------------------------------------------------------------------- outputs
const struct kf_job_kind *kf_job_kind_of(const struct kf_job_context *job)
{
    return job->kind;
}

const char *kf_job_option(const struct kf_job_context *job, const char *flag)
{
    return job->options ? kf_json_text(job->options, flag, NULL) : NULL;
}

int kf_job_output_count(const struct kf_job_context *job)
{
    return (int)json_array_size(job->outputs);
}

struct kf_job_output_view kf_job_output_at(const struct kf_job_context *job, int index)
{
    const json_t *o = json_array_get(job->outputs, (size_t)index);
    struct kf_job_output_view view = {
        .name = kf_json_text(o, "name", ""),
        .kind = kf_json_text(o, "kind", ""),
        .file = kf_json_text(o, "file", ""),
        .media_type = kf_json_text(o, "media_type", ""),
        .meta = json_object_get(o, "meta"),
    };
    // The path lives in the job's arena, which only grows while the job runs.
    view.path = kf_job_output_path((struct kf_job_context *)(uintptr_t)job, view.file);
    return view;
}

static enum kf_status copy_file(const char *from, const char *to, struct kf_error *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    enum kf_status status = out < 0 ? kf_error_errno(err, errno, "cannot open the output file") : KF_OK;
    ssize_t n = 1;
    while (!status && n > 0) {
        n = sendfile(out, in, NULL, (size_t)1 << 30);
        if (n < 0)
            status = kf_error_errno(err, errno, "cannot write the output file");
    }
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) && !status)
        status = kf_error_errno(err, errno, "cannot write the output file");
    return status;
}

enum kf_status kf_job_place_file(const char *from, const char *to, struct kf_error *err)
{
    if (rename(from, to) == 0)
        return KF_OK;
    if (errno != EXDEV)
        return kf_error_errno(err, errno, "cannot place the output");
    enum kf_status status = copy_file(from, to, err);
    if (!status)
        unlink(from);
    return status;
}

static enum kf_status place_in_folder(struct kf_job_context *job, const char *folder, struct kf_error *err)
{
    if (mkdir(folder, 0777) && errno != EEXIST)
        return kf_error_errno(err, errno, "cannot make the output folder");
    enum kf_status status = KF_OK;
    for (int i = 0; !status && i < kf_job_output_count(job); i++) {
        struct kf_job_output_view output = kf_job_output_at(job, i);
        char to[PATH_MAX];
        int n = snprintf(to, sizeof to, "%s/%s", folder, output.file);
        status = n < 0 || (size_t)n >= sizeof to ? kf_error_set(err, KF_INVALID, NULL, "the output path is too long")
                                                 : kf_job_place_file(output.path, to, err);
    }
    return status;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

// ---------------------------------------------------------------------------------------------- running
static enum kf_status run_and_place(struct kf_job_context *job, const struct command *command,
                                    const struct kf_job_kind *const *kinds, struct kf_error *err)
{
    enum kf_status status = kf_job_input_import(job, kinds, err);
    if (!status)
        status = job->kind->run(job, err);
    if (job->show_progress)
        fprintf(stderr, "\r\033[K");
    if (!status && job->kind->cli->place)
        status = job->kind->cli->place(job, err);
    else if (!status && command->out)
        status = place_in_folder(job, command->out, err);
    if (command->report && job->report) {
        struct kf_error ignored;
        if (kf_json_save(command->report, job->report, status ? &ignored : err) && !status)
            status = err->status;
    }
    return status;
}

static int run_command(const struct kf_job_kind *const *kinds, const struct kf_job_kind *kind, char **argv)
{
    struct kf_error err = {0};
    struct kf_job_context job;
    struct command command = {0};
    kf_job_context_init(&job, kind);
    job.threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int usage = 1;
    enum kf_status status = take_arguments(&job, &command, argv, &err);
    if (!status) {
        usage = 0;
        const char *base = getenv("TMPDIR");
        snprintf(job.out, sizeof job.out, "%s/kerf-job.XXXXXX", base && *base == '/' ? base : "/tmp");
        if (!mkdtemp(job.out)) {
            status = kf_error_errno(&err, errno, "cannot make a scratch folder");
            job.out[0] = 0;
        }
    }
    job.show_progress = !command.quiet && isatty(STDERR_FILENO);
    kf_job_catch_cancel();
    if (!status)
        status = run_and_place(&job, &command, kinds, &err);
    if (status)
        fprintf(stderr, "kerf-job %s: %s [%s]\n", kind->name, err.detail, err.code);
    if (job.out[0])
        nftw(job.out, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    kf_job_context_release(&job);
    return !status ? EXIT_DONE : usage ? EXIT_USAGE : kf_status_retryable(status) ? EXIT_TRY_AGAIN : EXIT_FAILED;
}

// The service form. Inputs are opened only behind the sandbox.
static enum kf_status enter_sandbox(struct kf_job_context *job, struct kf_error *err)
{
    size_t count = 0;
    const char **readable = kf_arena_alloc(&job->arena, ((size_t)job->input_count + 1) * sizeof *readable);
    if (!readable)
        return kf_error_set(err, KF_NOMEM, NULL, "no memory for the sandbox rules");
    for (int i = 0; i < job->input_count; i++) // instances of one series share a segment: one rule for a run of equals
        if (!count || strcmp(readable[count - 1], job->inputs[i].path) != 0)
            readable[count++] = job->inputs[i].path;
    struct kf_sandbox_rules rules = {
        .profile = job->kind->profile,
        .readable = readable,
        .writable = job->out,
        .memory_limit_bytes = job->kind->memory_limit_bytes,
        .file_limit_bytes = FILE_LIMIT_BYTES,
        .cpu_limit_s = job->kind->time_limit_s * (job->threads + 1),
    };
    return kf_sandbox_enter(&rules, NULL, err);
}

static int run_spec(const struct kf_job_kind *kind, const char *path)
{
    struct kf_error err = {0};
    struct kf_job_context job;
    kf_job_context_init(&job, kind);
    kf_job_catch_cancel();
    enum kf_status status = kf_job_spec_load(&job, path, &err);
    // Senders and browsers come first: a job takes what they leave of the processors.
    if (setpriority(PRIO_PROCESS, 0, 10))
        fprintf(stderr, "kerf-job: runs at the usual priority\n");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    alarm((unsigned)kind->time_limit_s); // wall clock; the sandbox limits CPU time
    if (!status)
        status = enter_sandbox(&job, &err);
    if (!status)
        status = kind->run(&job, &err);
    if (!status)
        status = kf_job_result_save(&job, &err);
    if (status) {
        if (!err.code[0])
            kf_error_set(&err, status, NULL, "%s failed: %s", kind->name, kf_status_wire(status));
        if (job.out[0])
            kf_job_error_save(&job, &err);
    }
    kf_job_context_release(&job);
    return !status ? EXIT_DONE : kf_status_retryable(status) ? EXIT_TRY_AGAIN : EXIT_FAILED;
}

int kf_job_main(int argc, char **argv, const struct kf_job_kind *const *kinds)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        print_help(kinds);
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    if (strcmp(argv[1], "--describe") == 0)
        return describe(kinds);
    const struct kf_job_kind *kind = NULL;
    for (const struct kf_job_kind *const *k = kinds; *k && !kind; k++)
        if (strcmp((*k)->name, argv[1]) == 0)
            kind = *k;
    if (!kind) {
        fprintf(stderr, "kerf-job: there is no kind %.60s; see kerf-job --help\n", argv[1]);
        return EXIT_USAGE;
    }
    if (argc > 2 && strcmp(argv[2], "--help") == 0) {
        print_kind_help(kind);
        return EXIT_DONE;
    }
    if (kind->prepare)
        kind->prepare();
    if (argc == 4 && strcmp(argv[2], "--spec") == 0)
        return run_spec(kind, argv[3]);
    if (!kind->cli) {
        fprintf(stderr, "kerf-job: %s runs only in the service (--spec)\n", kind->name);
        return EXIT_USAGE;
    }
    return run_command(kinds, kind, argv + 2);
}
